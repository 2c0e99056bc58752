//! Pure bytes: from a draft to the message that goes on the wire.
//!
//! Takes a draft whose parts were checked, and the instant and identity to write into it; returns RFC 5322
//! bytes that no server can misread, and signs them with the keys it is handed. No store, no network, no clock.

pub mod dkim;
mod encoded_word;
mod entities;
mod findings;
mod folded;
mod header;
mod html;
mod html_source;
pub mod links;
mod mime;
mod raw_header;
pub mod return_path;
mod searchable;
mod submitted;
pub mod template;
pub mod tls_report;
pub mod token;
mod tracking;
mod transfer;

pub use findings::Findings;
#[doc(hidden)]
pub use html::text_of_html;
pub use mime::{ComposeError, Stamp, compose};
pub use raw_header::{Excessive, RawHeader, header_of, measure};
pub use searchable::searchable_text;
pub use submitted::{Submitted, SubmittedField, content_digest, mail_date};
