//! The test suites of `docs/examples/testing`, run by their own runners against a live service, as their users run them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::examples::{PATIENCE, examples, is_ready};
use crate::support::app::App;

#[path = "../../docs/examples/testing/rust/signup.rs"]
mod signup_in_rust;

fn suite(name: &str) -> PathBuf {
    examples().join("testing").join(name)
}

/// What `scripts/lib.sh` installed for a suite.
fn tools(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/testing").join(name)
}

/// A copy of a suite with the packages that it needs beside it, for runners that write where they run.
fn copy_of(name: &str) -> PathBuf {
    let copy = std::env::temp_dir().join(format!("mailwright-suite-{name}-{}", std::process::id()));
    fs::create_dir_all(&copy).unwrap();
    for file in fs::read_dir(suite(name)).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        fs::copy(&file, copy.join(file.file_name().unwrap())).unwrap();
    }
    symlink(tools(name).join("node_modules"), copy.join("node_modules")).unwrap();
    copy
}

/// Runs a suite: it passes, and mail was sent by it.
async fn passes(mut command: Command) {
    let app = App::start().await;
    command.env("MAILWRIGHT_URL", format!("http://{}", app.address)).env("MAILWRIGHT_KEY", &app.test);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("a suite did not end").unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!app.get("/v1/messages").await.json()["data"].as_array().unwrap().is_empty(), "no test ran: {said}");
    app.stop().await;
}

#[tokio::test]
async fn the_suite_of_jest_passes() {
    if is_ready("jest", tools("jest").join("installed").exists()) {
        let copy = copy_of("jest");
        let mut jest = Command::new("node");
        jest.args(["node_modules/jest/bin/jest.js", "--ci", "--cacheDirectory", "cache"]).current_dir(&copy);
        passes(jest).await;
        fs::remove_dir_all(copy).unwrap();
    }
}

#[tokio::test]
async fn the_suite_of_playwright_passes() {
    if is_ready("playwright", tools("playwright").join("installed").exists()) {
        let copy = copy_of("playwright");
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut playwright = Command::new("node");
        playwright.args(["node_modules/@playwright/test/cli.js", "test"]).current_dir(&copy);
        let paths = std::env::var_os("PATH").unwrap();
        let chromium = std::env::split_paths(&paths).map(|path| path.join("chromium")).find(|path| path.exists());
        playwright
            .env("SHOP_PORT", free.port().to_string())
            .env("CHROMIUM", chromium.expect("scripts/test installs it"));
        passes(playwright).await;
        fs::remove_dir_all(copy).unwrap();
    }
}

#[tokio::test]
async fn the_suite_of_pytest_passes() {
    if is_ready("pytest", tools("pytest").join("installed").exists()) {
        let mut pytest = Command::new(tools("pytest").join("bin/python"));
        pytest.args(["-m", "pytest", "-p", "no:cacheprovider"]).arg(suite("pytest"));
        pytest.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(suite("pytest"));
        passes(pytest).await;
    }
}

#[tokio::test]
async fn the_suite_in_go_passes() {
    let version = std::process::Command::new("go").arg("version").output();
    if is_ready("go", version.is_ok_and(|output| output.status.success())) {
        let mut go = Command::new("go");
        go.args(["test", "-count=1", "signup_test.go"]).current_dir(suite("go"));
        passes(go).await;
    }
}

#[tokio::test]
async fn the_suite_in_rust_passes() {
    let mut tests = Command::new(std::env::current_exe().unwrap());
    tests.args(["--ignored", "suites::signup_in_rust::"]);
    passes(tests).await;
}

#[test]
fn every_suite_is_named_in_the_readme_of_the_examples_and_in_the_page() {
    let readme = fs::read_to_string(examples().join("README.md")).unwrap();
    let page = fs::read_to_string(examples().join("../testing.md")).unwrap();
    for entry in fs::read_dir(examples().join("testing")).unwrap() {
        let folder = format!("testing/{}", entry.unwrap().file_name().into_string().unwrap());
        assert!(readme.contains(&folder) && page.contains(&folder), "{folder} is not named");
    }
}
