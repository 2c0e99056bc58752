//! What the header of a composed message says of itself.

use mail_parser::{HeaderName, MessageParser};

use super::dkim::Fields;

/// The fields that matter to whoever sends it on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RawHeader {
    /// The addresses of all `From` fields.
    pub authors: Vec<RawAuthor>,
    /// The addresses of `Sender`, `Resent-From` and `Resent-Sender` fields: readers show them as those who send (RFC 5322 §3.6.2, §3.6.6).
    pub senders: Vec<String>,
    /// Such a field has none that can be read.
    pub has_unreadable_sender: bool,
    /// The addresses of `To` and of `Cc` fields.
    pub to: Vec<String>,
    pub cc: Vec<String>,
    /// Decoded; empty without one.
    pub subject: String,
    pub message_id: Option<String>,
    /// How many `Date` fields there are.
    pub dates: usize,
    /// A field that stands there more than once, and must not (RFC 5322 §3.6).
    pub repeated: Option<&'static str>,
    /// It has more fields, or octets, than are looked at.
    pub is_excessive: bool,
    /// Whether a `Bcc` field names somebody.
    pub has_bcc: bool,
}

/// An address in a header.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RawAuthor {
    /// Decoded.
    pub name: Option<String>,
    pub address: String,
}

/// Fields and octets of a header: more than any program writes.
pub const HEADER_FIELDS_MAX: usize = 1000;
pub const HEADER_OCTETS_MAX: usize = 256 << 10;

/// A header that is larger than that.
#[derive(Debug)]
pub struct Excessive;

/// Refuses a header before a parser makes many times as much of it.
pub fn measure(raw: &[u8]) -> Result<(), Excessive> {
    let mut octets = 0;
    for (count, field) in Fields::of(raw).enumerate() {
        octets += field.len();
        if count >= HEADER_FIELDS_MAX || octets > HEADER_OCTETS_MAX {
            return Err(Excessive);
        }
    }
    Ok(())
}

/// Fields that stand once, if at all; that of the date is counted apart.
const ONCE: [(HeaderName<'_>, &str); 8] = [
    (HeaderName::From, "From"),
    (HeaderName::Sender, "Sender"),
    (HeaderName::ReplyTo, "Reply-To"),
    (HeaderName::To, "To"),
    (HeaderName::Cc, "Cc"),
    (HeaderName::Subject, "Subject"),
    (HeaderName::MessageId, "Message-ID"),
    (HeaderName::InReplyTo, "In-Reply-To"),
];

/// Reads the header of `raw`; what cannot be read is as good as not there.
pub fn header_of(raw: &[u8]) -> RawHeader {
    if let Err(Excessive) = measure(raw) {
        return RawHeader { is_excessive: true, ..RawHeader::default() };
    }
    let Some(message) = MessageParser::default().parse_headers(raw) else { return RawHeader::default() };
    let fields = |name: &HeaderName<'_>| message.headers().iter().filter(|field| field.name == *name).count();
    let addresses = |name: HeaderName<'static>| -> Vec<RawAuthor> {
        let fields = message.headers().iter().filter(|field| field.name == name);
        let lists = fields.filter_map(|field| field.value.as_address());
        let all = lists.flat_map(mail_parser::Address::iter).filter_map(|one| {
            let address = one.address.as_ref()?.to_string();
            Some(RawAuthor { name: one.name.as_ref().map(ToString::to_string), address })
        });
        all.collect()
    };
    let senders = [HeaderName::Sender, HeaderName::ResentFrom, HeaderName::ResentSender];
    let plain = |name| addresses(name).into_iter().map(|named| named.address).collect();
    RawHeader {
        authors: addresses(HeaderName::From),
        has_unreadable_sender: senders.iter().any(|name| fields(name) > 0 && addresses(name.clone()).is_empty()),
        senders: senders.into_iter().flat_map(plain).collect::<Vec<String>>(),
        to: plain(HeaderName::To),
        cc: plain(HeaderName::Cc),
        subject: message.subject().unwrap_or_default().replace(char::is_control, " "),
        message_id: message.message_id().map(str::to_owned),
        dates: fields(&HeaderName::Date),
        repeated: ONCE.iter().find(|(name, _)| fields(name) > 1).map(|(_, said)| *said),
        is_excessive: false,
        has_bcc: message.bcc().is_some_and(|bcc| bcc.iter().next().is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_header_says_is_read() {
        let raw =
            b"From: A <a@example.org>\r\nDate: Fri, 27 Nov 2026 00:00:00 +0000\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\n\
                    Message-ID: <1@example.org>\r\n\r\nFrom: not@this\r\n";
        let header = header_of(raw);
        let author = RawAuthor { name: Some("A".to_owned()), address: "a@example.org".to_owned() };
        assert_eq!(header.authors, [author]);
        assert_eq!((header.subject.as_str(), header.message_id.as_deref()), ("café", Some("1@example.org")));
        assert_eq!((header.dates, header.has_bcc), (1, false));
        let header =
            header_of(b"From: a@example.org, b@example.org\r\nFrom: c@example.org\r\nBcc: d@example.org\r\n\r\n");
        assert_eq!((header.authors.len(), header.dates, header.has_bcc), (3, 0, true));
        assert_eq!(header_of(b"").authors.len(), 0);
        let header = header_of(
            b"From: a@example.org\r\nsender: \"CEO\" <ceo@one.example>\r\nResent-From: x <x@two.example>, y@three.example\r\n\
              Resent-Sender: z@four.example\r\n\r\n",
        );
        assert_eq!(header.senders, ["ceo@one.example", "x@two.example", "y@three.example", "z@four.example"]);
        assert!(!header.has_unreadable_sender);
        assert!(header_of(b"From: a@example.org\r\nSender: nobody at all\r\n\r\n").has_unreadable_sender);
    }
}
