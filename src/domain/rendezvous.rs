//! Weighted rendezvous: which member of a pool has a key. The answer follows from the names, the weights and the key alone, so that
//! it stays the same while the pool does; a member that comes or goes moves only its own share.

/// How much a member wants a key: the greatest of `-weight / ln(hash)` has it.
fn score(name: &str, weight: u32, key: &str) -> f64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name.bytes().chain([0]).chain(key.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // FNV's high bits are poor for short texts.
    hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^= hash >> 29;
    let unit = ((hash >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
    f64::from(weight) / -unit.min(1.0 - f64::EPSILON).ln()
}

/// Sorts members, given by name and weight, for a key: the one that has it comes first.
pub fn sort<T>(members: &mut Vec<T>, key: &str, about: impl Fn(&T) -> (&str, u32)) {
    let scored = |member: T| {
        let (name, weight) = about(&member);
        (score(name, weight, key), member)
    };
    let mut all: Vec<_> = std::mem::take(members).into_iter().map(scored).collect();
    all.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    members.extend(all.into_iter().map(|(_, member)| member));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(pool: &[(&'static str, u32)], key: &str) -> &'static str {
        let mut order = pool.to_vec();
        sort(&mut order, key, |member| *member);
        order[0].0
    }

    #[test]
    fn each_has_its_share_and_who_comes_takes_only_that() {
        let pool = [("a.example", 3), ("b.example", 1)];
        let keys: Vec<_> = (0..10_000).map(|n| format!("r{n}@example.net")).collect();
        let of_a = keys.iter().filter(|key| has(&pool, key) == "a.example").count();
        assert!((7_300..7_700).contains(&of_a), "{of_a} of 10,000 at three to one");
        let more = [("a.example", 3), ("b.example", 1), ("c.example", 1)];
        let moved: Vec<_> = keys.iter().filter(|key| has(&pool, key) != has(&more, key)).collect();
        assert!((1_800..2_200).contains(&moved.len()), "{} moved to a fifth", moved.len());
        assert!(moved.iter().all(|key| has(&more, key) == "c.example"));
    }
}
