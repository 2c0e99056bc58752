//! What the door says, as replies of SMTP (RFC 5321 §4.2, RFC 3463). What may be different later is never told to be final: whoever
//! submits keeps it and tries again.

use crate::domain::draft::Place;
use crate::domain::fault::{FaultCode, Flaw};
use crate::smtp::server::Answer;
use crate::submit::{Accepted, Refusal, SubmitError, WriteError};

/// The reply to the end of a message.
pub fn of_accepting(accepted: Result<Accepted, SubmitError>) -> Answer {
    let item = match accepted {
        Ok(accepted) => accepted.items.into_iter().next(),
        Err(error) => return of_error(error),
    };
    match item {
        Some(Ok(item)) => {
            let ids: Vec<_> = item.messages.iter().map(|message| message.id.to_string()).collect();
            Answer::new(250, "2.0.0", format!("Ok: queued as {}", ids.join(" ")))
        }
        Some(Err(refusal)) => of_refusal(refusal),
        None => Answer::new(451, "4.3.0", "this is a defect: nothing was stored"),
    }
}

fn of_error(error: SubmitError) -> Answer {
    match error {
        SubmitError::Refused(_, refusal) => of_refusal(refusal),
        SubmitError::KeyReused => key_reused(),
        SubmitError::Backlog(_) | SubmitError::Write(WriteError::Busy) => {
            Answer::new(452, "4.3.1", "too much waits in the queue: try again later")
        }
        SubmitError::QuotaSpent(spent) => {
            let seconds = spent.wait.as_secs().max(1);
            Answer::new(451, "4.7.1", format!("the quota {} is used up: try again in {seconds} s", spent.quota))
        }
        SubmitError::Suspended(reason) => {
            let reason = if reason.is_empty() { "by the operator" } else { &reason };
            Answer::new(451, "4.7.1", format!("the project is suspended: {reason}"))
        }
        SubmitError::TooLarge(..) => Answer::new(552, "5.3.4", "the message is too large"),
        SubmitError::Write(WriteError::Away(_) | WriteError::Failed(_) | WriteError::Sealed) => {
            Answer::new(451, "4.3.0", "it is not sure that this is stored: try again later")
        }
    }
}

fn of_refusal(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Faulty(faults) => {
            let details: Vec<_> =
                faults.into_iter().map(|fault| format!("{} {}", fault.pointer, fault.detail)).collect();
            Answer::new(550, "5.6.0", details.join("; "))
        }
        Refusal::KeyReused | Refusal::RefusedBefore => key_reused(),
        Refusal::ForeignDomain(domain) => Answer::new(550, "5.7.1", format!("this key may not send as {domain}")),
        Refusal::UnverifiedDomain(why) => Answer::new(550, "5.7.1", why),
        Refusal::Unacceptable(_, Flaw { code: FaultCode::MessageTooLarge, detail }) => {
            Answer::new(552, "5.3.4", detail)
        }
        Refusal::Unacceptable(Place::Recipients, flaw) => Answer::new(550, "5.7.1", flaw.detail),
        Refusal::Unacceptable(_, flaw) => Answer::new(550, "5.6.0", flaw.detail),
    }
}

fn key_reused() -> Answer {
    Answer::new(554, "5.6.0", "the idempotency key was used with another message")
}
