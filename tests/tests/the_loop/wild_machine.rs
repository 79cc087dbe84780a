//! A machine at many times its rate is told to wait, however long it goes on; a browser's key used
//! the same way is blocked.

use std::sync::Arc;

use anyhow::Result;
use botguard_tests::client::{Answer, Client};
use botguard_tests::config::Config;
use botguard_tests::host::Host;
use serde_json::json;

use crate::fixture::{
    Answers, PARTNER, PARTNER_KEY, PUBLIC_KEY, SCRAPER, ask, dropped, exit_of, page_through,
    running,
};

#[test]
fn a_machine_run_wild_is_throttled_and_never_banned() {
    let (host, _daemon) = running("wild", &Config::default()).unwrap();
    // The rate of its tier is ten a second, and a hundred at once.
    let answers = page_through(&host, PARTNER, PARTNER_KEY, 1_500, &[]).unwrap();
    assert!(answers.ok >= 100 && answers.throttled > 500, "{answers:?}");
    let told = Answers {
        ok: answers.ok,
        throttled: answers.throttled,
        ..Answers::default()
    };
    assert_eq!(answers, told);
    assert_eq!(exit_of(&host, &["would-block", PARTNER]).unwrap().0, 2);

    let answer = first_throttled(&host).unwrap();
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let problem = answer.json().unwrap();
    let kind = problem["type"].as_str().unwrap();
    assert!(kind.ends_with("quota-exceeded"), "{problem}");
    assert_eq!(problem["violated-policies"], json!(["key"]), "{problem}");
    let header = |name: &str| answer.headers[name].to_str().unwrap();
    assert!(header("retry-after").parse::<u64>().unwrap() >= 1);
    assert!(header("ratelimit").starts_with("\"key\";r=0;t="));
    assert!(header("ratelimit-policy").starts_with("\"key\";q="));

    // Nobody is asked to wait forever who is not a machine.
    let answers = page_through(&host, SCRAPER, PUBLIC_KEY, 1_500, &[]).unwrap();
    assert!(answers.blocked > 0 && answers.unanswered > 0, "{answers:?}");
    assert_eq!(exit_of(&host, &["would-block", SCRAPER]).unwrap().0, 0);
    let listed = ask(&host, &["block", "list"]).unwrap();
    let [block] = listed["blocks"].as_array().unwrap().as_slice() else {
        panic!("{listed}")
    };
    assert!(block.to_string().contains(SCRAPER), "{listed}");
    assert!(dropped(&host).unwrap() > 0);
    let shown = ask(&host, &["key", "show", "partner5c1v9"]).unwrap();
    assert_ne!(shown["key"]["state"], "suspended", "{shown}");
}

/// The next answer that tells the machine to wait.
fn first_throttled(host: &Host) -> Result<Answer> {
    let source = PARTNER.parse()?;
    let tls = host.certificate.client(&["h2"]);
    host.in_world(move || async move {
        let mut client = Client::new(source, Host::server(source)?, Arc::clone(&tls));
        for _request in 0..1_000 {
            let answer = client.get("/users", &[("x-api-key", PARTNER_KEY)]).await?;
            if answer.status == 429 {
                return Ok(answer);
            }
        }
        anyhow::bail!("never throttled")
    })
}
