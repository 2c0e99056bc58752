//! Letters from a maildir, for those whose mail server puts reports into one: from `new`, and to `cur` once they are taken.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Intake, Letter, NotTaken};
use crate::domain::draft::with_crlf;
use crate::domain::report_kept::ReportSource;
use crate::shutdown::Shutdown;

/// How often it is looked for new letters.
const EVERY: Duration = Duration::from_secs(2);
/// Letters of one look.
const AT_ONCE: usize = 200;

/// A maildir that is read.
pub struct Maildir {
    pub intake: Arc<Intake>,
    pub path: PathBuf,
    /// Octets of one letter; a larger one is put aside unread.
    pub limit: usize,
}

impl Maildir {
    /// Reads until the service stops.
    pub async fn run(self, shutdown: Shutdown) {
        let mut failed = false;
        loop {
            match self.look().await {
                Ok(()) => failed = false,
                Err(why) if !failed => {
                    failed = true;
                    tracing::warn!(why, maildir = %self.path.display(), "letters are read later");
                }
                Err(_) => {}
            }
            if !shutdown.pause(EVERY).await {
                return;
            }
        }
    }

    async fn look(&self) -> Result<(), String> {
        let new = self.path.join("new");
        let mut entries = tokio::fs::read_dir(&new).await.map_err(|error| format!("{}: {error}", new.display()))?;
        for _ in 0..AT_ONCE {
            let Some(entry) = entries.next_entry().await.map_err(|error| error.to_string())? else { break };
            // What a program is still writing begins with a dot.
            if entry.file_name().as_encoded_bytes().first() != Some(&b'.') {
                self.read(&entry.path()).await?;
            }
        }
        Ok(())
    }

    /// Reads one letter. What is wrong with it keeps no other: it stays, and is read again. A store that is away ends the look.
    async fn read(&self, path: &Path) -> Result<(), String> {
        match self.take(path).await {
            Ok(()) => {}
            Err(NotTaken::Store(error)) if error.is_away() => return Err(error.to_string()),
            Err(NotTaken::Full | NotTaken::Store(_)) => return Ok(()),
            Err(error) => tracing::warn!(letter = %path.display(), %error, "a letter is put aside"),
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let seen = self.path.join("cur").join(format!("{name}:2,S"));
        tokio::fs::rename(path, seen).await.map_err(|error| format!("{}: {error}", path.display()))
    }

    async fn take(&self, path: &Path) -> Result<(), NotTaken> {
        let about = tokio::fs::metadata(path).await.map_err(|_| NotTaken::Unreadable)?;
        if !about.is_file() || about.len() > self.limit as u64 {
            return Err(NotTaken::Unreadable);
        }
        let raw = tokio::fs::read(path).await.map_err(|_| NotTaken::Unreadable)?;
        let raw = Arc::new(with_crlf(&raw));
        let read = self.intake.read(&raw).await?;
        let letter = Letter { source: ReportSource::Maildir, from: String::new(), to: None, raw, only: None };
        self.intake.take(&letter, &read).await.map(|_| ())
    }
}
