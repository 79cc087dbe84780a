//! Who has just proved who they are, by the application's signed word (`fresh_auth`).

use std::time::Duration;

use super::table::ClockTable;
use crate::words::clock::Monotonic;
use crate::words::memo::Credential;

/// When a session or user authenticated last, at most as many as the capacity. A token's own
/// `auth_time` needs no memory.
pub(crate) struct Freshness(ClockTable<Credential, Proof>);

#[derive(Clone, Copy, Debug, Default)]
struct Proof {
    at: Option<Monotonic>,
    /// Of the client that did: a stolen cookie is used by another.
    fingerprint: u64,
}

impl Freshness {
    pub(crate) fn new(capacity: u32) -> Self {
        Self(ClockTable::new(capacity))
    }

    /// The application says that its user has just authenticated with this client.
    pub(crate) fn note(&mut self, now: Monotonic, credential: Credential, fingerprint: u64) {
        *self.0.entry(credential) = Proof {
            at: Some(now),
            fingerprint,
        };
    }

    /// How long ago that was, for the same client.
    pub(crate) fn age(
        &self,
        now: Monotonic,
        credential: Credential,
        fingerprint: u64,
    ) -> Option<Duration> {
        let proof = self.0.find(&credential)?;
        let at = proof.at.filter(|_at| proof.fingerprint == fingerprint)?;
        Some(now.since(at))
    }
}
