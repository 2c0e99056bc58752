//! How long each stage of the conversation may take (RFC 5321 §4.5.3.2), as configured.

use std::time::Duration;

use crate::config::Delivery;
use crate::domain::stage::Stage;

/// Deadlines of every stage.
#[derive(Debug, Clone)]
pub struct Deadlines {
    connect: Duration,
    greeting: Duration,
    ehlo: Duration,
    starttls: Duration,
    auth: Duration,
    mail: Duration,
    rcpt: Duration,
    data: Duration,
    body: Duration,
    dot: Duration,
    quit: Duration,
}

impl Deadlines {
    pub fn new(config: &Delivery) -> Self {
        Self {
            connect: config.timeout_connect.0,
            greeting: config.timeout_greeting.0,
            ehlo: config.timeout_ehlo.0,
            starttls: config.timeout_starttls.0,
            auth: config.timeout_auth.0,
            mail: config.timeout_mail.0,
            rcpt: config.timeout_rcpt.0,
            data: config.timeout_data.0,
            body: config.timeout_body.0,
            dot: config.timeout_dot.0,
            quit: config.timeout_quit.0,
        }
    }

    pub const fn of(&self, stage: Stage) -> Duration {
        match stage {
            Stage::Connect => self.connect,
            Stage::Greeting => self.greeting,
            Stage::Ehlo => self.ehlo,
            Stage::StartTls | Stage::Handshake => self.starttls,
            Stage::Auth => self.auth,
            Stage::Mail | Stage::Rset => self.mail,
            Stage::Rcpt => self.rcpt,
            Stage::Data => self.data,
            Stage::Body => self.body,
            Stage::Dot => self.dot,
            // No server is spoken to in the others.
            Stage::Quit
            | Stage::Expiry
            | Stage::Suppression
            | Stage::Resolve
            | Stage::Load
            | Stage::Lease
            | Stage::Sandbox => self.quit,
        }
    }
}
