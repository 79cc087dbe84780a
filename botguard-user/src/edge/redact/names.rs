//! What names of headers and parameters say about their values. Not here: the names that the
//! configuration gives.

use std::borrow::Cow;

/// Whether a parameter or header of this name holds a secret more often than not.
pub(super) fn sounds_secret(name: &str) -> bool {
    if is_plain(name) {
        return false;
    }
    let name: Cow<'_, str> = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    };
    SECRET_WORDS.iter().any(|word| name.contains(word))
        || name
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|part| SECRET_NAMES.contains(&part))
}

/// Names that nearly every request has: told at once, since the words would be looked for in each.
fn is_plain(name: &str) -> bool {
    matches!(
        name,
        "accept"
            | "accept-encoding"
            | "accept-language"
            | "cache-control"
            | "connection"
            | "content-length"
            | "content-type"
            | "host"
            | "if-modified-since"
            | "if-none-match"
            | "origin"
            | "pragma"
            | "priority"
            | "range"
            | "referer"
            | "sec-ch-ua"
            | "sec-ch-ua-mobile"
            | "sec-ch-ua-platform"
            | "sec-fetch-dest"
            | "sec-fetch-mode"
            | "sec-fetch-site"
            | "sec-fetch-user"
            | "te"
            | "upgrade-insecure-requests"
            | "user-agent"
            | "x-forwarded-for"
            | "x-requested-with"
    )
}

/// Registered schemes (IANA, HTTP Authentication Schemes), and two that are common beside them.
/// Anything else before a space could be a part of the secret.
pub(super) fn is_scheme(text: &str) -> bool {
    const SCHEMES: [&str; 13] = [
        "apikey",
        "aws4-hmac-sha256",
        "basic",
        "bearer",
        "digest",
        "dpop",
        "gnap",
        "hoba",
        "mutual",
        "negotiate",
        "oauth",
        "scram-sha-256",
        "token",
    ];
    SCHEMES
        .iter()
        .any(|scheme| scheme.eq_ignore_ascii_case(text))
}

/// Sorted by how often they are seen. `code` is OAuth's authorisation code.
const SECRET_WORDS: [&str; 14] = [
    "token",
    "key",
    "secret",
    "passw",
    "code",
    "auth",
    "sess",
    "signature",
    "jwt",
    "cookie",
    "credential",
    "csrf",
    "bearer",
    "saml",
];

/// The same, too short to be looked for inside of other words.
const SECRET_NAMES: [&str; 8] = ["sid", "sig", "otp", "pin", "pwd", "pass", "dpop", "nonce"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_hold_secrets() {
        let check =
            |name: &str, expected: bool| assert_eq!(sounds_secret(name), expected, "{name}");
        check("x-api-key", true);
        check("X-Auth-Token", true);
        check("PHPSESSID", true);
        check("sid", true);
        check("inside", false);
        check("user-agent", false);
        check("accept-encoding", false);
        check("page", false);
    }

    #[test]
    fn nothing_is_plain_that_has_a_secret_word() {
        let with = SECRET_WORDS.iter().chain(&SECRET_NAMES);
        for word in with {
            for name in [
                (*word).to_owned(),
                format!("accept-{word}"),
                format!("x-{word}"),
            ] {
                assert!(!is_plain(&name), "{name}");
            }
        }
    }
}
