//! A short run of the fuzz targets over mutated seeds, the same ones every time. `fuzz/` is for the long ones.

use mailwright::domain::clock::{Chance, SeededChance};

#[path = "../../fuzz/src/targets.rs"]
mod targets;

const ROUNDS: usize = 20_000;

const REPLIES: [&[u8]; 4] = [
    b"220 hi\r\n250-x\r\n250-PIPELINING\r\n250 SIZE 10\r\n250 ok\r\n250 ok\r\n354 go\r\n250 2.0.0 taken\r\n",
    b"220-a\r\n220 b\r\n250-x\r\n250-STARTTLS\r\n250 CHUNKING\r\n220 go\r\n250 x\r\n550 5.1.1 no\r\n421 bye\r\n",
    b"554 5.7.1 no\r\n",
    b"220 hi\r\n502 what\r\n250 hello\r\n250 ok\r\n450 4.2.0 later\r\n",
];

// A response: MX 10 mx.example.net for example.net, and a TXT record.
const ANSWERS: [&[u8]; 2] = [
    b"\x12\x34\x85\xa0\0\x01\0\x01\0\0\0\0\x07example\x03net\0\0\x0f\0\x01\xc0\x0c\0\x0f\0\x01\0\0\0\x3c\0\x07\0\x0a\x02mx\xc0\x0c",
    b"\x12\x34\x85\x80\0\x01\0\x01\0\0\0\0\x07example\x03net\0\0\x10\0\x01\xc0\x0c\0\x10\0\x01\0\0\0\x3c\0\x05\x04v=ST",
];

const POLICIES: [&[u8]; 2] =
    [b"version: STSv1\nmode: enforce\nmx: *.example.net\nmax_age: 86400\n", b"v=STSv1; id=20260101;"];

fn run(seeds: &[&[u8]], target: fn(&[u8])) {
    let chance = SeededChance::new(7);
    let mut random = [0; 8];
    for round in 0..ROUNDS {
        let mut bytes = seeds[round % seeds.len()].to_vec();
        chance.fill(&mut random);
        for change in random[2..].chunks(3).take(usize::from(random[0] % 3)) {
            let at = (usize::from(change[0]) << 8 | usize::from(change[1])) % bytes.len();
            match change[2] % 4 {
                0 => bytes[at] = change[1],
                1 => bytes[at] ^= 1 << (change[1] % 8),
                2 => bytes.truncate(at + 1),
                _ => bytes.extend_from_within(at..),
            }
        }
        target(&bytes);
    }
}

#[test]
fn replies_of_any_shape_are_taken() {
    run(&REPLIES, targets::reply);
}

#[test]
fn dns_answers_of_any_shape_are_taken() {
    run(&ANSWERS, targets::dns);
}

#[test]
fn policies_and_texts_of_any_shape_are_taken() {
    run(&POLICIES, targets::policy);
}
