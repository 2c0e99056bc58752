//! Lists as services write them, and what becomes of them.

use time::macros::datetime;

use super::read::Record;
use super::*;
use crate::domain::access::Mode;
use crate::domain::clock::SeededRng;
use crate::domain::id::SuppressionId;
use crate::domain::shard::Shard;
use crate::domain::suppression::Suppression;

const NOW: Timestamp = datetime!(2026-11-27 10:00 UTC);

struct Imported {
    format: Option<ListFormat>,
    listed: Vec<Listed>,
    left: Vec<(usize, Left)>,
}

fn import_as(text: &str, wanted: Option<ListFormat>, reason: Option<SuppressionReason>) -> Imported {
    let classifier = Classifier::default();
    let is_json = text.trim_start().starts_with(['{', '[']);
    let mut imported = Imported { format: wanted, listed: Vec::new(), left: Vec::new() };
    let mut each = |line: usize, record: Result<Record, String>| {
        let meant = record.map_err(Left::Refused).and_then(|record| {
            let format = *imported.format.get_or_insert_with(|| record.format(is_json));
            entries(&record, &Context { format, reason, classifier: &classifier, now: NOW })
        });
        match meant {
            Ok(listed) => imported.listed.extend(listed),
            Err(left) => imported.left.push((line, left)),
        }
        true
    };
    read(text.as_bytes(), wanted, &mut each).unwrap();
    imported
}

fn import(text: &str) -> Imported {
    import_as(text, None, None)
}

/// Address and reason of what an import takes.
fn taken(imported: &Imported) -> Vec<(&str, &str)> {
    imported.listed.iter().map(|entry| (entry.address.as_str(), entry.reason.name())).collect()
}

#[test]
fn sendgrid_bounces_are_taken_and_its_blocks_are_not() {
    let text = r#"[
        {"created": 1795000000, "email": "A@Example.NET", "reason": "550 5.1.1 The email account that you tried to reach does not exist", "status": "5.1.1"},
        {"created": 1795000000, "email": "b@example.net", "reason": "550 5.7.1 [192.0.2.1] Our system has detected that this message is likely unsolicited mail", "status": "5.7.1"},
        {"created": 1795000000, "email": "c@example.net", "reason": "452 4.2.2 The email account that you tried to reach is over quota", "status": "4.2.2"},
        {"created": 1795000000, "email": "d@example.net", "reason": "Mail domain mentioned in email address is unknown"}
    ]"#;
    let imported = import(text);
    assert_eq!(imported.format, Some(ListFormat::Sendgrid));
    assert_eq!(taken(&imported), [("a@example.net", "bounce"), ("d@example.net", "bounce")]);
    assert_eq!(imported.listed[0].class.as_deref(), Some("bad_mailbox"));
    assert_eq!(imported.listed[0].created_at.unix_timestamp(), 1_795_000_000);
    let lines: Vec<_> = imported.left.iter().map(|(line, left)| (*line, matches!(left, Left::Skipped(_)))).collect();
    assert_eq!(lines, [(2, true), (3, true)]);
    let csv =
        "status,reason,email,created\n5.1.1,\"550 5.1.1 <a@example.net>: user unknown\",a@example.net,1795000000\n";
    assert_eq!(taken(&import(csv)), [("a@example.net", "bounce")]);
    // What a service lists as an address may be none; it never means all of a domain.
    assert_eq!(taken(&import("status,reason,email,created\n5.1.1,\"550 no\",@gmail.com,1795000000\n")), []);
    assert_eq!(taken(&import("email,created\na@example.net,1795000000\n")), [("a@example.net", "unsubscribe")]);
    assert_eq!(
        taken(&import("email,created,ip\na@example.net,1795000000,192.0.2.1\n")),
        [("a@example.net", "complaint")]
    );
}

#[test]
fn mailgun_lists_are_told_apart_and_its_tags_become_scopes() {
    let text = r#"{"items": [
        {"address": "a@example.net", "code": "550", "error": "5.1.1 No such user", "created_at": "Fri, 21 Aug 2026 11:02:55 UTC"},
        {"address": "b@example.net", "tags": ["*"], "created_at": "Fri, 21 Aug 2026 11:02:55 GMT"},
        {"address": "c@example.net", "tags": ["news", "offers"], "created_at": "Fri, 21 Aug 2026 11:02:55 UTC"},
        {"address": "d@example.net", "created_at": "Fri, 21 Aug 2026 11:02:55 UTC"},
        {"address": "e@example.net", "code": "550", "error": "5.7.1 blocked using zen.spamhaus.org", "created_at": "Fri, 21 Aug 2026 11:02:55 UTC"}
    ], "paging": {"next": "https://api.mailgun.net/v3/x"}}"#;
    let imported = import(text);
    assert_eq!(imported.format, Some(ListFormat::Mailgun));
    let scoped: Vec<_> =
        imported.listed.iter().map(|e| (e.address.as_str(), e.reason.name(), e.scope.to_string())).collect();
    let wanted = [
        ("a@example.net", "bounce", "project"),
        ("b@example.net", "unsubscribe", "project"),
        ("c@example.net", "unsubscribe", "tag:news"),
        ("c@example.net", "unsubscribe", "tag:offers"),
        ("d@example.net", "complaint", "project"),
    ];
    assert_eq!(scoped, wanted.map(|(address, reason, scope)| (address, reason, scope.to_owned())));
    assert!(imported.listed.iter().all(|entry| entry.created_at == datetime!(2026-08-21 11:02:55 UTC)));
    assert!(matches!(&imported.left[..], [(5, Left::Skipped(_))]));
    assert_eq!(
        taken(&import("address,code,error,created_at\na@example.net,550,5.1.1 no such user,\n")),
        [("a@example.net", "bounce")]
    );
}

