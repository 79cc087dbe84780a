//! Log mode denies nothing, whatever there is against a client, and shows what enforce would do; the
//! switch to enforce and back is at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;
use botguard_tests::client::Client;
use botguard_tests::config::Config;
use botguard_tests::host::Host;
use serde_json::json;

use crate::fixture::{
    PARTNER, PARTNER_KEY, PUBLIC_KEY, SCRAPER, ask, audit_of, dropped, exit_of, host, page_through,
};

/// Everything denies at the slightest suspicion, where it may.
fn config() -> Config {
    Config {
        mode: "log",
        tier_weight: 0.40,
        identity: "session = [\"cookie:sid\"]",
        more: r#"
[[crawler]]
name = "googlebot"
user_agent = "Googlebot"
ranges = "googlebot.txt"

[[route]]
path = "/pricing"
mode = "enforce"
expects = "mobile"
throttle = 0.01
step_up = 0.01

[[route]]
path = "/healthz"
mode = "enforce"
expects = "browser"
throttle = 0.01
challenge = 0.01

[[route]]
path = "/login"
mode = "enforce"
limits = [{ per = "address", rate = "1/h", burst = 1 }]

[[route]]
path = "/nothing"
mode = "enforce"
throttle = 0.01
block = 0.01
"#,
        ..Config::default()
    }
}

/// What is asked for how often, what the application says to it, and what botguard says instead
/// where it may.
struct Probe {
    target: &'static str,
    header: (&'static str, &'static str),
    n_requests: u32,
    application: u16,
    botguard: u16,
    would: &'static str,
}

const fn probe(
    target: &'static str,
    header: (&'static str, &'static str),
    n_requests: u32,
    (application, botguard, would): (u16, u16, &'static str),
) -> Probe {
    Probe {
        target,
        header,
        n_requests,
        application,
        botguard,
        would,
    }
}

const NOBODY: (&str, &str) = ("x-nothing", "to see");
const PROBES: [Probe; 5] = [
    probe(
        "/pricing",
        ("cookie", "sid=7f3a9c0d1e"),
        2,
        (200, 401, "step_up"),
    ),
    probe("/healthz", NOBODY, 2, (200, 403, "challenge")),
    probe("/login", NOBODY, 2, (404, 429, "throttle")),
    probe(
        "/users",
        ("x-api-key", PARTNER_KEY),
        250,
        (200, 429, "throttle"),
    ),
    probe("/nothing", FALSE_CRAWLER, 2, (404, 403, "block")),
];

const FALSE_CRAWLER: (&str, &str) = ("user-agent", "Mozilla/5.0 (compatible; Googlebot/2.1)");

/// Requests of the scraper.
const N_PAGES: u32 = 1_500;

#[test]
fn log_mode_denies_nothing_and_the_switch_works_at_once() {
    let host = host("logmode", &config()).unwrap();
    let crawlers = host.lab.directory().join("googlebot.txt");
    std::fs::write(crawlers, "66.249.64.0/19\n").unwrap();
    let _daemon = host.botguard.start(&host.lab).unwrap();
    let botguard = |arguments: &[&str]| host.botguard.expect(&host.lab, arguments).unwrap();

    // Everything there is against a client, and every answer is the application's.
    let answers = page_through(&host, SCRAPER, PUBLIC_KEY, N_PAGES, &[]).unwrap();
    assert_eq!(answers.ok, N_PAGES, "{answers:?}");
    for probe in &PROBES {
        let application = BTreeSet::from([probe.application]);
        assert_eq!(
            statuses(&host, probe).unwrap(),
            application,
            "{}",
            probe.target
        );
    }
    let n_probes: u32 = PROBES.iter().map(|probe| probe.n_requests).sum();
    let n_requests = usize::try_from(N_PAGES + n_probes).unwrap();
    let records = audit_of(&host, n_requests).unwrap();
    let requests = || records.iter().filter(|it| it["kind"] == "request");
    for record in requests() {
        let action = record["decision"]["action"].as_str().unwrap();
        assert!(["allow", "log"].contains(&action), "{record}");
        assert!(record["enforcement"].is_null(), "{record}");
    }
    for kind in ["ban", "key"] {
        assert!(
            records.iter().all(|record| record["kind"] != kind),
            "{kind}"
        );
    }
    let would_of = |path: &str| -> BTreeSet<_> {
        let of_path = requests().filter(|it| it["http"]["path"] == *path);
        of_path
            .filter_map(|it| it["decision"]["would"].as_str())
            .collect()
    };
    for probe in &PROBES {
        let would = would_of(probe.target);
        assert!(would.contains(probe.would), "{} {would:?}", probe.target);
    }
    assert!(would_of("/users").contains("block"));
    let signals: BTreeSet<_> = requests()
        .flat_map(|it| it["signals"].as_array().unwrap())
        .filter(|signal| signal["confidence"] == 1.0)
        .filter_map(|signal| signal["id"].as_str())
        .collect();
    let expected = [
        "burst",
        "false_crawler",
        "hosting_asn",
        "no_interaction",
        "paging",
        "tier",
    ];
    assert!(signals.is_superset(&expected.into()), "{signals:?}");
    nothing_is_held_against_anybody(&host).unwrap();
    let audit = host.audit_path();
    let (exit, said) = exit_of(&host, &["replay", audit.to_str().unwrap()]).unwrap();
    assert_eq!(exit, 0, "{said}");

    botguard(&["mode", "enforce"]);
    for probe in &PROBES {
        let statuses = statuses(&host, probe).unwrap();
        assert!(
            statuses.contains(&probe.botguard),
            "{} {statuses:?}",
            probe.target
        );
    }
    let answers = page_through(&host, SCRAPER, PUBLIC_KEY, N_PAGES, &[]).unwrap();
    assert!(answers.blocked > 0 && answers.unanswered > 0, "{answers:?}");
    assert_eq!(exit_of(&host, &["would-block", SCRAPER]).unwrap().0, 0);

    botguard(&["mode", "log"]);
    let before = dropped(&host).unwrap();
    let answers = page_through(&host, SCRAPER, PUBLIC_KEY, 100, &[]).unwrap();
    assert_eq!(answers.ok, 100, "{answers:?}");
    for probe in &PROBES {
        let application = BTreeSet::from([probe.application]);
        assert_eq!(
            statuses(&host, probe).unwrap(),
            application,
            "{}",
            probe.target
        );
    }
    assert_eq!(dropped(&host).unwrap(), before);
}

fn nothing_is_held_against_anybody(host: &Host) -> Result<()> {
    assert_eq!(ask(host, &["block", "list"])?["blocks"], json!([]));
    assert_eq!(exit_of(host, &["would-block", SCRAPER])?.0, 2);
    assert_eq!(dropped(host)?, 0);
    for state in ["watch", "throttled", "suspended"] {
        let listed = ask(host, &["key", "list", "--state", state])?;
        assert_eq!(listed["keys"], json!([]), "{state}");
    }
    Ok(())
}

/// The statuses of a probe's answers.
fn statuses(host: &Host, probe: &'static Probe) -> Result<BTreeSet<u16>> {
    let source = PARTNER.parse()?;
    let tls = host.certificate.client(&["h2"]);
    host.in_world(move || async move {
        let mut client = Client::new(source, Host::server(source)?, Arc::clone(&tls));
        let mut statuses = BTreeSet::new();
        for _request in 0..probe.n_requests {
            let answer = client.get(probe.target, &[probe.header]).await?;
            statuses.insert(answer.status.as_u16());
        }
        Ok(statuses)
    })
}
