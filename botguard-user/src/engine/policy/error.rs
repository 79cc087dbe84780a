//! What can be wrong with a policy. Always the configuration's fault; every message names the key
//! as the file spells it, counting tables from 0.

use crate::words::points::Points;

/// A setting that the policy cannot be compiled from.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A threshold or weight outside its range.
    #[error("{key}: {value:.4} is out of range; write a number above 0 and at most 1")]
    OutOfRange {
        /// The key.
        key: String,
        /// What it says.
        value: Points,
    },
    /// A milder threshold above a more severe one.
    #[error(
        "{milder}: {milder_value:.4} is above {severer} = {severer_value:.4}; thresholds rise from throttle over challenge and step_up to block"
    )]
    ThresholdOrder {
        /// Key of the milder one.
        milder: String,
        /// Its value.
        milder_value: Points,
        /// Key of the more severe one.
        severer: String,
        /// Its value.
        severer_value: Points,
    },
    /// A method that is none.
    #[error("{key}: `{text}` is not an HTTP method; write it as in \"GET\"")]
    Method {
        /// The key.
        key: String,
        /// What it says.
        text: String,
    },
    /// A status that no response has (RFC 9110 section 15).
    #[error("{key}: {status} is not an HTTP status; write a number from 100 to 599")]
    Status {
        /// The key.
        key: String,
        /// What it says.
        status: u16,
    },
    /// A path that is not a template.
    #[error("{key}: `{text}` is not a route template: {problem}")]
    Template {
        /// The key.
        key: String,
        /// What it says.
        text: String,
        /// What is wrong, and the mend.
        problem: &'static str,
    },
    /// Two routes for the same requests.
    #[error(
        "{second}: `{template}` is already covered by {first} for the same method; join the two or give them different methods"
    )]
    DuplicateRoute {
        /// Key of the first.
        first: String,
        /// Key of the second.
        second: String,
        /// The second one's template.
        template: String,
    },
    /// Two tiers of one name.
    #[error("{second}: `{name}` is already the name of {first}; tiers need different names")]
    DuplicateTier {
        /// Key of the first.
        first: String,
        /// Key of the second.
        second: String,
        /// The name.
        name: String,
    },
    /// A tier without a name or keys.
    #[error("{key}: must not be empty; {mend}")]
    Empty {
        /// The key.
        key: String,
        /// What to write.
        mend: &'static str,
    },
    /// A milder state of a key's reputation above a more severe one.
    #[error(
        "{milder}: {milder_value:.4} is above {severer} = {severer_value:.4}; they rise from watch over throttle to suspend"
    )]
    StateOrder {
        /// Key of the milder one.
        milder: String,
        /// Its value.
        milder_value: Points,
        /// Key of the more severe one.
        severer: String,
        /// Its value.
        severer_value: Points,
    },
    /// A zero that would let nothing pass.
    #[error("{key}: 0 would let nothing pass; write at least 1, or remove the limit")]
    Zero {
        /// The key.
        key: String,
    },
    /// A name that cannot be sent in a header field.
    #[error("{key}: `{text}` cannot name a limit; write 1 to 32 letters, digits, `_` and `-`")]
    LimitName {
        /// The key.
        key: String,
        /// What it says.
        text: String,
    },
    /// Two limits of one name on one route.
    #[error("{second}: `{name}` is already the name of {first}; give one of them another `name`")]
    DuplicateLimit {
        /// Key of the first.
        first: String,
        /// Key of the second.
        second: String,
        /// The name.
        name: String,
    },
    /// A host that is none.
    #[error(
        "{key}: `{text}` is not a host; write a name without port, as in \"api.example.com\" or \"*.example.com\""
    )]
    Host {
        /// The key.
        key: String,
        /// What it says.
        text: String,
    },
    /// A number outside its range.
    #[error("{key}: out of range; write a whole number from {range}")]
    Number {
        /// The key.
        key: &'static str,
        /// The range.
        range: &'static str,
    },
    /// Something wrong in `[step_up]`.
    #[error("{key}: {problem}")]
    StepUp {
        /// The key.
        key: &'static str,
        /// What is wrong, and the mend.
        problem: &'static str,
    },
    /// A number in `[enforcement]` outside its range.
    #[error("{key}: {problem}")]
    Ban {
        /// The key.
        key: &'static str,
        /// What is wrong, and the mend.
        problem: &'static str,
    },
}

impl PolicyError {
    /// The other key of a contradiction, beside the one that the message begins with.
    #[must_use]
    pub fn other_key(&self) -> Option<&str> {
        match self {
            Self::ThresholdOrder { severer, .. } | Self::StateOrder { severer, .. } => {
                Some(severer)
            }
            Self::DuplicateRoute { first, .. }
            | Self::DuplicateTier { first, .. }
            | Self::DuplicateLimit { first, .. } => Some(first),
            _ => None,
        }
    }
}
