//! Drafts as wholes: what weighs most, who is written to.

use super::*;
use crate::domain::recipient::RecipientKind;

fn named(text: &str) -> NamedAddress {
    NamedAddress::parse(text).unwrap()
}

fn draft(body: Body, files: &[usize]) -> Draft {
    let file = |size: &usize| Attachment {
        filename: Filename::parse("a".into()).unwrap(),
        content_type: MediaType::octet_stream(),
        content: vec![0; *size],
        content_id: None,
    };
    Draft::new(DraftParts {
        from: named("a@b.example"),
        recipients: Recipients::new(vec![named("c@d.example")], vec![], vec![], 10).unwrap(),
        reply_to: vec![],
        subject: Subject::parse(String::new()).unwrap(),
        body,
        attachments: files.iter().map(file).collect(),
        headers: vec![],
        options: Options::default(),
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
        vec![named("a@x.example"), named("A <a@x.example>")],
        vec![named("b@x.example")],
        vec![named("a@x.example"), named("c@x.example")],
        5,
    );
    let kinds: Vec<_> = recipients.unwrap().distinct().into_iter().map(|r| (r.kind, r.address.to_string())).collect();
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
