//! Keys over hours and days, with time as an argument.

use proptest::prelude::*;

use super::*;

const HASH: KeyHash = KeyHash(7);

fn at(seconds: u64) -> Monotonic {
    // Well after boot: hours before it cannot be told apart.
    Monotonic::from_boot(Duration::from_secs(1_000_000 + seconds))
}

fn key() -> KeyIdentity {
    KeyIdentity {
        public_id: "xyz123".into(),
        shown: "sk_pub_xyz123…".into(),
        hash: HASH,
        tier: Some("free".into()),
    }
}

struct Scene {
    keys: Keys,
    settings: ReputationSettings,
    suspension: Suspension,
}

impl Scene {
    fn new(suspension: Suspension) -> Self {
        Self {
            keys: Keys::new(100),
            settings: ReputationSettings::default(),
            suspension,
        }
    }

    /// `n` requests of this suspicion, one a second.
    fn requests(&mut self, start: u64, n: u64, suspicion: u32) {
        let key = key();
        for k in 0..n {
            let sample = Sample {
                key: &key,
                suspicion: Points::from_basis(suspicion),
                suspension: self.suspension,
            };
            self.keys.count(at(start + k), &sample, &self.settings);
        }
    }

    fn state(&self) -> KeyState {
        self.keys.state(HASH)
    }
}

const HOUR: u64 = 3_600;

#[test]
fn a_handful_of_bad_requests_is_no_reputation() {
    let check = |n, suspicion, expected| {
        let mut scene = Scene::new(Suspension::Automatic);
        scene.requests(0, n, suspicion);
        assert_eq!(scene.state(), expected, "{n} of {suspicion}");
    };
    check(10, 10_000, KeyState::Ok);
    check(30, 10_000, KeyState::Watch);
    check(100, 10_000, KeyState::Throttled);
    check(1_000, 10_000, KeyState::Throttled);
    check(1_000, 4_000, KeyState::Watch);
    check(1_000, 0, KeyState::Ok);
}

#[test]
fn only_a_pattern_sustained_over_hours_suspends() {
    let check = |suspension, hours: u64, expected| {
        let mut scene = Scene::new(suspension);
        for hour in 0..hours {
            scene.requests(hour * HOUR, 600, 10_000);
        }
        assert_eq!(scene.state(), expected, "{suspension:?} {hours}");
    };
    check(Suspension::Automatic, 1, KeyState::Throttled);
    check(Suspension::Automatic, 2, KeyState::Throttled);
    check(Suspension::Automatic, 3, KeyState::Suspended);
    // The mirror: a machine's key, run wild for a day.
    check(Suspension::Manual, 24, KeyState::Throttled);
}

#[test]
fn a_good_client_keeps_the_key() {
    let mut scene = Scene::new(Suspension::Automatic);
    for hour in 0..10 {
        scene.requests(hour * HOUR, 600, 10_000);
        if hour < 5 {
            scene
                .keys
                .note_good(at(hour * HOUR), HASH, 1, &scene.settings);
        }
    }
    // Seen half a day ago, it still speaks for the key.
    assert_eq!(scene.state(), KeyState::Watch);
    scene.keys.note_suspect(HASH, 1);
    scene.requests(10 * HOUR, 600, 10_000);
    assert_eq!(scene.state(), KeyState::Suspended);
}

#[test]
fn a_state_is_left_well_below_its_threshold_and_not_at_once() {
    let mut scene = Scene::new(Suspension::Automatic);
    scene.requests(0, 1_000, 10_000);
    assert_eq!(scene.state(), KeyState::Throttled);
    // As many good requests as bad ones: half, which is not well below a half.
    scene.requests(1_000, 1_000, 0);
    assert_eq!(scene.state(), KeyState::Throttled);
    scene.requests(2_000, 2_000, 0);
    assert_eq!(scene.state(), KeyState::Watch);
    scene.requests(4_000, 9_000, 0);
    assert_eq!(scene.state(), KeyState::Ok);
    // The mirror: never two changes within ten minutes of the first, downwards.
    let mut scene = Scene::new(Suspension::Automatic);
    scene.requests(0, 60, 10_000);
    scene.requests(60, 400, 0);
    assert_ne!(scene.state(), KeyState::Ok);
}

