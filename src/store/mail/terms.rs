//! What a message can be found by, as hashes: of a value, with its kind and its project, so that equal values of two projects have none in common.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};

use crate::domain::id::ProjectId;

/// Octets of a part of a subject: one of Latin words, and one or two letters of those in which a letter is a word.
const GRAM: usize = 4;
/// Parts of subjects that are kept of a block of messages. Of one with more it is said that it has many.
const GRAMS_MAX: usize = 6000;

/// Something that a message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Term<'a> {
    Mode(&'a str),
    /// The author's address, in letters of either case.
    From(&'a str),
    Tag(&'a str),
    /// Of a recipient.
    Domain(&'a str),
    Credential(&'a str),
    /// One of its own.
    MessageId(&'a str),
    /// The state of a message whose recipients are all settled.
    Status(&'a str),
    /// The state of a recipient of such a message.
    RecipientStatus(&'a str),
}

/// The terms of a block of messages, or those that are asked for.
pub struct Terms {
    project: ProjectId,
    all: BTreeSet<i64>,
    /// Parts of subjects, each once, however many messages have it.
    grams: BTreeSet<[u8; GRAM]>,
}

impl Terms {
    pub fn new(project: ProjectId) -> Self {
        Self { project, all: BTreeSet::new(), grams: BTreeSet::new() }
    }

    pub fn add(&mut self, term: Term<'_>) {
        let hash = self.term(term);
        self.all.insert(hash);
    }

    /// The hash of a term of this project.
    pub fn term(&self, term: Term<'_>) -> i64 {
        match term {
            Term::Mode(mode) => self.hash(b'o', mode.as_bytes()),
            Term::From(address) => self.hash(b'f', folded(address).as_bytes()),
            Term::Tag(tag) => self.hash(b't', tag.as_bytes()),
            Term::Domain(domain) => self.hash(b'd', domain.as_bytes()),
            Term::Credential(credential) => self.hash(b'c', credential.as_bytes()),
            Term::MessageId(id) => self.hash(b'i', id.as_bytes()),
            Term::Status(status) => self.hash(b's', status.as_bytes()),
            Term::RecipientStatus(status) => self.hash(b'r', status.as_bytes()),
        }
    }

    /// Adds the parts of a subject, or of what is looked for in one.
    pub fn add_subject(&mut self, text: &str) {
        for gram in folded(text).as_bytes().array_windows() {
            if self.grams.len() > GRAMS_MAX {
                return;
            }
            self.grams.insert(*gram);
        }
    }

    /// What stands for more parts of subjects than are kept.
    pub fn many_subjects(&self) -> i64 {
        self.hash(b'm', b"")
    }

    /// All but the parts of subjects.
    pub fn plain(&self) -> Vec<i64> {
        self.all.iter().copied().collect()
    }

    /// The parts of subjects.
    pub fn grams(&self) -> Vec<i64> {
        self.grams.iter().map(|gram| self.hash(b'g', gram)).collect()
    }

    /// As they are kept.
    pub fn finish(mut self) -> Vec<i64> {
        if self.grams.len() > GRAMS_MAX {
            let many = self.many_subjects();
            self.all.insert(many);
        } else {
            let grams = self.grams();
            self.all.extend(grams);
        }
        self.plain()
    }

    fn hash(&self, kind: u8, value: &[u8]) -> i64 {
        let hash = digest(&SHA256, &[&self.project.uuid().as_bytes()[..], &[kind], value].concat());
        let mut first = [0; 8];
        first.copy_from_slice(&hash.as_ref()[..8]);
        i64::from_be_bytes(first)
    }
}

/// Letters of both cases as one, each by itself: at least those that the store takes for the same.
fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).filter(|letter| *letter != '\u{307}').collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn subject(text: &str) -> Vec<i64> {
        let mut terms = Terms::new(ProjectId::from_uuid(Uuid::nil()));
        terms.add_subject(text);
        terms.grams()
    }

    #[test]
    fn what_is_in_a_subject_is_found_in_either_case_and_any_script() {
        for (text, part) in [
            ("Your order 10023 was shipped", "ORDER 10023"),
            ("您的验证码是 123456", "验证码"),
            ("Ihre Bestellung über Äpfel", "ÜBER ä"),
            ("İstanbul", "istanbul"),
            ("ΟΔΟΣ ΑΘΗΝΑ", "οδοσ"),
        ] {
            let (all, asked) = (subject(text), subject(part));
            assert!(!asked.is_empty() && asked.iter().all(|gram| all.contains(gram)), "{part}");
        }
        assert!(subject("abc").is_empty(), "what is shorter than a part narrows nothing");
    }

    #[test]
    fn a_term_is_of_one_project_and_one_kind() {
        let terms = [Uuid::nil(), Uuid::max()].map(|id| Terms::new(ProjectId::from_uuid(id)));
        let of_one = [Term::Tag("a"), Term::Domain("a"), Term::From("a"), Term::Status("a")].map(|t| terms[0].term(t));
        let mut distinct = of_one.to_vec();
        distinct.push(terms[1].term(Term::Tag("a")));
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 5);
        assert_eq!(terms[0].term(Term::From("A@Example.org")), terms[0].term(Term::From("a@example.ORG")));
    }

    #[test]
    fn more_parts_than_are_kept_are_said_to_be_many() {
        let mut terms = Terms::new(ProjectId::from_uuid(Uuid::nil()));
        for n in 0..3000 {
            terms.add_subject(&format!("{n:08x}{:08x}", n * 7919));
        }
        terms.add(Term::Mode("live"));
        let many = terms.many_subjects();
        let kept = terms.finish();
        assert_eq!(kept.len(), 2);
        assert!(kept.contains(&many));
    }
}
