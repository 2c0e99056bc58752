//! What the calls have in common that ask for something: who asks, of which days, and which part.

use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use std::sync::Arc;
use time::macros::{format_description, offset};
use time::{Date, OffsetDateTime, Time};

use super::Error;
use crate::api::body::UnreadBody;
use crate::compat::form::{Form, urlencoded};
use crate::compat::inner::{Caller, Inner, Refusal, Stranger};
use crate::domain::clock::Timestamp;
use crate::domain::fault::FaultCode;

const LIMIT_MAX: usize = 100;
/// How many days may be asked for.
const DAYS_MAX: i64 = 92;

/// Parameters in the query or in a form, and who gave them.
pub struct Asked {
    pub caller: Caller,
    pub user: String,
    pub form: Form,
}

impl FromRequest<Arc<Inner>> for Asked {
    type Rejection = Error;

    async fn from_request(request: Request, inner: &Arc<Inner>) -> Result<Self, Error> {
        let (head, body) = request.into_parts();
        let query = urlencoded(head.uri.query().unwrap_or_default().as_bytes())?;
        let mut form = if query.is_empty() && head.headers.contains_key(CONTENT_TYPE) {
            inner.form(UnreadBody::of(&head, body)).await?.0
        } else {
            Form::new(query)
        };
        let token = form.text("apiKey").ok_or_else(Refusal::no_key)?;
        let user = form.text("apiUser");
        if user.is_none() {
            form.fault("apiUser", FaultCode::Required, "must be given");
        }
        form.refuse("apiUserList", "a key has mail of its own project alone");
        form.refuse("labelIdList", "it is one list for all labels");
        Ok(Self { caller: Stranger::of(&head).with(token), user: user.unwrap_or_default(), form })
    }
}

/// Days of China's clock, in which dates are there.
pub fn days(form: &mut Form, now: Timestamp) -> (Option<Timestamp>, Option<Timestamp>) {
    let (count, from, to) = (form.text("days"), form.text("startDate"), form.text("endDate"));
    let midnight = |date: Date| OffsetDateTime::new_in_offset(date, Time::MIDNIGHT, offset!(+8));
    if let Some(count) = count {
        let count = count.parse::<i64>().ok().filter(|count| (1..=DAYS_MAX).contains(count));
        let Some(count) = count else {
            form.fault("days", FaultCode::InvalidParameter, format!("must be from 1 to {DAYS_MAX}"));
            return (None, None);
        };
        // One is today.
        return (Some(midnight(now.to_offset(offset!(+8)).date()) - time::Duration::days(count - 1)), None);
    }
    let mut date = |name: &'static str, text: Option<String>| {
        let date = Date::parse(&text?, format_description!("[year]-[month]-[day]")).ok();
        if date.is_none() {
            form.fault(name, FaultCode::InvalidTime, "must be a day such as 2026-11-28");
        }
        date
    };
    let (from, to) = (date("startDate", from), date("endDate", to));
    (from.map(midnight), to.and_then(Date::next_day).map(midnight))
}

/// Which part: where it begins, and how many there are.
pub fn part(form: &mut Form) -> (usize, usize) {
    let start = form.text("start").map_or(Some(0), |text| text.parse::<u32>().ok());
    let limit =
        form.text("limit").map_or(Some(LIMIT_MAX), |text| text.parse().ok().filter(|limit| *limit <= LIMIT_MAX));
    if start.is_none() {
        form.fault("start", FaultCode::InvalidParameter, "must be a number");
    }
    if limit.is_none() {
        form.fault("limit", FaultCode::InvalidParameter, format!("must be from 0 to {LIMIT_MAX}"));
    }
    (start.and_then(|start| usize::try_from(start).ok()).unwrap_or_default(), limit.unwrap_or_default())
}

/// An instant as it is written there.
pub fn written(at: Timestamp) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    at.to_offset(offset!(+8)).format(format).unwrap_or_default()
}
