//! Cells of CSV that a spreadsheet would take for a formula.
//!
//! What begins with `=`, `+`, `-`, `@`, a tab or a carriage return is written behind an apostrophe, and so is what begins with
//! apostrophes and one of these; a reader takes one apostrophe off. So nothing that is read back is changed: an address may
//! begin with any of them.

use std::borrow::Cow;

/// Whether a cell is a formula, behind any number of apostrophes.
fn is_formula(cell: &str) -> bool {
    cell.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r'])
}

/// The cell as it is written.
pub fn guarded(cell: &str) -> Cow<'_, str> {
    if is_formula(cell) { Cow::Owned(format!("'{cell}")) } else { Cow::Borrowed(cell) }
}

/// The cell as it was before.
pub fn unguarded(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(rest) if is_formula(rest) => rest,
        _ => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_and_every_cell_is_read_back() {
        for cell in ["", "a@b.c", "=1+1", "+x@b.c", "-x", "@x", "'=x@b.c", "''+x", "'quoted'", "'", "\tx", "'a"] {
            let written = guarded(cell);
            assert!(!written.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell}");
            assert_eq!(unguarded(&written), cell);
        }
    }
}
