//! Language tags (RFC 5646) of a template's variants, and which of them serves a reader (RFC 4647 §3.4).

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::domain::fault::{FaultCode, Flaw};

const LENGTH_MAX: usize = 35;

/// A language tag in the usual spelling: `en`, `zh-Hans`, `pt-BR`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Locale(String);

impl Locale {
    /// Spelling is repaired: `zh_hans_cn` is `zh-Hans-CN`.
    pub fn parse(text: &str) -> Result<Self, Flaw> {
        let is_fine = text.len() <= LENGTH_MAX
            && text.split(['-', '_']).enumerate().all(|(place, subtag)| {
                let letters = if place == 0 { subtag.chars().all(|c| c.is_ascii_alphabetic()) } else { true };
                let length = if place == 0 { 2..=8 } else { 1..=8 };
                letters && length.contains(&subtag.len()) && subtag.chars().all(|c| c.is_ascii_alphanumeric())
            });
        if !is_fine {
            let detail = "must be a language tag such as en, pt-BR or zh-Hans";
            return Err(Flaw::new(FaultCode::InvalidLocale, detail));
        }
        let subtags = text.split(['-', '_']).enumerate().map(|(place, subtag)| match subtag.len() {
            4 if place > 0 => titled(subtag),
            2 if place > 0 => subtag.to_ascii_uppercase(),
            _ => subtag.to_ascii_lowercase(),
        });
        Ok(Self(subtags.collect::<Vec<_>>().join("-")))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tags that serve a reader of this one, best first: `zh-Hans-CN`, `zh-Hans`, `zh`. Chinese is written in two
    /// scripts that a region implies: `zh-CN` is also served by `zh-Hans`, and `zh-HK` by `zh-Hant`.
    pub fn lookups(&self) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        let mut add = |text: String| {
            let tag = Self(text);
            if !found.contains(&tag) {
                found.push(tag);
            }
        };
        let subtags: Vec<_> = self.0.split('-').collect();
        let narrower = (2..=subtags.len()).rev().map(|count| subtags[..count].join("-"));
        narrower.for_each(&mut add);
        if subtags[0] == "zh" {
            let is_traditional = subtags[1..].iter().any(|tag| ["Hant", "TW", "HK", "MO"].contains(tag));
            let (script, region) = if is_traditional { ("zh-Hant", "zh-TW") } else { ("zh-Hans", "zh-CN") };
            if subtags.len() > 1 {
                add(script.to_owned());
                add(region.to_owned());
                add("zh".to_owned());
            } else {
                add("zh".to_owned());
                add(script.to_owned());
                add(region.to_owned());
            }
        }
        add(subtags[0].to_owned());
        found
    }
}

fn titled(subtag: &str) -> String {
    let lower = subtag.to_ascii_lowercase();
    let mut chars = lower.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

impl std::fmt::Display for Locale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Locale {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|flaw| D::Error::custom(flaw.detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookups(text: &str) -> Vec<String> {
        Locale::parse(text).unwrap().lookups().into_iter().map(|tag| tag.0).collect()
    }

    #[test]
    fn a_tag_is_brought_into_its_usual_spelling() {
        for (given, usual) in [("EN", "en"), ("zh_hans_cn", "zh-Hans-CN"), ("pt-br", "pt-BR"), ("es-419", "es-419")] {
            assert_eq!(Locale::parse(given).unwrap().as_str(), usual);
        }
        for wrong in ["", "e", "en-", "-en", "en--US", "../en", "de-reformations", "中文", "en us"] {
            assert_eq!(Locale::parse(wrong).unwrap_err().code, FaultCode::InvalidLocale, "{wrong}");
        }
    }

    #[test]
    fn a_reader_is_served_by_what_is_closest() {
        assert_eq!(lookups("zh-Hans-CN"), ["zh-Hans-CN", "zh-Hans", "zh-CN", "zh"]);
        assert_eq!(lookups("zh-CN"), ["zh-CN", "zh-Hans", "zh"]);
        assert_eq!(lookups("zh"), ["zh", "zh-Hans", "zh-CN"]);
        assert_eq!(lookups("zh-HK"), ["zh-HK", "zh-Hant", "zh-TW", "zh"]);
        assert_eq!(lookups("pt-BR"), ["pt-BR", "pt"]);
        assert_eq!(lookups("de"), ["de"]);
    }
}
