//! Tags that stand for a word of another service which is no tag there: with what the word is before it, so that it can be told again.

/// The name of a message stream (Postmark).
pub const STREAM: &str = "stream:";
/// The name of a configuration set (SES).
pub const CONFIGURATION_SET: &str = "configuration-set:";
/// The id of what is scheduled together (SendGrid).
pub const BATCH: &str = "batch:";
/// The number of a label (SendCloud).
pub const LABEL: &str = "label:";
