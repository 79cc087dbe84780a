//! `ui.js`: the script that a page loads, with the application's key header filled in.

use bytes::Bytes;
use http::HeaderName;

/// Where the script sends the application's key, which the page gives it as `data-key`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyHeader {
    /// The header field.
    pub name: HeaderName,
    /// What stands before the key in it: empty, or `Bearer ` with its space.
    pub before: &'static str,
}

/// The script, as it is served. Without a header to send a key in, it sends none.
pub(super) fn render(key_header: Option<&KeyHeader>) -> Bytes {
    let (name, before) =
        key_header.map_or(("", ""), |header| (header.name.as_str(), header.before));
    // Debug quotes and escapes; of visible ASCII it makes a JavaScript string.
    let script = SOURCE
        .replace("\"KEY_HEADER\"", &format!("{name:?}"))
        .replace("\"BEFORE_KEY\"", &format!("{before:?}"));
    Bytes::from(script)
}

const SOURCE: &str = include_str!("script/ui.js");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_header_is_filled_in() {
        let check = |key_header: Option<KeyHeader>, name: &str, before: &str| {
            let script = render(key_header.as_ref());
            let script = std::str::from_utf8(&script).unwrap();
            assert!(
                script.contains(&format!("const keyHeader = {name};")),
                "{script}"
            );
            assert!(
                script.contains(&format!("const beforeKey = {before};")),
                "{script}"
            );
            assert!(!script.contains("KEY_HEADER") && !script.contains("BEFORE_KEY"));
        };
        check(None, "\"\"", "\"\"");
        let name = HeaderName::from_static("x-api-key");
        check(
            Some(KeyHeader { name, before: "" }),
            "\"x-api-key\"",
            "\"\"",
        );
        let bearer = KeyHeader {
            name: http::header::AUTHORIZATION,
            before: "Bearer ",
        };
        check(Some(bearer), "\"authorization\"", "\"Bearer \"");
    }
}
