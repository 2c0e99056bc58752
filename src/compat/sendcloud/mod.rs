//! SendCloud's API v2 (`sendcloud.net/doc/email_v2`) and that of its successor Aurora: a message by its words or by a template, what became
//! of it, and lists of addresses that nothing is sent to.
//!
//! A key of ours stands in `apiKey`, whoever `apiUser` is. Answers are `{result, statusCode, message, info}`, with status 200 of HTTP also
//! where they are refusals.

mod lists;
mod parameters;
mod send;
mod status;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{any, post};
use serde_json::{Value, json};

use super::inner::{Inner, Refusal};
use super::places::Places;
use super::service::{Refused, Service, answer, ok};
use crate::domain::fault::FaultCode;

pub struct SendCloud;

type Error = Refused<SendCloud>;

const SUCCESS: &str = "请求成功";

/// A success, with what is told of it.
fn told(info: &Value) -> Response {
    ok(&json!({"result": true, "statusCode": 200, "message": SUCCESS, "info": info}))
}

/// The routes, at the root of the service's address.
pub fn routes() -> Router<Arc<Inner>> {
    Router::new()
        .route("/apiv2/mail/send", post(send::plain))
        .route("/apiv2/mail/sendtemplate", post(send::templated))
        .route("/api/mail/send", post(send::plain))
        .route("/api/mail/sendtemplate", post(send::templated))
        .route("/apiv2/data/emailStatus", any(status::list))
        .route("/apiv2/{list}/list", any(lists::list))
        .route("/apiv2/{list}/count", any(lists::count))
        .route("/apiv2/{list}/add", any(lists::add))
        .route("/apiv2/{list}/delete", any(lists::delete))
        .method_not_allowed_fallback(nothing)
}

async fn nothing(method: Method, uri: Uri) -> Error {
    Refusal::not_understood(&method, uri.path()).into()
}

impl Service for SendCloud {
    /// It stands in the form.
    fn token(_: &HeaderMap) -> Option<String> {
        None
    }

    fn refused(refusal: &Refusal, places: &Places) -> Response {
        let (status, code) = code_of(refusal, places);
        let told = json!({"result": false, "statusCode": code, "message": refusal.told(places), "info": {}});
        answer(status, &told)
    }
}

/// Status and number of an error: what is a refusal there is no error of HTTP.
fn code_of(refusal: &Refusal, places: &Places) -> (StatusCode, u16) {
    let field = refusal.faults.first().map(|fault| (places.name(&fault.pointer), fault.code));
    let place = field.as_ref().map_or("", |(name, _)| name.split(['[', '.']).next().unwrap_or_default());
    let code = match refusal.kind.as_str() {
        "no-key" | "unauthorized" | "missing-scope" | "address-not-allowed" | "test-only" => 40005,
        "foreign-domain" | "unverified-domain" => 40802,
        "quota-exceeded" => 40904,
        "idempotency-key-reused" => 40000,
        "validation" => number_of(place, field.as_ref().map(|(_, code)| *code)),
        "malformed" | "unsupported-media-type" | "project-suspended" => SEND_FAILED,
        _ => return (refusal.status, refusal.status.as_u16()),
    };
    (StatusCode::OK, code)
}

/// That it failed, and nothing nearer.
const SEND_FAILED: u16 = 40901;

/// Numbers of parameters (`sendcloud.net/doc/en/email_v2`): where one is missing, where it is wrong, and where it has too much.
const NUMBERS: [(&str, u16, u16, u16); 24] = [
    ("apiUser", 40005, 40005, 40005),
    ("attachments", SEND_FAILED, 40867, 40819),
    ("bcc", SEND_FAILED, 40856, 40857),
    ("days", 40006, 40006, 40006),
    ("email", 40011, 40012, 40012),
    ("endDate", 40008, 40008, 40008),
    ("cc", SEND_FAILED, 40853, 40854),
    ("from", 40801, 40802, 40802),
    ("fromName", 40804, 40804, 40804),
    ("gzipCompress", 40861, 40861, 40861),
    ("headers", 40869, 40869, 40869),
    ("html", 40870, 40871, 40871),
    ("labelId", 40103, 40103, 40103),
    ("labelName", 40105, 40105, 40105),
    ("limit", 40003, 40004, 40004),
    ("plain", 40870, 40831, 40831),
    ("replyTo", 40811, 40811, 40879),
    ("respEmailId", 40859, 40859, 40859),
    ("start", 40001, 40002, 40002),
    ("startDate", 40007, 40007, 40007),
    ("subject", 40808, 40809, 40809),
    ("templateInvokeName", 40201, 40823, 40202),
    ("to", 40805, 40806, 40807),
    ("xsmtpapi", 40815, 40813, 40827),
];

fn number_of(place: &str, code: Option<FaultCode>) -> u16 {
    match (place, code) {
        ("useAddressList", Some(FaultCode::Conflict)) => return 40820,
        ("useAddressList", _) => return 40874,
        ("xsmtpapi", Some(FaultCode::InvalidAddress)) => return 40880,
        _ => {}
    }
    let Some((_, missing, wrong, much)) = NUMBERS.iter().find(|(name, ..)| *name == place) else { return SEND_FAILED };
    match code {
        Some(FaultCode::Required) => *missing,
        Some(FaultCode::TooMany | FaultCode::TooManyRecipients | FaultCode::MessageTooLarge) => *much,
        _ => *wrong,
    }
}
