//! What runs during a measurement: store, services, sink and load, and one run of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::args::{BenchArgs, Via, Waiting, Way};
use super::load::{self, Load, Sent};
use super::receiver::{Receiver, Tally};
use super::report::{self, Batches, Report, Times, compare};
use super::services::{Served, sample};
use super::sink::{self, Manner, Sink};
use super::stock::{self, PROJECT};
use super::thread::Thread;
use super::told::Told;
use super::usage::{self, Cpu};
use super::{dns, weather};
use crate::accounts::{NewKeyRequest, create_key, default_scopes};
use crate::ambient::store_clock;
use crate::ambient::{SystemClock, SystemRng};
use crate::cluster::Cluster;
use crate::config::{Database, Span};
use crate::domain::access::Mode;
use crate::domain::clock::Clock;
use crate::store::Store;
use crate::telemetry::metrics::Metrics;
use crate::terminal::{CommandError, out};

const FROM: &str = "Bench <bench@bench.example>";
/// Longest time without a single delivery before a run is given up.
const PATIENCE: Duration = Duration::from_secs(75);

/// Messages a second to ailing domains, and in all.
const AILING_RATE: f64 = 200.0;
const AILING_MAX: usize = 1_000_000;

/// Everything that runs during a measurement.
pub struct Stage<'a> {
    args: &'a BenchArgs,
    cluster: &'a mut Cluster,
    store: Store,
    key: String,
    sink: Sink,
    receiver: Option<Receiver>,
    sender: Thread,
    services: Vec<Served>,
    /// Number of the next message.
    next: usize,
}

impl<'a> Stage<'a> {
    /// Starts everything; writes the backlog first.
    pub async fn set(args: &'a BenchArgs, cluster: &'a mut Cluster) -> Result<Self, CommandError> {
        let database = Database { url: cluster.url(), timeout: Span(Duration::from_mins(2)), ..Database::default() };
        let metrics = Arc::new(Metrics::new().map_err(CommandError::new)?);
        let store = Store::new(&database, metrics, store_clock()).map_err(CommandError::new)?;
        store.migrate().await.map_err(CommandError::new)?;
        let scopes = default_scopes();
        let request = NewKeyRequest {
            project: PROJECT,
            requires_verified_domain: false,
            mode: Mode::Live,
            scopes: &scopes,
            lifetime: None,
            is_operator: false,
            signs: false,
        };
        let made = create_key(&store, request, SystemClock.now(), &SystemRng).await;
        let (_, key) = made.map_err(CommandError::new)?;
        stock::sign(args.dkim, &store).await?;
        let sink = Sink::start(Manner { round_trip: args.round_trip.0, chunking: args.chunking }).await?;
        let sender = Thread::start("bench-load")?;
        if args.ailing > 0 {
            sink.mute(dns::MUTE).await?;
        }
        stock::preload(args, &store).await?;
        stock::suppress(args.suppressions, &store).await?;
        let receiver = if args.webhooks { Some(Receiver::start(args.webhook_delay.0).await?) } else { None };
        if let Some(receiver) = &receiver {
            stock::endpoint(receiver.url(), &store).await?;
        }
        let mut settings = vec![
            "domains.resolvers=".to_owned(),
            format!("database.url={}", cluster.url()),
            format!("delivery.sessions={}", args.sessions),
            "delivery.retry=1s,5s".to_owned(),
            "delivery.uncertain_delay=1s".to_owned(),
            "net.allow_private=127.0.0.0/8".to_owned(),
            "log.level=error".to_owned(),
        ];
        match args.route {
            Way::Smarthost => settings.push(format!("delivery.route=smtp://{}?tls=none", sink.address)),
            Way::Mx => settings.extend([
                "delivery.route=mx".to_owned(),
                format!("delivery.mx_port={}", sink.address.port()),
                format!("dns.servers={}", dns::start(&sender).await?),
            ]),
        }
        settings.extend(args.service.iter().cloned());
        let mut services = Vec::new();
        for _ in 0..args.processes {
            services.push(Served::start(&settings).await?);
        }
        Ok(Self { args, cluster, store, key, sink, receiver, sender, services, next: 0 })
    }

    /// Ends what was started.
    pub async fn strike(self) -> Result<(), CommandError> {
        if self.args.waiting == Waiting::Stuck || self.args.slow > 0 || self.args.ailing > 0 {
            // Sessions that wait for an answer that never comes are not waited for.
            return Ok(());
        }
        for service in self.services {
            service.stop().await?;
        }
        self.store.close().await;
        Ok(())
    }

    /// What the endpoint was told so far.
    fn told(&self) -> Tally {
        self.receiver.as_ref().map(Receiver::tally).unwrap_or_default()
    }

