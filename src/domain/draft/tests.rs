//! Drafts as wholes: what weighs most, who is written to.

use super::*;
use crate::domain::recipient::RecipientKind;

fn named(text: &str) -> NamedAddress {
    NamedAddress::parse(text).unwrap()
}

fn draft(body: Body, files: &[usize]) -> Draft {
    let file = |size: &usize| {
        let name = Filename::parse("a".into()).unwrap();
        Attachment::new(name, MediaType::octet_stream(), vec![0; *size], None, None).unwrap()
    };
    let recipients = Recipients::new(vec![named("c@d.example")], vec![], vec![], 10).unwrap();
    let subject = Subject::parse(String::new()).unwrap();
    Draft::new(DraftParts {
        attachments: files.iter().map(file).collect(),
        ..DraftParts::plain(named("a@b.example"), recipients, subject, body)
    })
}

#[test]
fn the_heaviest_part_is_named() {
    let text = |n| Body::new(Some("x".repeat(n)), None).unwrap();
    let html = |n| Body::new(None, Some("x".repeat(n))).unwrap();
    assert_eq!(draft(text(5), &[]).heaviest(), Place::Text);
    assert_eq!(draft(html(5), &[1, 2]).heaviest(), Place::Html);
    assert_eq!(draft(html(5), &[1, 9, 2]).heaviest(), Place::Attachment(1));
}

#[test]
fn an_address_in_two_lists_is_one_recipient() {
    let recipients = Recipients::new(
        vec![named("a@x.example"), named("A <A@X.example>")],
        vec![named("b@x.example")],
        vec![named("a@x.example"), named("c@x.example")],
        5,
    );
    let distinct = recipients.unwrap().distinct();
    let places: Vec<_> = distinct[0].places.iter().map(ToString::to_string).collect();
    assert_eq!(places, ["/to/0", "/to/1", "/bcc/0"]);
    let kinds: Vec<_> = distinct.into_iter().map(|r| (r.kind, r.address.to_string())).collect();
    assert_eq!(
        kinds,
        [
            (RecipientKind::To, "a@x.example".to_owned()),
            (RecipientKind::Cc, "b@x.example".to_owned()),
            (RecipientKind::Bcc, "c@x.example".to_owned())
        ]
    );
}

#[test]
fn nobody_and_too_many_are_refused() {
    assert!(Recipients::new(vec![], vec![], vec![], 5).is_err());
    assert!(Recipients::new(vec![named("a@x.example"); 3], vec![], vec![named("b@x.example"); 3], 5).is_err());
}
