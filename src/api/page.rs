//! What stands in a URL: ids, and the query parameters of lists. An unknown parameter is a fault.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::Serialize;

use super::problem::Problem;
use crate::domain::fault::{Fault, FaultCode};
use crate::domain::id::{Id, Kind, ProjectId};

const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 500;

/// Rows of a page.
#[derive(Clone, Copy)]
pub struct Limit(usize);

impl Limit {
    pub const fn rows_of_page(self) -> usize {
        self.0
    }

    /// Rows to read: one more than the page has says whether there is another page.
    pub fn rows(self) -> i64 {
        i64::try_from(self.0 + 1).unwrap_or(i64::MAX)
    }
}

/// The query, being read like a body: by name, to the end.
pub struct Params {
    values: BTreeMap<String, String>,
    /// Further values of parameters that are given more than once.
    further: Vec<(String, String)>,
    faults: Vec<Fault>,
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(head, state)
            .await
            .map_err(|error| Problem::malformed(error.to_string()))?;
        let mut params = Self { values: BTreeMap::new(), further: Vec::new(), faults: Vec::new() };
        for (name, value) in pairs {
            match params.values.entry(name) {
                Entry::Occupied(first) => params.further.push((first.key().clone(), value)),
                Entry::Vacant(none) => {
                    none.insert(value);
                }
            }
        }
        Ok(params)
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
            // A form decodes '+' to a space: of times with an offset, and of addresses with a tag.
            let was_plus = text.contains(' ') && parse(&text.replace(' ', "+")).is_some();
            let hint = if was_plus { "; a '+' in a query is written %2B" } else { "" };
            self.fault(name, &format!("must be {wanted}{hint}"));
        }
        value
    }

    /// A parameter that may be given several times, each value in a form of its own.
    pub fn all<T>(&mut self, name: &'static str, wanted: &str, parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let mut values: Vec<_> = self.parsed(name, wanted, &parse).into_iter().collect();
        let (own, others) = std::mem::take(&mut self.further).into_iter().partition(|(other, _)| other == name);
        self.further = others;
        let own: Vec<(String, String)> = own;
        for (_, text) in own {
            match parse(&text) {
                Some(value) => values.push(value),
                None => self.fault(name, &format!("must be {wanted}")),
            }
        }
        values
    }

    pub fn limit(&mut self) -> Limit {
        let wanted = format!("a whole number from 1 to {LIMIT_MAX}");
        let given = self.parsed("limit", &wanted, |text| text.parse().ok().filter(|n| (1..=LIMIT_MAX).contains(n)));
        Limit(given.unwrap_or(LIMIT_DEFAULT))
    }

    /// For which project an operator acts.
    pub fn project(&mut self) -> Option<ProjectId> {
        self.parsed("project", "a project's id (prj_…)", ProjectId::parse)
    }

    /// Where the page before this one ended.
    pub fn cursor<K: Kind>(&mut self) -> Option<Id<K>> {
        self.parsed("cursor", "the next_cursor of a page of this list", Id::parse)
    }

    fn is_faulty(&self, name: &str) -> bool {
        self.faults.iter().any(|fault| fault.pointer.strip_prefix('?') == Some(name))
    }

    fn fault(&mut self, name: &str, detail: &str) {
        self.faults.push(Fault::new(format!("?{name}"), FaultCode::InvalidParameter, detail));
    }

    /// Ends the reading.
    pub fn finish(mut self) -> Result<(), Problem> {
        for (name, _) in std::mem::take(&mut self.further) {
            if !self.is_faulty(&name) {
                self.fault(&name, "is given more than once");
            }
        }
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

/// Two names in a path. Those that cannot even be read name nothing.
pub struct PathIds(pub String, pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathIds {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<(String, String)>::from_request_parts(head, state).await;
        path.map(|Path((first, second))| Self(first, second)).map_err(|_| Problem::not_found())
    }
}

/// A page: its rows, and the cursor of the next one if there is one.
#[derive(Serialize)]
pub struct PageView<V> {
    data: Vec<V>,
    next_cursor: Option<String>,
}

impl<V> PageView<V> {
    /// A page as it was found.
    pub const fn whole(data: Vec<V>, next_cursor: Option<String>) -> Self {
        Self { data, next_cursor }
    }

    /// Of the rows that a statement found, which was asked for [`Limit::rows`].
    pub fn of<'r, T>(
        rows: &'r [T],
        Limit(limit): Limit,
        show: impl Fn(&'r T) -> V,
        cursor: impl Fn(&'r T) -> String,
    ) -> Self {
        let page = &rows[..rows.len().min(limit)];
        let next_cursor = if rows.len() > limit { page.last().map(cursor) } else { None };
        Self { data: page.iter().map(show).collect(), next_cursor }
    }
}
