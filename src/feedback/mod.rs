//! What came back by mail, read: bounces, delays, complaints, automatic replies. Pure: bytes in, a reading out.
//!
//! Whose a report is, a token says that only we can make; the words say no more than what it means. So a form that nobody has seen
//! before is still charged to the right recipient, and a report that is made up is charged to nobody. What a machine wrote for
//! machines ([`status`], RFC 3464 and 6533; [`complaint`], RFC 5965) goes before what it wrote for people ([`words`]).

pub mod aggregate;
mod complaint;
mod status;
mod words;

use mail_parser::{HeaderName, Message, MessageParser, MimeHeaders, PartType};

use crate::domain::nesting::bounded;
use crate::domain::reply::{EnhancedStatus, Reply};

/// Characters of the words for people that are looked at: what follows is a copy of what was sent.
const WORDS_MAX: usize = 4_000;
/// Recipients of one report: a longer one is cut.
const RECIPIENTS_MAX: usize = 100;
/// Octets of a part for machines that are read.
const PART_MAX: usize = 256 << 10;

/// What a message that came back means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// It was not delivered, and will not be.
    Failed,
    /// It is still being tried.
    Delayed,
    /// It was delivered, relayed to where nothing more is reported from, or expanded.
    Delivered,
    /// Somebody calls it spam, a fraud or a virus.
    Complaint,
    /// Somebody says that it is no spam after all.
    NotSpam,
    /// It did not prove whom it is from (RFC 6591).
    AuthFailure,
    /// Somebody wants no more of it.
    OptOut,
    /// A program answered for the recipient: nothing became of the message.
    AutoReply,
    /// A receiver says how a day's mail fared (RFC 9990, RFC 8460).
    Aggregate,
    /// None of these.
    Other,
}

impl Meaning {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Complaint => "complaint",
            Self::NotSpam => "not_spam",
            Self::AuthFailure => "auth_failure",
            Self::OptOut => "opt_out",
            Self::AutoReply => "auto_reply",
            Self::Aggregate => "aggregate",
            Self::Other => "other",
        }
    }
}

/// A recipient of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// As the report has it: the final recipient, where mail was forwarded.
    pub address: String,
    /// As it was sent, if the report says so.
    pub original: Option<String>,
    /// `Failed`, `Delayed` or `Delivered`.
    pub meaning: Meaning,
    pub status: Option<EnhancedStatus>,
    /// What the server answered that was the reason.
    pub reply: Option<Reply>,
}

/// What a message that came back says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub meaning: Meaning,
    /// Those that a part for machines names, at most 100.
    pub recipients: Vec<Reported>,
    /// Addresses in the words for people, at most 100.
    pub mentioned: Vec<String>,
    /// The reason, as far as words for people give one.
    pub reply: Option<Reply>,
    /// The `Message-ID` of what was sent, without angle brackets, if a copy of it came along.
    pub message_id: Option<String>,
    /// A mail server wrote it, by its sender's name.
    pub is_by_daemon: bool,
}

/// Reads what came back; `None`: it is no message at all.
pub fn read(raw: &[u8]) -> Option<Reading> {
    let message = MessageParser::default().parse(bounded(raw))?;
    let text = words::of(&message);
    let mut recipients = status::recipients(&message);
    // Filters put reports of others into their own.
    if recipients.is_empty() && words::is_server(&message) {
        recipients = inner(&message).map(status::recipients).unwrap_or_default();
    }
    let machine = complaint::meaning(&message).or_else(|| status::meaning(&recipients));
    Some(Reading {
        meaning: machine.unwrap_or_else(|| words::meaning(&message, &text)),
        mentioned: words::addresses(&text),
        reply: reply_in(&text),
        recipients,
        message_id: message_id(&message),
        is_by_daemon: words::is_server(&message),
    })
}

