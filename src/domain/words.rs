//! Closed sets whose members each have one stable word: in rows, in answers, in metrics, on the command line.

/// Declares such a set: the enum, and `ALL`, `name`, `parse`, `Display` and `Serialize` by the words.
macro_rules! words {
    ($(#[$about:meta])* pub enum $name:ident { $($(#[$doc:meta])* $member:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $member,)+ }

        impl $name {
            /// Every member, in order.
            pub const ALL: &'static [Self] = &[$(Self::$member,)+];

            /// Its stable word.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$member => $word,)+ }
            }

            /// The member with that word.
            pub fn parse(name: &str) -> Option<Self> {
                match name { $($word => Some(Self::$member),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }
    };
}
pub(super) use words;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use crate::domain::stage::Stage;

    #[test]
    fn every_word_is_parsed_back_and_no_two_members_share_one() {
        for stage in Stage::ALL {
            assert_eq!(Stage::parse(stage.name()), Some(*stage));
        }
        let names: HashSet<_> = Stage::ALL.iter().map(|stage| stage.name()).collect();
        assert_eq!(names.len(), Stage::ALL.len());
        assert_eq!(Stage::parse("lunch"), None);
    }
}
