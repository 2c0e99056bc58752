//! What was measured, as text for people and JSON for programs.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::load::Sent;
use super::sink::Taken;
use super::told::Told;
use super::usage::Cpu;

/// A distribution of times, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Times {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

impl Times {
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            times.get((times.len().max(1) - 1) * percent / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        Self { p50: at(50), p95: at(95), p99: at(99), max: at(100) }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:.1}  p95 {:.1}  p99 {:.1}  max {:.1} ms", self.p50, self.p95, self.p99, self.max)
    }
}

/// What became of every acknowledged message, by comparing the sink's ledger with the answers.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Ledger {
    /// Answered with 202.
    pub acknowledged: usize,
    /// Requests that were not, and were repeated.
    pub refused_requests: usize,
    /// Copies that the sink took.
    pub taken: usize,
    /// Recipients of acknowledged messages that the sink never saw.
    pub lost: usize,
    /// Copies beyond the first of each recipient.
    pub extra: usize,
    /// Tries recorded as `uncertain`: each explains one extra copy at most.
    pub uncertain: i64,
}

/// Ledger and times from request to the sink's 250.
pub fn compare(sent: &Sent, taken: &[Taken], recipients: usize, uncertain: i64) -> (Ledger, Times) {
    let mut first: HashMap<(u128, u64), Instant> = HashMap::with_capacity(taken.len());
    let mut of_message: HashMap<u128, usize> = HashMap::with_capacity(sent.acknowledged.len());
    let mut extra = 0;
    for copy in taken {
        match first.entry((copy.message, copy.recipient)) {
            std::collections::hash_map::Entry::Occupied(_) => extra += 1,
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(copy.at);
                *of_message.entry(copy.message).or_default() += 1;
            }
        }
    }
    let lost =
        sent.acknowledged.iter().map(|a| recipients - of_message.get(&a.message).copied().unwrap_or(0).min(recipients));
    let lost = lost.sum();
    let started: HashMap<u128, Instant> = sent.acknowledged.iter().map(|a| (a.message, a.started)).collect();
    let times =
        first.iter().filter_map(|((message, _), at)| Some(at.saturating_duration_since(*started.get(message)?)));
    let times = Times::of(times.collect());
    let ledger = Ledger {
        acknowledged: sent.acknowledged.len(),
        refused_requests: sent.refused,
        taken: taken.len(),
        lost,
        extra,
        uncertain,
    };
    (ledger, times)
}

/// How many things one commit held: upper bounds and counts.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Batches {
    pub commits: f64,
    pub mean: f64,
    pub histogram: Vec<(String, f64)>,
}

impl fmt::Display for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} commits, mean {:.1}  ", self.commits, self.mean)?;
        for (bound, count) in self.histogram.iter().filter(|(_, count)| *count > 0.0) {
            write!(f, " ≤{bound}: {count:.0}")?;
        }
        Ok(())
    }
}

/// What a fault did.
#[derive(Debug, Clone, Serialize)]
pub struct Weather {
    pub fault: String,
    /// Seconds from the fault until the rate was back at half of what it was.
    pub rate_back_seconds: Option<f64>,
}

/// One run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub messages: usize,
    pub size: usize,
    pub connections: usize,
    pub recipients: usize,
    pub processes: usize,
    pub dkim: String,
    pub route: String,
    pub round_trip_ms: f64,
    pub backlog: i64,
    pub accepted_per_second: f64,
    pub delivered_per_second: f64,
    pub accept_ms: Times,
    pub accept_to_delivered_ms: Times,
    /// Per delivered copy.
    pub cpu_micros: Cpu,
    pub cpu_micros_total: f64,
    pub wal_bytes_per_message: f64,
    pub commits_per_message: f64,
    pub accept_batches: Batches,
    pub settle_batches: Batches,
    pub claim_batches: Batches,
    /// Of each service, in MiB.
    pub peak_memory_mib: Vec<f64>,
    pub ledger: Ledger,
    pub weather: Option<Weather>,
    pub webhooks: Option<Told>,
    /// Copies taken in each second of the run.
    pub timeline: Vec<usize>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu_micros: cpu, ledger, .. } = self;
        writeln!(
            f,
            "{} messages of {} bytes, {} connections, {} recipients each, {} processes, DKIM {}, route {}, round trip {} ms, backlog {}",
            self.messages,
            self.size,
            self.connections,
            self.recipients,
            self.processes,
            self.dkim,
            self.route,
            self.round_trip_ms,
            self.backlog
        )?;
        writeln!(f, "accepted   {:>8.0} /s   {}", self.accepted_per_second, self.accept_ms)?;
        writeln!(
            f,
            "delivered  {:>8.0} /s   {}   (from request to the sink's 250)",
            self.delivered_per_second, self.accept_to_delivered_ms
        )?;
        writeln!(
            f,
            "CPU        {:>8.0} us per copy: service {:.0}, Postgres {:.0}, load {:.0}, sink {:.0}",
            self.cpu_micros_total, cpu.service, cpu.postgres, cpu.load, cpu.sink
        )?;
        writeln!(
            f,
            "store      {:>8.3} commits and {:.0} bytes of WAL per message",
            self.commits_per_message, self.wal_bytes_per_message
        )?;
        writeln!(f, "  accept   {}", self.accept_batches)?;
        writeln!(f, "  settle   {}", self.settle_batches)?;
        writeln!(f, "  claim    {}", self.claim_batches)?;
        writeln!(f, "memory     peak {:.0?} MiB", self.peak_memory_mib)?;
        write!(
            f,
            "ledger     acknowledged {}, taken {}, lost {}, extra {}, uncertain {}, repeated requests {}",
            ledger.acknowledged, ledger.taken, ledger.lost, ledger.extra, ledger.uncertain, ledger.refused_requests
        )?;
        if let Some(webhooks) = &self.webhooks {
            write!(f, "\nwebhooks   {webhooks}, receiver {:.0} us of CPU per copy", cpu.receiver)?;
        }
        if let Some(Weather { fault, rate_back_seconds }) = &self.weather {
            match rate_back_seconds {
                Some(seconds) => write!(f, "\nweather    {fault}: rate back after {seconds:.1} s")?,
                None => write!(f, "\nweather    {fault}: the rate did not come back")?,
            }
        }
        Ok(())
    }
}
