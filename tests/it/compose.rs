//! Generated drafts of every script and shape, composed and read back by programs that have nothing of ours: Python's `email`,
//! `postal-mime` and `mailparser`. What they show is what the draft said.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mailwright::compose::{Stamp, compose};
use mailwright::domain::address::{Address, NamedAddress};
use mailwright::domain::clock::{Rng, SeededRng};
use mailwright::domain::draft::{
    Attachment, Body, ContentId, Disposition, Draft, DraftParts, Filename, HeaderField, MediaType, OwnMessageId,
    Recipients, Subject,
};
use serde_json::{Value, json};

/// Words of many scripts, and words that a careless writer or reader of headers gets wrong.
const WORDS: [&str; 60] = [
    "Hello",
    "order",
    "17",
    "receipt",
    "a",
    "Grüße",
    "Zoë",
    "naïve",
    "e\u{301}te\u{301}",
    "Ελλάδα",
    "Привет",
    "שלום",
    "مرحبا",
    "नमस्ते",
    "বাংলা",
    "தமிழ்",
    "ไทย",
    "မြန်မာ",
    "ខ្មែរ",
    "ქართული",
    "Հայերեն",
    "用户",
    "东方航空",
    "日本語",
    "한국어",
    "🎉",
    "👩\u{200d}👩\u{200d}👧",
    "𝒳",
    "ﬁ",
    "ß",
    "İ",
    "=?utf-8?q?hello?=",
    "=?",
    "?=",
    "=?x?b?y?=",
    "a,b",
    "\"quoted\"",
    "\"",
    "(comment)",
    "back\\slash",
    "x@y.test",
    "100%",
    "under_score",
    "semi;colon",
    "<tag>",
    "co:lon",
    "[x]",
    "it's",
    "&amp;",
    "a=b",
    "=20",
    "'",
    "-",
    "--",
    "...",
    "From",
    ".",
    "#1",
    "~",
    "\u{a0}nbsp",
];

struct Dice(SeededRng);

impl Dice {
    fn below(&self, most: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        usize::try_from(u64::from_le_bytes(bytes) % most as u64).unwrap()
    }

