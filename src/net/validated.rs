//! Questions whose answers must have been validated by DNSSEC: asked of a validating resolver that the operator
//! trusts (`dns.trust_ad`), which says so by the AD bit (RFC 4035 §3.2.3, RFC 6840 §5.7). An answer without it is an
//! answer that no one vouches for, and is never used to *allow* anything.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{RData, RecordType};

use super::dns_error::DnsError;
use super::exchange::{exchange, question};
use crate::domain::tlsa::Tlsa;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Mx,
    A,
    Aaaa,
    Tlsa,
}

/// What a validating resolver said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The resolver vouches for all of it, the absence of records included.
    pub is_authentic: bool,
    /// How many records of the kind there are.
    pub count: usize,
    pub tlsa: Vec<Tlsa>,
}

/// The way to the validating resolver.
#[derive(Debug, Clone)]
pub struct Validated {
    pub servers: Vec<SocketAddr>,
    pub timeout: Duration,
}

impl Validated {
    /// Asks one server after the other. SERVFAIL is what a validating resolver says of bogus data: an error.
    pub async fn ask(&self, name: &str, kind: Kind, id: u16) -> Result<Answer, DnsError> {
        let failed = |why: String| DnsError::Temporary(name.to_owned(), why);
        let query = query(name, kind, id).map_err(failed)?;
        let mut last = "no name server is configured".to_owned();
        for server in &self.servers {
            match tokio::time::timeout(self.timeout, exchange(*server, &query, id)).await {
                Ok(Ok(bytes)) => return judge(&bytes, kind).map_err(failed),
                Ok(Err(why)) => last = why,
                Err(_) => last = format!("{server}: no answer within the deadline"),
            }
        }
        Err(failed(last))
    }
}

fn query(name: &str, kind: Kind, id: u16) -> Result<Vec<u8>, String> {
    let record_type = match kind {
        Kind::Mx => RecordType::MX,
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Tlsa => RecordType::TLSA,
    };
    let mut message = question(name, record_type, id)?;
    message.metadata.recursion_desired = true;
    // RFC 6840 §5.7: we understand AD.
    message.metadata.authentic_data = true;
    message.to_vec().map_err(|error| error.to_string())
}

/// What an answer to [`Validated::ask`] says; any bytes are taken.
pub fn judge(bytes: &[u8], kind: Kind) -> Result<Answer, String> {
    let message = Message::from_vec(bytes).map_err(|error| error.to_string())?;
    match message.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => {}
        other => return Err(other.to_string()),
    }
    let of_kind = |data: &RData| {
        matches!(
            (kind, data),
            (Kind::Mx, RData::MX(_))
                | (Kind::A, RData::A(_))
                | (Kind::Aaaa, RData::AAAA(_))
                | (Kind::Tlsa, RData::TLSA(_))
        )
    };
    let records: Vec<_> = message.answers.iter().map(|record| &record.data).filter(|data| of_kind(data)).collect();
    let tlsa = records.iter().filter_map(|data| match data {
        RData::TLSA(tlsa) => Some(Tlsa {
            usage: tlsa.cert_usage.into(),
            selector: tlsa.selector.into(),
            matching: tlsa.matching.into(),
            data: tlsa.cert_data.clone(),
        }),
        _ => None,
    });
    Ok(Answer { is_authentic: message.metadata.authentic_data, count: records.len(), tlsa: tlsa.collect() })
}
