//! Clients that others generate from `openapi.yaml`, and what a fuzzer of APIs finds, on a live service.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::support::app::{App, Setup};
use crate::support::dns::Dns;

/// The longest that a generator or the fuzzer may take.
const TOOL_PATIENCE: Duration = Duration::from_mins(8);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program that `scripts/test` installs under `target/tools`.
fn tool(name: &str) -> PathBuf {
    let path = root().join("target/tools").join(name);
    assert!(path.exists(), "target/tools/{name} is missing: scripts/test installs it");
    path
}

/// A new directory under `target/tools/{room}`, with the description as the service gives it.
async fn workplace(app: &App, room: &str) -> PathBuf {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let place = root().join("target/tools").join(room).join(format!("run-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("openapi.yaml"), app.get("/openapi.yaml").await.bytes).unwrap();
    place
}

/// Runs a tool to its end; fails with what it said. Gives its output.
async fn run(command: &mut Command) -> String {
    let output = command.kill_on_drop(true).output();
    let output = tokio::time::timeout(TOOL_PATIENCE, output).await.expect("a tool did not end").unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{:?}: {}\n{said}", command.as_std(), output.status);
    said
}

#[tokio::test]
async fn the_smallest_calls_compile_with_the_types_that_openapi_typescript_makes() {
    let (generator, compiler) = (tool("node/node_modules/.bin/openapi-typescript"), tool("node/node_modules/.bin/tsc"));
    let app = App::start().await;
    let place = workplace(&app, "node").await;
    std::fs::copy(root().join("tests/clients/node/smallest.ts"), place.join("smallest.ts")).unwrap();
    run(Command::new(generator).args(["openapi.yaml", "--output", "schema.d.ts"]).current_dir(&place)).await;
    let modules = ["--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler"];
    let compile = ["--noEmit", "--strict", "smallest.ts"];
    run(Command::new(compiler).args(modules).args(compile).current_dir(&place)).await;
    std::fs::remove_dir_all(place).unwrap();
    app.stop().await;
}

#[tokio::test]
async fn the_client_that_openapi_python_client_makes_reads_back_what_it_made() {
    let (python, generator) = (tool("python/bin/python"), tool("python/bin/openapi-python-client"));
    let app = App::start().await;
    let place = workplace(&app, "python").await;
    let clients = root().join("tests/clients/python");
    let said = run(Command::new(generator)
        .args(["generate", "--path", "openapi.yaml", "--output-path", "mailwright_client", "--meta", "none"])
        .arg("--config")
        .arg(clients.join("generator.yaml"))
        .arg("--fail-on-warning")
        .current_dir(&place))
    .await;
    assert!(!said.contains("omitted"), "{said}");
    run(Command::new(python)
        .arg(clients.join("round_trip.py"))
        .env("PYTHONPATH", &place)
        .env("MAILWRIGHT_URL", format!("http://{}", app.address))
        .env("MAILWRIGHT_KEY", &app.test))
    .await;
    std::fs::remove_dir_all(place).unwrap();
    app.stop().await;
}

/// With every check: no 5xx, no undescribed answer, nothing refused that the schemas allow, nothing taken that they
/// forbid. One worker: `CPython` 3.11 parses in threads with a fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_nothing() {
    let fuzzer = tool("python/bin/schemathesis");
    // Names are not asked of anybody outside, who may be slow: none exists.
    let dns = Dns::start(&[]).await;
    let app = Setup::new().set("limits.webhooks", 1_000_000).set("dns.servers", dns.address).start().await;
    let place = workplace(&app, "python").await;
    run(Command::new(fuzzer)
        .args(["run", "openapi.yaml", "--checks", "all", "--continue-on-failure", "--workers", "1"])
        .args(["--seed", "7", "--max-examples", "10", "--suppress-health-check", "all"])
        .args(["--request-timeout", "60"])
        .args(["--url", &format!("http://{}", app.address), "--header", &format!("Authorization: Bearer {}", app.test)])
        .env("SCHEMATHESIS_HOOKS", root().join("tests/clients/python/hooks.py"))
        .env("NO_COLOR", "1")
        .current_dir(&place))
    .await;
    std::fs::remove_dir_all(place).unwrap();
    app.stop().await;
}