/// The parts of a message for whoever looks for one, those of messages within it left out.
fn parts<'m>(message: &'m Message<'_>, is_wanted: impl Fn(&str, &str) -> bool) -> impl Iterator<Item = &'m [u8]> {
    message
        .parts
        .iter()
        .filter(move |part| {
            let kind = part.content_type();
            kind.is_some_and(|kind| {
                is_wanted(&kind.ctype().to_ascii_lowercase(), &kind.subtype().unwrap_or_default().to_ascii_lowercase())
            })
        })
        .filter_map(|part| match &part.body {
            PartType::Text(text) | PartType::Html(text) => Some(text.as_bytes()),
            PartType::Binary(bytes) | PartType::InlineBinary(bytes) => Some(&**bytes),
            PartType::Message(inner) => Some(inner.raw_message()),
            PartType::Multipart(_) => None,
        })
        .map(|part| &part[..part.len().min(PART_MAX)])
}

/// The first message within it.
fn inner<'m, 'x>(message: &'m Message<'x>) -> Option<&'m Message<'x>> {
    message.parts.iter().find_map(|part| if let PartType::Message(inner) = &part.body { Some(inner) } else { None })
}

/// Of the copy that came along, whole or its headers alone.
fn message_id(message: &Message<'_>) -> Option<String> {
    let of = |message: &Message<'_>| message.message_id().map(str::to_owned);
    inner(message).and_then(of).or_else(|| {
        let headers = parts(message, |kind, subtype| kind == "text" && subtype == "rfc822-headers").next()?;
        of(&MessageParser::default().parse_headers(&[headers, b"\r\n\r\n"].concat())?)
    })
}

/// A header's text as it came, unfolded.
fn header(message: &Message<'_>, name: &'static str) -> Option<String> {
    let raw = message.header_raw(HeaderName::Other(name.into())).or_else(|| {
        let mut named = message.headers_raw().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value)
    })?;
    Some(raw.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The fields of a group as it stands in a report: names in lower case, values unfolded (RFC 3464 §2.1).
fn fields(group: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in group.lines() {
        let is_folded = line.starts_with([' ', '\t']);
        match (is_folded, fields.last_mut(), line.split_once(':')) {
            (true, Some((_, value)), _) => {
                value.push(' ');
                value.push_str(line.trim());
            }
            (false, _, Some((name, value))) => fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned())),
            _ => {}
        }
    }
    fields
}

/// A reply in words such as `smtp; 550 5.1.1 no such user`; `None`: there is no code in them.
fn reply_in(text: &str) -> Option<Reply> {
    let is_code =
        |word: &str| word.len() == 3 && word.starts_with(['4', '5']) && word.bytes().all(|b| b.is_ascii_digit());
    let mut from = 0;
    for word in text.split([' ', '-', '\t', ':', ';', ',', '(', ')', '[', ']', '<', '>', '"', '\'']) {
        let at = from;
        from += word.len() + 1;
        if !is_code(word) {
            continue;
        }
        let rest = text.get(at + word.len()..)?.trim_start_matches([' ', '-', ':', ']', ')']);
        let (enhanced, rest) = EnhancedStatus::split(rest);
        return Some(Reply { code: word.parse().ok()?, enhanced, text: shown(rest) });
    }
    None
}

