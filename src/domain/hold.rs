//! Why a delivery is put off without a try.

use super::words::words;

words! {
    /// What must pass before it is tried. The row holds the word.
    pub enum HoldReason {
        /// The lane's breaker is open, or a probe is under way.
        Paused = "paused",
        /// Other processes have all of the lane's connections.
        Shared = "shared",
        /// The rate of messages, or of connections, is used up for longer than is worth waiting.
        Rate = "rate",
        /// Retries to this destination have used up their budget.
        Budget = "budget",
        /// No source address may send more today.
        Warmup = "warmup",
        /// The next hop has refused all source addresses of late.
        Aside = "aside",
        /// The script of the sandbox waits.
        Scripted = "scripted",
        /// The pool has no address that could speak to the next hop.
        NoSource = "no_source",
    }
}

impl HoldReason {
    /// For people.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Paused => "the next hop did not answer, or refused everybody: it is paused and probed",
            Self::Shared => "other processes hold the few connections that this next hop may have",
            Self::Rate => "the rate of this next hop is used up",
            Self::Budget => "retries to this next hop have used up their budget; fresh mail goes first",
            Self::Warmup => "every source address has sent what its warm-up allows today",
            Self::Aside => "the next hop wants no mail from any of our source addresses at present",
            Self::Scripted => "its sandbox script waits before the first try",
            Self::NoSource => {
                "no source address of the pool can be used: all are drained or of the other address family"
            }
        }
    }
}
