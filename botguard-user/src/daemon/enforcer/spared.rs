//! Who is never banned automatically, or only as narrowly as possible: what is guarded by the
//! configuration, and what the operator allows.

use ipnet::IpNet;

use super::Enforcer;
use crate::words::address::{PeerAddress, host_network};

impl Enforcer {
    /// Why an automatic ban of this address would be refused: it is guarded or allowed.
    #[must_use]
    pub fn spared(&self, target: PeerAddress) -> Option<String> {
        let network = host_network(target.ip());
        if let Some(covered) = self.guard.read().covers(&network) {
            return Some(covered.to_string());
        }
        let lists = self.lists.read();
        let allow = lists.allows_covering(target.ip()).next()?;
        Some(format!("{} is on the allow list", allow.network))
    }

    /// Who is guarded or allowed within a network.
    pub(super) fn spared_in(&self, network: &IpNet) -> Option<String> {
        if let Some(covered) = self.guard.read().covers(network) {
            return Some(covered.to_string());
        }
        let lists = self.lists.read();
        let mut allows = lists.allows();
        let allow = allows.find(|allow| network.contains(&allow.network))?;
        Some(format!("{} is on the allow list", allow.network))
    }
}
