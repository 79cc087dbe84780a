//! The tables at their bounds: nearly full, full, given back; and what a reader sees at each store.

use botguard_common::entry::{Entry, Term};
use botguard_common::lookup::{host_v4, network_v4};
use botguard_common::maps::DIRTY;

use super::memory::{OwnMemory, OwnTries};
use super::*;

type OwnTables = Tables<OwnMemory, OwnTries>;

fn tables() -> OwnTables {
    let sizes = Sizes::of(&Needs::default()).unwrap();
    Tables::new(OwnMemory::new(&sizes), OwnTries::default(), 42)
}

fn policy(tables: &mut OwnTables, end: u32) -> Policy {
    let entry = Entry {
        drop_listeners: Term::until(end, 1),
        ..Entry::default()
    };
    tables.intern(entry).unwrap()
}

/// Spread over all /24s, in no order.
fn address(number: u32) -> u32 {
    number.wrapping_mul(0x9e37_79b1)
}

#[test]
fn hosts_are_found_until_the_table_is_full_and_gone_when_deleted() {
    let mut tables = tables();
    let policy = policy(&mut tables, 7);
    let n_slots = u32::try_from(tables.memory.hosts_v4().len()).unwrap();
    let mut n_put = 0;
    while tables.put_host_v4(address(n_put), policy).is_ok() {
        n_put += 1;
    }
    // Two choices of eight, and one move: more than nine of ten slots.
    assert!(n_put * 10 > n_slots * 9, "{n_put} of {n_slots}");
    for number in 0..n_put {
        assert_eq!(host_v4(&tables, address(number)), policy.0, "{number}");
    }
    assert_eq!(host_v4(&tables, address(n_put)), 0);
    for number in (0..n_put).step_by(2) {
        tables.delete_host_v4(address(number), || true);
    }
    for number in 0..n_put {
        let expected = if number % 2 == 0 { 0 } else { policy.0 };
        assert_eq!(host_v4(&tables, address(number)), expected, "{number}");
    }
    // There is room again.
    assert!(tables.put_host_v4(address(n_put), policy).is_ok());
}

#[test]
fn a_host_put_again_has_the_new_policy_and_stands_once() {
    let mut tables = tables();
    let [first, second] = [5, 6].map(|end| policy(&mut tables, end));
    assert_ne!(first, second);
    assert_eq!(
        policy(&mut tables, 5),
        first,
        "equal entries are one policy"
    );
    for policy in [first, second] {
        tables.put_host_v4(9, policy).unwrap();
        assert_eq!(host_v4(&tables, 9), policy.0);
    }
    assert_eq!(tables.n_entries(), 1);
    tables.delete_host_v4(9, || true);
    tables.delete_host_v4(9, || true);
    assert_eq!(tables.n_entries(), 0);
}

#[test]
fn the_address_zero_is_an_address() {
    let mut tables = tables();
    assert_eq!(host_v4(&tables, 0), 0);
    let policy = policy(&mut tables, 0);
    tables.put_host_v4(0, policy).unwrap();
    assert_eq!(host_v4(&tables, 0), policy.0);
    let nobody = HostV6::of(0, 128).unwrap();
    tables.put_host_v6(nobody, policy).unwrap();
    tables.delete_host_v6(nobody);
    assert_eq!(tables.n_entries(), 1);
}

#[test]
fn a_slot_of_ipv6_stays_with_its_address() {
    let mut tables = tables();
    let policy = policy(&mut tables, 7);
    let subnet = HostV6::of(0x2001_0db8 << 96, 64).unwrap();
    let n_taken = |tables: &OwnTables| {
        let words = tables.memory.hosts_v6().iter();
        words.filter(|word| word.load(Relaxed) != 0).count()
    };
    let mut seen = vec![];
    for _ in 0..3 {
        tables.put_host_v6(subnet, policy).unwrap();
        tables.put_host_v6(subnet, policy).unwrap();
        seen.push((tables.n_entries(), n_taken(&tables)));
        tables.delete_host_v6(subnet);
        tables.delete_host_v6(subnet);
        seen.push((tables.n_entries(), n_taken(&tables)));
    }
    // The upper half of the address, and the word with policy and length.
    assert_eq!(seen, [(1, 2), (0, 2)].repeat(3));
}

#[test]
fn full_tables_say_which() {
    let mut tables = tables();
    let painted = (0..=u32::MAX >> 8).step_by(256).try_for_each(|net| {
        let first = net << 8 | 1;
        let policy = policy(&mut tables, 3);
        let segment = Segment {
            first,
            last: first,
            policy,
        };
        let mut painter = Painter::default();
        painter.paint(&mut tables, segment)?;
        painter.finish(&mut tables)
    });
    assert_eq!(painted, Err(Full("nets_v4")));
    let mut end = 0;
    let full = loop {
        let entry = Entry {
            drop_host: Term::until(end, 0),
            ..Entry::default()
        };
        if let Err(full) = tables.intern(entry) {
            break full;
        }
        end += 1;
    };
    assert_eq!(full, Full("policies"));
}

