//! `rollout`: on how many principals a policy is enforced while the others are only watched.

use serde::{Deserialize, Serialize};

/// A share of all principals, 0 to 100 %, written `"25%"`.
///
/// Which principals belong to it is a stable function of who they are and of the route: nobody
/// falls in and out of it, raising it only adds, and it is not the same ones first on each route.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rollout(u8);

impl Rollout {
    /// Everybody.
    pub const ALL: Self = Self(100);

    /// Whether the principal with this hash belongs to it, on the route with this one.
    pub(crate) fn includes(self, principal: u64, route: u64) -> bool {
        // The upper half, of which every bit depends on all of both.
        let place = ((mix(principal ^ mix(route)) >> 32) * 100) >> 32;
        place < u64::from(self.0)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
/// Generators, 2014): stable for good, which a hasher of the standard library is not.
pub(crate) const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// A hash of text by [`mix`].
pub(crate) fn mix_text(text: &str) -> u64 {
    text.bytes()
        .fold(0, |hash, octet| mix(hash ^ u64::from(octet)))
}

/// Text that is no share. The configuration's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{0}` is not a share; write a whole number from 0 to 100 with a percent sign, as in \"25%\""
)]
pub struct RolloutError(String);

impl TryFrom<String> for Rollout {
    type Error = RolloutError;

    fn try_from(text: String) -> Result<Self, RolloutError> {
        let number = text.strip_suffix('%').map(str::trim);
        match number.and_then(|number| number.parse().ok()) {
            Some(percent @ 0..=100) => Ok(Self(percent)),
            _ => Err(RolloutError(text)),
        }
    }
}

impl From<Rollout> for String {
    fn from(Rollout(percent): Rollout) -> Self {
        format!("{percent}%")
    }
}

impl std::fmt::Display for Rollout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}%", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares_are_percentages() {
        let check = |text: &str, expected: Option<u8>| {
            let rollout = Rollout::try_from(text.to_owned());
            assert_eq!(rollout.ok().map(|it| it.0), expected, "{text}");
        };
        check("0%", Some(0));
        check("25%", Some(25));
        check("25 %", Some(25));
        check("100%", Some(100));
        check("101%", None);
        check("-1%", None);
        check("25", None);
        check("0.25", None);
    }

    #[test]
    fn about_as_many_as_it_says() {
        let check = |percent: u8| {
            let rollout = Rollout(percent);
            let n_in = (0..100_000).filter(|id| rollout.includes(*id, 7)).count();
            let expected = usize::from(percent) * 1_000;
            assert!(n_in.abs_diff(expected) < 600, "{n_in} of {percent} %");
        };
        check(0);
        check(1);
        check(50);
        check(100);
    }

    proptest! {
        #[test]
        fn raising_it_only_adds(principal: u64, route: u64, percent in 0u8..100) {
            if Rollout(percent).includes(principal, route) {
                prop_assert!(Rollout(percent + 1).includes(principal, route));
            }
            prop_assert!(Rollout::ALL.includes(principal, route));
            prop_assert!(!Rollout(0).includes(principal, route));
        }
    }
}
