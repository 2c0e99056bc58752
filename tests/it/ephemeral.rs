//! `mailwright dev --ephemeral`: what a test suite gets, and that nothing is left of it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::process::{command, signal};
use crate::support::within;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Directories of a test's own: for temporary files, for the cache, and to work in.
struct Ground {
    root: PathBuf,
    cache: PathBuf,
}

impl Ground {
    /// With an empty cache.
    fn new() -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("mw-ground-{}-{number}", std::process::id()));
        for directory in [root.clone(), root.join("tmp"), root.join("work")] {
            fs::create_dir_all(&directory).unwrap();
            fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        Self { cache: root.join("cache"), root }
    }

    /// With the cache that tests share.
    fn with_template() -> Self {
        Self { cache: Path::new(env!("CARGO_TARGET_TMPDIR")).join("ephemeral"), ..Self::new() }
    }

    fn dev(&self, arguments: &[&str]) -> Command {
        let mut dev = command("", &["dev", "--ephemeral"]);
        dev.args(arguments).env_remove("DATABASE_URL").current_dir(self.root.join("work"));
        dev.env("TMPDIR", self.root.join("tmp")).env("XDG_CACHE_HOME", &self.cache);
        dev.stdout(Stdio::piped()).stderr(Stdio::piped());
        dev
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        within("dev to end", self.dev(arguments).output()).await.unwrap()
    }

    /// Runs a command that does nothing; gives what was said about the start.
    async fn start_once(&self) -> String {
        let output = self.run(&["--", "true"]).await;
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn template(&self) -> PathBuf {
        let entries = fs::read_dir(self.cache.join("mailwright")).unwrap();
        let entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(entries.len(), 1, "one template and nothing half made: {entries:?}");
        entries[0].clone()
    }

    fn is_clean(&self) -> bool {
        fs::read_dir(self.root.join("tmp")).unwrap().next().is_none() && self.processes().is_empty()
    }

    /// What runs in the directory for temporary files, or was told of it.
    fn processes(&self) -> Vec<(u32, String)> {
        let tmp = self.root.join("tmp").display().to_string();
        let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        let told = pids.filter_map(|pid: u32| {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let arguments = String::from_utf8_lossy(&arguments).into_owned();
            let works_in = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            (arguments.contains(&tmp) || works_in.starts_with(&tmp)).then_some((pid, arguments))
        });
        told.collect()
    }

    /// Nothing is left; the working directory was never written to.
    fn done(self) {
        assert!(self.is_clean(), "{:?}", self.processes());
        assert!(fs::read_dir(self.root.join("work")).unwrap().next().is_none());
        fs::remove_dir_all(self.root).unwrap();
    }
}

/// The lines of a child's output, behind the one that begins so.
async fn after_line(child: &mut Child, beginning: &str) -> Lines<BufReader<ChildStdout>> {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    within("dev to be ready", async {
        while !lines.next_line().await.unwrap().expect("it ended").starts_with(beginning) {}
    })
    .await;
    lines
}

#[tokio::test]
async fn a_command_has_a_service_of_its_own_and_gives_the_exit_code() {
    let ground = Ground::with_template();
    let suite = r#"
        "$0" send --from a@example.org --to b@example.net --subject Hi --text x --wait >&2 || exit 1
        case $MAILWRIGHT_LIVE_KEY in mw_live_*) ;; *) exit 2 ;; esac
        curl -sSf -H "Authorization: Bearer $MAILWRIGHT_KEY" "$MAILWRIGHT_URL/v1/sandbox/messages" || exit 3
        printf 'From: a@example.org\r\nSubject: By SMTP\r\n\r\nx\r\n' | curl -sSf "smtp://$MAILWRIGHT_SMTP" --user "any:$MAILWRIGHT_KEY" \
            --mail-from a@example.org --mail-rcpt c@example.net -T - || exit 4
        exit 7"#;
    let output = ground.run(&["--", "sh", "-c", suite, env!("CARGO_BIN_EXE_mailwright")]).await;
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let inbox: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("nothing is printed but by the command");
    assert_eq!(inbox["data"][0]["to"], "b@example.net");
    ground.done();
}

