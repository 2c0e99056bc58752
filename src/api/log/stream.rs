//! An answer that is written as it is read: page by page, no more in memory than one. What breaks off in the middle ends the
//! connection, so that nobody takes a part for the whole.

use axum::body::Body;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use axum::response::Response;
use futures_util::stream::try_unfold;

use crate::domain::report::ExportFormat;
use crate::store::StoreError;

/// A page that was read, and where to go on.
pub struct Page<C> {
    pub text: String,
    /// `None`: it was the last.
    pub next: Option<C>,
}

/// The answer whose pages `read` gives, from the first on, which was read already.
pub fn stream<C, F>(
    format: ExportFormat,
    name: &'static str,
    head: String,
    first: Page<C>,
    read: impl Fn(C) -> F + Send + 'static,
) -> Response
where
    C: Send + 'static,
    F: Future<Output = Result<Page<C>, StoreError>> + Send,
{
    let Page { text, next } = first;
    let begin = (Some(head + &text), next, read);
    let pages = try_unfold(begin, |(text, next, read)| async move {
        if let Some(text) = text {
            return Ok::<_, StoreError>(Some((text, (None, next, read))));
        }
        let Some(cursor) = next else { return Ok(None) };
        let Page { text, next } = read(cursor).await.inspect_err(|error| {
            tracing::warn!(%error, "an export was broken off");
        })?;
        Ok(Some((text, (None, next, read))))
    });
    let mut response = Response::new(Body::from_stream(pages));
    let headers = response.headers_mut();
    let content_type = match format {
        ExportFormat::Ndjson => "application/x-ndjson",
        ExportFormat::Csv => "text/csv; charset=utf-8",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}.{}\"", format.name())) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    response
}

/// The parameter `format`.
pub fn format(params: &mut crate::api::page::Params) -> ExportFormat {
    params.parsed("format", "ndjson or csv", ExportFormat::parse).unwrap_or(ExportFormat::Ndjson)
}

/// A line of CSV. What a spreadsheet would take for a formula is marked as text.
pub fn csv_line<'c>(cells: impl IntoIterator<Item = &'c str>) -> String {
    let mut line = String::new();
    for (at, cell) in cells.into_iter().enumerate() {
        if at > 0 {
            line.push(',');
        }
        let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
        let mark = if is_formula { "'" } else { "" };
        if is_formula || cell.contains(['"', ',', '\n', '\r']) {
            line.push_str(&format!("\"{mark}{}\"", cell.replace('"', "\"\"")));
        } else {
            line.push_str(cell);
        }
    }
    line.push_str("\r\n");
    line
}

#[cfg(test)]
mod tests {
    use super::csv_line;

    #[test]
    fn a_cell_is_one_cell_and_never_a_formula() {
        assert_eq!(csv_line(["a", "b,c", "d\"e", "f\r\ng", ""]), "a,\"b,c\",\"d\"\"e\",\"f\r\ng\",\r\n");
        assert_eq!(csv_line(["=1+1", "-x", "@a", "+b"]), "\"'=1+1\",\"'-x\",\"'@a\",\"'+b\"\r\n");
    }
}
