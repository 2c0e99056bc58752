//! The template of ephemeral clusters: an initialised and migrated cluster in the user's cache, one for each version of Postgres and
//! of the schema. It is put there, and taken away, by renaming, so that nobody sees half of one; what cannot be used is made anew.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::AsyncWriteExt;

use super::{Cluster, User};
use crate::ambient::{SystemClock, SystemRng, store_clock};
use crate::config::{Database, Span};
use crate::domain::clock::{Clock, Rng};
use crate::store::{Store, schema};
use crate::telemetry::metrics::Metrics;
use crate::terminal::{CommandError, out};

/// Not waited for by the disk, and small: a file of the log has 1 MiB.
const INITDB: [&str; 2] = ["--no-sync", "--wal-segsize=1"];
/// Changed when templates are made otherwise.
const FORM: u32 = 1;
const PREFIX: &str = "template-";
/// What lies beside the cluster: how many files and bytes it has.
const MANIFEST: &str = "manifest";
const UNUSED_DATABASES: &str = "\
ALTER DATABASE template0 IS_TEMPLATE false
ALTER DATABASE template1 IS_TEMPLATE false
DROP DATABASE template0
DROP DATABASE template1
";
/// A template that nobody has used for this long is removed when another is made.
const UNUSED: Duration = Duration::from_hours(30 * 24);

/// Starts a cluster that has the schema of this binary: from a copy of the template, or else from nothing, which leaves a
/// template behind.
pub(super) async fn start(cluster: &mut Cluster, cache: Option<&Path>) -> Result<(), CommandError> {
    let template = match cache {
        Some(cache) => Some(Template::of(cache, &cluster.programs).await?),
        None => None,
    };
    if let Some(template) = template.as_ref().filter(|template| template.place.exists()) {
        match template.try_start(cluster).await {
            Ok(()) => return Ok(()),
            Err(why) => {
                out::note(&format!("{} cannot be used and is made anew: {why}", template.place.display()));
                template.discard();
                forget(cluster).await?;
            }
        }
    }
    cluster.make(&INITDB).await?;
    lighten(cluster).await?;
    launch(cluster).await?;
    let Some(template) = template else { return Ok(()) };
    cluster.end("fast").await?;
    if let Err(error) = template.keep(&cluster.directory) {
        let place = template.place.display();
        out::note(&format!("{place}: {error}; without a template every start takes as long as this one"));
    }
    launch(cluster).await
}

/// A name that nobody else has.
pub(super) fn random_name() -> String {
    let mut bytes = [0; 8];
    SystemRng.fill(&mut bytes);
    format!("{:016x}", u64::from_le_bytes(bytes))
}

async fn launch(cluster: &mut Cluster) -> Result<(), CommandError> {
    cluster.launch()?;
    cluster.wait_until_it_answers().await?;
    let database = Database { url: cluster.url(), timeout: Span(Duration::from_secs(30)), ..Database::default() };
    let metrics = Arc::new(Metrics::new().map_err(CommandError::new)?);
    let store = Store::new(&database, metrics, store_clock()).map_err(CommandError::new)?;
    let migrated = store.migrate().await.map_err(CommandError::new);
    store.close().await;
    migrated
}

/// Drops the databases that nobody connects to: each is three hundred files to copy.
async fn lighten(cluster: &Cluster) -> Result<(), CommandError> {
    let mut server = cluster.command("postgres");
    server.arg("--single").arg("-D").arg(&cluster.directory).arg("postgres");
    server.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = server.spawn().map_err(CommandError::new)?;
    if let Some(mut stdin) = server.stdin.take() {
        stdin.write_all(UNUSED_DATABASES.as_bytes()).await.map_err(CommandError::new)?;
    }
    let ended = server.wait().await.map_err(CommandError::new)?;
    if ended.success() { Ok(()) } else { Err(CommandError(format!("postgres --single: {ended}"))) }
}

/// Ends a cluster's server, if it has not ended by itself, and takes the cluster away.
pub(super) async fn forget(cluster: &mut Cluster) -> Result<(), CommandError> {
    if let Some(mut server) = cluster.server.take()
        && server.try_wait().map_err(CommandError::new)?.is_none()
    {
        cluster.server = Some(server);
        cluster.end("immediate").await?;
        cluster.server = None;
    }
    match fs::remove_dir_all(&cluster.directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CommandError::new(error)),
        _ => Ok(()),
    }
}

