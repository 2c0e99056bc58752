//! Complaints: RFC 5965, and the forms that have no part for machines.

use mail_parser::Message;

use super::{Meaning, fields, inner, parts};

/// How subjects begin that providers write over a message that somebody complained of (Microsoft's JMRP).
const SUBJECTS: [&str; 2] = ["complaint about message from", "email feedback report for ip"];

/// What a complaint means; `None`: it is none.
pub fn meaning(message: &Message<'_>) -> Option<Meaning> {
    let report = parts(message, |kind, subtype| kind == "message" && subtype == "feedback-report").next();
    if let Some(report) = report {
        let fields = fields(&String::from_utf8_lossy(report));
        let kind =
            fields.into_iter().find(|(name, _)| name == "feedback-type").map(|(_, kind)| kind.to_ascii_lowercase());
        return Some(match kind.as_deref() {
            Some("not-spam") => Meaning::NotSpam,
            Some("auth-failure" | "dmarc") => Meaning::AuthFailure,
            Some("opt-out" | "opt-out-list") => Meaning::OptOut,
            _ => Meaning::Complaint,
        });
    }
    let subject = message.subject()?.trim().to_lowercase();
    (inner(message).is_some() && SUBJECTS.iter().any(|known| subject.starts_with(known))).then_some(Meaning::Complaint)
}