#[test]
fn postmark_ses_and_resend_say_their_reasons() {
    let postmark = r#"{"Suppressions": [
        {"EmailAddress": "a@example.net", "SuppressionReason": "HardBounce", "Origin": "Recipient", "CreatedAt": "2026-10-17T08:58:33-05:00"},
        {"EmailAddress": "b@example.net", "SuppressionReason": "SpamComplaint", "Origin": "Recipient", "CreatedAt": "2026-10-17T08:58:33-05:00"},
        {"EmailAddress": "c@example.net", "SuppressionReason": "ManualSuppression", "Origin": "Recipient", "CreatedAt": "2026-10-17T08:58:33-05:00"},
        {"EmailAddress": "d@example.net", "SuppressionReason": "ManualSuppression", "Origin": "Customer", "CreatedAt": "2026-10-17T08:58:33-05:00"}]}"#;
    let imported = import(postmark);
    assert_eq!(imported.format, Some(ListFormat::Postmark));
    let reasons: Vec<_> = imported.listed.iter().map(|entry| entry.reason.name()).collect();
    assert_eq!(reasons, ["bounce", "complaint", "unsubscribe", "manual"]);
    assert_eq!(imported.listed[0].created_at, datetime!(2026-10-17 13:58:33 UTC));
    let ses = r#"{"SuppressedDestinationSummaries": [
        {"EmailAddress": "a@example.net", "Reason": "BOUNCE", "LastUpdateTime": "2026-04-10T21:04:45-07:00"},
        {"EmailAddress": "b@example.net", "Reason": "COMPLAINT", "LastUpdateTime": 1795000000.5}], "NextToken": "x"}"#;
    let imported = import(ses);
    assert_eq!(imported.format, Some(ListFormat::Ses));
    assert_eq!(taken(&imported), [("a@example.net", "bounce"), ("b@example.net", "complaint")]);
    let lines = "{\"emailAddress\":\"a@example.net\",\"reason\":\"BOUNCE\"}\n{\"emailAddress\":\"b@example.net\",\"reason\":\"COMPLAINT\"}\n";
    assert_eq!(taken(&import(lines)), [("a@example.net", "bounce"), ("b@example.net", "complaint")]);
    assert_eq!(
        taken(&import("a@example.net,BOUNCE\nb@example.net,COMPLAINT\n")),
        [("a@example.net", "bounce"), ("b@example.net", "complaint")]
    );
    let resend = r#"{"object": "list", "has_more": false, "data": [
        {"object": "suppression", "id": "e169aa45", "email": "a@example.net", "origin": "manual", "source_id": null, "created_at": "2026-10-06T23:47:56.678Z"},
        {"object": "suppression", "id": "520784e2", "email": "b@example.net", "origin": "bounce", "source_id": "4ef9a417", "created_at": "2026-10-07T08:12:03.412Z"}]}"#;
    let imported = import(resend);
    assert_eq!(imported.format, Some(ListFormat::Resend));
    assert_eq!(taken(&imported), [("a@example.net", "manual"), ("b@example.net", "bounce")]);
}

#[test]
fn a_bare_list_has_the_reason_that_it_is_given() {
    let imported = import_as("a@example.net\nnonsense\nb@example.net\n", None, Some(SuppressionReason::Unsubscribe));
    assert_eq!(taken(&imported), [("a@example.net", "unsubscribe"), ("b@example.net", "unsubscribe")]);
    assert!(matches!(&imported.left[..], [(2, Left::Refused(_))]));
    assert_eq!(taken(&import("[\"a@example.net\"]")), [("a@example.net", "manual")]);
    assert_eq!(taken(&import("\u{feff}email\r\na@example.net\r\n")), [("a@example.net", "manual")]);
}

