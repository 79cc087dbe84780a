//! The keys of `[ui]`.

use serde::{Deserialize, Serialize};

use crate::words::units::Rate;

/// `[ui]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct UiSettings {
    /// Origins, beside the application's own, whose pages may report interaction:
    /// `https://app.example.com`.
    pub origins: Vec<Origin>,
    /// The reserved prefix. Nothing under it is ever forwarded.
    pub prefix: Prefix,
    /// Tokens that one key in one neighbourhood (/24, /64) gets at most, and so events that it can
    /// report. Up to 60 of them at once.
    pub mint_rate: Rate,
}

impl Default for UiSettings {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            prefix: Prefix("/.botguard/".to_owned()),
            // Ten people at their fastest: the script reports once in five seconds.
            mint_rate: Rate::per_minute(120),
        }
    }
}

/// The origin of a page (RFC 6454): scheme, host, and a port that is not the default. Lower case.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin(String);

impl Origin {
    /// As browsers write it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Text that is no origin. The configuration's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{0}` is not an origin; write scheme and host without a path, as in \"https://app.example.com\""
)]
pub struct OriginError(String);

impl TryFrom<String> for Origin {
    type Error = OriginError;

    fn try_from(text: String) -> Result<Self, OriginError> {
        let lower = text.to_ascii_lowercase();
        let (scheme, default_port) = match lower.split_once("://") {
            Some(("https", _)) => ("https", ":443"),
            Some(("http", _)) => ("http", ":80"),
            _ => return Err(OriginError(text)),
        };
        let authority = &lower[scheme.len() + 3..];
        let host = authority.strip_suffix(default_port).unwrap_or(authority);
        let parsed = host.parse::<http::uri::Authority>();
        if host.contains('@') || parsed.is_err() {
            return Err(OriginError(text));
        }
        Ok(Self(format!("{scheme}://{host}")))
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.0
    }
}

/// A path that starts and ends with a slash and is not the root.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(String);

impl Prefix {
    /// With both slashes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a decoded, dot-normalised path is the prefix or lies under it, to applications that
    /// tell upper case from lower and to those that do not.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        let inner = self.0.trim_end_matches('/');
        path.get(..inner.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(inner))
            && matches!(path.as_bytes().get(inner.len()), None | Some(b'/'))
    }
}

/// Text that is no prefix. The configuration's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{0}` is not a path prefix; write slashes at both ends, as in \"/.botguard/\", and no escapes"
)]
pub struct PrefixError(String);

impl TryFrom<String> for Prefix {
    type Error = PrefixError;

    fn try_from(text: String) -> Result<Self, PrefixError> {
        let inner = text
            .strip_prefix('/')
            .and_then(|rest| rest.strip_suffix('/'))
            .unwrap_or_default();
        // It is compared with normalised paths, so it has to be one.
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"%?#\\".contains(&byte);
        let normal = |segment: &str| !matches!(segment, "" | "." | "..");
        if inner.split('/').all(normal) && inner.bytes().all(plain) {
            Ok(Self(text))
        } else {
            Err(PrefixError(text))
        }
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        let check = |text: &str, expected: Option<&str>| {
            let origin = Origin::try_from(text.to_owned()).ok();
            assert_eq!(origin.as_ref().map(Origin::as_str), expected, "{text}");
        };
        check("https://app.example.com", Some("https://app.example.com"));
        check(
            "HTTPS://App.Example.com:443",
            Some("https://app.example.com"),
        );
        check("http://localhost:3000", Some("http://localhost:3000"));
        check("https://app.example.com/", None);
        check("https://a b", None);
        check("https://", None);
        check("app.example.com", None);
        check("*", None);
        check("null", None);
    }

    #[test]
    fn prefixes() {
        let check = |text: &str, expected: bool| {
            assert_eq!(
                Prefix::try_from(text.to_owned()).is_ok(),
                expected,
                "{text}"
            );
        };
        check("/.botguard/", true);
        check("/a/b/", true);
        check("/", false);
        check("//", false);
        check("/a", false);
        check("a/", false);
        check("/a/../", false);
        check("/a%20b/", false);
    }

    #[test]
    fn prefixes_cover_themselves_and_what_is_below() {
        let check = |path: &str, expected: bool| {
            assert_eq!(
                UiSettings::default().prefix.covers(path),
                expected,
                "{path}"
            );
        };
        check("/.botguard", true);
        check("/.botguard/", true);
        check("/.botguard/x/y", true);
        check("/.BotGuard", true);
        check("/.BOTGUARD/ui", true);
        check("/.botguards", false);
        check("/a/.botguard/ui", false);
    }
}
