//! What no single setting can see: values that do not go together, or mean nothing.

use std::time::Duration;

use super::dns_account::DnsAccount;
use super::scalars::Security;
use super::settings::{Config, Pooler};
use crate::domain::address::{Address, parse_domain};
use crate::domain::route::Route;
use crate::domain::span::Span;

/// The least that can be dropped.
const DAY: Span = Span(Duration::from_hours(24));

const PUBLIC_URL: &str = "must be https:// and a host, without a slash at the end; http:// for this machine alone, such as http://localhost:8080";

/// Whether links may lead there.
fn is_public_url(url: &str) -> bool {
    let (is_plain, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return url.is_empty(),
    };
    let (host, port) = rest.rsplit_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
    let is_here = matches!(host, "localhost" | "127.0.0.1");
    (is_here || (!is_plain && parse_domain(host).is_ok_and(|parsed| parsed == host)))
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

impl Config {
    /// Everything that no single setting can see: the setting and the reason.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let mut require = |holds: bool, name: &'static str, reason: &str| {
            if !holds {
                faults.push((name, reason.to_owned()));
            }
        };
        self.identity_faults(&mut require);
        require(is_public_url(&self.http.public_url), "http.public_url", PUBLIC_URL);
        require(
            (1..=64).contains(&self.database.max_shards_per_tx),
            "database.max_shards_per_tx",
            "must be from 1 to 64",
        );
        require(
            self.database.pooler == Pooler::None || !self.database.direct_url.is_empty(),
            "database.direct_url",
            "must name the database itself when database.pooler is not \"none\": migrations and partitions need a session",
        );
        for (name, value) in [
            ("database.connections", self.database.connections as usize),
            ("database.writers", self.database.writers),
            ("database.batch_count", self.database.batch_count),
            ("http.connections", self.http.connections),
            ("limits.recipients", self.limits.recipients),
            ("limits.backlog", self.limits.backlog),
            ("limits.project_backlog", self.limits.project_backlog),
            ("queue.batch", self.queue.batch),
            ("delivery.concurrency", self.delivery.concurrency),
            ("delivery.sessions", self.delivery.sessions),
            ("delivery.uncertain_tries", self.delivery.uncertain_tries),
            ("delivery.messages_per_session", self.delivery.messages_per_session),
            ("webhooks.concurrency", self.webhooks.concurrency),
            ("webhooks.per_endpoint", self.webhooks.per_endpoint),
            ("submission.connections", self.submission.connections),
            ("inbound.connections", self.inbound.connections),
            ("inbound.connections_per_address", self.inbound.connections_per_address),
        ] {
            require(value > 0, name, "must be at least 1");
        }
        require(
            !self.delivery.pause.0.is_zero() && self.delivery.pause_max.0 >= self.delivery.pause.0,
            "delivery.pause_max",
            "must be at least delivery.pause, and that more than nothing",
        );
        require(
            self.queue.lease.0 >= Duration::from_secs(1),
            "queue.lease",
            "must be at least 1s: it is renewed every third of it",
        );
        for (name, span) in
            [("retention.messages", self.retention.messages), ("retention.bodies", self.retention.bodies)]
        {
            require(span.0 >= DAY.0, name, "must be at least 1d: a day is the least that can be dropped");
        }
        require(
            self.retention.bodies.0 <= self.retention.messages.0,
            "retention.bodies",
            "must be at most retention.messages: no body outlives its message",
        );
        require(
            self.delivery.bytes_in_flight.0 >= self.limits.message.0,
            "delivery.bytes_in_flight",
            "must be at least limits.message, or a large message never leaves",
        );
        require(
            self.http.body_bytes_in_flight.0 / 2 >= self.http.body_limit.0,
            "http.body_bytes_in_flight",
            "must be at least twice http.body_limit: one project has half of it at most",
        );
        require(
            self.inbound.memory.0 >= self.inbound.message.0 * self.inbound.connections_per_address.min(1000),
            "inbound.memory",
            "must be at least inbound.message times inbound.connections_per_address, or one caller keeps out all others",
        );
        require(!self.inbound.timeout.0.is_zero(), "inbound.timeout", "must be more than nothing");
        self.submission_faults(&mut require);
        faults
    }

    fn identity_faults(&self, require: &mut impl FnMut(bool, &'static str, &str)) {
        for (name, host) in [
            ("domains.dkim_zone", &self.domains.dkim_zone),
            ("domains.second_signature", &self.domains.second_signature),
            ("inbound.host", &self.inbound.host),
        ] {
            let is_host = host.is_empty() || parse_domain(host).is_ok_and(|parsed| parsed == *host);
            require(is_host, name, "must be a domain in lower case, such as mail.example.net");
        }
        let lists = [&self.reputation.domain_lists, &self.reputation.address_lists];
        let are_hosts = lists.iter().all(|list| list.0.iter().all(|host| parse_domain(host).is_ok()));
        require(
            are_hosts,
            "reputation.domain_lists",
            "and reputation.address_lists must be hosts, such as dbl.spamhaus.org",
        );
        let accounts = &self.domains.publish;
        require(
            cfg!(feature = "dns-publishing") || accounts.is_empty(),
            "domains.publish",
            "needs a binary that is built with --features dns-publishing",
        );
        if let Some(fault) = accounts.iter().find_map(DnsAccount::fault) {
            require(false, "domains.publish", fault);
        }
        let from = &self.tls_reports.from;
        require(from.is_empty() || Address::parse(from).is_ok(), "tls_reports.from", "must be an address");
    }

    fn submission_faults(&self, require: &mut impl FnMut(bool, &'static str, &str)) {
        let submission = &self.submission;
        require(!submission.timeout.0.is_zero(), "submission.timeout", "must be more than nothing");
        require(
            submission.memory.0 / 2 >= self.limits.message.0,
            "submission.memory",
            "must be at least twice limits.message, or a large message is never taken: nobody has more than half",
        );
        let has_files = !submission.tls_cert.as_os_str().is_empty() && !submission.tls_key.as_os_str().is_empty();
        require(
            has_files || submission.listen.0.iter().all(|listen| listen.security == Security::Plain),
            "submission.tls_cert",
            "and submission.tls_key must name the files of a certificate: submission.listen offers TLS",
        );
    }

    /// Whether live mail ends in the built-in inbox.
    pub fn is_sandboxed(&self) -> bool {
        self.delivery.route.route == Route::Sandbox
    }
}