#[test]
fn segments_are_painted_across_every_bound() {
    let mut tables = tables();
    let policy = policy(&mut tables, 1);
    let check = |tables: &OwnTables, address, expected: Policy| {
        assert_eq!(network_v4(tables, address), expected.0, "{address:#x}");
    };
    // From the last address of a /16 over a whole one into the middle of a /24.
    let (first, last) = (0x0a00_ffff, 0x0a02_0080);
    let mut painter = Painter::default();
    painter
        .paint(
            &mut tables,
            Segment {
                first,
                last,
                policy,
            },
        )
        .unwrap();
    painter.finish(&mut tables).unwrap();
    check(&tables, first - 1, Policy::NONE);
    check(&tables, first, policy);
    check(&tables, 0x0a01_8000, policy);
    check(&tables, last, policy);
    check(&tables, last + 1, Policy::NONE);
    let whole = Segment {
        first: 0,
        last: u32::MAX,
        policy: Policy::NONE,
    };
    painter.paint(&mut tables, whole).unwrap();
    painter.finish(&mut tables).unwrap();
    for address in [first, 0x0a01_8000, last] {
        check(&tables, address, Policy::NONE);
    }
    assert!(
        tables
            .memory
            .filter_v4()
            .iter()
            .all(|word| word.load(Relaxed) == 0)
    );
}

#[test]
fn a_change_that_fails_leaves_its_mark() {
    let mut tables = tables();
    let state = |tables: &OwnTables| tables.memory.header()[2].load(Relaxed) & u64::from(u32::MAX);
    let done: Result<(), Full> = tables.marked(|tables| {
        assert_eq!(state(tables), u64::from(DIRTY));
        Ok(())
    });
    assert_eq!((done, state(&tables)), (Ok(()), 0));
    let failed: Result<(), Full> = tables.marked(|_tables| Err(Full("policies")));
    assert!(failed.is_err());
    assert_eq!(state(&tables), u64::from(DIRTY));
}

/// While one thread changes hosts and networks, another never misses what is blocked all the time,
/// and never finds what is blocked at no time.
#[test]
fn a_reader_never_sees_a_change_in_part() {
    use std::sync::atomic::AtomicBool;

    struct Shared<'a>(&'a OwnMemory, Header);
    impl botguard_common::lookup::Memory for Shared<'_> {
        type Word = std::sync::atomic::AtomicU64;

        fn header(&self) -> Header {
            self.1
        }
        fn filter_v4(&self, word: u32) -> u64 {
            self.0.filter_v4()[word as usize].load(Relaxed)
        }
        fn hosts_v4(&self, bucket: u32) -> Option<&botguard_common::lookup::BucketV4<Self::Word>> {
            self.0.hosts_v4().as_chunks().0.get(bucket as usize)
        }
        fn page_v4(&self, page: u32, cell: u8) -> u32 {
            let page = self.0.nets_v4().as_chunks::<256>().0.get(page as usize);
            page.map_or(0, |page| page[usize::from(cell)].load(Relaxed))
        }
        fn filter_v6_32(&self, _word: u32) -> u64 {
            0
        }
        fn filter_v6_48(&self, _word: u32) -> u64 {
            0
        }
        fn hosts_v6(&self, _: u32) -> Option<&botguard_common::lookup::BucketV6<Self::Word>> {
            None
        }
        fn net_v6(&self, _source: &botguard_common::packet::Source) -> u32 {
            0
        }
        fn policy(&self, _number: u32) -> Option<&Entry> {
            None
        }
    }

    /// Ends the reader also where the writer fails.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }

    // A page for each hole that is cut: they are not used again.
    let needs = Needs {
        pages: 300,
        ..Needs::default()
    };
    let sizes = Sizes::of(&needs).unwrap();
    let memory = std::sync::Arc::new(OwnMemory::new(&sizes));
    let mut tables = Tables::new(std::sync::Arc::clone(&memory), OwnTries::default(), 1);
    let policy = {
        let entry = Entry {
            drop_host: Term::until(0, 0),
            ..Entry::default()
        };
        tables.intern(entry).unwrap()
    };
    // Nearly full, so that hosts move.
    let mut n_stay = 0;
    while tables.put_host_v4(address(n_stay), policy).is_ok() {
        n_stay += 1;
    }
    let n_stay = n_stay - 200;
    for number in n_stay..n_stay + 200 {
        tables.delete_host_v4(address(number), || false);
    }
    let mut painter = Painter::default();
    let (first, last) = (0x0a00_0000, 0x0a00_ffff);
    let whole = Segment {
        first,
        last,
        policy,
    };
    painter.paint(&mut tables, whole).unwrap();
    let header = tables.header();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let shared = Shared(&memory, header);
            let mut number = 0;
            while !is_over.load(Relaxed) {
                number = (number + 1) % n_stay;
                let stays = address(number);
                assert_eq!(host_v4(&shared, stays), policy.0, "{number} was missed");
                assert_eq!(host_v4(&shared, stays ^ 0x5555), 0, "{number} was invented");
                let found = network_v4(&shared, 0x0a00_0000);
                assert_eq!(found, policy.0, "the network was missed");
                assert_eq!(network_v4(&shared, 0x0b00_0000), 0);
            }
        });
        let _over = Over(&is_over);
        for round in 0..300 {
            for number in n_stay..n_stay + 150 {
                // It may be full by now.
                let _put: Result<(), Full> = tables.put_host_v4(address(number), policy);
            }
            for number in n_stay..n_stay + 150 {
                tables.delete_host_v4(address(number), || false);
            }
            // The first address stays blocked, whatever is cut out behind it.
            let hole = if round % 2 == 0 { Policy::NONE } else { policy };
            let mut painter = Painter::default();
            for (first, last, policy) in [
                (0x0a00_0000, 0x0a00_0000, policy),
                (0x0a00_0001, 0x0a00_00ff, hole),
                (0x0a00_0100, 0x0a00_ffff, policy),
            ] {
                let segment = Segment {
                    first,
                    last,
                    policy,
                };
                painter.paint(&mut tables, segment).unwrap();
            }
            painter.finish(&mut tables).unwrap();
        }
    });
}
