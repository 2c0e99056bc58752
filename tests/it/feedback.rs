//! What came back by mail, read as others read it: the samples of a library that lists of mail have used for twenty years, which
//! `scripts/test` installs.

use std::path::Path;

use mailwright::domain::aggregate::AggregateKind;
use mailwright::feedback::{Meaning, aggregate, read};
use serde_json::{Value, json};

/// Samples in which the library finds nobody, and what they are: bounces that name no address, a program's answer, a person's.
const NOBODY: [(&str, Meaning); 5] = [
    ("bounce_01.txt", Meaning::Failed),
    ("dumbass_01.txt", Meaning::Failed),
    ("simple_43.txt", Meaning::Failed),
    ("qmail_08.txt", Meaning::AutoReply),
    ("groupwise_03.txt", Meaning::Other),
];

#[test]
fn bounces_of_all_kinds_are_read_as_by_the_library_that_collected_them() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/samples");
    let expected = std::fs::read_to_string(samples.join("expected.jsonl"));
    let expected = expected.expect("target/tools/samples is missing: scripts/test installs it");
    let (mut wrong, mut unnamed, mut count) = (Vec::new(), Vec::new(), 0);
    for line in expected.lines() {
        let sample: Value = serde_json::from_str(line).unwrap();
        let name = sample["file"].as_str().unwrap();
        let reading = read(&std::fs::read(samples.join("data").join(name)).unwrap()).unwrap();
        let found = |kind: &str| -> Vec<String> {
            sample[kind].as_array().unwrap().iter().map(|address| address.as_str().unwrap().to_lowercase()).collect()
        };
        let (temporary, permanent) = (found("temporary"), found("permanent"));
        let wanted = match (permanent.is_empty(), temporary.is_empty()) {
            (false, _) => Meaning::Failed,
            (true, false) => Meaning::Delayed,
            (true, true) => NOBODY.iter().find(|(file, _)| *file == name).unwrap().1,
        };
        if reading.meaning != wanted {
            wrong.push(format!("{name}: {:?}, and not {wanted:?}", reading.meaning));
        }
        let of_machine = reading.recipients.iter().flat_map(|one| [Some(one.address.clone()), one.original.clone()]);
        let named: Vec<_> =
            of_machine.flatten().chain(reading.mentioned).map(|address| address.to_lowercase()).collect();
        if permanent.iter().chain(&temporary).any(|address| !named.contains(address)) {
            unnamed.push(name.to_owned());
        }
        count += 1;
    }
    assert!(count >= 117, "{count} samples");
    assert_eq!(wrong, [""; 0], "each is what it is");
    // One gives no domain, one spells the addresses as nobody's standard does: tokens say whose those are.
    assert!(unnamed.len() * 50 <= count, "98 in 100 name whom they are about: {unnamed:?}");
}

/// The samples of a kind that a crate has, with what it reads in them.
fn samples_of(kind: &str, extension: &str) -> Vec<(String, Vec<u8>, Value)> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/samples/reports").join(kind);
    let listed = std::fs::read_dir(&place).expect("target/tools/samples/reports is missing: scripts/test installs it");
    let mut samples: Vec<_> = listed
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| {
            let says = std::fs::read(path.with_extension("json")).unwrap();
            (path.display().to_string(), std::fs::read(&path).unwrap(), serde_json::from_slice(&says).unwrap())
        })
        .collect();
    samples.sort_by(|a, b| a.0.cmp(&b.0));
    samples
}

#[test]
fn complaints_are_read_as_by_the_crate_that_has_samples_of_them() {
    let samples = samples_of("arf", "eml");
    assert_eq!(samples.len(), 5);
    for (file, raw, says) in samples {
        let reading = read(&raw).unwrap();
        let wanted = match says["feedback_type"].as_str().unwrap() {
            "Abuse" => Meaning::Complaint,
            "AuthFailure" => Meaning::AuthFailure,
            other => panic!("{other}"),
        };
        assert_eq!(reading.meaning, wanted, "{file}");
    }
}

#[test]
fn reports_of_receivers_are_read_as_by_the_crate_that_has_samples_of_them() {
    let samples = samples_of("dmarc-feedback", "eml");
    assert_eq!(samples.len(), 5);
    for (file, raw, says) in samples {
        let report = aggregate::read(&raw).unwrap_or_else(|| panic!("{file} is read"));
        let records = says["record"].as_array().unwrap();
        let sum = |passed: bool| -> u64 {
            let counts = |record: &&Value| {
                let evaluated = &record["row"]["policy_evaluated"];
                !passed || evaluated["dkim"] == "Pass" || evaluated["spf"] == "Pass"
            };
            records.iter().filter(counts).map(|record| record["row"]["count"].as_u64().unwrap()).sum()
        };
        assert_eq!(report.kind, AggregateKind::Dmarc, "{file}");
        assert_eq!((report.total, report.passed), (sum(false), sum(true)), "{file}");
        assert_eq!(says["policy_published"]["domain"], report.domain, "{file}");
        let about = &says["report_metadata"];
        assert_eq!(
            (&about["report_id"], &about["org_name"]),
            (&json!(report.report_id), &json!(report.reporter)),
            "{file}"
        );
        assert_eq!(about["date_range"]["begin"], report.begin.unix_timestamp(), "{file}");
    }
    let samples = samples_of("tlsrpt", "eml");
    assert_eq!(samples.len(), 2);
    for (file, raw, says) in samples {
        let report = aggregate::read(&raw).unwrap_or_else(|| panic!("{file} is read"));
        let sum = |name: &str| -> u64 {
            says["policies"]
                .as_array()
                .unwrap()
                .iter()
                .map(|policy| policy["summary"][name].as_u64().unwrap_or(0))
                .sum()
        };
        let (good, bad) = (sum("total-successful-session-count"), sum("total-failure-session-count"));
        assert_eq!((report.kind, report.total, report.passed), (AggregateKind::Tls, good + bad, good), "{file}");
        assert_eq!(says["report-id"], report.report_id, "{file}");
    }
}

#[test]
fn letters_within_letters_without_end_are_read_and_cost_little() {
    for unit in [
        "Content-Type: message/rfc822\r\n\r\n",
        "c ontent-TYPE : message/rfc822\n\n",
        "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\n",
        "--b\r\nContent-Type: multipart/x;boundary=z\r\n\r\n",
    ] {
        let letter = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", unit.repeat(200_000));
        assert!(read(letter.as_bytes()).is_some());
        mailwright::compose::searchable_text(letter.as_bytes());
    }
    let fields = format!(
        "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n{}",
        "a:\r\n".repeat(1_000_000)
    );
    assert!(read(fields.as_bytes()).unwrap().recipients.is_empty());
}
