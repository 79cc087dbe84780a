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
