//! How a session is secured: the handshake that its target's policy asks for, and what the certificate proved.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ProtocolVersion;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::domain::route::TlsPolicy;
use crate::domain::target::{Target, TlsBasis};
use crate::domain::tls_result::TlsResult;
use crate::net::tls::{TlsConfigs, result_of};

/// What a session says of its TLS. Its text stands on attempts: `none`, `TLSv1_3 validated mta-sts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionTls {
    None,
    Secured { version: Option<ProtocolVersion>, verdict: TlsVerdict },
}

/// How far a certificate was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVerdict {
    /// A TLSA record names it.
    Dane,
    /// Chain and name.
    Validated,
    /// Chain and name, because the domain's MTA-STS policy demands it.
    ValidatedBySts,
    /// Not at all.
    Unvalidated,
}

impl fmt::Display for SessionTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Secured { version, verdict } = self else { return f.write_str("none") };
        if let Some(version) = version {
            write!(f, "{version:?}")?;
        }
        f.write_str(match verdict {
            TlsVerdict::Dane => " dane",
            TlsVerdict::Validated => " validated",
            TlsVerdict::ValidatedBySts => " validated mta-sts",
            TlsVerdict::Unvalidated => " unvalidated",
        })
    }
}

/// Why a handshake failed: what a report counts, and the words for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFault {
    pub result: TlsResult,
    pub why: String,
}

impl TlsFault {
    /// One that says nothing of the certificate.
    fn of_handshake(why: impl fmt::Display) -> Self {
        Self { result: TlsResult::ValidationFailure, why: why.to_string() }
    }

    fn of_certificate(error: &rustls::Error) -> Self {
        Self { result: result_of(error), why: error.to_string() }
    }

    fn of_stream(error: &std::io::Error) -> Self {
        let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        Self { result: of_tls.map_or(TlsResult::ValidationFailure, result_of), why: error.to_string() }
    }
}

/// A connection under TLS.
pub struct Secured {
    pub stream: TlsStream<TcpStream>,
    pub tls: SessionTls,
    /// Why the certificate would be refused under a policy that only tests (RFC 8461 §5).
    pub doubt: Option<TlsFault>,
}

/// Does the handshake that the policy of `target` asks for, within `deadline`.
pub async fn secure(
    tls: &TlsConfigs,
    target: &Target,
    stream: TcpStream,
    deadline: Duration,
) -> Result<Secured, TlsFault> {
    let (config, verdict) = match (target.tls, &target.tlsa) {
        (TlsPolicy::Dane, Some(records)) => {
            (tls.dane(Arc::clone(records)).map_err(TlsFault::of_handshake)?, TlsVerdict::Dane)
        }
        (TlsPolicy::Dane, None) => return Err(TlsFault::of_handshake("DANE without TLSA records")),
        (policy, _) if policy.validates() && target.basis == TlsBasis::Sts => {
            (Arc::clone(&tls.validating), TlsVerdict::ValidatedBySts)
        }
        (policy, _) if policy.validates() => (Arc::clone(&tls.validating), TlsVerdict::Validated),
        _ => (Arc::clone(&tls.opportunistic), TlsVerdict::Unvalidated),
    };
    let name = ServerName::try_from(target.host.clone())
        .or_else(|_| ServerName::try_from(target.address.ip().to_string()))
        .map_err(TlsFault::of_handshake)?;
    let handshake = TlsConnector::from(config).connect(name.clone(), stream);
    let stream = match timeout(deadline, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(TlsFault::of_stream(&error)),
        Err(_) => return Err(TlsFault::of_handshake("no handshake within the deadline")),
    };
    let (_, connection) = stream.get_ref();
    let doubt = if target.basis == TlsBasis::StsTesting {
        let certificates = connection.peer_certificates().unwrap_or_default();
        tls.would_refuse_because(certificates, &name).map(|error| TlsFault::of_certificate(&error))
    } else {
        None
    };
    let tls = SessionTls::Secured { version: connection.protocol_version(), verdict };
    Ok(Secured { stream, tls, doubt })
}

#[cfg(test)]
mod tests {
    use rustls::CertificateError;
    use rustls::pki_types::UnixTime;

    use super::*;

    #[test]
    fn what_a_session_says_of_its_tls_is_the_text_on_attempts() {
        let of = |verdict| SessionTls::Secured { version: Some(ProtocolVersion::TLSv1_3), verdict }.to_string();
        assert_eq!(SessionTls::None.to_string(), "none");
        assert_eq!(of(TlsVerdict::Validated), "TLSv1_3 validated");
        assert_eq!(of(TlsVerdict::ValidatedBySts), "TLSv1_3 validated mta-sts");
        assert_eq!(of(TlsVerdict::Dane), "TLSv1_3 dane");
        assert_eq!(of(TlsVerdict::Unvalidated), "TLSv1_3 unvalidated");
    }

    #[test]
    fn a_refused_certificate_is_known_by_its_error_and_not_by_its_words() {
        let epoch = UnixTime::since_unix_epoch(Duration::ZERO);
        let expected = ServerName::try_from("a.example").unwrap();
        for (why, wanted) in [
            (CertificateError::UnknownIssuer, TlsResult::CertificateNotTrusted),
            (CertificateError::ExpiredContext { time: epoch, not_after: epoch }, TlsResult::CertificateExpired),
            (CertificateError::ExpiredRevocationList, TlsResult::ValidationFailure),
            (
                CertificateError::NotValidForNameContext { expected, presented: Vec::new() },
                TlsResult::CertificateHostMismatch,
            ),
        ] {
            let refused = rustls::Error::InvalidCertificate(why);
            let error = std::io::Error::new(std::io::ErrorKind::InvalidData, refused);
            assert_eq!(TlsFault::of_stream(&error).result, wanted, "{error}");
        }
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(TlsFault::of_stream(&reset).result, TlsResult::ValidationFailure);
    }
}
