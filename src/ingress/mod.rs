//! Submission (RFC 6409): programs hand in mail by SMTP, with a key as password. It translates to the one door, and decides
//! nothing about mail: the envelope is the truth, the message stays as it came but for what it lacks and what is for us
//! ([`letter`]), options come in header fields of ours and of other services ([`options`], [`vendors`]), and a 250 means that the
//! message is on disk.

mod answers;
mod failures;
mod letter;
mod listener;
mod options;
mod proxied;
mod vendors;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use listener::Listener;

use crate::auth::{Auth, AuthError};
use crate::config::{Limits, LineEnds};
use crate::domain::access::{Caller, Scope};
use crate::domain::address::Address;
use crate::domain::clock::{Clock, Rng, Timestamp};
use crate::domain::draft::FARTHEST;
use crate::smtp::server::{Answer, Credentials, Envelope, Receiver};
use crate::submit::Door;
use crate::telemetry::metrics::Metrics;
use failures::Failures;
use letter::Letter;

/// What all sessions share.
pub struct Ingress {
    pub door: Arc<Door>,
    pub auth: Arc<Auth>,
    pub limits: Limits,
    pub line_ends: LineEnds,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub metrics: Arc<Metrics>,
    failures: Failures,
}

/// What an [`Ingress`] is made of.
pub struct IngressParts {
    pub door: Arc<Door>,
    pub auth: Arc<Auth>,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub metrics: Arc<Metrics>,
}

impl Ingress {
    /// `slow_down` is the wait after an address has failed to say who it is once; it doubles with each further time.
    pub fn new(parts: IngressParts, limits: Limits, line_ends: LineEnds, slow_down: Duration) -> Self {
        let IngressParts { door, auth, clock, rng, metrics } = parts;
        Self { door, auth, limits, line_ends, clock, rng, metrics, failures: Failures::new(slow_down) }
    }

    /// Whoever has that secret, if it may submit from there.
    async fn caller(&self, secret: &str, peer: IpAddr) -> Result<Caller, Refused> {
        let caller = self.auth.caller(secret).await.map_err(|error| match error {
            AuthError::Refused(why) => Refused::Wrong(why),
            AuthError::Store(error) => {
                tracing::warn!(%error, "a key could not be looked up");
                Refused::Unknown
            }
        })?;
        if !caller.may_come_from(Some(peer)) {
            return Err(Refused::Wrong("this key may not be used from this address".to_owned()));
        }
        if !caller.may(Scope::Send) {
            return Err(Refused::Wrong("this key may not send: it lacks the scope send".to_owned()));
        }
        Ok(caller)
    }
}

/// Why it is not known who calls.
enum Refused {
    /// The secret is wrong, or may not be used so.
    Wrong(String),
    /// Nobody can say now.
    Unknown,
}

impl Refused {
    /// Clients remember that a password is wrong: what nobody knows is never told so.
    fn answer(self) -> Answer {
        match self {
            Self::Wrong(why) => Answer::new(535, "5.7.8", why),
            Self::Unknown => Answer::new(454, "4.7.0", "temporary authentication failure: try again later"),
        }
    }
}

/// One session.
struct Session {
    ingress: Arc<Ingress>,
    peer: IpAddr,
    /// What was believed: asked for again with each message, since keys are revoked and tokens run out.
    secret: Option<String>,
    caller: Option<Caller>,
}

/// How much of a user's name is logged.
const USER_MAX: usize = 64;

/// A user's name for the log. Some write the key there, too.
fn logged(user: &str) -> String {
    if user.starts_with("mw_") || user.len() > USER_MAX || user.contains('.') && !user.contains('@') {
        return "(not shown)".to_owned();
    }
    user.to_owned()
}

impl Receiver for Session {
    async fn authenticate(&mut self, credentials: Credentials) -> Answer {
        let mechanism = credentials.mechanism.name();
        let counted = |result| self.ingress.metrics.submission_auth.with_label_values(&[mechanism, result]).inc();
        match self.ingress.caller(&credentials.secret, self.peer).await {
            Ok(caller) => {
                counted("accepted");
                (self.secret, self.caller) = (Some(credentials.secret), Some(caller));
                Answer::new(235, "2.7.0", "authenticated")
            }
            Err(Refused::Wrong(why)) => {
                counted("refused");
                let (peer, user) = (self.peer, logged(&credentials.user));
                tracing::warn!(%peer, user, mechanism, why, "an authentication failed");
                tokio::time::sleep(self.ingress.failures.failed(peer)).await;
                Refused::Wrong(why).answer()
            }
            Err(unknown) => {
                counted("unknown");
                unknown.answer()
            }
        }
    }

    fn hold(&self) -> Option<(Duration, Timestamp)> {
        Some((FARTHEST.unsigned_abs(), self.ingress.clock.now() + FARTHEST))
    }

    async fn mail(&mut self, _: &Envelope) -> Answer {
        let Some(secret) = &self.secret else { return Answer::new(530, "5.7.0", "AUTH comes first") };
        match self.ingress.caller(secret, self.peer).await {
            Ok(caller) => self.caller = Some(caller),
            Err(Refused::Wrong(why)) => return Answer::new(530, "5.7.0", format!("no longer authenticated: {why}")),
            // It was known when the session began.
            Err(Refused::Unknown) => return Answer::new(451, "4.3.0", "the store is away: try again later"),
        }
        Answer::new(250, "2.1.0", "ok")
    }

    async fn rcpt(&mut self, path: &str) -> Answer {
        match Address::parse(path) {
            Ok(_) => Answer::new(250, "2.1.5", "ok"),
            Err(error) => Answer::new(553, "5.1.3", format!("<{path}> {error}")),
        }
    }

    async fn data(&mut self, envelope: Envelope, message: Vec<u8>) -> Answer {
        let Some(caller) = &self.caller else { return Answer::new(530, "5.7.0", "AUTH comes first") };
        let ingress = &self.ingress;
        let letter = Letter { envelope, raw: message, line_ends: ingress.line_ends };
        let answer = match letter.read(&ingress.limits, ingress.clock.now(), &*ingress.rng) {
            Ok(submission) => answers::of_accepting(ingress.door.accept(caller, submission).await),
            Err(answer) => answer,
        };
        let outcome = match answer.code {
            ..400 => "accepted",
            400..500 => "put_off",
            _ => "refused",
        };
        ingress.metrics.submission_messages.with_label_values(&[outcome]).inc();
        answer
    }
}