#[test]
fn time_alone_mends_a_key() {
    let mut scene = Scene::new(Suspension::Automatic);
    for hour in 0..3 {
        scene.requests(hour * HOUR, 600, 10_000);
    }
    assert_eq!(scene.state(), KeyState::Suspended);
    let mut days = 0;
    while scene.state() != KeyState::Ok {
        days += 1;
        scene.keys.tick(at(days * 24 * HOUR), &scene.settings);
        assert!(days < 100);
    }
    assert!(days > 1, "{days}");
    assert!(scene.keys.raised.is_empty());
}

#[test]
fn forgiveness_forgets_and_is_told() {
    let mut scene = Scene::new(Suspension::Automatic);
    scene.requests(0, 1_000, 10_000);
    scene.keys.forgive(at(1_000), HASH, "resumed by uid 0");
    assert_eq!(scene.state(), KeyState::Ok);
    let told = scene.keys.drain_transitions(WallOffset::default());
    let states: Vec<_> = told.iter().map(|(_, it)| (it.from, it.to)).collect();
    assert_eq!(
        states,
        [
            (KeyState::Ok, KeyState::Watch),
            (KeyState::Watch, KeyState::Throttled),
            (KeyState::Throttled, KeyState::Ok)
        ]
    );
    assert_eq!(told[2].1.reason, "resumed by uid 0");
    // One request more is no reputation again.
    scene.requests(1_001, 1, 10_000);
    assert_eq!(scene.state(), KeyState::Ok);
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let check = |away: u64| {
        let mut scene = Scene::new(Suspension::Automatic);
        for hour in 0..3 {
            scene.requests(hour * HOUR, 600, 10_000);
        }
        let left = 3 * HOUR;
        let offset = WallOffset::from_ms(1_700_000_000_000);
        let memos = scene.keys.drain(at(left), offset);
        let [memo] = &memos[..] else {
            panic!("{memos:?}")
        };
        assert_eq!(memo.state, KeyState::Suspended);
        let mut fresh = Keys::new(100);
        let back = at(left + away);
        let now = Now {
            monotonic: back,
            wall: offset.wall_at(back),
        };
        fresh.recall(now, memo);
        assert_eq!(fresh.state(HASH), KeyState::Suspended);
        // The same hours later, both know the same.
        let later = at(left + away + HOUR);
        scene.keys.tick(later, &scene.settings);
        fresh.tick(later, &scene.settings);
        assert_eq!(fresh.state(HASH), scene.state());
        let numbers = |keys: &Keys| {
            keys.all(later, offset)[0]
                .spans
                .map(|it| it.requests / 10_000)
        };
        let (old, new) = (numbers(&scene.keys), numbers(&fresh));
        for (old, new) in old.iter().zip(new) {
            assert!(
                old.abs_diff(new) * 20 <= *old + 20,
                "{old} {new} after {away} s"
            );
        }
    };
    check(0);
    check(10 * 60);
    check(HOUR);
    check(24 * HOUR);
}

#[test]
fn a_busy_key_is_remembered_once_a_minute() {
    let mut scene = Scene::new(Suspension::Automatic);
    let mut n = 0;
    for second in 0..600 {
        scene.requests(second, 1, 0);
        n += scene.keys.drain(at(second), WallOffset::default()).len();
    }
    assert_eq!(n, 10);
}

proptest! {
    /// More suspicion at the same times never ends in a milder state at once.
    #[test]
    fn worse_requests_never_make_a_better_key(
        requests in proptest::collection::vec((0u64..600, 0u32..=10_000, 0u32..=10_000), 1..300),
    ) {
        let mut milder = Scene::new(Suspension::Automatic);
        let mut worse = Scene::new(Suspension::Automatic);
        let mut now = 0;
        let mut worst = (KeyState::Ok, KeyState::Ok);
        for (gap, suspicion, more) in requests {
            now += gap;
            milder.requests(now, 1, suspicion);
            worse.requests(now, 1, (suspicion + more).min(10_000));
            worst = (worst.0.max(milder.state()), worst.1.max(worse.state()));
        }
        prop_assert!(worst.0 <= worst.1);
    }
}
