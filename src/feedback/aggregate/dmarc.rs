//! DMARC aggregate reports: RFC 9990, RFC 7489 Appendix C, and what is sent under their names. Elements are known by their local
//! names and where they stand; what is missing or unknown is passed over.

use std::collections::HashMap;
use std::io::BufRead;

use quick_xml::Reader;
use quick_xml::events::Event;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{COUNT_MAX, domain, largest, shown};
use crate::domain::aggregate::{AggregateKind, AggregateReport, AggregateRow, DmarcRow};
use crate::domain::clock::Timestamp;

/// Elements within elements.
const DEPTH_MAX: usize = 32;
/// Records that are read; of more there is none.
const RECORDS_MAX: usize = 100_000;
/// Different rows that are told apart.
const DISTINCT_MAX: usize = 20_000;
/// Octets of one text, or of one tag.
const PIECE_MAX: usize = 64 << 10;

/// What has been read so far.
#[derive(Default)]
struct Read {
    reporter: String,
    report_id: String,
    domain: Option<String>,
    begin: Option<Timestamp>,
    end: Option<Timestamp>,
    row: DmarcRow,
    count: u64,
    rows: HashMap<DmarcRow, u64>,
    records: usize,
    total: u64,
    passed: u64,
}

/// A report, read as it comes. `None`: it is none, it breaks off, or it is out of all bounds.
pub fn read(xml: impl BufRead) -> Option<AggregateReport> {
    let mut reader = Reader::from_reader(xml);
    reader.config_mut().check_end_names = false;
    let (mut path, mut buffer, mut text) = (Vec::<String>::new(), Vec::new(), String::new());
    let mut read = Read::default();
    let mut is_whole = false;
    loop {
        buffer.clear();
        let event = reader.read_event_into(&mut buffer);
        match event {
            // Junk behind the end is passed over.
            Err(_) if is_whole => break,
            // Types and entities of its own have no place in a report.
            Err(_) | Ok(Event::DocType(_)) => return None,
            Ok(Event::Start(start)) => {
                if path.len() == DEPTH_MAX {
                    return None;
                }
                text.clear();
                path.push(start.local_name().as_ref().to_ascii_lowercase());
                if path.len() == 2 && path[1] == "record" {
                    (read.row, read.count) = (DmarcRow::default(), 0);
                }
            }
            Ok(Event::Text(piece)) if text.len() < PIECE_MAX => text.push_str(&piece),
            Ok(Event::GeneralRef(name)) if text.len() < PIECE_MAX => text.push_str(meaning(&name)),
            Ok(Event::CData(piece)) if text.len() < PIECE_MAX => text.push_str(&piece),
            Ok(Event::End(_)) => {
                read.element(&path, text.trim())?;
                text.clear();
                path.pop()?;
                is_whole |= path.is_empty();
            }
            Ok(Event::Eof) => break,
            Ok(_) => {}
        }
    }
    if is_whole { read.end() } else { None }
}

/// The five entities of XML.
fn meaning(name: &str) -> &'static str {
    match name {
        "amp" => "&",
        "lt" => "<",
        "gt" => ">",
        "quot" => "\"",
        "apos" => "'",
        _ => " ",
    }
}

impl Read {
    /// An element that has ended. `None`: too many came.
    fn element(&mut self, path: &[String], text: &str) -> Option<()> {
        let names: Vec<_> = path.iter().map(String::as_str).collect();
        match names.as_slice() {
            ["feedback", "report_metadata", "org_name"] => self.reporter = shown(text),
            ["feedback", "report_metadata", "report_id"] => self.report_id = shown(text),
            ["feedback", "report_metadata", "date_range", "begin"] => self.begin = instant(text),
            ["feedback", "report_metadata", "date_range", "end"] => self.end = instant(text),
            ["feedback", "policy_published", "domain"] => self.domain = domain(text),
            ["feedback", "record", "row", "source_ip"] => self.row.source_ip = shown(text).chars().take(45).collect(),
            ["feedback", "record", "row", "count"] => self.count = text.parse().unwrap_or(0).min(COUNT_MAX),
            ["feedback", "record", "row", "policy_evaluated", "disposition"] => {
                self.row.disposition = shown(text).to_ascii_lowercase().chars().take(16).collect();
            }
            ["feedback", "record", "row", "policy_evaluated", "dkim"] => {
                self.row.dkim = text.eq_ignore_ascii_case("pass");
            }
            ["feedback", "record", "row", "policy_evaluated", "spf"] => {
                self.row.spf = text.eq_ignore_ascii_case("pass");
            }
            ["feedback", "record", "identifiers" | "identities", "header_from"] => {
                self.row.header_from = shown(text).to_ascii_lowercase();
            }
            ["feedback", "record"] => {
                self.records += 1;
                if self.records > RECORDS_MAX {
                    return None;
                }
                let row = std::mem::take(&mut self.row);
                self.total = self.total.saturating_add(self.count);
                if row.dkim || row.spf {
                    self.passed = self.passed.saturating_add(self.count);
                }
                if self.rows.len() < DISTINCT_MAX || self.rows.contains_key(&row) {
                    let count = self.rows.entry(row).or_default();
                    *count = count.saturating_add(self.count);
                }
            }
            _ => {}
        }
        Some(())
    }

    fn end(self) -> Option<AggregateReport> {
        let rows =
            self.rows.into_iter().map(|(row, messages)| AggregateRow::Dmarc(DmarcRow { messages, ..row })).collect();
        let (begin, end) = (self.begin?, self.end?);
        let is_sound = !self.reporter.is_empty() && !self.report_id.is_empty() && begin <= end;
        let report = AggregateReport {
            kind: AggregateKind::Dmarc,
            reporter: self.reporter,
            report_id: self.report_id,
            domain: self.domain?,
            begin,
            end,
            total: self.total.min(COUNT_MAX),
            passed: self.passed.min(COUNT_MAX),
            rows: largest(rows, |row| if let AggregateRow::Dmarc(row) = row { row.messages } else { 0 }),
        };
        is_sound.then_some(report)
    }
}

/// Seconds since 1970, with a fraction or without, or a time as ISO 8601 writes it.
fn instant(text: &str) -> Option<Timestamp> {
    let seconds = text.split('.').next()?.parse::<i64>();
    let found = seconds.map_or_else(
        |_| {
            OffsetDateTime::parse(text, &Rfc3339).or_else(|_| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339)).ok()
        },
        |seconds| OffsetDateTime::from_unix_timestamp(seconds).ok(),
    )?;
    // What the store can hold, and a report may be about.
    (1970..2200).contains(&found.year()).then_some(found)
}
