//! What a refusal or a broken session leads to: the outcome of the attempt, and what the lane learns from it.

use super::lanes::Signal;
use crate::classify::Classifier;
use crate::domain::class::{Class, OwnClass};
use crate::domain::judgement::{Disposition, Judgement, LaneAction};
use crate::domain::outcome::{Outcome, Trouble};
use crate::domain::reply::Reply;
use crate::domain::stage::Stage;
use crate::net::dns_error::DnsError;
use crate::routing::NoRoute;
use crate::smtp::client::dialogue::Refusal;
use crate::smtp::client::failure::{Failure, FailureKind};
use crate::smtp::client::session_tls::TlsFault;

/// The outcome of a reply that refused this recipient or this message.
pub fn of_refusal(classifier: &Classifier, provider: Option<&str>, stage: Stage, reply: Reply) -> Outcome {
    let judgement = classifier.judge(stage, provider, &reply);
    Outcome::of_judgement(judgement, reply)
}

/// The outcome of a message that the server cannot take, as its EHLO says. It was not asked, and said nothing: `reply` is
/// what it would have to say, and only what follows from that is recorded.
pub fn of_unfit(classifier: &Classifier, provider: Option<&str>, reply: Reply) -> Outcome {
    let detail = reply.text.clone();
    match of_refusal(classifier, provider, Stage::Mail, reply) {
        Outcome::Rejected(trouble) => Outcome::Rejected(Trouble { reply: None, detail, ..trouble }),
        Outcome::Deferred(trouble) => Outcome::Deferred(Trouble { reply: None, detail, ..trouble }),
        other => other,
    }
}

/// The outcome of a session that ended before a verdict on this message. A refusal of the session (a
/// 554 greeting, a failed AUTH) speaks of us and of now, not of the recipient: it is tried again.
pub fn of_failure(classifier: &Classifier, provider: Option<&str>, failure: Failure) -> Outcome {
    let stage = failure.stage;
    if failure.is_uncertain() {
        let why = match failure.kind {
            FailureKind::Broken(why)
            | FailureKind::Silent(why)
            | FailureKind::Nonsense(why)
            | FailureKind::Tls(TlsFault { why, .. }) => why,
            FailureKind::Refused(_) => "the session ended".to_owned(),
        };
        return Outcome::Uncertain(Trouble::new(OwnClass::Uncertain, format!("no reply to the final dot: {why}")));
    }
    match failure.kind {
        FailureKind::Broken(why) | FailureKind::Silent(why) | FailureKind::Nonsense(why) => {
            Outcome::Deferred(Trouble::on_the_way(OwnClass::Connection, format!("{stage}: {why}")))
        }
        FailureKind::Tls(fault) => {
            Outcome::Deferred(Trouble::on_the_way(OwnClass::Tls, format!("{stage}: {}", fault.why)))
        }
        FailureKind::Refused(Refusal::Reply(reply)) => {
            let judged = classifier.judge(stage, provider, &reply);
            let class = if failure.stage == Stage::Auth { OwnClass::Auth.into() } else { judged.class.clone() };
            let mut action = judged.action;
            action.suppress = false;
            Outcome::of_judgement(Judgement { class, disposition: Disposition::Defer, action, ..judged }, reply)
        }
        FailureKind::Refused(Refusal::Policy(class, why)) => {
            Outcome::Deferred(Trouble::on_the_way(class, format!("{stage}: {why}")))
        }
    }
}

