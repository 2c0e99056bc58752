//! Aggregate reports: whose domain they are about, and whether they are from whom they say. Anybody may write to where they are
//! taken; what nobody signed speaks for nobody (RFC 9990 §6.1).

use serde_json::json;

use super::charge::Charge;
use super::{Intake, Letter, NotTaken, ReadLetter, Taken};
use crate::domain::access::Mode;
use crate::domain::aggregate::AggregateReport;
use crate::domain::id::{ProjectId, ReportId};
use crate::domain::report_kept::ReportOutcome;
use crate::domain::sending_domain::dmarc::organizational_by_list;
use crate::feedback::Meaning;
use crate::store::accounts::domain_reports::AggregateStored;

/// Longest time that a report may be about.
const SPAN_MAX: time::Duration = time::Duration::days(8);

impl Intake {
    pub(super) async fn take_aggregate(
        &self,
        letter: &Letter,
        read: &ReadLetter,
        report: &AggregateReport,
    ) -> Result<Taken, NotTaken> {
        let Some((project, covered_by)) = self.whose(&report.domain).await? else {
            if letter.only.is_some() {
                return Err(NotTaken::NotTheirs);
            }
            return self.keep(letter, &read.reading, None, Charge::nobody(&read.reading)).await;
        };
        if letter.only.is_some_and(|(only, mode)| project != Some(only) || mode == Some(Mode::Test)) {
            return Err(NotTaken::NotTheirs);
        }
        // Big senders sign no Content-Type; a report is known by its octets, so that it says nothing.
        let Some(signer) = self.signer(&letter.raw, &[]).await? else {
            if letter.only.is_some() {
                return Ok(taken(ReportId::new(self.clock.now(), &*self.rng), ReportOutcome::Review, false));
            }
            let why = json!({"why": "no signature of its sender could be verified"});
            return self.keep(letter, &read.reading, None, Charge::noted(ReportOutcome::Review, why)).await;
        };
        let (id, now) = (ReportId::new(self.clock.now(), &*self.rng), self.clock.now());
        // One of a day, or some, that is over.
        if report.end - report.begin > SPAN_MAX || report.end - now > time::Duration::days(1) {
            return Ok(taken(id, ReportOutcome::Noted, false));
        }
        let signed_by = organizational_by_list(&signer);
        let stored = self.store.put_aggregate(id, report, (project, &covered_by), signed_by).await?;
        if stored == AggregateStored::Full {
            return Err(NotTaken::Full);
        }
        let is_new = stored == AggregateStored::New;
        if is_new {
            let labels = [letter.source.name(), Meaning::Aggregate.name(), ReportOutcome::Noted.name()];
            self.metrics.inbound_letters.with_label_values(&labels).inc();
        }
        Ok(taken(id, ReportOutcome::Noted, !is_new))
    }

    /// The project whose domain it is, and the name of what covers it; no project for the host of reports itself.
    async fn whose(&self, domain: &str) -> Result<Option<(Option<ProjectId>, String)>, NotTaken> {
        if let Some((project, name)) = self.store.find_owner(domain).await? {
            return Ok(Some((Some(project), name)));
        }
        let is_ours = !self.host.is_empty() && domain.eq_ignore_ascii_case(&self.host);
        Ok(is_ours.then(|| (None, self.host.clone())))
    }
}

fn taken(report: ReportId, outcome: ReportOutcome, is_repeated: bool) -> Taken {
    Taken { report, meaning: Meaning::Aggregate, outcome, is_repeated, about: None }
}
