//! Paging and sorting, the same for every list.

use super::Call;
use crate::http::Response;

/// `_start`, `_end` and `_order` of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Page {
    start: usize,
    end: Option<usize>,
    pub(super) descending: bool,
}

impl Page {
    /// Reads the page; `descending` is the order of a list that is not asked for one.
    ///
    /// # Errors
    /// 400 for what is no number, no order, or an end before the start.
    pub(super) fn of(call: &Call<'_>, descending: bool) -> Result<Page, Response> {
        let start = number(call, "_start")?.unwrap_or(0);
        let end = number(call, "_end")?;
        if end.is_some_and(|end| end < start) {
            return Err(bad_query("_end must not be less than _start"));
        }
        let descending = match call.request.query_value("_order") {
            None | Some("") => descending,
            Some(order) if order.eq_ignore_ascii_case("desc") => true,
            Some(order) if order.eq_ignore_ascii_case("asc") => false,
            Some(_) => return Err(bad_query("_order must be ASC or DESC")),
        };
        Ok(Page { start, end, descending })
    }

    /// The items of this page.
    pub(super) fn cut<T>(&self, mut items: Vec<T>) -> Vec<T> {
        items.truncate(self.end.unwrap_or(items.len()));
        items.drain(..self.start.min(items.len()));
        items
    }
}

/// A number in the query; an empty value is none.
pub(super) fn number(call: &Call<'_>, key: &str) -> Result<Option<usize>, Response> {
    match call.request.query_value(key) {
        None | Some("") => Ok(None),
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => match text.parse() {
            Ok(value) => Ok(Some(value)),
            // More digits than a count can have: as good as without end.
            Err(_) => Ok(Some(usize::MAX)),
        },
        Some(_) => Err(bad_query(&format!("{key} must be a whole number"))),
    }
}

/// 400 for a query that makes no sense.
pub(super) fn bad_query(sentence: &str) -> Response {
    Response::error(400, "bad_query", sentence)
}
