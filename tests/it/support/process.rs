//! The real binary as a process.

use std::process::{Output, Stdio};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use super::within;

/// The binary with `arguments`, on the database at `url`.
pub fn command(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailwright"));
    command.args(arguments).env_clear().env("DATABASE_URL", url).stdin(Stdio::null()).kill_on_drop(true);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("MAILWRIGHT_DELIVERY__REQUIRE_VERIFIED_DOMAIN", "false");
    command.env("MAILWRIGHT_SECRETS__SEALING_KEY", super::app::SEALING_KEY);
    // Nobody is asked whom the test did not start.
    command.env("MAILWRIGHT_DOMAINS__RESOLVERS", "");
    command.env("MAILWRIGHT_DNS__SERVERS", super::dns::nowhere().to_string());
    command
}

pub async fn run(url: &str, arguments: &[&str]) -> Output {
    within("a command to end", command(url, arguments).output()).await.unwrap()
}

/// A new key of a project; `scopes` empty for the default.
pub async fn create_key(url: &str, project: &str, mode: &str, scopes: &str) -> String {
    let mut arguments = vec!["keys", "create", "--project", project, "--mode", mode];
    if !scopes.is_empty() {
        arguments.extend(["--scopes", scopes]);
    }
    let output = run(url, &arguments).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A new key that acts for any project.
pub async fn create_operator_key(url: &str) -> String {
    let output = run(url, &["keys", "create", "--project", "operators", "--mode", "live", "--operator"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A running `mailwright serve`.
pub struct Server {
    pub child: Child,
    pub address: String,
    /// Kept open: a process whose reader is gone would be another test.
    stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts with further settings, and waits for its line.
    pub async fn start(url: &str, settings: &[(&str, &str)]) -> Self {
        let mut arguments = vec!["serve".to_owned(), "--set".to_owned(), "http.listen=127.0.0.1:0".to_owned()];
        for (name, value) in settings {
            arguments.extend(["--set".to_owned(), format!("{name}={value}")]);
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        Self::from_command(command(url, &arguments)).await
    }

    pub async fn from_command(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        within("the server to listen", stdout.read_line(&mut line)).await.unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("said {line:?}"));
        Self { address: address.to_owned(), child, stdout }
    }

    /// What the next line says behind this.
    pub async fn line(&mut self, start: &str) -> String {
        let mut line = String::new();
        within("a line of the server", self.stdout.read_line(&mut line)).await.unwrap();
        line.trim().strip_prefix(start).unwrap_or_else(|| panic!("said {line:?}")).to_owned()
    }

    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Sends a signal by the name that kill(1) knows.
    pub async fn signal(&self, name: &str) {
        signal(self.child.id().unwrap(), name).await;
    }

    /// Waits for the end; gives the exit code.
    pub async fn ended(mut self) -> Option<i32> {
        within("the server to end", self.child.wait()).await.unwrap().code()
    }
}

pub async fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().await.unwrap();
    assert!(status.success());
}

/// Resident memory of a process, in KiB.
pub fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