    fn one<'l, T: ?Sized>(&self, list: &[&'l T]) -> &'l T {
        list[self.below(list.len())]
    }

    /// Words with odd spaces between, and at times a very long one.
    fn phrase(&self, most: usize) -> String {
        let mut text = String::new();
        for place in 0..self.below(most + 1) {
            if place > 0 {
                text.push_str(self.one(&[" ", " ", " ", "  ", "   "]));
            }
            match self.below(40) {
                0 => text.push_str(&"long".repeat(self.below(60))),
                1 => text.push_str(&"長い".repeat(self.below(60))),
                _ => text.push_str(self.one(&WORDS)),
            }
        }
        text
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for _ in 0..self.below(8) {
            text.push_str(&self.phrase(12));
            text.push_str(self.one(&["\n", "\n", "\r\n", " \n", "\t\n", "\n\n", "\n.\n", "\nFrom x\n"]));
        }
        text
    }

    fn address(&self) -> NamedAddress {
        let local = self.one(&["ann", "o'hara", "a.b+c", "\"a b\"", "用户", "हिन्दी", "e\u{301}", "🎉", "x-1"]);
        let domain = self.one(&["example.net", "bücher.example", "my--shop.test", "例え.jp"]);
        let name = self.phrase(5);
        let name = Some(name.as_str()).filter(|name| name.chars().count() <= 320 && self.below(3) > 0);
        NamedAddress::from_parts(name, &format!("{local}@{domain}")).unwrap()
    }

    fn addresses(&self, most: usize) -> Vec<NamedAddress> {
        (0..self.below(most + 1)).map(|_| self.address()).collect()
    }

    fn file(&self, id: Option<usize>) -> Attachment {
        // Python takes angle brackets off, and postal-mime decodes once more what it has decoded.
        let name = self.phrase(4).replace(['<', '>', '?'], "");
        let name = name.trim_matches(['"', ' ', '\u{a0}']).to_owned();
        let name = Filename::parse(if name.trim().is_empty() || name.len() > 255 { "x.bin".to_owned() } else { name })
            .unwrap();
        let kind = self.one(&[
            "application/pdf",
            "image/png",
            "text/plain; charset=utf-8",
            "text/csv; header=present",
            "message/rfc822",
        ]);
        let content = if kind == "message/rfc822" {
            b"Subject: inner\nFrom: a@b.example\nContent-Type: text/plain\n\nHello\n".to_vec()
        } else {
            (0..self.below(200)).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
        };
        let id = id.map(|id| ContentId::parse(&format!("part-{id}@x")).unwrap());
        // What is text and inline is shown with the text by some.
        let is_shown = kind.starts_with("text/") || kind.starts_with("message/");
        let disposition = [None, Some(Disposition::Inline), Some(Disposition::Attachment)][self.below(3)];
        let disposition = if is_shown { Some(Disposition::Attachment) } else { disposition };
        Attachment::new(name, MediaType::parse(kind).unwrap(), content, id, disposition).unwrap()
    }

    fn draft(&self) -> DraftParts {
        let to = self.addresses(3);
        let (cc, bcc) = (self.addresses(2), self.addresses(1));
        let recipients = Recipients::new(to, cc, bcc, 10);
        let recipients =
            recipients.unwrap_or_else(|_| Recipients::new(vec![self.address()], vec![], vec![], 1).unwrap());
        let subject = self.phrase(12);
        let subject = format!("{}{subject}{}", self.one(&["", "", "", " "]), self.one(&["", "", "", "  "]));
        let body = match self.below(4) {
            0 => Body::new(Some(self.text()), None),
            1 => Body::new(Some(self.text()), Some(format!("<p>{}</p>\n", self.text()))),
            2 => Body::new(Some(String::new()), Some(format!("<p>{}</p>", self.text()))),
            _ => Body::new(Some(self.text()), Some(self.one(&["", " \n"]).to_owned())),
        };
        let mut parts = DraftParts::plain(self.address(), recipients, Subject::parse(subject).unwrap(), body.unwrap());
        parts.reply_to = self.addresses(1);
        parts.attachments = (0..self.below(4)).map(|n| self.file(Some(n).filter(|_| self.below(2) == 0))).collect();
        if self.below(3) == 0 {
            parts.message_id = Some(OwnMessageId::parse("order-17.x@shop.example").unwrap());
        }
        let custom = self.phrase(10);
        if custom.len() <= 998 {
            parts.headers.insert(HeaderField::parse("X-Custom".to_owned(), custom).unwrap()).unwrap();
        }
        parts
    }
}

fn mailboxes(list: &[NamedAddress]) -> Value {
    list.iter().map(|named| json!([named.name.as_deref().unwrap_or(""), named.address.as_str()])).collect()
}

/// Text as every reader shows it: line ends in one spelling, and none at the end.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n").trim_end_matches('\n').to_owned()
}

/// What a reader should show, in the form in which the readers print it.
fn expected(parts: &DraftParts) -> Value {
    let (text, html) = match &parts.body {
        Body::Text(text) => (Some(text.clone()), None),
        Body::Html { html, text: mailwright::domain::draft::TextPart::Given(text) } => {
            (Some(text.clone()), Some(html.clone()))
        }
        Body::Html { html, .. } => (None, Some(html.clone())),
    };
    let file = |file: &Attachment| {
        json!([
            file.filename().as_str(),
            file.content_type().essence(),
            file.content_id().map(ContentId::as_str).unwrap_or_default(),
            file.disposition().name(),
            STANDARD.encode(file.content()),
        ])
    };
    let mut files: Vec<Value> = parts.attachments.iter().map(file).collect();
    files.sort_by_key(ToString::to_string);
    json!({
        "subject": parts.subject.as_str(),
        "from": mailboxes(std::slice::from_ref(&parts.from)),
        "to": mailboxes(parts.recipients.to()),
        "cc": mailboxes(parts.recipients.cc()),
        "reply_to": mailboxes(&parts.reply_to),
        "message_id": format!("<{}>", parts.message_id.as_ref().map_or("made@example.org", OwnMessageId::as_str)),
        "custom": parts.headers.iter().map(HeaderField::value).collect::<Vec<_>>(),
        "text": text.map(|text| lines(&text)).filter(|text| !text.is_empty()),
        "html": html.map(|html| lines(&html)),
        "files": files,
    })
}

