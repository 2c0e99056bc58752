//! A DNS server with a zone of the test's own (RFC 1035), over UDP and TCP.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// What a name answers. A name that is not in the zone does not exist.
#[derive(Debug, Clone)]
pub enum Zone {
    Mx(Vec<(u16, &'static str)>),
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Txt(&'static str),
    Cname(&'static str),
    Ns(&'static str),
    /// Usage, selector, matching and data.
    Tlsa(u8, u8, u8, Vec<u8>),
    /// The name exists, without these records.
    Empty,
    ServFail,
    /// Questions about its IPv6 addresses fail.
    NoAaaa,
    /// Questions about the name are not answered.
    Silent,
    /// They are, but late.
    Late(Duration),
    /// The answers are too long for UDP: it gets them cut off (TC).
    Long,
}

const A: u16 = 1;
const NS: u16 = 2;
const CNAME: u16 = 5;
const MX: u16 = 15;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const TLSA: u16 = 52;

/// A running server.
pub struct Dns {
    pub address: SocketAddr,
    names: Arc<RwLock<Names>>,
}

impl Dns {
    /// From now on the name answers this; without entries it does not exist.
    pub fn set(&self, name: &str, entries: &[Zone]) {
        let mut names = self.names.write().unwrap();
        names.remove(name);
        if !entries.is_empty() {
            names.insert(leaked(name), entries.to_vec());
        }
    }

    /// From now on the name is an alias.
    pub fn set_alias(&self, name: &str, target: &str) {
        self.set(name, &[Zone::Cname(leaked(target))]);
    }

    /// From now on the name answers this text.
    pub fn set_text(&self, name: &str, text: &str) {
        self.set(name, &[Zone::Txt(leaked(text))]);
    }

    pub async fn start(zone: &[(&'static str, Zone)]) -> Self {
        Self::start_as(zone, false).await
    }

    /// One that says of every answer that it was validated (AD).
    pub async fn start_validating(zone: &[(&'static str, Zone)]) -> Self {
        Self::start_as(zone, true).await
    }

    async fn start_as(zone: &[(&'static str, Zone)], is_authentic: bool) -> Self {
        let mut names = Names::new();
        for (name, entry) in zone {
            names.entry(name).or_default().push(entry.clone());
        }
        let (socket, listener) = bind_both().await;
        let address = socket.local_addr().unwrap();
        let (socket, names) = (Arc::new(socket), Arc::new(RwLock::new(names)));
        let (over_tcp, kept) = (Arc::clone(&names), Arc::clone(&names));
        tokio::spawn(async move {
            let mut query = [0; 1500];
            while let Ok((count, from)) = socket.recv_from(&mut query).await {
                let (socket, names, query) = (Arc::clone(&socket), Arc::clone(&names), query[..count].to_vec());
                tokio::spawn(async move {
                    if let Some(answer) = answer_in_time(&query, &names, is_authentic, true).await {
                        let _ = socket.send_to(&answer, from).await;
                    }
                });
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let names = Arc::clone(&over_tcp);
                tokio::spawn(async move {
                    // A client that goes away ends its connection and nothing else.
                    while let Ok(length) = stream.read_u16().await {
                        let mut query = vec![0; usize::from(length)];
                        stream.read_exact(&mut query).await?;
                        if let Some(answer) = answer_in_time(&query, &names, is_authentic, false).await {
                            stream.write_u16(u16::try_from(answer.len()).unwrap()).await?;
                            stream.write_all(&answer).await?;
                        }
                    }
                    std::io::Result::Ok(())
                });
            }
        });
        Self { address, names: kept }
    }
}

/// A server, for all tests, in whose world no name exists: nobody is asked whom a test did not start.
pub fn nowhere() -> SocketAddr {
    static SERVER: OnceLock<SocketAddr> = OnceLock::new();
    *SERVER.get_or_init(|| {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        // Of no test's runtime: it lives as long as the process.
        std::thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((count, from)) = socket.recv_from(&mut query) {
                let _ = socket.send_to(&answer(&query[..count], &Names::new()), from);
            }
        });
        address
    })
}

/// One port for both.
async fn bind_both() -> (UdpSocket, TcpListener) {
    loop {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()).await {
            return (socket, listener);
        }
    }
}

type Names = HashMap<&'static str, Vec<Zone>>;

async fn answer_in_time(query: &[u8], names: &RwLock<Names>, is_authentic: bool, is_udp: bool) -> Option<Vec<u8>> {
    let (name, _) = question(query);
    let (entries, mut answer) = {
        let names = names.read().unwrap();
        (names.get(name.as_str()).cloned().unwrap_or_default(), answer(query, &names))
    };
    if is_authentic {
        answer[3] |= 0x20;
    }
    for entry in entries {
        match entry {
            Zone::Silent => return None,
            Zone::Late(wait) => tokio::time::sleep(wait).await,
            Zone::Long if is_udp => {
                // The header and the question, and the word that more was to come.
                answer.truncate(query.len());
                answer[2] |= 0x02;
                answer[6..12].fill(0);
            }
            _ => {}
        }
    }
    Some(answer)
}

/// The name that is asked about, and where it ends.
fn question(query: &[u8]) -> (String, usize) {
    let (mut labels, mut at) = (Vec::new(), 12);
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_ascii_lowercase());
        at = end;
    }
    (labels.join("."), at)
}

fn answer(query: &[u8], names: &Names) -> Vec<u8> {
    let (asked, at) = question(query);
    let asked_kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let entries = names.get(asked.as_str());
    let is_alias = entries.is_some_and(|entries| entries.iter().any(|entry| matches!(entry, Zone::Cname(_))));
    let kind = if is_alias { CNAME } else { asked_kind };
    let records: Vec<Vec<u8>> = entries.into_iter().flatten().flat_map(|entry| records(entry, kind)).collect();
    let followed = entries.into_iter().flatten().filter_map(|entry| match entry {
        Zone::Cname(target) if asked_kind == TXT => names.get(target),
        _ => None,
    });
    let followed: Vec<Vec<u8>> = followed.flatten().flat_map(|entry| self::records(entry, TXT)).collect();
    let code = match entries {
        None => 3,
        Some(entries) if entries.iter().any(|e| matches!(e, Zone::ServFail)) => 2,
        Some(entries) if asked_kind == AAAA && entries.iter().any(|e| matches!(e, Zone::NoAaaa)) => 2,
        Some(_) => 0,
    };
    // Response, authoritative, recursion desired and available.
    let mut answer = vec![query[0], query[1], 0x85, 0x80 | code, 0, 1];
    answer.extend(u16::try_from(records.len() + followed.len()).unwrap().to_be_bytes());
    answer.extend([0, 0, 0, 0]);
    answer.extend(&query[12..at + 5]);
    let records = records.into_iter().map(|data| (kind, data));
    for (kind, data) in records.chain(followed.into_iter().map(|data| (TXT, data))) {
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 60]);
        answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        answer.extend(data);
    }
    answer
}

fn records(entry: &Zone, kind: u16) -> Vec<Vec<u8>> {
    match (entry, kind) {
        (Zone::A(ip), A) => vec![ip.octets().to_vec()],
        (Zone::Aaaa(ip), AAAA) => vec![ip.octets().to_vec()],
        (Zone::Mx(list), MX) => list
            .iter()
            .map(|(preference, host)| {
                let mut data = preference.to_be_bytes().to_vec();
                data.extend(name(host));
                data
            })
            .collect(),
        (Zone::Cname(target), CNAME) => vec![name(target)],
        (Zone::Txt(text), TXT) => {
            let strings = text.as_bytes().chunks(255);
            vec![strings.flat_map(|part| [&[u8::try_from(part.len()).unwrap()], part].concat()).collect()]
        }
        (Zone::Ns(host), NS) => vec![name(host)],
        (Zone::Tlsa(usage, selector, matching, data), TLSA) => {
            vec![[&[*usage, *selector, *matching], data.as_slice()].concat()]
        }
        _ => Vec::new(),
    }
}

/// For as long as the tests run.
fn leaked(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

fn name(host: &str) -> Vec<u8> {
    let mut data = Vec::new();
    for label in host.split('.').filter(|label| !label.is_empty()) {
        data.push(u8::try_from(label.len()).unwrap());
        data.extend(label.as_bytes());
    }
    data.push(0);
    data
}
