//! Who calls: the exchanges of AUTH (RFC 4954) for PLAIN (RFC 4616), LOGIN (of which there is no standard, and no client without it),
//! OAUTHBEARER (RFC 7628) and XOAUTH2. None of them asks that we keep what a key is made of; those that do (CRAM-MD5, DIGEST-MD5,
//! NTLM) are not offered.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::reader::{AUTH_LINE_MAX, Broken};
use super::session::{Next, Session, Stream};
use super::{Answer, Receiver, Service};

/// What is offered, in the order in which clients should try.
pub const MECHANISMS: &str = "PLAIN LOGIN OAUTHBEARER XOAUTH2";

/// A way to say who one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    Login,
    OauthBearer,
    Xoauth2,
}

impl Mechanism {
    fn parse(name: &str) -> Option<Self> {
        [Self::Plain, Self::Login, Self::OauthBearer, Self::Xoauth2].into_iter().find(|known| known.name() == name)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::OauthBearer => "OAUTHBEARER",
            Self::Xoauth2 => "XOAUTH2",
        }
    }

    /// What a client hears before it is told that its token was refused, and answers.
    const fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Plain | Self::Login => None,
            Self::OauthBearer => Some(r#"{"status":"invalid_token"}"#),
            Self::Xoauth2 => Some(r#"{"status":"401","schemes":"bearer"}"#),
        }
    }
}

/// A user's name and what proves it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub mechanism: Mechanism,
    pub user: String,
    /// A password or a token.
    pub secret: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials of {} by {}", self.user, self.mechanism.name())
    }
}

/// What a client has said; `None`: it cannot be read.
fn read(mechanism: Mechanism, said: &[u8]) -> Option<Credentials> {
    let text = std::str::from_utf8(said).ok()?;
    let (user, secret) = match mechanism {
        Mechanism::Plain => {
            let mut parts = text.split('\0');
            let (Some(acts_as), Some(user), Some(secret), None) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                return None;
            };
            // Nobody acts for another.
            if !acts_as.is_empty() && acts_as != user {
                return None;
            }
            (user, secret)
        }
        Mechanism::OauthBearer => {
            let (head, pairs) = text.split_once('\x01')?;
            let user = head.strip_prefix("n,").or_else(|| head.strip_prefix("y,"))?.strip_suffix(',')?;
            (user.strip_prefix("a=").unwrap_or_default(), bearer(pairs)?)
        }
        Mechanism::Xoauth2 => {
            let (user, pairs) = text.split_once('\x01')?;
            (user.strip_prefix("user=")?, bearer(pairs)?)
        }
        // It comes in two halves.
        Mechanism::Login => return None,
    };
    is_sound(user, secret).then(|| Credentials { mechanism, user: user.to_owned(), secret: secret.to_owned() })
}

fn is_sound(user: &str, secret: &str) -> bool {
    !secret.is_empty() && user.len() <= 255 && !user.chars().chain(secret.chars()).any(char::is_control)
}

/// The token of `auth=Bearer …` among pairs that end in control-A.
fn bearer(pairs: &str) -> Option<&str> {
    let value = pairs.split('\x01').find_map(|pair| pair.strip_prefix("auth="))?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}

/// Why there are no credentials.
enum Without {
    /// `*` (RFC 4954 §4).
    Cancelled,
    Unreadable,
}

