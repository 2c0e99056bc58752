//! A private Postgres cluster, made of the machine's own server programs: unix socket only, started and
//! stopped with its user. For `mailwright dev` and the tests; production brings its own Postgres.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::ambient::store_clock;
use crate::config::{Database, Span};
use crate::store::Store;
use crate::telemetry::metrics::Metrics;
use crate::terminal::CommandError;

mod ephemeral;
mod template;

pub use ephemeral::Ephemeral;

/// The file that marks a data directory as ours, and is locked while it is used.
const LOCK: &str = "lock";
/// Longest wait for a cluster to be made, or to answer.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often it is asked whether it answers.
const POLL: Duration = Duration::from_millis(50);
/// A unix socket's path has 107 bytes; ours ends in `/.s.PGSQL.5432`.
const SOCKET_DIR_MAX: usize = 90;

const ADVICE: &str = "the Postgres server programs were not found. Install them:\n  \
     Debian, Ubuntu:  apt-get install postgresql\n  macOS:           brew install postgresql\n\
     or run `mailwright serve` with DATABASE_URL set to a Postgres of yours";

/// A running cluster. [`Cluster::stop`] ends it.
pub struct Cluster {
    programs: PathBuf,
    directory: PathBuf,
    socket: PathBuf,
    user: Option<User>,
    settings: Vec<(&'static str, &'static str)>,
    /// None when a cluster that was left running was taken over.
    server: Option<Child>,
    _lock: File,
}

/// Whom the server runs as when we are root, which it refuses.
#[derive(Debug, Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

impl Cluster {
    /// Starts the cluster in `directory`, making it first if need be. A cluster that a killed process left
    /// running is taken over.
    pub async fn start(directory: &Path) -> Result<Self, CommandError> {
        Self::start_with(directory, &[]).await
    }

    /// As [`Cluster::start`], with settings for the server (`postgresql.conf`).
    pub async fn start_with(directory: &Path, settings: &[(&'static str, &'static str)]) -> Result<Self, CommandError> {
        let programs = find_programs().ok_or_else(|| CommandError(ADVICE.to_owned()))?;
        let user = unprivileged_user()?;
        make_directory(directory, user)?;
        let lock = lock(directory)?;
        let socket = socket_directory(directory, user)?;
        let mut cluster = Self {
            programs,
            directory: directory.join("cluster"),
            socket,
            user,
            settings: settings.to_vec(),
            server: None,
            _lock: lock,
        };
        if !cluster.directory.join("PG_VERSION").exists() {
            cluster.make(&[]).await?;
        }
        if !cluster.answers().await {
            cluster.launch()?;
            cluster.wait_until_it_answers().await?;
        }
        Ok(cluster)
    }

    /// Where clients find it.
    pub fn url(&self) -> String {
        let socket: String = self.socket.to_string_lossy().bytes().map(escape).collect();
        format!("postgres://mailwright@localhost/postgres?host={socket}")
    }

    /// The server's process; `None` when it was taken over.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().and_then(Child::id)
    }

    /// Ends the server without a checkpoint, as a crash would, and starts it again.
    pub async fn crash_and_restart(&mut self) -> Result<(), CommandError> {
        self.end("immediate").await?;
        self.launch()?;
        self.wait_until_it_answers().await
    }

    /// Stops the server; sessions are ended, what they committed stays.
    pub async fn stop(mut self) -> Result<(), CommandError> {
        self.end("fast").await
    }

    async fn end(&mut self, mode: &str) -> Result<(), CommandError> {
        let mut stop = self.command("pg_ctl");
        stop.arg("-D").arg(&self.directory).args(["-m", mode, "-w", "stop"]);
        run(stop).await?;
        if let Some(server) = &mut self.server {
            server.wait().await.map_err(CommandError::new)?;
        }
        Ok(())
    }

    /// Makes the cluster beside its place and moves it there, so that a run that was broken off leaves nothing
    /// that looks like a cluster, and nothing of anybody else is touched.
    async fn make(&self, options: &[&str]) -> Result<(), CommandError> {
        if self.directory.exists() {
            return Err(CommandError(format!(
                "{} exists and is no cluster of ours; remove it",
                self.directory.display()
            )));
        }
        let unfinished = self.directory.with_extension("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(CommandError::new)?;
        }
        let mut initdb = self.command("initdb");
        initdb.arg("-D").arg(&unfinished);
        initdb.args(["-U", "mailwright", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]);
        initdb.args(options);
        run(initdb).await?;
        fs::rename(&unfinished, &self.directory).map_err(CommandError::new)
    }

    fn launch(&mut self) -> Result<(), CommandError> {
        let log = File::create(self.directory.join("server.log")).map_err(CommandError::new)?;
        let errors = log.try_clone().map_err(CommandError::new)?;
        let mut server = self.command("postgres");
        server.arg("-D").arg(&self.directory).arg("-k").arg(&self.socket);
        server.args(["-c", "listen_addresses=", "-c", "max_connections=200"]);
        server.args(self.settings.iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]));
        // In a group of its own: a Ctrl-C at the terminal is for us, and we stop it in order.
        server.process_group(0).stdin(Stdio::null()).stdout(log).stderr(errors);
        self.server = Some(server.spawn().map_err(CommandError::new)?);
        Ok(())
    }

    async fn wait_until_it_answers(&mut self) -> Result<(), CommandError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.answers().await {
                return Ok(());
            }
            let ended = self.server.as_mut().map(Child::try_wait).transpose().map_err(CommandError::new)?.flatten();
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.directory.join("server.log")).unwrap_or_default();
                let tail: Vec<_> = log.lines().rev().take(5).collect();
                let tail: Vec<_> = tail.into_iter().rev().collect();
                return Err(CommandError(format!("the private Postgres does not start:\n{}", tail.join("\n"))));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn answers(&self) -> bool {
        let database = Database { url: self.url(), timeout: Span(Duration::from_secs(5)), ..Database::default() };
        let Ok(metrics) = Metrics::new() else { return false };
        match Store::new(&database, Arc::new(metrics), store_clock()) {
            Ok(store) => store.ping_once().await.is_ok(),
            Err(_) => false,
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid);
        }
        // The server keeps its working directory: one that its user may not enter would fail.
        command.current_dir("/").env("LC_ALL", "C.UTF-8");
        command
    }
}

