//! What ends by itself: blocks, parts of lists, systems, and the mode set by command.

use std::sync::Arc;

use super::Enforcer;
use crate::enforcement::list::BlockList;
use crate::store::Change;
use crate::words::clock::Wall;
use crate::words::rule::Rule;

impl Enforcer {
    /// Takes out what has ended, everywhere. The kernel stops by itself at the same time; this
    /// gives the room back.
    pub fn expire(&self, now: Wall) -> usize {
        let mut lists = self.lists.write();
        let ended = lists.expire(now);
        let rules = lists.expire_layers(now);
        let n_ended = ended.len() + rules.len();
        if n_ended == 0 {
            return 0;
        }
        let networks: Vec<_> = ended.iter().map(|block| block.network).collect();
        let blocks = ended
            .iter()
            .map(|block| Change::DeleteBlock(block.network, block.origin));
        let layers = rules.iter().filter_map(|rule| ended_layer(&lists, rule));
        let changes = blocks.chain(layers).collect();
        if rules.is_empty() {
            self.kernel.lock().refresh(&lists, &networks, now);
        } else {
            self.kernel.lock().fill(&lists, now);
        }
        if let Err(error) = self.submit(changes) {
            // They are deleted at the next start, where they are expired again.
            tracing::debug!(%error, "expired blocks stay in the store");
        }
        n_ended
    }

    /// Ends an override whose time is up. Returns whether the mode changed.
    pub fn end_override(&self, now: Wall) -> bool {
        let mut bound = self.bound.lock();
        if bound.set.is_none_or(|set| set.is_live(now)) {
            return false;
        }
        bound.set = None;
        if let Err(error) = self.queue(Change::SetMode(None)) {
            // An ended override has no effect wherever it is read.
            tracing::debug!(%error, "ended mode override stays in the store");
        }
        self.kernel.lock().set_mode(bound.effective(now));
        true
    }
}

/// What the store has to take of a list or system of which something has ended.
fn ended_layer(lists: &BlockList, rule: &Rule) -> Option<Change> {
    match rule {
        Rule::Asn(number) => Some(Change::DeleteAsn(*number)),
        Rule::List(name) => Some(match lists.layers().lists.get(name) {
            Some(list) => Change::PutList(Arc::new(list.clone())),
            None => Change::DeleteList(name.clone()),
        }),
        // Those are no layers.
        Rule::Single(_) => None,
    }
}
