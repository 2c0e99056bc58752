//! A connection to a stranger's HTTP server: resolved once, judged, connected to what was judged, secured by the
//! roots and the host's name.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::dns::Resolver;
use super::tls::TlsConfigs;
use crate::domain::net::NetUse;

/// Connects to a host that a stranger has named, where that may be; the error is in words.
pub async fn connect(
    resolver: &Resolver,
    tls: &TlsConfigs,
    host: &str,
    port: u16,
    is_secured: bool,
) -> Result<Stream, String> {
    connect_to_one(tls, host, port, resolver.foreign_at(host, port).await.map_err(text)?, is_secured).await
}

/// Connects to a host for a document of MTA-STS, whose port the operator sets.
pub async fn connect_at_set_port(
    resolver: &Resolver,
    tls: &TlsConfigs,
    host: &str,
    port: u16,
) -> Result<Stream, String> {
    connect_to_one(tls, host, port, resolver.foreign(host, NetUse::Web).await.map_err(text)?, true).await
}

async fn connect_to_one(
    tls: &TlsConfigs,
    host: &str,
    port: u16,
    addresses: Vec<IpAddr>,
    is_secured: bool,
) -> Result<Stream, String> {
    let mut last = String::new();
    for ip in addresses {
        match TcpStream::connect(SocketAddr::new(ip, port)).await {
            Ok(stream) => return secure(tls, host, stream, is_secured).await,
            Err(error) => last = format!("{ip}: {error}"),
        }
    }
    Err(last)
}

/// Connects to a host that the operator named, whatever its address is.
pub async fn connect_to_named(tls: &TlsConfigs, host: &str, port: u16, is_secured: bool) -> Result<Stream, String> {
    let stream = TcpStream::connect((host, port)).await.map_err(text)?;
    secure(tls, host, stream, is_secured).await
}

async fn secure(tls: &TlsConfigs, host: &str, stream: TcpStream, is_secured: bool) -> Result<Stream, String> {
    stream.set_nodelay(true).map_err(text)?;
    if !is_secured {
        return Ok(Stream::Plain(stream));
    }
    let name = ServerName::try_from(host.to_owned()).map_err(text)?;
    let connector = TlsConnector::from(Arc::clone(&tls.validating));
    Ok(Stream::Tls(Box::new(connector.connect(name, stream).await.map_err(text)?)))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The connection, in the clear or not.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}