    fn load(&mut self, messages: usize) -> Load {
        let first = self.next;
        self.next += messages;
        Load {
            services: self
                .services
                .iter()
                .map(|service| match self.args.via {
                    Via::Api => service.address,
                    Via::Smtp => service.submission,
                })
                .collect(),
            via: self.args.via,
            key: self.key.clone(),
            connections: self.args.connections,
            messages,
            size: self.args.size,
            recipients: self.args.recipients,
            domain: "inbox.example".to_owned(),
            domains: 0,
            stop: CancellationToken::new(),
            from: FROM.to_owned(),
            rate: None,
            duration: None,
            keyed: self.args.keyed || self.args.fault.is_some(),
            first,
        }
    }

    /// A short load that opens connections and fills caches; then what is to be slow.
    async fn warm_up(&mut self) -> Result<(), CommandError> {
        let (before, told) = (self.sink.taken(), self.told());
        let load = self.load(500);
        let expected = load.messages * load.recipients;
        let sent = load::send(&self.sender, load).await?;
        if sent.acknowledged.is_empty() || !self.sink.until(before + expected, PATIENCE).await {
            return Err(CommandError::new("the warm-up was not delivered"));
        }
        if let Some(receiver) = &self.receiver
            && !receiver.until(told.events + expected, PATIENCE).await
        {
            return Err(CommandError::new("the endpoint did not hear of the warm-up"));
        }
        if self.args.slow > 0 {
            let load = Load { domain: sink::SLOW_DOMAIN.to_owned(), recipients: 1, ..self.load(self.args.slow) };
            load::send(&self.sender, load).await?;
        }
        Ok(())
    }

    /// One load, with what it cost.
    pub async fn run(&mut self) -> Result<Report, CommandError> {
        self.warm_up().await?;
        let args = self.args;
        let mut load = Load { rate: args.rate, duration: args.duration.map(|span| span.0), ..self.load(args.messages) };
        if args.flapping > 0 {
            (load.domain, load.domains) = (dns::FLAPPING_DOMAIN.to_owned(), args.flapping);
        }
        let (ailing, calm) = (self.ail(), CancellationToken::new());
        let flapping = self.flap(&calm).await?;
        let before = self.reading().await?;
        let (from, told_from) = (self.sink.taken(), self.told());
        let started = Instant::now();
        let (sent, accepted, weather, timeline) = self.play(load, from, started).await?;
        calm.cancel();
        for host in flapping {
            host.await.map_err(CommandError::new)??;
        }
        let wanted = sent.acknowledged.len() * args.recipients;
        let mut expected = from + wanted;
        let mut delivered;
        // Copies beyond the first stand for nothing that is still missing.
        loop {
            let is_there = self.sink.until(expected, PATIENCE).await;
            delivered = started.elapsed();
            let (ledger, _) = compare(&sent, &self.sink.ledger(from), args.recipients, 0);
            if ledger.lost == 0 {
                break;
            }
            if !is_there {
                out::note("not everything was delivered; the ledger says how much");
                break;
            }
            expected = self.sink.taken() + ledger.lost;
        }
        let end = started + delivered;
        let webhooks = match &self.receiver {
            Some(receiver) => Some(Told::wait(receiver, told_from, wanted, (started, end)).await),
            None => None,
        };
        drop(ailing);
        let after = self.reading().await?;
        let uncertain = after.uncertain - before.uncertain;
        let (ledger, accept_to_delivered_ms) = compare(&sent, &self.sink.ledger(from), args.recipients, uncertain);
        let messages = sent.acknowledged.len().max(1);
        let copies = (messages * args.recipients) as f64;
        let cpu = after.cpu.since(before.cpu, copies);
        let batches = |name: &str| batches(&before.metrics, &after.metrics, name);
        let (accept, settle, claim) = (
            batches("mailwright_accept_batch_messages"),
            batches("mailwright_settle_batch_deliveries"),
            batches("mailwright_claim_batch_deliveries"),
        );
        Ok(Report {
            messages,
            size: args.size,
            connections: args.connections,
            recipients: args.recipients,
            processes: args.processes,
            dkim: format!("{:?}", args.dkim).to_lowercase(),
            route: format!("{:?}", args.route).to_lowercase(),
            round_trip_ms: args.round_trip.0.as_secs_f64() * 1e3,
            backlog: args.backlog,
            accepted_per_second: messages as f64 / accepted.as_secs_f64(),
            delivered_per_second: copies / delivered.as_secs_f64(),
            accept_ms: Times::of(sent.acknowledged.iter().map(|a| a.answered - a.started).collect()),
            accept_to_delivered_ms,
            cpu_micros: cpu,
            cpu_micros_total: cpu.total(),
            wal_bytes_per_message: (after.wal - before.wal) as f64 / messages as f64,
            commits_per_message: (accept.commits + settle.commits + claim.commits) / messages as f64,
            accept_batches: accept,
            settle_batches: settle,
            claim_batches: claim,
            peak_memory_mib: self.services.iter().map(|service| usage::peak_mib(service.pid())).collect(),
            ledger,
            weather,
            webhooks,
            timeline,
        })
    }

