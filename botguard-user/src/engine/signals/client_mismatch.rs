//! `client_mismatch`: the User-Agent names a browser, and the client's TLS, HTTP/2 or header fields
//! are not that browser's. Value: how many of the three.
//!
//! A proxy that opens TLS, of a company or an anti-virus, speaks for the client with a print of its
//! own and passes the browser's header fields on; so a print alone is weak, and both are strong. A
//! print that nobody knows is no evidence. Nothing where a machine is expected, which may call itself
//! what it likes.

use super::View;
use crate::engine::decision::{Group, SignalReading};
use crate::engine::prints::{Browser, Fields, Look, PrintFacts};
use crate::engine::weights;
use crate::words::identity::ClientClass;
use crate::words::points::Points;

pub(super) fn read(view: &View<'_>) -> Option<SignalReading> {
    let PrintFacts {
        claim,
        tls,
        http2,
        fields,
    } = view.facts.prints;
    let claim = claim.filter(|_claim| view.class != ClientClass::Machine)?;
    let by_tls = Against::of(tls, claim);
    let by_http2 = Against::of(http2, claim);
    let confidence = confidence(by_tls.max(by_http2), fields)?;
    let mut found = Vec::new();
    found.extend(by_tls.map(|_| format!("its TLS is {}", whose(tls))));
    found.extend(by_http2.map(|_| format!("its HTTP/2 is {}", whose(http2))));
    if fields == Fields::Missing {
        found.push("it sends none of the Sec- fields that browsers do".to_owned());
    }
    Some(SignalReading {
        id: "client_mismatch",
        group: Group::Client,
        weight: weights::CLIENT_MISMATCH,
        confidence,
        value: f64::from(u8::try_from(found.len()).unwrap_or(u8::MAX)),
        evidence: format!("says it is {}, but {}", claim.name(), found.join(", ")),
    })
}

/// How far a print speaks against a claim.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Against {
    /// It is no browser's.
    Program,
    /// It is another browser's.
    OtherBrowser,
}

impl Against {
    fn of(look: Look, claim: Browser) -> Option<Self> {
        match look {
            Look::Unknown => None,
            Look::Plain => claim.greases().then_some(Self::Program),
            Look::Program => Some(Self::Program),
            Look::Of(browser) => (browser != claim).then_some(Self::OtherBrowser),
        }
    }
}

fn confidence(prints: Option<Against>, fields: Fields) -> Option<Points> {
    let basis = match (prints, fields) {
        (None, Fields::Unknown | Fields::There) => return None,
        (Some(_), Fields::Missing) => 10_000,
        (Some(Against::OtherBrowser), Fields::Unknown) => 7_500,
        (Some(Against::OtherBrowser), Fields::There)
        | (Some(Against::Program), Fields::Unknown)
        | (None, Fields::Missing) => 5_000,
        (Some(Against::Program), Fields::There) => 2_500,
    };
    Some(Points::from_basis(basis))
}

const fn whose(look: Look) -> &'static str {
    match look {
        Look::Unknown => "unknown",
        Look::Plain | Look::Program => "no browser's",
        Look::Of(browser) => browser.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contradiction_is_graded() {
        let check = |tls, http2, claim, fields, expected: u32| {
            let prints = Against::of(tls, claim).max(Against::of(http2, claim));
            let found = confidence(prints, fields).unwrap_or_default();
            assert_eq!(found.as_basis(), expected, "{tls:?} {http2:?} {fields:?}");
        };
        use Browser::{Chromium, Firefox, WebKit};
        use Fields::{Missing, There, Unknown as Unasked};
        use Look::{Of, Plain, Program, Unknown};
        // The honest, and those of whom nothing is known.
        for browser in [Chromium, Firefox, WebKit] {
            check(Of(browser), Of(browser), browser, There, 0);
            check(Of(browser), Unknown, browser, Unasked, 0);
            check(Unknown, Unknown, browser, There, 0);
        }
        // Firefox does not grease, so being plain says nothing about it.
        check(Plain, Unknown, Firefox, There, 0);
        check(Plain, Unknown, Chromium, There, 2_500);
        check(Plain, Unknown, WebKit, Missing, 10_000);
        // A proxy that opens TLS, and a program.
        check(Program, Unknown, Chromium, There, 2_500);
        check(Program, Program, Chromium, Unasked, 5_000);
        check(Program, Unknown, Chromium, Missing, 10_000);
        check(Of(Firefox), Unknown, Chromium, There, 5_000);
        check(Of(Chromium), Of(Chromium), Firefox, Unasked, 7_500);
        check(Of(Firefox), Of(Chromium), Firefox, Missing, 10_000);
        check(Unknown, Unknown, Chromium, Missing, 5_000);
    }
}
