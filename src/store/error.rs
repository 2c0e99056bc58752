//! What can go wrong with the store, as its callers need to know it.

/// A statement that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Unreachable, out of connections, or too slow: the same call may succeed later.
    #[error("the store is away: {0}")]
    Away(String),
    /// A named constraint refused the row.
    #[error("constraint {0} refused the row")]
    Refused(String),
    /// The statement itself failed: a defect, or a row that cannot be read.
    #[error("the store failed: {0}")]
    Failed(String),
    /// The configuration or the schema makes the store unusable.
    #[error("{0}")]
    Unusable(String),
}

impl StoreError {
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Away(_) => "away",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
            Self::Unusable(_) => "unusable",
        }
    }

    pub const fn is_away(&self) -> bool {
        matches!(self, Self::Away(_))
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
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => {
                if let Some(constraint) = database.constraint() {
                    return Self::Refused(constraint.to_owned());
                }
                // Classes 08 connection, 25 transaction state (idle timeout), 53 resources, 57 operator
                // intervention, 58 system error: about the server, not about the statement. 40 (deadlock,
                // serialization) passes by itself too.
                // 28 and 3D: the login or the database is not there (yet).
                let code = database.code().unwrap_or_default();
                let text = format!("{} (SQLSTATE {code})", database.message());
                // 55P03: a lock was not to be had within its timeout. 23514 without a name: no partition takes the row,
                // since a clock runs days ahead, or partitions could not be made. Both pass.
                if ["55P03", "23514"].contains(&&*code) {
                    return Self::Away(text);
                }
                match code.get(..2) {
                    Some("08" | "25" | "28" | "3D" | "40" | "53" | "57" | "58") => Self::Away(text),
                    _ => Self::Failed(text),
                }
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Away(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}
