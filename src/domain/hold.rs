//! Why a delivery is put off without a try.

/// What must pass before it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The lane's breaker is open, or a probe is under way.
    Paused,
    /// Other processes have all of the lane's connections.
    Shared,
    /// The rate of messages, or of connections, is used up for longer than is worth waiting.
    Rate,
    /// Retries to this destination have used up their budget.
    Budget,
    /// No source address may send more today.
    Warmup,
    /// The next hop has refused all source addresses of late.
    Aside,
    /// The pool has no address that could speak to the next hop.
    NoSource,
}

impl Why {
    /// In a word, for metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Shared => "shared",
            Self::Rate => "rate",
            Self::Budget => "budget",
            Self::Warmup => "warmup",
            Self::Aside => "aside",
            Self::NoSource => "no_source",
        }
    }

    /// For people.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Paused => "the next hop did not answer, or refused everybody: it is paused and probed",
            Self::Shared => "other processes hold the few connections that this next hop may have",
            Self::Rate => "the rate of this next hop is used up",
            Self::Budget => "retries to this next hop have used up their budget; fresh mail goes first",
            Self::Warmup => "every source address has sent what its warm-up allows today",
            Self::Aside => "the next hop wants no mail from any of our source addresses at present",
            Self::NoSource => {
                "no source address of the pool can be used: all are drained or of the other address family"
            }
        }
    }
}
