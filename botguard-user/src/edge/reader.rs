//! Who would read an answer, by the request: a person before a page, a script in one, or a program.
//! Any client can claim to be any of them; what it gains is another form of the same answer.

use http::{HeaderMap, Method, header};

use crate::engine::facts::Reader;

/// Fetch Metadata (W3C) where the client sends it; else what it accepts (RFC 9110 section 12.5.1).
///
/// `*/*` alone is a program: curl says so, and browsers name `text/html` when they navigate.
#[must_use]
pub fn reader(method: &Method, headers: &HeaderMap) -> Reader {
    let mode = headers.get("sec-fetch-mode").map(|mode| mode.as_bytes());
    let is_script =
        mode.is_some_and(|mode| mode != b"navigate") || headers.contains_key("x-requested-with");
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    if is_script {
        Reader::Script
    } else if is_read && accepts_html(headers) {
        Reader::Page
    } else {
        Reader::Program
    }
}

/// Whether `text/html` or XHTML is named, and not refused by a weight of 0.
fn accepts_html(headers: &HeaderMap) -> bool {
    (headers.get_all(header::ACCEPT).iter())
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            let named = ["text/html", "application/xhtml+xml"];
            named
                .iter()
                .any(|html| media_type.eq_ignore_ascii_case(html))
                && !parts.any(is_zero_weight)
        })
}

fn is_zero_weight(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, value)| {
        name.trim().eq_ignore_ascii_case("q") && value.trim().parse() == Ok(0.0_f32)
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn pages_scripts_and_programs() {
        let check = |method: Method, fields: &[(&'static str, &'static str)], expected: Reader| {
            let fields = fields.iter().map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            });
            let headers: HeaderMap = fields.collect();
            assert_eq!(reader(&method, &headers), expected, "{method} {headers:?}");
        };
        let chromium = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        let navigates = [("accept", chromium), ("sec-fetch-mode", "navigate")];
        check(Method::GET, &navigates, Reader::Page);
        check(Method::HEAD, &navigates, Reader::Page);
        check(Method::GET, &[("accept", chromium)], Reader::Page);
        check(Method::GET, &[("accept", "TEXT/HTML;q=0.1")], Reader::Page);
        check(Method::POST, &navigates, Reader::Program);
        check(Method::GET, &[], Reader::Program);
        check(Method::GET, &[("accept", "*/*")], Reader::Program);
        check(
            Method::GET,
            &[("accept", "text/html;q=0.0, */*")],
            Reader::Program,
        );
        check(Method::GET, &[("accept", "text/htmlx")], Reader::Program);
        check(
            Method::GET,
            &[("accept", "application/json")],
            Reader::Program,
        );
        let fetches = [("accept", chromium), ("sec-fetch-mode", "cors")];
        check(Method::GET, &fetches, Reader::Script);
        let asks = [("accept", chromium), ("x-requested-with", "XMLHttpRequest")];
        check(Method::GET, &asks, Reader::Script);
    }
}
