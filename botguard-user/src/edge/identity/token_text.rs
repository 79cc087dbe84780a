//! What looks like a JSON Web Token (RFC 7519, compact serialisation), in a text of any kind. Says
//! nothing about whether it is one: that is `jwt`'s.

use std::ops::Range;

/// Whether the whole text looks like a token: an API key it is not.
#[must_use]
pub fn is_token(text: &str) -> bool {
    find_token(text) == Some(0..text.len())
}

/// The first token in a text: `{"…` in base64url, and two or more parts behind it. Encrypted tokens
/// (RFC 7516) have four.
#[must_use]
pub fn find_token(text: &str) -> Option<Range<usize>> {
    let mut from = 0;
    while let Some(found) = memchr::memchr(b'e', &text.as_bytes()[from..]) {
        let start = from + found;
        let rest = &text.as_bytes()[start..];
        if !OPENINGS.iter().any(|opening| rest.starts_with(opening)) {
            from = start + 1;
            continue;
        }
        let header = part(rest, 0);
        if let Some(length) = token_of(rest, header) {
            return Some(start..start + length);
        }
        // What begins further on in the same part is followed by the same. Without this, a client
        // would have each part read again from each opening in it.
        from = start + header;
    }
    None
}

/// Length of the token that a text starts with; its first part has `header` bytes.
fn token_of(text: &[u8], header: usize) -> Option<usize> {
    if header < MIN_HEADER {
        return None;
    }
    let mut end = header;
    let mut n_dots = 0;
    while text.get(end) == Some(&b'.') {
        n_dots += 1;
        end += 1;
        end += part(text, end);
    }
    (n_dots >= 2).then_some(end)
}

/// Length of the base64url from a place on.
fn part(text: &[u8], from: usize) -> usize {
    let bytes = text[from..].iter();
    bytes.take_while(|byte| is_base64url(**byte)).count()
}

const fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=')
}

/// `{"`, and `{` before a space, a line's end or a tab.
const OPENINGS: [&[u8]; 5] = [b"eyJ", b"eyA", b"ewo", b"ew0", b"ewk"];

/// `{"alg":"X"}` in base64url, less its closing.
const MIN_HEADER: usize = 13;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln";

    #[test]
    fn tokens_are_found_in_any_text() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(
                find_token(text).map(|range| &text[range]),
                expected,
                "{text}"
            );
        };
        check(TOKEN, Some(TOKEN));
        check(&format!("Bearer {TOKEN}"), Some(TOKEN));
        check(&format!("see/{TOKEN}?a=é"), Some(TOKEN));
        check(&format!("eye-{TOKEN}"), Some(TOKEN));
        check(&format!("ey{TOKEN}é"), Some(TOKEN));
        // Without a signature (RFC 7519 section 6), and encrypted.
        check("eyJhbGciOiJub25lIn0.e30.", Some("eyJhbGciOiJub25lIn0.e30."));
        let encrypted = "eyJhbGciOiJkaXIifQ..aXY.dGV4dA.dGFn";
        check(encrypted, Some(encrypted));
        check("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0", None);
        check("eyJ.a.b", None);
        check("example.com.test and e.g. others", None);
        check("sk_live_0123456789abcdef.a.b", None);
        check("", None);
    }

    #[test]
    fn openings_without_end_are_read_once() {
        for hostile in ["eyJ", "eyJ.", "eyJhbGciOiJIUzI1NiJ9.x ", "e"] {
            let text = hostile.repeat(300_000);
            assert_eq!(find_token(&text), None, "{hostile}");
            let found = find_token(&format!("{text} {TOKEN}"));
            assert_eq!(
                found.map(|range| range.len()),
                Some(TOKEN.len()),
                "{hostile}"
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_around_it(before in "[ -~é]{0,20}", after in "([ /?&;,é].{0,20})?") {
            let text = format!("{before}{TOKEN}{after}");
            let found = find_token(&text);
            prop_assert!(found.is_some_and(|range| text[range].ends_with(TOKEN)));
            prop_assert_eq!(is_token(&format!("{after}{TOKEN}")), after.is_empty());
        }
    }
}
