//! What changed between two versions, as a unified diff of each part.

use std::collections::BTreeSet;
use std::time::Duration;

use similar::TextDiff;

use crate::domain::template::{Locale, Variant, Variants};

/// Longest time for one part; a difference that takes longer to find is told in coarser pieces.
const DEADLINE: Duration = Duration::from_millis(200);

/// The difference of one part in one locale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartDiff {
    pub locale: Locale,
    /// `subject`, `text`, `html` or `mjml`.
    pub part: &'static str,
    /// A unified diff (`diff -u`).
    pub diff: String,
}

/// The parts that differ, as their author wrote them. `names` are those of the two sides.
pub fn diff(old: &Variants, new: &Variants, names: (&str, &str)) -> Vec<PartDiff> {
    let none = Variant::default();
    let locales: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let mut found = Vec::new();
    for locale in locales {
        let (old, new) = (old.get(locale).unwrap_or(&none), new.get(locale).unwrap_or(&none));
        for ((part, before), (_, after)) in old.written().into_iter().zip(new.written()) {
            if before != after {
                let diff = unified(before.unwrap_or_default(), after.unwrap_or_default(), names);
                found.push(PartDiff { locale: locale.clone(), part, diff });
            }
        }
    }
    found
}

fn unified(old: &str, new: &str, names: (&str, &str)) -> String {
    let diff = TextDiff::configure().timeout(DEADLINE).diff_lines(old, new);
    diff.unified_diff().context_radius(3).header(names.0, names.1).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_told_by_locale_and_part() {
        let locale = |text| Locale::parse(text).unwrap();
        let variant = |subject: &str, text: &str| Variant {
            subject: Some(subject.to_owned()),
            text: Some(text.to_owned()),
            ..Variant::default()
        };
        let old = Variants::from([(locale("en"), variant("Hi", "a\nb\nc\n"))]);
        let new = Variants::from([(locale("en"), variant("Hi", "a\nB\nc\n")), (locale("de"), variant("Hallo", ""))]);
        let found = diff(&old, &new, ("1", "2"));
        let told: Vec<_> = found.iter().map(|part| (part.locale.as_str(), part.part)).collect();
        assert_eq!(told, [("de", "subject"), ("de", "text"), ("en", "text")]);
        assert_eq!(found[2].diff, "--- 1\n+++ 2\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n");
    }
}
