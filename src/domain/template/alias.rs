//! The name that a project gives to a template: in requests, in `extends` and `include`, and of a directory.

use serde::Serialize;

use crate::domain::fault::{FaultCode, Flaw};

const LENGTH_MAX: usize = 64;
/// Words that stand in paths where an alias may stand.
const RESERVED: [&str; 2] = ["settings", "starters"];

/// 1 to 64 lower-case letters, digits, `-`, `_` and `.`, the first of them a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Alias(String);

impl Alias {
    pub fn parse(text: &str) -> Result<Self, Flaw> {
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let is_fine = text.len() <= LENGTH_MAX
            && text.starts_with(is_word)
            && text.chars().all(|c| is_word(c) || matches!(c, '-' | '_' | '.'));
        if !is_fine {
            let detail = format!(
                "must have 1 to {LENGTH_MAX} lower-case letters, digits, '-', '_' and '.', and begin with a letter or digit"
            );
            return Err(Flaw::new(FaultCode::InvalidAlias, detail));
        }
        if RESERVED.contains(&text) || text.starts_with("tpl_") {
            return Err(Flaw::new(FaultCode::InvalidAlias, "is a word with a meaning of its own: choose another"));
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Alias {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_can_stand_in_a_path_and_name_a_directory() {
        for fine in ["welcome", "order.receipt-2", "2fa_code"] {
            assert_eq!(Alias::parse(fine).unwrap().as_str(), fine);
        }
        let long = "a".repeat(65);
        for wrong in ["", ".", "..", "../up", "a/b", "Welcome", "käse", "-a", "starters", "settings", "tpl_x", &*long]
        {
            assert_eq!(Alias::parse(wrong).unwrap_err().code, FaultCode::InvalidAlias, "{wrong}");
        }
    }
}
