//! What `mailwright dev` is to a test suite: variables in a file or in a command's environment, and an end that waits for nothing.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};

use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::app::Service;
use crate::terminal::{CommandError, Signals, out};

/// The service died under those who used it (`EX_SOFTWARE`).
const DIED: u8 = 70;
/// A shell's codes: no such command, it cannot be run, and what the number of a signal is added to.
const NOT_FOUND: u8 = 127;
const NOT_RUN: u8 = 126;
const SIGNAL: i32 = 128;

/// What a client has to know.
pub struct Told {
    pub url: String,
    pub smtp: String,
    pub test: String,
    pub live: String,
}

impl Told {
    fn variables(&self) -> [(&'static str, &str); 4] {
        [
            ("MAILWRIGHT_URL", &self.url),
            ("MAILWRIGHT_SMTP", &self.smtp),
            ("MAILWRIGHT_KEY", &self.test),
            ("MAILWRIGHT_LIVE_KEY", &self.live),
        ]
    }

    /// Writes a file that is either not there or whole.
    pub fn write(&self, file: &Path) -> Result<(), CommandError> {
        let named = |error: io::Error| CommandError(format!("--ready-file {}: {error}", file.display()));
        let lines = self.variables().map(|(name, value)| format!("{name}={value}\n"));
        let mut unfinished = file.as_os_str().to_owned();
        unfinished.push(".unfinished");
        let mut writer =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished).map_err(named)?;
        writer.write_all(lines.concat().as_bytes()).map_err(named)?;
        fs::rename(&unfinished, file).map_err(named)
    }
}

/// Removes a ready file: one that is there says that a service is.
pub fn clear(file: &Path) -> Result<(), CommandError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(CommandError(format!("--ready-file {}: {error}", file.display())))
        }
        _ => Ok(()),
    }
}

/// Where the user's programs keep what they can make anew; none when there is no home.
#[expect(clippy::disallowed_methods, reason = "the command line is where the environment is read")]
pub fn cache_directory() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("mailwright"))
}

/// Serves until a signal, and then stops at once: nothing is kept, so nothing is worth finishing.
pub async fn serve(service: Service, mut signals: Signals) -> ExitCode {
    let died = tokio::select! {
        _ = signals.next() => None,
        part = service.died() => Some(part),
    };
    stop(service).await;
    match died {
        None => ExitCode::SUCCESS,
        Some(part) => {
            out::error(&format!("{part} died; the log says of what"));
            ExitCode::from(DIED)
        }
    }
}

/// Runs a command beside the service; gives its exit code.
pub async fn run(command: &[OsString], told: &Told, service: Service, signals: Signals) -> ExitCode {
    let code = match command {
        [program, arguments @ ..] => {
            let child = Command::new(program).args(arguments).envs(told.variables()).spawn();
            match child {
                Ok(child) => attend(child, &service, signals).await.unwrap_or_else(|error| {
                    out::error(&error.to_string());
                    ExitCode::FAILURE
                }),
                Err(error) => {
                    out::error(&format!("{}: {error}", program.display()));
                    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUN })
                }
            }
        }
        [] => ExitCode::SUCCESS,
    };
    stop(service).await;
    code
}

/// Waits for the command's end, and hands signals on. A Ctrl-C at a terminal reaches the command by itself.
async fn attend(mut child: Child, service: &Service, mut signals: Signals) -> io::Result<ExitCode> {
    let has_terminal = File::open("/dev/tty").is_ok();
    let mut died = false;
    loop {
        let signal = tokio::select! {
            status = child.wait() => return status.map(|status| if died { ExitCode::from(DIED) } else { code_of(status) }),
            signal = signals.next() => signal,
            part = service.died(), if !died => {
                out::error(&format!("{part} died; the log says of what. The command is ended"));
                died = true;
                "TERM"
            }
        };
        if let Some(pid) = child.id()
            && (signal == "TERM" || !has_terminal)
        {
            // The shell's own: no program is needed for it, and no unsafe code.
            let mut kill = Command::new("sh");
            kill.args(["-c", r#"kill -s "$0" "$1""#, signal]).arg(pid.to_string());
            kill.stdin(Stdio::null()).stderr(Stdio::null()).status().await?;
        }
    }
}

fn code_of(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| SIGNAL + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

async fn stop(service: Service) {
    let abort = CancellationToken::new();
    abort.cancel();
    service.stop(&abort).await;
}
