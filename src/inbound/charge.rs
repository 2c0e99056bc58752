//! What follows from a report for the recipient that it is about.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Intake, Letter, NotTaken};
use crate::compose::dkim::verify::signatures;
use crate::domain::address::Address;
use crate::domain::event::EventType;
use crate::domain::judgement::Judgement;
use crate::domain::reply::{EnhancedStatus, Reply};
use crate::domain::report_kept::ReportOutcome;
use crate::domain::sending_domain::dmarc::organizational_by_list;
use crate::domain::stage::Stage;
use crate::domain::suppression::{Evidence, NewSuppression, SuppressionReason};
use crate::feedback::{Meaning, Reading, Reported};
use crate::net::dns_error::DnsError;
use crate::store::StoreError;
use crate::store::mail::reports::Attributed;

/// What is written of a report.
pub struct Charge {
    pub outcome: ReportOutcome,
    pub detail: Value,
    pub event: Option<(EventType, Value)>,
    pub suppression: Option<NewSuppression>,
}

impl Charge {
    pub fn noted(outcome: ReportOutcome, detail: Value) -> Self {
        Self { outcome, detail, event: None, suppression: None }
    }

    /// One that is nobody's.
    pub fn nobody(reading: &Reading) -> Self {
        Self::noted(ReportOutcome::Unattributed, json!({"addresses": reading.mentioned.len()}))
    }
}

impl Intake {
    /// A report about a recipient. Only what says that it failed, and what calls it spam, is told; what was delivered stays so.
    pub(super) async fn charge(
        &self,
        about: &Attributed,
        reading: &Reading,
        letter: &Letter,
    ) -> Result<Charge, NotTaken> {
        Ok(match reading.meaning {
            Meaning::Failed => self.bounce(about, reading),
            Meaning::Complaint | Meaning::OptOut => match self.signer(&letter.raw, &["content-type"]).await? {
                Some(signer) => self.complaint(about, reading.meaning, &signer),
                None => {
                    Charge::noted(ReportOutcome::Review, json!({"why": "no signature of its sender could be verified"}))
                }
            },
            _ => Charge::noted(ReportOutcome::Noted, json!({})),
        })
    }

    fn bounce(&self, about: &Attributed, reading: &Reading) -> Charge {
        let own = about.address.to_lowercase();
        let failed = || reading.recipients.iter().filter(|one| one.meaning == Meaning::Failed);
        let names = |one: &&Reported| {
            one.address.eq_ignore_ascii_case(&own)
                || one.original.as_deref().is_some_and(|address| address.eq_ignore_ascii_case(&own))
        };
        // Where its own address is named otherwise, what failed was another's.
        let is_otherwise = reading.recipients.iter().any(|one| names(&one)) && !failed().any(|one| names(&one));
        if is_otherwise {
            return Charge::noted(ReportOutcome::Noted, json!({}));
        }
        let reported = failed().find(names).or_else(|| failed().next());
        // Who was written to has it sent on, and there it failed.
        let is_forwarded = reported.is_some_and(|one| !one.address.eq_ignore_ascii_case(&own));
        let reply = reported.and_then(|one| one.reply.clone().or_else(|| of_status(one.status?)));
        let reply = reply.or_else(|| reading.reply.clone());
        let plan = self.router.traffic.plan();
        let judgement = reply.as_ref().map(|reply| plan.classifier.judge(Stage::Rcpt, None, reply));
        // Words alone, of somebody who is no mail server, end nobody's mail.
        let is_sure = reported.is_some() || reading.is_by_daemon;
        let condemns = is_sure && judgement.as_ref().is_some_and(|judgement| judgement.action.suppress);
        let detail = json!({"reply": reply.as_ref().map(|reply| json!({
            "code": reply.code,
            "enhanced": reply.enhanced.map(|status| status.to_string()),
            "text": reply.text,
            "host": null,
            "class": judgement.as_ref().map(|judgement| judgement.class.name()),
        })), "forwarded_to": reported.filter(|_| is_forwarded).map(|one| &one.address)});
        let suppression =
            judgement.filter(|_| condemns).and_then(|judgement| self.of_bounce(about, &judgement, reply.as_ref()?));
        let data = json!({"reply": detail["reply"].clone()});
        Charge { outcome: ReportOutcome::Told, detail, event: Some((EventType::BouncedLater, data)), suppression }
    }

