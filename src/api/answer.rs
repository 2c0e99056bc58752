//! Answers on their way out: taken by the connection a portion at a time, and held within a budget that projects share, as long as
//! the client has not read them. What an answer costs is what is held of it: a client that reads nothing must not fill the memory.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};

use super::Api;
use super::problem::Problem;
use crate::domain::access::Caller;
use crate::domain::budget::{self, Budget, Held, NoRoom, Payer};

/// Answers of so many bytes cost nothing: a connection's own buffers are as large.
const FREE: usize = 16 << 10;
/// Bytes that a connection takes at once: what it copies it keeps room for.
const PORTION: usize = 16 << 10;

/// A text that is part of this binary: it takes no memory, however many read it.
#[derive(Clone, Copy)]
pub struct OfTheBinary;

/// What was set aside for an answer before it was made.
#[derive(Clone)]
pub struct SetAside(Arc<Mutex<Option<Held>>>);

impl SetAside {
    /// Sets memory aside for an answer of about so many bytes, before what it is made of is read.
    pub fn for_answer(api: &Api, caller: &Caller, bytes: usize) -> Result<Self, Problem> {
        let held = held(&api.answers, Some(budget::of_project(caller.project)), bytes)?;
        Ok(Self(Arc::new(Mutex::new(Some(held)))))
    }

    /// Has it kept as long as the answer is.
    pub fn carried_by(self, mut response: Response) -> Response {
        response.extensions_mut().insert(self);
        response
    }
}

fn held(budget: &Arc<Budget>, payer: Option<Payer>, bytes: usize) -> Result<Held, Problem> {
    let mut held = budget.hold(payer);
    held.grow_to(bytes).map_err(|why| no_room(why, "too many bytes of answers are still to be read"))?;
    Ok(held)
}

/// There is no room: for the payer, who has its share, or for anybody.
pub fn no_room(why: NoRoom, detail: &'static str) -> Problem {
    match why {
        NoRoom::Share => Problem::too_many_at_once(format!("{detail}: others need what is left")),
        NoRoom::All => Problem::busy(detail),
    }
}

/// The answer, held within the budget; one that has no room there is dropped, and its client told so.
pub fn bounded(api: &Api, payer: Option<Payer>, mut response: Response) -> Response {
    let size = usize::try_from(response.body().size_hint().lower()).unwrap_or(usize::MAX);
    let is_of_the_binary = response.extensions_mut().remove::<OfTheBinary>().is_some();
    let set_aside = response.extensions_mut().remove::<SetAside>();
    let set_aside = set_aside.and_then(|it| it.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    let held = match set_aside {
        None if size <= FREE || is_of_the_binary => None,
        Some(mut held) => {
            // What could be told before is about right.
            if held.grow_to(size).is_err() {
                tracing::debug!(size, "an answer is larger than what was set aside for it");
            }
            Some(held)
        }
        None => match held(&api.answers, payer, size) {
            Ok(held) => Some(held),
            Err(problem) => return problem.into_response(),
        },
    };
    response.map(|body| Body::new(Portions { body, rest: Bytes::new(), _held: held }))
}

/// A body that gives portions.
struct Portions {
    body: Body,
    /// Of the last frame, what was not given yet.
    rest: Bytes,
    _held: Option<Held>,
}

impl HttpBody for Portions {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        loop {
            if !self.rest.is_empty() {
                let portion = PORTION.min(self.rest.len());
                return Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(portion)))));
            }
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                other => return Poll::Ready(other),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let of_body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower() + rest);
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_body_comes_in_portions_and_whole() {
        let text: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        let mut body = Portions { body: Body::from(text.clone()), rest: Bytes::new(), _held: None };
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            let left = text.len() - read.len();
            assert_eq!(body.size_hint().exact(), Some((left - PORTION.min(left)) as u64));
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() <= PORTION);
            read.extend_from_slice(&data);
        }
        assert!(read == text && body.is_end_stream());
    }
}
