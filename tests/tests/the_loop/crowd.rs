//! Many people at one address, and one key at many addresses: only who misbehaves is stopped. What
//! was recorded of it is decided the same way again.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use botguard_tests::client::Client;
use botguard_tests::config::Config;
use botguard_tests::daemon::Botguard;
use botguard_tests::host::Host;
use serde_json::{Value, json};

use crate::fixture::{
    Answers, PUBLIC_KEY, SCRAPER, ask, audit_of, dropped, exit_of, host_with_keys, running,
};

/// Somebody with a key at an address.
#[derive(Clone)]
struct Member {
    source: IpAddr,
    key: String,
    agent: &'static str,
}

/// How it went for the crowd and for the bad one among them.
struct Outcome {
    crowd: Answers,
    bad: Answers,
}

#[test]
fn one_bad_key_among_three_hundred_users_of_one_address_is_stopped_alone() {
    const N_USERS: usize = 300;
    let source = SCRAPER.parse().unwrap();
    let crowd: Vec<_> = (0..N_USERS)
        .map(|user| Member {
            source,
            key: format!("sk_pub_user{user:03}9x2kd92mvbq07trw4ynlczq8jq"),
            agent: AGENTS[user % AGENTS.len()],
        })
        .collect();
    let mut keys: Vec<_> = crowd.iter().map(|user| user.key.as_str()).collect();
    keys.push(PUBLIC_KEY);
    let host = host_with_keys("crowd", &config(), &keys).unwrap();
    let _daemon = host.botguard.start(&host.lab).unwrap();
    let Outcome { crowd, bad } = play(&host, crowd, member(SCRAPER, AGENTS[0]).unwrap()).unwrap();

    let n_crowd = u32::try_from(N_USERS).unwrap() * N_VISITS;
    assert_eq!(crowd, all_good(n_crowd));
    assert_eq!((bad.blocked, bad.unanswered), (ENOUGH, 0), "{bad:?}");
    let n_bad = bad.ok + bad.throttled + bad.blocked;
    let records = audit_of(&host, usize::try_from(n_crowd + n_bad).unwrap()).unwrap();
    let of_bad = records
        .iter()
        .filter(|it| it["identity"]["key_id"] == BAD_ID);
    let stopped: Vec<_> = of_bad
        .skip_while(|it| it["http"]["status"] != 403)
        .collect();
    assert!(stopped.iter().all(|it| it["http"]["status"] == 403));
    let reason = &stopped[stopped.len() - 1]["decision"]["reason"];
    let reason = reason.as_str().unwrap();
    assert!(reason.contains("refused from this address"), "{reason}");

    assert_eq!(exit_of(&host, &["would-block", SCRAPER]).unwrap().0, 2);
    assert_eq!(ask(&host, &["block", "list"]).unwrap()["blocks"], json!([]));
    assert_eq!(dropped(&host).unwrap(), 0);
    assert_eq!(state_of(&host, "user0079x2kd").unwrap(), "ok");
    // Nobody good uses this one.
    assert_eq!(state_of(&host, BAD_ID).unwrap(), "throttled");
    replayed(&host).unwrap();
}

#[test]
fn one_scraper_with_the_key_of_forty_good_addresses_is_stopped_alone() {
    const N_ADDRESSES: u32 = 40;
    let (host, _daemon) = running("public", &config()).unwrap();
    let crowd: Vec<_> = (1..=N_ADDRESSES)
        .map(|n| member(&format!("73.15.40.{n}"), AGENTS[n as usize % AGENTS.len()]))
        .collect::<Result<_>>()
        .unwrap();
    for visitor in &crowd {
        host.lab.add_source(visitor.source).unwrap();
    }
    let Outcome { crowd, bad } = play(&host, crowd, member(SCRAPER, AGENTS[0]).unwrap()).unwrap();

    assert_eq!(crowd, all_good(N_ADDRESSES * N_VISITS));
    assert!(bad.blocked >= 19 && bad.unanswered == 2, "{bad:?}");
    assert_eq!(exit_of(&host, &["would-block", SCRAPER]).unwrap().0, 0);
    let listed = ask(&host, &["block", "list"]).unwrap();
    assert_eq!(listed["blocks"].as_array().unwrap().len(), 1, "{listed}");
    assert!(dropped(&host).unwrap() > 0);
    assert_eq!(state_of(&host, BAD_ID).unwrap(), "watch");
}

/// A key's reputation is ruined by a minute of misbehaviour, not by hours of it.
fn config() -> Config {
    Config {
        more: "[reputation]\nwatch = 0.02\nthrottle = 0.05\n",
        ..Config::default()
    }
}