impl<S: Stream, R: Receiver> Session<'_, S, R> {
    /// Whether AUTH may be said now.
    pub(super) fn may_authenticate(&self) -> bool {
        match self.shared.service {
            Service::Reports => false,
            Service::Submission { in_clear } => in_clear || self.is_secure(),
        }
    }

    pub(super) async fn auth(&mut self, mechanism: &str, initial: Option<String>) -> Result<Next, Broken> {
        if self.shared.service == Service::Reports {
            return self.refuse(&Answer::new(502, "5.5.1", "not here")).await;
        }
        if !self.may_authenticate() {
            return self
                .refuse(&Answer::new(538, "5.7.11", "STARTTLS comes first: a key is never sent in the clear"))
                .await;
        }
        if self.envelope.is_none() || self.has_sender || self.is_authenticated {
            return self.refuse(&Answer::new(503, "5.5.1", "not now")).await;
        }
        let Some(mechanism) = Mechanism::parse(mechanism) else {
            let text = format!("not offered; one of {MECHANISMS}");
            return self.refuse(&Answer::new(504, "5.5.4", text)).await;
        };
        let said = match self.credentials(mechanism, initial).await? {
            Ok(credentials) => credentials,
            Err(Without::Cancelled) => return self.refuse(&Answer::new(501, "5.7.0", "cancelled")).await,
            Err(Without::Unreadable) => return self.refuse(&Answer::new(501, "5.5.2", "this cannot be read")).await,
        };
        let answer = Box::pin(self.receiver.authenticate(said)).await;
        self.is_authenticated = answer.is_positive();
        if self.is_authenticated {
            self.errors = 0;
            return self.say(&answer).await.map(|()| Next::GoOn);
        }
        if let Some(why) = mechanism.refusal().filter(|_| answer.code == 535) {
            // RFC 7628 §3.2.3: the client answers with nothing that matters.
            self.challenge(why).await?;
        }
        self.refuse(&answer).await
    }

    /// What a client says of itself.
    async fn credentials(
        &mut self,
        mechanism: Mechanism,
        initial: Option<String>,
    ) -> Result<Result<Credentials, Without>, Broken> {
        // RFC 4954 §4: nothing at all is written as `=`.
        let initial = initial.map(|text| if text == "=" { String::new() } else { text });
        let is_login = mechanism == Mechanism::Login;
        let first = match initial {
            Some(text) => text,
            None => self.challenge(if is_login { "Username:" } else { "" }).await?,
        };
        let first = match decoded(&first) {
            Ok(first) => first,
            Err(why) => return Ok(Err(why)),
        };
        if !is_login {
            return Ok(read(mechanism, &first).ok_or(Without::Unreadable));
        }
        let secret = self.challenge("Password:").await?;
        let secret = match decoded(&secret) {
            Ok(secret) => secret,
            Err(why) => return Ok(Err(why)),
        };
        let (Ok(user), Ok(secret)) = (String::from_utf8(first), String::from_utf8(secret)) else {
            return Ok(Err(Without::Unreadable));
        };
        Ok(if is_sound(&user, &secret) {
            Ok(Credentials { mechanism, user, secret })
        } else {
            Err(Without::Unreadable)
        })
    }

    /// Asks, and gives the line that answers.
    async fn challenge(&mut self, text: &str) -> Result<String, Broken> {
        // Whoever has said more already did not wait for this.
        if self.reader.has_more() {
            return Err(Broken::Impatient);
        }
        self.say_line(&format!("334 {}\r\n", STANDARD.encode(text))).await?;
        let line = self.line(AUTH_LINE_MAX).await?;
        if self.reader.has_more() {
            return Err(Broken::Impatient);
        }
        String::from_utf8(line).map_err(|_| Broken::BareLineEnd)
    }
}

fn decoded(text: &str) -> Result<Vec<u8>, Without> {
    if text == "*" {
        return Err(Without::Cancelled);
    }
    STANDARD.decode(text).map_err(|_| Without::Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_as_clients_write_them() {
        let found = |mechanism, said: &str| {
            read(mechanism, said.as_bytes()).map(|credentials| (credentials.user, credentials.secret))
        };
        let ann = Some(("ann".to_owned(), "key".to_owned()));
        for (mechanism, said, wanted) in [
            (Mechanism::Plain, "\0ann\0key", &ann),
            (Mechanism::Plain, "ann\0ann\0key", &ann),
            (Mechanism::Plain, "bob\0ann\0key", &None),
            (Mechanism::Plain, "ann\0key", &None),
            (Mechanism::Plain, "\0ann\0", &None),
            (Mechanism::Plain, "\0ann\0key\0", &None),
            (Mechanism::Plain, "\0an\nn\0key", &None),
            (Mechanism::OauthBearer, "n,a=ann,\x01host=x\x01port=587\x01auth=Bearer key\x01\x01", &ann),
            (Mechanism::OauthBearer, "n,a=ann,\x01auth=bearer key\x01\x01", &ann),
            (Mechanism::OauthBearer, "n,,\x01auth=Bearer key\x01\x01", &Some((String::new(), "key".to_owned()))),
            (Mechanism::OauthBearer, "n,a=ann,\x01auth=Basic key\x01\x01", &None),
            (Mechanism::OauthBearer, "\x01", &None),
            (Mechanism::Xoauth2, "user=ann\x01auth=Bearer key\x01\x01", &ann),
            (Mechanism::Xoauth2, "user=ann\x01\x01", &None),
        ] {
            assert_eq!(found(mechanism, said), *wanted, "{said:?}");
        }
        assert!(!format!("{:?}", read(Mechanism::Plain, b"\0ann\0secret")).contains("secret"));
    }
}
