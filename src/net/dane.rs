//! A certificate judged by TLSA records (RFC 6698, RFC 7671, RFC 7672): DANE-EE names the server's own certificate or
//! key, and nothing else is looked at; DANE-TA names an authority that it must chain to, under the host's name.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error, RootCertStore};
use webpki::EndEntityCert;

use super::handshake::sound_handshake;
use crate::domain::tlsa::Tlsa;

/// Judges by records that were found under DNSSEC.
#[derive(Debug)]
pub struct DaneVerifier {
    records: Arc<Vec<Tlsa>>,
    provider: Arc<CryptoProvider>,
}

impl DaneVerifier {
    pub fn new(records: Arc<Vec<Tlsa>>, provider: Arc<CryptoProvider>) -> Self {
        Self { records, provider }
    }

    fn of_usage(&self, usage: u8) -> impl Iterator<Item = &Tlsa> {
        self.records.iter().filter(move |record| record.usage == usage && record.is_usable())
    }

    /// The authorities that records name: from the chain, or whole in the record.
    fn authorities<'c>(&self, chain: impl Iterator<Item = &'c CertificateDer<'c>>) -> Vec<CertificateDer<'static>> {
        let in_chain = chain.filter(|certificate| self.of_usage(2).any(|record| names(record, certificate)));
        let whole = |record: &&Tlsa| record.selector == 0 && record.matching == 0;
        let in_records = self.of_usage(2).filter(whole).map(|record| CertificateDer::from(record.data.clone()));
        in_chain.map(|certificate| certificate.clone().into_owned()).chain(in_records).collect()
    }
}

/// Whether a record names this certificate.
fn names(record: &Tlsa, certificate: &CertificateDer<'_>) -> bool {
    let selected = match record.selector {
        0 => certificate.as_ref().to_vec(),
        _ => match EndEntityCert::try_from(certificate) {
            Ok(parsed) => parsed.subject_public_key_info().as_ref().to_vec(),
            Err(_) => return false,
        },
    };
    match record.matching {
        0 => selected == record.data,
        1 => digest(&SHA256, &selected).as_ref() == record.data.as_slice(),
        _ => digest(&SHA512, &selected).as_ref() == record.data.as_slice(),
    }
}

impl ServerCertVerifier for DaneVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.of_usage(3).any(|record| names(record, end_entity)) {
            return Ok(ServerCertVerified::assertion());
        }
        let mut roots = RootCertStore::empty();
        for authority in self.authorities(intermediates.iter()) {
            // One that cannot be read is none.
            let _ = roots.add(authority);
        }
        if roots.is_empty() {
            return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        }
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    sound_handshake!();
}
