//! DANE for SMTP (RFC 7672): which hosts publish TLSA records under DNSSEC.

use std::sync::Arc;

use crate::domain::clock::Rng;
use crate::domain::tlsa::Tlsa;
use crate::net::dns_error::DnsError;
use crate::net::validated::{Kind, Validated};

/// What a host publishes under DANE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dane {
    /// Nothing, or nothing that is validated.
    None,
    /// Records none of which SMTP can use: TLS is mandatory all the same.
    Unusable,
    Records(Arc<Vec<Tlsa>>),
}

/// Whether the records that name a domain's hosts are validated (§2.2.1). Without MX records its own addresses are
/// what counts.
/// No answer is not an insecure one (§2.2): mail waits.
pub async fn is_secure(validated: &Validated, domain: &str, has_mx: bool, rng: &dyn Rng) -> Result<bool, DnsError> {
    if !has_mx {
        return Ok(true);
    }
    Ok(validated.ask(domain, Kind::Mx, id(rng)).await?.is_authentic)
}

/// What a host publishes for that port. An answer that fails to validate makes the host unusable (§2.1.2, §2.2).
pub async fn of_host(validated: &Validated, host: &str, port: u16, rng: &dyn Rng) -> Result<Dane, DnsError> {
    if !has_secure_address(validated, host, rng).await? {
        return Ok(Dane::None);
    }
    let name = format!("_{port}._tcp.{host}");
    let answer = validated.ask(&name, Kind::Tlsa, id(rng)).await?;
    if !answer.is_authentic || answer.tlsa.is_empty() {
        return Ok(Dane::None);
    }
    if answer.tlsa.iter().any(Tlsa::is_usable) {
        return Ok(Dane::Records(Arc::new(answer.tlsa)));
    }
    Ok(Dane::Unusable)
}

async fn has_secure_address(validated: &Validated, host: &str, rng: &dyn Rng) -> Result<bool, DnsError> {
    for kind in [Kind::A, Kind::Aaaa] {
        let answer = validated.ask(host, kind, id(rng)).await?;
        if answer.count > 0 {
            return Ok(answer.is_authentic);
        }
    }
    Ok(false)
}

fn id(rng: &dyn Rng) -> u16 {
    let mut bytes = [0; 2];
    rng.fill(&mut bytes);
    u16::from_le_bytes(bytes)
}
