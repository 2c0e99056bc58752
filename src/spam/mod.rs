//! What a spam filter of the operator's says of a message: `SpamAssassin` by the protocol of spamd, or rspamd by HTTP. Nothing is
//! sent anywhere else, and nothing is learnt from it.

mod rspamd;
mod spamassassin;

use std::time::Duration;

use serde::Serialize;

use crate::config::SandboxSettings;
use crate::net::tls::TlsConfigs;

/// How long a filter may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// Bytes of its answer that are read.
const ANSWER_MAX: usize = 1 << 20;

/// The schema `SpamVerdict`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    pub engine: &'static str,
    pub score: f64,
    /// From here on the filter calls it spam.
    pub threshold: f64,
    pub is_spam: bool,
    /// Those that count most first.
    pub rules: Vec<Rule>,
}

/// The schema `SpamRule`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rule {
    pub name: String,
    pub score: f64,
    pub description: String,
}

/// A filter, as it is configured.
#[derive(Clone)]
pub struct SpamFilter {
    engine: Engine,
    tls: TlsConfigs,
}

#[derive(Clone)]
enum Engine {
    /// Host and port of spamd.
    SpamAssassin(String),
    /// The URL of a worker.
    Rspamd(String),
}

impl SpamFilter {
    /// The filter that is configured, if one is.
    pub fn configured(settings: &SandboxSettings, tls: &TlsConfigs) -> Option<Self> {
        let engine = match (settings.spamassassin.as_str(), settings.rspamd.as_str()) {
            ("", "") => return None,
            ("", url) => Engine::Rspamd(url.to_owned()),
            (address, _) => Engine::SpamAssassin(address.to_owned()),
        };
        Some(Self { engine, tls: tls.clone() })
    }

    /// What it says of a message; the error is in words.
    pub async fn check(&self, raw: &[u8]) -> Result<Verdict, String> {
        let asked = async {
            match &self.engine {
                Engine::SpamAssassin(address) => spamassassin::check(address, raw).await,
                Engine::Rspamd(url) => rspamd::check(&self.tls, url, raw).await,
            }
        };
        let mut verdict =
            tokio::time::timeout(DEADLINE, asked).await.map_err(|_| "no answer within the deadline".to_owned())??;
        verdict.rules.sort_by(|one, other| other.score.abs().total_cmp(&one.score.abs()));
        Ok(verdict)
    }
}
