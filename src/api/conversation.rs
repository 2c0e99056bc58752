//! What a connection is at, between the bytes and the requests: idle, in a request's head, or in a request. By it idle
//! connections live longer than a head may take, and a head that cannot be read is answered with a problem like every
//! other error: the HTTP library answers those itself, with nothing in the body.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// Nothing of the first request has come.
const NEW: u8 = 0;
/// All requests are answered.
const IDLE: u8 = 1;
/// A part of a request's head has come.
const HEAD: u8 = 2;
/// A request is in hand.
const REQUEST: u8 = 3;

/// What a connection is at.
#[derive(Debug, Clone)]
pub struct Phase {
    state: Arc<AtomicU8>,
    /// Since when nothing is asked for.
    idle: Arc<Mutex<Instant>>,
}

impl Default for Phase {
    fn default() -> Self {
        Self { state: Arc::default(), idle: Arc::new(Mutex::new(Instant::now())) }
    }
}

impl Phase {
    /// A head is complete, and its request goes to its handler.
    pub fn begin(&self) {
        self.state.store(REQUEST, Ordering::Release);
    }

    /// The handler has answered.
    pub fn end(&self) {
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.state.store(IDLE, Ordering::Release);
    }

    fn get(&self) -> u8 {
        self.state.load(Ordering::Acquire)
    }

    /// Since when the connection asks for nothing, or has not said all that it asks; `None`: a request is in hand.
    pub fn idle_since(&self) -> Option<Instant> {
        let idle = *self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        (self.get() != REQUEST).then_some(idle)
    }
}

/// How long a connection may be at what.
#[derive(Debug, Clone, Copy)]
pub struct Spans {
    /// From the first byte of a head, or from the start of the connection, to the head's end.
    pub head: Duration,
    /// From an answer to the first byte of the next head.
    pub idle: Duration,
}

/// Makes the whole answer to a head that cannot be read, from the status line of the library's own.
pub type Refuse = Arc<dyn Fn(u16) -> Vec<u8> + Send + Sync>;

/// A stream whose phase is watched.
pub struct Conversation<S> {
    stream: S,
    phase: Phase,
    spans: Spans,
    refuse: Refuse,
    /// Runs out when the phase has lasted too long; with the phase that it was set for.
    deadline: Option<(u8, Pin<Box<Sleep>>)>,
    /// An answer of ours that is written in place of the library's, and how much of it has been.
    refusal: Option<(Vec<u8>, usize)>,
    /// Runs while the rest of what could not be read is read and dropped.
    linger: Option<Pin<Box<Sleep>>>,
}

/// The longest that what follows a head that cannot be read is read and dropped.
const LINGER: Duration = Duration::from_secs(2);

impl<S> Conversation<S> {
    pub fn new(stream: S, phase: Phase, spans: Spans, refuse: Refuse) -> Self {
        Self { stream, phase, spans, refuse, deadline: None, refusal: None, linger: None }
    }

    /// Whether what the connection is at has lasted too long.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        let phase = self.phase.get();
        if phase == REQUEST {
            self.deadline = None;
            return false;
        }
        let span = if phase == IDLE { self.spans.idle } else { self.spans.head };
        if self.deadline.as_ref().is_none_or(|(of, _)| *of != phase) {
            self.deadline = Some((phase, Box::pin(sleep(span))));
        }
        self.deadline.as_mut().is_some_and(|(_, sleep)| sleep.as_mut().poll(context).is_ready())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Conversation<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(Ok(())) => {
                // The deadline of a head runs from its first byte.
                if buffer.filled().len() > before && matches!(self.phase.get(), NEW | IDLE) {
                    self.phase.state.store(HEAD, Ordering::Release);
                }
                Poll::Ready(Ok(()))
            }
            // As if the client had gone: nothing was asked for, or not to the end.
            Poll::Pending if self.is_over(context) => Poll::Ready(Ok(())),
            other => other,
        }
    }
}

/// The status of an answer with an empty body, such as no handler of ours gives.
fn empty_answer(bytes: &[u8]) -> Option<u16> {
    let head = std::str::from_utf8(bytes).ok()?.strip_prefix("HTTP/1.")?;
    let status = head.get(2..5)?.parse().ok().filter(|status| (400..600).contains(status))?;
    let lower = head.to_ascii_lowercase();
    (lower.contains("\r\ncontent-length: 0\r\n") && !lower.contains("\r\nx-request-id:")).then_some(status)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Conversation<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.refusal.is_none()
            && this.phase.get() == HEAD
            && let Some(status) = empty_answer(bytes)
        {
            this.refusal = Some(((this.refuse)(status), 0));
        }
        let Some((answer, written)) = &mut this.refusal else {
            return Pin::new(&mut this.stream).poll_write(context, bytes);
        };
        while *written < answer.len() {
            match Pin::new(&mut this.stream).poll_write(context, &answer[*written..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(more)) => *written += more,
                other => return other,
            }
        }
        // Nothing follows an answer to what could not be read.
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        if self.refusal.is_none() {
            return Poll::Ready(Ok(()));
        }
        // Closed with bytes unread, the connection would be reset, and the answer with it.
        let linger = self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if linger.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut scratch = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn conversation(stream: tokio::io::DuplexStream) -> (Conversation<tokio::io::DuplexStream>, Phase) {
        let phase = Phase::default();
        let spans = Spans { head: Duration::from_secs(10), idle: Duration::from_secs(75) };
        let refuse: Refuse = Arc::new(|status| format!("ours {status}").into_bytes());
        (Conversation::new(stream, phase.clone(), spans, refuse), phase)
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_lives_longer_than_a_head_may_take() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let (mut stream, phase) = conversation(ours);
        let began = Instant::now();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0, "a client that says nothing");
        assert_eq!(began.elapsed().as_secs(), 10);

        phase.begin();
        phase.end();
        let began = Instant::now();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(began.elapsed().as_secs(), 75, "after an answer");

        phase.end();
        theirs.write_all(b"GE").await.unwrap();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 2);
        let began = Instant::now();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(began.elapsed().as_secs(), 10, "a head that does not end");
    }

    #[tokio::test]
    async fn an_answer_to_what_could_not_be_read_is_ours() {
        for (answer, seen) in [
            (&b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"[..], &b"ours 400"[..]),
            (b"HTTP/1.1 404 Not Found\r\nx-request-id: r\r\ncontent-length: 0\r\n\r\n", b"HTTP/1.1"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"HTTP/1.1"),
        ] {
            let (ours, mut theirs) = tokio::io::duplex(256);
            let (mut stream, _phase) = conversation(ours);
            theirs.write_all(b"G<T").await.unwrap();
            stream.read_exact(&mut [0; 3]).await.unwrap();
            stream.write_all(answer).await.unwrap();
            let mut read = [0; 8];
            theirs.read_exact(&mut read).await.unwrap();
            assert_eq!(read, seen);
        }
    }
}
