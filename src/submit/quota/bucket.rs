//! A rate, kept by a bucket of tokens: pure, time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// Tokens that come back at a rate; there are never more than come in a second, and never fewer than room for one.
#[derive(Debug)]
pub struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new(rate: f64, now: Instant) -> Self {
        Self { tokens: room(rate), at: now }
    }

    fn fill(&mut self, rate: f64, now: Instant) {
        self.tokens = (self.tokens + now.duration_since(self.at).as_secs_f64() * rate).min(room(rate));
        self.at = now;
    }

    /// Takes `count` tokens, or says how long to wait. More than there is room for are taken from a full bucket, which then
    /// owes them.
    pub fn take(&mut self, count: u32, rate: f64, now: Instant) -> Result<(), Duration> {
        self.fill(rate, now);
        let (count, needed) = (f64::from(count), f64::from(count).min(room(rate)));
        // What was put together from many small parts is whole.
        if self.tokens + 1e-6 >= needed {
            self.tokens -= count;
            return Ok(());
        }
        Err(Duration::try_from_secs_f64((needed - self.tokens) / rate).unwrap_or(Duration::MAX))
    }

    pub fn put_back(&mut self, count: u32) {
        self.tokens += f64::from(count);
    }

    /// Whole tokens that there are.
    pub fn available(&mut self, rate: f64, now: Instant) -> u64 {
        self.fill(rate, now);
        format!("{:.0}", self.tokens.max(0.0).floor()).parse().unwrap_or(0)
    }

    /// Since when nobody took any.
    pub fn is_idle(&self, span: Duration) -> bool {
        self.at.elapsed() > span
    }
}

fn room(rate: f64) -> f64 {
    rate.max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_whatever_the_size_of_requests() {
        let mut bucket = Bucket::new(10.0, Instant::now());
        let mut taken = 0;
        for _ in 0..2000 {
            taken += u32::from(bucket.take(1, 10.0, Instant::now()).is_ok());
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        assert!((205..=215).contains(&taken), "{taken} in 20 s and a burst of one");
        // Larger than a second's worth: taken once, and owed.
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(bucket.take(35, 10.0, Instant::now()), Ok(()));
        let wait = bucket.take(1, 10.0, Instant::now()).unwrap_err();
        assert!((2.5..2.7).contains(&wait.as_secs_f64()), "{wait:?}");
        tokio::time::advance(wait).await;
        assert_eq!(bucket.take(1, 10.0, Instant::now()), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_of_one_is_one_now_and_then() {
        let mut bucket = Bucket::new(0.25, Instant::now());
        assert_eq!(bucket.take(1, 0.25, Instant::now()), Ok(()));
        assert_eq!(bucket.take(1, 0.25, Instant::now()), Err(Duration::from_secs(4)));
        bucket.put_back(1);
        assert_eq!(bucket.available(0.25, Instant::now()), 1);
    }
}
