//! The bytes of a session: in the clear, under TLS, or no more.

use std::net::{IpAddr, SocketAddr};

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;

/// The connection of a session.
pub enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Gone,
}

impl Wire {
    /// Reads behind what is in `buffer`, as far as it has room.
    pub async fn read(&mut self, buffer: &mut Vec<u8>) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read_buf(buffer).await,
            Self::Tls(stream) => stream.read_buf(buffer).await,
            Self::Gone => Ok(0),
        }
    }

    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await,
            Self::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Self::Gone => Err(std::io::ErrorKind::NotConnected.into()),
        }
    }

    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Tls(stream) => Some(stream.get_ref().0),
            Self::Gone => None,
        }
    }

    /// Whether something has come that nobody has read: bytes, or the end. Asks the system, whose answer needs no turn of
    /// the runtime.
    pub fn has_come(&self) -> bool {
        let Some(tcp) = self.tcp() else { return true };
        let mut one = [std::mem::MaybeUninit::uninit()];
        // The socket does not block.
        !matches!(SockRef::from(tcp).peek(&mut one), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Whether the peer's system has refused bytes of ours: those of a connection that its program had closed.
    pub fn was_refused(&self) -> bool {
        self.tcp().is_some_and(|tcp| !matches!(SockRef::from(tcp).take_error(), Ok(None)))
    }

    pub async fn shutdown(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.shutdown().await,
            Self::Tls(stream) => stream.shutdown().await,
            Self::Gone => Ok(()),
        }
    }
}

/// Connects from an address of ours, or from the one that the system chooses.
pub async fn connect_from(source: Option<IpAddr>, address: SocketAddr) -> std::io::Result<TcpStream> {
    let Some(ip) = source else { return TcpStream::connect(address).await };
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    let named = |error| std::io::Error::other(format!("nothing can leave from {ip}: {error}"));
    socket.bind(SocketAddr::new(ip, 0)).map_err(named)?;
    socket.connect(address).await
}
