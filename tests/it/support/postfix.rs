//! A real Postfix (Debian's package), as an instance of the test's own: its folders, its ports, its log.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as Std};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::within;

/// What only root may do: directly, or by sudo.
fn as_root(program: &str) -> std::process::Command {
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut command = std::process::Command::new(if is_root { program } else { "sudo" });
    if !is_root {
        command.args(["-n", program]);
    }
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

fn run_as_root(program: &str, arguments: &[&str]) {
    let output = as_root(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A running instance. Mail that it takes goes on to `onward`.
pub struct Postfix {
    folder: PathBuf,
    ports: Vec<u16>,
    /// What was logged so far.
    said: watch::Receiver<Vec<String>>,
    _child: Child,
}

impl Postfix {
    /// Starts with these settings; each of `services` is a port with options of its own (`-o name=value`).
    pub async fn start(settings: &str, services: &[&str], onward: SocketAddr) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("mailwright-postfix-{}-{number}", std::process::id()));
        run_as_root("rm", &["-rf", &folder.display().to_string()]);
        let etc = folder.join("etc");
        std::fs::create_dir_all(&etc).unwrap();
        std::fs::create_dir(folder.join("queue")).unwrap();
        run_as_root("install", &["-d", "-o", "postfix", &folder.join("data").display().to_string()]);
        // Bound together, so that they are different; Postfix takes them over a moment later.
        let free: Vec<_> = services.iter().map(|_| Std::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        let ports: Vec<_> = free.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        drop(free);
        std::fs::write(etc.join("main.cf"), main_cf(&folder, settings, onward)).unwrap();
        std::fs::write(etc.join("master.cf"), master_cf(&ports, services)).unwrap();
        let mut command = Command::from(as_root("postfix"));
        command.arg("-c").arg(&etc).arg("start-fg").stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("postfix: run the tests by scripts/test");
        let mut log = BufReader::new(child.stdout.take().unwrap()).lines();
        let (said, heard) = watch::channel(Vec::new());
        // Read all the time: a full pipe would stop Postfix.
        tokio::spawn(async move {
            while let Ok(Some(line)) = log.next_line().await {
                said.send_modify(|said: &mut Vec<String>| said.push(line));
            }
        });
        let mut postfix = Self { folder, ports, said: heard, _child: child };
        postfix.until("Postfix to start", |said| said.iter().any(|line| line.contains("daemon started"))).await;
        postfix
    }

    pub fn port(&self, service: usize) -> u16 {
        self.ports[service]
    }

    /// Waits until the log is as `wanted` says; gives it.
    pub async fn until(&mut self, what: &str, mut wanted: impl FnMut(&[String]) -> bool) -> Vec<String> {
        let log = tokio::time::timeout(super::PATIENCE, self.said.wait_for(|said| wanted(said))).await;
        let log = log.map(|log| log.expect("Postfix to run").clone());
        log.unwrap_or_else(|_| panic!("{what}: {:#?}", *self.said.borrow()))
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let etc = self.folder.join("etc").display().to_string();
        // A second failure while a test already fails would hide the first.
        let _ = as_root("postfix").args(["-c", &etc, "stop"]).output();
        let _ = as_root("rm").arg("-rf").arg(&self.folder).output();
    }
}

fn main_cf(folder: &Path, settings: &str, onward: SocketAddr) -> String {
    let folder = folder.display();
    let usual = format!(
        "compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = /dev/stdout
myhostname = mx.example.net
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
smtpd_relay_restrictions = permit_mynetworks, reject
relayhost = [127.0.0.1]:{port}
disable_dns_lookups = yes
smtp_dns_support_level = disabled
smtp_tls_security_level = none
smtpd_peername_lookup = no
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
",
        port = onward.port()
    );
    // What is set for a test is not set before.
    let names: Vec<_> = settings.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name).collect();
    let is_unset = |line: &&str| !names.iter().any(|name| line.split(" =").next() == Some(name));
    let usual: Vec<_> = usual.lines().filter(is_unset).collect();
    format!("{}\n{settings}\n", usual.join("\n"))
}

fn master_cf(ports: &[u16], services: &[&str]) -> String {
    let mut text = String::new();
    for (number, (port, options)) in ports.iter().zip(services).enumerate() {
        text.push_str(&format!("127.0.0.1:{port} inet n - n - - smtpd -o syslog_name=port{number} {options}\n"));
    }
    for line in [
        "pickup unix n - n 60 1 pickup",
        "cleanup unix n - n - 0 cleanup",
        "qmgr unix n - n 300 1 qmgr",
        "rewrite unix - - n - - trivial-rewrite",
        "bounce unix - - n - 0 bounce",
        "defer unix - - n - 0 bounce",
        "trace unix - - n - 0 bounce",
        "verify unix - - n - 1 verify",
        "tlsmgr unix - - n 1000? 1 tlsmgr",
        "flush unix n - n 1000? 0 flush",
        "proxymap unix - - n - - proxymap",
        "smtp unix - - n - - smtp",
        "relay unix - - n - - smtp",
        "showq unix n - n - - showq",
        "error unix - - n - - error",
        "retry unix - - n - - error",
        "anvil unix - - n - 1 anvil",
        "scache unix - - n - 1 scache",
        "postlog unix-dgram n - n - 1 postlogd",
    ] {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// What a policy server is asked: where the conversation is, and the recipient.
pub struct Asked {
    pub state: String,
    pub recipient: String,
    /// Nothing of this state and recipient was asked before.
    pub is_first: bool,
}

/// A policy server (Postfix' `SMTPD_POLICY_README`), as long as the test lives; `None` has no opinion.
pub async fn policy(decide: fn(&Asked) -> Option<&'static str>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(HashSet::new()));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = std::sync::Arc::clone(&seen);
            tokio::spawn(async move {
                let first = move |key| seen.lock().unwrap().insert(key);
                // A client that goes away ends its connection and nothing else.
                let _ = answer(stream, first, decide).await;
            });
        }
    });
    address
}

async fn answer(
    stream: TcpStream,
    is_first: impl Fn((String, String)) -> bool,
    decide: fn(&Asked) -> Option<&'static str>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut state, mut recipient) = (String::new(), String::new());
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        match line.trim_end().split_once('=') {
            Some(("protocol_state", value)) => value.clone_into(&mut state),
            Some(("recipient", value)) => value.clone_into(&mut recipient),
            Some(_) => {}
            None => {
                let is_first = is_first((state.clone(), recipient.clone()));
                let asked = Asked { state: state.clone(), recipient: recipient.clone(), is_first };
                let action = decide(&asked).unwrap_or("DUNNO");
                within("a policy", stream.write_all(format!("action={action}\n\n").as_bytes())).await?;
            }
        }
    }
}
