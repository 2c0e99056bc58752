//! `mailwright send`, `status` and `healthcheck`: clients of a running service.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Value, json};

use super::http::{Answer, Service, call, call_with};
use crate::config::{Config, Span};
use crate::terminal::{CommandError, out};

/// How often a message's status is asked for.
const POLL: Duration = Duration::from_millis(100);

/// Which service, and by which key.
#[derive(Debug, Args)]
pub struct Connection {
    /// The service; also `MAILWRIGHT_URL`. Default: this machine, at the port of `http.listen`.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// An API key; also `MAILWRIGHT_KEY`, or `MAILWRIGHT_KEY_FILE`, a file that has it: arguments are seen by everybody on the machine.
    #[arg(long)]
    key: Option<String>,
}

#[derive(Debug, Args)]
pub struct SendArgs {
    #[arg(long)]
    from: String,
    /// May be repeated, as the other kinds of recipients may.
    #[arg(long)]
    to: Vec<String>,
    #[arg(long)]
    cc: Vec<String>,
    #[arg(long)]
    bcc: Vec<String>,
    #[arg(long, value_name = "ADDRESS")]
    reply_to: Vec<String>,
    #[arg(long)]
    subject: String,
    /// The text; `-` reads it from standard input.
    #[arg(long, required_unless_present = "html")]
    text: Option<String>,
    /// The HTML; `-` reads it from standard input.
    #[arg(long)]
    html: Option<String>,
    /// A file to attach; may be repeated.
    #[arg(long, value_name = "FILE")]
    attach: Vec<PathBuf>,
    /// A header field; may be repeated.
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// A tag; may be repeated.
    #[arg(long)]
    tag: Vec<String>,
    /// Repeated with the same key and message, it is sent once.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Wait until every recipient has reached a final state; exit 1 unless all were delivered.
    #[arg(long)]
    wait: bool,
    /// The longest to wait; exit 3 when it is over.
    #[arg(long, value_name = "SPAN", default_value = "2m")]
    timeout: Span,
    #[command(flatten)]
    connection: Connection,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("must be of the form 'Name: value'")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The message's id, `msg_…`.
    id: String,
    #[command(flatten)]
    connection: Connection,
}

impl Connection {
    #[expect(clippy::disallowed_methods, reason = "the command line is where the environment is read")]
    pub(super) fn read(self, config: &Config) -> Service {
        let url = self.url.or_else(|| std::env::var("MAILWRIGHT_URL").ok());
        let url = url.unwrap_or_else(|| {
            let listen = config.http.listen.0;
            let host = if listen.ip().is_unspecified() { IpAddr::from(Ipv4Addr::LOCALHOST) } else { listen.ip() };
            format!("http://{}", SocketAddr::new(host, listen.port()))
        });
        Service {
            url: url.trim_end_matches('/').to_owned(),
            key: self.key.or_else(|| std::env::var("MAILWRIGHT_KEY").ok()).or_else(|| {
                // Arguments are seen by everybody on the machine, and an environment by its user's programs.
                let text = std::fs::read_to_string(std::env::var_os("MAILWRIGHT_KEY_FILE")?).ok()?;
                Some(text.trim().to_owned())
            }),
            ca_file: config.delivery.ca_file.clone(),
        }
    }
}

/// The text itself, or what comes on standard input when it is `-`.
fn text_or_input(text: String) -> Result<String, CommandError> {
    if text != "-" {
        return Ok(text);
    }
    std::io::read_to_string(std::io::stdin()).map_err(|error| CommandError(format!("standard input: {error}")))
}

/// The body of the request.
fn message(args: &mut SendArgs) -> Result<Value, CommandError> {
    let mut message = json!({"from": args.from, "subject": args.subject});
    for (name, list) in
        [("to", &args.to), ("cc", &args.cc), ("bcc", &args.bcc), ("reply_to", &args.reply_to), ("tags", &args.tag)]
    {
        if !list.is_empty() {
            message[name] = json!(list);
        }
    }
    for (name, part) in [("text", args.text.take()), ("html", args.html.take())] {
        if let Some(part) = part {
            message[name] = json!(text_or_input(part)?);
        }
    }
    if !args.header.is_empty() {
        message["headers"] = args.header.iter().cloned().collect::<BTreeMap<_, _>>().into_iter().collect();
    }
    let mut files = Vec::new();
    for path in &args.attach {
        let content = std::fs::read(path).map_err(|error| CommandError(format!("{}: {error}", path.display())))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        files.push(json!({"filename": name.unwrap_or_default(), "content": STANDARD.encode(content)}));
    }
    if !files.is_empty() {
        message["attachments"] = files.into();
    }
    Ok(message)
}

