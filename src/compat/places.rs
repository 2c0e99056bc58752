//! Where what our API speaks of stands in the words of a service.

use std::collections::BTreeMap;

use crate::domain::fault::Fault;

/// Pointers of ours, and the names that a service has for what stands there.
#[derive(Debug, Clone, Default)]
pub struct Places(BTreeMap<String, String>);

impl Places {
    /// What stands at `pointer` in our request is `name` in theirs.
    pub fn put(&mut self, pointer: impl Into<String>, name: impl Into<String>) {
        self.0.insert(pointer.into(), name.into());
    }

    /// The places of a part that stands at `pointer` in ours, and at `name` in theirs.
    pub fn put_below(&mut self, pointer: &str, name: &str, part: Self) {
        self.0.extend(part.0.into_iter().map(|(ours, theirs)| {
            (format!("{pointer}{ours}"), if name.is_empty() { theirs } else { format!("{name}.{theirs}") })
        }));
    }

    /// Bytes in memory, near enough.
    pub fn size(&self) -> usize {
        self.0.iter().map(|(ours, theirs)| 128 + ours.len() + theirs.len()).sum()
    }

    /// A fault in their words: which field, and what is wrong with it.
    pub fn told(&self, fault: &Fault) -> String {
        let place = self.name(&fault.pointer);
        if place.is_empty() { fault.detail.clone() } else { format!("`{place}` {}", fault.detail) }
    }

    /// Their name for what a pointer of ours leads to.
    pub fn name(&self, pointer: &str) -> String {
        let mut above = pointer;
        loop {
            if let Some(theirs) = self.0.get(above) {
                return format!("{theirs}{}", written(&pointer[above.len()..], theirs.is_empty()));
            }
            match above.rfind('/') {
                Some(at) => above = &above[..at],
                None => return written(pointer, true),
            }
        }
    }
}

/// A pointer as programs write it: `attachments[0].content`.
fn written(pointer: &str, is_first: bool) -> String {
    let mut text = String::new();
    for segment in pointer.split('/').filter(|segment| !segment.is_empty()) {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        if segment.bytes().all(|byte| byte.is_ascii_digit()) {
            text.push_str(&format!("[{segment}]"));
        } else {
            if !(is_first && text.is_empty()) {
                text.push('.');
            }
            text.push_str(&segment);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_told_in_the_words_of_a_service() {
        let mut places = Places::default();
        places.put("/send_at", "scheduled_at");
        places.put("/metadata", "tags");
        places.put("/messages/3", "");
        for (pointer, name) in [
            ("/send_at", "scheduled_at"),
            ("/send_atom", "send_atom"),
            ("/metadata/a", "tags.a"),
            ("/attachments/0/content", "attachments[0].content"),
            ("/messages/3/to/1", "to[1]"),
            ("/headers/a~1b", "headers.a/b"),
            ("", ""),
        ] {
            assert_eq!(places.name(pointer), name);
        }
    }
}
