//! A client of Mailwright: sends mail, reads what became of it, verifies webhooks.
//!
//! ```no_run
//! use mailwright_client::{Attachment, Client, Email, Error};
//!
//! # async fn example() -> Result<(), Error> {
//! let client = Client::new("https://mail.example.com", "mw_live_…")?;
//!
//! let email = Email::new("Example Shop <orders@example.com>", "ada@example.net", "Your receipt")
//!     .text("Thank you for your order.")
//!     .attach(Attachment::new("receipt.txt", b"Order 1042"))
//!     .tag("receipt");
//! // The same key never sends twice, so that this may be repeated for 24 hours, also after a crash.
//! let accepted = client.send_once("order-1042-receipt", &email).await?;
//!
//! let message = client.message(&accepted.id).await?;
//! for recipient in &message.recipients {
//!     println!("{}: {:?}", recipient.email, recipient.status);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What a request got wrong comes as a [`Problem`] that lists every fault with its place:
//!
//! ```no_run
//! # use mailwright_client::{Client, Email, Error, ProblemKind};
//! # async fn example(client: Client, email: Email) -> Result<(), Error> {
//! match client.send(&email).await {
//!     Err(Error::Problem(problem)) if problem.kind == ProblemKind::Validation => {
//!         for fault in &problem.errors {
//!             println!("{} {}: {}", fault.pointer, fault.code, fault.detail);
//!         }
//!     }
//!     other => drop(other?),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A webhook is believed once its signature was verified: see [`Verifier`].
//!
//! **Retries.** A request that may be repeated is tried again when the service is busy (429, 503) or the connection is lost, after
//! the time that `Retry-After` says: see [`Retry`]. A send always may, for it always has an idempotency key.
//!
//! **What grows.** A word that this version does not know, such as a new status, reads as `Unknown`; a field that it does not know
//! is left out. Other operations are called by [`Client::call`], and a send's other fields are set by [`Email::field`].

mod batch;
mod client;
mod email;
mod error;
mod follow;
mod message;
mod recall;
mod retry;
mod upload;
mod webhook;

pub use batch::{Batch, BatchMode};
pub use client::{Client, Filter};
pub use email::{Attachment, Email, OwnParts, Priority};
pub use error::{Error, Fault, Problem, ProblemKind};
pub use follow::Events;
pub use hyper::Method;
pub use message::{
    Accepted, AcceptedRecipient, Counts, Event, Limits, Message, MessageStatus, Mode, Page, Recipient, RecipientKind,
    RecipientStatus, Rehearsal, RehearsedMessage, Reply, Usage,
};
pub use recall::{RecallResult, Recalled, RecalledRecipient, Selection};
pub use retry::Retry;
pub use upload::Upload;
pub use webhook::{InvalidSecret, MessageEvent, Rejected, SignedHeaders, Verifier, WebhookEvent};

/// The example of the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
