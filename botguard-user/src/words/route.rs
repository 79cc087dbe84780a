//! A request path in the one form that routes, features and records use.
//!
//! Only the reading of the path is here; which policy it gets is `engine::policy::routes`. The
//! upstream receives the path as it was sent, so whatever two programs could read differently is
//! refused, not repaired.

/// Decodes `raw` (the path of a request target, without query) and removes its dot segments.
///
/// The result starts with `/` and has no empty, `.` or `..` segment and no trailing slash; octets
/// that are not UTF-8 read as U+FFFD. Source: RFC 3986 sections 2.1, 5.2.4 and 6.2.2.
///
/// Path parameters (`/users;v=1`, RFC 3986 section 3.3) are left out: servlet containers route as
/// if they were not there, so a route's policy must hold for them too.
///
/// Errors: [`AmbiguousPath`], the client's fault, to be answered with 400.
pub fn normalise_path(raw: &str) -> Result<String, AmbiguousPath> {
    let raw = raw.strip_prefix('/').ok_or(AmbiguousPath::NotAbsolute)?;
    let mut segments: Vec<String> = Vec::new();
    for segment in raw.split('/') {
        let name = segment.split(';').next().unwrap_or_default();
        let segment = decode(name)?;
        match segment.as_str() {
            "" | "." => {}
            ".." => {
                segments.pop().ok_or(AmbiguousPath::AboveRoot)?;
            }
            _ => segments.push(segment),
        }
    }
    let mut path = String::with_capacity(raw.len() + 1);
    for segment in &segments {
        path.push('/');
        path.push_str(segment);
    }
    if path.is_empty() {
        path.push('/');
    }
    Ok(path)
}

/// A path that two programs could read differently. The client's fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AmbiguousPath {
    /// It does not start with a slash.
    #[error("the path does not start with a slash")]
    NotAbsolute,
    /// `%2F`: a separator to one reader, a character to another.
    #[error("the path contains an encoded slash (%2F)")]
    EncodedSlash,
    /// `\\` or `%5C`: a separator to some applications.
    #[error("the path contains a backslash (\\ or %5C)")]
    Backslash,
    /// `..` with nothing left to leave.
    #[error("the path's dot segments lead above the root")]
    AboveRoot,
    /// `%00` or a raw NUL: the end of the text to some readers.
    #[error("the path contains a NUL")]
    Nul,
    /// `%` without two hexadecimal digits.
    #[error("the path contains a percent sign that is not followed by two hexadecimal digits")]
    PercentEncoding,
}

fn decode(segment: &str) -> Result<String, AmbiguousPath> {
    let mut octets = segment.bytes();
    let mut decoded = Vec::with_capacity(segment.len());
    while let Some(octet) = octets.next() {
        let octet = if octet == b'%' {
            let high = octets.next().and_then(hexadecimal);
            let low = octets.next().and_then(hexadecimal);
            match (high, low) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(AmbiguousPath::PercentEncoding),
            }
        } else {
            octet
        };
        match octet {
            0 => return Err(AmbiguousPath::Nul),
            // `segment` was split at the raw slashes, so this one was encoded.
            b'/' => return Err(AmbiguousPath::EncodedSlash),
            b'\\' => return Err(AmbiguousPath::Backslash),
            _ => decoded.push(octet),
        }
    }
    Ok(String::from_utf8(decoded)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

pub(crate) const fn hexadecimal(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_normalised_or_refused() {
        let check = |raw: &str, expected: Result<&str, AmbiguousPath>| {
            assert_eq!(
                normalise_path(raw).as_deref(),
                expected.as_ref().map(|p| *p),
                "{raw}"
            );
        };
        check("/", Ok("/"));
        check("/users", Ok("/users"));
        check("/users/", Ok("/users"));
        check("//users///7", Ok("/users/7"));
        check("/%75sers", Ok("/users"));
        check("/a/./b/../c", Ok("/a/c"));
        check("/a/%2e%2E/c", Ok("/c"));
        check("/a/..", Ok("/"));
        check("/a/...", Ok("/a/..."));
        check("/caf%C3%A9", Ok("/café"));
        check("/caf%E9", Ok("/caf\u{fffd}"));
        check("/100%25", Ok("/100%"));
        check("/%252F", Ok("/%2F"));
        check("/..", Err(AmbiguousPath::AboveRoot));
        check("/a/../%2e%2e/b", Err(AmbiguousPath::AboveRoot));
        check("/a%2Fb", Err(AmbiguousPath::EncodedSlash));
        check("/a%2fb", Err(AmbiguousPath::EncodedSlash));
        check("/users;v=1", Ok("/users"));
        check("/users;v=1/7;w", Ok("/users/7"));
        check("/static/..;/admin", Ok("/admin"));
        check("/..;/admin", Err(AmbiguousPath::AboveRoot));
        check("/a%3Bb", Ok("/a;b"));
        check("/a%5cb", Err(AmbiguousPath::Backslash));
        check("/a\\b", Err(AmbiguousPath::Backslash));
        check("/%+1", Err(AmbiguousPath::PercentEncoding));
        check("/a%00", Err(AmbiguousPath::Nul));
        check("/a\0", Err(AmbiguousPath::Nul));
        check("/a%", Err(AmbiguousPath::PercentEncoding));
        check("/a%2", Err(AmbiguousPath::PercentEncoding));
        check("/a%zz", Err(AmbiguousPath::PercentEncoding));
        check("users", Err(AmbiguousPath::NotAbsolute));
        check("*", Err(AmbiguousPath::NotAbsolute));
        check("", Err(AmbiguousPath::NotAbsolute));
    }

    proptest! {
        #[test]
        fn a_normal_path_has_one_form(raw in "/[a-zA-Z0-9%./~é]{0,24}") {
            if let Ok(path) = normalise_path(&raw) {
                prop_assert!(path.starts_with('/'));
                prop_assert!(path == "/" || path[1..].split('/').all(
                    |segment| !matches!(segment, "" | "." | "..")));
                let encoded_again = path.replace('%', "%25").replace(';', "%3B");
                prop_assert_eq!(normalise_path(&encoded_again), Ok(path));
            }
        }

        #[test]
        fn every_octet_may_be_encoded(text in "[a-z0-9._~-]{1,8}") {
            let encoded: String = text.bytes().map(|octet| format!("%{octet:02X}")).collect();
            prop_assert_eq!(
                normalise_path(&format!("/x/{encoded}")),
                normalise_path(&format!("/x/{text}"))
            );
        }

        #[test]
        fn any_text_is_answered(raw in ".*") {
            let _answered: Result<String, AmbiguousPath> = normalise_path(&raw);
        }
    }
}
