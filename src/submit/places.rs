//! Which places of a request each recipient stands for, so that an answer can be laid beside it.

use crate::domain::draft::ListPlace;
use crate::domain::recipient::RecipientKind;

/// How many recipients of each kind there were so far. Most stand in the list of their kind at this place, and their rows
/// need not say so.
#[derive(Default)]
pub struct Ranks {
    counts: [usize; RecipientKind::ALL.len()],
}

impl Ranks {
    /// The place of the next recipient of a kind, if none is named twice.
    fn next(&mut self, kind: RecipientKind) -> ListPlace {
        let at = RecipientKind::ALL.iter().position(|known| *known == kind).unwrap_or(0);
        let index = self.counts[at];
        self.counts[at] += 1;
        ListPlace { list: kind, index }
    }

    /// What the row of the next recipient says of its places; `None`: what anybody would guess.
    pub fn column(&mut self, kind: RecipientKind, places: &[ListPlace]) -> Option<String> {
        if places == [self.next(kind)] {
            return None;
        }
        let pointers: Vec<_> = places.iter().map(ToString::to_string).collect();
        Some(pointers.join(","))
    }

    /// JSON pointers to the places of the next recipient, whose row says `column`.
    pub fn pointers(&mut self, kind: RecipientKind, column: Option<&str>) -> Vec<String> {
        let guess = self.next(kind);
        match column {
            None => vec![guess.to_string()],
            Some(column) => column.split(',').filter(|pointer| !pointer.is_empty()).map(str::to_owned).collect(),
        }
    }
}
