//! Autonomous systems, by the extract of the real table.

use super::*;

fn asns(networks: &[&str], asns: &[u32], ttl_s: Option<u64>, scope: Option<Scope>) -> Request {
    Request::BlockAdd {
        networks: networks
            .iter()
            .map(|network| network.parse().unwrap())
            .collect(),
        asns: asns.to_vec(),
        session: Some("3.5.140.9".parse().unwrap()),
        ttl_s,
        reason: "bots".to_owned(),
        scope,
        effect: Effect::Drop,
    }
}

fn delete(networks: &[&str], asns: &[u32]) -> Request {
    Request::BlockDelete {
        networks: networks
            .iter()
            .map(|network| network.parse().unwrap())
            .collect(),
        asns: asns.to_vec(),
    }
}

fn done(response: Response) -> Done {
    match response {
        Response::Done(done) => done,
        other => panic!("{other:?}"),
    }
}

/// Rules of the blocks that cover an address.
fn covering(bench: &Bench, address: &str) -> Vec<String> {
    let question = Request::WouldBlock {
        address: address.parse().unwrap(),
        port: None,
    };
    match bench.perform(&question) {
        Response::Verdict(verdict) => verdict.blocks.into_iter().map(|b| b.rule).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_system_is_blocked_and_lifted_as_a_whole() {
    let bench = Bench::new();
    let said = done(bench.perform(&asns(&["3.5.140.2/32"], &[16_509], None, None))).did;
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[1].starts_with("AS16509 Amazon.com, Inc.: "),
        "{said:?}"
    );
    assert!(
        said[1].contains("networks of asn-extract.csv of "),
        "{said:?}"
    );
    assert!(
        said[1].contains("blocked for good, scope listeners"),
        "{said:?}"
    );
    assert_eq!(covering(&bench, "3.5.140.2"), ["operator", "AS16509"]);
    assert_eq!(covering(&bench, "3.5.140.3"), ["AS16509"]);
    assert_eq!(covering(&bench, "2003::1"), [""; 0]);
    let said = done(bench.perform(&delete(&[], &[16_509]))).did;
    assert_eq!(said, ["1 blocks removed"]);
    // What it had added, and nothing else.
    assert_eq!(covering(&bench, "3.5.140.2"), ["operator"]);
    assert_eq!(covering(&bench, "3.5.140.3"), [""; 0]);
}

#[test]
fn a_system_is_one_line_that_extends_and_ends() {
    let bench = Bench::new();
    let left = |now| match bench.perform_at(now, &Request::BlockList) {
        Response::Blocks(Blocks { asns, .. }) => {
            asns.iter().map(|asn| asn.left_s).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    bench.perform(&asns(&[], &[16_509], Some(60), None));
    bench.perform(&asns(&[], &[16_509, 16_509], Some(30), None));
    assert_eq!(left(NOW), [Some(60)]);
    bench.perform(&asns(&[], &[16_509], Some(90), None));
    assert_eq!(left(later(89)), [Some(1)]);
    assert_eq!(left(later(90)), []);
    assert_eq!(left(NOW), []);
    bench.perform(&asns(&[], &[16_509], None, None));
    bench.perform(&Request::BlockFlush);
    assert_eq!(left(NOW), []);
}

#[test]
fn mixed_targets_are_all_blocked_or_none() {
    let check = |request: &Request, expected: &str| {
        let bench = Bench::new();
        let failed = failure(bench.perform(request));
        assert_eq!(failed.blame, Blame::Usage);
        assert!(failed.message.contains(expected), "{failed:?}");
        assert_eq!(covering(&bench, "3.5.140.2"), [""; 0]);
    };
    check(
        &asns(&["3.5.140.2/32"], &[16_509, 64_496], None, None),
        "has no networks of AS64496",
    );
    check(
        &asns(&["127.0.0.1/32"], &[16_509], None, None),
        "shut out this host",
    );
    check(
        &asns(&[], &[24_940, 16_509], None, Some(Scope::Host)),
        "your own SSH session from 3.5.140.9",
    );
}

#[test]
fn whom_nobody_may_block_is_left_out() {
    let mut bench = Bench::new();
    bench.never_block = vec!["3.5.140.2/32".parse().unwrap()];
    let said = done(bench.perform(&asns(&[], &[16_509], None, None))).did;
    assert_eq!(
        said[1],
        "AS16509: left out, 3.5.140.2/32 is one of [trust] never_block"
    );
    assert_eq!(covering(&bench, "3.5.140.2"), [""; 0]);
    assert_eq!(covering(&bench, "3.5.140.3"), ["AS16509"]);
}

#[test]
fn without_the_table_nothing_is_unblocked_in_silence() {
    let mut bench = Bench::new();
    bench.perform(&asns(&[], &[16_509], None, None));
    bench.asns = AsnSource::Unreadable("asn.csv:7: has 3 fields".to_owned());
    let refused = |request: &Request| {
        let failed = failure(bench.perform(request));
        assert_eq!(failed.blame, Blame::Usage);
        assert!(failed.message.contains("asn.csv:7"), "{failed:?}");
    };
    refused(&asns(&["192.0.2.7/32"], &[], None, None));
    refused(&delete(&["192.0.2.7/32"], &[]));
    refused(&Request::AllowAdd {
        networks: vec!["192.0.2.7/32".parse().unwrap()],
        reason: String::new(),
    });
    // The kill switch works, and so does lifting what is not known.
    done(bench.perform(&Request::SetMode {
        mode: Mode::Log,
        for_s: None,
    }));
    done(bench.perform(&delete(&[], &[16_509])));
    done(bench.perform(&asns(&["192.0.2.7/32"], &[], None, None)));
    bench.asns = AsnSource::Unset;
    let failed = failure(bench.perform(&asns(&[], &[16_509], None, None)));
    assert!(
        failed.message.contains("`[intel] asn` names no table"),
        "{failed:?}"
    );
}

#[test]
fn ends_follow_a_wall_clock_that_is_stepped_while_nobody_is_there() {
    let mut bench = Bench::new();
    let has = |bench: &Bench, now| match bench.perform_at(now, &Request::BlockList) {
        Response::Blocks(blocks) => (blocks.blocks.len(), blocks.asns.len()),
        other => panic!("{other:?}"),
    };
    bench.perform(&asns(&["192.0.2.7/32"], &[16_509], Some(600), None));
    bench.offset_ms = 3_600_000;
    let shifted = later(3_600);
    assert_eq!(has(&bench, shifted), (1, 1));
    assert_eq!(has(&bench, later(4_199)), (1, 1));
    bench.boot_id = "another";
    bench.offset_ms = 0;
    assert_eq!(has(&bench, later(4_199)), (1, 1));
    assert_eq!(has(&bench, later(4_200)), (0, 0));
}
