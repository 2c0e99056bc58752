//! `mailwright dev`: everything with no configuration, for looking and for developing against.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::observe;
use super::serve::{serve as serve_until_stopped, start};
use super::suite::{self, Told};
use crate::accounts::{NewKeyRequest, create_key, default_scopes};
use crate::ambient::{SystemClock, SystemRng};
use crate::app::{Plan, Role, Service};
use crate::auth;
use crate::cluster::{Cluster, Ephemeral, reachable};
use crate::config::{Config, Layers, Listen, Security, SubmissionListen};
use crate::domain::access::Mode;
use crate::domain::clock::Clock;
use crate::net::server_tls::ensure_self_signed;
use crate::sealing;
use crate::store::Store;
use crate::telemetry::metrics::Metrics;
use crate::terminal::{CommandError, Signals, out};

/// Ports tried behind the first when nobody asked for one.
const PORTS: u16 = 20;
const PROJECT: &str = "dev";

#[derive(Debug, Args)]
pub struct DevArgs {
    /// Where the private cluster and the keys lie. Default: .mailwright in this directory.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address to listen on. Default: the first free port from 127.0.0.1:8080; with --ephemeral any free port.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// For test suites: a private store that is gone afterwards, and new keys. Nothing is written into this directory.
    #[arg(long, conflicts_with = "data_dir")]
    ephemeral: bool,
    /// Written once everything is ready, and removed at the end: `MAILWRIGHT_URL`, `MAILWRIGHT_SMTP` (host and port), `MAILWRIGHT_KEY`
    /// (the test key) and `MAILWRIGHT_LIVE_KEY`, a line each.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Run this with the same variables in its environment, and end when it does, with its exit code.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Where the private cluster lies.
enum Place {
    Kept(Cluster, PathBuf),
    Ephemeral(Ephemeral),
}

/// The two keys of the project, kept beside the data.
struct DevKeys {
    live: String,
    test: String,
}

pub async fn run(args: DevArgs, mut layers: Layers) -> Result<ExitCode, CommandError> {
    let signals = Signals::new()?;
    lay_defaults(&mut layers, args.ephemeral);
    let mut config = layers.finish().map_err(CommandError::new)?;
    config.http.listen = Listen(match args.listen {
        Some(address) => {
            let free = TcpListener::bind(address).await;
            free.map_err(|error| CommandError(format!("--listen {address}: {error}")))?;
            address
        }
        None => free_address(config.http.listen.0).await?,
    });
    if let Some(file) = &args.ready_file {
        suite::clear(file)?;
    }
    let metrics = observe(&config)?;
    let place = if args.ephemeral {
        Place::Ephemeral(Box::pin(Ephemeral::start(suite::cache_directory().as_deref())).await?)
    } else {
        Place::start(args.data_dir.as_deref(), &config).await?
    };
    config.database.url = place.url();
    if config.submission.listen.0.is_empty() {
        listen_for_mail(&mut config, &place, args.ephemeral).await?;
    }
    ensure_sealing_key(&mut config, &place)?;
    let ended = Box::pin(serve(&place, &args, config, (metrics, signals))).await;
    let cleared = args.ready_file.as_deref().map_or(Ok(()), suite::clear);
    place.end().await?;
    cleared?;
    ended
}

async fn serve(
    place: &Place,
    args: &DevArgs,
    config: Config,
    (metrics, signals): (Arc<Metrics>, Signals),
) -> Result<ExitCode, CommandError> {
    let store = super::store_with(&config, Arc::clone(&metrics))?;
    if let Place::Kept(..) = place {
        store.migrate().await.map_err(CommandError::new)?;
    }
    // Nobody else is here.
    store.seal_secrets().await.map_err(CommandError::new)?;
    let keys = place.keys(&store).await?;
    store.close().await;
    let sandboxed = config.is_sandboxed();
    let plan = Plan { roles: Role::ALL.to_vec(), paused: false };
    let service = start(config, &plan, metrics).await?;
    let told = Told {
        url: format!("http://{}", service.address),
        // The first is the plain one, unless somebody said otherwise.
        smtp: service.submission.first().map(ToString::to_string).unwrap_or_default(),
        test: keys.test.clone(),
        live: keys.live.clone(),
    };
    if let Some(file) = &args.ready_file {
        told.write(file)?;
    }
    if args.command.is_empty() {
        if let Err(error) = out::line(&welcome(&service, &keys, place, sandboxed)) {
            tracing::warn!(%error, "standard output cannot be written");
        }
        return Ok(match place {
            Place::Kept(..) => serve_until_stopped(service, signals).await,
            Place::Ephemeral(_) => suite::serve(service, signals).await,
        });
    }
    Ok(suite::run(&args.command, &told, service, signals).await)
}

impl Place {
    async fn start(wanted: Option<&Path>, config: &Config) -> Result<Self, CommandError> {
        let configured = &config.data.dir;
        let default = if configured.as_os_str().is_empty() { Path::new(".mailwright") } else { configured };
        let directory = reachable(wanted.unwrap_or(default))?;
        Ok(Self::Kept(Cluster::start(&directory).await?, directory))
    }

