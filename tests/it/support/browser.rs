//! A real browser, without a screen.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::within;

/// The longest that a plan may take: some open many messages in many tabs.
const DRIVE_PATIENCE: Duration = Duration::from_mins(4);

const ARGUMENTS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=10000",
];

/// The document at `url` once its scripts have run.
pub async fn document(url: &str) -> String {
    let profile = std::env::temp_dir().join(format!("mailwright-browser-{}", std::process::id()));
    let mut browser = Command::new("chromium");
    browser.args(ARGUMENTS).arg(format!("--user-data-dir={}", profile.display())).arg("--dump-dom").arg(url);
    browser.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = within("the browser to end", browser.output()).await.expect("chromium: run the tests by scripts/test");
    // Its files are of no use to anyone.
    let _ = std::fs::remove_dir_all(profile);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Does the steps of a plan on a page, by `tests/console/drive.mjs`; gives what each saw. Fails when the page had a fault
/// of its own, or asked anyone but the service for anything, unless `may_ask`.
pub async fn drive(plan: &Value, may_ask: bool) -> Vec<Value> {
    // One browser at a time: many on a small machine wait for each other.
    static TURNS: Semaphore = Semaphore::const_new(1);
    let _turn = TURNS.acquire().await.unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packages = root.join("target/tools/console");
    assert!(packages.exists(), "target/tools/console is missing: scripts/test installs it");
    let mut node = Command::new("node");
    node.arg(root.join("tests/console/drive.mjs")).arg(packages).kill_on_drop(true);
    node.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut node = node.spawn().expect("node: run the tests by scripts/test");
    node.stdin.take().unwrap().write_all(plan.to_string().as_bytes()).await.unwrap();
    let output = tokio::time::timeout(DRIVE_PATIENCE, node.wait_with_output()).await;
    let output = output.expect("the plan was not carried out in time").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen["faults"], json!([]), "the page has no faults of its own");
    assert!(may_ask || seen["outside"] == json!([]), "asked of others: {}", seen["outside"]);
    match seen["seen"].take() {
        Value::Array(seen) => seen,
        other => panic!("{other}"),
    }
}