#[test]
fn what_is_wrong_on_one_line_keeps_no_other() {
    let lines = "{\"email\":\"a@example.net\"}\n{\"email\":\nnot json\n\n{\"email\":\"b@example.net\",\"reason\":\"x\"}\n{\"email\":\"c@example.net\",\"scope\":\"tag:news\"}\n";
    let imported = import(lines);
    assert_eq!(taken(&imported), [("a@example.net", "manual"), ("c@example.net", "manual")]);
    assert_eq!(imported.left.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 5]);
    let csv = "email,reason\na@example.net,bounce\nb@example.net,bounce,x,y\n,manual\nc@example.net,manual\n";
    let imported = import(csv);
    assert_eq!(taken(&imported), [("a@example.net", "bounce"), ("c@example.net", "manual")]);
    assert_eq!(imported.left.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3, 4]);
}

#[test]
fn a_bounce_that_is_older_than_it_would_last_is_left_out() {
    let imported = import(
        "email,reason,created_at\na@example.net,bounce,2020-01-01T00:00:00Z\nb@example.net,complaint,2020-01-01T00:00:00Z\n",
    );
    assert_eq!(taken(&imported), [("b@example.net", "complaint")]);
    assert!(matches!(&imported.left[..], [(2, Left::Skipped(_))]));
}

fn stored(address: &str, reason: SuppressionReason, scope: &str) -> Suppression {
    Suppression {
        id: SuppressionId::new_in(Shard::of_low_bits(3), NOW, &SeededRng::new(1)),
        mode: Mode::Live,
        address: address.to_owned(),
        scope: SuppressionScope::parse(scope).unwrap(),
        reason,
        class: Some("bad_mailbox".to_owned()),
        evidence: Evidence {
            source: Some("reply".to_owned()),
            code: Some(550),
            enhanced: Some("5.1.1".to_owned()),
            text: Some("=HYPERLINK(\"x\"), \"no such user\"\nreally".to_owned()),
            ..Evidence::default()
        },
        note: "+1, 'quoted'".to_owned(),
        created_at: datetime!(2026-11-20 10:00:00.123456 UTC),
        expires_at: reason.expiry(datetime!(2026-11-20 10:00 UTC)),
        updated_at: NOW,
    }
}

fn export(format: ListFormat, entries: &[Suppression]) -> String {
    let mut export = Export::new(format);
    let parts: Vec<_> = entries.chunks(2).map(|part| export.part(part)).collect();
    format!("{}{}{}", export.head(), parts.concat(), export.tail())
}

fn all() -> Vec<Suppression> {
    let addresses = ["=cmd@example.net", "+tag@example.net", "-x@example.net", "'=x@example.net", "a@example.net"];
    let mut entries: Vec<_> = SuppressionReason::ALL
        .iter()
        .zip(addresses)
        .map(|(reason, address)| stored(address, *reason, "project"))
        .collect();
    entries.push(stored(addresses[4], SuppressionReason::Unsubscribe, "tag:a,b"));
    entries
}

#[test]
fn what_is_exported_in_our_own_formats_is_read_back_as_it_was() {
    for format in [ListFormat::Csv, ListFormat::Ndjson] {
        let entries = all();
        let imported = import_as(&export(format, &entries), Some(format), None);
        assert_eq!(imported.left, [], "{format}");
        let wanted: Vec<_> = entries
            .into_iter()
            .map(|entry| Listed {
                address: entry.address,
                scope: entry.scope,
                reason: entry.reason,
                class: entry.class,
                evidence: entry.evidence,
                note: entry.note,
                created_at: entry.created_at,
                expires_at: entry.expires_at,
            })
            .collect();
        assert_eq!(imported.listed, wanted, "{format}");
    }
}

#[test]
fn a_spreadsheet_finds_no_formula_in_what_is_exported() {
    let text = export(ListFormat::Csv, &all());
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    for row in reader.records() {
        assert!(row.unwrap().iter().all(|cell| !cell.starts_with(['=', '+', '-', '@'])), "{text}");
    }
}

#[test]
fn what_is_exported_in_a_services_words_is_read_back_as_far_as_it_has_words() {
    use SuppressionReason as R;
    for (format, reasons) in [
        (ListFormat::Sendgrid, [R::Bounce, R::Unsubscribe, R::Unsubscribe, R::Complaint]),
        (ListFormat::Mailgun, [R::Bounce, R::Unsubscribe, R::Unsubscribe, R::Complaint]),
        (ListFormat::Postmark, [R::Bounce, R::Manual, R::Unsubscribe, R::Complaint]),
        (ListFormat::Ses, [R::Bounce, R::Complaint, R::Complaint, R::Complaint]),
        (ListFormat::Resend, [R::Bounce, R::Manual, R::Manual, R::Complaint]),
    ] {
        let entries: Vec<_> = R::ALL.iter().map(|reason| stored("a@example.net", *reason, "project")).collect();
        let text = export(format, &entries);
        let imported = import(&text);
        assert_eq!(imported.format, Some(format), "{text}");
        assert_eq!(imported.listed.iter().map(|entry| entry.reason).collect::<Vec<_>>(), reasons, "{text}");
        assert_eq!(imported.left, [], "{text}");
    }
}
