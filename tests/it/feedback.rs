//! What came back by mail, read as others read it: the samples of a library that lists of mail have used for twenty years, which
//! `scripts/test` installs.

use std::path::Path;

use mailwright::feedback::{Meaning, read};
use serde_json::Value;

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
