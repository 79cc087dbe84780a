//! What ends by itself: blocks, what is imported or of a system, and the mode set by command.

use super::Enforcer;
use super::lists::passable;
use crate::store::Change;
use crate::words::clock::Wall;

impl Enforcer {
    /// Takes out what has ended, everywhere. The kernel stops by itself at the same time; this
    /// gives the room back.
    pub fn expire(&self, now: Wall) -> usize {
        self.expire_blocks(now) + self.expire_layers(now)
    }

    fn expire_blocks(&self, now: Wall) -> usize {
        let mut lists = self.lists.write();
        let ended = lists.expire(now);
        if ended.is_empty() {
            return 0;
        }
        let lists = passable(lists);
        let networks: Vec<_> = ended.iter().map(|block| block.network).collect();
        self.kernel.lock().refresh(&lists, &networks, now);
        for block in &ended {
            let change = Change::DeleteBlock(block.network, block.origin);
            if let Err(error) = self.queue(change) {
                // It is deleted at the next start, where it is expired again.
                tracing::debug!(%error, "expired block stays in the store");
            }
        }
        ended.len()
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
