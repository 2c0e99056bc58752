//! Queries of our own lists, put together out of a service's.

use crate::compat::service::fault;
use crate::domain::fault::{Fault, FaultCode};

/// A list of ours and its parameters.
#[derive(Clone)]
pub struct Ours {
    path: &'static str,
    pairs: Vec<(String, String)>,
}

impl Ours {
    pub fn new(path: &'static str) -> Self {
        Self { path, pairs: Vec::new() }
    }

    pub fn put(&mut self, name: &str, value: &str) {
        self.pairs.push((name.to_owned(), value.to_owned()));
    }

    /// Where to ask.
    pub fn path(self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        format!("{}?{}", self.path, query.extend_pairs(self.pairs).finish())
    }
}

/// A number that a parameter must be.
pub fn number(name: &str, value: &str) -> Result<usize, Vec<Fault>> {
    let number = value.parse::<u32>().ok().and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| fault(name, FaultCode::InvalidParameter, "must be a number"))
}
