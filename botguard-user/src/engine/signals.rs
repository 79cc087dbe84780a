//! From features to readings, one file a signal: what was measured, how sure it is, and a sentence
//! for people. The numbers are in [`super::weights`].

mod burst;
mod client_mismatch;
mod credential_churn;
mod excess;
mod false_crawler;
mod fingerprint_churn;
mod hosting_asn;
mod no_interaction;
mod paging;
mod tier;

use std::fmt;

use super::decision::SignalReading;
use super::facts::RequestFacts;
use super::features::principal::Features;
use super::policy::tier::Tier;
use super::throttle::Allowance;
use crate::words::identity::ClientClass;
use crate::words::memo::Credential;

/// What a signal may look at.
pub(crate) struct View<'a> {
    pub(crate) facts: &'a RequestFacts,
    /// What the principal did lately, this request included.
    pub(crate) features: Features,
    /// The tier of the request's key, accepted or not.
    pub(crate) tier: Option<&'a Tier>,
    /// The client that is expected here.
    pub(crate) class: ClientClass,
    /// What the principal's tier allows.
    pub(crate) allowance: Allowance,
    /// New credentials at its address lately, where hardly any came twice and this one is not
    /// accepted.
    pub(crate) newcomers: Option<u32>,
    /// What this request pages through, if it does.
    pub(crate) page: Option<Page<'a>>,
    /// The accepted credential that is charged.
    pub(crate) holder: Option<Credential>,
}

/// A page request, for the evidence.
#[derive(Clone, Copy)]
pub(crate) struct Page<'a> {
    /// Path or, where the route has parameters, its template.
    pub(crate) template: &'a str,
    /// The parameter that names the position.
    pub(crate) parameter: &'static str,
}

/// Every signal, in the order of their groups.
pub(crate) const SIGNALS: [fn(&View<'_>) -> Option<SignalReading>; 9] = [
    tier::read,
    credential_churn::read,
    paging::read,
    burst::read,
    no_interaction::read,
    hosting_asn::read,
    false_crawler::read,
    client_mismatch::read,
    fingerprint_churn::read,
];

/// A number with separators between the thousands: `4,200`.
struct Grouped(u32);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let check = |number, expected: &str| assert_eq!(Grouped(number).to_string(), expected);
        check(0, "0");
        check(999, "999");
        check(4_200, "4,200");
        check(123_456, "123,456");
        check(u32::MAX, "4,294,967,295");
    }
}
