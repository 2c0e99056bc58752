//! What hosts offer and cannot do: learnt from one message, so that the next one does not pay for it again.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::bounded::make_room;
use crate::domain::target::Distrust;

/// How long a host is not believed.
const LASTS: Duration = Duration::from_hours(1);
/// For TLS and EHLO: without them a session is worth less, so that they are tried again soon.
const LASTS_SHORT: Duration = Duration::from_mins(5);
/// Hosts that are remembered.
const HOSTS: usize = 4096;

/// What is distrusted, by host and until when.
#[derive(Debug, Default)]
pub struct Quirks {
    known: Mutex<HashMap<SocketAddr, [Option<Instant>; 4]>>,
}

impl Quirks {
    /// What is not to be used with a host now.
    pub fn of(&self, host: SocketAddr) -> Distrust {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let until = known.get(&host).copied().unwrap_or_default();
        let now = Instant::now();
        let [starttls, chunking, ehlo, lasting] = until.map(|until| until.is_some_and(|until| until > now));
        Distrust { starttls, chunking, ehlo, lasting }
    }

    /// Remembers what a host offered in vain.
    pub fn note(&self, host: SocketAddr, found: Distrust) {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(&host) {
            make_room(&mut known, HOSTS, |until| until.iter().flatten().any(|until| *until > now));
        }
        let until = known.entry(host).or_default();
        let all =
            [(found.starttls, LASTS_SHORT), (found.chunking, LASTS), (found.ehlo, LASTS_SHORT), (found.lasting, LASTS)];
        for (place, (is_found, lasts)) in all.into_iter().enumerate() {
            if is_found {
                until[place] = Some(now + lasts);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_host_is_believed_again_after_a_time_and_few_are_remembered() {
        let quirks = Quirks::default();
        let host = |n: u16| SocketAddr::from(([127, 0, 0, 1], n));
        quirks.note(host(1), Distrust { chunking: true, ..Distrust::default() });
        quirks.note(host(1), Distrust { starttls: true, ..Distrust::default() });
        assert_eq!(quirks.of(host(1)), Distrust { starttls: true, chunking: true, ..Distrust::default() });
        assert_eq!(quirks.of(host(2)), Distrust::default());
        tokio::time::advance(LASTS_SHORT).await;
        assert_eq!(quirks.of(host(1)), Distrust { chunking: true, ..Distrust::default() });
        for n in 2..6000 {
            quirks.note(host(n), Distrust { ehlo: true, ..Distrust::default() });
        }
        assert!(quirks.known.lock().unwrap().len() <= HOSTS);
        assert!(quirks.of(host(5999)).ehlo);
    }
}