/// What a lane learns from a try that ended so. `None`: nothing about its next hop.
pub fn signal_of(outcome: &Outcome, is_verdict: bool) -> Option<Signal> {
    let trouble = match outcome {
        Outcome::Accepted(_) => return Some(Signal::Accepted),
        Outcome::Expired | Outcome::Suppressed(_) => return None,
        Outcome::Uncertain(_) => return Some(Signal::Answered),
        Outcome::Deferred(trouble) | Outcome::Rejected(trouble) => trouble,
    };
    // Trouble of our own: no server was spoken to.
    if is_verdict && matches!(trouble.class, Class::Own(OwnClass::Throttled | OwnClass::Dns)) {
        return None;
    }
    match trouble.action.lane {
        LaneAction::Pause => Some(Signal::Pause),
        LaneAction::Slow if is_verdict => Some(Signal::Slow),
        _ if is_verdict && matches!(outcome, Outcome::Rejected(_)) => Some(Signal::Refused),
        _ if is_verdict => Some(Signal::Answered),
        // What the policy of one domain demands says nothing of the others that share its hosts.
        _ if trouble.class == Class::Own(OwnClass::Tls) => None,
        _ => Some(Signal::Failed),
    }
}

/// What it means for the recipient that there is no host to speak to.
pub fn of_no_route(no_route: &NoRoute) -> Outcome {
    match no_route {
        NoRoute::Dns(error) => of_dns(error),
        NoRoute::Smarthost(error) => Outcome::Deferred(Trouble::on_the_way(OwnClass::Dns, error.to_string())),
        NoRoute::Sts(_) => Outcome::Deferred(Trouble::on_the_way(OwnClass::MtaSts, no_route.to_string())),
        NoRoute::RequireTls(_) => {
            // RFC 8689 §5.
            Outcome::Rejected(Trouble::new(OwnClass::RequireTls, no_route.to_string()))
        }
        NoRoute::Sandbox => Outcome::Deferred(Trouble::new(OwnClass::Route, no_route.to_string())),
    }
}

/// What a DNS answer means for the recipient.
fn of_dns(error: &DnsError) -> Outcome {
    // No server said anything: there is no reply.
    let refused = |class| Outcome::Rejected(Trouble::new(class, error.to_string()));
    match error {
        // RFC 7505 §4.2, RFC 7504 §3.
        DnsError::NullMx(_) => refused(OwnClass::NullMx),
        DnsError::NoName(_) => refused(OwnClass::NoSuchDomain),
        DnsError::NoRecords(_) => refused(OwnClass::NoMailHost),
        DnsError::Forbidden(..) | DnsError::ForbiddenPort(_) => refused(OwnClass::ForbiddenAddress),
        DnsError::Temporary(..) => Outcome::Deferred(Trouble::on_the_way(OwnClass::Dns, error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_session_is_no_verdict_on_the_recipient() {
        let classifier = Classifier::default();
        let of = |failure| of_failure(&classifier, None, failure);
        let reply = Reply { code: 421, enhanced: None, text: "no service".into() };
        let failure = Failure { stage: Stage::Greeting, kind: FailureKind::Refused(Refusal::Reply(reply)) };
        let outcome = of(failure);
        assert_eq!((outcome.name(), signal_of(&outcome, false)), ("deferred", Some(Signal::Failed)));
        let lost = Failure { stage: Stage::Dot, kind: FailureKind::Broken("reset".into()) };
        assert_eq!(of(lost).name(), "uncertain");
        let body = Failure { stage: Stage::Body, kind: FailureKind::Broken("reset".into()) };
        assert_eq!(of(body).name(), "deferred");
    }

    #[test]
    fn a_domain_that_takes_no_mail_is_refused_and_a_sick_server_is_not() {
        let null = of_dns(&DnsError::NullMx("x".into()));
        assert_eq!((null.name(), null.reply()), ("rejected", None), "nobody replied");
        assert_eq!(of_dns(&DnsError::NoName("x".into())).name(), "rejected");
        assert_eq!(of_dns(&DnsError::Temporary("x".into(), "SERVFAIL".into())).name(), "deferred");
    }

    #[test]
    fn a_refused_recipient_says_nothing_against_its_server() {
        let classifier = Classifier::default();
        let reply = Reply { code: 550, enhanced: None, text: "User unknown".into() };
        let outcome = of_refusal(&classifier, None, Stage::Rcpt, reply);
        assert_eq!((outcome.name(), signal_of(&outcome, true)), ("rejected", Some(Signal::Refused)));
    }
}
