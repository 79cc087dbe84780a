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
    check(&Response::Blocks(Blocks { blocks: vec![] }), "no blocks\n");
    check(&Response::Allows(Allows { allows: vec![] }), "no allows\n");
    let ending = BlockEntry {
        left_s: Some(3_600),
        origin: "automatic".to_owned(),
        rule: "automatic".to_owned(),
        effect: Effect::Count,
        scope: Scope::Host,
        ..entry()
    };
    check(
        &Response::Blocks(Blocks {
            blocks: vec![entry(), ending],
        }),
        "192.0.2.0/24             operator         drop  listeners for good       scraper\n\
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
allows      0
",
    );
}
