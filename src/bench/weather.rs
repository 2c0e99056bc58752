//! Bad weather: one fault in the middle of a load, and how long the rate is gone.

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::services::Served;
use super::sink::{Host, Sink};
use crate::ambient::SystemRng;
use crate::cluster::Cluster;
use crate::domain::clock::Rng;
use crate::terminal::CommandError;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// The sink drops every session and refuses connections for three seconds.
    Sink,
    /// Postgres is stopped as if it had crashed, and started again.
    Postgres,
    /// A service is ended by SIGKILL, and started again.
    Kill,
}

/// How long the sink is away.
const AWAY: Duration = Duration::from_secs(3);
/// How long a flapping host stays as it is: so long at least, and at most so much longer.
const FLAP: Duration = Duration::from_secs(2);
const FLAP_SPREAD: Duration = Duration::from_secs(6);
/// How often the rate is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Looks that make a rate.
const WINDOW: usize = 4;
/// Longest wait for the rate to come back.
const PATIENCE: Duration = Duration::from_mins(1);

/// Lets `fault` happen; gives the seconds until the rate of a second was back at half of `rate`.
pub async fn strike(
    fault: Fault,
    cluster: &mut Cluster,
    sink: &Sink,
    services: &mut [Served],
    rate: f64,
) -> Result<Option<f64>, CommandError> {
    let began = Instant::now();
    match fault {
        Fault::Sink => {
            sink.main().die();
            sleep(AWAY).await;
            sink.main().rise().await?;
        }
        Fault::Postgres => cluster.crash_and_restart().await?,
        Fault::Kill => {
            if let Some(service) = services.first_mut() {
                service.kill_and_restart().await?;
            }
        }
    }
    let mut counts = vec![sink.taken()];
    while began.elapsed() < PATIENCE {
        sleep(LOOK).await;
        counts.push(sink.taken());
        let window = counts.len().checked_sub(WINDOW + 1).map(|first| counts[counts.len() - 1] - counts[first]);
        if window.is_some_and(|taken| taken as f64 >= rate / 2.0) {
            return Ok(Some(began.elapsed().saturating_sub(LOOK * 4).as_secs_f64()));
        }
    }
    Ok(None)
}

/// Takes `host` away and brings it back, over and over, until `calm`; it is there in the end.
pub async fn flap(host: Arc<Host>, calm: CancellationToken) -> Result<(), CommandError> {
    let rng = SystemRng;
    let spell = || {
        let mut random = [0; 4];
        rng.fill(&mut random);
        FLAP + FLAP_SPREAD.mul_f64(f64::from(u32::from_be_bytes(random)) / f64::from(u32::MAX))
    };
    while calm.run_until_cancelled(sleep(spell())).await.is_some() {
        host.die();
        calm.run_until_cancelled(sleep(spell())).await;
        host.rise().await?;
    }
    Ok(())
}
