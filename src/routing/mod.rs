//! Where a message goes next and on which terms: route, MX hosts, addresses, TLS policy.
//!
//! Takes a project and a recipient's domain; returns the targets to speak to, in order, or why there is none.
//! Delivering and explaining share it; it opens no SMTP session. [`traffic`] holds the rules in force and reads them
//! again when their files change, [`resolve`] keeps what the DNS said for a while, [`sts`] and [`dane`] find what a domain
//! demands of TLS, [`router`] puts it together.

mod dane;
mod describe;
mod resolve;
mod router;
pub mod sts;
mod traffic;

pub use dane::Dane;
pub use describe::RouteView;
pub use resolve::{Host, Resolution, Resolutions};
pub use router::{NoRoute, RoutePlan, RouteQuery, Router, RouterParts};
pub use traffic::{PolicySnapshot, TrafficPolicy};
