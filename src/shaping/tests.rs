//! Rules as operators write them.

use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::domain::route::Route;

const BASE: Limits = Limits {
    connections: 20,
    connection_rate: None,
    message_rate: None,
    messages_per_connection: 100,
    idle: Duration::from_secs(10),
};

const FILE: &str = r#"
    [limits.default]
    idle = "5s"
    [limits.provider.yahoo]
    connections = 3
    [limits.mx."mx.example.net"]
    connection_rate = "10/m"
    [limits.domain."slow.example"]
    connections = 1
    message_rate = "30/m"
    [sources.a]
    address = "192.0.2.1"
    hello = "a.example.org"
    [sources.b]
    address = "192.0.2.2"
    hello = "b.example.org"
    warmup = "standard"
    since = "2026-11-01"
    [warmups.standard]
    days = [50, 100]
    [pools.default]
    members = { a = 3, b = 1 }
    [[routes]]
    project = "shop"
    domain = "*.example.net"
    via = "smtp://relay.example:25?tls=none&weight=3,smtp://other.example?tls=none"
    pool = "default"
    tls = "required"
    [[routes]]
    domain = "plain.example"
    via = "mx"
"#;

fn shaping() -> Shaping {
    Shaping::new(FILE, BASE).unwrap()
}

fn hop<'a>(domain: &'a str, group: &'a str, provider: Option<&'a str>) -> NextHop<'a> {
    NextHop { domain, group, provider }
}

#[test]
fn the_narrower_rule_counts_and_the_file_stands_over_what_is_built_in() {
    let shaping = shaping();
    let yahoo = shaping.limits(hop("yahoo.com", "yahoo", Some("yahoo")));
    assert_eq!((yahoo.connections, yahoo.messages_per_connection), (3, 20), "the file's, and the built-in one's");
    assert_eq!(yahoo.idle, Duration::from_secs(5));
    let slow = shaping.limits(hop("slow.example", "mx.example.net", None));
    assert_eq!((slow.connections, slow.connection_rate.unwrap().count), (1, 10));
    assert!((slow.message_rate.unwrap().per_second() - 0.5).abs() < 1e-9);
}

#[test]
fn routes_match_by_project_and_by_domain_at_a_dot() {
    let mut shaping = shaping();
    let (shop, other) = (ProjectId::from_uuid(Uuid::from_u128(1)), ProjectId::from_uuid(Uuid::from_u128(2)));
    assert!(shaping.route(shop, "a.example.net").is_none(), "nobody has told which project `shop` is");
    assert_eq!(shaping.unnamed_projects(), ["shop"]);
    shaping.name_project("shop", shop);
    let rule = shaping.route(shop, "a.example.net").unwrap();
    assert!(matches!(&rule.via, Some(Route::Smarthosts(list)) if list[0].weight == 3 && list[1].weight == 1));
    assert_eq!((rule.tls, rule.pool.as_deref()), (Some(Choice::Required), Some("default")));
    for (project, domain) in [(other, "a.example.net"), (shop, "example.net"), (shop, "evilexample.net")] {
        assert!(shaping.route(project, domain).is_none(), "{domain}");
    }
    assert_eq!(shaping.route(other, "plain.example").unwrap().via, Some(Route::Mx));
}

#[test]
fn a_source_is_sticky_and_shares_follow_the_weights() {
    let shaping = shaping();
    let candidates = shaping.candidates("default");
    let pick = |domain: &str| choose(&candidates, domain, |_| true, |_| false, |_| true).unwrap().name;
    assert_eq!(pick("example.net"), pick("example.net"));
    let of_a = (0..4000).filter(|n| pick(&format!("d{n}.example")) == "a").count();
    assert!((2800..3200).contains(&of_a), "3 of 4: {of_a}");
}

#[test]
fn what_may_not_be_used_is_passed_over_and_the_reason_is_told() {
    let shaping = shaping();
    let candidates = shaping.candidates("default");
    let yes = |_: &Candidate<'_>| true;
    let no = |_: &Candidate<'_>| false;
    let spilled = choose(&candidates, "x.example", yes, no, |c| c.name == "a").unwrap();
    assert_eq!(spilled.name, "a", "past one whose warm-up is used up");
    let others = choose(&candidates, "x.example", yes, |c| c.name == "a", yes).unwrap();
    assert_eq!(others.name, "b");
    assert_eq!(choose(&candidates, "x", yes, no, no).err(), Some(NoSourceReason::WarmedOut));
    assert_eq!(choose(&candidates, "x", yes, yes, yes).err(), Some(NoSourceReason::SetAside));
    assert_eq!(choose(&candidates, "x", no, no, yes).err(), Some(NoSourceReason::None));
}

#[test]
fn a_pool_may_be_some_projects_own() {
    let file = format!("{FILE}\n[pools.shop]\nmembers = {{ a = 1 }}\nprojects = [\"shop\"]");
    let mut shaping = Shaping::new(&file, BASE).unwrap();
    let (shop, other) = (ProjectId::from_uuid(Uuid::from_u128(1)), ProjectId::from_uuid(Uuid::from_u128(2)));
    assert!(!shaping.has_pool("shop", shop), "nobody has told which project `shop` is");
    shaping.name_project("shop", shop);
    assert_eq!([shop, other].map(|project| shaping.has_pool("shop", project)), [true, false]);
    assert_eq!([shop, other].map(|project| shaping.has_pool("default", project)), [true, true]);
}

#[test]
fn a_faulty_file_says_where_and_why() {
    for (text, wanted) in [
        ("[limits.default]\nconections = 1", "conections"),
        ("[limits.default]\nconnections = 0", "nonzero"),
        ("[limits.default]\nmessage_rate = \"5\"", "is not a rate"),
        ("[pools.p]\nmembers = { x = 1 }", "pools.p: there is no source 'x'"),
        ("[pools.default]\nmembers = { x = 1 }\nprojects = [\"shop\"]", "pools.default: it is everybody's"),
        ("[[routes]]\npool = \"p\"", "routes[0]: there is no pool 'p'"),
        ("[[routes]]\nvia = \"http://x\"", "is neither mx"),
        ("[sources.a]\naddress = \"192.0.2.1\"\nhello = \"h\"\nwarmup = \"w\"", "there is no warm-up 'w'"),
    ] {
        let error = Shaping::new(text, BASE).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}
