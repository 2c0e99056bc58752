//! Queries of our own lists, put together out of a service's.

use serde_json::Value;

use super::inner::{Call, Caller, Inner, Refusal};
use super::places::Places;
use super::service::fault;
use crate::domain::fault::{Fault, FaultCode};

/// A list of ours and its parameters, and where these stood.
#[derive(Clone)]
pub struct Ours {
    path: &'static str,
    pairs: Vec<(String, String)>,
    places: Places,
}

impl Ours {
    pub fn new(path: &'static str) -> Self {
        Self { path, pairs: Vec::new(), places: Places::default() }
    }

    pub fn put(&mut self, name: &str, value: &str) {
        self.pairs.push((name.to_owned(), value.to_owned()));
    }

    /// The same of a value that stood at `theirs`.
    pub fn put_of(&mut self, name: &str, value: &str, theirs: &str) {
        self.places.put(format!("?{name}"), theirs);
        self.put(name, value);
    }

    /// What the list answers.
    pub async fn ask(self, inner: &Inner, caller: &Caller) -> Result<Value, (Refusal, Places)> {
        let places = self.places.clone();
        let answer = inner.call(caller, Call::get(self.path())).await;
        answer.map(|answer| answer.json()).map_err(|refusal| (refusal, places))
    }

    /// Where to ask.
    fn path(self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        format!("{}?{}", self.path, query.extend_pairs(self.pairs).finish())
    }
}

/// A number that a parameter must be.
pub fn number(name: &str, value: &str) -> Result<usize, Vec<Fault>> {
    let number = value.parse::<u32>().ok().and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| fault(name, FaultCode::InvalidParameter, "must be a number"))
}
