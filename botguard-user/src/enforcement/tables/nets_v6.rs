//! IPv6 networks, hosts and /64s apart: prefixes in a trie, and the filters' bits that lead there.

use std::sync::atomic::Ordering::{Relaxed, Release};

use botguard_common::hash::{cell_48, cells_32};
use botguard_common::lookup::{HOSTS, IS_LONG, NETWORKS};
use ipnet::Ipv6Net;

use super::Tables;
use super::hosts_v4::set_bits;
use super::memory::{Memory, Tries};
use super::policies::Policy;

impl<M: Memory, T: Tries> Tables<M, T> {
    /// Sets the policy of a prefix; [`Policy::NONE`] keeps a wider one from applying to it.
    ///
    /// Errors: the trie's.
    pub fn put_net_v6(&mut self, network: Ipv6Net, policy: Policy) -> Result<(), T::Error> {
        let longer = if network.prefix_len() > 64 {
            IS_LONG
        } else {
            0
        };
        let value = policy.0 | longer;
        if self.nets_v6.get(&network) == Some(&value) {
            return Ok(());
        }
        self.tries.put_net_v6(network, value)?;
        self.nets_v6.insert(network, value);
        if policy != Policy::NONE {
            self.lead_to(network);
        }
        Ok(())
    }

    /// Takes a prefix out. The filters keep their bits until the next generation: others may share
    /// them.
    ///
    /// Errors: the trie's.
    pub fn delete_net_v6(&mut self, network: Ipv6Net) -> Result<(), T::Error> {
        if self.nets_v6.remove(&network).is_some() {
            self.tries.delete_net_v6(network)?;
        }
        Ok(())
    }

    fn lead_to(&self, network: Ipv6Net) {
        let seed = self.header.seed;
        let high = (u128::from(network.trunc().addr()) >> 64) as u64;
        let len = network.prefix_len();
        let (wide, narrow) = (self.memory.filter_v6_32(), self.memory.filter_v6_48());
        match len {
            // So wide that nearly every cell would be hit anyway.
            ..16 => {
                // Every second bit, beginning with the second.
                const ALL: u64 = 0xaaaa_aaaa_aaaa_aaaa;
                for word in wide {
                    word.store(word.load(Relaxed) | ALL, Release);
                }
            }
            16..36 => {
                let n_nets = 1_u64 << 32_u8.saturating_sub(len);
                for number in 0..n_nets {
                    for cell in cells_32(high + (number << 32), seed) {
                        set_bits(wide, cell, NETWORKS);
                    }
                }
            }
            36.. => {
                let n_cells = 1_u64 << 48_u8.saturating_sub(len);
                for number in 0..n_cells {
                    set_bits(narrow, cell_48(high + (number << 16), seed), NETWORKS);
                }
                for cell in cells_32(high, seed) {
                    set_bits(wide, cell, HOSTS);
                }
            }
        }
    }
}