/// What a reader showed, without what is its own way to write it.
fn shown(reader: &str, mut mail: Value) -> Value {
    for field in ["text", "html"] {
        let text = mail[field].as_str().map(lines).filter(|text| !text.is_empty());
        mail[field] = json!(text);
    }
    for file in mail["files"].as_array_mut().unwrap() {
        let id = file[2].as_str().unwrap().trim_start_matches('<').trim_end_matches('>').to_owned();
        file[2] = json!(id);
    }
    mail["files"].as_array_mut().unwrap().sort_by_key(ToString::to_string);
    for field in ["from", "to", "cc", "reply_to"] {
        for mailbox in mail[field].as_array_mut().unwrap() {
            let address = mailbox[1].as_str().unwrap().to_owned();
            let (local, domain) = address.rsplit_once('@').unwrap();
            let local =
                if local.contains(' ') && !local.starts_with('"') { format!("\"{local}\"") } else { local.to_owned() };
            mailbox[1] = json!(Address::parse(&format!("{local}@{domain}")).unwrap().as_str());
        }
    }
    assert_eq!(mail["defects"].as_array().map_or(0, Vec::len), 0, "{reader}: {}", mail["defects"]);
    mail.as_object_mut().unwrap().remove("defects");
    mail
}

/// Python 3.11 counts the white space between encoded-words of a name, which RFC 2047 §6.2 drops, and no more than one space
/// between others: of names, all but spaces is compared.
fn is_same(reader: &str, found: &Value, wanted: &Value) -> bool {
    let is_list =
        wanted.as_array().is_some_and(|list| list.iter().any(|item| item.as_array().is_some_and(|i| i.len() == 2)));
    let squeezed = |value: &Value| value.to_string().replace([' ', '\u{a0}'], "");
    // An empty field is no field to mailparser.
    if reader == "mailparser" && *wanted == json!([""]) {
        return *found == json!([]) || found == wanted;
    }
    if reader == "email" && is_list { squeezed(found) == squeezed(wanted) } else { found == wanted }
}

/// Runs a reader over the messages; one line of JSON for each.
fn read_back(program: &Path, arguments: &[&Path]) -> Vec<Value> {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn three_readers_show_what_the_draft_said() {
    let count = std::env::var("MAILWRIGHT_DRAFTS").map_or(500, |count| count.parse().unwrap());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dice = Dice(SeededRng::new(11));
    let drafts: Vec<DraftParts> = (0..count).map(|_| dice.draft()).collect();
    let mut file = Vec::new();
    for (number, parts) in drafts.iter().enumerate() {
        let stamp = Stamp {
            message_id: parts.message_id.as_ref().map_or("made@example.org", OwnMessageId::as_str).to_owned(),
            date: time::macros::datetime!(2026-11-26 10:00 UTC),
            boundary: format!("b{number}"),
            links: None,
        };
        let raw = compose(&Draft::new(parts.clone()), &stamp).unwrap();
        file.extend_from_slice(format!("{}\n", raw.len()).as_bytes());
        file.extend_from_slice(&raw);
    }
    let place = std::env::temp_dir().join(format!("mailwright-drafts-{}", std::process::id()));
    std::fs::write(&place, &file).unwrap();
    let modules = root.join("target/tools/node/node_modules");
    let node = read_back(Path::new("node"), &[&root.join("tests/clients/node/readers.mjs"), &modules, &place]);
    let python = read_back(Path::new("/usr/bin/python3"), &[&root.join("tests/clients/python/reader.py"), &place]);
    std::fs::remove_file(&place).unwrap();
    let mut wrong = String::new();
    for (number, parts) in drafts.iter().enumerate() {
        let wanted = expected(parts);
        for (reader, mail) in node[number].as_object().unwrap().iter().chain(python[number].as_object().unwrap()) {
            let mail = shown(reader, mail.clone());
            for (field, value) in wanted.as_object().unwrap() {
                if !is_same(reader, &mail[field], value) {
                    writeln!(wrong, "{number} {reader} {field}:\n   {value}\n   {}", mail[field]).unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
