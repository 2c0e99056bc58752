//! Lists on standard output: a table for people, JSON for programs.

use serde_json::{Map, Value};

use crate::terminal::{CommandError, out};

/// How a list is printed.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct ListArgs {
    /// Print a JSON array of objects instead of a table.
    #[arg(long)]
    pub json: bool,
}

impl ListArgs {
    /// Prints rows, each with a value for each of `columns`. A table has a line of their names, and `-` where there is
    /// no value.
    pub fn print<const N: usize>(self, columns: [&str; N], rows: Vec<[Value; N]>) -> Result<(), CommandError> {
        let text = if self.json { json(columns, rows)? } else { table(columns, &rows) };
        out::print(text.trim_end())
    }
}

fn json<const N: usize>(columns: [&str; N], rows: Vec<[Value; N]>) -> Result<String, CommandError> {
    let named = |row| columns.into_iter().map(str::to_owned).zip(row).collect::<Map<_, _>>();
    let objects: Vec<_> = rows.into_iter().map(named).collect();
    serde_json::to_string_pretty(&objects).map_err(CommandError::new)
}

fn table<const N: usize>(columns: [&str; N], rows: &[[Value; N]]) -> String {
    let mut lines = vec![columns.map(|name| name.replace('_', " ").to_ascii_uppercase())];
    lines.extend(rows.iter().map(|row| row.each_ref().map(cell)));
    let widths: Vec<_> =
        (0..N).map(|i| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or_default()).collect();
    let mut text = String::new();
    for line in lines {
        let cells: Vec<_> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_aligned_and_what_is_absent_is_said() {
        let rows = vec![[json!("shop"), json!(["a", "b"]), json!(null)], [json!("é"), json!([]), json!("now")]];
        let wanted = "PROJECT  SCOPES  REVOKED AT\nshop     a,b     -\né                now\n";
        assert_eq!(table(["project", "scopes", "revoked_at"], &rows), wanted);
    }
}
