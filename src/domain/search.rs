//! Text as it is compared by a search.

/// Letters without their case, white space as one space: a phrase is found across a line's end.
pub fn fold_for_search(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().map(|word| word.replace('\0', "").to_lowercase()).collect();
    words.join(" ")
}
