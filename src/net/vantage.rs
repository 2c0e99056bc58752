//! What a name says, seen from one place: a question to one name server, past every cache of ours. "It is not there" and
//! "nobody says" are different answers.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{RData, RecordType};

use super::exchange::{exchange, question};
use super::name::text_of;
use crate::domain::sending_domain::Told;

/// Records of one answer that are looked at, and characters of each: more than any key of 4096 bits.
const VALUES_MAX: usize = 20;
const VALUE_MAX: usize = 2000;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Txt,
    Cname,
    Mx,
    Ns,
}

impl Asked {
    const fn record_type(self) -> RecordType {
        match self {
            Self::Txt => RecordType::TXT,
            Self::Cname => RecordType::CNAME,
            Self::Mx => RecordType::MX,
            Self::Ns => RecordType::NS,
        }
    }
}

/// Asks one server. An authoritative one has to say that it is (AA), and may know an alias without what it leads to.
pub async fn ask(
    server: SocketAddr,
    (name, asked): (&str, Asked),
    is_authority: bool,
    id: u16,
    timeout: Duration,
) -> Told {
    let query = match query(name, asked, !is_authority, id) {
        Ok(query) => query,
        Err(why) => return Told::Unknown(why),
    };
    match tokio::time::timeout(timeout, exchange(server, &query, id)).await {
        Ok(Ok(bytes)) => read(&bytes, asked, is_authority),
        Ok(Err(why)) => Told::Unknown(why),
        Err(_) => Told::Unknown("no answer within the deadline".to_owned()),
    }
}

fn query(name: &str, asked: Asked, recurse: bool, id: u16) -> Result<Vec<u8>, String> {
    let mut message = question(name, asked.record_type(), id)?;
    message.metadata.recursion_desired = recurse;
    message.to_vec().map_err(|error| error.to_string())
}

/// What an answer says; any bytes are taken.
pub fn read(bytes: &[u8], asked: Asked, is_authority: bool) -> Told {
    let message = match Message::from_vec(bytes) {
        Ok(message) => message,
        Err(error) => return Told::Unknown(error.to_string()),
    };
    match message.metadata.response_code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain if !is_authority || message.metadata.authoritative => return Told::Absent,
        other => return Told::Unknown(other.to_string()),
    }
    if is_authority && !message.metadata.authoritative {
        return Told::Unknown("the server is none of this zone's".to_owned());
    }
    let values = message.answers.iter().filter_map(|record| value(&record.data, asked));
    let values: Vec<_> = values.take(VALUES_MAX).map(|value| shown(&value)).collect();
    if !values.is_empty() {
        return Told::Values(values);
    }
    let alias = message.answers.iter().find_map(|record| value(&record.data, Asked::Cname));
    match alias {
        Some(target) if is_authority => Told::Unknown(format!("it is an alias of {target}, which another zone has")),
        _ => Told::Absent,
    }
}

/// As it can be kept and shown: a zone may hold any octets, and many.
fn shown(value: &str) -> String {
    value.chars().take(VALUE_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn value(data: &RData, asked: Asked) -> Option<String> {
    match (asked, data) {
        (Asked::Txt, RData::TXT(txt)) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
        (Asked::Cname, RData::CNAME(name)) => Some(text_of(&name.0)),
        (Asked::Mx, RData::MX(mx)) => Some(format!("{} {}", mx.preference, text_of(&mx.exchange))),
        (Asked::Ns, RData::NS(name)) => Some(text_of(&name.0)),
        _ => None,
    }
}
