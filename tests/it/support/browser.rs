//! A real browser, without a screen.

use std::process::Stdio;

use tokio::process::Command;

use super::within;

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
