//! When a request is tried again, and chance.

use std::time::Duration;

/// How requests are tried again that may be repeated: after 429 and 503, and when no answer came.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// Most tries of one request; 1 tries nothing again.
    pub tries: u32,
    /// The longest that one try may take.
    pub timeout: Duration,
    /// The first wait where the answer has no `Retry-After`; each further one is twice as long, less up to a half by chance.
    pub first_wait: Duration,
    /// The longest wait; an answer that asks for more is given back at once.
    pub longest_wait: Duration,
}

impl Default for Retry {
    /// Five tries of 30 s, waits from 250 ms to 30 s.
    fn default() -> Self {
        Self {
            tries: 5,
            timeout: Duration::from_secs(30),
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(30),
        }
    }
}

impl Retry {
    /// The wait before another try, after `tried` of them; `asked` is what `Retry-After` said.
    pub(crate) fn wait(&self, tried: u32, asked: Option<Duration>) -> Option<Duration> {
        if tried >= self.tries {
            return None;
        }
        if let Some(asked) = asked {
            return (asked <= self.longest_wait).then_some(asked);
        }
        let whole = self.first_wait.saturating_mul(1 << tried.saturating_sub(1).min(20)).min(self.longest_wait);
        Some(whole.mul_f64(0.5 + f64::from(random::<1>()[0]) / 512.0))
    }
}

/// A key that nobody has used.
pub(crate) fn fresh_key() -> String {
    format!("mailwright-client-{:032x}", u128::from_ne_bytes(random()))
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(clippy::disallowed_methods, reason = "a client has no other source of chance")]
    #[expect(clippy::expect_used, reason = "a machine without randomness can make no key")]
    aws_lc_rs::rand::fill(&mut bytes).expect("the machine gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_service_asks_for_is_waited_unless_it_is_too_long() {
        let retry = Retry::default();
        assert_eq!(retry.wait(1, Some(Duration::from_secs(7))), Some(Duration::from_secs(7)));
        assert_eq!(retry.wait(1, Some(Duration::from_secs(31))), None);
        assert_eq!(retry.wait(5, None), None);
    }

    #[test]
    fn waits_grow_up_to_the_longest() {
        let retry = Retry { tries: 100, ..Retry::default() };
        for tried in 1..100 {
            let whole = 0.25 * f64::from(2_u32.pow((tried - 1).min(20)));
            let wait = retry.wait(tried, None).unwrap().as_secs_f64();
            assert!(wait >= whole.min(30.0) * 0.5 && wait <= whole.min(30.0), "{tried}: {wait}");
        }
    }

    #[test]
    fn no_two_keys_are_the_same() {
        assert_ne!(fresh_key(), fresh_key());
    }
}
