//! `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10), as structured
//! fields (RFC 9651): what a client is told of the limit that is closest to being used up.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::engine::decision::{LimitState, LimitUnit};

/// Sets both fields, unless the response has one of them: the application speaks of limits of its
/// own then, and the two belong together.
pub(super) fn set_where_absent(headers: &mut HeaderMap, limit: &LimitState) {
    if !headers.contains_key(&POLICY) && !headers.contains_key(&STATE) {
        set(headers, limit);
    }
}

/// Sets both fields.
pub(super) fn set(headers: &mut HeaderMap, limit: &LimitState) {
    let name = &limit.name;
    let unit = match limit.unit {
        // The default of section 3.1.2.
        LimitUnit::Requests => "",
        LimitUnit::Bytes => ";qu=\"content-bytes\"",
    };
    let quota = integer(limit.quota);
    let window = integer(whole_seconds(limit.window).max(1));
    let remaining = integer(limit.remaining);
    let reset = integer(whole_seconds(limit.reset));
    let fields = [
        (POLICY, format!("\"{name}\";q={quota}{unit};w={window}")),
        (STATE, format!("\"{name}\";r={remaining};t={reset}")),
    ];
    for (field, value) in fields {
        // A limit's name is of letters, digits, `_` and `-`, so nothing in it needs an escape.
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(field, value);
        }
    }
}

/// Rounded up: who comes back on the second finds what was promised.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    let up = u64::from(duration.subsec_nanos() > 0);
    duration.as_secs().saturating_add(up)
}

/// Integers of structured fields have at most 15 digits (RFC 9651 section 3.3.1).
fn integer(number: u64) -> u64 {
    number.min(999_999_999_999_999)
}

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

#[cfg(test)]
mod tests {
    use super::*;

    fn limit() -> LimitState {
        LimitState {
            name: "key".into(),
            unit: LimitUnit::Requests,
            quota: 120,
            window: Duration::from_secs(60),
            remaining: 0,
            reset: Duration::from_millis(29_001),
        }
    }

    #[test]
    fn limits_are_structured_fields() {
        let check = |limit: LimitState, policy: &str, state: &str| {
            let mut headers = HeaderMap::new();
            set(&mut headers, &limit);
            assert_eq!(headers[POLICY], policy);
            assert_eq!(headers[STATE], state);
            assert_eq!(headers.len(), 2);
        };
        check(limit(), "\"key\";q=120;w=60", "\"key\";r=0;t=30");
        let bytes = LimitState {
            name: "export_day".into(),
            unit: LimitUnit::Bytes,
            quota: u64::MAX,
            remaining: 7,
            reset: Duration::ZERO,
            window: Duration::from_millis(10),
        };
        check(
            bytes,
            "\"export_day\";q=999999999999999;qu=\"content-bytes\";w=1",
            "\"export_day\";r=7;t=0",
        );
    }

    #[test]
    fn the_application_s_own_word_stays() {
        let check = |own: Option<&'static str>, expected: usize| {
            let mut headers = HeaderMap::new();
            if let Some(name) = own {
                headers.insert(name, HeaderValue::from_static("\"app\";r=1"));
            }
            set_where_absent(&mut headers, &limit());
            assert_eq!(headers.len(), expected, "{own:?}");
        };
        check(None, 2);
        check(Some("ratelimit"), 1);
        check(Some("ratelimit-policy"), 1);
        check(Some("x-other"), 3);
    }
}
