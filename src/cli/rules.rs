//! `mailwright rules test` and `mailwright rules read`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::classify::Classifier;
use crate::config::Config;
use crate::domain::judgement::Disposition;
use crate::domain::reply::{EnhancedStatus, Reply};
use crate::domain::span::Span;
use crate::domain::stage::Stage;
use crate::feedback::{self, Meaning};
use crate::routing::TrafficPolicy;
use crate::terminal::{CommandError, out};

#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Show what a reply would be taken for, and by which rule.
    Test(TestArgs),
    /// Show what a message that came back would be taken for: a bounce, a delay, a complaint, an automatic reply.
    Read(ReadArgs),
}

#[derive(Debug, Args)]
pub struct ReadArgs {
    /// The message as it came (RFC 5322); `-` for standard input.
    file: PathBuf,
}

#[derive(Debug, Args)]
pub struct TestArgs {
    /// The reply as the server said it: `550 5.1.1 User unknown`.
    reply: String,
    /// Who said it: a provider of the rule pack, or an MX host of one.
    #[arg(long)]
    provider: Option<String>,
    /// The command that it answered.
    #[arg(long, default_value = "rcpt", value_parser = stage)]
    stage: Stage,
}

pub fn run(command: &RulesCommand, config: &Config) -> Result<ExitCode, CommandError> {
    let plan = TrafficPolicy::new(config).map_err(CommandError::new)?.plan();
    let args = match command {
        RulesCommand::Test(args) => args,
        RulesCommand::Read(args) => return read(args, &plan.classifier),
    };
    let reply = parse(&args.reply)?;
    let provider = args.provider.as_deref().map(|name| plan.classifier.provider_of_host(name).unwrap_or(name));
    if let Some(unknown) = provider.filter(|name| !plan.classifier.has_provider(name)) {
        return Err(CommandError(format!(
            "--provider '{unknown}': the rules know no such provider, and no host of one"
        )));
    }
    let judgement = plan.classifier.judge(args.stage, provider, &reply);
    let delays = plan.classifier.schedule(&judgement.action.schedule);
    let delays: Vec<_> = delays.delays().iter().map(|delay| Span(*delay).to_string()).collect();
    let body = json!({
        "rules": plan.classifier.version(),
        "class": judgement.class,
        "meaning": plan.classifier.about(judgement.class.name()),
        "outcome": match judgement.disposition { Disposition::Bounce => "bounce", Disposition::Defer => "defer" },
        "rule": judgement.rule,
        "confidence": judgement.confidence,
        "action": judgement.action.to_string(),
        "suppress": judgement.action.suppress,
        "tried_again_after": if judgement.disposition == Disposition::Defer { delays } else { Vec::new() },
    });
    out::print(&serde_json::to_string_pretty(&body).unwrap_or_default())?;
    Ok(ExitCode::SUCCESS)
}

/// Bytes of a message that are read: a report is small.
const MESSAGE_MAX: u64 = 32 << 20;

fn read(args: &ReadArgs, classifier: &Classifier) -> Result<ExitCode, CommandError> {
    let bytes = super::file_or_input(&args.file, MESSAGE_MAX)?;
    let reading =
        feedback::read(&bytes).ok_or_else(|| CommandError(format!("{}: is no message", args.file.display())))?;
    let judged = |meaning: Meaning, reply: &Option<Reply>| {
        let judgement = reply.as_ref().map(|reply| classifier.judge(Stage::Rcpt, None, reply));
        json!({
            "reply": reply.as_ref().map(ToString::to_string),
            "class": judgement.as_ref().map(|judgement| &judgement.class),
            "suppress": meaning == Meaning::Failed && judgement.is_some_and(|judgement| judgement.action.suppress),
        })
    };
    let recipients = reading.recipients.iter().map(|one| {
        json!({
            "address": one.address,
            "original": one.original,
            "meaning": one.meaning.name(),
            "status": one.status.map(|status| status.to_string()),
            "reason": judged(one.meaning, &one.reply),
        })
    });
    let body = json!({
        "rules": classifier.version(),
        "meaning": reading.meaning.name(),
        "message_id": reading.message_id,
        "recipients": recipients.collect::<Vec<_>>(),
        "mentioned": reading.mentioned,
        "reason": judged(reading.meaning, &reading.reply),
    });
    out::print(&serde_json::to_string_pretty(&body).unwrap_or_default())?;
    Ok(ExitCode::SUCCESS)
}

fn stage(name: &str) -> Result<Stage, String> {
    Stage::parse(name).ok_or_else(|| format!("the stages are {}", Stage::names()))
}

fn parse(text: &str) -> Result<Reply, CommandError> {
    let fault = || CommandError(format!("'{text}' does not begin with a reply code such as 550"));
    let (code, rest) = text.trim().split_at_checked(3).ok_or_else(fault)?;
    let code: u16 = code.parse().ok().filter(|code| (200..600).contains(code)).ok_or_else(fault)?;
    let (enhanced, text) = EnhancedStatus::split(rest.trim_start_matches([' ', '-']));
    Ok(Reply { code, enhanced, text: text.to_owned() })
}
