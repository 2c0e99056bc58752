//! Reports that came back by mail, as they are kept.

use super::words::words;

words! {
    /// How a report came in.
    pub enum ReportSource {
        Smtp = "smtp",
        Http = "http",
        Maildir = "maildir",
        /// Somebody followed a link of ours.
        Link = "link",
    }
}

words! {
    /// What followed from a report.
    pub enum ReportOutcome {
        /// An event says so.
        Told = "told",
        /// It says nothing that anybody must be told.
        Noted = "noted",
        /// Nobody can tell whether it is what it says to be: somebody has to look.
        Review = "review",
        /// It is nobody's.
        Unattributed = "unattributed",
    }
}
