//! Composed messages, read back by another parser.

use mail_parser::{MessageParser, MimeHeaders};
use time::macros::datetime;

use super::*;
use crate::domain::address::NamedAddress;
use crate::domain::draft::{
    Body, ContentId, DraftParts, Filename, HeaderField, HeaderFields, MediaType, Recipients, Subject, with_crlf,
};

fn named(list: &[&str]) -> Vec<NamedAddress> {
    list.iter().map(|text| NamedAddress::parse(text).unwrap()).collect()
}

fn to(to: Vec<NamedAddress>, cc: Vec<NamedAddress>) -> Recipients {
    Recipients::new(to, cc, named(&["secret@example.net"]), 2001).unwrap()
}

fn text(text: &str) -> Body {
    Body::new(Some(text.to_owned()), None).unwrap()
}

fn draft() -> DraftParts {
    DraftParts {
        reply_to: named(&["\"Lee, Ann\" <r@example.org>"]),
        headers: headers(&[("X-Campaign", "ä value")]),
        ..DraftParts::plain(
            NamedAddress::parse("Zoë <zoe@example.org>").unwrap(),
            to(named(&["a@example.net"]), vec![]),
            Subject::parse("Grüße & more".into()).unwrap(),
            text("line one\nline two\r\n.\rend"),
        )
    }
}

fn file(filename: &str, content_type: &str, content: &[u8], content_id: Option<&str>) -> Attachment {
    Attachment::new(
        Filename::parse(filename.to_owned()).unwrap(),
        MediaType::parse(content_type).unwrap(),
        content.to_vec(),
        content_id.map(|id| ContentId::parse(id).unwrap()),
        None,
    )
    .unwrap()
}

fn headers(list: &[(&str, &str)]) -> HeaderFields {
    let mut headers = HeaderFields::default();
    for (name, value) in list {
        headers.insert(HeaderField::parse((*name).to_owned(), (*value).to_owned()).unwrap()).unwrap();
    }
    headers
}

fn stamp() -> Stamp {
    Stamp {
        message_id: "id-1@example.org".into(),
        date: datetime!(2026-11-22 10:00:00.5 UTC),
        boundary: "0192f3a4".into(),
        links: None,
    }
}

fn write(parts: &DraftParts) -> Vec<u8> {
    compose(&Draft::new(parts.clone()), &stamp()).unwrap()
}

#[test]
fn headers_say_what_the_draft_says_and_bcc_stays_out() {
    let raw = write(&draft());
    let message = MessageParser::default().parse(&raw).unwrap();
    assert_eq!(message.subject(), Some("Grüße & more"));
    assert_eq!(message.message_id(), Some("id-1@example.org"));
    assert_eq!(message.from().unwrap().first().unwrap().name(), Some("Zoë"));
    assert_eq!(message.reply_to().unwrap().first().unwrap().name(), Some("Lee, Ann"));
    assert_eq!(message.date().unwrap().to_rfc3339(), "2026-11-22T10:00:00Z");
    let text = String::from_utf8_lossy(&raw);
    assert!(text.contains("X-Campaign: =?utf-8?b?w6Q=?= value\r\n"), "{text}");
    assert!(!text.contains("secret@"));
    assert_eq!(message.body_text(0).unwrap(), "line one\r\nline two\r\n.\r\nend\r\n");
}

#[test]
fn plain_text_travels_as_it_is_and_what_could_be_changed_is_encoded() {
    let encoding = |body: &str| {
        let mut draft = draft();
        draft.body = text(body);
        let raw = String::from_utf8(write(&draft)).unwrap();
        raw.split_once("Content-Transfer-Encoding: ").unwrap().1.split_once("\r\n").unwrap().0.to_owned()
    };
    assert_eq!(encoding("Hello,\n\nyour code is 123456.\n"), "7bit");
    for risky in
        ["From here\n", ".dot\n", "white space \n", "tab\there\n", "Grüße an alle\n", &format!("{}\n", "x".repeat(77))]
    {
        assert_eq!(encoding(risky), "quoted-printable", "{risky:?}");
    }
    assert_eq!(encoding("中文邮件\n"), "base64");
}

