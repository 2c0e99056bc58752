//! TLS reports (RFC 8460 §4.4).

use std::io::Read;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{COUNT_MAX, domain, largest, shown};
use crate::domain::aggregate::{AggregateKind, AggregateReport, AggregateRow, TlsRow};

/// A report. One is about one domain: of several policies those of the first one's domain are read.
pub fn read(json: impl Read) -> Option<AggregateReport> {
    let report: Value = serde_json::from_reader(json).ok()?;
    let text = |name: &str| report[name].as_str().map(shown).filter(|text| !text.is_empty());
    let time = |name: &str| OffsetDateTime::parse(report["date-range"][name].as_str()?, &Rfc3339).ok();
    let policies = report["policies"].as_array()?;
    let domain_of = |policy: &Value| domain(policy["policy"]["policy-domain"].as_str()?);
    let about = policies.iter().find_map(domain_of)?;
    let (mut passed, mut total, mut rows) = (0_u64, 0_u64, Vec::new());
    for policy in policies.iter().filter(|policy| domain_of(policy).as_deref() == Some(&about)) {
        let summary = &policy["summary"];
        let count = |name: &str| summary[name].as_u64().unwrap_or(0);
        let good = count("total-successful-session-count");
        passed = passed.saturating_add(good);
        total = total.saturating_add(good).saturating_add(count("total-failure-session-count"));
        let policy_type = shown(policy["policy"]["policy-type"].as_str().unwrap_or_default());
        for failure in policy["failure-details"].as_array().into_iter().flatten() {
            let text = |name: &str| failure[name].as_str().map(shown).unwrap_or_default();
            rows.push(AggregateRow::Tls(TlsRow {
                policy_type: policy_type.clone(),
                result: text("result-type"),
                mx_host: text("receiving-mx-hostname"),
                sending_ip: text("sending-mta-ip"),
                sessions: failure["failed-session-count"].as_u64().unwrap_or(0).min(COUNT_MAX),
            }));
        }
    }
    let (begin, end) = (time("start-datetime")?, time("end-datetime")?);
    let is_sound = begin <= end && (1970..2200).contains(&begin.year()) && (1970..2200).contains(&end.year());
    let report = AggregateReport {
        kind: AggregateKind::Tls,
        reporter: text("organization-name")?,
        report_id: text("report-id")?,
        domain: about,
        begin,
        end,
        total: total.min(COUNT_MAX),
        passed: passed.min(COUNT_MAX),
        rows: largest(rows, |row| if let AggregateRow::Tls(row) = row { row.sessions } else { 0 }),
    };
    is_sound.then_some(report)
}
