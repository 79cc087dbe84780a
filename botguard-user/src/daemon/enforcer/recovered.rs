//! A store that was lost, begun anew with what the kernel holds.

use std::sync::Arc;

use super::KernelSide;
use super::operator::durable;
use crate::enforcement::recovery::Recovered;
use crate::store::journal::Journal;
use crate::store::{Change, Contents};
use crate::words::clock::Wall;

/// What the kernel holds, put into the store that knows nothing of it; else the next filling would
/// unblock everybody.
pub(super) fn from(kernel: &KernelSide, journal: &Journal, now: Wall) -> Contents {
    let Recovered {
        blocks,
        lists,
        asns,
        allows,
    } = kernel.recover(now);
    let changes: Vec<_> = (blocks.iter().cloned().map(Change::PutBlock))
        .chain((lists.iter().cloned()).map(|list| Change::PutList(Arc::new(list))))
        .chain(asns.iter().cloned().map(Change::PutAsn))
        .chain(allows.iter().cloned().map(Change::PutAllow))
        .collect();
    if !changes.is_empty() {
        let (n_blocks, n_lists) = (blocks.len(), lists.len());
        let (n_asns, n_allows) = (asns.len(), allows.len());
        tracing::warn!(
            n_blocks,
            n_lists,
            n_asns,
            n_allows,
            "the store is empty, took over what is pinned"
        );
        // Together, so that a store with some of them never looks like one with all.
        let receipt = journal.submit(changes);
        if let Err(error) = durable(receipt) {
            tracing::error!(%error, "what is pinned is in force, but not kept across a restart");
        }
    }
    Contents {
        blocks,
        lists,
        asns,
        allows,
        ..Contents::default()
    }
}
