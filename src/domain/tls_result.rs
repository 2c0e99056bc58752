//! What TLS reports count (RFC 8460): how a session was secured, or why it was not, and by whose policy.

use super::words::words;

words! {
    /// A session that was secured as its policy says, or a result type of RFC 8460 §4.3.
    pub enum TlsResult {
        Successful = "successful",
        StarttlsNotSupported = "starttls-not-supported",
        CertificateHostMismatch = "certificate-host-mismatch",
        CertificateExpired = "certificate-expired",
        CertificateNotTrusted = "certificate-not-trusted",
        /// Any other failure of the handshake or of the certificate.
        ValidationFailure = "validation-failure",
        TlsaInvalid = "tlsa-invalid",
        DnssecInvalid = "dnssec-invalid",
        DaneRequired = "dane-required",
        StsPolicyFetchError = "sts-policy-fetch-error",
        StsPolicyInvalid = "sts-policy-invalid",
        StsWebpkiInvalid = "sts-webpki-invalid",
    }
}

words! {
    /// The kind of policy that a session was under (RFC 8460 §4.2).
    pub enum TlsPolicyType {
        Sts = "sts",
        Tlsa = "tlsa",
        NoPolicyFound = "no-policy-found",
    }
}

/// Sessions that ended alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSessions {
    pub policy_type: TlsPolicyType,
    /// The receiving host.
    pub host: String,
    pub result: TlsResult,
    pub sessions: u64,
}
