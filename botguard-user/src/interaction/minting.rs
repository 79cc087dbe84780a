//! How many tokens one principal gets: a bucket for each key in each neighbourhood. Pure, bounded.

use std::collections::HashMap;
use std::time::Duration;

use ipnet::IpNet;

use super::token::Binding;
use crate::words::clock::Monotonic;
use crate::words::identity::KeyHash;
use crate::words::units::Rate;

/// Buckets as GCRA (ATM Forum TM 4.1, section 4.4.2): one instant each, the one at which the
/// bucket will be full again.
#[derive(Debug)]
pub(super) struct Minting {
    full_at: HashMap<Principal, Monotonic>,
    interval: Duration,
    swept: Monotonic,
    capacity: usize,
}

/// Not by fingerprint, which costs nothing to change.
type Principal = (Option<KeyHash>, IpNet);

impl Minting {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            full_at: HashMap::new(),
            interval: rate.interval(),
            swept: Monotonic::default(),
            capacity: CAPACITY,
        }
    }

    /// Takes one token's place, or tells how long to wait for one.
    ///
    /// When there is no room for another principal, it waits: at worst, pages go unheard.
    pub(super) fn admit(&mut self, now: Monotonic, binding: &Binding) -> Result<(), Duration> {
        let principal = (binding.key, binding.network);
        let full_at = match self.full_at.get(&principal) {
            Some(full_at) => (*full_at).max(now),
            None => {
                self.make_room(now)?;
                now
            }
        };
        let next = full_at.after(self.interval);
        let ahead = next.since(now);
        let most = self.interval.saturating_mul(BURST);
        if ahead > most {
            return Err(ahead.saturating_sub(most));
        }
        self.full_at.insert(principal, next);
        Ok(())
    }

    /// Forgets full buckets, which are as good as none. At most once a second, since it looks at
    /// all of them.
    fn make_room(&mut self, now: Monotonic) -> Result<(), Duration> {
        if self.full_at.len() < self.capacity {
            return Ok(());
        }
        if now.since(self.swept) >= SWEEP_INTERVAL {
            self.swept = now;
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        if self.full_at.len() < self.capacity {
            Ok(())
        } else {
            Err(SWEEP_INTERVAL)
        }
    }
}

/// Tokens that an idle principal gets at once.
const BURST: u32 = 60;

/// Principals; about 6 MiB.
const CAPACITY: usize = 1 << 16;

const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_boot(Duration::from_secs(1_000) + Duration::from_millis(ms))
    }

    fn binding(network: u8) -> Binding {
        Binding {
            key: None,
            fingerprint: 0,
            network: format!("192.0.{network}.0/24").parse().unwrap(),
        }
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut minting = Minting::new(Rate::per_minute(60));
        for _ in 0..BURST {
            assert_eq!(minting.admit(at(0), &binding(1)), Ok(()));
        }
        assert_eq!(
            minting.admit(at(0), &binding(1)),
            Err(Duration::from_secs(1))
        );
        assert_eq!(
            minting.admit(at(400), &binding(1)),
            Err(Duration::from_millis(600))
        );
        assert_eq!(minting.admit(at(1_000), &binding(1)), Ok(()));
        assert!(minting.admit(at(1_000), &binding(1)).is_err());
        // Another neighbourhood has its own; another fingerprint has not.
        assert_eq!(minting.admit(at(1_000), &binding(2)), Ok(()));
        let disguised = Binding {
            fingerprint: 9,
            ..binding(1)
        };
        assert!(minting.admit(at(1_000), &disguised).is_err());
    }

    #[test]
    fn a_full_table_waits_and_forgets_the_idle() {
        let mut minting = Minting::new(Rate::per_minute(60));
        minting.capacity = 2;
        assert_eq!(minting.admit(at(0), &binding(1)), Ok(()));
        assert_eq!(minting.admit(at(0), &binding(2)), Ok(()));
        assert!(minting.admit(at(0), &binding(3)).is_err());
        assert_eq!(minting.admit(at(0), &binding(1)), Ok(()));
        // The second's bucket is full again after a second, the first's after two.
        assert_eq!(minting.admit(at(1_000), &binding(3)), Ok(()));
        assert_eq!(minting.full_at.len(), 2);
    }
}
