//! The ways to trust a certificate: by the roots and the host's name, by TLSA records (RFC 7672), or not at all
//! (RFC 7435).

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, RootCertStore};

use super::dane::DaneVerifier;
use super::handshake::sound_handshake;
use crate::domain::tls_result::TlsResult;
use crate::domain::tlsa::Tlsa;

/// Client configurations, made once.
#[derive(Clone)]
pub struct TlsConfigs {
    /// Checks chain and name.
    pub validating: Arc<ClientConfig>,
    /// Takes any certificate: encryption against those who only listen.
    pub opportunistic: Arc<ClientConfig>,
    /// What [`Self::validating`] checks by.
    verifier: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
}

impl TlsConfigs {
    /// `ca_file` adds certificate authorities; an empty path adds none.
    pub fn new(ca_file: &Path) -> Result<Self, String> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if !ca_file.as_os_str().is_empty() {
            let named = |error: &dyn std::fmt::Display| format!("delivery.ca_file: {}: {error}", ca_file.display());
            for certificate in CertificateDer::pem_file_iter(ca_file).map_err(|error| named(&error))? {
                let certificate = certificate.map_err(|error| named(&error))?;
                roots.add(certificate).map_err(|error| named(&error))?;
            }
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = || {
            ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())
        };
        let any = Arc::new(AnyCertificate { provider: Arc::clone(&provider) });
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let verifier = verifier.map_err(|error| error.to_string())?;
        Ok(Self {
            validating: Arc::new(builder()?.with_webpki_verifier(Arc::clone(&verifier)).with_no_client_auth()),
            opportunistic: Arc::new(builder()?.dangerous().with_custom_certificate_verifier(any).with_no_client_auth()),
            verifier,
            provider,
        })
    }

    /// Why [`Self::validating`] would refuse these certificates, of which the server's own is the first.
    pub fn would_refuse_because(
        &self,
        certificates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
    ) -> Option<rustls::Error> {
        let Some((own, others)) = certificates.split_first() else {
            return Some(rustls::Error::NoCertificatesPresented);
        };
        self.verifier.verify_server_cert(own, others, name, &[], UnixTime::now()).err()
    }

    /// One that takes only certificates that these TLSA records name (RFC 7672).
    pub fn dane(&self, records: Arc<Vec<Tlsa>>) -> Result<Arc<ClientConfig>, String> {
        let verifier = Arc::new(DaneVerifier::new(records, Arc::clone(&self.provider)));
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        Ok(Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
    }
}

/// The result type (RFC 8460 §4.3.1) of a certificate that was refused so, or of another trouble with TLS.
pub const fn result_of(error: &rustls::Error) -> TlsResult {
    let rustls::Error::InvalidCertificate(why) = error else { return TlsResult::ValidationFailure };
    match why {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsResult::CertificateHostMismatch
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsResult::CertificateExpired,
        CertificateError::UnknownIssuer => TlsResult::CertificateNotTrusted,
        _ => TlsResult::ValidationFailure,
    }
}

/// Takes any certificate, but the handshake itself must be sound.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    sound_handshake!();
}
