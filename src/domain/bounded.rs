//! Maps that remember a bounded number of things.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

/// Makes room for one more in a map of at most `most`: what is not fresh goes, and if all are, every eighth, so that the next
/// look through the whole map is some thousand entries away.
pub fn make_room<K: Eq + Hash, V, S: BuildHasher>(
    map: &mut HashMap<K, V, S>,
    most: usize,
    is_fresh: impl Fn(&V) -> bool,
) {
    if map.len() < most {
        return;
    }
    map.retain(|_, value| is_fresh(value));
    if map.len() * 8 > most * 7 {
        let mut place = 0_usize;
        map.retain(|_, _| {
            place += 1;
            !place.is_multiple_of(8)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_full_map_of_fresh_things_is_looked_through_seldom() {
        let looks = Cell::new(0_usize);
        let mut map = HashMap::new();
        for n in 0..100_000_u32 {
            make_room(&mut map, 8_000, |_| {
                looks.set(looks.get() + 1);
                true
            });
            map.insert(n, n);
            assert!(map.len() <= 8_000);
        }
        assert!(looks.get() < 1_000_000, "{} looks", looks.get());
        make_room(&mut map, 8_000, |_| false);
        make_room(&mut map, 1, |_| false);
        assert!(map.is_empty());
    }
}