/// The crowd comes and goes and comes again, while the bad one pages until it is stopped.
fn play(host: &Host, crowd: Vec<Member>, bad: Member) -> Result<Outcome> {
    let tls = host.certificate.client(&["http/1.1"]);
    let client = move |member: &Member| -> Result<Client> {
        let server = Host::server(member.source)?;
        Ok(Client::new(member.source, server, Arc::clone(&tls)))
    };
    host.in_world(move || async move {
        // Each of its connections that is dropped takes so long.
        let its_client = client(&bad)?.with_patience(Duration::from_secs(3));
        let bad = tokio::spawn(page_until_stopped(bad, its_client));
        let mut answers = visits(&crowd, &client, N_VISITS - 1).await?;
        let bad = bad.await?;
        answers.add(visits(&crowd, &client, 1).await?);
        Ok(Outcome {
            crowd: answers,
            bad,
        })
    })
}

/// Everybody asks so often, one after the other and some at a time.
async fn visits(
    crowd: &[Member],
    client: &impl Fn(&Member) -> Result<Client>,
    n_requests: u32,
) -> Result<Answers> {
    const AT_A_TIME: usize = 8;
    let mut tasks = Vec::new();
    for place in 0..AT_A_TIME {
        let share = crowd.iter().skip(place).step_by(AT_A_TIME);
        let share: Vec<_> = share
            .map(|member| Ok((client(member)?, member.clone())))
            .collect::<Result<_>>()?;
        tasks.push(tokio::spawn(async move {
            let mut answers = Answers::default();
            for (mut client, Member { key, agent, .. }) in share {
                let headers = [
                    ("x-api-key", key.as_str()),
                    ("user-agent", agent),
                    ("sec-fetch-mode", "cors"),
                ];
                for _visit in 0..n_requests {
                    let answer = client.get("/users", &headers).await;
                    answers.count(answer.map(|answer| answer.status.as_u16()));
                    // A crowd that is dropped need not wait for it a thousand times.
                    if answers.unanswered > 0 {
                        return answers;
                    }
                }
            }
            answers
        }));
    }
    let mut sum = Answers::default();
    for task in tasks {
        sum.add(task.await?);
    }
    Ok(sum)
}

/// Pages until it was refused often enough, or gets no answers any more.
async fn page_until_stopped(bad: Member, mut client: Client) -> Answers {
    const LIMIT: u32 = 5_000;
    let headers = [("x-api-key", bad.key.as_str()), ("user-agent", bad.agent)];
    let mut answers = Answers::default();
    for page in 0..LIMIT {
        let target = format!("/users?cursor=c{}", page * 5);
        let answer = client.get(&target, &headers).await;
        answers.count(answer.map(|answer| answer.status.as_u16()));
        // One may be the connection that a ban broke; two are a drop in the kernel.
        if answers.blocked >= ENOUGH || answers.unanswered >= 2 {
            break;
        }
    }
    answers
}

/// The same configuration decides the same; a higher threshold does not.
fn replayed(host: &Host) -> Result<()> {
    let config = std::fs::read_to_string(host.botguard.config())?;
    let replay = |config: &str| -> Result<(Option<i32>, Value)> {
        let file = host.lab.directory().join("other.toml");
        std::fs::write(&file, config)?;
        let audit = host.audit_path();
        let audit = audit.to_str().unwrap_or_default();
        let botguard = Botguard::new(Botguard::built_binary()?, file);
        let output = botguard.run(&host.lab, &["replay", audit, "--json"])?;
        Ok((
            output.status.code(),
            serde_json::from_slice(&output.stdout)?,
        ))
    };
    let (exit, report) = replay(&config)?;
    assert_eq!(exit, Some(0), "{report}");
    assert_eq!(report["flips"], json!([]), "{report}");
    assert_eq!(report["scores"]["n"], 0, "{report}");
    assert_eq!(report["not_replayable"], json!({}), "{report}");
    let (exit, report) = replay(&config.replace("block = 0.9", "block = 1.0"))?;
    assert_eq!(exit, Some(2), "{report}");
    assert_eq!(report["flips"][0]["from"]["action"], "block", "{report}");
    assert_eq!(report["scores"]["n"], 0, "{report}");
    Ok(())
}

/// One with the public key.
fn member(source: &str, agent: &'static str) -> Result<Member> {
    Ok(Member {
        source: source.parse()?,
        key: PUBLIC_KEY.to_owned(),
        agent,
    })
}

fn all_good(n_requests: u32) -> Answers {
    Answers {
        ok: n_requests,
        ..Answers::default()
    }
}

fn state_of(host: &Host, id: &str) -> Result<String> {
    let shown = ask(host, &["key", "show", id])?;
    Ok(shown["key"]["state"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

/// How often each of the crowd asks.
const N_VISITS: u32 = 4;

/// Refusals after which the bad one gives up: more than earn a ban.
const ENOUGH: u32 = 60;

/// The public key's id.
const BAD_ID: &str = "xyz123kd92mv";

/// What people browse with.
const AGENTS: [&str; 6] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.1 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 Mobile",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/131.0.0.0 Mobile Safari/537.36",
];