#[tokio::test]
async fn an_end_by_a_signal_and_no_command_at_all_have_the_codes_of_a_shell() {
    let ground = Ground::with_template();
    let killed = ground.run(&["--", "sh", "-c", "kill -KILL $$"]).await;
    assert_eq!(killed.status.code(), Some(137));
    let missing = ground.run(&["--", "no-such-command"]).await;
    assert_eq!(missing.status.code(), Some(127));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no-such-command"));
    ground.done();
}

#[tokio::test]
async fn a_command_is_told_to_end_and_waited_for() {
    let ground = Ground::with_template();
    let mut dev = ground.dev(&["--", "sh", "-c", "echo started; exec sleep 600"]).spawn().unwrap();
    let _output = after_line(&mut dev, "started").await;
    signal(dev.id().unwrap(), "TERM").await;
    assert_eq!(within("dev to end", dev.wait()).await.unwrap().code(), Some(143));
    ground.done();
}

#[tokio::test]
async fn a_ready_file_is_there_as_long_as_the_service() {
    for name in ["TERM", "INT"] {
        let ground = Ground::with_template();
        let file = ground.root.join("ready.env");
        fs::write(&file, "MAILWRIGHT_URL=of an earlier run\n").unwrap();
        let mut dev = ground.dev(&["--ready-file", file.to_str().unwrap()]).spawn().unwrap();
        let _output = after_line(&mut dev, "Ctrl-C").await;
        let script = r#". "$0"; curl -sSf -H "Authorization: Bearer $MAILWRIGHT_KEY" "$MAILWRIGHT_URL/v1/limits""#;
        let answer = Command::new("sh").args(["-c", script]).arg(&file).output().await.unwrap();
        assert!(answer.status.success(), "{answer:?}");
        assert!(fs::read_to_string(&file).unwrap().contains("\nMAILWRIGHT_LIVE_KEY=mw_live_"));
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        signal(dev.id().unwrap(), name).await;
        assert!(within("dev to end", dev.wait()).await.unwrap().success());
        assert!(!file.exists());
        ground.done();
    }
}

