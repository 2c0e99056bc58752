//! The limits of projects and keys, as requests give them and answers show them.

use serde::Serialize;

use crate::domain::fault::FaultCode;
use crate::domain::quota::UsageLimits;
use crate::request::fields::Fields;

/// Most of whatever is limited: exact in every reader of JSON.
const MOST: i64 = 1 << 53;
/// Most messages in a second, and recipients of a message.
const MOST_SMALL: i64 = 1_000_000;

/// The schema `ProjectLimits`.
#[derive(Serialize)]
pub struct ProjectLimitsView {
    messages_per_second: Option<u32>,
    recipients_per_message: Option<u32>,
    recipients_per_day: Option<u64>,
    recipients_per_month: Option<u64>,
    bytes_per_month: Option<u64>,
}

/// The schema `KeyLimits`.
#[derive(Serialize)]
pub struct KeyLimitsView {
    messages_per_second: Option<u32>,
    recipients_per_day: Option<u64>,
}

impl ProjectLimitsView {
    pub const fn of(limits: &UsageLimits) -> Self {
        let UsageLimits {
            messages_per_second,
            recipients_per_message,
            recipients_per_day,
            recipients_per_month,
            bytes_per_month,
        } = *limits;
        Self { messages_per_second, recipients_per_message, recipients_per_day, recipients_per_month, bytes_per_month }
    }
}

impl KeyLimitsView {
    pub const fn of(limits: &UsageLimits) -> Self {
        let UsageLimits { messages_per_second, recipients_per_day, .. } = *limits;
        Self { messages_per_second, recipients_per_day }
    }
}

/// The field `limits` of a project: all of them, since what is not named is not limited.
pub fn of_project(fields: &mut Fields<'_>) -> Option<UsageLimits> {
    let map = fields.object("limits")?;
    let mut inner = Fields::new(map, fields.pointer("limits"), fields.faults);
    let limits = UsageLimits {
        messages_per_second: small(&mut inner, "messages_per_second"),
        recipients_per_message: small(&mut inner, "recipients_per_message"),
        recipients_per_day: large(&mut inner, "recipients_per_day"),
        recipients_per_month: large(&mut inner, "recipients_per_month"),
        bytes_per_month: large(&mut inner, "bytes_per_month"),
    };
    inner.finish();
    Some(limits)
}

/// The field `limits` of a key: all of them, since what is not named is not limited, or as much as `own` is. Nobody gives
/// more than they have.
pub fn of_key(fields: &mut Fields<'_>, own: &UsageLimits) -> Option<UsageLimits> {
    let map = fields.object("limits")?;
    let mut inner = Fields::new(map, fields.pointer("limits"), fields.faults);
    let rate = small(&mut inner, "messages_per_second");
    let of_day = large(&mut inner, "recipients_per_day");
    let limits = UsageLimits {
        messages_per_second: within(&mut inner, "messages_per_second", rate, own.messages_per_second),
        recipients_per_day: within(&mut inner, "recipients_per_day", of_day, own.recipients_per_day),
        ..UsageLimits::default()
    };
    inner.finish();
    Some(limits)
}

fn within<N: Ord + Copy + std::fmt::Display>(
    fields: &mut Fields<'_>,
    name: &str,
    given: Option<N>,
    own: Option<N>,
) -> Option<N> {
    match (given, own) {
        (Some(given), Some(own)) if given > own => {
            fields.fault(name, FaultCode::BeyondOwn, format!("must be at most {own}, as of this credential"));
            None
        }
        (given, own) => given.or(own),
    }
}

fn small(fields: &mut Fields<'_>, name: &'static str) -> Option<u32> {
    number(fields, name, 1, MOST_SMALL).and_then(|number| u32::try_from(number).ok())
}

fn large(fields: &mut Fields<'_>, name: &'static str) -> Option<u64> {
    number(fields, name, 0, MOST).and_then(|number| u64::try_from(number).ok())
}

fn number(fields: &mut Fields<'_>, name: &'static str, least: i64, most: i64) -> Option<i64> {
    let number = fields.integer(name)?;
    if (least..=most).contains(&number) {
        return Some(number);
    }
    fields.fault(name, FaultCode::InvalidLimit, format!("must be from {least} to {most}"));
    None
}
