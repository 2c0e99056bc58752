//! A short run of the fuzz targets over mutated seeds, the same ones every time. `scripts/fuzz` makes the long ones, guided by
//! coverage.

use mailwright::domain::clock::{Rng, SeededRng};

#[path = "../../fuzz/src/targets.rs"]
mod targets;

const ROUNDS: usize = 20_000;

/// Runs the target of that name.
fn run(name: &str, target: fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let seeds: Vec<_> = files.into_iter().map(|file| std::fs::read(file).unwrap()).collect();
    let rng = SeededRng::new(7);
    let mut random = [0; 8];
    for round in 0..ROUNDS {
        let mut bytes = seeds[round % seeds.len()].clone();
        rng.fill(&mut random);
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
    run("reply", targets::reply);
}

#[test]
fn dns_answers_of_any_shape_are_taken() {
    run("dns", targets::dns);
}

#[test]
fn policies_and_texts_of_any_shape_are_taken() {
    run("policy", targets::policy);
}

#[test]
fn mail_of_any_shape_that_came_back_is_read() {
    run("feedback", targets::feedback);
}

#[test]
fn sessions_of_any_shape_are_answered() {
    run("submission", targets::submission);
}
