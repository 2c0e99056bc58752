//! Who calls, where a proxy stands between: the PROXY protocol, version 1 and 2, by the word of listed proxies alone.

use std::net::SocketAddr;
use std::time::Duration;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// Longest time for a proxy to say it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest header of version 1, its CRLF with it.
const TEXT_MAX: usize = 107;
/// Longest header of version 2, its extensions with it.
const BINARY_MAX: usize = 4096;
/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Reads the header, and nothing behind it. `Ok(None)`: the proxy speaks for itself; `Err`: it has not said who calls.
pub async fn caller(from: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, ()> {
    let header = timeout(PATIENCE, header(from)).await.map_err(|_| ())?.ok_or(())?;
    let config = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true };
    let (parsed, length) = ProxyHeader::parse(&header, config).map_err(|_| ())?;
    if length != header.len() {
        return Err(());
    }
    Ok(parsed.proxied_address().map(|address| address.source))
}

/// The octets of a header.
async fn header(from: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut header = vec![0; SIGNATURE.len()];
    from.read_exact(&mut header).await.ok()?;
    if header == SIGNATURE {
        let mut rest = [0; 4];
        from.read_exact(&mut rest).await.ok()?;
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        if length > BINARY_MAX {
            return None;
        }
        header.extend_from_slice(&rest);
        let start = header.len();
        header.resize(start + length, 0);
        from.read_exact(&mut header[start..]).await.ok()?;
        return Some(header);
    }
    if !header.starts_with(b"PROXY ") {
        return None;
    }
    while !header.ends_with(b"\r\n") {
        if header.len() >= TEXT_MAX {
            return None;
        }
        header.push(from.read_u8().await.ok()?);
    }
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who calls, and what is left to be read.
    async fn read(bytes: &[u8]) -> (Result<Option<String>, ()>, usize) {
        let mut from = bytes;
        let caller = caller(&mut from).await.map(|address| address.map(|address| address.to_string()));
        (caller, from.len())
    }

    #[tokio::test]
    async fn both_versions_are_read_and_nothing_behind_them() {
        let one = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 587\r\nEHLO x\r\n";
        assert_eq!(read(one).await, (Ok(Some("192.0.2.7:56324".to_owned())), 8));
        assert_eq!(read(b"PROXY UNKNOWN\r\nEHLO x\r\n").await, (Ok(None), 8));
        let mut two = [&SIGNATURE[..], &[0x21, 0x11, 0, 12, 192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 4, 2, 75]].concat();
        two.extend_from_slice(b"EHLO x\r\n");
        assert_eq!(read(&two).await, (Ok(Some("192.0.2.7:56324".to_owned())), 8));
        let local = [&SIGNATURE[..], &[0x20, 0, 0, 0]].concat();
        assert_eq!(read(&local).await, (Ok(None), 0));
    }

    #[tokio::test]
    async fn what_is_no_header_is_nobody() {
        let long = [&b"PROXY TCP4 "[..], &[b'1'; 200], b"\r\n"].concat();
        let huge = [&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff], &[0; 100]].concat();
        for bytes in [&b"EHLO mx.example.net\r\n"[..], b"PROXY TCP4 x y 1 2\r\n", b"PROXY", &long, &huge, b""] {
            assert_eq!(read(bytes).await.0, Err(()), "{bytes:?}");
        }
    }
}
