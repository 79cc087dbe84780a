//! How much room the lists need in the tables, over-counted a little: one look at each network.

use ipnet::IpNet;

use crate::enforcement::layer_index::Family;
use crate::enforcement::list::BlockList;
use crate::enforcement::tables::Needs;
use crate::enforcement::tables::sizes::MOST_POLICIES;
use crate::words::network_set::Prefix;

/// The shortest tick: 256 jiffies of a millisecond.
const TICK_MS: u64 = 256;

/// Counts what is to stand in the tables.
#[must_use]
pub fn needs(list: &BlockList) -> Needs {
    let mut pages = Pages::default();
    let mut needs = Needs {
        // Blocks that end in the same tick share a policy, if they are of one kind, as bans are;
        // layers have one each, and as many again where they lie in one another. An estimate: what
        // is too small is made larger, so that none of it is a reason to refuse.
        policies: (2 * list.n_ends(TICK_MS) + 8 * list.layer_index().layers().len())
            .min(MOST_POLICIES),
        ..Needs::default()
    };
    let mut count = |network: &IpNet| match network {
        IpNet::V4(network) if network.prefix_len() == 32 => needs.hosts_v4 += 1,
        IpNet::V4(network) => pages.count(Prefix::from(*network)),
        IpNet::V6(network) => {
            needs.hosts_v6 += usize::from(matches!(network.prefix_len(), 64 | 128));
        }
    };
    for (network, _blocks) in list.blocks_within(IpNet::V4(ipnet::Ipv4Net::default())) {
        count(network);
    }
    for (network, _blocks) in list.blocks_within(IpNet::V6(ipnet::Ipv6Net::default())) {
        count(network);
    }
    let index = list.layer_index();
    for node in u32::nodes(index) {
        let prefix = node.prefix();
        if prefix.len == 32 {
            needs.hosts_v4 += 1;
        } else {
            pages.count(prefix);
        }
    }
    let v6 = u128::nodes(index).iter().map(|node| node.prefix().len);
    needs.hosts_v6 += v6.filter(|len| matches!(len, 64 | 128)).count();
    // A hole in a network is as much as a network.
    for allow in list.allows() {
        if let IpNet::V4(network) = allow.network {
            pages.count(Prefix::from(network));
        }
    }
    needs.pages = pages.n;
    needs
}

/// Pages that networks in ascending order take.
#[derive(Default)]
struct Pages {
    n: usize,
    last_16: Option<u32>,
    last_24: Option<u32>,
}

impl Pages {
    fn count(&mut self, prefix: Prefix<u32>) {
        let mut differs = |last: &mut Option<u32>, net: u32| {
            self.n += usize::from(*last != Some(net));
            *last = Some(net);
        };
        if prefix.len > 16 {
            differs(&mut self.last_16, prefix.address >> 16);
        }
        if prefix.len > 24 {
            differs(&mut self.last_24, prefix.address >> 8);
        }
    }
}
