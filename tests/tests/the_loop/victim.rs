//! Garbage that carries somebody else's key, session or name harms its sender, and moves nothing of
//! whose they are.

use anyhow::Result;
use botguard_tests::client::Client;
use botguard_tests::config::Config;
use botguard_tests::host::Host;
use serde_json::{Value, json};

use crate::fixture::{PARTNER, SCRAPER, SHOP_KEY, USER, ask, audit_of, running};

/// What garbage carries, where its victim uses it, and what the application does not take it for.
struct Theft {
    stolen: (&'static str, &'static str),
    good: &'static str,
    garbage: &'static str,
    refusal: u16,
    thief: &'static str,
}

const THEFTS: [Theft; 3] = [
    Theft {
        stolen: ("x-api-key", SHOP_KEY),
        good: "/users",
        garbage: "/users?cursor=broken",
        refusal: 400,
        thief: SCRAPER,
    },
    Theft {
        stolen: ("cookie", "sid=5b1f7c0a92de"),
        good: "/pricing",
        garbage: "/users?cursor=c5",
        refusal: 401,
        thief: PARTNER,
    },
    Theft {
        stolen: ("x-user", "alice"),
        good: "/pricing",
        garbage: "/users?cursor=c10",
        refusal: 401,
        thief: "5.9.10.21",
    },
];

#[test]
fn garbage_moves_nothing_of_whose_credentials_it_carries() {
    const N_GARBAGE: u32 = 400;
    let config = Config {
        identity: "session = [\"cookie:sid\"]\nuser = [\"header:x-user\"]",
        more: "[reputation]\nwatch = 0.02\nthrottle = 0.05\n",
        ..Config::default()
    };
    let (host, _daemon) = running("victim", &config).unwrap();
    host.lab
        .add_source(THEFTS[2].thief.parse().unwrap())
        .unwrap();
    let mut n_requests = 0;
    for theft in &THEFTS {
        let name = theft.stolen.0;
        let known = send(&host, USER, theft.good, theft.stolen, 4).unwrap();
        assert_eq!(known, [200; 4], "{name}");
        n_requests += 4;
        let before = last_decision(&host, n_requests).unwrap();

        let garbage = send(&host, theft.thief, theft.garbage, theft.stolen, N_GARBAGE).unwrap();
        assert_eq!(garbage[0], theft.refusal, "{name}");
        n_requests += garbage.len();
        let thief = last_decision(&host, n_requests).unwrap();
        assert_ne!(thief["would"], "allow", "{name}: {thief}");

        let good = send(&host, USER, theft.good, theft.stolen, 1).unwrap();
        assert_eq!(good, [200], "{name}");
        n_requests += 1;
        assert_eq!(last_decision(&host, n_requests).unwrap(), before, "{name}");
    }
    let keys = ask(&host, &["key", "list"]).unwrap();
    for key in keys["keys"].as_array().unwrap() {
        assert_eq!(key["state"], "ok", "{key}");
    }
    let listed = ask(&host, &["block", "list"]).unwrap();
    assert!(!listed["pairs"].to_string().contains(USER), "{listed}");
    assert!(!listed["blocks"].to_string().contains(USER), "{listed}");
}

/// The statuses of so many requests, or of those up to the first that was not answered or refused
/// by botguard.
fn send(
    host: &Host,
    source: &str,
    target: &'static str,
    stolen: (&'static str, &'static str),
    n_requests: u32,
) -> Result<Vec<u16>> {
    let source = source.parse()?;
    let tls = host.certificate.client(&["http/1.1"]);
    host.in_world(move || async move {
        let mut client = Client::new(source, Host::server(source)?, tls);
        let mut statuses = Vec::new();
        for _request in 0..n_requests {
            let answer = client
                .get(target, &[stolen, ("user-agent", "test")])
                .await?;
            statuses.push(answer.status.as_u16());
            if answer.status == 403 || answer.status == 429 {
                break;
            }
        }
        Ok(statuses)
    })
}

/// What was decided last, with its score.
fn last_decision(host: &Host, n_requests: usize) -> Result<Value> {
    let records = audit_of(host, n_requests)?;
    let last = records.iter().rfind(|it| it["kind"] == "request");
    let mut decision = last.map_or(Value::Null, |last| last["decision"].clone());
    decision["score"] = last.map_or(json!(null), |last| last["score"].clone());
    Ok(decision)
}