    /// What goes to dead and mute domains until the guard is dropped.
    fn ail(&mut self) -> DropGuard {
        let stop = CancellationToken::new();
        for domain in [dns::DEAD_DOMAIN, dns::MUTE_DOMAIN] {
            if self.args.ailing > 0 {
                let load = Load {
                    domain: domain.to_owned(),
                    domains: self.args.ailing / 2,
                    rate: Some(AILING_RATE / 2.0),
                    recipients: 1,
                    stop: stop.clone(),
                    ..self.load(AILING_MAX)
                };
                let thread = self.sender.clone();
                tokio::spawn(async move { load::send(&thread, load).await });
            }
        }
        stop.drop_guard()
    }

    /// Starts the flapping hosts, until `calm`.
    async fn flap(&self, calm: &CancellationToken) -> Result<Vec<JoinHandle<Result<(), CommandError>>>, CommandError> {
        let mut hosts = Vec::new();
        for number in 0..self.args.flapping {
            let host = self.sink.host(dns::flapping_host(number)).await?;
            hosts.push(tokio::spawn(weather::flap(host, calm.clone())));
        }
        Ok(hosts)
    }

    /// Sends, with the fault if there is one; counts what arrives in each second.
    async fn play(
        &mut self,
        load: Load,
        from: usize,
        started: Instant,
    ) -> Result<(Sent, Duration, Option<report::Weather>, Vec<usize>), CommandError> {
        let messages = load.messages;
        let mut timeline = Vec::new();
        let mut weather = None;
        let mut forecast = self.args.fault;
        let sending = async {
            let sent = load::send(&self.sender, load).await;
            (sent, started.elapsed())
        };
        tokio::pin!(sending);
        let mut second = tokio::time::interval_at(started + Duration::from_secs(1), Duration::from_secs(1));
        let mut last = from;
        loop {
            tokio::select! {
                (sent, accepted) = &mut sending => return Ok((sent?, accepted, weather, timeline)),
                _ = second.tick() => {
                    let now = self.sink.taken();
                    timeline.push(now - last);
                    last = now;
                    if now - from > messages / 3 && let Some(fault) = forecast.take() {
                        let rate = (now - from) as f64 / started.elapsed().as_secs_f64();
                        let back = weather::strike(fault, self.cluster, &self.sink, &mut self.services, rate).await?;
                        weather = Some(report::Weather { fault: format!("{fault:?}").to_lowercase(), rate_back_seconds: back });
                        last = self.sink.taken();
                        second.reset();
                    }
                }
            }
        }
    }

    async fn reading(&self) -> Result<Reading, CommandError> {
        let mut metrics = Vec::new();
        for service in &self.services {
            metrics.push(service.metrics().await?);
        }
        let stats = self.store.server_stats().await.map_err(CommandError::new)?;
        let pids: Vec<_> = self.services.iter().map(Served::pid).collect();
        let postmaster = self.cluster.pid().unwrap_or(0);
        Ok(Reading { cpu: Cpu::now(&pids, postmaster), wal: stats.wal_bytes, uncertain: stats.uncertain, metrics })
    }
}

/// Every counter at one instant.
struct Reading {
    cpu: Cpu,
    wal: i64,
    uncertain: i64,
    metrics: Vec<String>,
}

/// The growth of a histogram of batch sizes.
fn batches(before: &[String], after: &[String], name: &str) -> Batches {
    // A process that was killed took its counters with it.
    let growth = |sample_name: &str| (sample(after, sample_name) - sample(before, sample_name)).max(0.0);
    let commits = growth(&format!("{name}_count"));
    let mut histogram = Vec::new();
    let mut below = 0.0;
    for bound in ["1", "2", "4", "8", "16", "32", "64", "128", "256", "+Inf"] {
        let count = growth(&format!("{name}_bucket{{le=\"{bound}\"}}"));
        histogram.push((bound.to_owned(), count - below));
        below = count;
    }
    let mean = if commits > 0.0 { growth(&format!("{name}_sum")) / commits } else { 0.0 };
    Batches { commits, mean, histogram }
}
