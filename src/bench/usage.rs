//! What processes have used, as the machine counts it (`proc(5)`; 100 ticks a second on Linux).

use serde::Serialize;

/// CPU microseconds by part.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Cpu {
    pub service: f64,
    pub postgres: f64,
    pub load: f64,
    pub sink: f64,
    /// What webhooks are posted to.
    pub receiver: f64,
}

impl Cpu {
    /// What the parts have used so far.
    pub fn now(services: &[u32], postmaster: u32) -> Self {
        Self {
            service: services.iter().map(|pid| of_process(*pid)).sum(),
            postgres: of_family(postmaster),
            load: of_thread("bench-load"),
            sink: of_thread("bench-sink"),
            receiver: of_thread("bench-receiver"),
        }
    }

    pub fn since(self, before: Self, messages: f64) -> Self {
        Self {
            service: (self.service - before.service) / messages,
            postgres: (self.postgres - before.postgres) / messages,
            load: (self.load - before.load) / messages,
            sink: (self.sink - before.sink) / messages,
            receiver: (self.receiver - before.receiver) / messages,
        }
    }

    pub fn total(self) -> f64 {
        self.service + self.postgres + self.load + self.sink + self.receiver
    }
}

/// One line of `stat`, behind the name: state is field 0, the parent 1, user and system time 11 to 14.
fn fields(path: &str) -> Option<Vec<u64>> {
    let stat = std::fs::read_to_string(path).ok()?;
    let (_, tail) = stat.rsplit_once(')')?;
    Some(tail.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
}

fn micros(ticks: u64) -> f64 {
    ticks as f64 * 10_000.0
}

fn of_process(pid: u32) -> f64 {
    fields(&format!("/proc/{pid}/stat")).map_or(0.0, |f| micros(f[11] + f[12]))
}

/// A process, its children, and those of its children that have ended.
fn of_family(parent: u32) -> f64 {
    let own = fields(&format!("/proc/{parent}/stat")).map_or(0.0, |f| micros(f[11..15].iter().sum()));
    let Ok(entries) = std::fs::read_dir("/proc") else { return own };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    let children = pids
        .filter_map(|pid| fields(&format!("/proc/{pid}/stat")))
        .filter(|f| f[1] == u64::from(parent))
        .map(|f| micros(f[11] + f[12]));
    own + children.sum::<f64>()
}

/// The threads of this process with that name.
fn of_thread(name: &str) -> f64 {
    let Ok(entries) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    entries
        .flatten()
        .filter(|entry| std::fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim() == name))
        .filter_map(|entry| fields(&entry.path().join("stat").to_string_lossy()))
        .map(|f| micros(f[11] + f[12]))
        .sum()
}

/// The most memory that a process has held, in MiB.
pub fn peak_mib(pid: u32) -> f64 {
    status_kib(pid, "VmHWM:") / 1024.0
}

fn status_kib(pid: u32, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}
