//! Which certificate a client gets: by the name it asks for, then by what it can verify. Prepared when
//! the certificates are read; a handshake costs two look-ups. Pure: what a certificate is, and
//! whether a client can verify it, are the caller's matter.

use std::collections::HashMap;

/// Certificates by name. Never empty.
#[derive(Debug)]
pub(super) struct ByName<T> {
    exact: HashMap<Box<str>, Vec<T>>,
    /// By what follows the asterisk and its dot: it stands for one label (RFC 6125 section 6.4.3).
    below: HashMap<Box<str>, Vec<T>>,
    default: Vec<T>,
}

/// A certificate, and the names it covers: in lower case, `*.example.com` being a wildcard.
#[derive(Clone, Debug)]
pub(super) struct Entry<T> {
    pub(super) certificate: T,
    pub(super) names: Vec<String>,
    /// Lower comes first among those of one name.
    pub(super) cost: Cost,
}

/// What a signature costs the server. An RSA one takes ten times as long as one on P-256.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Cost {
    /// ECDSA, EdDSA.
    Low,
    /// RSA.
    High,
}

impl<T: Clone> ByName<T> {
    /// The first of `entries` is the default, together with those that cover the same names.
    /// `None` if there is no entry.
    pub(super) fn new(entries: &[Entry<T>]) -> Option<Self> {
        let default_names = sorted(entries.first()?);
        let mut cheapest_first: Vec<_> = entries.iter().collect();
        cheapest_first.sort_by_key(|entry| entry.cost);
        let mut table = Self {
            exact: HashMap::new(),
            below: HashMap::new(),
            default: Vec::new(),
        };
        for entry in cheapest_first {
            if sorted(entry) == default_names {
                table.default.push(entry.certificate.clone());
            }
            for name in &entry.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut table.below, parent),
                    None => (&mut table.exact, name.as_str()),
                };
                let of_name = names.entry(name.into()).or_default();
                of_name.push(entry.certificate.clone());
            }
        }
        Some(table)
    }

    /// For a client that asks for `name`, in lower case: of the certificates that have exactly this
    /// name, then of the wildcards that cover it, the first that `can_verify` holds for; the first
    /// of them if it holds for none, so that the client learns why it fails. Where no certificate
    /// covers the name, or none was asked for, the same among the default ones.
    pub(super) fn choose(&self, name: Option<&str>, can_verify: impl Fn(&T) -> bool) -> Option<&T> {
        let exact = name.and_then(|name| self.exact.get(name));
        let below = name
            .and_then(|name| name.split_once('.'))
            .and_then(|(_label, parent)| self.below.get(parent));
        let named = || exact.into_iter().chain(below).flatten();
        (named().find(|certificate| can_verify(certificate)))
            .or_else(|| named().next())
            .or_else(|| {
                self.default
                    .iter()
                    .find(|certificate| can_verify(certificate))
            })
            .or_else(|| self.default.first())
    }
}

fn sorted<T>(entry: &Entry<T>) -> Vec<&str> {
    let mut names: Vec<_> = entry.names.iter().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(certificate: &'static str, names: &[&str], cost: Cost) -> Entry<&'static str> {
        Entry {
            certificate,
            names: names.iter().map(|&name| name.to_owned()).collect(),
            cost,
        }
    }

    #[test]
    fn an_exact_name_beats_a_wildcard_beats_the_default() {
        let table = ByName::new(&[
            entry("default", &["a.test"], Cost::Low),
            entry("wild", &["*.b.test", "b.test"], Cost::Low),
            entry("exact", &["www.b.test"], Cost::Low),
            entry("deeper", &["*.c.b.test"], Cost::Low),
        ])
        .unwrap();
        let check = |name: Option<&str>, expected: &str| {
            assert_eq!(table.choose(name, |_| true), Some(&expected), "{name:?}");
        };
        check(None, "default");
        check(Some("a.test"), "default");
        check(Some("x.a.test"), "default");
        check(Some("b.test"), "wild");
        check(Some("api.b.test"), "wild");
        check(Some("www.b.test"), "exact");
        check(Some("c.b.test"), "wild");
        check(Some("x.c.b.test"), "deeper");
        check(Some("x.y.b.test"), "default");
        check(Some("*.b.test"), "wild");
        check(Some("test"), "default");
        check(Some(""), "default");
        check(Some("."), "default");
    }

    #[test]
    fn of_one_name_the_client_gets_what_it_can_verify() {
        let table = ByName::new(&[
            entry("rsa", &["a.test", "*.a.test"], Cost::High),
            entry("ecdsa", &["*.a.test", "a.test"], Cost::Low),
            entry("only rsa", &["b.test"], Cost::High),
            entry("wild", &["*.test"], Cost::Low),
        ])
        .unwrap();
        let check = |name: Option<&str>, verifies: &[&str], expected: &str| {
            let chosen = table.choose(name, |certificate| verifies.contains(certificate));
            assert_eq!(chosen, Some(&expected), "{name:?} {verifies:?}");
        };
        let both = ["rsa", "ecdsa", "only rsa", "wild"];
        for name in [Some("a.test"), Some("x.a.test"), Some("other"), None] {
            check(name, &both, "ecdsa");
            check(name, &["rsa", "only rsa"], "rsa");
        }
        check(Some("x.a.test"), &[], "ecdsa");
        check(Some("b.test"), &both, "only rsa");
        check(Some("b.test"), &["ecdsa", "wild"], "wild");
        check(Some("b.test"), &[], "only rsa");
        assert!(ByName::<()>::new(&[]).is_none());
    }

    proptest! {
        /// As a search through all certificates would find it.
        #[test]
        fn the_tables_agree_with_a_search(
            names in prop::collection::vec(prop::collection::vec("(\\*\\.)?[ab](\\.[ab]){0,2}", 0..4), 1..6),
            asked in "[ab](\\.[ab]){0,3}",
        ) {
            let covers = |name: &String, exactly: bool| match name.strip_prefix("*.") {
                Some(parent) => {
                    let below = asked.split_once('.').map(|(_, parent)| parent);
                    !exactly && below == Some(parent)
                }
                None => exactly && *name == asked,
            };
            let find = |exactly| {
                names.iter().position(|names| names.iter().any(|name| covers(name, exactly)))
            };
            let expected = find(true).or_else(|| find(false)).unwrap_or(0);
            let entries = names.iter().enumerate().map(|(certificate, names)| Entry {
                certificate,
                names: names.clone(),
                cost: Cost::Low,
            });
            let table = ByName::new(&entries.collect::<Vec<_>>()).unwrap();
            prop_assert_eq!(table.choose(Some(&asked), |_| true), Some(&expected));
        }
    }
}
