//! The record of one principal: everything the engine remembers of it but its source's bans.

use super::kinds::Kinds;
use super::paging::Collection;
use super::window::LastMinute;
use crate::engine::throttle::{Allowance, Bucket, Passage};
use crate::engine::weights;
use crate::words::clock::Monotonic;

/// What one principal did lately, and how far the upstream knows it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Principal {
    requests: LastMinute,
    pages: LastMinute,
    interactions: LastMinute,
    /// The collection of the last page.
    collection: Option<Collection>,
    /// When a page of another collection than before was last asked for; at boot is never.
    collection_changed: Monotonic,
    /// What is left of its allowance.
    pub(crate) bucket: Bucket,
    /// When it was last blocked; at boot is never.
    pub(crate) blocked: Monotonic,
    /// Requests that the upstream accepted; saturates.
    n_accepted: u16,
    kinds: Kinds,
}

/// One request as it is charged to a principal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charge {
    pub(crate) at: Monotonic,
    /// The collection, if it asks for a page of one.
    pub(crate) page_of: Option<Collection>,
    /// What the principal may send.
    pub(crate) allowance: Allowance,
    /// What the client looks like.
    pub(crate) fingerprint: u64,
}

/// A charge and what became of it, to take it back by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receipt {
    pub(crate) charge: Charge,
    /// Whether the bucket still had a token for it.
    pub(crate) passage: Passage,
}

/// The numbers that signals read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Features {
    /// Requests, this one included.
    pub(crate) requests: Counts,
    /// Those that asked for a page of a collection.
    pub(crate) pages: Counts,
    /// Whether they were all of one collection.
    pub(crate) spread: Spread,
    /// Distinct verified interaction events in the window.
    pub(crate) interactions: u32,
    /// Kinds of clients within an hour, up to [`Kinds::MOST`].
    pub(crate) kinds: u8,
}

/// How many there were lately.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    /// In the last [`weights::WINDOW`].
    pub(crate) window: u32,
    /// In the last [`weights::HASTE_WINDOW`].
    pub(crate) haste: u32,
}

/// Over how many collections the pages of a window are spread.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Spread {
    #[default]
    One,
    Several,
}

impl Principal {
    /// Counts one request and takes its token.
    pub(crate) fn charge(&mut self, charge: Charge) -> Receipt {
        self.requests.add(charge.at);
        self.kinds.note(charge.at, charge.fingerprint);
        if let Some(collection) = charge.page_of {
            self.pages.add(charge.at);
            if self.collection.is_some_and(|last| last != collection) {
                self.collection_changed = charge.at;
            }
            self.collection = Some(collection);
        }
        Receipt {
            charge,
            passage: self.bucket.take(charge.at, charge.allowance),
        }
    }

    /// Takes back one request that was charged, since it belongs to another principal. That this kind
    /// of client was seen stays true.
    pub(crate) fn uncharge(&mut self, receipt: Receipt) {
        let Receipt { charge, passage } = receipt;
        self.requests.remove(charge.at);
        if charge.page_of.is_some() {
            self.pages.remove(charge.at);
        }
        if passage == Passage::Pass {
            self.bucket.put_back(charge.allowance);
        }
    }

    /// Counts one verified interaction event.
    pub(crate) fn interact(&mut self, at: Monotonic) {
        self.interactions.add(at);
    }

    /// Notes that the upstream accepted one of its requests.
    pub(crate) fn accept(&mut self) {
        self.n_accepted = self.n_accepted.saturating_add(1);
    }

    /// Requests that the upstream accepted.
    pub(crate) const fn n_accepted(&self) -> u16 {
        self.n_accepted
    }

    /// What it did in the window that ends now.
    pub(crate) fn features(&self, now: Monotonic) -> Features {
        let changed_lately = self.collection_changed != Monotonic::default()
            && now.since(self.collection_changed) < weights::WINDOW;
        Features {
            requests: Counts::of(&self.requests, now),
            pages: Counts::of(&self.pages, now),
            spread: if changed_lately {
                Spread::Several
            } else {
                Spread::One
            },
            interactions: self.interactions.count(now),
            kinds: self.kinds.count(now),
        }
    }
}

impl Counts {
    fn of(events: &LastMinute, now: Monotonic) -> Self {
        Self {
            window: events.count(now),
            haste: events.count_lately(now),
        }
    }

    fn with(self, other: Self) -> Self {
        Self {
            window: self.window + other.window,
            haste: self.haste + other.haste,
        }
    }
}

impl Features {
    /// Both together, of one principal in two records.
    pub(crate) fn with(self, other: Self) -> Self {
        Self {
            requests: self.requests.with(other.requests),
            pages: self.pages.with(other.pages),
            spread: match (self.pages.window, other.pages.window) {
                (_, 0) => self.spread,
                (0, _) => other.spread,
                _ => Spread::Several,
            },
            interactions: self.interactions + other.interactions,
            // The same ones may be in both.
            kinds: self.kinds.max(other.kinds),
        }
    }
}
