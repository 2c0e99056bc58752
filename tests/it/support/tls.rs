//! Certificates made for the test.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// An authority and a server that shows its certificate for `name`.
pub struct TestTls {
    pub acceptor: TlsAcceptor,
    /// The authority's certificate, in a file that lives as long as the machine's temporary files.
    pub ca_file: PathBuf,
    /// The server's key and certificate, in such a file.
    pub chain_file: PathBuf,
    /// The server's certificate.
    pub leaf: Vec<u8>,
}

impl TestTls {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // One that has its server's name looks as if that had signed itself.
        params.distinguished_name.push(DnType::CommonName, "Authority of a test");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&key, &ca).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let ca_file = std::env::temp_dir().join(format!("mailwright-ca-{}-{number}.pem", std::process::id()));
        std::fs::write(&ca_file, ca.pem()).unwrap();
        let chain_file = ca_file.with_extension("chain.pem");
        std::fs::write(&chain_file, key.serialize_pem() + &leaf.pem()).unwrap();
        Self { acceptor: TlsAcceptor::from(Arc::new(config)), ca_file, chain_file, leaf: leaf.der().to_vec() }
    }
}

impl TestTls {
    /// Files with the certificate and with the key.
    pub fn files(&self) -> (PathBuf, PathBuf) {
        (self.chain_file.clone(), self.chain_file.clone())
    }

    /// Shakes hands over a connection, as a client that trusts the authority.
    pub async fn connect<S>(&self, name: &str, stream: S) -> tokio_rustls::client::TlsStream<S>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        use rustls::pki_types::pem::PemObject;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(rustls::pki_types::CertificateDer::from_pem_file(&self.ca_file).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }
}

/// An HTTPS server that answers every request with a text, as long as the test lives.
pub async fn https(tls: &TestTls, text: &'static str) -> std::net::SocketAddr {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tls.acceptor.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not like the certificate goes away.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 2048];
            let _ = stream.read(&mut request).await;
            let answer =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}", text.len());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

/// An HTTPS server that answers requests with these statuses in turn, the last for all further ones, and shows their heads and bodies.
pub async fn https_taking(
    tls: &TestTls,
    statuses: &'static [u16],
) -> (std::net::SocketAddr, tokio::sync::mpsc::UnboundedReceiver<(String, Vec<u8>)>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tls.acceptor.clone();
    let (send, taken) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut count = 0;
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = Vec::new();
            let (head, body) = loop {
                if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    break (String::new(), Vec::new());
                }
                let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
                let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
                let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
                if request.len() >= end + 4 + length.unwrap_or(0) {
                    break (head, request.split_off(end + 4));
                }
            };
            let status = statuses[count.min(statuses.len() - 1)];
            count += 1;
            let _ = send.send((head, body));
            let answer = format!("HTTP/1.1 {status} So\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (address, taken)
}
