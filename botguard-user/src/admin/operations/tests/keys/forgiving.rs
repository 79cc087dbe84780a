//! What a running daemon is asked for, by a stand-in.

use super::*;
use crate::words::memo::PairMemo;

/// A daemon whose engine remembers one key, and forgives it as it is told to.
struct Daemon {
    remembered: KeyMemo,
    store_is_full: bool,
    forgiven: parking_lot::Mutex<Vec<(KeyHash, String)>>,
}

impl Running for Daemon {
    fn status(&self) -> DaemonStatus {
        unreachable!("no test asks for it")
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        vec![]
    }

    fn reload(&self) -> Result<Done, String> {
        Err("no test asks for it".to_owned())
    }

    fn problems(&self) -> Vec<String> {
        vec![]
    }

    fn mode_changed(&self) {}

    fn held_pairs(&self) -> Vec<PairMemo> {
        vec![]
    }

    fn release_pairs(&self, _networks: &[IpNet]) -> Result<usize, String> {
        Ok(0)
    }

    fn keys(&self) -> Vec<KeyMemo> {
        vec![self.remembered.clone()]
    }

    fn forgive(&self, key: KeyHash, reason: &str) -> Result<(), String> {
        self.forgiven.lock().push((key, reason.to_owned()));
        if self.store_is_full {
            return Err("no room".to_owned());
        }
        Ok(())
    }
}

/// The engine's word counts, not what the store had when the daemon began.
#[test]
fn a_daemon_forgives_in_its_engine() {
    let check = |state, store_is_full, n_forgiven, expected: Option<&str>| {
        let bench = bench(&[remembered(KEY, "xyz1", KeyState::Ok)]);
        let daemon = Daemon {
            remembered: remembered(KEY, "xyz1", state),
            store_is_full,
            forgiven: parking_lot::Mutex::default(),
        };
        let enforcer = bench.enforcer(&[], NOW);
        let site = Site {
            enforcer: &enforcer,
            loaded: &bench.loaded,
            audit: None,
            daemon: Some(&daemon),
        };
        let response = perform(site, Actor::Uid(7), &resume("xyz1"), NOW);
        match (response, expected) {
            (Response::Done(_), None) => {}
            (Response::Failed(failed), Some(part)) => {
                assert_eq!(failed.blame, Blame::Internal);
                assert!(failed.message.contains(part), "{failed:?}");
            }
            (other, _) => panic!("{other:?}"),
        }
        let expected = vec![(KEY, "rotated".to_owned()); n_forgiven];
        assert_eq!(*daemon.forgiven.lock(), expected);
    };
    check(KeyState::Suspended, false, 1, None);
    check(
        KeyState::Suspended,
        true,
        1,
        Some("not kept across a restart: no room"),
    );
    check(KeyState::Ok, false, 0, Some("not suspended"));
}
