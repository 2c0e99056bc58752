//! Every setting, its default and what it means. [`SETTINGS`] is the one documented table; a test holds
//! it equal to the fields, and the README to it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::dns_account::DnsAccount;
use super::scalars::{ByteSize, Delays, Dialect, List, Listen, LogLevel, RouteText, Span, SubmissionListen};

macro_rules! settings {
    (
        $($section:ident: $type:ident { $($field:ident: $kind:ty = $default:expr, $doc:literal;)* })*
    ) => {
        /// The whole effective configuration.
        #[derive(Debug, Clone, Serialize, Deserialize, Default)]
        #[serde(deny_unknown_fields)]
        pub struct Config {
            $(pub $section: $type,)*
        }
        $(
            #[derive(Debug, Clone, Serialize, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub struct $type {
                $(#[doc = $doc] pub $field: $kind,)*
            }
            impl Default for $type {
                fn default() -> Self {
                    Self { $($field: $default,)* }
                }
            }
        )*
        /// Name and meaning of every setting, in order.
        pub const SETTINGS: &[(&str, &str)] = &[
            $($((concat!(stringify!($section), ".", stringify!($field)), $doc),)*)*
        ];
    };
}

const fn secs(n: u64) -> Span {
    Span(Duration::from_secs(n))
}
const fn days(n: u64) -> Span {
    Span(Duration::from_secs(n * 86_400))
}
const fn mib(n: usize) -> ByteSize {
    ByteSize(n << 20)
}
fn delays(seconds: &[u64]) -> Delays {
    Delays(seconds.iter().map(|s| Duration::from_secs(*s)).collect())
}

