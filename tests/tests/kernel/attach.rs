//! The filter's life: attached to a veth, outliving its maker, adopted, refused, detached.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use aya::maps::{Array, MapData};
use botguard::enforcement::kernel::{KernelError, KernelFilter, LocalListener, Protocol};
use botguard::enforcement::settings::{AttachMode, KernelSettings};
use botguard::words::clock::Wall;
use botguard::words::mode::Mode;
use botguard_common::exit::Exit;

use super::bench::{Bpffs, block, list, settings};
use super::network::{FAR, NEAR, Pair};

pub(crate) const PORT: u16 = 443;
pub(crate) const OTHER_PORT: u16 = 8_080;

#[test]
fn it_drops_on_a_veth_outlives_its_maker_and_is_adopted() {
    let bpffs = Bpffs::mount();
    let pair = Pair::new();
    let settings = settings(&bpffs.pin_dir(), &["near0"]);
    let program_id = |filter: &KernelFilter| {
        let attachments = filter.attachments().unwrap();
        let [attachment] = attachments.as_slice() else {
            panic!("{attachments:?}");
        };
        assert_eq!(attachment.interface, "near0");
        assert_eq!(attachment.mode, Some(AttachMode::Native));
        attachment.program_id
    };
    let first = pair.near(|| {
        let mut filter = KernelFilter::attach(&settings).unwrap();
        let listener = LocalListener {
            address: (NEAR, PORT).into(),
            protocol: Protocol::Udp,
        };
        filter.set_listeners(&[listener]).unwrap();
        filter.set_mode(Mode::Enforce).unwrap();
        program_id(&filter)
    });
    assert_eq!(arrivals(&pair), [PORT, OTHER_PORT], "a clean source passes");

    let ban = list(&[block("10.77.0.2/32")], &[]);
    let mut filter = KernelFilter::open(&settings.pin_dir).unwrap();
    let network = "10.77.0.2/32".parse().unwrap();
    filter.refresh(&ban, &[network], Wall::read()).unwrap();
    assert_eq!(
        arrivals(&pair),
        [OTHER_PORT],
        "only the listener's port is lost"
    );
    assert_eq!(filter.stats().unwrap().exit(Exit::DropListener), 1);
    drop(filter);

    let second = pair.near(|| {
        let mut filter = KernelFilter::attach(&settings).unwrap();
        assert_eq!(filter.mode().unwrap(), Mode::Enforce);
        assert_eq!(filter.contents().unwrap().blocks.len(), 1);
        assert_eq!(arrivals(&pair), [OTHER_PORT], "what was there goes on");
        filter.fill(&ban, Wall::read()).unwrap();
        program_id(&filter)
    });
    assert_ne!(first, second, "the new program replaced the old");
    assert_eq!(arrivals(&pair), [OTHER_PORT]);

    let filter = KernelFilter::open(&settings.pin_dir).unwrap();
    assert_eq!(filter.stats().unwrap().dropped(), 3);
    pair.near(|| filter.detach()).unwrap();
    assert_eq!(arrivals(&pair), [PORT, OTHER_PORT], "nothing filters");
    assert!(!bpffs.pin_dir().exists());
    assert!(matches!(
        KernelFilter::open(&settings.pin_dir),
        Err(KernelError::NotAttached(_))
    ));
}

/// Sends a datagram from the far side to the listener's port, then one to another, and says which
/// arrive. A veth keeps their order, so once the second is there the first is not coming.
pub(crate) fn arrivals(pair: &Pair) -> Vec<u16> {
    let sockets = pair.near(|| {
        [PORT, OTHER_PORT].map(|port| {
            let socket = UdpSocket::bind((std::net::IpAddr::from(NEAR), port)).unwrap();
            let patience = Duration::from_secs(5);
            socket.set_read_timeout(Some(patience)).unwrap();
            socket
        })
    });
    pair.far(|| {
        let socket = UdpSocket::bind((std::net::IpAddr::from(FAR), 0)).unwrap();
        for port in [PORT, OTHER_PORT] {
            let to: SocketAddr = (NEAR, port).into();
            socket.send_to(b"datagram", to).unwrap();
        }
    });
    let [listener, other] = sockets;
    let mut buffer = [0; 64];
    other
        .recv(&mut buffer)
        .expect("a port that is no listener's is never lost");
    listener.set_nonblocking(true).unwrap();
    if listener.recv(&mut buffer).is_ok() {
        vec![PORT, OTHER_PORT]
    } else {
        vec![OTHER_PORT]
    }
}