/// Postgres' programs, of which `initdb` fails.
fn without_initdb(ground: &Ground) -> std::ffi::OsString {
    let directory = ground.root.join("programs");
    fs::create_dir(&directory).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let mut places: Vec<_> = std::env::split_paths(&path).collect();
    places.extend(
        fs::read_dir("/usr/lib/postgresql").into_iter().flatten().map(|entry| entry.unwrap().path().join("bin")),
    );
    let real = places.into_iter().rfind(|place| place.join("initdb").exists()).unwrap();
    for name in ["postgres", "pg_ctl"] {
        symlink(real.join(name), directory.join(name)).unwrap();
    }
    fs::write(directory.join("initdb"), "#!/bin/sh\necho not again >&2; exit 1\n").unwrap();
    for path in [directory.join("initdb"), directory.clone()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::env::join_paths(std::iter::once(directory).chain(std::env::split_paths(&path))).unwrap()
}

#[tokio::test]
async fn the_second_start_copies_what_the_first_one_made() {
    let ground = Ground::new();
    let path = without_initdb(&ground);
    let start = || ground.dev(&["--", "true"]).env("PATH", &path).output();
    let first = within("dev to end", start()).await.unwrap();
    assert!(!first.status.success() && String::from_utf8_lossy(&first.stderr).contains("not again"), "{first:?}");
    assert!(ground.is_clean(), "a start that fails leaves nothing: {:?}", ground.processes());
    assert_eq!(ground.start_once().await, "");
    let template = ground.template();
    let second = within("dev to end", start()).await.unwrap();
    assert!(second.status.success(), "{second:?}");
    assert_eq!(ground.template(), template);
    ground.done();
}

#[tokio::test]
async fn two_at_once_have_a_store_each_and_leave_one_template() {
    let ground = Ground::new();
    let suite = r#"echo "$MAILWRIGHT_URL"; exec cat"#;
    let start = || {
        let mut dev = ground.dev(&["--", "sh", "-c", suite]);
        dev.stdin(Stdio::piped()).spawn().unwrap()
    };
    // Both make the template, and are there together.
    let (mut one, mut two) = (start(), start());
    let mut urls = Vec::new();
    for dev in [&mut one, &mut two] {
        let mut line = String::new();
        let mut stdout = BufReader::new(dev.stdout.take().unwrap());
        within("dev to be ready", stdout.read_line(&mut line)).await.unwrap();
        urls.push(line);
    }
    assert!(urls[0].starts_with("http://127.0.0.1:") && urls[0] != urls[1], "{urls:?}");
    for mut dev in [one, two] {
        drop(dev.stdin.take());
        let output = within("dev to end", dev.wait_with_output()).await.unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
    ground.template();
    ground.done();
}

/// Damages a file.
type Break = fn(&Path);

#[tokio::test]
async fn a_template_that_cannot_be_used_is_made_anew() {
    let ground = Ground::new();
    ground.start_once().await;
    let control = |template: &Path| template.join("cluster/global/pg_control");
    let breaks: [(Break, &str); 2] = [
        (|path| drop(fs::OpenOptions::new().write(true).open(path).unwrap().set_len(10)), "files of"),
        (|path| fs::write(path, vec![0; 8192]).unwrap(), "does not start"),
    ];
    for (spoil, why) in breaks {
        // Held open, so that what is made anew cannot have its inode.
        let before = fs::File::open(ground.template()).unwrap();
        spoil(&control(&ground.template()));
        let said = ground.start_once().await;
        assert!(said.contains("is made anew") && said.contains(why), "{said}");
        assert_ne!(fs::metadata(ground.template()).unwrap().ino(), before.metadata().unwrap().ino());
        assert_eq!(ground.start_once().await, "");
    }
    ground.done();
}

#[tokio::test]
async fn no_home_to_cache_in_is_no_reason_not_to_start() {
    let ground = Ground::new();
    let mut dev = ground.dev(&["--", "true"]);
    let output = within("dev to end", dev.env_remove("XDG_CACHE_HOME").output()).await.unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    fs::write(&ground.cache, "no directory").unwrap();
    assert!(ground.start_once().await.contains("every start takes as long"));
    ground.done();
}

/// Starts, and gives the process of the guard, too.
async fn with_guard(ground: &Ground) -> (Child, u32) {
    let mut dev = ground.dev(&[]).spawn().unwrap();
    let _output = after_line(&mut dev, "Ctrl-C").await;
    let guard = ground.processes().into_iter().find(|(_, arguments)| arguments.starts_with("sh\0")).unwrap();
    (dev, guard.0)
}

#[tokio::test]
async fn a_kill_leaves_nothing_when_the_guard_has_done_its_work() {
    let ground = Ground::with_template();
    let (mut dev, _) = with_guard(&ground).await;
    dev.kill().await.unwrap();
    within("the guard to end", async {
        while !ground.is_clean() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    ground.done();
}

#[tokio::test]
async fn what_a_kill_of_everything_leaves_is_removed_by_the_next_start() {
    let ground = Ground::with_template();
    let (mut dev, guard) = with_guard(&ground).await;
    let (mut other, _) = with_guard(&ground).await;
    signal(guard, "KILL").await;
    dev.kill().await.unwrap();
    assert!(ground.processes().iter().any(|(_, arguments)| arguments.contains("postgres")), "a server is left");
    let entries = || fs::read_dir(ground.root.join("tmp")).unwrap().count();
    assert_eq!(entries(), 2);
    let emptied = ground.root.join("tmp/mailwright-ephemeral-emptied");
    let owner = fs::read_dir(ground.root.join("tmp")).unwrap().next().unwrap().unwrap().metadata().unwrap();
    fs::create_dir(&emptied).unwrap();
    std::os::unix::fs::chown(&emptied, Some(owner.uid()), None).unwrap();
    ground.start_once().await;
    assert_eq!(entries(), 1, "what is in use stays");
    signal(other.id().unwrap(), "TERM").await;
    assert!(within("dev to end", other.wait()).await.unwrap().success());
    ground.done();
}
