//! Built-in templates to begin with, each in English and Simplified Chinese. One layout serves them all; what a project
//! copies is whole, and its own from then on.

use serde_json::{Map, Value};

use crate::domain::template::{Locale, Variant, Variants};

const LAYOUT: &str = include_str!("starters/layout.html");

/// A template to begin with.
#[derive(Debug)]
pub struct Starter {
    /// Its name, and the alias of a copy.
    pub name: &'static str,
    /// What a copy is called.
    pub title: &'static str,
    pub description: &'static str,
    samples: &'static str,
    locales: [(&'static str, Sources); 2],
}

#[derive(Debug)]
struct Sources {
    subject: &'static str,
    text: &'static str,
    /// Two lines, which stand before the message and below it, and what stands in the layout.
    content: &'static str,
}

macro_rules! sources {
    ($name:literal, $locale:literal) => {
        (
            $locale,
            Sources {
                subject: include_str!(concat!("starters/", $name, "/", $locale, "/subject.txt")),
                text: include_str!(concat!("starters/", $name, "/", $locale, "/text.txt")),
                content: include_str!(concat!("starters/", $name, "/", $locale, "/content.html")),
            },
        )
    };
}

macro_rules! starters {
    ($($name:literal $title:literal $description:literal;)*) => {
        /// All of them.
        pub const STARTERS: &[Starter] = &[$(Starter {
            name: $name,
            title: $title,
            description: $description,
            samples: include_str!(concat!("starters/", $name, "/samples.json")),
            locales: [sources!($name, "en"), sources!($name, "zh-Hans")],
        },)*];
    };
}

starters! {
    "verification-code" "Verification code" "A code that a person types to prove an address or to sign in.";
    "password-reset" "Password reset" "A link to choose a new password.";
    "magic-link" "Magic link" "A link that signs in without a password.";
    "receipt" "Receipt" "What was bought, line by line, and the total.";
    "alert" "Alert" "A fault of a service that somebody must look at.";
    "account-notice" "Account notice" "A change to an account, and what to do if it was somebody else.";
}

impl Starter {
    pub fn find(name: &str) -> Option<&'static Self> {
        STARTERS.iter().find(|starter| starter.name == name)
    }

    pub fn variants(&self) -> Variants {
        let variant =
            |(locale, sources): &(&str, Sources)| Some((Locale::parse(locale).ok()?, sources.variant(locale)));
        self.locales.iter().filter_map(variant).collect()
    }

    /// Variables to try it with.
    pub fn samples(&self) -> Map<String, Value> {
        serde_json::from_str(self.samples).unwrap_or_default()
    }
}

impl Sources {
    fn variant(&self, locale: &str) -> Variant {
        let mut lines = self.content.splitn(3, '\n');
        let mut next = || lines.next().unwrap_or_default();
        let (before, below, content) = (next(), next(), next());
        let html = LAYOUT.replace("%lang%", locale).replace("%preheader%", before);
        let html = html.replace("%content%", content).replace("%footer%", below);
        Variant {
            subject: Some(self.subject.to_owned()),
            text: Some(self.text.to_owned()),
            html: Some(html),
            mjml: None,
        }
    }
}
