//! "Did you mean …?": the known name that a misspelt one was most likely meant to be.

/// Edits of one letter (inserted, left out, replaced, or two exchanged) within which a name may be another.
const EDITS_MAX: usize = 2;

/// The name among `known` that `name` was probably meant to be: written in another style (`replyTo`, `reply-to`), or
/// misspelt by a letter or two.
pub fn closest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |text: &str| -> Vec<char> {
        text.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).take(64).collect()
    };
    let wanted = plain(name);
    let most = EDITS_MAX.min(wanted.len().div_ceil(3));
    let near = known.into_iter().map(|known| (edits(&wanted, &plain(known)), known));
    near.filter(|(edits, _)| *edits <= most).min_by_key(|(edits, _)| *edits).map(|(_, known)| known)
}

/// A sentence's end that names the closest one, or nothing.
pub fn did_you_mean<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    closest(name, known).map(|known| format!("; did you mean '{known}'?")).unwrap_or_default()
}

/// Optimal string alignment distance.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(x != y);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn what_was_meant_is_found_and_nothing_else() {
        let known = ["reply_to", "to", "cc", "subject", "send_at", "content_type", "text"];
        for (name, meant) in [
            ("replyTo", Some("reply_to")),
            ("reply-to", Some("reply_to")),
            ("Subject", Some("subject")),
            ("subjcet", Some("subject")),
            ("sned_at", Some("send_at")),
            ("contenttype", Some("content_type")),
            ("txt", Some("text")),
            ("x", None),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(closest(name, known), meant, "{name}");
        }
    }
}