struct Template {
    cache: PathBuf,
    place: PathBuf,
}

impl Template {
    async fn of(cache: &Path, programs: &Path) -> Result<Self, CommandError> {
        let mut version = tokio::process::Command::new(programs.join("postgres"));
        let output = version.arg("--version").current_dir("/").stdin(Stdio::null()).output().await;
        let output = output.map_err(|error| CommandError(format!("postgres --version: {error}")))?;
        // postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let postgres = text.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
        let postgres = postgres.ok_or_else(|| CommandError(format!("postgres --version says {text:?}")))?;
        let schema = schema::application_name().replace(' ', "-");
        let place = cache.join(format!("{PREFIX}{FORM}-postgres-{postgres}-{schema}"));
        Ok(Self { cache: cache.to_owned(), place })
    }

    async fn try_start(&self, cluster: &mut Cluster) -> Result<(), CommandError> {
        let manifest = fs::read_to_string(self.place.join(MANIFEST)).map_err(CommandError::new)?;
        let copied = copy(&self.place.join("cluster"), &cluster.directory, cluster.user).map_err(CommandError::new)?;
        if copied.to_string() != manifest {
            return Err(CommandError(format!("it has {copied}, not {manifest}")));
        }
        // For `prune`; a cache that others filled may be read only.
        let _ = File::open(&self.place).and_then(|place| place.set_modified(SystemClock.now().into()));
        launch(cluster).await
    }

    /// Keeps a copy of a cluster that was shut down.
    fn keep(&self, cluster: &Path) -> io::Result<()> {
        fs::create_dir_all(&self.cache)?;
        self.prune();
        let unfinished = self.beside("unfinished");
        let kept = self.put(cluster, &unfinished);
        if kept.is_err() {
            let _ = fs::remove_dir_all(&unfinished);
        }
        // Another start may have been first.
        if self.place.exists() { Ok(()) } else { kept }
    }

    fn put(&self, cluster: &Path, unfinished: &Path) -> io::Result<()> {
        fs::create_dir(unfinished)?;
        let sum = copy(cluster, &unfinished.join("cluster"), None)?;
        fs::write(unfinished.join(MANIFEST), sum.to_string())?;
        sync(unfinished)?;
        fs::rename(unfinished, &self.place)
    }

    fn discard(&self) {
        let discarded = self.beside("discarded");
        // Another start may have been first.
        if fs::rename(&self.place, &discarded).is_ok() {
            let _ = fs::remove_dir_all(discarded);
        }
    }

    fn beside(&self, state: &str) -> PathBuf {
        let mut name = self.place.clone().into_os_string();
        name.push(format!(".{state}-{}", random_name()));
        name.into()
    }

    /// Removes what has not been used for long: the templates of other versions, and what starts left that were broken off.
    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.cache) else { return };
        let now = SystemTime::from(SystemClock.now());
        for entry in entries.filter_map(Result::ok) {
            let used = entry.metadata().and_then(|meta| meta.modified());
            let is_unused = used.is_ok_and(|used| now.duration_since(used).is_ok_and(|age| age > UNUSED));
            if is_unused && entry.file_name().to_string_lossy().starts_with(PREFIX) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// What was copied.
#[derive(Debug, Default)]
struct Sum {
    files: u64,
    bytes: u64,
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} files of {} bytes", self.files, self.bytes)
    }
}

/// Copies a cluster to a place that does not exist, and gives it to `user`. Where the file system shares blocks between files,
/// it does: the copy is made by `copy_file_range`.
fn copy(from: &Path, to: &Path, user: Option<User>) -> io::Result<Sum> {
    let mut sum = Sum::default();
    copy_directory(from, to, user, &mut sum)?;
    Ok(sum)
}

fn copy_directory(from: &Path, to: &Path, user: Option<User>, sum: &mut Sum) -> io::Result<()> {
    fs::create_dir(to)?;
    fs::set_permissions(to, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_directory(&source, &target, user, sum)?;
        } else if entry.file_name() != "server.log" {
            sum.bytes += fs::copy(&source, &target)?;
            sum.files += 1;
            if let Some(user) = user {
                chown(&target, Some(user.uid), Some(user.gid))?;
            }
        }
    }
    if let Some(user) = user {
        chown(to, Some(user.uid), Some(user.gid))?;
    }
    Ok(())
}

/// Waits until everything below is on the disk.
fn sync(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(directory)?.sync_all()
}