#[test]
fn an_interface_that_left_the_settings_is_let_go() {
    let bpffs = Bpffs::mount();
    let pair = Pair::new();
    pair.near(|| {
        KernelFilter::attach(&settings(&bpffs.pin_dir(), &["near0"])).unwrap();
        let filter = KernelFilter::attach(&settings(&bpffs.pin_dir(), &["lo"]));
        assert!(filter.is_err(), "loopback has no native XDP");
        let generic = KernelSettings {
            mode: AttachMode::Generic,
            ..settings(&bpffs.pin_dir(), &["lo"])
        };
        // The mode of an interface changes too.
        let generic_near = KernelSettings {
            interfaces: vec!["near0".to_owned()],
            ..generic.clone()
        };
        let filter = KernelFilter::attach(&generic_near).unwrap();
        let attachments = filter.attachments().unwrap();
        assert_eq!(attachments[0].mode, Some(AttachMode::Generic));
        drop(filter);
        let filter = KernelFilter::attach(&generic).unwrap();
        let attachments = filter.attachments().unwrap();
        assert_eq!(attachments.len(), 1);
        assert_eq!(attachments[0].interface, "lo");
        assert_eq!(attachments[0].mode, Some(AttachMode::Generic));
        filter.detach().unwrap();
    });
}

#[test]
fn an_interface_made_anew_is_attached_anew() {
    let bpffs = Bpffs::mount();
    let pair = Pair::new();
    let settings = settings(&bpffs.pin_dir(), &["near0"]);
    let mode = |filter: KernelFilter| filter.attachments().unwrap()[0].mode;
    pair.near(|| {
        let filter = KernelFilter::attach(&settings).unwrap();
        assert_eq!(mode(filter), Some(AttachMode::Native));
        pair.delete_link();
        let filter = KernelFilter::open(&settings.pin_dir).unwrap();
        assert_eq!(
            mode(filter),
            None,
            "the link is pinned, the interface is gone"
        );
        pair.add_link();
        let filter = KernelFilter::attach(&settings).unwrap();
        assert_eq!(mode(filter), Some(AttachMode::Native));
    });
}

