//! Records that are published by a DNS provider's API: dynamic updates (RFC 2136) that BIND takes, which `scripts/nightly` installs.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::support::app::{App, Setup};
use crate::support::process::create_key;
use crate::support::within;

const SECRET: &str = "bWFpbHdyaWdodC10ZXN0cy1tYWlsd3JpZ2h0LXRlc3Q=";

/// BIND with the zone `pub.example`, which takes updates under a key.
struct Bind {
    address: SocketAddr,
    _named: Child,
    place: std::path::PathBuf,
}

impl Bind {
    async fn start() -> Self {
        let address = free_address();
        let place = std::env::temp_dir().join(format!("mailwright-bind-{}-{}", std::process::id(), address.port()));
        std::fs::create_dir_all(&place).unwrap();
        let zone = "$TTL 60\n@ IN SOA ns1 admin 1 60 60 3600 60\n@ IN NS ns1\nns1 IN A 127.0.0.1\n\
                    _dmarc IN TXT \"v=DMARC1; p=reject\"\n";
        std::fs::write(place.join("zone"), zone).unwrap();
        let above =
            "$TTL 60\n@ IN SOA ns1 admin 1 60 60 3600 60\n@ IN NS ns1.pub\npub IN NS ns1.pub\nns1.pub IN A 127.0.0.1\n";
        std::fs::write(place.join("above"), above).unwrap();
        let config = format!(
            "key \"mailwright\" {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};\n\
             options {{ directory \"{0}\"; pid-file none; session-keyfile none; listen-on port {1} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; \
             recursion no; dnssec-validation no; managed-keys-directory \"{0}\"; }};\ncontrols {{ }};\n\
             zone \"pub.example\" {{ type primary; file \"{0}/zone\"; allow-update {{ key mailwright; }}; }};\n\
             zone \"example\" {{ type primary; file \"{0}/above\"; }};\n",
            place.display(),
            address.port()
        );
        std::fs::write(place.join("named.conf"), config).unwrap();
        let named = Command::new("/usr/sbin/named")
            .args(["-g", "-n", "1", "-c"])
            .arg(place.join("named.conf"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(place.join("log")).unwrap())
            .kill_on_drop(true)
            .spawn()
            .expect("BIND is missing: scripts/nightly installs it");
        let bind = Self { address, _named: named, place };
        within("BIND to answer", async {
            while bind.dig("SOA", "pub.example").await.is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        bind
    }

    /// What another program reads.
    async fn dig(&self, kind: &str, name: &str) -> Vec<String> {
        let port = self.address.port().to_string();
        let mut dig = Command::new("dig");
        dig.args(["+short", "+tries=1", "+time=1", "-p", &port, "@127.0.0.1", kind, name]);
        let asked = dig.output().await.unwrap();
        if !asked.status.success() {
            return Vec::new();
        }
        String::from_utf8(asked.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.place);
    }
}

/// A port that is free for TCP and UDP.
fn free_address() -> SocketAddr {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

async fn app(bind: &Bind) -> App {
    let accounts = format!(
        "[[domains.publish]]\nproject = \"shop\"\nzones = [\"pub.example\"]\nprovider = \"rfc2136\"\nkey = \"mailwright\"\n\
         secret = \"{SECRET}\"\nserver = \"tcp://{}\"\n",
        bind.address
    );
    let setup = Setup::new().file(&accounts).paused().set("dns.servers", bind.address).set("dns.timeout", "500ms");
    let setup = setup.set("domains.dns_port", bind.address.port()).set("domains.resolvers", bind.address);
    setup.set("inbound.host", "in.mail.example").set("dkim.cache", "0s").start().await
}

async fn create(app: &App, project: &str, name: &str) -> (String, Value) {
    let key = create_key(&app.database.url, project, "live", "admin").await;
    let body = json!({"name": name}).to_string().into_bytes();
    let made = app.call_as(&key, "POST", "/v1/domains", &[], body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    (key, made.json())
}

/// The domain once it says so; it is looked at whenever it is time.
async fn until(app: &App, key: &str, domain: &Value, wanted: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/v1/domains/{}", domain["id"].as_str().unwrap());
    tokio::time::timeout(Duration::from_mins(2), async {
        let mut changes = app.database.watch().await;
        loop {
            let now = app.get_as(key, &path).await.json();
            if wanted(&now) {
                return now;
            }
            app.clock.advance(Duration::from_secs(21));
            app.service.store.ensure_day(mailwright::domain::clock::Clock::now(&*app.clock).date()).await.unwrap();
            changes.changed().await;
        }
    })
    .await
    .expect("the domain to be as it is wanted")
}

#[tokio::test]
async fn what_is_missing_is_published_for_the_project_that_it_is_configured_for_and_nothing_is_changed() {
    let bind = Bind::start().await;
    let app = app(&bind).await;
    let (stranger, foreign) = create(&app, "stranger", "theirs.pub.example").await;
    let (key, domain) = create(&app, "shop", "mail.pub.example").await;
    let verified =
        until(&app, &key, &domain, |domain| domain["state"] == "verified" && domain["return_path_in_use"] == true)
            .await;
    for record in verified["records"].as_array().unwrap() {
        let (kind, host) = (record["type"].as_str().unwrap(), record["host"].as_str().unwrap());
        let said = bind.dig(kind, host).await;
        let value = record["value"].as_str().unwrap();
        let plain = said.join("").replace("\" \"", "").replace('"', "");
        assert_eq!(plain.trim_end_matches('.'), value, "{kind} {host}");
    }
    // What the zone says of mail itself stays: it covers the domain.
    assert_eq!(bind.dig("TXT", "_dmarc.pub.example").await, ["\"v=DMARC1; p=reject\""]);
    assert!(bind.dig("TXT", "_dmarc.mail.pub.example").await.is_empty());
    // New keys are published and sign, with nobody's help.
    let path = format!("/v1/domains/{}/rotate-dkim", domain["id"].as_str().unwrap());
    assert_eq!(app.call_as(&key, "POST", &path, &[], b"{}".to_vec()).await.status, 200);
    let signs = |domain: &Value| {
        let keys = domain["keys"].as_array().unwrap();
        keys.iter().filter(|key| key["state"] == "signing").count() == 2
            && keys.iter().all(|key| key["state"] != "pending")
            && keys.len() > 2
    };
    until(&app, &key, &domain, signs).await;
    // Another project's domain in the same zone proves nothing by it.
    let foreign = until(&app, &stranger, &foreign, |domain| domain["checked_at"].is_string()).await;
    assert_eq!(foreign["state"], "pending");
    for record in foreign["records"].as_array().unwrap() {
        let host = record["host"].as_str().unwrap();
        assert!(bind.dig(record["type"].as_str().unwrap(), host).await.is_empty(), "{host}");
    }
}
