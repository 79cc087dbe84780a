//! What is remembered of keys, sources and pairs, as far as the store is concerned: what a memo is
//! about, how long it is kept, and how its times move with a clock that was stepped. Pure. What the
//! numbers in a memo mean is the engine's business.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::engine::PrincipalCapacity;
use crate::words::clock::{Step, Wall};
use crate::words::identity::KeyHash;
use crate::words::key::{KeyMemo, KeyState};
use crate::words::memo::{BanMemo, Credential, Memo};

/// What a memo is about; a later memo of the same subject replaces an earlier one.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum MemoSubject {
    /// A key.
    Key(KeyHash),
    /// A source address, or a network around some.
    Source(IpNet),
    /// A credential at an address.
    Pair(IpAddr, Credential),
}

impl MemoSubject {
    /// Of this memo.
    #[must_use]
    pub fn of(memo: &Memo) -> Self {
        match memo {
            Memo::Key(key) => Self::Key(key.hash),
            Memo::Source(source) => Self::Source(source.network),
            Memo::Pair(pair) => Self::Pair(pair.address, pair.credential),
        }
    }
}

/// How long after the last that was heard of it a memo is kept: thirteen half-lives of a key's
/// longest span, and longer than a ban's repetitions count.
pub const KEPT_FOR: Duration = Duration::from_secs(91 * 86_400);

/// The memos that are to be forgotten: those of whom nothing was heard for [`KEPT_FOR`] and which
/// hold nobody back, and where there are more of a kind than the engine has room for, those of whom
/// nothing was heard for longest.
#[must_use]
pub fn forgotten(memos: &[Memo], now: Wall) -> Vec<MemoSubject> {
    let PrincipalCapacity(capacity) = PrincipalCapacity::default();
    forgotten_beyond(memos, now, capacity as usize)
}

fn forgotten_beyond(memos: &[Memo], now: Wall, capacity: usize) -> Vec<MemoSubject> {
    let is_old = |memo: &&Memo| !holds_back(memo) && last_heard(memo).after(KEPT_FOR) <= now;
    let mut forgotten: Vec<_> = memos.iter().filter(is_old).map(MemoSubject::of).collect();
    for kind in [0, 1, 2] {
        let kept = memos.iter().filter(|memo| !is_old(memo));
        let mut kept: Vec<_> = kept.filter(|memo| kind_of(memo) == kind).collect();
        let n_surplus = kept.len().saturating_sub(capacity);
        kept.sort_by_key(|memo| (holds_back(memo), last_heard(memo)));
        forgotten.extend(kept.into_iter().take(n_surplus).map(MemoSubject::of));
    }
    forgotten
}

const fn kind_of(memo: &Memo) -> u8 {
    match memo {
        Memo::Key(_) => 0,
        Memo::Source(_) => 1,
        Memo::Pair(_) => 2,
    }
}

/// A suspended key that is quiet for a season is not to come back as a good one.
fn holds_back(memo: &Memo) -> bool {
    matches!(memo, Memo::Key(key) if key.state == KeyState::Suspended)
}

fn last_heard(memo: &Memo) -> Wall {
    match memo {
        Memo::Key(key) => key.at,
        Memo::Source(source) => {
            let seen = source.good.iter().map(|(_tag, seen)| *seen);
            let ended = source.ban.map(|ban| ban.ends);
            seen.chain(ended).max().unwrap_or_default()
        }
        Memo::Pair(pair) => pair.ban.ends,
    }
}

/// The same memo by a clock that was stepped.
#[must_use]
pub fn shifted(memo: Memo, step: Step) -> Memo {
    let ban = |ban: BanMemo| BanMemo {
        proposed: ban.proposed.shifted(step),
        ends: ban.ends.shifted(step),
        ..ban
    };
    match memo {
        Memo::Key(key) => Memo::Key(Box::new(shifted_key(*key, step))),
        Memo::Source(mut source) => {
            source.ban = source.ban.map(ban);
            for (_tag, seen) in &mut source.good {
                *seen = seen.shifted(step);
            }
            Memo::Source(source)
        }
        Memo::Pair(mut pair) => {
            pair.ban = ban(pair.ban);
            Memo::Pair(pair)
        }
    }
}