settings! {
    data: Data {
        dir: PathBuf = PathBuf::new(), "Where `mailwright dev` keeps its private cluster and keys. Empty: `.mailwright` in the current directory. Also `MAILWRIGHT_DATA_DIR`.";
    }
    database: Database {
        url: String = String::new(), "Postgres to use, as a URL. Required by `serve` and `migrate`. Also `DATABASE_URL`.";
        pooler: Pooler = Pooler::None, "`none`; `transaction` when `url` leads to a pooler in transaction mode that keeps account of prepared statements (`PgBouncer` from 1.21 on with `max_prepared_statements`), `transaction-unprepared` to one that does not. Nothing is left to a session then.";
        direct_url: String = String::new(), "The database itself, past the pooler: for migrations and days' partitions, which need a session. Required with a pooler; empty: `url`.";
        connections: u32 = 10, "Connections for reads and settings; writers, claimers and settlers have their own (about ten more).";
        timeout: Span = secs(5), "Longest time for one statement or for a connection; then the connection is closed and the caller gets 503.";
        max_shards_per_tx: usize = 64, "Shards that one transaction may touch: 64 on one Postgres, 1 on a distributed one.";
        writers: usize = 2, "Tasks that write accepted messages, each with one connection.";
        batch_count: usize = 64, "Most messages in one commit.";
        batch_bytes: ByteSize = mib(8), "Most bytes of messages in one commit.";
    }
    http: Http {
        listen: Listen = Listen(SocketAddr::from(([127, 0, 0, 1], 8080))), "Address of the API, `/metrics` and the console.";
        admin_listen: List<SocketAddr> = List(Vec::new()), "Addresses for operators alone, with commas between: `/metrics`, `/healthz` and `/readyz` are served there, with connections of their own, and `/metrics` is not on `http.listen` then. Empty: none.";
        public_url: String = String::new(), "Public address of this service, such as `https://mail.example.net`, by a proxy with a certificate: links to unsubscribe, and those that are counted, lead there. Empty: live mail has none.";
        connections: usize = 1024, "Most open connections. Further ones take the place of those that have asked for nothing for longest.";
        header_timeout: Span = secs(10), "Longest time for a request's head.";
        keep_alive: Span = secs(90), "How long a connection without a request stays open: longer than the proxies before it keep theirs.";
        body_timeout: Span = secs(60), "Longest time for a request's body.";
        write_timeout: Span = secs(30), "Longest time for a client to take the next bytes of an answer.";
        body_limit: ByteSize = mib(40), "Largest request body.";
        trusted_proxies: List<IpNet> = List(Vec::new()), "Proxies before the API, as CIDR with commas between, whose `X-Forwarded-For` says where a request comes from. For API keys with `allowed_ips`.";
        body_rate: ByteSize = ByteSize(4 << 10), "Least bytes of a request's body per second, on the whole, after its first five seconds.";
        body_bytes_in_flight: ByteSize = mib(96), "Bytes of request bodies held at once; beyond it the answer is 503 with Retry-After. One project has no more than it leaves free, half of it while it is alone; beyond it the answer is 429.";
        answer_bytes_in_flight: ByteSize = mib(128), "Bytes of answers that are made and not read yet, shared out in the same way.";
    }
    compat: Compat {
        dialects: List<Dialect> = List(Vec::new()), "Services whose HTTP API is understood too, at its own paths and below `/compat/NAME`, with commas between: `alicloud`, `aoksend`, `mailgun`, `postmark`, `resend`, `sendcloud`, `sendgrid`, `ses`. Empty: none.";
    }
    limits: Limits {
        recipients: usize = 1000, "Most recipients of one message.";
        message: ByteSize = mib(25), "Largest composed message.";
        attachments: usize = 100, "Most attachments of one message.";
        batch: usize = 1000, "Most messages of one batch.";
        batch_bytes: ByteSize = mib(64), "Most bytes of the messages that one request makes, of all of them together.";
        upload: ByteSize = mib(25), "Largest upload.";
        tags: usize = 10, "Most tags of one message.";
        metadata: ByteSize = ByteSize(10 << 10), "Most bytes of keys and values in `metadata`.";
        headers: usize = 50, "Most custom headers of one message.";
        domains: usize = 1000, "Most sending domains of one project.";
        webhooks: usize = 50, "Most webhook endpoints of one project.";
        templates: usize = 1000, "Most templates of one project, layouts and partials among them.";
        backlog: usize = 10_000_000, "Deliveries in the queue from which on sends are answered with 503 and Retry-After; counted every few seconds.";
        project_backlog: usize = 2_000_000, "Deliveries of one project in the queue from which on its sends are answered with 429 and Retry-After.";
    }
    auth: Auth {
        cache: Span = secs(5), "How long a key that was looked up is believed; a revoked key works at most that long.";
        slow_down: Span = Span(Duration::from_millis(200)), "Wait before an address hears, over HTTP, that a credential is wrong, from the eleventh time within ten minutes on; each further time it doubles, up to sixteen times.";
        jwt: Vec<JwtKey> = Vec::new(), "JWT keys (TOML file only): tables with `kid`, `algorithm` (HS256, RS256, ES256, `EdDSA`), `secret`, `public_key_file` or `jwks_file` (a JWK Set, read anew when it changes; `kid` is then the keys' own), `issuer`, `audience`.";
        jwt_max_lifetime: Span = days(1), "Longest time for which a JWT may still be valid; one whose `exp` lies further ahead is refused.";
    }
    secrets: Secrets {
        sealing_key: String = String::new(), "Key by which DKIM keys, webhook secrets and keys that sign requests are sealed in the database (32 octets in base64: `openssl rand -base64 32`). Of several, with commas between, the first seals, and each opens what it sealed; `mailwright secrets seal` seals everything by the first. Without any, no key can sign requests, and the others lie in the database as they are.";
        sealing_key_file: PathBuf = PathBuf::new(), "File that has it, instead; several, a line each.";
    }
    queue: Queue {
        lease: Span = secs(30), "How long a claimed delivery belongs to a process that says nothing.";
        poll: Span = secs(1), "How often the queue is looked at when no signal comes.";
        batch: usize = 100, "Most deliveries in one claim.";
    }
    delivery: Delivery {
        route: RouteText = "mx".parse().unwrap_or_else(|_| unreachable!()), "`mx`, `sandbox`, or smarthosts `smtp://user:pass@host:port?tls=none|opportunistic|required` (also `smtps://`) with commas between.";
        mx_port: u16 = 25, "Port of MX hosts.";
        hello: String = String::new(), "Name for EHLO. Empty: the machine's host name.";
        shaping_file: PathBuf = PathBuf::new(), "TOML file with routes, limits of next hops, source addresses and their pools; read anew when it changes.";
        rules_file: PathBuf = PathBuf::new(), "TOML file with rules that say what replies mean, before the built-in ones; read anew when it changes.";
        retry: Delays = delays(&[]), "Waits between tries, with commas between, for every class of trouble; the last one repeats until `lifetime`. Empty: the schedules of the rule pack, each class its own.";
        uncertain_delay: Span = secs(60), "Least wait after a try whose reply to the final dot was lost.";
        uncertain_tries: usize = 5, "Tries of one delivery whose reply to the final dot was lost; after the last one it is `bounced` with the class `uncertain`, since each may have made a copy.";
        lifetime: Span = Span(Duration::from_hours(72)), "After this a message without `expires_at` expires.";
        concurrency: usize = 4096, "Most deliveries in hand at once; most of them wait for a session. One next hop has at most a third of them, one project half.";
        connections: usize = 4096, "Most SMTP connections at once, to all next hops, those that are kept idle among them.";
        sessions: usize = 20, "Most SMTP sessions to one next hop.";
        messages_per_session: usize = 100, "Messages on one SMTP session before it is closed.";
        session_idle: Span = secs(10), "How long an idle SMTP session is kept.";
        bytes_in_flight: ByteSize = mib(128), "Bytes of messages held by SMTP sessions at once.";
        pause: Span = secs(1), "First pause of a next hop that does not answer or refuses everything; each failed probe lengthens it by half.";
        pause_max: Span = secs(600), "Longest pause of a next hop.";
        mta_sts: bool = true, "Heed the MTA-STS policies of recipients' domains (RFC 8461).";
        mta_sts_port: u16 = 443, "Port of the web servers that hold MTA-STS policies.";
        ca_file: PathBuf = PathBuf::new(), "Further certificate authorities (PEM) that smarthosts' certificates may chain to.";
        require_verified_domain: bool = true, "Whether projects that are made from now on send live mail from verified domains only; `PATCH /v1/projects/{id}` changes it for one.";
        timeout_connect: Span = secs(30), "Deadline of the TCP connection (and of an implicit TLS handshake).";
        timeout_failover: Span = secs(15), "While other addresses of the next hop remain: longest time for connecting, and again for the greeting.";
        timeout_greeting: Span = secs(300), "Deadline of the whole 220 greeting.";
        timeout_ehlo: Span = secs(300), "Deadline of the whole reply to EHLO.";
        timeout_starttls: Span = secs(60), "Deadline of STARTTLS, reply and handshake each.";
        timeout_auth: Span = secs(60), "Deadline of each AUTH reply.";
        timeout_mail: Span = secs(300), "Deadline of the reply to MAIL.";
        timeout_rcpt: Span = secs(300), "Deadline of the reply to RCPT.";
        timeout_data: Span = secs(120), "Deadline of the reply to DATA.";
        timeout_body: Span = secs(180), "Deadline of each 64 KiB block of the body.";
        timeout_dot: Span = secs(600), "Deadline of the reply to the final dot; a shorter one makes copies.";
        timeout_quit: Span = secs(2), "Deadline of the goodbye.";
    }
    dns: Dns {
        servers: List<SocketAddr> = List(Vec::new()), "Name servers, `ip:port` with commas between. Empty: the system's.";
        timeout: Span = secs(5), "Deadline of one query.";
        trust_ad: bool = false, "Believe the servers' word that an answer was validated by DNSSEC (the AD bit), and so use DANE. Only for a validating resolver on this machine.";
    }
    webhooks: Webhooks {
        retry: Delays = delays(&[5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]), "Waits between tries of one webhook, spread by ±10 %; after the last one it is given up.";
        timeout: Span = secs(15), "Deadline of one webhook call.";
        concurrency: usize = 256, "Most webhook calls at once. One project has at most half of them, and less as others come.";
        per_endpoint: usize = 8, "Most calls at once to an endpoint that has shown nothing; one that answers gets more, one that fails half as many.";
        stalled_after: Span = Span(Duration::from_mins(10)), "An endpoint whose calls only fail for this long is stalled: an event, a metric and a log line say so.";
        disable_after: Span = Span(Duration::from_hours(120)), "An endpoint that only fails for this long is disabled.";
    }
    sandbox: SandboxSettings {
        spamassassin: String = String::new(), "Host and port of `SpamAssassin`'s spamd, such as `127.0.0.1:783`, by which the inbox checks a message when it is asked to.";
        rspamd: String = String::new(), "URL of a worker of rspamd, such as `http://127.0.0.1:11333`, for the same.";
    }
    retention: Retention {
        messages: Span = days(30), "How long settled messages, their recipients, events and attempts are kept. Whole days are dropped at once, and none that holds anything unsettled.";
        audit: Span = days(400), "How long it is kept who changed what.";
        uploads: Span = days(30), "How long an upload is kept that no message names.";
        bodies: Span = days(30), "How long the bytes of settled messages and the sandbox inbox are kept; at most `retention.messages`.";
    }
    dkim: Dkim {
        cache: Span = secs(30), "How long the DKIM keys of a domain that were looked up are believed; a new key signs after that time at most, and a retired one no longer.";
    }
    domains: Domains {
        resolvers: List<SocketAddr> = List(vec![SocketAddr::from(([1, 1, 1, 1], 53)), SocketAddr::from(([8, 8, 8, 8], 53))]), "Public resolvers that sending domains are looked at from, beside the zone's own servers and `dns.servers`: `ip:port` with commas between.";
        dns_port: u16 = 53, "Port of a zone's own name servers.";
        dkim_zone: String = String::new(), "Zone of this installation in which the keys of delegated domains are published, such as `dkim.mail.example.net`; its records: `mailwright domains zone`. Empty: none can be delegated.";
        reports_to: String = String::new(), "Address that DMARC records ask receivers to send aggregate reports to. Empty: `dmarc@` and `inbound.host`, if there is one.";
        link_hosts: bool = false, "Links in a domain's mail lead to a host of its own, `links.` before its name, once its record is seen. For a proxy that has, or gets, a certificate for each.";
        publish: Vec<DnsAccount> = Vec::new(), "Accounts with DNS providers (TOML file only) by which missing records of the operator's own domains are published: tables with `project`, `zones`, `provider` (alidns, cloudflare, digitalocean, dnspod, rfc2136, route53), `key`, `secret`, `zone_id`, `server`. For a binary that is built with `--features dns-publishing`.";
        second_signature: String = String::new(), "Domain of the operator's own, proved by one of the projects, whose RSA key signs all live mail besides the sender's: so that it alone is enrolled at feedback loops. Empty: none.";
    }
    inbound: Inbound {
        host: String = String::new(), "Public name of the host that takes what comes back, an MX record of which leads here; sending domains name it as their return path. Empty: notices of non-delivery go to the sender.";
        listen: List<SocketAddr> = List(Vec::new()), "Addresses on which reports are taken by SMTP in the role `inbound`, such as `0.0.0.0:25`, with commas between. Empty: none.";
        maildir: PathBuf = PathBuf::new(), "Maildir that reports are read from, for those whose mail server puts them there. Empty: none.";
        return_path: ReturnPathStyle = ReturnPathStyle::Recipient, "Whom an envelope sender names: `recipient`, each its own; or `message`, all of a message the same, which greylists remember.";
        tls_cert: PathBuf = PathBuf::new(), "PEM file with the certificate for STARTTLS and those that issued it; read anew when it changes. Empty: no STARTTLS.";
        tls_key: PathBuf = PathBuf::new(), "PEM file with its private key.";
        message: ByteSize = mib(10), "Largest report.";
        memory: ByteSize = mib(128), "Bytes of reports held at once; beyond it a sender is told to try again.";
        connections: usize = 500, "Most sessions at once; further ones are told to try again.";
        connections_per_address: usize = 10, "Most sessions of one address (of a /64 of IPv6) at once.";
        timeout: Span = secs(60), "Longest wait for a command; a message has five times as long to come, and a session lasts ten times as long at most.";
    }
    submission: Submission {
        listen: List<SubmissionListen> = List(Vec::new()), "Where programs submit mail by SMTP, in the role `submission`, with commas between: `0.0.0.0:587` (STARTTLS), `tls://0.0.0.0:465` (TLS from the first octet on), `plain://127.0.0.1:2525` (this machine alone). Empty: nowhere.";
        host: String = String::new(), "Name in the greeting, which the certificate should be for. Empty: that of `delivery.hello`.";
        tls_cert: PathBuf = PathBuf::new(), "PEM file with the certificate and those that issued it; read anew when it changes. Needed unless all of `submission.listen` is `plain://`.";
        tls_key: PathBuf = PathBuf::new(), "PEM file with its private key.";
        proxies: List<IpNet> = List(Vec::new()), "Proxies before it, as CIDR with commas between, that say by the PROXY protocol (version 1 or 2) who calls; each of their connections must.";
        line_ends: LineEnds = LineEnds::Refuse, "What becomes of messages with lines that end in LF or CR alone: `refuse`; or `mend`, CRLF is put in their place.";
        memory: ByteSize = mib(128), "Bytes of messages that are coming in, of all sessions; beyond it a program is told to try again.";
        connections: usize = 4096, "Most sessions at once. One address (a /64 of IPv6) has at most as many as it leaves free: half of them alone, and less as others come.";
        timeout: Span = secs(300), "Longest wait for a command; a message has twice as long to come. Who does not say who it is has a minute at most.";
        slow_down: Span = secs(1), "Wait before an address hears that a key is wrong; each further time within ten minutes it doubles, up to sixteen times.";
    }
    reputation: Reputation {
        domain_lists: List<String> = List(vec!["dbl.spamhaus.org".to_owned()]), "Lists that are asked every few hours about sending domains (RFC 5782), with commas between. Empty: none.";
        address_lists: List<String> = List(["zen.spamhaus.org", "bl.spamcop.net", "b.barracudacentral.org"].map(str::to_owned).to_vec()), "And about the addresses that mail leaves from.";
    }
    tls_reports: TlsReports {
        from: String = String::new(), "Address in a verified domain of one of the projects from which domains that ask for it are told daily of the TLS sessions to them (RFC 8460). Empty: none are.";
        organization: String = String::new(), "Who reports, in words. Empty: the domain of `tls_reports.from`.";
    }
    templates: Templates {
        cache: Span = secs(5), "How long a template that was looked up is believed by sends; a version that is published serves after that time at most.";
    }
    net: Net {
        allow_private: List<IpNet> = List(Vec::new()), "Networks that are not public, or this machine's own, and that MX hosts and webhooks may lie in nevertheless, as CIDR with commas between.";
        allow_private_mail: List<IpNet> = List(Vec::new()), "The same for MX hosts and name servers alone.";
        allow_private_web: List<IpNet> = List(Vec::new()), "The same for webhooks alone, and what else goes by HTTP to hosts that others name.";
        deny: List<IpNet> = List(Vec::new()), "Networks that nothing goes to on others' word: public addresses of your own, such as those before a NAT. Those at which clouds serve a machine's secrets are always denied, unless that very address is allowed.";
        web_ports: List<u16> = List(vec![80, 443]), "Ports that webhooks may go to, outside of networks that are allowed above.";
    }
    log: Log {
        level: LogLevel = LogLevel("info,sqlx=warn".to_owned()), "Log filter: a level, or `target=level` pairs with commas between.";
        format: LogFormat = LogFormat::Text, "`text` or `json`.";
    }
    shutdown: Shutdown {
        drain: Span = secs(30), "After SIGTERM: longest wait for work in hand.";
    }
}

/// What stands before the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooler {
    None,
    /// One that keeps account of prepared statements.
    Transaction,
    /// One that does not.
    TransactionUnprepared,
}

/// What becomes of messages whose lines do not end in CRLF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LineEnds {
    Refuse,
    Mend,
}

/// Whom an envelope sender names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReturnPathStyle {
    Recipient,
    Message,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// A key that signs tokens; the algorithm is fixed here and never by the token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtKey {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kid: String,
    pub algorithm: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub secret: String,
    /// File that has the secret, and nothing else.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub secret_file: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub public_key_file: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub jwks_file: String,
    pub issuer: String,
    pub audience: String,
    /// Projects by name that its tokens may be for; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<String>,
    /// Scopes that its tokens may have; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
}

impl std::fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} iss={} aud={}", self.kid, self.algorithm, self.issuer, self.audience)
    }
}
