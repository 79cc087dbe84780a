//! Who waits for whom.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::enforcement::settings::Backend;
use crate::store::Store;
use crate::words::address::{ClientAddress, host_network};

mod keys;
mod unreadable;

fn enforcer(directory: &Path) -> Enforcer {
    let now = Wall::from_unix_ms(1_000_000);
    let (store, contents) = Store::open(directory, Duration::ZERO, now).unwrap();
    let start = Start {
        contents,
        store_is_blank: false,
        store_problem: None,
        journal: Journal::start(Arc::new(store)).unwrap(),
        guard: NeverBlock::default(),
        mode: Mode::Enforce,
        default_scope: Scope::Listeners,
        asns: AsnSource::Unset,
        boot_id: String::new(),
        clock: Now::read(),
        fill: Fill::Now,
    };
    let settings = KernelSettings {
        backend: Backend::None,
        ..KernelSettings::default()
    };
    Enforcer::new(start, KernelSide::open(&settings), now)
}

fn ban(enforcer: &Enforcer, ip: IpAddr) {
    let proposal = BanProposal {
        target: ClientAddress::direct(ip).own_peer().unwrap(),
        network: host_network(ip),
        ttl: Duration::from_secs(60),
        reason: String::new(),
    };
    enforcer.ban(proposal, Wall::from_unix_ms(1_000_000));
}

/// A filling takes as long as the lists are; every request reads them.
#[test]
fn requests_pass_while_the_kernel_follows() {
    let directory = tempfile::tempdir().unwrap();
    let enforcer = enforcer(directory.path());
    let sees = |n_blocks| {
        let patience = Duration::from_secs(20);
        loop {
            let lists = enforcer.lists.try_read_for(patience);
            if lists.expect("a reader waits").count(Origin::Automatic) == n_blocks {
                break;
            }
            std::thread::yield_now();
        }
    };
    let now = Wall::from_unix_ms(1_000_000);
    std::thread::scope(|scope| {
        // The kernel is busy.
        let kernel = enforcer.kernel.lock();
        scope.spawn(|| ban(&enforcer, [192, 0, 2, 1].into()));
        sees(1);
        // Nor does a reader wait behind those who want to write.
        scope.spawn(|| ban(&enforcer, [192, 0, 2, 2].into()));
        scope.spawn(|| enforcer.fill(now));
        for _ in 0..1_000 {
            sees(1);
        }
        drop(kernel);
    });
    sees(2);
}

/// Readers wait behind one who waits to write: nobody who takes long may be a reader.
#[test]
fn requests_pass_while_a_ban_waits_for_a_filling() {
    let directory = tempfile::tempdir().unwrap();
    let enforcer = enforcer(directory.path());
    let now = Wall::from_unix_ms(1_000_000);
    std::thread::scope(|scope| {
        // The kernel is busy.
        let kernel = enforcer.kernel.lock();
        scope.spawn(|| enforcer.fill(now));
        while !enforcer.lists.is_locked() {
            std::thread::yield_now();
        }
        let (begin, begun) = std::sync::mpsc::channel();
        let enforcer = &enforcer;
        scope.spawn(move || {
            begin.send(()).unwrap();
            ban(enforcer, [192, 0, 2, 1].into());
        });
        begun.recv().unwrap();
        for _ in 0..20_000 {
            let lists = enforcer.lists.try_read_for(Duration::from_secs(20));
            assert_eq!(lists.expect("a reader waits").count(Origin::Automatic), 0);
            std::thread::yield_now();
        }
        drop(kernel);
    });
    assert_eq!(enforcer.count(Origin::Automatic), 1);
}
