//! Pairs of a credential and an address that are refused for some time: the narrowest measure, which
//! hits nobody else behind the address and nobody else with the credential.
//!
//! A score forgets within a minute; a pair that keeps reaching the block threshold is held longer.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::ban_history::LastBan;
use super::features::window::Window;
use super::fresh::Fresh;
use super::policy::ban::BanPolicy;
use super::principals::PrincipalId;
use super::table::ClockTable;
use crate::words::clock::{Monotonic, Now, WallOffset};
use crate::words::memo::{PairMemo, is_subscriber_at};

/// All pairs that were ever denied for their score, at most as many as the capacity.
pub(crate) struct Pairs {
    table: ClockTable<PrincipalId, Pair>,
    /// Banned since the last call of [`Pairs::drain`].
    fresh: Fresh<PrincipalId>,
}

#[derive(Clone, Debug, Default)]
struct Pair {
    denials: Window<{ DENIAL_BUCKETS as usize + 1 }>,
    denial_width: Duration,
    last: Option<LastBan>,
    /// Of the last ban.
    reason: Arc<str>,
}

const DENIAL_BUCKETS: u32 = 10;

impl Pairs {
    pub(crate) fn new(capacity: u32) -> Self {
        Self {
            table: ClockTable::new(capacity),
            fresh: Fresh::new(capacity),
        }
    }

    /// Whether it is held now.
    pub(crate) fn is_held(&self, id: PrincipalId, now: Monotonic) -> bool {
        if self.table.len() == 0 {
            return false;
        }
        let pair = self.table.find(&id);
        pair.and_then(|pair| pair.last)
            .is_some_and(|last| last.is_live(now))
    }

    /// Counts a denial for its score, and begins a ban if that was one too many.
    pub(crate) fn denied(
        &mut self,
        now: Monotonic,
        id: PrincipalId,
        policy: &BanPolicy,
        why: impl FnOnce(u32) -> String,
    ) -> Option<(LastBan, Arc<str>)> {
        let pair = self.table.entry(id);
        let width = policy.within / DENIAL_BUCKETS;
        if pair.denial_width != width {
            pair.denials = Window::default();
            pair.denial_width = width;
        }
        pair.denials.add(now, width);
        let n_denials = pair.denials.count(now, width);
        if n_denials < policy.denied {
            return None;
        }
        let ban = LastBan::after(pair.last, now, policy);
        pair.last = Some(ban);
        pair.denials = Window::default();
        let reason: Arc<str> = why(n_denials).into();
        pair.reason = Arc::clone(&reason);
        let table = &self.table;
        self.fresh.push(id, |id| table.find(id).is_some());
        Some((ban, reason))
    }

    /// Forgets what it was denied: something wider has taken its place.
    pub(crate) fn excuse(&mut self, id: PrincipalId) {
        if let Some(pair) = self.table.find_mut(&id) {
            pair.denials = Window::default();
        }
    }

    /// Ends the bans of all pairs at addresses of `network`; returns how many were live.
    pub(crate) fn release(&mut self, network: &IpNet, now: Monotonic) -> usize {
        let mut released = Vec::new();
        for (id, pair) in self.table.iter_mut() {
            let Some(last) = &mut pair.last else { continue };
            if last.is_live(now) && is_subscriber_at(id.network(), network) {
                last.end(now);
                released.push(id);
            }
        }
        for id in &released {
            let table = &self.table;
            self.fresh.push(*id, |id| table.find(id).is_some());
        }
        released.len()
    }

    /// The pairs that are held now, and until when.
    pub(crate) fn held(&self, now: Monotonic, offset: WallOffset) -> Vec<PairMemo> {
        let live = self.table.iter().filter_map(|(id, pair)| {
            let last = pair.last.filter(|last| last.is_live(now))?;
            Some((id, last, pair))
        });
        live.filter_map(|(id, last, pair)| {
            Some(PairMemo {
                address: id.network(),
                credential: id.credential()?,
                ban: last.memo(offset),
                reason: pair.reason.to_string(),
            })
        })
        .collect()
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.fresh.len()
    }

    /// The pairs that were banned since the last call.
    pub(crate) fn drain(&mut self, offset: WallOffset) -> Vec<PairMemo> {
        let mut fresh = self.fresh.take();
        fresh.sort_unstable();
        fresh.dedup();
        fresh
            .into_iter()
            .filter_map(|id| {
                let pair = self.table.find(&id)?;
                Some(PairMemo {
                    address: id.network(),
                    credential: id.credential()?,
                    ban: pair.last?.memo(offset),
                    reason: pair.reason.to_string(),
                })
            })
            .collect()
    }

    pub(crate) fn recall(&mut self, now: Now, memo: &PairMemo, policy: &BanPolicy) {
        let id = PrincipalId::of_credential(memo.address, memo.credential);
        let pair = self.table.entry(id);
        pair.last = Some(LastBan::recalled(&memo.ban, now, policy));
        pair.reason = memo.reason.as_str().into();
    }
}
