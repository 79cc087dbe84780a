//! Steps, suspends and restarts, one by one in tables and all together in a simulated world.

use proptest::prelude::*;

use super::*;
use crate::enforcement::kernel_clock::KernelClock;
use crate::enforcement::list::BlockList;
use crate::words::block::{Block, Effect, Origin, Scope};
use crate::words::clock::Wall;

fn reading(boot_ms: u64, wall_ms: u64, kernel_ms: Option<u64>) -> Reading {
    Reading {
        now: Now {
            monotonic: Monotonic::from_boot(Duration::from_millis(boot_ms)),
            wall: Wall::from_unix_ms(wall_ms),
        },
        kernel: kernel_ms.map(Duration::from_millis),
    }
}

#[test]
fn steps_are_what_wall_time_gains_on_boot_time() {
    let check = |looks: &[(u64, u64)], expected: &[Option<i64>]| {
        let (mut watch, missed) = ClockWatch::start(None, "a", reading(0, 1_000_000, None));
        assert_eq!(missed, None);
        let steps = looks.iter().map(|(boot_ms, wall_ms)| {
            watch
                .look(reading(*boot_ms, *wall_ms, None))
                .step
                .map(Step::as_ms)
        });
        assert_eq!(steps.collect::<Vec<_>>(), expected, "{looks:?}");
    };
    check(&[(1_000, 1_001_000), (9_000, 1_009_000)], &[None, None]);
    check(&[(1_000, 4_601_000)], &[Some(3_600_000)]);
    check(&[(1_000, 1_000), (2_000, 2_000)], &[Some(-1_000_000), None]);
    check(
        &[(1_000, 1_002_000), (2_000, 1_003_001)],
        &[None, Some(1_001)],
    );
    // Small ones add up, so that many of them move an end no further than a large one.
    check(
        &[(1_000, 1_001_600), (2_000, 1_003_200), (3_000, 1_004_200)],
        &[None, Some(1_200), None],
    );
}

#[test]
fn a_start_knows_the_steps_since_the_last_one_of_the_same_boot() {
    let check = |boot_id: &str, offset, expected: Option<i64>, kept_offset| {
        let kept = BootClock {
            boot_id: boot_id.to_owned(),
            offset: WallOffset::from_ms(offset),
        };
        let (watch, missed) = ClockWatch::start(Some(&kept), "a", reading(500, 10_500, None));
        assert_eq!(missed.map(Step::as_ms), expected);
        assert_eq!(watch.offset().as_ms(), kept_offset);
    };
    check("a", 10_000, None, 10_000);
    check("a", 9_000, None, 9_000);
    check("a", 8_999, Some(1_001), 10_000);
    check("a", 70_000, Some(-60_000), 10_000);
    check("b", 70_000, None, 10_000);
}

#[test]
fn a_kernel_that_stood_still_is_seen() {
    let check = |looks: &[(u64, Option<u64>)], expected: &[bool]| {
        let (mut watch, _) = ClockWatch::start(None, "a", reading(0, 0, None));
        let lags = looks.iter().map(|(boot_ms, kernel_ms)| {
            watch
                .look(reading(*boot_ms, *boot_ms, *kernel_ms))
                .kernel_lags
        });
        assert_eq!(lags.collect::<Vec<_>>(), expected, "{looks:?}");
    };
    check(&[(0, Some(7)), (60_000, Some(60_007))], &[false, false]);
    check(
        &[(0, Some(7)), (60_000, Some(1_007)), (61_000, Some(2_007))],
        &[false, true, false],
    );
    // A filter that comes, goes, and comes anew.
    check(
        &[
            (0, None),
            (1_000, Some(9)),
            (9_000, None),
            (20_000, Some(5)),
        ],
        &[false, false, false, false],
    );
    check(
        &[(0, Some(900_000)), (1_000, Some(4)), (4_000, Some(3_004))],
        &[false, false, true],
    );
}

/// A host, and a daemon on it that does what `daemon/enforcer` does.
struct World {
    boot_ms: u64,
    offset_ms: i64,
    asleep_ms: u64,
    kept: Option<BootClock>,
    watch: ClockWatch,
    list: BlockList,
    /// The kernel's end of each host, in ticks.
    kernel: Vec<(u8, u32)>,
    /// When each ends by boot time.
    due_ms: Vec<(u8, u64)>,
}

impl World {
    fn new() -> Self {
        let start = reading(50_000, 1_795_435_250_000, Some(50_000));
        Self {
            boot_ms: 50_000,
            offset_ms: 1_795_435_200_000,
            asleep_ms: 0,
            kept: None,
            watch: ClockWatch::start(None, "a", start).0,
            list: BlockList::default(),
            kernel: vec![],
            due_ms: vec![],
        }
    }

    fn reading(&self) -> Reading {
        let wall_ms = self.boot_ms.saturating_add_signed(self.offset_ms);
        reading(self.boot_ms, wall_ms, Some(self.boot_ms - self.asleep_ms))
    }

