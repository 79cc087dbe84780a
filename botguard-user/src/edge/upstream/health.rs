//! Whether an endpoint is offered requests: a state machine over checks and connections, with the
//! time as an argument. Knows no socket.
//!
//! Only connections that could not be made count against an endpoint, never responses: what an
//! application answers, and how late, a client has a hand in, who could so take every endpoint
//! away from the others.

use std::time::Duration;

use crate::words::clock::Monotonic;

/// When an endpoint is up, and when not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thresholds {
    /// Checks in a row that are passed, after which it is up; above 0.
    pub(super) healthy_after: u32,
    /// Checks in a row that are failed, after which it is down; above 0.
    pub(super) unhealthy_after: u32,
    /// Connections in a row that could not be made, after which it is ejected; above 0.
    pub(super) eject_after: u32,
    /// The first ejection.
    pub(super) eject_time: Duration,
    /// The longest ejection.
    pub(super) eject_max: Duration,
}

/// Whether requests are offered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Availability {
    Up,
    /// Checks fail.
    Down,
    /// Connections could not be made; it is tried again then.
    Ejected(Monotonic),
}

/// What is known of one endpoint. Begins as up.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    checks: Checks,
    failures: u32,
    /// Ejections that the next one is longer for.
    ejections: u32,
    /// The end of the last ejection.
    ejected_until: Monotonic,
    /// Since when the last ejection is forgotten: as long after its end as it took.
    forgiven_at: Monotonic,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Checks {
    #[default]
    Passing,
    /// So many in a row.
    Failed(u32),
    Down,
    /// Down, and so many in a row were passed since.
    Recovering(u32),
}

impl Health {
    /// A check was answered 2xx in time.
    pub(super) fn check_passed(&mut self, thresholds: &Thresholds) {
        let passed = match self.checks {
            Checks::Passing | Checks::Failed(_) => thresholds.healthy_after,
            Checks::Down => 1,
            Checks::Recovering(passed) => passed.saturating_add(1),
        };
        self.checks = if passed >= thresholds.healthy_after {
            Checks::Passing
        } else {
            Checks::Recovering(passed)
        };
    }

    /// A check was not.
    pub(super) fn check_failed(&mut self, thresholds: &Thresholds) {
        let failed = match self.checks {
            Checks::Passing => 1,
            Checks::Failed(failed) => failed.saturating_add(1),
            Checks::Down | Checks::Recovering(_) => thresholds.unhealthy_after,
        };
        self.checks = if failed >= thresholds.unhealthy_after {
            Checks::Down
        } else {
            Checks::Failed(failed)
        };
    }

    /// A connection was made.
    pub(super) fn connected(&mut self, now: Monotonic) {
        self.failures = 0;
        // Ejected ones are tried where no other is left.
        self.ejected_until = self.ejected_until.min(now);
        if now >= self.forgiven_at {
            self.ejections = 0;
        }
    }