/// Runs a program to its end; its words become the error.
async fn run(mut command: Command) -> Result<(), CommandError> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let output = tokio::time::timeout(PATIENCE, command.stdin(Stdio::null()).output())
        .await
        .map_err(|_| CommandError(format!("{name} takes too long")))?
        .map_err(|error| CommandError(format!("{name}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(CommandError(format!("{name} failed:\n{}", String::from_utf8_lossy(&output.stderr).trim_end())))
}

/// The directory that holds `initdb`, `postgres` and `pg_ctl`: on PATH, or in one of the usual places,
/// newest version first.
#[expect(clippy::disallowed_methods, reason = "the command line is where the environment is read")]
fn find_programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut versions: Vec<PathBuf> = ["/usr/lib/postgresql", "/usr/local/opt", "/opt/homebrew/opt"]
        .into_iter()
        .filter_map(|base| fs::read_dir(base).ok())
        .flat_map(std::iter::Iterator::flatten)
        .map(|entry| entry.path().join("bin"))
        .collect();
    versions.sort_by_key(|path| {
        let digits: String = path.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
        std::cmp::Reverse(digits.parse::<u64>().unwrap_or(0))
    });
    let has_all = |dir: &PathBuf| ["initdb", "postgres", "pg_ctl"].iter().all(|name| dir.join(name).is_file());
    std::env::split_paths(&path)
        .chain(versions)
        .chain(["/usr/local/pgsql/bin", "/usr/pgsql/bin"].map(PathBuf::from))
        .find(has_all)
}

/// The user to run the server as: nobody in particular, unless we are root.
fn unprivileged_user() -> Result<Option<User>, CommandError> {
    if fs::metadata("/proc/self").map_err(CommandError::new)?.uid() != 0 {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd").map_err(CommandError::new)?;
    let find = |name: &str| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let is_it = fields.next() == Some(name);
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            is_it.then_some(User { uid, gid })
        })
    };
    find("postgres").or_else(|| find("nobody")).map(Some).ok_or_else(|| {
        CommandError(
            "Postgres refuses to run as root, and there is no user 'postgres' or 'nobody' to run it as".to_owned(),
        )
    })
}

/// Makes the data directory, or takes one that is empty or already ours.
fn make_directory(directory: &Path, user: Option<User>) -> Result<(), CommandError> {
    let named = |error: std::io::Error| CommandError(format!("{}: {error}", directory.display()));
    let is_ours = directory.join(LOCK).exists();
    if !is_ours && fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some()) {
        let why = "is not empty and is no data directory of Mailwright; give another --data-dir";
        return Err(CommandError(format!("{} {why}", directory.display())));
    }
    let missing: Vec<_> = directory.ancestors().skip(1).take_while(|parent| !parent.exists()).collect();
    fs::create_dir_all(directory).map_err(named)?;
    // Whatever the umask: the server's user must get through.
    for parent in missing {
        fs::set_permissions(parent, Permissions::from_mode(0o755)).map_err(named)?;
    }
    fs::set_permissions(directory, Permissions::from_mode(0o700)).map_err(named)?;
    if let Some(user) = user {
        std::os::unix::fs::chown(directory, Some(user.uid), Some(user.gid)).map_err(named)?;
    }
    Ok(())
}

fn lock(directory: &Path) -> Result<File, CommandError> {
    let path = directory.join(LOCK);
    let file = File::create(&path).map_err(|error| CommandError(format!("{}: {error}", path.display())))?;
    file.try_lock().map_err(|_| {
        CommandError(format!(
            "{} is in use by another mailwright; give this one its own --data-dir",
            directory.display()
        ))
    })?;
    Ok(file)
}

/// Where the socket lies: in the data directory, or under /tmp when that path is too long for a socket.
fn socket_directory(directory: &Path, user: Option<User>) -> Result<PathBuf, CommandError> {
    if directory.as_os_str().len() <= SOCKET_DIR_MAX {
        return Ok(directory.to_owned());
    }
    let short = std::env::temp_dir().join(format!("mailwright-{}", short_name(directory)));
    make_directory(&short, user)?;
    File::create(short.join(LOCK)).map_err(CommandError::new)?;
    Ok(short)
}

/// A short name that follows from a path (FNV-1a).
fn short_name(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

/// A directory for the data of `wanted` that the server's user can reach: `wanted` itself, or, for root
/// below a home that others may not enter, one under /var/lib.
pub fn reachable(wanted: &Path) -> Result<PathBuf, CommandError> {
    let wanted = std::path::absolute(wanted).map_err(CommandError::new)?;
    if unprivileged_user()?.is_none() {
        return Ok(wanted);
    }
    if wanted.ancestors().skip(1).any(is_closed) {
        return Ok(PathBuf::from("/var/lib/mailwright").join(short_name(&wanted)));
    }
    Ok(wanted)
}

/// Whether others than its owner may not enter a directory.
fn is_closed(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.mode() & 0o001 == 0)
}

/// One byte of a path in a URL's query.
fn escape(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}
