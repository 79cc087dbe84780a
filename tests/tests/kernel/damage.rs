//! What goes wrong in the middle: an interface that is gone, a filling or an upgrade that is
//! refused, a writer that was killed.

use aya::maps::{Array, Map, MapData};
use botguard::enforcement::kernel::{
    DropEvents, KernelError, KernelFilter, LocalListener, Protocol,
};
use botguard::enforcement::settings::AttachMode;
use botguard::words::block::Allow;
use botguard::words::clock::Wall;
use botguard::words::mode::Mode;
use botguard_common::maps::{DIRTY, Header};

use super::attach::{OTHER_PORT, PORT, arrivals};
use super::bench::{Bpffs, block, list, settings};
use super::network::{NEAR, Pair};

/// A filling goes to the interfaces that are there, whichever of them is gone.
#[test]
fn an_interface_that_is_gone_keeps_no_list_from_the_others() {
    let bpffs = Bpffs::mount();
    let pair = Pair::new();
    // Links are taken over in the order of their names.
    for gone in ["aaa0", "zzz0"] {
        pair.add_interface(gone);
        let settings = settings(&bpffs.pin_dir(), &["near0", gone]);
        pair.near(|| {
            let mut filter = KernelFilter::attach(&settings).unwrap();
            let listener = LocalListener {
                address: (NEAR, PORT).into(),
                protocol: Protocol::Udp,
            };
            filter.set_listeners(&[listener]).unwrap();
            filter.set_mode(Mode::Enforce).unwrap();
            filter.fill(&list(&[], &[]), Wall::read()).unwrap();
            pair.delete_interface(gone);
            let ban = list(&[block("10.77.0.2/32")], &[]);
            filter.fill(&ban, Wall::read()).unwrap();
            assert_eq!(arrivals(&pair), [OTHER_PORT], "{gone} is gone");
            // Single changes reach the tables that are in force now.
            let network = "10.77.0.2/32".parse().unwrap();
            let allowed = list(&[block("10.77.0.2/32")], &["10.77.0.2/32"]);
            filter.refresh(&allowed, &[network], Wall::read()).unwrap();
            assert_eq!(arrivals(&pair), [PORT, OTHER_PORT], "{gone} is gone");
            filter.detach().unwrap();
        });
    }
}

/// The filter of an older layout is not one's own to remove.
#[test]
fn a_refused_upgrade_leaves_the_filter_of_the_older_layout_in_force() {
    let bpffs = Bpffs::mount();
    let pair = Pair::new();
    let near = settings(&bpffs.pin_dir(), &["near0"]);
    pair.near(|| {
        let filter = KernelFilter::attach(&near).unwrap();
        drop(filter);
        std::fs::rename(bpffs.pin_dir().join("v2"), bpffs.pin_dir().join("v1")).unwrap();
        // Loopback has no native XDP.
        let both = settings(&bpffs.pin_dir(), &["near0", "lo"]);
        assert!(KernelFilter::attach(&both).is_err());
        let filter = KernelFilter::open(&near.pin_dir).unwrap();
        let attachment = filter.attachments().unwrap().remove(0);
        assert_eq!(attachment.mode, Some(AttachMode::Native));
        filter.detach().unwrap();
    });
}

/// What could not be filled gives its memory back at once.
#[test]
fn a_refused_filling_leaves_nothing_behind() {
    let bpffs = Bpffs::mount();
    let mut filter = KernelFilter::attach(&settings(&bpffs.pin_dir(), &[])).unwrap();
    let mut list = list(&[block("192.0.2.0/24")], &[]);
    filter.fill(&list, Wall::read()).unwrap();
    let contents = filter.contents().unwrap();
    let n_pins = || {
        std::fs::read_dir(bpffs.pin_dir().join("v2"))
            .unwrap()
            .count()
    };
    let n_before = n_pins();
    for number in 0..=botguard_common::maps::ALLOWS {
        list.allow(Allow {
            network: std::net::IpAddr::from(number.to_be_bytes()).into(),
            created: Wall::from_unix_ms(0),
            reason: String::new(),
        });
    }
    let error = filter.fill(&list, Wall::read()).unwrap_err();
    assert!(error.to_string().contains("allow_v4"), "{error}");
    assert_eq!(n_pins(), n_before);
    assert_eq!(filter.contents().unwrap(), contents);
}

/// A writer that was killed in the middle of a change leaves the mark; whoever comes next builds
/// on nothing that it wrote.
#[test]
fn what_a_killed_writer_left_is_not_built_upon() {
    let bpffs = Bpffs::mount();
    let settings = settings(&bpffs.pin_dir(), &[]);
    let mut filter = KernelFilter::attach(&settings).unwrap();
    filter
        .fill(&list(&[block("192.0.2.0/24")], &[]), Wall::read())
        .unwrap();
    assert!(!filter.is_dirty().unwrap());
    drop(filter);
    let map = |name: &str| {
        let map = MapData::from_pin(bpffs.pin_dir().join(format!("v2/map_{name}")));
        map.and_then(Map::from_map_data).unwrap()
    };
    // Half of a change: the mark, and a filter that says there is something everywhere.
    let mut header: Array<_, Header> = map("header").try_into().unwrap();
    assert_eq!(
        header.get(&0, 0).unwrap().n_policies,
        2,
        "none, and the block's"
    );
    let half = Header {
        state: DIRTY,
        ..header.get(&0, 0).unwrap()
    };
    header.set(0, half, 0).unwrap();
    let mut bits: Array<_, u64> = map("filter_v4").try_into().unwrap();
    bits.set(7, u64::MAX, 0).unwrap();

    let mut filter = KernelFilter::attach(&settings).unwrap();
    assert!(filter.is_dirty().unwrap());
    let network = "192.0.2.7/32".parse().unwrap();
    let after = list(&[block("192.0.2.7/32")], &[]);
    // A single change would be a few stores, but not into tables that somebody else made.
    filter.refresh(&after, &[network], Wall::read()).unwrap();
    assert!(!filter.is_dirty().unwrap());
    let bits: Array<_, u64> = map("filter_v4").try_into().unwrap();
    assert_eq!(bits.get(&7, 0).unwrap(), 0);
    let blocks = filter.contents().unwrap().blocks;
    assert_eq!(blocks.into_keys().collect::<Vec<_>>(), [network]);
}

/// Pins that cannot be looked at are not pins that are not there: who is told to attach a filter
/// beside the one in force is led astray.
#[test]
fn what_cannot_be_seen_is_not_taken_for_absent() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let below = file.path().join("botguard");
    for error in [
        KernelFilter::open(&below).err().unwrap(),
        DropEvents::open(&below, Wall::read()).err().unwrap(),
    ] {
        assert!(matches!(error, KernelError::Pin { .. }), "{error}");
    }
}
