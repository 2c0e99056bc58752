//! A reply on another service's list, judged by the same rules as one that was given to us.

use super::Left;
use crate::classify::Classifier;
use crate::domain::class::{Class, OwnClass};
use crate::domain::reply::{EnhancedStatus, Reply};
use crate::domain::stage::Stage;

/// The class of lasting refusals whose cause no rule knows: there the service that had the reply is believed.
const UNKNOWN: &str = "permanent";

/// What a list tells of a reply.
pub struct Told<'t> {
    pub code: Option<&'t str>,
    pub status: Option<&'t str>,
    pub text: Option<&'t str>,
}

/// A reply that speaks of the address.
pub struct Verdict {
    pub code: Option<i32>,
    pub enhanced: Option<String>,
    pub class: Option<String>,
}

/// Judges it; what speaks of the sender or of the moment is left out. Where there is no code, or nothing but a code, the
/// service is believed.
pub fn judge(told: &Told<'_>, classifier: &Classifier) -> Result<Verdict, Left> {
    let Some(reply) = reply(told) else { return Ok(Verdict { code: None, enhanced: None, class: None }) };
    let judgement = classifier.judge(Stage::Rcpt, None, &reply);
    let says_nothing = reply.text.is_empty() && reply.enhanced.is_none();
    let is_unknown =
        says_nothing || judgement.class.name() == UNKNOWN || judgement.class == Class::Own(OwnClass::Protocol);
    if !(judgement.action.suppress || (reply.is_permanent() && is_unknown)) {
        let class = judgement.class.name();
        let about = classifier.about(class).unwrap_or_default();
        return Err(Left::Skipped(format!("its reply does not speak of the address ({class}: {about})")));
    }
    Ok(Verdict {
        code: Some(i32::from(reply.code)),
        enhanced: reply.enhanced.map(|status| status.to_string()),
        class: Some(judgement.class.name().to_owned()),
    })
}

/// The reply that is told; `None` without a code.
fn reply(told: &Told<'_>) -> Option<Reply> {
    let text = told.text.unwrap_or_default().trim();
    let (said, rest) = match text.split_at_checked(3) {
        Some((code, rest)) if !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '.') => {
            (code_of(code), rest.trim_start_matches([' ', '-', ':', ';']))
        }
        _ => (None, text),
    };
    let rest = if said.is_some() { rest } else { text };
    let (in_text, rest) = EnhancedStatus::split(rest);
    let status = told.status.map(str::trim).and_then(|status| EnhancedStatus::split(status).0);
    let enhanced = in_text.or(status);
    let of_status = || enhanced.map(|status| u16::from(status.class) * 100 + 50).filter(|code| *code >= 400);
    let code = said.or_else(|| told.code.and_then(code_of)).or_else(of_status)?;
    Some(Reply { code, enhanced, text: rest.to_owned() })
}

fn code_of(text: &str) -> Option<u16> {
    text.trim().parse().ok().filter(|code| (400..600).contains(code))
}
