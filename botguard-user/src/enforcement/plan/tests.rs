//! The laws of the plan, on random lists: the tables, judged by the kernel's own code, agree with
//! a naive reading of the lists at every later time; refreshing agrees with filling anew; and at no
//! store in between does a table say what neither says.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;
use crate::enforcement::recovery::recover;
use crate::enforcement::tables::Sizes;
use crate::enforcement::tables::memory::{OwnMemory, OwnTries};
use crate::words::block::{Allow, Origin};
use crate::words::layer::{Group, NamedList, Terms};

mod random;

use random::{
    allows, at, blocks, clock, filled, layers, list_of, listed, naive, rules_of, said, sources,
};

#[test]
fn blocks_that_end_together_take_one_policy() {
    let block = |host: u32, second| Block {
        network: IpNet::from(IpAddr::from(host.to_be_bytes())),
        origin: Origin::Automatic,
        scope: Scope::Listeners,
        effect: Effect::Drop,
        created: at(0),
        expires: Some(at(second)),
        reason: String::new(),
    };
    let mut list = BlockList::default();
    for host in 0..10_000 {
        list.insert(block(host, 1 + u64::from(host % 10)));
    }
    assert_eq!(needs(&list).policies, 20);
    assert_eq!(filled(&list, 1).n_entries(), 10_000);
    // However many there are, an estimate is no reason to refuse them.
    for second in 0..600_000 {
        list.insert(block(0, 100 + second));
    }
    assert!(Sizes::of(&needs(&list)).is_ok());
}

/// Tries that look at the buckets at each change of an allow.
#[derive(Debug)]
struct Watching {
    tries: OwnTries,
    memory: Arc<OwnMemory>,
    /// How many hosts stood in the buckets at each change.
    seen: Vec<usize>,
}

impl Watching {
    fn look(&mut self) {
        let slots = self.memory.hosts_v4().iter();
        let n_hosts = slots.filter(|slot| slot.load(Ordering::Relaxed) != 0);
        self.seen.push(n_hosts.count());
    }
}

impl Tries for Watching {
    type Error = Infallible;

    fn put_net_v6(&mut self, network: Ipv6Net, policy: u32) -> Result<(), Infallible> {
        self.tries.put_net_v6(network, policy)
    }

    fn delete_net_v6(&mut self, network: Ipv6Net) -> Result<(), Infallible> {
        self.tries.delete_net_v6(network)
    }

    fn allow(&mut self, network: IpNet) -> Result<(), Infallible> {
        self.look();
        self.tries.allow(network)
    }

    fn unallow(&mut self, network: IpNet) -> Result<(), Infallible> {
        self.look();
        self.tries.unallow(network)
    }

    fn nets_v6(&self) -> Result<Vec<(Ipv6Net, u32)>, Infallible> {
        self.tries.nets_v6()
    }

    fn allows(&self) -> Result<Vec<IpNet>, Infallible> {
        self.tries.allows()
    }
}

fn single(network: &str) -> Block {
    Block {
        network: network.parse().unwrap(),
        origin: Origin::Operator,
        scope: Scope::Listeners,
        effect: Effect::Drop,
        created: at(0),
        expires: None,
        reason: String::new(),
    }
}

fn allowed(network: &str) -> Allow {
    Allow {
        network: network.parse().unwrap(),
        created: at(0),
        reason: String::new(),
    }
}

/// A packet of the allowed source is asked for in the allow list for as long as the block stands.
#[test]
fn an_allow_is_there_before_the_hole_and_until_the_hole_is_closed() {
    let sizes = Sizes::of(&Default::default()).unwrap();
    let memory = Arc::new(OwnMemory::new(&sizes));
    let watching = Watching {
        tries: OwnTries::default(),
        memory: Arc::clone(&memory),
        seen: vec![],
    };
    let mut tables = Tables::new(memory, watching, 3);
    let rules = rules_of(&BlockList::default());
    let network = "192.0.2.0/24".parse().unwrap();
    let mut list = BlockList::default();
    list.insert(single("192.0.2.7/32"));
    for is_allowed in [false, true, false] {
        if is_allowed {
            list.allow(allowed("192.0.2.0/24"));
        } else {
            list.unallow(&network);
        }
        let plan = Plan {
            list: &list,
            clock: &clock(0),
            rules: &rules,
        };
        refresh(plan, &mut tables, &network).unwrap();
    }
    assert_eq!(tables.tries().seen, [1, 1]);
}

