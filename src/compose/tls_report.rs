//! A report of a day's TLS sessions to a domain: as mail (RFC 8460 §4.4, §5.3), or as what is posted (§5.4).

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::Uri;
use serde_json::{Map, Value, json};
use time::format_description::well_known::{Rfc2822, Rfc3339};
use time::{Date, Time};

use super::transfer::of_bytes;
use crate::domain::address::Address;
use crate::domain::clock::Timestamp;
use crate::domain::tls_result::{TlsPolicyType, TlsResult, TlsSessions};

/// What a report says.
#[derive(Debug, Clone)]
pub struct TlsReport<'r> {
    pub from: &'r Address,
    pub organization: &'r str,
    /// The domain whose policy it is.
    pub domain: &'r str,
    pub day: Date,
    /// Letters and digits.
    pub id: &'r str,
    pub sessions: &'r [TlsSessions],
    pub now: Timestamp,
}

impl TlsReport<'_> {
    pub fn subject(&self) -> String {
        let Self { domain, id, .. } = self;
        format!("Report Domain: {domain} Submitter: {} Report-ID: <{}>", self.from.domain(), self.message_id(id))
    }

    fn message_id(&self, id: &str) -> String {
        format!("{id}@{}", self.from.domain())
    }

    /// What is posted, `application/tlsrpt+gzip`.
    pub fn packed(&self) -> Vec<u8> {
        gzip(self.json().to_string().as_bytes())
    }

    /// The message to a mailbox, with CRLF line ends.
    pub fn write(&self, to: &Address) -> Vec<u8> {
        let Self { from, domain, id, .. } = self;
        let (begin, end) = self.span();
        let submitter = from.domain();
        let name = format!("{submitter}!{domain}!{}!{}!{id}.json.gz", begin.unix_timestamp(), end.unix_timestamp());
        let packed = of_bytes(self.packed());
        // An instant that cannot be written so is none.
        let date = self.now.replace_nanosecond(0).unwrap_or(self.now).format(&Rfc2822).unwrap_or_default();
        let boundary = format!("=_{id}");
        let mut message = format!(
            "From: {from}\r\nTo: {to}\r\nSubject: {}\r\nDate: {date}\r\nMessage-ID: <{}>\r\nTLS-Report-Domain: {domain}\r\n\
             TLS-Report-Submitter: {submitter}\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n boundary=\"{boundary}\"\r\n\r\n\
             --{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
             This is an aggregate TLS report from {submitter} (RFC 8460).\r\n\
             --{boundary}\r\nContent-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: {}\r\n\
             Content-Disposition: attachment;\r\n filename=\"{name}\"\r\n\r\n",
            self.subject().replace(" Submitter: ", "\r\n Submitter: ").replace(" Report-ID: ", "\r\n Report-ID: "),
            self.message_id(id),
            packed.name,
        )
        .into_bytes();
        message.extend_from_slice(&packed.bytes);
        message.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        message
    }

    fn span(&self) -> (Timestamp, Timestamp) {
        let begin = self.day.with_time(Time::MIDNIGHT).assume_utc();
        (begin, begin + time::Duration::seconds(86_399))
    }

    fn json(&self) -> Value {
        let (begin, end) = self.span();
        let of = |policy: TlsPolicyType| self.sessions.iter().filter(move |one| one.policy_type == policy);
        let policies = TlsPolicyType::ALL.iter().filter(|policy| of(**policy).next().is_some()).map(|policy| {
            let (good, bad): (Vec<_>, Vec<_>) = of(*policy).partition(|one| one.result == TlsResult::Successful);
            let sum = |all: &[&TlsSessions]| all.iter().map(|one| one.sessions).sum::<u64>();
            let mut entry = Map::new();
            entry.insert("policy".to_owned(), json!({"policy-type": policy.name(), "policy-domain": self.domain}));
            let summary =
                json!({"total-successful-session-count": sum(&good), "total-failure-session-count": sum(&bad)});
            entry.insert("summary".to_owned(), summary);
            let failures: Vec<_> = bad
                .iter()
                .map(|one| {
                    json!({
                        "result-type": one.result.name(),
                        "receiving-mx-hostname": one.host,
                        "failed-session-count": one.sessions,
                    })
                })
                .collect();
            if !failures.is_empty() {
                entry.insert("failure-details".to_owned(), json!(failures));
            }
            Value::Object(entry)
        });
        json!({
            "organization-name": self.organization,
            "date-range": {"start-datetime": plain(begin), "end-datetime": plain(end)},
            "contact-info": self.from.as_str(),
            "report-id": self.message_id(self.id),
            "policies": policies.collect::<Vec<_>>(),
        })
    }
}

