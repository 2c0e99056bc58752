//! What the header of a composed message says of itself.

use mail_parser::{HeaderName, MessageParser};

/// The fields that matter to whoever sends it on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RawHeader {
    /// The addresses of all `From` fields.
    pub authors: Vec<RawAuthor>,
    /// The addresses of `To` and of `Cc` fields.
    pub to: Vec<String>,
    pub cc: Vec<String>,
    /// Decoded; empty without one.
    pub subject: String,
    pub message_id: Option<String>,
    /// How many `Date` fields there are.
    pub dates: usize,
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

/// Reads the header of `raw`; what cannot be read is as good as not there.
pub fn header_of(raw: &[u8]) -> RawHeader {
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
    let plain = |name| addresses(name).into_iter().map(|named| named.address).collect();
    RawHeader {
        authors: addresses(HeaderName::From),
        to: plain(HeaderName::To),
        cc: plain(HeaderName::Cc),
        subject: message.subject().unwrap_or_default().replace(char::is_control, " "),
        message_id: message.message_id().map(str::to_owned),
        dates: fields(&HeaderName::Date),
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
    }
}
