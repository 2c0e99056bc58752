//! `mailwright suppressions`: the list of a running service, as a client of it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::http::{Sent, Service, call, transfer};
use super::messages::{Connection, print, refused};
use crate::config::Config;
use crate::terminal::{CommandError, out};

const LIST: &str = "/v1/suppressions";

#[derive(Debug, Subcommand)]
pub enum SuppressionsCommand {
    /// Suppress addresses.
    Add(AddArgs),
    /// Delete what is suppressed of addresses.
    Remove(AddressesArgs),
    /// Say what is suppressed of addresses; exit 1 if one would be stopped.
    Check(AddressesArgs),
    /// Import a list: of ours, of `SendGrid`, `Mailgun`, `Postmark`, `SES` or `Resend`, or bare addresses.
    Import(ImportArgs),
    /// Print the list.
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub struct AddArgs {
    #[arg(required = true)]
    addresses: Vec<String>,
    /// bounce, manual, unsubscribe or complaint.
    #[arg(long, default_value = "manual")]
    reason: String,
    /// project, or tag:NAME.
    #[arg(long, default_value = "project")]
    scope: String,
    #[arg(long, default_value = "")]
    note: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub struct AddressesArgs {
    #[arg(required = true)]
    addresses: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The list; `-` reads it from standard input.
    file: PathBuf,
    /// auto, csv, ndjson, sendgrid, mailgun, postmark, ses or resend.
    #[arg(long, default_value = "auto")]
    format: String,
    /// The reason of entries that do not say one.
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// csv, ndjson, sendgrid, mailgun, postmark, ses or resend.
    #[arg(long, default_value = "csv")]
    format: String,
    /// Only those with this reason.
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(command: SuppressionsCommand, config: &Config) -> Result<ExitCode, CommandError> {
    match command {
        SuppressionsCommand::Add(args) => {
            let entry = |address: &String| json!({"email": address, "reason": args.reason, "scope": args.scope, "note": args.note});
            let entries: Vec<_> = args.addresses.iter().map(entry).collect();
            ask(&args.connection.read(config), LIST, &json!({"suppressions": entries})).await.map(|(code, _)| code)
        }
        SuppressionsCommand::Remove(args) => {
            let path = format!("{LIST}/delete");
            ask(&args.connection.read(config), &path, &json!({"addresses": args.addresses})).await.map(|(code, _)| code)
        }
        SuppressionsCommand::Check(args) => {
            let path = format!("{LIST}/check");
            let (code, found) =
                ask(&args.connection.read(config), &path, &json!({"addresses": args.addresses})).await?;
            let stops = found["data"].as_array().into_iter().flatten().any(|address| address["suppressed"] == true);
            Ok(if stops { ExitCode::FAILURE } else { code })
        }
        SuppressionsCommand::Import(args) => import(args, config).await,
        SuppressionsCommand::Export(args) => export(args, config).await,
    }
}

/// Posts it, and prints the answer.
async fn ask(service: &Service, path: &str, body: &Value) -> Result<(ExitCode, Value), CommandError> {
    let answer = call(service, path, Some(body)).await?;
    if !(200..300).contains(&answer.status) {
        return refused(service, &answer).map(|code| (code, Value::Null));
    }
    print(&answer.body).map(|code| (code, answer.body))
}

fn query(format: &str, reason: Option<&str>) -> String {
    let reason = reason.map(|reason| format!("&reason={reason}")).unwrap_or_default();
    format!("?format={format}{reason}")
}

/// Exit 1 when something was refused, or not all was read.
async fn import(args: ImportArgs, config: &Config) -> Result<ExitCode, CommandError> {
    let list = super::file_or_input(&args.file, u64::MAX)?;
    let service = args.connection.read(config);
    let path = format!("{LIST}/import{}", query(&args.format, args.reason.as_deref()));
    let answer =
        transfer(&service, &path, Some(Sent { content_type: "application/octet-stream", bytes: list })).await?;
    if answer.status != 200 {
        return refused(&service, &answer.parsed());
    }
    let done = answer.parsed().body;
    print(&done)?;
    let is_whole = done["complete"] == true && done["refused"] == 0;
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn export(args: ExportArgs, config: &Config) -> Result<ExitCode, CommandError> {
    let service = args.connection.read(config);
    let path = format!("{LIST}/export{}", query(&args.format, args.reason.as_deref()));
    let answer = transfer(&service, &path, None).await?;
    if answer.status != 200 {
        return refused(&service, &answer.parsed());
    }
    out::print(String::from_utf8_lossy(&answer.bytes).trim_end())?;
    Ok(ExitCode::SUCCESS)
}
