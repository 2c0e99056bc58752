//! `mailwright templates`: templates kept in files, as a client of a running service.

mod files;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::http::{Answer, Service, call, patch};
use super::messages::{Connection, refused};
use crate::config::Config;
use crate::terminal::{CommandError, out};
use files::LocalTemplate;

#[derive(Debug, Subcommand)]
pub enum TemplatesCommand {
    /// Make the service's templates what the files say. What did not change gets no new version.
    Push(PushArgs),
    /// Write the latest versions of the service's templates to files.
    Pull(PullArgs),
}

#[derive(Debug, Args)]
pub struct PushArgs {
    /// Where the templates are, each in a directory of its alias.
    #[arg(long, default_value = "templates")]
    dir: PathBuf,
    /// Publish them too, or submit them where the project asks for reviews.
    #[arg(long)]
    publish: bool,
    /// What changes; it stands with the new versions.
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub struct PullArgs {
    /// Where the templates are, each in a directory of its alias.
    #[arg(long, default_value = "templates")]
    dir: PathBuf,
    #[command(flatten)]
    connection: Connection,
}

pub async fn run(command: TemplatesCommand, config: &Config) -> Result<ExitCode, CommandError> {
    match command {
        TemplatesCommand::Push(args) => push(args, config).await,
        TemplatesCommand::Pull(args) => pull(args, config).await,
    }
}

async fn push(args: PushArgs, config: &Config) -> Result<ExitCode, CommandError> {
    let mut templates = files::read(&args.dir)?;
    // What others extend and include comes first.
    templates.sort_by_key(|template| match &*template.kind {
        "partial" => 0,
        "layout" => 1,
        _ => 2,
    });
    let service = args.connection.read(config);
    for template in &templates {
        let path = format!("/v1/templates/{}", template.alias);
        let found = call(&service, &path, None).await?;
        let (answer, what) = match found.status {
            200 => change(&service, template, &found.body, &args.description).await?,
            404 => (create(&service, template, &args.description).await?, "created"),
            _ => return refused(&service, &found),
        };
        if ![200, 201].contains(&answer.status) {
            out::error(&format!("{}: not taken", template.alias));
            return refused(&service, &answer);
        }
        let mut told = format!("{}: {what}, version {}", template.alias, answer.body["latest_version"]);
        if args.publish && answer.body["draft_version"].is_i64() {
            let state = publish(&service, &path).await?;
            if state.status != 200 {
                out::print(&told)?;
                return refused(&service, &state);
            }
            told.push_str(if state.body["state"] == "submitted" { ", waits for a review" } else { ", published" });
        }
        out::print(&told)?;
    }
    let local: BTreeSet<_> = templates.iter().map(|template| template.alias.as_str().to_owned()).collect();
    for alias in list(&service).await?.into_iter().filter(|alias| !local.contains(alias)) {
        out::note(&format!("{alias}: is on the service, and not in {}", args.dir.display()));
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(service: &Service, template: &LocalTemplate, description: &str) -> Result<Answer, CommandError> {
    let mut body = template.body();
    body["alias"] = json!(template.alias);
    body["kind"] = json!(template.kind);
    body["description"] = json!(description);
    call(service, "/v1/templates", Some(&body)).await
}

/// Sends what the files say; the service makes a new version if it differs.
async fn change(
    service: &Service,
    template: &LocalTemplate,
    before: &Value,
    description: &str,
) -> Result<(Answer, &'static str), CommandError> {
    if before["kind"] != json!(template.kind) {
        let kind = before["kind"].as_str().unwrap_or_default();
        return Err(CommandError(format!("{}: is a {kind} on the service; a kind does not change", template.alias)));
    }
    let path = format!("/v1/templates/{}", template.alias);
    let version = call(service, &format!("{path}/versions/draft"), None).await?;
    let mut body = template.body();
    body["description"] = json!(description);
    for locale in version.body["locales"].as_object().into_iter().flat_map(Map::keys) {
        if !template.locales.contains_key(locale) {
            body["locales"][locale] = Value::Null;
        }
    }
    let answer = patch(service, &path, &body).await?;
    let is_same = answer.body["latest_version"] == before["latest_version"] && answer.body["name"] == before["name"];
    Ok((answer, if is_same { "unchanged" } else { "changed" }))
}

/// Publishes the latest version, unless it waits for a review already.
async fn publish(service: &Service, path: &str) -> Result<Answer, CommandError> {
    let version = call(service, &format!("{path}/versions/draft"), None).await?;
    if version.body["state"] == "submitted" {
        return Ok(version);
    }
    call(service, &format!("{path}/publish"), Some(&json!({}))).await
}

async fn pull(args: PullArgs, config: &Config) -> Result<ExitCode, CommandError> {
    let service = args.connection.read(config);
    let remote = list(&service).await?;
    for alias in &remote {
        let path = format!("/v1/templates/{alias}");
        let template = call(&service, &path, None).await?;
        let version = call(&service, &format!("{path}/versions/draft"), None).await?;
        if let Some(answer) = [&template, &version].into_iter().find(|answer| answer.status != 200) {
            return refused(&service, answer);
        }
        let is_changed = LocalTemplate::of(&template.body, &version.body)?.write(&args.dir)?;
        let what = if is_changed { "written" } else { "unchanged" };
        out::print(&format!("{alias}: {what}, version {}", version.body["version"]))?;
    }
    for template in files::read_if_there(&args.dir)? {
        if !remote.contains(template.alias.as_str()) {
            out::note(&format!("{}: is in {}, and not on the service", template.alias.as_str(), args.dir.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The aliases of all templates of the project.
async fn list(service: &Service) -> Result<BTreeSet<String>, CommandError> {
    let (mut aliases, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let answer = call(service, &format!("/v1/templates?limit=500{cursor}"), None).await?;
        if answer.status != 200 {
            refused(service, &answer)?;
        }
        let page = answer.body["data"].as_array().into_iter().flatten();
        aliases.extend(page.filter_map(|template| Some(template["alias"].as_str()?.to_owned())));
        match answer.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(aliases),
        }
    }
}
