//! Submission (RFC 6409): programs hand in mail by SMTP, with a key as password. It translates to the one door, and decides
//! nothing about mail: the envelope is the truth, the message stays as it came but for what it lacks and what is for us
//! ([`letter`]), options come in header fields of ours and of other services ([`options`], [`vendors`]), and a 250 means that the
//! message is on disk.

mod answers;
mod letter;
mod listener;
mod options;
mod proxied;
mod vendors;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use listener::Listener;

use crate::auth::{Auth, AuthError, Failures};
use crate::config::{Limits, LineEnds};
use crate::domain::access::{Caller, Scope};
use crate::domain::address::Address;
use crate::domain::budget;
use crate::domain::clock::{Clock, Rng, Timestamp};
use crate::domain::draft::FARTHEST;
use crate::smtp::server::{Answer, Credentials, Envelope, Hold, Receiver};
use crate::submit::Door;
use crate::telemetry::metrics::Metrics;
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
    pub failures: Failures,
}

impl Ingress {
    /// Whoever has that secret, if it may submit from there.
    async fn caller(&self, secret: &str, peer: IpAddr) -> Result<Caller, Refused> {
        let caller = self.auth.caller(secret).await.map_err(|error| match error {
            AuthError::Refused(why) => Refused::Wrong(why),
            AuthError::Store(_) => {
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

/// From this size on a message is read off the async threads.
const LARGE: usize = 128 << 10;
/// How much of a user's name is logged.
const USER_MAX: usize = 64;

/// A user's name for the log. Some write the key there, too.
fn logged(user: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "@._-+".contains(c);
    let is_secret = user.to_ascii_lowercase().contains("mw_")
        || user.split(['@', '.']).any(|word| word.len() >= 20)
        || !user.chars().all(is_plain);
    if is_secret || user.len() > USER_MAX { "(not shown)".to_owned() } else { user.to_owned() }
}

impl Session {
    /// Looks again at who calls.
    async fn known(&mut self) -> Result<(), Answer> {
        let Some(secret) = &self.secret else { return Err(Answer::new(530, "5.7.0", "AUTH comes first")) };
        match self.ingress.caller(secret, self.peer).await {
            Ok(caller) => {
                self.caller = Some(caller);
                Ok(())
            }
            Err(Refused::Wrong(why)) => Err(Answer::new(530, "5.7.0", format!("no longer authenticated: {why}"))),
            // It was known when the session began.
            Err(Refused::Unknown) => Err(Answer::new(451, "4.3.0", "the store is away: try again later")),
        }
    }
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
                tokio::time::sleep(self.ingress.failures.failed(peer).1).await;
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

    async fn mail(&mut self, envelope: &Envelope) -> Answer {
        let now = self.ingress.clock.now();
        let is_too_far = match envelope.asked.hold {
            None => false,
            Some(Hold::For(span)) => span > FARTHEST,
            Some(Hold::Until(at)) => at - now > FARTHEST,
        };
        if is_too_far {
            return Answer::new(501, "5.5.4", "held for longer than is offered");
        }
        match self.known().await {
            Ok(()) => Answer::new(250, "2.1.0", "ok"),
            Err(answer) => answer,
        }
    }

    fn payer(&self) -> Option<u128> {
        self.caller.as_ref().map(|caller| budget::of_project(caller.project))
    }

    async fn rcpt(&mut self, path: &str) -> Answer {
        match Address::parse(path) {
            Ok(_) => Answer::new(250, "2.1.5", "ok"),
            Err(error) => Answer::new(553, "5.1.3", format!("<{path}> {error}")),
        }
    }

    async fn data(&mut self, envelope: Envelope, message: Vec<u8>) -> Answer {
        // The message took its time, and keys are revoked meanwhile.
        if let Err(answer) = self.known().await {
            return answer;
        }
        let Some(caller) = &self.caller else { return Answer::new(530, "5.7.0", "AUTH comes first") };
        let ingress = &self.ingress;
        let is_large = message.len() > LARGE;
        let letter = Letter { envelope, raw: message, line_ends: ingress.line_ends };
        let reading = {
            let ingress = Arc::clone(ingress);
            move || letter.read(&ingress.limits, ingress.clock.now(), &*ingress.rng)
        };
        let defect = |_| Answer::new(451, "4.3.0", "this is a defect: nothing was stored");
        let read =
            if is_large { tokio::task::spawn_blocking(reading).await.map_err(defect).flatten() } else { reading() };
        let answer = match read {
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

#[cfg(test)]
mod tests {
    use super::logged;

    #[test]
    fn names_are_logged_and_what_may_be_a_key_is_not() {
        for user in ["mailwright", "apikey", "postmaster@mail.example.org", "key_7"] {
            assert_eq!(logged(user), user);
        }
        for user in [
            " mw_live_x",
            "user:MW_live_x",
            "eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.abc",
            "a b",
            "0123456789abcdefghij",
            &"a.".repeat(40),
        ] {
            assert_eq!(logged(user), "(not shown)", "{user}");
        }
    }
}