pub async fn send(mut args: SendArgs, config: &Config) -> Result<ExitCode, CommandError> {
    let message = message(&mut args)?;
    let service = args.connection.read(config);
    let key = args.idempotency_key.as_deref();
    let headers: Vec<_> = key.into_iter().map(|key| ("idempotency-key", key)).collect();
    let answer = call_with(&service, "/v1/send", Some(&message), &headers).await?;
    if answer.status != 202 {
        return refused(&service, &answer);
    }
    if !args.wait {
        return print(&answer.body);
    }
    let id = answer.body["id"].as_str().unwrap_or_default().to_owned();
    wait(&service, &id, args.timeout.0).await
}

/// Waits until every recipient has reached a final state; says on standard error what changes meanwhile.
async fn wait(service: &Service, id: &str, longest: Duration) -> Result<ExitCode, CommandError> {
    let end = tokio::time::Instant::now() + longest;
    let mut shown = String::new();
    loop {
        let answer = call(service, &format!("/v1/messages/{id}"), None).await?;
        let waiting =
            ["queued", "sending", "deferred"].iter().filter_map(|s| answer.body["counts"][s].as_u64()).sum::<u64>();
        if answer.status != 200 || waiting == 0 {
            print(&answer.body)?;
            let is_delivered = answer.body["status"] == "delivered";
            return Ok(if is_delivered { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        let counts = answer.body["counts"].as_object().into_iter().flatten();
        let counts =
            counts.filter(|(_, count)| count.as_u64() > Some(0)).map(|(name, count)| format!("{count} {name}"));
        let now = counts.collect::<Vec<_>>().join(", ");
        if now != shown {
            out::note(&format!("{id}: {now}"));
            shown = now;
        }
        if tokio::time::Instant::now() >= end {
            out::note(&format!("not settled within {}; it goes on: mailwright status {id}", Span(longest)));
            print(&answer.body)?;
            return Ok(ExitCode::from(3));
        }
        tokio::time::sleep(POLL).await;
    }
}

pub async fn status(args: StatusArgs, config: &Config) -> Result<ExitCode, CommandError> {
    let service = args.connection.read(config);
    let answer = call(&service, &format!("/v1/messages/{}", args.id), None).await?;
    if answer.status == 200 { print(&answer.body) } else { refused(&service, &answer) }
}

/// Why a message is where it is: for each recipient a sentence, and what it follows from.
pub async fn why(args: StatusArgs, config: &Config) -> Result<ExitCode, CommandError> {
    let service = args.connection.read(config);
    let answer = call(&service, &format!("/v1/messages/{}/explain", args.id), None).await?;
    if answer.status != 200 {
        return refused(&service, &answer);
    }
    for recipient in answer.body["recipients"].as_array().into_iter().flatten() {
        let field = |name: &str| recipient[name].as_str().unwrap_or_default().to_owned();
        out::print(&format!("{}: {}", field("email"), field("reason")))?;
    }
    print(&answer.body)
}

pub async fn healthcheck(connection: Connection, config: &Config) -> Result<ExitCode, CommandError> {
    let is_named = connection.url.is_some();
    let mut service = connection.read(config);
    if let Some(admin) = config.http.admin_listen.0.first().filter(|_| !is_named) {
        service.url = format!("http://{admin}");
    }
    let answer = call(&service, "/readyz", None).await?;
    if answer.status == 200 { Ok(ExitCode::SUCCESS) } else { refused(&service, &answer) }
}

pub(super) fn print(body: &Value) -> Result<ExitCode, CommandError> {
    out::print(&serde_json::to_string_pretty(body).unwrap_or_default())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn refused(service: &Service, answer: &Answer) -> Result<ExitCode, CommandError> {
    let text = serde_json::to_string_pretty(&answer.body).unwrap_or_default();
    let hint = if answer.status == 401 { "\ngive a key of this service by --key or MAILWRIGHT_KEY" } else { "" };
    Err(CommandError(format!("{} answered {}:\n{text}{hint}", service.url, answer.status)))
}
