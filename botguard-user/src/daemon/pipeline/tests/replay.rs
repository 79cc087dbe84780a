//! What a pipeline records, replayed: the same policy decides the same, to the bit; another one
//! flips what its thresholds explain, and nothing else.

use std::collections::BTreeSet;
use std::fs;

use super::*;
use crate::audit::record::{Event, RequestRecord};
use crate::cli::replay::{ReplayReport, replay};

const KEYS: [Option<&str>; 3] = [
    Some("sk_pub_xyz1234567890"),
    Some("sk_pub_shop77q1mzx83hv"),
    None,
];
const ADDRESSES: [&str; 4] = [SCRAPER, "73.15.20.30", "2003:c0:1::5", "5.9.10.20"];

/// One request from head to end, with what botguard answers itself.
fn visit(bench: &Bench, n: usize) {
    // A scraper that hurries, and people in between. Steps that share no divisor mix everything.
    let hurried = !n.is_multiple_of(4);
    let ip = if hurried {
        SCRAPER
    } else {
        ADDRESSES[n / 4 % 4]
    };
    let key = if hurried { KEYS[0] } else { KEYS[n / 16 % 3] };
    let own = n.is_multiple_of(23);
    let (path, query) = match n % 7 {
        _ if own => ("/.botguard/ui", String::new()),
        0 => ("/pricing", format!("token=s3cret{n}&page={n}")),
        1 => ("/users/7", String::new()),
        _ => ("/users", format!("%63ursor=c{n}&api_key=canary")),
    };
    let mut request = Request::builder()
        .method(if n.is_multiple_of(11) { "POST" } else { "GET" })
        .uri(format!("https://api.example.com{path}?{query}"))
        .header("user-agent", format!("agent/{}", n % 3));
    if let Some(key) = key {
        request = request.header("x-api-key", key);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let admission = bench.pipeline.admit(&RequestHead {
        parts: &parts,
        path,
        authority: "api.example.com",
        client: ClientAddress::direct(ip.parse().unwrap()),
        local: SocketAddr::from(([192, 0, 2, 80], 443)),
        asks: if own {
            Asks::Botguard
        } else {
            Asks::Application
        },
        prints: &NO_PRINTS,
    });
    if own && n.is_multiple_of(2) {
        let touch = InteractionFacts {
            session: None,
            client: ClientAddress::direct(ip.parse().unwrap()),
            key: bench.pipeline.key(&RequestHead {
                parts: &parts,
                path,
                authority: "api.example.com",
                client: ClientAddress::direct(ip.parse().unwrap()),
                local: SocketAddr::from(([192, 0, 2, 80], 443)),
                asks: Asks::Botguard,
                prints: &NO_PRINTS,
            }),
        };
        bench.pipeline.interaction(&admission.request_id, &touch);
    }
    let forwarded = admission.denial.is_none() && !own;
    let response = ResponseFacts {
        answered_by: if forwarded {
            AnsweredBy::Upstream
        } else {
            AnsweredBy::Botguard
        },
        status: match n % 13 {
            _ if !forwarded => 403,
            0 => 401,
            1 => 500,
            _ => 200,
        },
        bytes_in: 3,
        bytes_out: n as u64,
        upstream: forwarded.then_some(Duration::from_nanos(1_234_567)),
        total: Duration::from_nanos(7_654_321),
        observation: None,
        login: None,
    };
    // Some end much later than others, as those that were decided after them.
    if n % 5 == 1 {
        HELD.with_borrow_mut(|held| held.push((admission.ticket, response)));
    } else if let Closing::Ban(ban) = bench.pipeline.finish(admission.ticket, &response) {
        bench.pipeline.settle(ban);
    }
    if n % 40 == 39 {
        for (ticket, response) in HELD.take() {
            bench.pipeline.finish(ticket, &response);
        }
    }
}

thread_local! {
    static HELD: std::cell::RefCell<Vec<(Ticket, ResponseFacts)>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// 520 mixed requests, one that lasts, and one without a meaning.
fn recorded() -> Bench {
    recorded_in("enforce")
}

/// The same in another mode of `/users`.
fn recorded_in(mode: &str) -> Bench {
    let bench = Bench::with(
        "",
        mode,
        &["3.5.140.0/24"],
        "[default]\nmode = \"log\"\nthrottle = 0.3\n",
    );
    (0..520).for_each(|n| visit(&bench, n));
    let now = Now::read();
    visit(&bench, 521);
    bench.pipeline.record_lasting(Now {
        monotonic: now.monotonic.after(Duration::from_secs(61)),
        ..now
    });
    for (ticket, response) in HELD.take() {
        bench.pipeline.finish(ticket, &response);
    }
    let (parts, ()) = Request::get("/a%2Fb").body(()).unwrap().into_parts();
    bench.pipeline.refused(&RefusedRequest {
        parts: &parts,
        client: ClientAddress::direct(SCRAPER.parse().unwrap()),
        local: SocketAddr::from(([192, 0, 2, 80], 443)),
        status: 400,
        reason: "an encoded slash",
        prints: &NO_PRINTS,
    });
    bench.audit.flush();
    bench
}

fn replayed(bench: &Bench, change: impl Fn(&str) -> String) -> ReplayReport {
    let text = change(bench.config.as_str());
    let loaded = Loaded::parse(Document::from_text(Path::new("b.toml"), text)).unwrap();
    replay(&loaded, &[bench.directory.path().join("audit.jsonl")]).unwrap()
}

#[test]
fn the_same_policy_decides_the_same_to_the_bit() {
    let bench = recorded();
    let report = replayed(&bench, str::to_owned);
    let requests = bench.requests();
    // It was worth it: all kinds of decisions, on scores of all heights, and of touched pages.
    let actions: BTreeSet<_> = requests.iter().map(|it| it.decision.action).collect();
    assert!(
        [Action::Allow, Action::Log, Action::Throttle, Action::Block]
            .iter()
            .all(|action| actions.contains(action)),
        "{actions:?}"
    );
    let scores: BTreeSet<_> = requests.iter().map(|it| it.raw).collect();
    assert!(scores.len() > 20, "{scores:?}");
    let n_touched = |it: &&RequestRecord| it.facts.interaction_at_ns.is_some();
    assert!(requests.iter().filter(n_touched).count() > 5);
    assert!(
        bench
            .records()
            .iter()
            .any(|it| matches!(it, Event::Close(_)))
    );

    assert_eq!(report.n_replayed, 521);
    assert_eq!(report.not_replayable.values().sum::<u64>(), 1);
    assert_eq!(report.flips, []);
    assert_eq!(
        (report.scores.n, report.n_details, report.n_engines),
        (0, 0, 1)
    );
}

/// It can fail: evidence that is not replayed as it was makes other scores.
#[test]
fn a_log_without_its_ends_or_touches_scores_otherwise() {
    let bench = recorded();
    let log = bench.directory.path().join("audit.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    for field in ["observed_at_ns", "interaction_at_ns"] {
        let without: String = text
            .lines()
            .map(|line| {
                let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
                if let Some(value) = record.pointer_mut(&format!("/facts/{field}")) {
                    *value = serde_json::Value::Null;
                }
                format!("{record}\n")
            })
            .collect();
        fs::write(&log, without).unwrap();
        let report = replayed(&bench, str::to_owned);
        assert!(report.scores.n > 0, "{field}");
    }
}

/// Where nothing is carried out, nothing follows from a flip but itself.
#[test]
fn a_lower_threshold_flips_exactly_what_lies_between() {
    let lower =
        |text: &str| text.replace("path = \"/users\"\n", "path = \"/users\"\nblock = 0.7\n");
    let between = Points::from_basis(7_000)..Points::from_basis(9_000);
    for mode in ["log", "enforce"] {
        let bench = recorded_in(mode);
        let report = replayed(&bench, lower);
        let expected = (bench.requests().iter())
            .filter(|it| it.http.route == "/users" && !it.facts.own)
            .filter(|it| between.contains(&it.score) && it.decision.would != Action::Block)
            .count() as u64;
        assert!(expected > 10, "{expected}");
        let n_flips: u64 = report.flips.iter().map(|flip| flip.n).sum();
        let elsewhere = (report.flips.iter()).find(|flip| flip.route != "/users");
        match mode {
            "log" => assert_eq!((n_flips, elsewhere), (expected, None)),
            // Whoever is blocked earlier may be refused for some time, and everywhere.
            _ => assert!(n_flips >= expected, "{n_flips} {expected}"),
        }
        assert!(
            report
                .flips
                .iter()
                .all(|flip| flip.to.would == Action::Block)
        );
        assert_eq!(report.scores.n, 0);
    }
}
