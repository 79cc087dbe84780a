//! What random lists meet by luck only, or cannot tell: orders, room, and what is left behind.

use std::convert::Infallible;
use std::sync::atomic::Ordering;

use super::*;

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
        "2001:db8::/48",
        "2001:db8::/64",
        "2001:db8::/80",
        "2001:db8::1/128",
        "2001:db8:1::/44",
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

/// A network between /64 and a host is more specific than the /64, which stands elsewhere.
#[test]
fn what_lies_within_a_64_goes_before_it() {
    let mut list = BlockList::default();
    list.insert(single("2001:db8::/64"));
    list.insert(Block {
        scope: Scope::Host,
        ..single("2001:db8::/96")
    });
    list.insert(Block {
        effect: Effect::Count,
        ..single("2001:db8::/48")
    });
    let tables = filled(&list, 4);
    for source in ["2001:db8::1", "2001:db8::1:0:0:1", "2001:db8:0:1::"] {
        let source = source.parse().unwrap();
        let expected = naive(&list, source, at(0));
        assert_eq!(said(&tables, source, 0), expected, "{source}");
    }
}

/// A hole of one address takes as many pages as a network of one.
#[test]
fn allows_are_counted_as_the_holes_that_they_are() {
    let mut list = BlockList::default();
    list.insert(single("10.0.0.0/8"));
    for net in 0..=255 {
        for host in [1, 129] {
            list.allow(allowed(&format!("10.{net}.7.{host}/32")));
        }
    }
    assert_eq!(needs(&list).pages, 2 * 256);
    let tables = filled(&list, 6);
    assert_eq!(said(&tables, [10, 9, 7, 1].into(), 0), [false; 4]);
    assert_eq!(
        said(&tables, [10, 9, 7, 2].into(), 0),
        naive(&list, [10, 9, 7, 2].into(), at(0))
    );
}
