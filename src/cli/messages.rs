//! `mailwright send`, `status` and `healthcheck`: clients of a running service.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::http::{Answer, call};
use crate::config::Config;
use crate::terminal::{CommandError, out};

/// How often a message's status is asked for.
const POLL: Duration = Duration::from_millis(100);

/// Which service, and by which key.
#[derive(Debug, Args)]
pub struct Connection {
    /// The service; also `MAILWRIGHT_URL`. Default: this machine, at the port of `http.listen`.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// An API key; also `MAILWRIGHT_KEY`.
    #[arg(long)]
    key: Option<String>,
}

#[derive(Debug, Args)]
pub struct SendArgs {
    #[arg(long)]
    from: String,
    /// May be repeated.
    #[arg(long, required = true)]
    to: Vec<String>,
    #[arg(long)]
    subject: String,
    #[arg(long, required_unless_present = "html")]
    text: Option<String>,
    #[arg(long)]
    html: Option<String>,
    /// Wait until every recipient has reached a final state; exit 1 unless all were delivered.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    connection: Connection,
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
    fn read(self, config: &Config) -> (String, Option<String>) {
        let url = self.url.or_else(|| std::env::var("MAILWRIGHT_URL").ok());
        let url = url.unwrap_or_else(|| {
            let listen = config.http.listen;
            let host = if listen.ip().is_unspecified() { IpAddr::from(Ipv4Addr::LOCALHOST) } else { listen.ip() };
            format!("http://{}", SocketAddr::new(host, listen.port()))
        });
        (url.trim_end_matches('/').to_owned(), self.key.or_else(|| std::env::var("MAILWRIGHT_KEY").ok()))
    }
}

pub async fn send(args: SendArgs, config: &Config) -> Result<ExitCode, CommandError> {
    let (url, key) = args.connection.read(config);
    let mut message = json!({"from": args.from, "to": args.to, "subject": args.subject});
    if let Some(text) = args.text {
        message["text"] = json!(text);
    }
    if let Some(html) = args.html {
        message["html"] = json!(html);
    }
    let answer = call(&format!("{url}/v1/send"), key.as_deref(), Some(&message)).await?;
    if answer.status != 202 {
        return refused(&url, &answer);
    }
    if !args.wait {
        return print(&answer.body);
    }
    let id = answer.body["id"].as_str().unwrap_or_default().to_owned();
    loop {
        let answer = call(&format!("{url}/v1/messages/{id}"), key.as_deref(), None).await?;
        let waiting =
            ["queued", "sending", "deferred"].iter().filter_map(|s| answer.body["counts"][s].as_u64()).sum::<u64>();
        if answer.status != 200 || waiting == 0 {
            print(&answer.body)?;
            let is_delivered = answer.body["status"] == "delivered";
            return Ok(if is_delivered { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        tokio::time::sleep(POLL).await;
    }
}

pub async fn status(args: StatusArgs, config: &Config) -> Result<ExitCode, CommandError> {
    let (url, key) = args.connection.read(config);
    let answer = call(&format!("{url}/v1/messages/{}", args.id), key.as_deref(), None).await?;
    if answer.status == 200 { print(&answer.body) } else { refused(&url, &answer) }
}

/// Why a message is where it is: for each recipient a sentence, and what it follows from.
pub async fn why(args: StatusArgs, config: &Config) -> Result<ExitCode, CommandError> {
    let (url, key) = args.connection.read(config);
    let answer = call(&format!("{url}/v1/messages/{}/explain", args.id), key.as_deref(), None).await?;
    if answer.status != 200 {
        return refused(&url, &answer);
    }
    for recipient in answer.body["recipients"].as_array().into_iter().flatten() {
        let field = |name: &str| recipient[name].as_str().unwrap_or_default().to_owned();
        out::line(&format!("{}: {}", field("email"), field("reason"))).map_err(CommandError::new)?;
    }
    print(&answer.body)
}

pub async fn healthcheck(connection: Connection, config: &Config) -> Result<ExitCode, CommandError> {
    let (url, _) = connection.read(config);
    let answer = call(&format!("{url}/readyz"), None, None).await?;
    if answer.status == 200 { Ok(ExitCode::SUCCESS) } else { refused(&url, &answer) }
}

fn print(body: &Value) -> Result<ExitCode, CommandError> {
    out::line(&serde_json::to_string_pretty(body).unwrap_or_default()).map_err(CommandError::new)?;
    Ok(ExitCode::SUCCESS)
}

fn refused(url: &str, answer: &Answer) -> Result<ExitCode, CommandError> {
    let text = serde_json::to_string_pretty(&answer.body).unwrap_or_default();
    let hint = if answer.status == 401 { "\ngive a key of this service by --key or MAILWRIGHT_KEY" } else { "" };
    Err(CommandError(format!("{url} answered {}:\n{text}{hint}", answer.status)))
}
