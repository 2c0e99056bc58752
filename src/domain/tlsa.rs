//! TLSA records (RFC 6698), as far as SMTP uses them (RFC 7672).

/// One record that was found under DNSSEC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlsa {
    /// 2 is DANE-TA, 3 is DANE-EE; others are not usable for SMTP (RFC 7672 §3.1.3).
    pub usage: u8,
    /// 0 the whole certificate, 1 its public key.
    pub selector: u8,
    /// 0 the bytes themselves, 1 their SHA-256, 2 their SHA-512.
    pub matching: u8,
    pub data: Vec<u8>,
}

impl Tlsa {
    /// Whether SMTP can use it; a set without usable records still makes TLS mandatory (RFC 7672 §2.2).
    pub fn is_usable(&self) -> bool {
        let length = match self.matching {
            0 => self.data.len() > 1,
            1 => self.data.len() == 32,
            2 => self.data.len() == 64,
            _ => false,
        };
        matches!(self.usage, 2 | 3) && self.selector <= 1 && length
    }
}