/// As a reply's text is kept: printable, at most 1,000 characters.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1_000).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(raw: &str) -> Meaning {
        read(raw.replace('\n', "\r\n").as_bytes()).unwrap().meaning
    }

    const REPORT: &str = "From: MAILER-DAEMON@mx.example\nSubject: x\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
        --b\n\nwords\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n\
        Final-Recipient: rfc822; a@example.net\nOriginal-Recipient: rfc822;b@example.org\nAction: ACTION\nStatus: 5.1.1\n\
        Diagnostic-Code: smtp; 550-5.1.1 no\n such user\n\n--b\nContent-Type: message/rfc822\n\nMessage-ID: <1@example.org>\n\nbody\n--b--\n";

    #[test]
    fn a_report_names_recipient_reason_and_message() {
        let reading = read(REPORT.replace("ACTION", "failed").as_bytes()).unwrap();
        assert_eq!((reading.meaning, reading.message_id.as_deref()), (Meaning::Failed, Some("1@example.org")));
        let [reported] = &reading.recipients[..] else { panic!("{reading:?}") };
        assert_eq!((&*reported.address, reported.original.as_deref()), ("a@example.net", Some("b@example.org")));
        assert_eq!(reported.reply.as_ref().unwrap().to_string(), "550 5.1.1 no such user");
        assert_eq!(reported.status.unwrap().to_string(), "5.1.1");
    }

    #[test]
    fn what_is_delayed_or_delivered_is_no_bounce() {
        for (action, wanted) in [
            ("delayed", Meaning::Delayed),
            ("relayed", Meaning::Delivered),
            ("Delivered", Meaning::Delivered),
            ("expanded (to 3)", Meaning::Delivered),
            ("failed (gave up)", Meaning::Failed),
            ("expired", Meaning::Failed),
        ] {
            assert_eq!(meaning(&REPORT.replace("ACTION", action)), wanted, "{action}");
        }
    }

    #[test]
    fn a_person_away_is_no_bounce() {
        let away = |header: &str| {
            format!(
                "From: Li <li@example.net>\nSubject: Re: code\n{header}\n\nYour message was not delivered to me, I am away.\n"
            )
        };
        assert_eq!(meaning(&away("Auto-Submitted: auto-replied")), Meaning::AutoReply);
        assert_eq!(meaning(&away("X-Autoreply: yes")), Meaning::AutoReply);
        assert_eq!(meaning(&away("X-Other: yes")), Meaning::Other, "who is not a daemon bounces nothing");
        for subject in
            ["Out of Office: code", "自动回复: 验证码", "=?utf-8?B?6Ieq5Yqo5Zue5aSN?=", "Automatische Antwort: Code"]
        {
            let text =
                format!("From: postmaster@example.net\nSubject: {subject}\n\nYour message could not be delivered.\n");
            assert_eq!(meaning(&text), Meaning::AutoReply, "{subject}");
        }
    }

    #[test]
    fn complaints_are_told_apart() {
        let report = |kind: &str| {
            format!(
                "From: fbl@example.net\nSubject: x\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n\nwords\n\
                 --b\nContent-Type: message/feedback-report\n\nFeedback-Type: {kind}\nUser-Agent: x\nVersion: 1\n\n--b--\n"
            )
        };
        for (kind, wanted) in [
            ("abuse", Meaning::Complaint),
            ("Fraud", Meaning::Complaint),
            ("virus", Meaning::Complaint),
            ("other", Meaning::Complaint),
            ("not-spam", Meaning::NotSpam),
            ("auth-failure", Meaning::AuthFailure),
            ("opt-out-list", Meaning::OptOut),
        ] {
            assert_eq!(meaning(&report(kind)), wanted, "{kind}");
        }
        let bare = "From: staff@hotmail.com\nSubject: complaint about message from 192.0.2.1\nContent-Type: multipart/mixed; boundary=b\n\n\
            --b\nContent-Type: message/rfc822\n\nMessage-ID: <1@example.org>\n\nbody\n--b--\n";
        assert_eq!(meaning(bare), Meaning::Complaint);
    }

    #[test]
    fn replies_are_found_in_words() {
        let found = |text: &str| reply_in(text).map(|reply| reply.to_string());
        assert_eq!(found("smtp; 550 5.1.1 <a@example.net>: no").as_deref(), Some("550 5.1.1 <a@example.net>: no"));
        assert_eq!(found("Remote host said: 452-4.2.2 full").as_deref(), Some("452 4.2.2 full"));
        assert_eq!(found("mailbox unavailable. [SMTP Error Code 550]").as_deref(), Some("550"));
        assert_eq!(found("after 24 hours, 55 tries and 5500 bytes"), None);
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_read_without_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..2000), at in 0..700_usize) {
            read(&bytes);
            let mut report = REPORT.as_bytes().to_vec();
            let at = at.min(report.len());
            report.splice(at..at, bytes.into_iter().take(20));
            read(&report);
        }
    }
}
