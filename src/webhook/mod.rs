//! Webhooks: [`feeder`] reads the event log for each endpoint and makes jobs, which are signed and posted under the same queue
//! law as deliveries.
//!
//! [`payload`] writes the body, or [`forms`] in the words of another service, [`sign`] signs it (Standard Webhooks 1.0), [`post`] carries it over HTTP to an
//! address that was judged after resolving, [`worker`] decides what follows. A slow endpoint holds up
//! nobody: [`places`] bounds calls by endpoint and project.

mod at_hand;
mod calls;
mod feeder;
pub mod forms;
mod kept;
mod loader;
pub mod payload;
mod places;
pub mod post;
mod replays;
pub mod sample;
mod settler;
pub mod sign;
mod worker;

pub use at_hand::AtHand;
pub use calls::Calls;
pub use feeder::Feeder;
pub use worker::{Poster, PosterParts};