#[test]
fn the_same_draft_and_stamp_give_a_parseable_message_with_all_layers() {
    let mut draft = draft();
    let html = Some("<p>hi <img src=\"cid:logo\"></p>".to_owned());
    draft.body = Body::new(Some("line one".to_owned()), html).unwrap();
    draft.attachments = vec![
        file("logo.png", "image/png", &[1, 2, 3], Some("logo")),
        file("naïve \"name\".txt", "text/plain", b"l1\nl2\r\x00", None),
    ];
    let raw = write(&draft);
    let message = MessageParser::default().parse(&raw).unwrap();
    assert!(message.body_html(0).unwrap().contains("cid:logo"));
    let files: Vec<_> = message.attachments().collect();
    assert_eq!(files.len(), 2);
    assert_eq!(files[0].content_id(), Some("logo"));
    assert_eq!(files[1].contents(), b"l1\nl2\r\x00");
    assert_eq!(files[1].attachment_name(), Some("naïve \"name\".txt"));
}

#[test]
fn a_thousand_recipients_fit_with_and_without_names() {
    let mut draft = draft();
    let many: Vec<_> = (0..1000).map(|n| NamedAddress::parse(&format!("r{n}@example.net")).unwrap()).collect();
    let long = "Ünïcödé Nàme ".repeat(20);
    let copies = (0..1000).map(|n| NamedAddress::from_parts(Some(&long), &format!("c{n}@example.net")).unwrap());
    draft.recipients = to(many, copies.collect());
    let raw = write(&draft);
    let message = MessageParser::default().parse(&raw).unwrap();
    let addresses =
        |list: &mail_parser::Address<'_>| list.iter().map(|a| a.address().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(addresses(message.to().unwrap()).len(), 1000);
    assert_eq!(addresses(message.cc().unwrap())[999], "c999@example.net");
    assert_eq!(message.cc().unwrap().first().unwrap().name().unwrap(), long.trim());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(5000))]
    #[test]
    fn any_text_arrives_as_written(sent in "(\\PC|[\\r\\n\\t .=-]|\\x00){0,400}", subject in "\\PC{0,200}") {
        let mut draft = draft();
        draft.body = text(&sent);
        draft.subject = Subject::parse(subject).unwrap();
        let raw = write(&draft);
        proptest::prop_assert_eq!(wire_fault(&raw), None);
        let message = MessageParser::default().parse(&raw).unwrap();
        let body = message.body_text(0).unwrap_or_default();
        let sent = String::from_utf8(with_crlf(sent.as_bytes())).unwrap();
        proptest::prop_assert_eq!(body.trim_end_matches("\r\n"), sent.trim_end_matches("\r\n"));
    }
}

/// Words of every script and length, with odd white space between.
fn words() -> impl proptest::strategy::Strategy<Value = String> {
    "(([!-~]{1,200}|\\PC{1,40}|[ \u{a0}\u{3000}]{1,30}|[!-~]{800,1200}) ?){0,12}"
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(500))]
    #[test]
    fn every_draft_composes(
        subject in words(), name in "[!-9;-~]{1,80}", value in words(), display in words(), filename in words(),
        local in "[ -~]{1,64}|\\PC{1,20}", parameter in "[ -~]{0,60}", content_id in "[ -~]{1,130}",
    ) {
        let mut draft = draft();
        if let Ok(subject) = Subject::parse(subject) { draft.subject = subject; }
        if let Ok(field) = HeaderField::parse(name, value) { let _ = draft.headers.insert(field); }
        draft.reply_to.extend(NamedAddress::from_parts(Some(&display), "x@example.org").ok());
        draft.reply_to.extend(NamedAddress::from_parts(Some(&display), &format!("{local}@example.org")).ok());
        let filename = Filename::parse(filename).unwrap_or(Filename::parse("a".to_owned()).unwrap());
        let kind = MediaType::parse(&format!("text/plain{parameter}")).unwrap_or(MediaType::octet_stream());
        for id in [None, ContentId::parse(&content_id).ok()] {
            draft.attachments.push(Attachment::new(filename.clone(), kind.clone(), b"x".to_vec(), id, None).unwrap());
        }
        draft.body = Body::new(None, Some("<b>x</b>".to_owned())).unwrap();
        let composed = compose(&Draft::new(draft), &stamp());
        proptest::prop_assert!(composed.is_ok(), "{composed:?}");
    }
}
