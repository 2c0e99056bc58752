//! A cluster for one run, which is gone when the run is over. It begins as a copy of a template that the user's cache
//! keeps, and its server writes nothing through to the disk.
//!
//! A guard, a shell that waits for the end of our process, ends the server and removes the directory when we were killed. What
//! is left when the guard was killed as well is removed by the next start: a directory whose lock nobody holds.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

use super::template::{self, random_name};
use super::{
    ADVICE, Cluster, LOCK, SOCKET_DIR_MAX, User, find_programs, is_closed, lock, make_directory, run, unprivileged_user,
};
use crate::terminal::CommandError;

/// What the names of the directories begin with.
const PREFIX: &str = "mailwright-ephemeral-";
/// What a directory's name ends with until its lock is held.
const UNLOCKED: &str = ".new";
/// Nothing outlives the run, a crash of the machine least of all; and nothing lies outside the directory.
const SETTINGS: [(&str, &str); 4] = [
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("dynamic_shared_memory_type", "mmap"),
];
/// Reads until we are gone, which closes its standard input.
const GUARD: &str = r#"read -r _; "$0" -D "$1/cluster" -m immediate -w stop; rm -rf "$1/cluster" && rm -rf "$1""#;

/// A running cluster that [`Ephemeral::end`] removes.
pub struct Ephemeral {
    cluster: Cluster,
    home: PathBuf,
    guard: Option<Child>,
}

impl Ephemeral {
    /// Starts one, with the schema of this binary. `cache` is where templates are kept.
    pub async fn start(cache: Option<&Path>) -> Result<Self, CommandError> {
        let programs = find_programs().ok_or_else(|| CommandError(ADVICE.to_owned()))?;
        let user = unprivileged_user()?;
        let base = base(user);
        remove_abandoned(&base, &programs, user).await;
        let (home, lock) = make_home(&base, user)?;
        let cluster = Cluster {
            programs,
            directory: home.join("cluster"),
            socket: home.clone(),
            user,
            settings: SETTINGS.to_vec(),
            server: None,
            _lock: lock,
        };
        let mut made = Self { cluster, home, guard: None };
        match made.begin(cache).await {
            Ok(()) => Ok(made),
            Err(error) => {
                made.end().await?;
                Err(error)
            }
        }
    }

    async fn begin(&mut self, cache: Option<&Path>) -> Result<(), CommandError> {
        self.guard = Some(self.spawn_guard()?);
        template::start(&mut self.cluster, cache).await
    }

    /// Where clients find it.
    pub fn url(&self) -> String {
        self.cluster.url()
    }

    /// Ends the server, and removes everything.
    pub async fn end(mut self) -> Result<(), CommandError> {
        // First, so that it does not set to work beside us. It may have ended.
        if let Some(mut guard) = self.guard.take() {
            let _ = guard.kill().await;
        }
        let ended = template::forget(&mut self.cluster).await;
        remove(&self.home).map_err(|error| CommandError(format!("{}: {error}", self.home.display())))?;
        ended
    }

    fn spawn_guard(&self) -> Result<Child, CommandError> {
        let mut guard = Command::new("sh");
        if let Some(user) = self.cluster.user {
            guard.uid(user.uid).gid(user.gid);
        }
        guard.args(["-c", GUARD]).arg(self.cluster.programs.join("pg_ctl")).arg(&self.home).current_dir("/");
        // In a group of its own: a Ctrl-C at the terminal is for us.
        guard.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        guard.spawn().map_err(|error| CommandError(format!("sh: {error}")))
    }
}

/// The directory for temporary files; /tmp where that has too long a path for a socket, or the server's user cannot enter it.
fn base(user: Option<User>) -> PathBuf {
    let wanted = std::env::temp_dir();
    let is_short = wanted.as_os_str().len() + PREFIX.len() + random_name().len() < SOCKET_DIR_MAX;
    let is_open = user.is_none() || !wanted.ancestors().any(is_closed);
    if wanted.is_absolute() && is_short && is_open { wanted } else { PathBuf::from("/tmp") }
}

/// A new directory, and its lock. It has its name only once the lock is held: until then nobody takes it for abandoned.
fn make_home(base: &Path, user: Option<User>) -> Result<(PathBuf, File), CommandError> {
    let name = format!("{PREFIX}{}", random_name());
    let (home, unlocked) = (base.join(&name), base.join(name + UNLOCKED));
    make_directory(&unlocked, user)?;
    let lock = lock(&unlocked)?;
    fs::rename(&unlocked, &home).map_err(CommandError::new)?;
    Ok((home, lock))
}

/// Removes what processes left that were killed together with their guards. Trouble with that is no reason not to start.
async fn remove_abandoned(base: &Path, programs: &Path, user: Option<User>) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for home in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        let name = home.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with(PREFIX) || name.ends_with(UNLOCKED) || !is_owned(&home, user) {
            continue;
        }
        // Without a lock it was abandoned by who removed it: it had none before it had its name.
        let lock = File::open(home.join(LOCK));
        if lock.as_ref().map_or_else(|error| error.kind() != io::ErrorKind::NotFound, |lock| lock.try_lock().is_err()) {
            continue;
        }
        let cluster = home.join("cluster");
        if has_server(&cluster) {
            let mut stop = Command::new(programs.join("pg_ctl"));
            if let Some(user) = user {
                stop.uid(user.uid).gid(user.gid);
            }
            stop.arg("-D").arg(&cluster).args(["-m", "immediate", "-w", "stop"]).current_dir("/");
            if let Err(error) = run(stop).await {
                tracing::warn!(%error, directory = %cluster.display(), "an abandoned Postgres does not end");
                continue;
            }
        }
        if let Err(error) = remove(&home) {
            tracing::warn!(%error, directory = %home.display(), "an abandoned directory cannot be removed");
        }
    }
}

/// Whether it is a directory of the server's user: anybody may write into the directory for temporary files.
fn is_owned(home: &Path, user: Option<User>) -> bool {
    let ours = user.map(|user| user.uid).or_else(|| fs::metadata("/proc/self").ok().map(|us| us.uid()));
    fs::symlink_metadata(home).is_ok_and(|meta| meta.is_dir() && Some(meta.uid()) == ours)
}

/// Whether the process that `postmaster.pid` names is a server of this cluster, and not another that has got its number since.
fn has_server(cluster: &Path) -> bool {
    let Ok(text) = fs::read_to_string(cluster.join("postmaster.pid")) else { return false };
    let Some(Ok(pid)) = text.lines().next().map(str::parse::<u32>) else { return false };
    let works_in = fs::read_link(format!("/proc/{pid}/cwd"));
    works_in.is_ok_and(|directory| fs::canonicalize(cluster).is_ok_and(|cluster| cluster == directory))
}

/// Removes a directory, its lock last: what is broken off is found again.
fn remove(home: &Path) -> io::Result<()> {
    let gone = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    gone(fs::remove_dir_all(home.join("cluster")))?;
    gone(fs::remove_dir_all(home))
}
