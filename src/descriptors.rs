//! File descriptors: as many as the machine allows, shared out before the service starts, so that what strangers open never takes
//! what the store and deliveries need.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// Descriptors for files, listeners, the log, and questions to name servers.
const OTHERS: usize = 64;
/// Connections to the store beside the pools and the writers: claimers, settlers, upkeep, the clock.
const STORE: usize = 32;
/// What each kind of connection needs at least.
const LEAST: usize = 16;

/// What was lowered: the setting, what was asked for, and what there is room for.
pub type Lowered = (&'static str, usize, usize);

/// Raises the soft limit to the hard one. Gives the limit in force; `None`: there is none.
pub fn raise() -> Option<usize> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current < maximum || (maximum.is_none() && current.is_some()) {
        // A limit that cannot be raised is the limit.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    getrlimit(Resource::Nofile).current.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Lowers what the configuration lets in and out until all of it fits into a limit beside what the store needs, the largest first. The
/// error: there is no room even for the least of each.
pub fn fit(config: &mut Config, limit: usize) -> Result<Vec<Lowered>, String> {
    let store = config.database.connections as usize * 2 + config.database.writers + STORE;
    // Questions to name servers are sockets too.
    let others = OTHERS + limit.min(10_000) / 10;
    let mut wanted: Vec<(&'static str, &mut usize)> = vec![
        ("http.connections", &mut config.http.connections),
        ("delivery.connections", &mut config.delivery.connections),
        ("webhooks.concurrency", &mut config.webhooks.concurrency),
    ];
    if !config.submission.listen.0.is_empty() {
        wanted.push(("submission.connections", &mut config.submission.connections));
    }
    if !config.inbound.listen.0.is_empty() {
        wanted.push(("inbound.connections", &mut config.inbound.connections));
    }
    wanted.sort_by_key(|(_, count)| **count);
    let mut left = limit.saturating_sub(store + others);
    let mut kinds = wanted.len();
    if left < kinds * LEAST {
        let least = store + others + kinds * LEAST;
        return Err(format!(
            "this process may open {limit} descriptors (ulimit -n), and needs {least} at least: {store} for the store alone"
        ));
    }
    let mut lowered = Vec::new();
    for (name, count) in wanted {
        // Who wants less than an even part leaves the rest to the others.
        let part = left / kinds;
        if *count > part {
            lowered.push((name, *count, part));
            *count = part;
        }
        left -= *count;
        kinds -= 1;
    }
    Ok(lowered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_let_in_and_out_leaves_what_the_store_needs() {
        let mut config = Config::default();
        assert_eq!(fit(&mut config, 1 << 20).unwrap(), [], "as configured");
        let lowered = fit(&mut config, 1024).unwrap();
        assert_eq!(
            lowered.iter().map(|(name, ..)| *name).collect::<Vec<_>>(),
            ["http.connections", "delivery.connections"]
        );
        let sum = config.http.connections + config.delivery.connections + config.webhooks.concurrency;
        assert!((700..=1024 - 54 - OTHERS - 102).contains(&sum), "{sum}");
        assert!(config.http.connections > 200);
        assert_eq!(fit(&mut config, 1024).unwrap(), [], "it fits now");
        assert!(fit(&mut Config::default(), 128).unwrap_err().contains("needs"));
        assert!(raise().is_none_or(|limit| limit >= 1024));
    }
}
