//! How what happened is told: what numbers are told apart by, and in which form rows are exported.

use super::words::words;

words! {
    /// What numbers are told apart by.
    pub enum GroupBy {
        Day = "day",
        Hour = "hour",
        /// The recipients' domains.
        Domain = "domain",
        /// The mail providers of the recipients, as the last tries found them.
        Provider = "provider",
        Tag = "tag",
        Template = "template",
    }
}

words! {
    /// How an export is written.
    pub enum ExportFormat {
        /// One JSON object in each line.
        Ndjson = "ndjson",
        /// RFC 4180, with a line of names.
        Csv = "csv",
    }
}
