//! What an operator can see: logs and metrics. Logs never hold bodies, secrets or, at info, whole
//! recipients; a log that cannot be written is counted, never a reason to stop.

pub mod metrics;

use std::io::{self, Write};
use std::sync::Arc;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;
use metrics::Metrics;

/// Libraries whose lines below warnings hold what others sent.
const RAW: [&str; 4] = ["hickory_net", "hickory_proto", "hickory_resolver", "hickory"];

/// Starts logging to standard error. The first call in a process wins.
pub fn init(level: &str, format: LogFormat, metrics: &Arc<Metrics>) -> Result<(), String> {
    let mut filter: Targets = level.parse().map_err(|error| format!("log.level: '{level}': {error}"))?;
    // What strangers' records say is logged by them as it came, line feeds and all: only who asks for it by name gets it.
    for target in RAW {
        if !level.contains(target) {
            filter = filter.with_target(target, LevelFilter::WARN);
        }
    }
    let writer = CountingStderr { metrics: Arc::clone(metrics) };
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    let registry = tracing_subscriber::registry().with(filter);
    // A second call in one process (tests) keeps the first subscriber.
    let _ = match format {
        LogFormat::Text => registry.with(layer).try_init(),
        LogFormat::Json => registry.with(layer.json()).try_init(),
    };
    Ok(())
}

/// Standard error whose failures (a full disk, a closed pipe) are counted and swallowed.
struct CountingStderr {
    metrics: Arc<Metrics>,
}

impl<'a> MakeWriter<'a> for CountingStderr {
    type Writer = StderrLine<'a>;

    fn make_writer(&'a self) -> StderrLine<'a> {
        StderrLine { metrics: &self.metrics }
    }
}

struct StderrLine<'a> {
    metrics: &'a Metrics,
}

impl Write for StderrLine<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if io::stderr().lock().write_all(line).is_err() {
            self.metrics.log_failures.inc();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
