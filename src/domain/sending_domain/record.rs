//! The records that a domain is to publish, and whether what was seen is what was wanted.

use super::key_record::{self, KeyRecord};
use crate::domain::words::words;

words! {
    /// What a record is there for.
    pub enum Purpose {
        /// The key that mail is signed with (RFC 6376 §3.6.2).
        Dkim = "dkim",
        /// Where notices of non-delivery come in, and whose SPF is asked (RFC 7208 §2.4): the domain of MAIL FROM.
        ReturnPath = "return_path",
        /// What receivers are to do with mail that is not ours (RFC 9989).
        Dmarc = "dmarc",
        /// The host of links that are counted.
        Tracking = "tracking",
    }
}

words! {
    /// The type of a record, as zone files write it.
    pub enum RecordType {
        Txt = "TXT",
        Cname = "CNAME",
    }
}

/// A record to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedRecord {
    pub purpose: Purpose,
    /// The whole name, in lower case, without the dot of the root.
    pub host: String,
    pub record_type: RecordType,
    /// One text, however many strings it is published in; or a host.
    pub value: String,
    /// Whether the domain is not verified without it.
    pub is_required: bool,
    pub expected: Expected,
}

/// What makes a record right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// A key record (RFC 6376 §3.6.1) with this key.
    Key(KeyRecord),
    /// An alias of that host, or that host as the mail exchanger.
    Host(String),
    /// Any policy (RFC 9989 §4.7).
    Policy,
}

impl Expected {
    /// What is wrong with what a name says; nothing when it is what was wanted.
    pub fn fault(&self, values: &[String]) -> Option<String> {
        match self {
            Self::Key(key) => {
                let records: Vec<_> = values.iter().filter(|value| key_record::is_like(value)).collect();
                match records.as_slice() {
                    [] => Some("no key record is among its texts".to_owned()),
                    [one] => key.fault(one),
                    // RFC 6376 §3.6.2.2: what a verifier does with several is undefined.
                    several => Some(format!("{} key records stand at one name: remove the others", several.len())),
                }
            }
            Self::Host(host) => {
                let points =
                    |value: &String| value.rsplit(' ').next().is_some_and(|last| last.eq_ignore_ascii_case(host));
                (!values.iter().any(points)).then(|| format!("it does not lead to {host}"))
            }
            Self::Policy => {
                let policies = values.iter().filter(|value| super::dmarc::is_policy(value)).count();
                match policies {
                    0 => Some("no DMARC policy is among its texts".to_owned()),
                    1 => None,
                    // RFC 9989 §4.7: then none is used.
                    many => Some(format!("{many} policies stand at one name: receivers use none of them")),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_found_as_alias_or_as_exchanger() {
        let expected = Expected::Host("in.example.net".to_owned());
        for values in [&["in.example.net"][..], &["10 IN.example.net"], &["5 other.example", "10 in.example.net"]] {
            let values: Vec<_> = values.iter().map(|value| (*value).to_owned()).collect();
            assert_eq!(expected.fault(&values), None, "{values:?}");
        }
        assert!(expected.fault(&["10 xin.example.net".to_owned()]).is_some());
    }

    #[test]
    fn two_policies_are_none() {
        let policy = "v=DMARC1; p=none".to_owned();
        assert_eq!(Expected::Policy.fault(&[policy.clone(), "other".to_owned()]), None);
        assert!(Expected::Policy.fault(&[policy.clone(), policy]).unwrap().contains("2 policies"));
        assert!(Expected::Policy.fault(&[]).is_some());
    }
}