    fn of_bounce(&self, about: &Attributed, judgement: &Judgement, reply: &Reply) -> Option<NewSuppression> {
        let evidence = Evidence {
            source: Some("report".to_owned()),
            code: Some(i32::from(reply.code)),
            enhanced: reply.enhanced.map(|status| status.to_string()),
            text: Some(reply.text.clone()),
            message_id: Some(about.message.to_string()),
            rule: judgement.rule.as_ref().map(ToString::to_string),
            ..Evidence::default()
        };
        self.suppression(about, SuppressionReason::Bounce, Some(judgement.class.name().to_owned()), evidence)
    }

    fn complaint(&self, about: &Attributed, meaning: Meaning, signer: &str) -> Charge {
        let reason =
            if meaning == Meaning::OptOut { SuppressionReason::Unsubscribe } else { SuppressionReason::Complaint };
        let evidence = Evidence {
            source: Some("report".to_owned()),
            host: Some(signer.to_owned()),
            message_id: Some(about.message.to_string()),
            ..Evidence::default()
        };
        let suppression = self.suppression(about, reason, None, evidence);
        let event = (meaning == Meaning::Complaint).then(|| (EventType::Complained, json!({})));
        let outcome = if event.is_some() { ReportOutcome::Told } else { ReportOutcome::Noted };
        Charge { outcome, detail: json!({"signed_by": signer}), event, suppression }
    }

    fn suppression(
        &self,
        about: &Attributed,
        reason: SuppressionReason,
        class: Option<String>,
        evidence: Evidence,
    ) -> Option<NewSuppression> {
        let address = Address::parse(&about.address).ok()?;
        let whose = (about.project, about.mode);
        Some(NewSuppression::learnt(whose, address.folded(), reason, class, evidence, self.clock.now()))
    }

    /// Who signed a letter, if that is whom it says to be from (by organization); `None`: nobody. A key that cannot be had now is
    /// asked for again.
    pub(super) async fn signer(
        &self,
        raw: &Arc<Vec<u8>>,
        over: &'static [&'static str],
    ) -> Result<Option<String>, NotTaken> {
        let away = |why: String| NotTaken::Store(StoreError::Away(why));
        let (raw, now) = (Arc::clone(raw), self.clock.now());
        let found = tokio::task::spawn_blocking(move || {
            let author = author_domain(&raw)?;
            let organization = organizational_by_list(&author).to_owned();
            Some(signatures(&raw, now, over, |domain| organizational_by_list(domain) == organization))
        });
        let found = found.await.map_err(|error| away(error.to_string()))?.unwrap_or_default();
        let mut doubt = None;
        for signature in found {
            match self.resolver.texts(&signature.key_name()).await {
                Ok(texts) if signature.is_by(&texts) => return Ok(Some(signature.domain)),
                Err(DnsError::Temporary(name, why)) => doubt = Some(format!("{name}: {why}")),
                _ => {}
            }
        }
        doubt.map_or(Ok(None), |why| Err(away(why)))
    }
}

/// The domain of the one author that From names.
fn author_domain(raw: &[u8]) -> Option<String> {
    let message = mail_parser::MessageParser::default().parse_headers(raw)?;
    let author = message.from()?.first()?.address()?;
    let (_, domain) = author.rsplit_once('@')?;
    Some(domain.to_ascii_lowercase())
}

/// What a status alone says, as a reply.
fn of_status(status: EnhancedStatus) -> Option<Reply> {
    let code = match status.class {
        5 => 550,
        4 => 450,
        _ => return None,
    };
    Some(Reply { code, enhanced: Some(status), text: status.to_string() })
}
