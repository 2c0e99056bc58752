//! What can go wrong with the store, as its callers need to know it.

use crate::sealing::Unreadable;

/// A statement that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Unreachable, too slow, or not in a state to answer: the same call may succeed later, on a new connection.
    #[error("the store is away: {0}")]
    Away(String),
    /// The server said something that is on no list: it may pass, and it may be about one row among others.
    #[error("the store cannot answer: {0}")]
    Unclear(String),
    /// A named constraint refused the row.
    #[error("constraint {0} refused the row")]
    Refused(String),
    /// The statement itself failed: a defect, or a row that cannot be read.
    #[error("the store failed: {0}")]
    Failed(String),
    /// What lies there is sealed, and cannot be opened here.
    #[error("a secret in the store cannot be read: {0}")]
    Sealed(Unreadable),
    /// The configuration or the schema makes the store unusable.
    #[error("{0}")]
    Unusable(String),
}

impl StoreError {
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Away(_) => "away",
            Self::Unclear(_) => "unclear",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
            Self::Sealed(_) => "sealed",
            Self::Unusable(_) => "unusable",
        }
    }

    /// Whether to wait and ask again.
    pub const fn is_away(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Unclear(_))
    }

    /// Whether rows that were written together are worth trying one by one.
    pub const fn may_be_of_one_row(&self) -> bool {
        !matches!(self, Self::Away(_))
    }

    /// A row that this program cannot have written: which one, and what stands in it.
    pub fn corrupt(table: &str, column: &str, row: impl std::fmt::Display, value: impl std::fmt::Display) -> Self {
        Self::Failed(format!("{table}.{column} of row {row} holds '{value}', which is none of its values"))
    }
}

/// The member of a closed set that a row's word names, or the error that names table, column and row.
pub(super) fn decoded<T>(
    member: Option<T>,
    (table, column): (&str, &str),
    row: impl std::fmt::Display,
    value: impl std::fmt::Display,
) -> Result<T, StoreError> {
    member.ok_or_else(|| StoreError::corrupt(table, column, row, value))
}

impl From<sqlx::Error> for StoreError {
    /// Unknown means wait: an error may pass unless it is on the short list of those that the same statement would
    /// meet again on any connection to any server, since they name the rows or what was asked.
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default();
                if let Some(constraint) = database.constraint().filter(|_| code.starts_with("23")) {
                    return Self::Refused(constraint.to_owned());
                }
                let text = format!("{} (SQLSTATE {code})", database.message());
                match code.get(..2) {
                    _ if names_rows(&code) => Self::Failed(text),
                    // Of the server, not of the statement: connection, transaction state (idle timeout), login, database not
                    // there (yet), deadlock, resources, locks, operator, system; and the partition that is missing.
                    Some("08" | "23" | "25" | "28" | "3D" | "40" | "53" | "55" | "57" | "58") => Self::Away(text),
                    _ => Self::Unclear(text),
                }
            }
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::Decode(_)
            | sqlx::Error::Encode(_)
            | sqlx::Error::RowNotFound
            | sqlx::Error::TypeNotFound { .. } => Self::Failed(error.to_string()),
            _ => Self::Away(error.to_string()),
        }
    }
}

/// Whether a SQLSTATE speaks of the rows themselves: 21 cardinality, 22 data exception, 23 integrity, 54 a program's limit
/// (a row too large). Not 23514 without a constraint's name: no partition takes the row, since days could not be made yet.
fn names_rows(code: &str) -> bool {
    code != "23514" && matches!(code.get(..2), Some("21" | "22" | "23" | "54"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_that_name_rows_end_anything() {
        for code in ["22001", "22021", "22P05", "23502", "21000", "54000"] {
            assert!(names_rows(code), "{code}");
        }
        // Locks, plans, logins, servers that stop, start, are full, are broken or are not what they were.
        for code in [
            "", "00000", "08006", "0A000", "23514", "25006", "26000", "28P01", "3D000", "3F000", "40001", "40P01",
            "42501", "42P01", "42703", "53100", "53300", "55000", "55006", "55P03", "57014", "57P01", "57P03", "58030",
            "72000", "F0000", "HV000", "P0001", "XX000", "XX001", "ZZ999",
        ] {
            assert!(!names_rows(code), "{code}");
        }
    }
}