fn shifted_key(mut key: KeyMemo, step: Step) -> KeyMemo {
    const HOUR_MS: i64 = 3_600_000;
    key.since = key.since.shifted(step);
    key.at = key.at.shifted(step);
    let hours = step.as_ms().saturating_add(HOUR_MS / 2).div_euclid(HOUR_MS);
    let hours = i32::try_from(hours).unwrap_or(if hours < 0 { i32::MIN } else { i32::MAX });
    for hour in &mut key.bad_hours {
        *hour = hour.saturating_add_signed(hours);
    }
    for (_tag, seen) in &mut key.good {
        *seen = seen.shifted(step);
    }
    for transition in &mut key.history {
        transition.at = transition.at.shifted(step);
    }
    key
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::words::identity::{SessionHash, UserHash};
    use crate::words::key::{KeyTransition, SuspicionMemo};
    use crate::words::memo::{PairMemo, SourceMemo};
    use crate::words::points::Points;

    const NOW: Wall = Wall::from_unix_ms(1_795_435_200_000);

    prop_compose! {
        fn ban()(proposed in any::<u64>(), ends in any::<u64>(), level in any::<u32>()) -> BanMemo {
            BanMemo {
                proposed: Wall::from_unix_ms(proposed),
                ends: Wall::from_unix_ms(ends),
                level,
            }
        }
    }

    fn state() -> impl Strategy<Value = KeyState> {
        prop::sample::select(vec![
            KeyState::Ok,
            KeyState::Watch,
            KeyState::Throttled,
            KeyState::Suspended,
        ])
    }

    prop_compose! {
        fn transition()(
            at in any::<u64>(), from in state(), to in state(),
            reputation in prop::option::of(0_u32..=10_000), reason in ".{0,20}",
        ) -> KeyTransition {
            KeyTransition {
                at: Wall::from_unix_ms(at), from, to,
                reputation: reputation.map(Points::from_basis), reason,
            }
        }
    }

    prop_compose! {
        fn key()(
            hash in any::<u128>(), public_id in "[a-z0-9é]{0,12}", tier in prop::option::of("[a-z]+"),
            state in state(), since in any::<u64>(), at in any::<u64>(),
            spans in any::<[(u64, u64); 3]>(),
            bad_hours in prop::collection::vec(any::<u32>(), 0..4),
            good in prop::collection::vec((any::<u64>(), any::<u64>()), 0..4),
            history in prop::collection::vec(transition(), 0..3),
        ) -> KeyMemo {
            KeyMemo {
                hash: KeyHash(hash), shown: format!("{public_id}…"), public_id, tier, state,
                since: Wall::from_unix_ms(since), at: Wall::from_unix_ms(at),
                spans: spans.map(|(requests, suspicion)| SuspicionMemo { requests, suspicion }),
                bad_hours, history,
                good: good.into_iter().map(|(tag, at)| (tag, Wall::from_unix_ms(at))).collect(),
            }
        }
    }

    /// Any memo that the engine could hand out.
    pub(crate) fn memo() -> impl Strategy<Value = Memo> {
        let network = any::<(u128, u8, bool)>().prop_map(|(address, len, is_v6)| {
            let ip = if is_v6 {
                IpAddr::from(address.to_be_bytes())
            } else {
                #[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
                IpAddr::from((address as u32).to_be_bytes())
            };
            let len = len % if is_v6 { 129 } else { 33 };
            IpNet::new(ip, len).unwrap().trunc()
        });
        let good = prop::collection::vec((any::<u64>(), any::<u64>()), 0..4);
        let good = good.prop_map(|good| {
            let times = good.into_iter();
            times
                .map(|(tag, at)| (tag, Wall::from_unix_ms(at)))
                .collect()
        });
        let credential = (0..3, any::<u128>()).prop_map(|(kind, hash)| match kind {
            0 => Credential::Key(KeyHash(hash)),
            1 => Credential::Session(SessionHash(hash)),
            _ => Credential::User(UserHash(hash)),
        });
        let source = (network, prop::option::of(ban()), good)
            .prop_map(|(network, ban, good)| SourceMemo { network, ban, good });
        let pair = (any::<IpAddr>(), credential, ban(), ".{0,20}").prop_map(
            |(address, credential, ban, reason)| PairMemo {
                address,
                credential,
                ban,
                reason,
            },
        );
        prop_oneof![
            key().prop_map(|key| Memo::Key(Box::new(key))),
            source.prop_map(Memo::Source),
            pair.prop_map(Memo::Pair),
        ]
    }

    /// A key of whom something was heard at `at`.
    pub(crate) fn quiet_key(hash: u128, state: KeyState, at: Wall) -> Memo {
        Memo::Key(Box::new(KeyMemo {
            hash: KeyHash(hash),
            public_id: "xyz1".to_owned(),
            shown: "xyz1…".to_owned(),
            tier: None,
            state,
            since: at,
            at,
            spans: [SuspicionMemo::default(); 3],
            bad_hours: vec![],
            good: vec![],
            history: vec![],
        }))
    }

    proptest! {
        /// A step and its reverse leave what was there, as long as nothing meets the ends of time.
        #[test]
        fn a_step_moves_every_time(memo in memo(), hours in -1_000_i64..1_000) {
            let step = Step::from_ms(hours * 3_600_000);
            let back = Step::from_ms(-hours * 3_600_000);
            let moved = shifted(memo.clone(), step);
            prop_assert_eq!(MemoSubject::of(&moved), MemoSubject::of(&memo));
            let inside = |memo: &Memo| {
                let text = format!("{memo:?}");
                let numbers = text.split(|c: char| !c.is_ascii_digit());
                // Whatever is this close to either end may have been cut.
                numbers.filter_map(|digits| digits.parse::<u64>().ok()).all(|number| {
                    (4_000_000_000..u64::MAX - 4_000_000_000).contains(&number)
                })
            };
            if inside(&memo) {
                prop_assert_eq!(shifted(moved, back), memo);
            }
        }
    }

    #[test]
    fn a_step_moves_a_keys_hours() {
        let Memo::Key(mut key) = quiet_key(1, KeyState::Watch, NOW) else {
            panic!("not a key")
        };
        key.bad_hours = vec![498_732, 0];
        key.good = vec![(1, NOW)];
        key.history = vec![KeyTransition {
            at: NOW,
            from: KeyState::Ok,
            to: KeyState::Watch,
            reputation: None,
            reason: String::new(),
        }];
        let check = |minutes: i64, expected: [u32; 2]| {
            let moved = shifted_key((*key).clone(), Step::from_ms(minutes * 60_000));
            assert_eq!(moved.bad_hours, expected, "{minutes}");
            let later = NOW.shifted(Step::from_ms(minutes * 60_000));
            assert_eq!((moved.since, moved.at), (later, later));
            assert_eq!(moved.history[0].at, later);
            assert_eq!(moved.good, [(1, later)]);
        };
        check(0, [498_732, 0]);
        check(29, [498_732, 0]);
        check(31, [498_733, 1]);
        check(-29, [498_732, 0]);
        check(-120, [498_730, 0]);
    }

    #[test]
    fn what_was_not_heard_of_for_a_season_is_forgotten() {
        let check = |state, days: u64, expected: bool| {
            let memo = quiet_key(1, state, NOW);
            let later = NOW.after(Duration::from_secs(days * 86_400));
            let gone = !forgotten(std::slice::from_ref(&memo), later).is_empty();
            assert_eq!(gone, expected, "{state} {days}");
        };
        check(KeyState::Ok, 90, false);
        check(KeyState::Ok, 91, true);
        check(KeyState::Throttled, 91, true);
        check(KeyState::Suspended, 400, false);
    }

    #[test]
    fn beyond_the_cap_the_quietest_go_first() {
        let later = |ms| NOW.after(Duration::from_millis(ms));
        let memos = [
            quiet_key(1, KeyState::Ok, later(2)),
            quiet_key(2, KeyState::Suspended, later(1)),
            quiet_key(3, KeyState::Ok, later(3)),
            Memo::Source(SourceMemo {
                network: "192.0.2.1/32".parse().unwrap(),
                ban: None,
                good: vec![(1, NOW)],
            }),
        ];
        let check = |capacity, expected: &[u128]| {
            let gone = forgotten_beyond(&memos, NOW, capacity);
            let expected: Vec<_> = (expected.iter())
                .map(|hash| MemoSubject::Key(KeyHash(*hash)))
                .collect();
            assert_eq!(gone, expected, "{capacity}");
        };
        check(3, &[]);
        check(2, &[1]);
        check(1, &[1, 3]);
    }
}