    fn url(&self) -> String {
        match self {
            Self::Kept(cluster, _) => cluster.url(),
            Self::Ephemeral(cluster) => cluster.url(),
        }
    }

    async fn end(self) -> Result<(), CommandError> {
        match self {
            Self::Kept(cluster, _) => cluster.stop().await,
            Self::Ephemeral(cluster) => cluster.end().await,
        }
    }

    async fn keys(&self, store: &Store) -> Result<DevKeys, CommandError> {
        match self {
            Self::Kept(_, directory) => ensure_keys(store, &directory.join("keys.json")).await,
            Self::Ephemeral(_) => new_keys(store).await,
        }
    }
}

/// What differs from production, where nobody said otherwise.
fn lay_defaults(layers: &mut Layers, ephemeral: bool) {
    if ephemeral {
        layers.default_text("the defaults of dev --ephemeral", "http.listen", "127.0.0.1:0");
    }
    for (name, value) in [
        ("delivery.route", "sandbox"),
        ("compat.dialects", "alicloud,aoksend,mailgun,postmark,resend,sendcloud,sendgrid,ses"),
        ("net.allow_private", "127.0.0.0/8,::1/128"),
        ("log.level", "warn"),
    ] {
        layers.default_text("the defaults of dev", name, value);
    }
}

/// A key that seals secrets, if nobody said another: one that stays where it may be kept.
fn ensure_sealing_key(config: &mut Config, place: &Place) -> Result<(), CommandError> {
    if !config.secrets.sealing_key.is_empty() || !config.secrets.sealing_key_file.as_os_str().is_empty() {
        return Ok(());
    }
    let Place::Kept(_, directory) = place else {
        config.secrets.sealing_key = sealing::new_key(&SystemRng);
        return Ok(());
    };
    let path = directory.join("sealing-key");
    if !path.exists() {
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(CommandError::new)?;
        file.write_all(sealing::new_key(&SystemRng).as_bytes()).map_err(CommandError::new)?;
    }
    config.secrets.sealing_key_file = path;
    Ok(())
}

/// Where `dev` takes mail by SMTP if nobody said otherwise: in the clear, and with a certificate of its own where it may keep one.
async fn listen_for_mail(config: &mut Config, place: &Place, ephemeral: bool) -> Result<(), CommandError> {
    let mut wanted = vec![(Security::Plain, 2525)];
    if let Place::Kept(_, directory) = place {
        let (cert, key) = (directory.join("submission.pem"), directory.join("submission-key.pem"));
        ensure_self_signed(&cert, &key).map_err(CommandError)?;
        (config.submission.tls_cert, config.submission.tls_key) = (cert, key);
        wanted.extend([(Security::StartTls, 2587), (Security::Tls, 2465)]);
    }
    for (security, port) in wanted {
        let ip = IpAddr::from([127, 0, 0, 1]);
        let address = if ephemeral { SocketAddr::new(ip, 0) } else { free_address(SocketAddr::new(ip, port)).await? };
        config.submission.listen.0.push(SubmissionListen { security, address });
    }
    Ok(())
}

/// The first address from `wanted` on whose port is free.
async fn free_address(wanted: SocketAddr) -> Result<SocketAddr, CommandError> {
    let mut last = None;
    for step in 0..PORTS {
        let address = SocketAddr::new(wanted.ip(), wanted.port().saturating_add(step));
        match TcpListener::bind(address).await {
            Ok(_) => return Ok(address),
            Err(error) => {
                out::note(&format!("{address} is taken; trying the next port"));
                last = Some(error);
            }
        }
    }
    let why = last.map_or_else(String::new, |error| error.to_string());
    Err(CommandError(format!("no free port from {wanted} on: {why}")))
}

/// The keys of an earlier start if they are still valid, else new ones.
async fn ensure_keys(store: &Store, path: &Path) -> Result<DevKeys, CommandError> {
    if let Some(keys) = read_keys(path)
        && store.find_key(&auth::hash(&keys.live)).await.map_err(CommandError::new)?.is_some()
        && store.find_key(&auth::hash(&keys.test)).await.map_err(CommandError::new)?.is_some()
    {
        return Ok(keys);
    }
    let keys = new_keys(store).await?;
    let text = json!({"project": PROJECT, "live": keys.live, "test": keys.test}).to_string();
    fs::write(path, text).map_err(CommandError::new)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(CommandError::new)?;
    Ok(keys)
}

async fn new_keys(store: &Store) -> Result<DevKeys, CommandError> {
    Ok(DevKeys { live: create(store, Mode::Live).await?, test: create(store, Mode::Test).await? })
}

async fn create(store: &Store, mode: Mode) -> Result<String, CommandError> {
    let request = NewKeyRequest {
        project: PROJECT,
        requires_verified_domain: false,
        mode,
        scopes: &default_scopes(),
        lifetime: None,
        is_operator: false,
        signs: false,
    };
    let (_, key) = create_key(store, request, SystemClock.now(), &SystemRng).await.map_err(CommandError::new)?;
    Ok(key)
}

fn read_keys(path: &Path) -> Option<DevKeys> {
    let keys: Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    Some(DevKeys { live: keys["live"].as_str()?.to_owned(), test: keys["test"].as_str()?.to_owned() })
}

fn welcome(service: &Service, keys: &DevKeys, place: &Place, sandboxed: bool) -> String {
    let url = format!("http://{}", service.address);
    let DevKeys { live, test } = keys;
    let data = match place {
        Place::Kept(_, directory) => format!("{}   (the next start finds it again)", directory.display()),
        Place::Ephemeral(_) => "gone when this ends".to_owned(),
    };
    let fate = if sandboxed {
        "All mail ends in the built-in inbox; nothing reaches the network."
    } else {
        "Mail of the live key is DELIVERED by the configured route; mail of the test key ends in the inbox."
    };
    let smtp: Vec<_> =
        service.submission.iter().zip(["", " (STARTTLS)", " (TLS)"]).map(|(at, how)| format!("{at}{how}")).collect();
    let smtp = smtp.join(", ");
    format!(
        r#"
Mailwright is ready. {fate}

  API       {url}         docs: {url}/docs
  SMTP      {smtp}   (any user; a key is the password)
  Inbox     {url}/console/inbox#key={test}
  Test key  {test}
  Live key  {live}
  Data      {data}
  Postgres  {database}

For the README's tour, in another terminal:

  export URL={url} KEY={test}

Send a message:

  curl -sS {url}/v1/send -H 'Authorization: Bearer {test}' -H 'Content-Type: application/json' -d '{{"from":"Ada <ada@example.com>","to":"you@example.com","subject":"Hello","text":"It works."}}'

See what became of it:

  curl -sS {url}/v1/messages -H 'Authorization: Bearer {test}'

Ctrl-C stops everything."#,
        database = service.database_url(),
    )
}
