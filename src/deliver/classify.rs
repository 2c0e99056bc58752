//! What a reply means: the class that an attempt is recorded under, and whether it is final.

use super::smtp::dialogue::{Refusal, Stage};
use super::smtp::session::{Failure, FailureKind};
use crate::domain::outcome::{Outcome, Trouble};
use crate::domain::reply::Reply;

/// The outcome of a reply that refused this recipient or this message.
pub fn of_refusal(stage: Stage, reply: Reply) -> Outcome {
    match reply.code / 100 {
        5 => Outcome::Rejected(Trouble::from_reply(permanent_class(&reply), reply)),
        4 => Outcome::Deferred(Trouble::from_reply(temporary_class(&reply), reply)),
        // A reply that makes no sense here is no verdict on the recipient.
        _ => {
            tracing::debug!(stage = stage.name(), code = reply.code, "a reply out of place");
            Outcome::Deferred(Trouble::from_reply("protocol", reply))
        }
    }
}

/// The outcome of a session that ended before a verdict on this message. A refusal of the session (a
/// 554 greeting, a failed AUTH) speaks of us and of now, not of the recipient: it is tried again.
pub fn of_failure(failure: Failure) -> Outcome {
    let stage = failure.stage.name();
    if failure.is_uncertain() {
        let why = match failure.kind {
            FailureKind::Broken(why) | FailureKind::Tls(why) => why,
            FailureKind::Refused(_) => "the session ended".to_owned(),
        };
        return Outcome::Uncertain(Trouble::new("uncertain", format!("no reply to the final dot: {why}")));
    }
    Outcome::Deferred(match failure.kind {
        FailureKind::Broken(why) => Trouble::new("connection", format!("{stage}: {why}")),
        FailureKind::Tls(why) => Trouble::new("tls", format!("{stage}: {why}")),
        FailureKind::Refused(Refusal::Reply(reply)) => {
            Trouble::from_reply(if failure.stage == Stage::Auth { "auth" } else { "session" }, reply)
        }
        FailureKind::Refused(Refusal::Policy(class, why)) => Trouble::new(class, format!("{stage}: {why}")),
    })
}

fn permanent_class(reply: &Reply) -> &'static str {
    match (reply.enhanced.map(|e| (e.subject, e.detail)), reply.code) {
        (Some((1, 1 | 2 | 3 | 6 | 10)), _) | (None, 550) => "bad_mailbox",
        (Some((2, 1)), _) => "mailbox_disabled",
        (Some((2, 2)), _) => "mailbox_full",
        (Some((2 | 3, 3 | 4)), _) | (None, 552) => "too_large",
        (Some((7, _)), _) => "policy",
        _ => "permanent",
    }
}

fn temporary_class(reply: &Reply) -> &'static str {
    let text = reply.text.to_ascii_lowercase();
    match (reply.enhanced.map(|e| (e.subject, e.detail)), reply.code) {
        _ if text.contains("greylist") || text.contains("graylist") => "greylisted",
        (Some((2, 2)), _) => "mailbox_full",
        (Some((7, _)), _) => "policy",
        (_, 421) => "busy",
        _ => "temporary",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::smtp::reply::ReplyReader;

    fn outcome(line: &str) -> (&'static str, &'static str) {
        let mut reader = ReplyReader::default();
        reader.push(format!("{line}\r\n").as_bytes());
        let reply = reader.next_reply().unwrap().unwrap().to_reply();
        let outcome = of_refusal(Stage::Rcpt, reply);
        (outcome.name(), outcome.class())
    }

    #[test]
    fn replies_are_told_apart() {
        for (line, expected) in [
            ("550 5.1.1 no such user", ("rejected", "bad_mailbox")),
            ("550 no such user", ("rejected", "bad_mailbox")),
            ("552 5.2.2 over quota", ("rejected", "mailbox_full")),
            ("552 5.3.4 too big", ("rejected", "too_large")),
            ("554 5.7.1 blocked", ("rejected", "policy")),
            ("599 what", ("rejected", "permanent")),
            ("451 4.7.1 Greylisted, try again", ("deferred", "greylisted")),
            ("452 4.2.2 full", ("deferred", "mailbox_full")),
            ("421 busy", ("deferred", "busy")),
            ("450 later", ("deferred", "temporary")),
            ("354 what", ("deferred", "protocol")),
            ("200 what", ("deferred", "protocol")),
        ] {
            assert_eq!(outcome(line), expected, "{line}");
        }
    }

    #[test]
    fn a_refused_session_is_no_verdict_on_the_recipient() {
        let reply = Reply { code: 554, enhanced: None, text: "no service".into() };
        let failure = Failure { stage: Stage::Greeting, kind: FailureKind::Refused(Refusal::Reply(reply)) };
        assert_eq!(of_failure(failure).name(), "deferred");
        let lost = Failure { stage: Stage::Dot, kind: FailureKind::Broken("reset".into()) };
        assert_eq!(of_failure(lost).name(), "uncertain");
        let body = Failure { stage: Stage::Body, kind: FailureKind::Broken("reset".into()) };
        assert_eq!(of_failure(body).name(), "deferred");
    }
}
