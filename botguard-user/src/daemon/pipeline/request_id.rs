//! Ids of requests: 32 hexadecimal digits, never twice. Sorted by the start of the daemon and then
//! by the order of arrival, so that logs of several daemons can be merged by them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::words::clock::Wall;

/// Hands out ids.
#[derive(Debug)]
pub(super) struct RequestIds {
    /// 48 bits of wall time in milliseconds, 32 bits of salt: two hosts started at once differ.
    start: u128,
    next: AtomicU64,
}

impl RequestIds {
    /// Ids of a daemon that starts `now`; `salt` differs between hosts.
    pub(super) const fn starting(now: Wall, salt: u128) -> Self {
        let ms = (now.as_unix_ms() & 0xffff_ffff_ffff) as u128;
        Self {
            start: ms << 80 | (salt & 0xffff_ffff) << 48,
            next: AtomicU64::new(0),
        }
    }

    /// The next id. 48 bits of them last 89 years at 100,000 a second.
    pub(super) fn next(&self) -> Arc<str> {
        let n = self.next.fetch_add(1, Ordering::Relaxed) & 0xffff_ffff_ffff;
        format!("{:032x}", self.start | u128::from(n)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ordered_and_say_when_the_daemon_started() {
        let ids = RequestIds::starting(Wall::from_unix_ms(0x0123), u128::MAX);
        let first = ids.next();
        assert_eq!(&*first, "000000000123ffffffff000000000000");
        assert!(ids.next() > first);
    }
}
