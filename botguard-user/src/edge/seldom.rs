//! What would be said again and again is said a few times, and then counted for a while: so that a
//! dead upstream fills neither a disk nor a reader's day. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::words::clock::Monotonic;

/// Says what may be said now, by kind. Kinds are words of the code, so that there are few.
#[derive(Debug, Default)]
pub(super) struct Seldom(Mutex<BTreeMap<&'static str, Window>>);

#[derive(Debug)]
struct Window {
    began: Monotonic,
    n_said: u32,
    /// Since something of this kind was said last, whenever that was.
    n_unsaid: u64,
}

impl Seldom {
    /// Whether something of this kind may be said at `now`: how often it was not since it was said
    /// last.
    pub(super) fn may_say(&self, kind: &'static str, now: Monotonic) -> Option<u64> {
        let mut windows = self.0.lock();
        let window = windows.entry(kind).or_insert(Window {
            began: now,
            n_said: 0,
            n_unsaid: 0,
        });
        if now.since(window.began) >= WINDOW {
            window.began = now;
            window.n_said = 0;
        }
        if window.n_said == MOST_SAID {
            window.n_unsaid += 1;
            return None;
        }
        window.n_said += 1;
        Some(std::mem::take(&mut window.n_unsaid))
    }
}

const WINDOW: Duration = Duration::from_secs(10);

/// In a window. Enough for one line of each cause that hides behind a kind; at 300 bytes a line, a
/// kind that goes on all day writes 13 MB.
const MOST_SAID: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_said_seldom_and_counted() {
        let seldom = Seldom::default();
        let at = |ms| Monotonic::from_boot(Duration::from_millis(ms));
        let check = |kind, ms, expected| {
            assert_eq!(seldom.may_say(kind, at(ms)), expected, "{kind} {ms}");
        };
        for ms in 1_000..1_005 {
            check("broken", ms, Some(0));
        }
        for ms in 1_005..1_100 {
            check("broken", ms, None);
        }
        // One kind does not silence another.
        check("unreachable", 1_100, Some(0));
        check("broken", 10_999, None);
        check("broken", 11_000, Some(96));
        check("broken", 11_001, Some(0));
        check("unreachable", 60_000, Some(0));
    }
}
