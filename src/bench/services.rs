//! The services under measurement: this binary's `serve`, as processes of their own.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::terminal::CommandError;

/// Longest wait for a service to start or to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// Ports that services listen on, and how far apart two tries are.
const PORT_FIRST: u32 = 20_000;
const PORTS: u32 = 10_007;
const PORT_STEP: u32 = 101;

/// One service.
pub struct Served {
    pub address: SocketAddr,
    /// Where mail is submitted.
    pub submission: SocketAddr,
    settings: Vec<String>,
    child: Child,
}

impl Served {
    /// Starts a service at a free port and waits until it listens.
    pub async fn start(settings: &[String]) -> Result<Self, CommandError> {
        let address = free_address(0).await?;
        let submission = free_address(1).await?;
        let child = launch((address, submission), settings).await?;
        Ok(Self { address, submission, settings: settings.to_vec(), child })
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// Ends it as a power cut would, and starts it again at the same address.
    pub async fn kill_and_restart(&mut self) -> Result<(), CommandError> {
        self.child.kill().await.map_err(CommandError::new)?;
        self.child = launch((self.address, self.submission), &self.settings).await?;
        Ok(())
    }

    pub async fn stop(mut self) -> Result<(), CommandError> {
        let pid = self.pid().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().await.map_err(CommandError::new)?;
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.map_err(|_| CommandError::new("a service does not stop"))?.map_err(CommandError::new)?;
        Ok(())
    }

    /// The text of `/metrics`.
    pub async fn metrics(&self) -> Result<String, CommandError> {
        let fetch = async {
            let mut stream = TcpStream::connect(self.address).await?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            Ok::<_, std::io::Error>(text)
        };
        tokio::time::timeout(PATIENCE, fetch).await.map_err(CommandError::new)?.map_err(CommandError::new)
    }
}

/// An address that nobody listens on, another one for each offset. Not one of those that the system gives to whoever connects to somewhere: it would be
/// somebody's before the service has it, or while it is restarted.
async fn free_address(offset: u32) -> Result<SocketAddr, CommandError> {
    let first = std::process::id() % PORTS + offset;
    for n in 0..PORTS {
        let port = u16::try_from(PORT_FIRST + (first + n * PORT_STEP) % PORTS).unwrap_or_default();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).await.is_ok() {
            return Ok(address);
        }
    }
    Err(CommandError::new("no port is free for a service"))
}

async fn launch((address, submission): (SocketAddr, SocketAddr), settings: &[String]) -> Result<Child, CommandError> {
    let program = std::env::current_exe().map_err(CommandError::new)?;
    let mut command = Command::new(program);
    command.arg("serve").arg("--set").arg(format!("http.listen={address}"));
    command.arg("--set").arg(format!("submission.listen=plain://{submission}"));
    for setting in settings {
        command.arg("--set").arg(setting);
    }
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(CommandError::new)?;
    let Some(stdout) = child.stdout.take() else { return Err(CommandError::new("a service has no output")) };
    let mut lines = BufReader::new(stdout).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
    match line.map_err(|_| CommandError::new("a service does not start"))?.map_err(CommandError::new)? {
        Some(line) if line.starts_with("listening on") => Ok(child),
        _ => Err(CommandError::new("a service did not start; its words stand above")),
    }
}

/// The value of one sample in Prometheus text, summed over `texts`.
pub fn sample(texts: &[String], name: &str) -> f64 {
    let value = |text: &String| {
        text.lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse::<f64>().ok())
            .sum::<f64>()
    };
    texts.iter().map(value).sum()
}
