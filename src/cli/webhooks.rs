//! `mailwright webhooks listen`: a project's events told to a program on this machine, which the service need not reach.

use std::process::ExitCode;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use super::http::{Sent, Service, call, post};
use super::messages::{Connection, refused};
use crate::ambient::{SystemClock, SystemRng};
use crate::config::Config;
use crate::domain::clock::Clock;
use crate::domain::event::EventType;
use crate::domain::webhook::Secret;
use crate::terminal::{CommandError, out};
use crate::webhook::sign;

/// Wait before a service, or a program, that did not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a program that does not answer is tried: it may be starting.
const TRIES: usize = 5;

#[derive(Debug, Subcommand)]
pub enum WebhooksCommand {
    /// Tell a program on this machine of events from now on, as webhooks: no endpoint is made, and no public address is needed.
    Listen(ListenArgs),
}

#[derive(Debug, Args)]
pub struct ListenArgs {
    /// Where webhooks are posted to, such as <http://localhost:3000/hook>. Without it events are printed, a line of JSON each.
    #[arg(long, value_name = "URL")]
    forward: Option<String>,
    /// Only events of this type; may be repeated.
    #[arg(long = "event", value_name = "TYPE", value_parser = event_type)]
    events: Vec<EventType>,
    /// The secret to sign with (`whsec_…`). Default: a new one, which is printed.
    #[arg(long)]
    secret: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// A webhook's body.
#[derive(Serialize)]
struct Body<'e> {
    #[serde(rename = "type")]
    event_type: &'e Value,
    timestamp: &'e Value,
    data: &'e Value,
}

fn event_type(name: &str) -> Result<EventType, String> {
    EventType::parse(name).ok_or_else(|| "is not a type of event, such as message.delivered".to_owned())
}

pub async fn run(command: WebhooksCommand, config: &Config) -> Result<ExitCode, CommandError> {
    let WebhooksCommand::Listen(args) = command;
    let service = args.connection.read(config);
    let target = args.forward.map(|url| Service { url, key: None, ca_file: config.delivery.ca_file.clone() });
    let secret = match &args.secret {
        Some(text) => read_secret(text)?,
        None => Secret::new(&SystemRng),
    };
    // A page behind the end of the log says where the log ends.
    let answer = call(&service, "/v1/events?limit=1&since=9999-01-01T00:00:00Z", None).await?;
    let Some(mut cursor) = answer.body["next_cursor"].as_str().map(str::to_owned) else {
        return refused(&service, &answer);
    };
    if let Some(target) = &target {
        out::note(&format!("telling {} of events of {}; stop with Ctrl-C", target.url, service.url));
        out::note(&format!("secret {}", sign::secret_text(&secret)));
    }
    let types = args.events.iter().fold(String::new(), |types, event_type| types + "&type=" + event_type.name());
    loop {
        let answer = match call(&service, &format!("/v1/events?after={cursor}&wait=10s&limit=100{types}"), None).await {
            Ok(answer) if answer.status == 200 => answer,
            Ok(answer) if answer.status < 500 && answer.status != 429 => return refused(&service, &answer),
            Ok(answer) => {
                out::note(&format!("{} answered {}; asking again", service.url, answer.status));
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(error) => {
                out::note(&format!("{error}; asking again"));
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        for event in answer.body["data"].as_array().into_iter().flatten() {
            match &target {
                Some(target) => forward(target, &secret, event).await?,
                None => out::print(&event.to_string())?,
            }
        }
        if let Some(next) = answer.body["next_cursor"].as_str() {
            next.clone_into(&mut cursor);
        }
    }
}

fn read_secret(text: &str) -> Result<Secret, CommandError> {
    let hmac = text.strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
    let hmac = hmac.filter(|key| !key.is_empty()).ok_or_else(|| {
        CommandError("--secret: must be whsec_ and base64, as an endpoint's creation answers it".to_owned())
    })?;
    Ok(Secret { hmac, ..Secret::new(&SystemRng) })
}

/// Posts one event and says what came of it; what gives no answer is tried again for a while.
async fn forward(target: &Service, secret: &Secret, event: &Value) -> Result<(), CommandError> {
    let body = Body { event_type: &event["type"], timestamp: &event["timestamp"], data: &event["data"] };
    let bytes = serde_json::to_vec(&body).map_err(CommandError::new)?;
    let (id, kind) = (event["id"].as_str().unwrap_or_default(), event["type"].as_str().unwrap_or_default());
    for is_last in (1..=TRIES).map(|n| n == TRIES) {
        let timestamp = SystemClock.now().unix_timestamp();
        let headers = sign::Signers::of(std::slice::from_ref(secret)).headers(id, timestamp, &bytes);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let began = Instant::now();
        let sent = Sent { content_type: "application/json", bytes: bytes.clone() };
        match post(target, sent, &headers[1..]).await {
            Ok(answer) => {
                out::print(&format!("{kind} {id} {} in {} ms", answer.status, began.elapsed().as_millis()))?;
                return Ok(());
            }
            Err(error) if is_last => out::print(&format!("{kind} {id} not taken: {error}"))?,
            Err(error) => {
                out::note(&format!("{error}; trying again"));
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    Ok(())
}
