//! One question to one name server, and its answer: by UDP, and by TCP where it does not fit (RFC 7766).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hickory_resolver::proto::op::{Message, MessageType, OpCode, Query};
use hickory_resolver::proto::rr::RecordType;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::name::name_of;

/// A question for the records of a type that a name has; what else it asks for, its metadata may say.
pub(super) fn question(name: &str, record_type: RecordType, id: u16) -> Result<Message, String> {
    let mut name = name_of(name).ok_or_else(|| format!("{name} can be no name"))?;
    name.set_fqdn(true);
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name, record_type));
    Ok(message)
}

/// Sends a query with that id, and waits for the answer for as long as the caller does.
pub(super) async fn exchange(server: SocketAddr, query: &[u8], id: u16) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("{server}: {error}");
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await.map_err(failed)?;
    socket.connect(server).await.map_err(failed)?;
    socket.send(query).await.map_err(failed)?;
    let mut answer = vec![0; 4096];
    loop {
        let count = socket.recv(&mut answer).await.map_err(failed)?;
        // Not the answer to this question: somebody guesses.
        if count < 12 || answer[..2] != id.to_be_bytes() {
            continue;
        }
        let is_truncated = answer[2] & 0b10 != 0;
        if is_truncated {
            return by_tcp(server, query).await.map_err(failed);
        }
        answer.truncate(count);
        return Ok(answer);
    }
}

async fn by_tcp(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).unwrap_or(u16::MAX);
    stream.write_all(&[&length.to_be_bytes()[..], query].concat()).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}