    /// The present by which ends are kept.
    fn steady(&self) -> Wall {
        self.watch.offset().wall_at(self.reading().now.monotonic)
    }

    fn kernel_clock(&self) -> KernelClock {
        KernelClock {
            jiffies: (self.boot_ms - self.asleep_ms) / 4,
            jiffies_per_second: 250,
            wall: self.steady(),
        }
    }

    fn keep(&mut self) {
        self.kept = Some(BootClock {
            boot_id: "a".to_owned(),
            offset: self.watch.offset(),
        });
    }

    fn fill(&mut self) {
        let clock = self.kernel_clock();
        let blocks = self.list.blocks();
        let ends = blocks.map(|block| (host(block), clock.end(block.expires)));
        self.kernel = ends.collect();
    }

    fn look(&mut self) {
        let looked = self.watch.look(self.reading());
        if let Some(step) = looked.step {
            self.list.shift_ends(step);
            self.keep();
        }
        if looked.kernel_lags {
            self.fill();
        }
        self.list.expire(self.steady());
    }

    fn ban(&mut self, number: u8, ttl_s: u64) {
        let (created, ttl) = (self.steady(), Duration::from_secs(ttl_s));
        let block = Block {
            network: format!("192.0.2.{number}/32").parse().unwrap(),
            origin: Origin::Automatic,
            scope: Scope::Listeners,
            effect: Effect::Drop,
            created,
            expires: Some(created.after(ttl)),
            reason: String::new(),
        };
        let end = self.list.insert(block).expires;
        let end = self.kernel_clock().end(end);
        self.kernel.retain(|(other, _)| *other != number);
        self.kernel.push((number, end));
        let due = self.boot_ms + ttl_s * 1_000;
        let before = self.due_ms.iter().find(|(other, _)| *other == number);
        let due = before.map_or(due, |(_, before)| due.max(*before));
        self.due_ms.retain(|(other, _)| *other != number);
        self.due_ms.push((number, due));
        self.keep();
    }

    fn restart(&mut self) {
        let (watch, missed) = ClockWatch::start(self.kept.as_ref(), "a", self.reading());
        self.watch = watch;
        if let Some(step) = missed {
            self.list.shift_ends(step);
        }
        self.keep();
        self.fill();
        self.list.expire(self.steady());
    }

    /// Every ban is in force until a minute before it is due, and out of it a minute after.
    fn check(&mut self) {
        const MINUTE_MS: u64 = 60_000;
        let boot_ms = self.boot_ms;
        let tick = self.kernel_clock().now();
        let is_listed = |list: &BlockList, number| list.blocks().any(|block| host(block) == number);
        for (number, due_ms) in &self.due_ms {
            let in_kernel = self
                .kernel
                .iter()
                .any(|(n, end)| n == number && tick < *end);
            if boot_ms + MINUTE_MS < *due_ms {
                assert!(in_kernel && is_listed(&self.list, *number), "ended early");
            } else if boot_ms > due_ms + MINUTE_MS {
                assert!(
                    !in_kernel && !is_listed(&self.list, *number),
                    "lasts too long"
                );
            }
        }
        // What is over may be banned again.
        self.due_ms
            .retain(|(_, due_ms)| boot_ms <= due_ms + MINUTE_MS);
    }
}

fn host(block: &Block) -> u8 {
    match block.network.addr() {
        std::net::IpAddr::V4(ip) => ip.octets()[3],
        std::net::IpAddr::V6(_) => 0,
    }
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    Ban(u8, u64),
    Pass(u64),
    Step(i64),
    Suspend(u64),
    /// With what is stepped while nobody is there.
    Restart(i64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let step = prop_oneof![-1_500_i64..1_500, -90_000_000_i64..90_000_000];
    let other_step = prop_oneof![Just(0_i64), -90_000_000_i64..90_000_000];
    prop_oneof![
        (0_u8..4, 1_u64..7_200).prop_map(|(number, ttl_s)| Happening::Ban(number, ttl_s)),
        (1_u64..900).prop_map(Happening::Pass),
        step.prop_map(Happening::Step),
        (1_u64..7_200).prop_map(Happening::Suspend),
        other_step.prop_map(Happening::Restart),
    ]
}

proptest! {
    #[test]
    fn every_ban_ends_within_a_minute_of_its_time(
        happenings in prop::collection::vec(happening(), 1..40),
    ) {
        let mut world = World::new();
        for happening in happenings {
            match happening {
                Happening::Ban(number, ttl_s) => world.ban(number, ttl_s),
                Happening::Pass(seconds) => {
                    for _second in 0..seconds {
                        world.boot_ms += 1_000;
                        world.look();
                    }
                }
                // A ban may fall between the step and the next look.
                Happening::Step(ms) => world.offset_ms += ms,
                Happening::Suspend(seconds) => {
                    world.boot_ms += seconds * 1_000;
                    world.asleep_ms += seconds * 1_000;
                    world.look();
                }
                Happening::Restart(ms) => {
                    world.offset_ms += ms;
                    world.restart();
                }
            }
            world.check();
        }
    }
}
