//! How a message comes: by DATA (RFC 5321 §4.1.1.4), or in chunks by BDAT (RFC 3030).

use tokio::time::{Instant, timeout_at};

use super::reader::{Body, Broken};
use super::session::{Next, Session, Stream, with_stream};
use super::{Answer, Envelope, Receiver, Service};
use crate::domain::budget::Held;

/// Chunks that have come, of a message that has not ended.
pub struct Chunks {
    body: Vec<u8>,
    memory: Held,
    /// Why the message will not be taken, whatever follows.
    refused: Option<Answer>,
    /// Octets, those that were dropped with them.
    octets: usize,
    /// When it must have come.
    pub until: Instant,
}

/// Octets of a chunk that is no mere command.
const PIECE: usize = 1 << 10;

fn too_large() -> Answer {
    Answer::new(552, "5.3.4", "larger than SIZE")
}

fn no_room() -> Answer {
    Answer::new(452, "4.3.1", "no room now: try again")
}

impl<S: Stream, R: Receiver> Session<'_, S, R> {
    /// The envelope of a message that may come now.
    fn complete(&self) -> Option<&Envelope> {
        self.envelope.as_ref().filter(|envelope| self.has_sender && !envelope.to.is_empty())
    }

    pub(super) async fn data(&mut self) -> Result<Next, Broken> {
        if self.complete().is_none() || self.chunks.is_some() {
            return self.refuse(&Answer::new(503, "5.5.1", "no recipient was accepted")).await;
        }
        self.say_line("354 end with CRLF.CRLF\r\n").await?;
        let mut memory = self.shared.memory.hold(self.receiver.payer());
        let (limit, until) = (self.shared.bounds.message, Instant::now() + self.shared.bounds.data);
        let body = self.body(limit, until, &mut memory).await?;
        match body {
            Some(Body::Whole(message)) => self.hand_over(message, memory).await,
            Some(Body::TooLarge) => self.end_of_message(&too_large()).await,
            Some(Body::NoRoom) => self.end_of_message(&no_room()).await,
            None => self.end(&Answer::new(421, "4.4.2", "the message took too long")).await,
        }
    }

    pub(super) async fn bdat(&mut self, octets: usize, is_last: bool) -> Result<Next, Broken> {
        let limit = self.shared.bounds.message;
        if self.shared.service == Service::Reports {
            return self.refuse(&Answer::new(502, "5.5.1", "not here")).await;
        }
        // Octets of a stranger are not even dropped.
        if !self.is_authenticated {
            return self.end(&Answer::new(503, "5.5.1", "AUTH comes first")).await;
        }
        // A message in small pieces is none in many commands.
        if octets >= PIECE {
            self.commands -= 1;
        }
        let mut chunks = match self.chunks.take() {
            Some(chunks) => chunks,
            None => Box::new(Chunks {
                body: Vec::new(),
                memory: self.shared.memory.hold(self.receiver.payer()),
                refused: (self.complete().is_none()).then(|| Answer::new(503, "5.5.1", "no recipient was accepted")),
                octets: 0,
                until: Instant::now() + self.shared.bounds.data,
            }),
        };
        chunks.octets = chunks.octets.saturating_add(octets);
        if chunks.octets > limit.saturating_mul(4) {
            return Err(Broken::TooLong);
        }
        if chunks.refused.is_none() && chunks.octets > limit {
            chunks.refuse(too_large());
        }
        if !self.octets(octets, &mut chunks).await? {
            return self.end(&Answer::new(421, "4.4.2", "the message took too long")).await;
        }
        if let Some(answer) = chunks.refused.clone() {
            // RFC 3030 §2: the transaction has failed, until RSET or another one begins.
            return match self.complete() {
                Some(_) => {
                    self.reset();
                    self.end_of_message(&answer).await
                }
                None => self.refuse(&answer).await,
            };
        }
        if is_last {
            let Chunks { body, memory, .. } = *chunks;
            return self.hand_over(body, memory).await;
        }
        self.chunks = Some(chunks);
        self.say(&Answer::new(250, "2.0.0", format!("{octets} octets"))).await.map(|()| Next::GoOn)
    }

    /// What is in hand is finished, whatever the time is: a message that was stored must be answered for.
    async fn hand_over(&mut self, message: Vec<u8>, memory: Held) -> Result<Next, Broken> {
        let envelope = self.envelope.replace(Envelope::default()).unwrap_or_default();
        let answer = Box::pin(self.receiver.data(envelope, message)).await;
        drop(memory);
        if answer.is_positive() {
            (self.commands, self.errors) = (0, 0);
        }
        self.end_of_message(&answer).await
    }

    async fn end_of_message(&mut self, answer: &Answer) -> Result<Next, Broken> {
        self.messages += 1;
        self.reset();
        self.say(answer).await.map(|()| Next::GoOn)
    }

    /// A message by DATA; `None`: it took too long.
    async fn body(&mut self, limit: usize, until: Instant, memory: &mut Held) -> Result<Option<Body>, Broken> {
        let reader = &mut self.reader;
        with_stream!(&mut self.wire, stream, {
            timeout_at(until, Box::pin(reader.body(stream, limit, memory)))
                .await
                .map_or(Ok(None), |body| body.map(Some))
        })
    }

    /// The octets of a chunk; `false`: they took too long.
    async fn octets(&mut self, count: usize, chunks: &mut Chunks) -> Result<bool, Broken> {
        let (reader, until) = (&mut self.reader, chunks.until);
        let take = |octets: &[u8]| chunks.take(octets);
        with_stream!(&mut self.wire, stream, {
            let reading = Box::pin(reader.octets(stream, count, take));
            timeout_at(until, reading).await.map_or(Ok(false), |read| read.map(|()| true))
        })
    }
}

impl Chunks {
    /// What follows is read and dropped.
    fn refuse(&mut self, why: Answer) {
        (self.refused, self.body) = (Some(why), Vec::new());
        self.memory.release();
    }

    fn take(&mut self, octets: &[u8]) {
        if self.refused.is_some() {
            return;
        }
        if self.memory.grow_to(self.body.len() + octets.len()).is_ok() {
            self.body.extend_from_slice(octets);
        } else {
            self.refuse(no_room());
        }
    }
}
