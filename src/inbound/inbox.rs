//! The addresses that there are: those that carry a token of ours, and a few at the host of reports.

use crate::compose::return_path::{PREFIX, Token, open};
use crate::compose::token::Ring;

/// Where mail goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbox {
    Token(Token),
    /// Of the operator: `fbl`, `dmarc`, `tls-rpt`, `postmaster`, `abuse` at the host of reports.
    Operator,
}

/// Whether an address looks as if it carried a token.
pub fn carries_token(address: &str) -> bool {
    address.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Where mail to an address goes; `None`: nowhere. A host must take mail for `postmaster`, with and without a domain
/// (RFC 5321 §4.5.1), and for `abuse` (RFC 2142), whichever of the domains that lead here it is asked by.
pub fn of(address: &str, host: &str, ring: &Ring) -> Option<Inbox> {
    let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
    let local = local.to_ascii_lowercase();
    if let Some(token) = local.strip_prefix(PREFIX) {
        return open(token, ring).map(Inbox::Token);
    }
    if host.is_empty() {
        return None;
    }
    let is_role = local == "postmaster" || (local == "abuse" && !domain.is_empty());
    let is_report = domain.eq_ignore_ascii_case(host) && ["fbl", "dmarc", "tls-rpt"].contains(&&*local);
    (is_role || is_report).then_some(Inbox::Operator)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::compose::return_path::local_part;
    use crate::compose::token::TokenKey;
    use crate::domain::id::MessageId;

    #[test]
    fn there_are_addresses_with_tokens_of_ours_and_a_few_of_the_operators() {
        let ring = Ring::new(vec![TokenKey { id: 1, secret: [1; 32] }]);
        let other = Ring::new(vec![TokenKey { id: 1, secret: [2; 32] }]);
        let message = MessageId::from_uuid(Uuid::from_u128(7));
        let local = local_part(&ring, message, Some(3)).unwrap();
        for address in [format!("{local}@bounce.example.org"), format!("{}@X", local.to_uppercase())] {
            assert_eq!(of(&address, "in.example", &ring), Some(Inbox::Token(Token { message, position: Some(3) })));
            assert_eq!(of(&address, "in.example", &other), None, "another's");
        }
        for (address, is_there) in [
            ("FBL@in.example", true),
            ("postmaster@IN.example", true),
            ("Postmaster", true),
            ("abuse@bounce.example.org", true),
            ("fbl@other.example", false),
            ("bounce+aaaa@in.example", false),
            ("anybody@in.example", false),
            ("fbl", false),
            ("", false),
        ] {
            assert_eq!(of(address, "in.example", &ring).is_some(), is_there, "{address}");
            assert_eq!(of(address, "", &ring), None);
        }
    }
}
