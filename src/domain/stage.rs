//! How far an attempt came: the stage that stands on its record.

use super::words::words;

words! {
    /// Where an attempt ended, or which reply is awaited; in order.
    pub enum Stage {
        /// Before it began: the delivery's last instant had passed.
        Expiry = "expiry",
        /// Before it began: the address is suppressed.
        Suppression = "suppression",
        /// While its route was looked up.
        Resolve = "resolve",
        /// While its message was read from the store.
        Load = "load",
        /// Unknown: the process that held the lease stopped.
        Lease = "lease",
        /// In the sandbox, which is no server.
        Sandbox = "sandbox",
        Connect = "connect",
        Greeting = "greeting",
        Ehlo = "ehlo",
        StartTls = "starttls",
        Handshake = "handshake",
        Auth = "auth",
        Rset = "rset",
        Mail = "mail",
        Rcpt = "rcpt",
        Data = "data",
        Body = "body",
        Dot = "dot",
        Quit = "quit",
    }
}

impl Stage {
    /// Whether the server may have heard of the message by then.
    pub const fn is_of_message(self) -> bool {
        matches!(self, Self::Mail | Self::Rcpt | Self::Data | Self::Body | Self::Dot)
    }

    /// All names, for those who asked for one that there is not.
    pub fn names() -> String {
        Self::ALL.iter().map(|stage| stage.name()).collect::<Vec<_>>().join(", ")
    }
}
