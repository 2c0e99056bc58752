//! What stands in a URL: ids, and the query parameters of lists. An unknown parameter is a fault.

use std::collections::HashMap;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::Serialize;

use super::problem::Problem;
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::id::{Id, Kind};

const LIMIT_DEFAULT: i64 = 50;
const LIMIT_MAX: i64 = 500;

/// The query, being read like a body: by name, to the end.
pub struct Params {
    values: HashMap<String, String>,
    faults: Vec<Fault>,
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(values) = Query::<HashMap<String, String>>::from_request_parts(head, state)
            .await
            .map_err(|error| Problem::malformed(error.to_string()))?;
        Ok(Self { values, faults: Vec::new() })
    }
}

impl Params {
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        let text = self.values.remove(name)?;
        if text.len() > 1000 || text.chars().any(char::is_control) {
            self.fault(name, "has control characters, or over 1000 bytes");
            return None;
        }
        Some(text)
    }

    /// A parameter in a form of its own.
    pub fn parsed<T>(&mut self, name: &'static str, wanted: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name)?;
        let value = parse(&text);
        if value.is_none() {
            self.fault(name, &format!("must be {wanted}"));
        }
        value
    }

    pub fn limit(&mut self) -> i64 {
        let wanted = format!("a whole number from 1 to {LIMIT_MAX}");
        self.parsed("limit", &wanted, |text| text.parse().ok().filter(|n| (1..=LIMIT_MAX).contains(n)))
            .unwrap_or(LIMIT_DEFAULT)
    }

    /// Where the page before this one ended.
    pub fn cursor<K: Kind>(&mut self) -> Option<Id<K>> {
        self.parsed("cursor", "the next_cursor of a page of this list", Id::parse)
    }

    fn fault(&mut self, name: &str, detail: &str) {
        self.faults.push(Fault::new(format!("?{name}"), FaultCode::InvalidParameter, detail));
    }

    /// Ends the reading.
    pub fn finish(mut self) -> Result<(), Problem> {
        for name in self.values.keys() {
            self.faults.push(Fault::new(
                format!("?{name}"),
                FaultCode::UnknownParameter,
                format!("there is no parameter '{name}'"),
            ));
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::validation(self.faults)) }
    }
}

/// An id in a path. One that cannot even be read names nothing.
pub struct PathId(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(head, state).await;
        path.map(|Path(id)| Self(id)).map_err(|_| Problem::not_found())
    }
}

/// A page: its rows, and the cursor of the next one when this one is full.
#[derive(Serialize)]
pub struct PageView<V> {
    data: Vec<V>,
    next_cursor: Option<String>,
}

impl<V> PageView<V> {
    pub fn of<'r, T>(rows: &'r [T], limit: i64, show: impl Fn(&'r T) -> V, cursor: impl Fn(&'r T) -> String) -> Self {
        let is_full = i64::try_from(rows.len()).is_ok_and(|count| count >= limit);
        let next_cursor = if is_full { rows.last().map(cursor) } else { None };
        Self { data: rows.iter().map(show).collect(), next_cursor }
    }
}