#[test]
fn refusals_name_what_is_wrong_and_the_mend() {
    let bpffs = Bpffs::mount();
    let other_bpffs = Bpffs::mount();
    let pair = Pair::new();
    let check = |settings: &KernelSettings, expected: &[&str]| {
        let error = KernelFilter::attach(settings).unwrap_err().to_string();
        for part in expected {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
        assert!(!settings.pin_dir.join("v2").exists(), "nothing is left");
    };
    pair.near(|| {
        check(
            &settings(&bpffs.pin_dir(), &["wan7"]),
            &["no interface `wan7`", "there are: lo, near0"],
        );
        check(
            &settings(&bpffs.pin_dir(), &["lo"]),
            &["interface lo refuses", "native", "mode = \"generic\""],
        );
        let elsewhere = tempfile::tempdir().unwrap();
        check(
            &settings(elsewhere.path(), &["near0"]),
            &["pin_dir", "is not on a bpffs", "mount -t bpf"],
        );
        // To one filter, another one's program is foreign.
        KernelFilter::attach(&settings(&other_bpffs.pin_dir(), &["near0"])).unwrap();
        check(
            &settings(&bpffs.pin_dir(), &["near0"]),
            &[
                "near0 already has the XDP program `botguard_xdp`",
                "left alone",
            ],
        );
        let other = KernelFilter::open(&other_bpffs.pin_dir()).unwrap();
        assert_eq!(
            other.attachments().unwrap()[0].mode,
            Some(AttachMode::Native)
        );
    });
}

#[test]
fn a_pinned_map_of_another_shape_is_refused() {
    let bpffs = Bpffs::mount();
    let directory = bpffs.pin_dir().join("v2");
    std::fs::create_dir_all(&directory).unwrap();
    let narrow = Array::<MapData, u32>::create(1, 0).unwrap();
    narrow.pin(directory.join("map_config")).unwrap();
    let error = KernelFilter::attach(&settings(&bpffs.pin_dir(), &[])).unwrap_err();
    assert!(matches!(error, KernelError::WrongShape { .. }), "{error}");
    assert!(error.to_string().contains("4 to 16 bytes"), "{error}");
    KernelFilter::remove(&bpffs.pin_dir()).unwrap();
    KernelFilter::attach(&settings(&bpffs.pin_dir(), &[])).unwrap();
}

/// As after an upgrade: the links and what they drop go over, and there is no gap.
#[test]
fn the_filter_of_an_older_layout_is_taken_over() {
    let bpffs = Bpffs::mount();
    let pair = Pair::new();
    let settings = settings(&bpffs.pin_dir(), &["near0"]);
    let ban = list(&[block("10.77.0.2/32")], &[]);
    pair.near(|| {
        let mut filter = KernelFilter::attach(&settings).unwrap();
        let listener = LocalListener {
            address: (NEAR, PORT).into(),
            protocol: Protocol::Udp,
        };
        filter.set_listeners(&[listener]).unwrap();
        filter.set_mode(Mode::Enforce).unwrap();
        filter.fill(&ban, Wall::read()).unwrap();
        let program = filter.attachments().unwrap()[0].program_id;
        drop(filter);
        let older = bpffs.pin_dir().join("v1");
        std::fs::rename(bpffs.pin_dir().join("v2"), &older).unwrap();

        let held = std::fs::File::open(&older).unwrap();
        held.lock().unwrap();
        let error = KernelFilter::attach(&settings).unwrap_err();
        assert!(matches!(error, KernelError::InUse(_)), "{error}");
        drop(held);

        let mut filter = KernelFilter::attach(&settings).unwrap();
        assert!(!older.exists());
        let attachment = filter.attachments().unwrap().remove(0);
        assert_eq!(
            attachment.program_id, program,
            "the old one until the new is filled"
        );
        assert_eq!(attachment.mode, Some(AttachMode::Native));
        assert_eq!(arrivals(&pair), [OTHER_PORT]);
        filter.set_listeners(&[listener]).unwrap();
        filter.set_mode(Mode::Enforce).unwrap();
        filter.fill(&ban, Wall::read()).unwrap();
        assert_eq!(arrivals(&pair), [OTHER_PORT]);
        filter.detach().unwrap();
    });
}

#[test]
fn one_process_at_a_time_has_the_pins() {
    let bpffs = Bpffs::mount();
    let settings = settings(&bpffs.pin_dir(), &[]);
    let held = KernelFilter::attach(&settings).unwrap();
    for refused in [
        KernelFilter::attach(&settings).unwrap_err(),
        KernelFilter::open(&settings.pin_dir).unwrap_err(),
        KernelFilter::remove(&settings.pin_dir).unwrap_err(),
    ] {
        assert!(matches!(refused, KernelError::InUse(_)), "{refused}");
    }
    drop(held);
    KernelFilter::open(&settings.pin_dir).unwrap();
}

#[test]
fn every_map_has_the_documented_shape() {
    let documentation = include_str!("../../../docs/maps.md");
    let bpffs = Bpffs::mount();
    let filter = KernelFilter::attach(&settings(&bpffs.pin_dir(), &[])).unwrap();
    drop(filter);
    // Opening compares each pinned map's shape with the table.
    let filter = KernelFilter::open(&bpffs.pin_dir()).unwrap();
    for shape in botguard_common::maps::SHAPES {
        let (name, kind) = (shape.name, shape.kind);
        let (key, value, capacity) = (shape.key_bytes, shape.value_bytes, shape.capacity);
        let row = format!("| `map_{name}` | {kind:?} | {key} | {value} | {capacity} |");
        assert!(documentation.contains(&row), "docs/maps.md lacks: {row}");
        let path = bpffs.pin_dir().join(format!("v2/map_{name}"));
        assert!(path.exists(), "{}", path.display());
    }
    for exit in Exit::ALL {
        let row = format!("| {} | `{}` |", exit.index(), exit.name());
        assert!(documentation.contains(&row), "docs/maps.md lacks: {row}");
    }
    filter.detach().unwrap();
}