    /// A connection could not be made, or not in time.
    pub(super) fn connect_failed(&mut self, now: Monotonic, thresholds: &Thresholds) {
        if now < self.ejected_until {
            // Known already; to be tried without a choice must not make it longer.
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures < thresholds.eject_after {
            return;
        }
        let factor = 1_u32.checked_shl(self.ejections).unwrap_or(u32::MAX);
        let time = (thresholds.eject_time.saturating_mul(factor)).min(thresholds.eject_max);
        self.ejections = self.ejections.saturating_add(1);
        self.ejected_until = now.after(time);
        self.forgiven_at = self.ejected_until.after(time);
    }

    /// Whether requests are offered.
    pub(super) fn availability(&self, now: Monotonic) -> Availability {
        match self.checks {
            Checks::Down | Checks::Recovering(_) => Availability::Down,
            Checks::Passing | Checks::Failed(_) if now < self.ejected_until => {
                Availability::Ejected(self.ejected_until)
            }
            Checks::Passing | Checks::Failed(_) => Availability::Up,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const THRESHOLDS: Thresholds = Thresholds {
        healthy_after: 2,
        unhealthy_after: 3,
        eject_after: 3,
        eject_time: Duration::from_secs(1),
        eject_max: Duration::from_secs(5),
    };

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Pass,
        Fail,
        Connect,
        Refuse,
        Wait(u64),
    }

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_boot(Duration::from_millis(ms))
    }

    fn feed(health: &mut Health, now: &mut u64, event: Event) {
        match event {
            Event::Pass => health.check_passed(&THRESHOLDS),
            Event::Fail => health.check_failed(&THRESHOLDS),
            Event::Connect => health.connected(at(*now)),
            Event::Refuse => health.connect_failed(at(*now), &THRESHOLDS),
            Event::Wait(ms) => *now += ms,
        }
    }

    /// What `events` come to: p(ass), f(ail), c(onnect), r(efuse), and `.` for half a second.
    fn after(events: &str) -> Availability {
        let mut health = Health::default();
        let mut now = 1_000;
        for event in events.chars() {
            let event = match event {
                'p' => Event::Pass,
                'f' => Event::Fail,
                'c' => Event::Connect,
                'r' => Event::Refuse,
                '.' => Event::Wait(500),
                _ => unreachable!(),
            };
            feed(&mut health, &mut now, event);
        }
        health.availability(at(now))
    }

    #[test]
    fn checks_take_it_down_and_bring_it_back() {
        let check = |events: &str, expected| assert_eq!(after(events), expected, "{events}");
        check("", Availability::Up);
        check("ff", Availability::Up);
        check("fff", Availability::Down);
        check("ffpff", Availability::Up);
        check("fffp", Availability::Down);
        check("fffpp", Availability::Up);
        check("fffpfp", Availability::Down);
        check("fffppff", Availability::Up);
        // That it listens does not mean that it is well.
        check("fffc", Availability::Down);
    }

    #[test]
    fn refused_connections_eject_for_a_growing_time() {
        let check = |events: &str, expected| assert_eq!(after(events), expected, "{events}");
        check("rr", Availability::Up);
        check("rrcrr", Availability::Up);
        check("rrr", Availability::Ejected(at(2_000)));
        check("rrr.", Availability::Ejected(at(2_000)));
        check("rrr..", Availability::Up);
        // Tried without a choice meanwhile.
        check("rrr.rrrr", Availability::Ejected(at(2_000)));
        check("rrr.c", Availability::Up);
        // Once it was ejected, one more is enough.
        check("rrr..r", Availability::Ejected(at(4_000)));
        check("rrr..r....r", Availability::Ejected(at(8_000)));
        check("rrr..r....r........r", Availability::Ejected(at(13_000)));
        // Well for as long as it was away: forgotten. Before: remembered.
        check("rrr....", Availability::Up);
        check("rrr....crrr", Availability::Ejected(at(4_000)));
        check("rrr..crrr", Availability::Ejected(at(4_000)));
        check("rrr..crrr....crrr", Availability::Ejected(at(8_000)));
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            Just(Event::Pass),
            Just(Event::Fail),
            Just(Event::Connect),
            Just(Event::Refuse),
            (0_u64..3_000).prop_map(Event::Wait),
        ];
        proptest::collection::vec(event, 0..60)
    }

    proptest! {
        /// Whatever happened, an ejection ends, and checks that pass bring it back.
        #[test]
        fn nothing_is_away_for_ever(events in events()) {
            let mut health = Health::default();
            let mut now = 0;
            for event in events {
                feed(&mut health, &mut now, event);
                if let Availability::Ejected(until) = health.availability(at(now)) {
                    prop_assert!(until > at(now));
                    prop_assert!(until.since(at(now)) <= THRESHOLDS.eject_max);
                }
            }
            health.check_passed(&THRESHOLDS);
            health.check_passed(&THRESHOLDS);
            let later = at(now).after(THRESHOLDS.eject_max);
            prop_assert_eq!(health.availability(later), Availability::Up);
        }

        /// Without as many failures in a row as it takes, it stays up.
        #[test]
        fn a_failure_now_and_then_does_nothing(events in events()) {
            let mut health = Health::default();
            let (mut now, mut failed, mut refused) = (0, 0, 0);
            for event in events {
                match event {
                    Event::Fail => failed += 1,
                    Event::Refuse => refused += 1,
                    Event::Pass => failed = 0,
                    Event::Connect => refused = 0,
                    Event::Wait(_) => {}
                }
                if failed >= THRESHOLDS.unhealthy_after || refused >= THRESHOLDS.eject_after {
                    break;
                }
                feed(&mut health, &mut now, event);
                prop_assert_eq!(health.availability(at(now)), Availability::Up);
            }
        }
    }
}
