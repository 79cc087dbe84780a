//! Drops are told to whoever listens, a bounded number of them, and to nobody else.

use botguard::enforcement::kernel::{DropEvents, Dropped};
use botguard::words::block::Origin;
use botguard::words::clock::Wall;
use botguard::words::mode::Mode;
use botguard::words::rule::Rule;
use botguard_common::corpus::packets;
use botguard_common::exit::Exit;
use botguard_common::maps::EVENTS_PER_TICK;

use super::bench::{Bench, block, list};

fn send(bench: &Bench, name: &str) -> Vec<u8> {
    let packet = packets().into_iter().find(|packet| packet.name == name);
    let bytes = packet.expect(name).bytes;
    bench.drops(&bytes);
    bytes
}

fn told(events: &mut DropEvents) -> Vec<Dropped> {
    std::iter::from_fn(|| events.next_dropped()).collect()
}

#[test]
fn a_listener_is_told_of_drops_and_of_nothing_else() {
    let mut bench = Bench::new();
    bench.load(&list(&[block("192.0.2.7/32"), block("2001:db8::/64")], &[]));
    // Before anybody listens.
    send(&bench, "TCP to the listener");
    let start = Wall::read();
    let mut events = DropEvents::open(bench.pin_dir(), start).unwrap();
    assert_eq!(told(&mut events), []);
    let bytes = send(&bench, "TCP to the listener");
    send(&bench, "SSH");
    send(&bench, "ARP");
    send(&bench, "TCP over IPv6");
    let told_of = told(&mut events);
    let [v4, v6] = told_of.as_slice() else {
        panic!("{told_of:?}");
    };
    assert_eq!(v4.source.to_string(), "192.0.2.7");
    assert_eq!(v6.source.to_string(), "2001:db8::7");
    assert_eq!(v4.exit, Some(Exit::DropListener));
    assert_eq!(v4.rule, Some(Rule::Single(Origin::Operator)));
    assert_eq!(v4.frame_bytes as usize, bytes.len());
    assert!(start.until(v4.at).as_secs() < 5, "{v4:?}");
    // What would have been dropped is told as that.
    bench.filter.set_mode(Mode::Log).unwrap();
    send(&bench, "TCP to the listener");
    assert_eq!(told(&mut events)[0].exit, Some(Exit::LogMode));
}

#[test]
fn a_flood_is_told_in_samples() {
    let mut bench = Bench::new();
    bench.load(&list(&[block("192.0.2.7/32")], &[]));
    let mut events = DropEvents::open(bench.pin_dir(), Wall::read()).unwrap();
    for _ in 0..10 * EVENTS_PER_TICK {
        send(&bench, "TCP to the listener");
    }
    let n_told = told(&mut events).len();
    // A tick may have passed meanwhile, and the test may have changed its CPU.
    let most = 4 * EVENTS_PER_TICK as usize;
    assert!(
        (EVENTS_PER_TICK as usize..=most).contains(&n_told),
        "{n_told}"
    );
}
