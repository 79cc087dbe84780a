//! Answers as an operator reads them.

use super::*;
use crate::admin::protocol::{Counter, Override, RouteStatus, Status};
use crate::words::mode::Mode;

fn check(response: &Response, expected: &str) {
    assert_eq!(Text(response).to_string(), expected);
}

fn entry() -> BlockEntry {
    BlockEntry {
        network: "192.0.2.0/24".parse().unwrap(),
        origin: "operator".to_owned(),
        rule: "operator".to_owned(),
        scope: Scope::Listeners,
        effect: Effect::Drop,
        created: "2026-11-23T12:00:00.000Z".to_owned(),
        expires: None,
        left_s: None,
        reason: "scraper".to_owned(),
    }
}

#[test]
fn lists() {
    check(&Response::Blocks(Blocks::default()), "no blocks\n");
    check(&Response::Allows(Allows { allows: vec![] }), "no allows\n");
    let ending = BlockEntry {
        left_s: Some(3_600),
        origin: "automatic".to_owned(),
        rule: "automatic".to_owned(),
        effect: Effect::Count,
        scope: Scope::Host,
        ..entry()
    };
    let system = AsnEntry {
        rule: "AS16509".to_owned(),
        name: Some("Amazon.com, Inc.".to_owned()),
        n_networks_v4: 5_968,
        n_networks_v6: 1_202,
        scope: Scope::Listeners,
        effect: Effect::Drop,
        created: "2026-11-23T12:00:00.000Z".to_owned(),
        expires: None,
        left_s: None,
        reason: "bots".to_owned(),
    };
    check(
        &Response::Blocks(Blocks {
            blocks: vec![entry(), ending],
            asns: vec![system],
            pairs: vec![],
            lists: vec![ListEntry {
                name: "drop".to_owned(),
                rule: "list:drop".to_owned(),
                n_networks: 1_234,
                scope: Scope::Host,
                effect: Effect::Drop,
                created: "2026-11-23T12:00:00.000Z".to_owned(),
                expires: Some("2026-11-23T13:00:00.000Z".to_owned()),
                left_s: Some(3_600),
                reason: "Spamhaus".to_owned(),
            }],
        }),
        "1234 networks            list:drop        drop  host      for 1h         Spamhaus\n\
         7170 networks            AS16509          drop  listeners for good       bots (Amazon.com, Inc.)\n\
         192.0.2.0/24             operator         drop  listeners for good       scraper\n\
         192.0.2.0/24             automatic        count host      for 1h         scraper\n",
    );
}

#[test]
fn a_verdict_lists_every_covering_entry() {
    check(
        &Response::Verdict(Verdict {
            address: "192.0.2.1".parse().unwrap(),
            port: None,
            dropped: true,
            because: "a live block covers it".to_owned(),
            blocks: vec![entry()],
            allows: vec![],
        }),
        "192.0.2.1 dropped: a live block covers it\n\
         192.0.2.0/24             operator         drop  listeners for good       scraper\n",
    );
}

#[test]
fn status_is_loud_about_what_is_not_enforced() {
    let status = Status {
        configured_mode: Mode::Enforce,
        mode: Mode::Log,
        mode_override: Some(Override {
            mode: Mode::Log,
            until: None,
        }),
        routes: vec![RouteStatus {
            route: "/users".to_owned(),
            methods: vec!["GET".to_owned()],
            configured: Mode::Enforce,
            effective: Mode::Log,
        }],
        kernel: Kernel {
            state: "attached".to_owned(),
            interfaces: vec![Interface {
                name: "eth0".to_owned(),
                mode: "native".to_owned(),
                program: 7,
            }],
            mode: Some(Mode::Log),
            n_entries: 1,
            exits: vec![Counter {
                name: "pass_clean".to_owned(),
                packets: 12,
            }],
            drops: vec![],
            would_drop: vec![],
        },
        n_lists: 2,
        n_list_networks: 1_234,
        degraded: vec!["store was corrupt".to_owned()],
        ..Status::default()
    };
    check(
        &Response::Status(Box::new(status)),
        "\
DEGRADED    store was corrupt
daemon      not running
mode        LOG (NOTHING IS DENIED) BY COMMAND until it is set again; configured: enforce
route       /users                   GET        LOG (NOTHING IS DENIED) (configured: enforce)
kernel      attached, mode log
  eth0             native, program id 7
entries     1
packets     pass_clean                 12
blocks      0
lists       2 with 1234 networks
allows      0
",
    );
}

#[test]
fn keys() {
    use crate::admin::protocol::{
        KeyDetail, KeyEntry, Keys, OverrideEntry, Reputation, TransitionEntry,
    };
    use crate::words::key::{KeyStanding, KeyState};
    use crate::words::points::Points;

    check(&Response::Keys(Keys::default()), "no keys\n");
    let entry = KeyEntry {
        public_id: "xyz123kd92mv".to_owned(),
        shown: "sk_pub_xyz123kd92mv…".to_owned(),
        hash: "0123abcd".repeat(4),
        tier: Some("free".to_owned()),
        state: KeyState::Suspended,
        earned: KeyState::Watch,
        since: Some("2026-11-23T12:00:00.000Z".to_owned()),
        reputation: Reputation {
            hour: Some(Points::from_basis(9_049)),
            day: None,
            week: Some(Points::ZERO),
        },
        requests_last_hour: 1_234,
        set: Some(OverrideEntry {
            standing: KeyStanding::Suspended,
            limit: None,
            mode: Some(Mode::Log),
            reason: "leaked\u{1b}[2J".to_owned(),
            actor: "uid 0".to_owned(),
            created: "2026-11-23T12:00:00.000Z".to_owned(),
            until: None,
        }),
    };
    let unnamed = KeyEntry {
        public_id: String::new(),
        shown: "#0123abcd0123".to_owned(),
        tier: None,
        set: None,
        ..entry.clone()
    };
    check(
        &Response::Keys(Keys {
            keys: vec![entry.clone(), unnamed],
        }),
        "\
id            key                      tier       state      hour  day week requests  override
xyz123kd92mv  sk_pub_xyz123kd92mv…     free       suspended  0.90    - 0.00     1234  suspended, mode log for good by uid 0: leaked\\u{1b}[2J
#0123abcd0123 #0123abcd0123            -          suspended  0.90    - 0.00     1234
",
    );
    check(
        &Response::Key(Box::new(KeyDetail {
            key: entry,
            because: "suspended by uid 0: leaked".to_owned(),
            history: vec![TransitionEntry {
                at: "2026-11-23T12:00:00.000Z".to_owned(),
                from: KeyState::Ok,
                to: KeyState::Watch,
                reputation: Some(Points::from_basis(6_500)),
                reason: "0.65 over an hour".to_owned(),
            }],
        })),
        "\
key         sk_pub_xyz123kd92mv… (id xyz123kd92mv)
hash        #0123abcd0123abcd0123abcd0123abcd
tier        free
state       suspended: suspended by uid 0: leaked
by itself   watch since 2026-11-23T12:00:00.000Z
mean score  0.90 over an hour, - a day, 0.00 a week
requests    1234 in the last hour
override    suspended, mode log for good by uid 0: leaked\\u{1b}[2J
history     2026-11-23T12:00:00.000Z ok → watch at 0.65: 0.65 over an hour
",
    );
}
