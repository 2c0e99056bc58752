//! Every metric, declared once, with bounded label values: never an address, an id or a domain.

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

macro_rules! metrics {
    ($($field:ident: $type:ident = $make:expr;)*) => {
        /// The process's metrics; one value per running service, so that tests may run several.
        pub struct Metrics {
            registry: Registry,
            $(pub $field: $type,)*
        }
        impl Metrics {
            /// Declares and registers all of them.
            pub fn new() -> Result<Self, prometheus::Error> {
                let registry = Registry::new();
                $(
                    let $field = $make?;
                    registry.register(Box::new($field.clone()))?;
                )*
                Ok(Self { registry, $($field,)* })
            }
        }
    };
}

fn counter(name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    IntCounter::new(name, help)
}
fn counters(name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(Opts::new(name, help), labels)
}
fn gauge(name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    IntGauge::new(name, help)
}
fn gauges(name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
    IntGaugeVec::new(Opts::new(name, help), labels)
}
fn seconds(name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
    let buckets =
        [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0];
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
}
fn statement_seconds(name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec, prometheus::Error> {
    let buckets = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5];
    HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)
}
fn decimal(name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
    Gauge::new(name, help)
}
fn sizes(name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
    let buckets = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
}

metrics! {
    build_info: IntGaugeVec = gauges("mailwright_build_info", "Always 1; the version is the label.", &["version"]);
    http_requests: IntCounterVec = counters("mailwright_http_requests_total", "Requests answered, by route and status.", &["route", "status"]);
    http_seconds: Histogram = seconds("mailwright_http_request_seconds", "Time to answer a request.");
    http_connections: IntGauge = gauge("mailwright_http_connections", "Open HTTP connections.");
    accepted: IntCounterVec = counters("mailwright_messages_accepted_total", "Messages stored and answered with 202, by mode.", &["mode"]);
    accept_seconds: Histogram = seconds("mailwright_accept_seconds", "From a parsed request to its commit.");
    accept_batch: Histogram = sizes("mailwright_accept_batch_messages", "Messages in one accepting commit.");
    idempotent_replays: IntCounter = counter("mailwright_idempotent_replays_total", "Requests answered from an idempotency key.");
    attempts: IntCounterVec = counters("mailwright_delivery_attempts_total", "Tries, by outcome and class.", &["outcome", "class"]);
    attempts_by_provider: IntCounterVec = counters("mailwright_provider_attempts_total", "Tries, by who runs the next hop (a provider of the rule pack, or other) and outcome.", &["provider", "outcome"]);
    held: IntCounterVec = counters("mailwright_deliveries_held_total", "Deliveries put off without a try, by reason.", &["reason"]);
    tls_sessions: IntCounterVec = counters("mailwright_tls_sessions_total", "New SMTP sessions, by TLS policy and result (RFC 8460).", &["policy", "result"]);
    lanes: IntGaugeVec = gauges("mailwright_lanes", "Lanes that are not simply open, by state.", &["state"]);
    fleet: IntGauge = gauge("mailwright_delivering_processes", "Live processes that deliver, as this one sees them.");
    delivering: IntGauge = gauge("mailwright_delivering", "1 once this process delivers: the others have made room for it.");
    settled: IntCounterVec = counters("mailwright_recipients_settled_total", "Recipients that reached a final state.", &["status"]);
    suppressions: IntCounterVec = counters("mailwright_suppressions_total", "Suppressions stored or renewed, by reason.", &["reason"]);
    settle_batch: Histogram = sizes("mailwright_settle_batch_deliveries", "Outcomes in one settling commit.");
    claim_batch: Histogram = sizes("mailwright_claim_batch_deliveries", "Deliveries in one claim.");
    first_attempt_seconds: Histogram = seconds("mailwright_accept_to_first_attempt_seconds", "From accept to the first try.");
    delivered_seconds: Histogram = seconds("mailwright_accept_to_delivered_seconds", "From accept to the receiving server's 250.");
    uncertain: IntCounter = counter("mailwright_delivery_uncertain_total", "Tries whose reply to the final dot was lost.");
    leases_rescued: IntCounterVec = counters("mailwright_leases_rescued_total", "Leases that ran out and went back to due.", &["queue"]);
    leases_lost: IntCounterVec = counters("mailwright_leases_lost_total", "Outcomes that came too late: the lease was no longer ours.", &["queue"]);
    in_hand: IntGaugeVec = gauges("mailwright_queue_in_hand", "Jobs that this process holds a lease for.", &["queue"]);
    queue_due: IntGaugeVec = gauges("mailwright_queue_due", "Rows that are due and in nobody's hand, as of the last census of each shard.", &["queue"]);
    store_oldest_snapshot_seconds: Gauge = decimal("mailwright_store_oldest_snapshot_seconds", "For how long the oldest snapshot on the database has been held: while it is, what was settled since is not cleared away.");
    queue_oldest_due_seconds: IntGaugeVec = gauges("mailwright_queue_oldest_due_seconds", "Age of the row that has been due longest.", &["queue"]);
    partitions_days_ahead: IntGauge = gauge("mailwright_partitions_days_ahead", "Days after today whose partitions are prepared; below 0 nothing can be stored.");
    smtp_sessions: IntGauge = gauge("mailwright_smtp_sessions", "Open SMTP sessions.");
    smtp_connects: IntCounterVec = counters("mailwright_smtp_connects_total", "SMTP sessions opened, by result.", &["result"]);
    listings: IntGauge = gauge("mailwright_listings", "Entries of lists that name a sending domain, or an address that mail leaves from.");
    project_alarms: IntGauge = gauge("mailwright_project_alarms", "Projects more of whose mail bounces, or is called spam, than is put up with.");
    links: IntCounterVec = counters("mailwright_links_total", "Links of messages that were followed, by kind, and whether it was taken down, refused, or missed since too much came.", &["kind", "outcome"]);
    submission_sessions: IntGauge = gauge("mailwright_submission_sessions", "Open sessions of programs that submit mail.");
    http_auth_failures: IntCounter = counter("mailwright_http_auth_failures_total", "Requests by HTTP whose credential was refused.");
    submission_auth: IntCounterVec = counters("mailwright_submission_auth_total", "AUTH commands, by mechanism and result.", &["mechanism", "result"]);
    submission_messages: IntCounterVec = counters("mailwright_submission_messages_total", "Messages submitted by SMTP, by outcome.", &["outcome"]);
    inbound_letters: IntCounterVec = counters("mailwright_inbound_letters_total", "Letters that came back, by way, meaning and what followed.", &["source", "meaning", "outcome"]);
    webhook_attempts: IntCounterVec = counters("mailwright_webhook_attempts_total", "Webhook calls, by result.", &["result"]);
    webhooks_stalled: IntGauge = gauge("mailwright_webhook_endpoints_stalled", "Enabled endpoints whose calls only fail for a while; 0 in processes that do not feed.");
    store_seconds: HistogramVec = statement_seconds("mailwright_store_statement_seconds", "Time of a statement or transaction, waiting for a connection included, by its name.", &["statement"]);
    clock_offset_seconds: Gauge = decimal("mailwright_clock_offset_seconds", "By how much this machine's wall clock is ahead of the store's.");
    store_errors: IntCounterVec = counters("mailwright_store_errors_total", "Statements that failed, by kind.", &["kind"]);
    log_failures: IntCounter = counter("mailwright_log_write_failures_total", "Log lines that could not be written.");
}

/// One in a gauge, as long as it lives.
#[derive(Debug)]
pub struct GaugeGuard(IntGauge);

impl GaugeGuard {
    pub fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// The text exposition format of Prometheus, process figures included.
    pub fn render(&self) -> String {
        let mut families = self.registry.gather();
        families.extend(prometheus::gather());
        let mut text = Vec::new();
        // Encoding into memory fails only on a family without samples, which is left out.
        let _ = TextEncoder::new().encode(&families, &mut text);
        String::from_utf8(text).unwrap_or_default()
    }
}