/// What is lifted leaves nothing behind in the filter, where every clean packet would pay for it,
/// and takes nothing from what stands beside it in the same /24.
#[test]
fn the_filter_leads_to_what_stands_and_to_nothing_else() {
    let networks = [
        "10.0.0.0/15",
        "192.0.2.0/24",
        "192.0.2.0/25",
        "192.0.2.7/32",
        "192.0.2.8/32",
        "198.51.100.64/26",
        "203.0.113.0/32",
    ];
    let layers = NamedList {
        name: "a".parse().unwrap(),
        terms: Terms {
            scope: Scope::Listeners,
            effect: Effect::Drop,
            created: at(0),
            reason: String::new(),
        },
        groups: vec![Group {
            expires: None,
            networks: Arc::new(
                ["203.0.113.1/32".parse::<IpNet>().unwrap()]
                    .into_iter()
                    .collect(),
            ),
        }],
    };
    let mut list = list_of(&[], &[layers], &[]);
    let mut tables = filled(&list, 8);
    let rules = rules_of(&list);
    let mut follow = |list: &BlockList, network: &str| {
        let plan = Plan {
            list,
            clock: &clock(0),
            rules: &rules,
        };
        refresh(plan, &mut tables, &network.parse().unwrap()).unwrap();
        for source in sources(networks.map(|network| network.parse().unwrap())) {
            let expected = naive(list, source, at(0));
            assert_eq!(said(&tables, source, 0), expected, "{source}, {network}");
        }
        let words = tables.memory().filter_v4().iter();
        words
            .filter(|word| word.load(Ordering::Relaxed) != 0)
            .count()
    };
    for network in networks {
        list.insert(single(network));
        follow(&list, network);
    }
    let mut n_words = 0;
    for network in networks {
        list.remove(&network.parse().unwrap(), None);
        n_words = follow(&list, network);
    }
    assert_eq!(n_words, 1, "the list's own");
}

proptest! {
    #[test]
    fn tables_agree_with_the_lists_at_every_later_time(
        blocks in prop::collection::vec(blocks(), 0..8),
        lists in layers(),
        allows in prop::collection::vec(allows(), 0..3),
        seed in any::<u64>(),
    ) {
        let list = list_of(&blocks, &lists, &allows);
        let tables = filled(&list, seed);
        for source in sources(listed(&list)) {
            for second in [0, 1, 7, 19, 22] {
                prop_assert_eq!(
                    said(&tables, source, second),
                    naive(&list, source, at(second)),
                    "{} at {}", source, second
                );
            }
        }
    }

    #[test]
    fn refreshing_after_each_change_agrees_with_the_lists(
        lists in layers(),
        changes in prop::collection::vec((blocks(), 0_u8..4, allows()), 1..12),
    ) {
        let mut list = list_of(&[], &lists, &[]);
        let sizes = Sizes::of(&super::super::tables::Needs {
            pages: 600,
            ..Default::default()
        }).unwrap();
        let mut tables = Tables::new(OwnMemory::new(&sizes), OwnTries::default(), 5);
        let rules = rules_of(&list);
        let clock = clock(0);
        macro_rules! plan {
            () => { Plan { list: &list, clock: &clock, rules: &rules } };
        }
        fill(plan!(), &mut tables).unwrap();
        let mut touched = vec![];
        for (block, kind, allow) in changes {
            let network = match kind {
                0 => { list.remove(&block.network, None); block.network }
                1 => { list.unallow(&allow.network); allow.network }
                2 => { let network = allow.network; list.allow(allow); network }
                _ => { let network = block.network; list.insert(block); network }
            };
            touched.push(network);
            refresh(plan!(), &mut tables, &network).unwrap();
        }
        for source in sources(listed(&list).into_iter().chain(touched)) {
            for second in [0, 7, 22] {
                prop_assert_eq!(
                    said(&tables, source, second),
                    naive(&list, source, at(second)),
                    "{} at {}", source, second
                );
            }
        }
    }

    /// Nothing that is allowed, and nothing that no list holds, is found blocked.
    #[test]
    fn allowed_and_clean_sources_are_never_blocked(
        lists in layers(),
        allows in prop::collection::vec(allows(), 1..3),
    ) {
        let list = list_of(&[], &lists, &allows);
        let tables = filled(&list, 9);
        for source in sources(listed(&list)) {
            let is_allowed = allows.iter().any(|allow| allow.network.contains(&source));
            let is_clean = !lists.iter().any(|list| {
                list.groups.iter().any(|group| group.networks.iter().any(|n| n.contains(&source)))
            });
            if is_allowed || is_clean {
                prop_assert_eq!(said(&tables, source, 0), [false; 4], "{}", source);
            }
        }
    }

    #[test]
    fn what_is_recovered_from_the_tables_says_what_they_say(
        blocks in prop::collection::vec(blocks(), 0..8),
        lists in layers(),
        allows in prop::collection::vec(allows(), 0..2),
    ) {
        // Ends that differ by a tick are one to it, so they are kept two apart here.
        let double = |end: Wall| at(2 * at(0).until(end).as_secs());
        let doubled = blocks.into_iter().map(|block| Block {
            expires: block.expires.map(double),
            ..block
        });
        let doubled: Vec<_> = doubled.collect();
        let mut lists = lists;
        for group in lists.iter_mut().flat_map(|list| &mut list.groups) {
            group.expires = group.expires.map(double);
        }
        let list = list_of(&doubled, &lists, &allows);
        let tables = filled(&list, 3);
        let recovered = recover(&tables.contents().unwrap(), &rules_of(&list), &clock(0));
        let again = list_of(&recovered.blocks, &recovered.lists, &recovered.allows);
        for source in sources(listed(&list)) {
            for second in (0..44).step_by(2) {
                let [before, after] = [&list, &again].map(|list| naive(list, source, at(second)));
                prop_assert_eq!(before, after, "{} at {}", source, second);
            }
        }
    }
}