/// Whole seconds, as reports have them.
fn plain(at: Timestamp) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // A buffer takes what it is given.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// Where a report is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    Mailbox(Address),
    /// Of `https:`, without user information.
    Url(Uri),
}

impl Destination {
    /// The address or URL.
    pub fn text(&self) -> String {
        match self {
            Self::Mailbox(address) => address.to_string(),
            Self::Url(url) => url.to_string(),
        }
    }

    fn parse(uri: &str) -> Option<Self> {
        let uri = uri.trim();
        let (scheme, rest) = uri.split_once(':')?;
        // A comma, a semicolon and an exclamation mark are written encoded; what follows one is a size (RFC 8460 §3, RFC 7489 §6.2).
        let plain = rest.split('!').next().unwrap_or_default();
        if scheme.eq_ignore_ascii_case("mailto") {
            return Address::parse(plain.split('?').next().unwrap_or_default()).ok().map(Self::Mailbox);
        }
        let url: Uri = format!("{}:{plain}", scheme.to_ascii_lowercase()).parse().ok()?;
        let is_plain = url.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        (url.scheme_str() == Some("https") && is_plain).then_some(Self::Url(url))
    }
}

/// Where a domain wants reports, by its record `_smtp._tls` (RFC 8460 §3), two places at most; `None`: it has no record, or several.
pub fn wanted_at(texts: &[String]) -> Option<Vec<Destination>> {
    let is_record = |text: &&String| text.trim_start().starts_with("v=TLSRPTv1");
    let mut records = texts.iter().filter(is_record);
    let (record, None) = (records.next()?, records.next()) else { return None };
    let uris = record.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("rua").then_some(value)
    })?;
    Some(uris.split(',').filter_map(Destination::parse).take(2).collect())
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;

    #[test]
    fn a_report_is_written_as_others_write_it() {
        let address = |text: &str| Address::parse(text).unwrap();
        let sessions = |result, count| TlsSessions {
            policy_type: TlsPolicyType::Sts,
            host: "mx.example.org".to_owned(),
            result,
            sessions: count,
        };
        let all = [sessions(TlsResult::Successful, 7), sessions(TlsResult::CertificateExpired, 2)];
        let report = TlsReport {
            from: &address("tls@sender.example"),
            organization: "Sender",
            domain: "example.org",
            day: date!(2026 - 11 - 26),
            id: "abc",
            sessions: &all,
            now: datetime!(2026-11-27 01:00 UTC),
        };
        let raw = report.write(&address("reports@example.org"));
        assert_eq!(crate::domain::draft::wire_fault(&raw), None);
        let message = mail_parser::MessageParser::default().parse(&raw).unwrap();
        assert_eq!(
            message.subject().unwrap(),
            "Report Domain: example.org Submitter: sender.example Report-ID: <abc@sender.example>"
        );
        let packed = message.attachment(0).unwrap();
        let mut json = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(packed.contents()), &mut json).unwrap();
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["date-range"]["start-datetime"], "2026-11-26T00:00:00Z");
        assert_eq!(
            json["policies"][0]["summary"],
            json!({"total-successful-session-count": 7, "total-failure-session-count": 2})
        );
        assert_eq!(json["policies"][0]["failure-details"][0]["result-type"], "certificate-expired");
    }

    #[test]
    fn a_domain_says_where_it_wants_reports() {
        let at = |texts: &[&str]| {
            let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
            wanted_at(&texts).map(|all| all.iter().map(Destination::text).collect::<Vec<_>>())
        };
        assert_eq!(at(&["other", "v=TLSRPTv1; rua=mailto:a@b.example"]), Some(vec!["a@b.example".to_owned()]));
        assert_eq!(
            at(&["v=TLSRPTv1;rua=https://x.example/r, MAILTO:a@b.example!10m"]),
            Some(vec!["https://x.example/r".to_owned(), "a@b.example".to_owned()])
        );
        let none = ["http://x.example", "https://a:b@x.example/", "https:", "ftp://x.example", "https://", "mailto:"];
        assert_eq!(at(&[&format!("v=TLSRPTv1; rua={}", none.join(","))]), Some(vec![]));
        for none in
            [&[][..], &["v=TLSRPTv2; rua=mailto:a@b.c"], &["v=TLSRPTv1"], &["v=TLSRPTv1; rua=mailto:a@b.example"; 2]]
        {
            assert_eq!(at(none), None, "{none:?}");
        }
    }
}
