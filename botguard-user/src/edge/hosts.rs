//! Which hosts a listener says it serves, and what becomes of requests for others. Pure.
//!
//! It chooses no upstream: a listener has one. Without `hosts`, every host is known.

use serde::{Deserialize, Serialize};

/// One entry of a listener's `hosts`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern {
    /// Lower case, without a last dot.
    name: String,
    reach: Reach,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reach {
    Itself,
    /// All names below it, as nginx's `*.example.com`; not itself.
    Below,
}

/// Text that names no host. The configuration's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not a host; write a name without port, as in \"a.example\" or \"*.a.example\"")]
pub struct HostPatternError(String);

/// `unknown_host` of a listener.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownHost {
    /// Counted, and served like any other.
    #[default]
    Serve,
    /// Counted, and answered 421 (RFC 9110 section 15.5.20).
    Refuse,
}

/// A listener's hosts.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    patterns: Vec<HostPattern>,
    unknown: UnknownHost,
}

impl Hosts {
    /// Knows `patterns`, or every host if there are none.
    #[must_use]
    pub const fn new(patterns: Vec<HostPattern>, unknown: UnknownHost) -> Self {
        Self { patterns, unknown }
    }

    /// Whether they include that of `authority`: lower case, maybe with a port.
    #[must_use]
    pub fn know(&self, authority: &str) -> bool {
        // A colon within an IPv6 address has no digits alone after it up to a bracket.
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => authority,
        };
        self.patterns.is_empty() || self.patterns.iter().any(|pattern| pattern.covers(host))
    }

    /// What becomes of requests for others.
    #[must_use]
    pub const fn unknown(&self) -> UnknownHost {
        self.unknown
    }
}

impl HostPattern {
    fn covers(&self, host: &str) -> bool {
        match self.reach {
            Reach::Itself => host == self.name,
            Reach::Below => host
                .strip_suffix(&*self.name)
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|below| !below.is_empty()),
        }
    }
}

impl TryFrom<String> for HostPattern {
    type Error = HostPatternError;

    fn try_from(text: String) -> Result<Self, HostPatternError> {
        let (name, reach) = match text.strip_prefix("*.") {
            Some(name) => (name, Reach::Below),
            None => (&*text, Reach::Itself),
        };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_address = name.starts_with('[') && name.ends_with(']');
        if name.is_empty() || !(is_address || name.bytes().all(is_name)) {
            return Err(HostPatternError(text));
        }
        Ok(Self { name, reach })
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        match pattern.reach {
            Reach::Itself => pattern.name,
            Reach::Below => format!("*.{}", pattern.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_known_by_name() {
        let check = |patterns: &[&str], authority: &str, expected: bool| {
            let patterns = patterns
                .iter()
                .map(|text| HostPattern::try_from((*text).to_owned()).unwrap())
                .collect();
            let hosts = Hosts::new(patterns, UnknownHost::Serve);
            assert_eq!(hosts.know(authority), expected, "{authority}");
        };
        check(&[], "anything", true);
        check(&["A.example."], "a.example", true);
        check(&["a.example"], "a.example:8443", true);
        check(&["a.example"], "b.a.example", false);
        check(&["a.example"], "xa.example", false);
        check(&["*.a.example"], "a.example", false);
        check(&["*.a.example"], "b.a.example", true);
        check(&["*.a.example"], "c.b.a.example:1", true);
        check(&["*.a.example"], "xa.example", false);
        check(&["*.a.example"], ".a.example", false);
        check(&["x", "a.example"], "a.example", true);
        check(&["192.0.2.1"], "192.0.2.1:443", true);
        check(&["[2001:db8::1]"], "[2001:db8::1]", true);
        check(&["[2001:db8::1]"], "[2001:db8::1]:8443", true);
        check(&["[2001:db8::1]"], "[2001:db8::2]", false);
    }

    #[test]
    fn what_names_no_host() {
        for text in [
            "",
            "*",
            "*.",
            "a.example:443",
            "a b",
            "https://a",
            "a*.example",
            "[::1",
        ] {
            let error = HostPattern::try_from(text.to_owned()).unwrap_err();
            assert!(error.to_string().contains("is not a host"), "{text}");
        }
    }
}
