//! Secrets in every place of a request, and then nowhere: not in the audit log, the daemon's log at
//! its most talkative, the metrics, the state directory, nor in what the commands show.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use botguard_tests::certificate::SERVER_NAME;
use botguard_tests::config::Config;
use botguard_tests::host::{Host, UPSTREAM};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::{USER, ask, audit_of};
use crate::passage::connect;

/// Secrets that are told apart: what is found says where it was put.
#[derive(Default)]
struct Canaries(Vec<String>);

impl Canaries {
    /// The one of this place. No two begin alike, so that what is shown of a key is none of them.
    fn of(&mut self, place: &str) -> String {
        // FNV-1a, and on from there by Knuth's multiplier (MMIX).
        let mut state = place
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| {
                (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let mut canary = String::new();
        for _letter in 0..28 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let letter = b"abcdefghjkmnpqrstuvwxyz23456789"[(state >> 33) as usize % 31];
            canary.push(char::from(letter));
        }
        self.0.push(canary.clone());
        canary
    }
}

/// Every octet as `%XX`.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        // Writing to a String cannot fail.
        let _written: std::fmt::Result = write!(all, "%{byte:02X}");
        all
    })
}

/// RFC 4648 section 5, without padding; the same as section 4 for what is written here.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group
            .iter()
            .fold(0, |bits, &byte| bits << 8 | usize::from(byte));
        let bits = bits << (8 * (3 - group.len()));
        for sextet in 0..=group.len() {
            text.push(char::from(LETTERS[bits >> (18 - 6 * sextet) & 63]));
        }
    }
    text
}

/// How a canary may look: as it is, encoded, or within something in base64, at any of the three
/// places that its start can have.
fn guises(canary: &str) -> Vec<String> {
    let mut guises = vec![
        canary.to_owned(),
        encoded(canary),
        encoded(canary).to_lowercase(),
        canary.to_uppercase(),
    ];
    for before in 0..3 {
        let text = base64(&[&b"   "[..before], canary.as_bytes()].concat());
        // Without the letters that neighbours have a part in.
        guises.push(text[(before * 4).div_ceil(3)..text.len() - 1].to_owned());
    }
    guises
}

/// Requests with a secret in every place that has one, as they go over the wire.
fn requests(canaries: &mut Canaries, round: &str) -> Vec<String> {
    let mut of = |place: &str| canaries.of(&format!("{round}: {place}"));
    let key = format!("sk_pub_{}", of("API key"));
    let basic = base64(format!("someone:{}", of("Basic")).as_bytes());
    let jwt = |secret: &str, signature: &str| {
        let head = base64(br#"{"alg":"HS256","typ":"JWT"}"#);
        let claims = base64(format!(r#"{{"sub":"{secret}"}}"#).as_bytes());
        format!("{head}.{claims}.{signature}")
    };
    let token = jwt(&of("JWT claim"), &of("JWT signature"));
    let (copied_key, encoded_key) = (key.clone(), encoded(&key));
    let heads = [
        format!("x-api-key: {key}\r\nx-copy: {copied_key}"),
        format!("authorization: Bearer {}", of("Bearer")),
        format!("authorization: Bearer {token}"),
        format!("authorization: Basic {basic}"),
        format!("authorization: {}", of("no scheme")),
        format!(
            "proxy-authorization: Basic {}",
            base64(of("proxy").as_bytes())
        ),
        format!(
            "cookie: session={}; {}",
            of("session cookie"),
            of("bare cookie")
        ),
        format!("x-auth-token: {}", of("token header")),
        format!("x-csrf: a\r\nx-csrf-token: {}", of("CSRF")),
        format!(
            "referer: https://u:{}@a.test/?code={}",
            of("referer password"),
            of("referer")
        ),
    ];
    let strange = jwt(&of("JWT under an unknown name"), &of("its signature"));
    let heads = heads
        .into_iter()
        .chain([format!("x-acme-badge: {strange}")]);
    let heads: Vec<_> = heads.collect();
    let in_path = jwt(&of("JWT in the path"), &of("its signature in the path"));
    let targets = [
        "/echo".to_owned(),
        format!("/echo/{in_path}/x"),
        format!("/echo?token={}&cursor=1", of("query")),
        format!("/echo?pass%77ord={}", encoded(&of("encoded query"))),
        format!("/echo?next=%2Flogin%3Fsecret%3D{}", of("nested query")),
        format!("/echo;jsessionid={}", of("path parameter")),
        format!(
            "https://user:{}@{SERVER_NAME}/echo",
            of("user of the target")
        ),
        // These have no one meaning: 400.
        format!("/..%2f/echo?token={}", of("query of a 400")),
        format!("/a%2Fb;jsessionid={}", of("path of a 400")),
        // These botguard answers itself.
        format!("/.botguard/ui?token={}", of("query of ours")),
        "/.botguard/ui.js".to_owned(),
    ];
    let mut requests = Vec::new();
    let send = |method: &str, target: &str, head: &str, body: &str| {
        format!(
            "{method} {target} HTTP/1.1\r\nhost: {SERVER_NAME}\r\n{head}\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    };
    for target in &targets {
        for head in &heads {
            requests.push(send("GET", target, head, ""));
        }
    }
    // The key again, where nobody looks for one.
    let head = format!("x-api-key: {key}");
    for target in [format!("/echo/{key}"), format!("/echo?q={encoded_key}")] {
        requests.push(send("GET", &target, &head, ""));
    }
    let json = format!(r#"{{"user":"a","password":"{}"}}"#, of("JSON body"));
    let form = format!("user=a&password={}", encoded(&of("form body")));
    let spent = format!(r#"{{"token":"{}","kind":"key"}}"#, of("body of ours"));
    for (target, body) in [
        ("/login", &json),
        ("/login", &form),
        ("/.botguard/ui", &spent),
    ] {
        requests.push(send("POST", target, "content-type: application/json", body));
    }
    requests
}

/// Sends back what it got, in its own headers too, or in the middle of it goes away.
async fn echo() -> Result<()> {
    let listener = TcpListener::bind(UPSTREAM).await?;
    loop {
        let (mut stream, _peer) = listener.accept().await?;
        tokio::spawn(async move {
            let mut got = vec![0; 32 * 1024];
            let length = stream.read(&mut got).await?;
            let head = String::from_utf8_lossy(&got[..length]);
            let line = head.lines().next().unwrap_or_default().replace('\r', "");
            let answer = format!(
                "HTTP/1.1 200 OK\r\nset-cookie: {line}\r\nlocation: /?{line}\r\nx-token: {line}\r\n\
                 content-length: {length}\r\nconnection: close\r\n\r\n{head}"
            );
            stream.write_all(answer.as_bytes()).await
        });
    }
}

async fn send_all(
    requests: Vec<String>,
    tls: std::sync::Arc<rustls::ClientConfig>,
) -> Result<Vec<String>> {
    let mut answers = Vec::new();
    for request in requests {
        let mut stream = connect(&tls).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        // However the connection ends.
        let _broken: std::io::Result<usize> = stream.read_to_end(&mut answer).await;
        answers.push(String::from_utf8_lossy(&answer).into_owned());
    }
    Ok(answers)
}

fn statuses(answers: &[String]) -> BTreeSet<String> {
    let status = |answer: &String| answer.split(' ').nth(1).unwrap_or("none").to_owned();
    answers.iter().map(status).collect()
}

#[test]
fn secrets_are_nowhere_to_be_found() {
    let mut host = Host::set_up("canary", &Config::default()).unwrap();
    host.lab.add_source(USER.parse().unwrap()).unwrap();
    // Both places that a key is usually in.
    let text = std::fs::read_to_string(host.botguard.config()).unwrap();
    let text = text.replace(
        "api_key = [\"header:x-api-key\"]",
        "api_key = [\"header:x-api-key\", \"bearer\"]",
    );
    std::fs::write(host.botguard.config(), text).unwrap();
    let daemon = host.botguard.start_logging(&host.lab, "debug").unwrap();

    let mut canaries = Canaries::default();
    let mut n_requests = 0;
    let mut send = |host: &Host, round: &str| {
        let requests = requests(&mut canaries, round);
        n_requests += requests.len();
        let tls = host.certificate.client(&["http/1.1"]);
        host.in_world(move || send_all(requests, tls)).unwrap()
    };
    let answers = send(&host, "nobody behind it");
    assert!(
        statuses(&answers).contains("502"),
        "{:?}",
        statuses(&answers)
    );
    host.serve_with(echo);
    let answers = send(&host, "an echo behind it");
    let seen = statuses(&answers);
    for status in ["200", "400"] {
        assert!(seen.contains(status), "{seen:?}");
    }
    // They went through, and came back.
    let passed = |canary: &String| answers.iter().any(|answer| answer.contains(canary));
    assert!(canaries.0.iter().filter(|it| passed(it)).count() > 10);

    let records = audit_of(&host, n_requests).unwrap();
    let mut places = vec![
        ("log", daemon.log().into_bytes()),
        ("audit log", std::fs::read(host.audit_path()).unwrap()),
        ("metrics", metrics(&host).unwrap().into_bytes()),
        (
            "status",
            ask(&host, &["status"]).unwrap().to_string().into_bytes(),
        ),
        (
            "replay",
            shown(&host, &["replay", host.audit_path().to_str().unwrap()]).unwrap(),
        ),
    ];
    for record in records.iter().step_by(7) {
        let id = record["request_id"].as_str().unwrap();
        places.push(("explain", shown(&host, &["explain", id]).unwrap()));
        places.push((
            "explain --json",
            shown(&host, &["explain", id, "--json"]).unwrap(),
        ));
    }
    daemon.stop().unwrap();
    for file in files(&host.lab.directory().join("state")).unwrap() {
        places.push(("state_dir", file));
    }
    assert!(places.iter().any(|(place, _)| *place == "state_dir"));
    let mut found = BTreeSet::new();
    for (place, content) in &places {
        let content = String::from_utf8_lossy(content);
        for canary in &canaries.0 {
            for guise in guises(canary) {
                if let Some(at) = content.find(&guise) {
                    let before: String = content[..at].chars().rev().take(60).collect();
                    let before: String = before.chars().rev().collect();
                    found.insert(format!("{place}: …{before}{guise}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// No core of a daemon is written, whatever the host's limits say.
#[test]
fn a_core_would_hold_secrets_so_there_is_none() {
    let host = Host::set_up("core", &Config::default()).unwrap();
    let _daemon = host.botguard.start(&host.lab).unwrap();
    let status = ask(&host, &["status"]).unwrap();
    let limits = format!("/proc/{}/limits", status["daemon"]["pid"]);
    let limits = std::fs::read_to_string(limits).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core"))
        .unwrap();
    let values: Vec<_> = core
        .split_whitespace()
        .filter(|word| *word == "0")
        .collect();
    assert_eq!(values, ["0", "0"], "{core}");
}

#[test]
fn the_guises_of_a_canary() {
    for before in ["", "a", "ab", "abc", "someone:"] {
        let text = base64(format!("{before}canary7canary8xy and more").as_bytes());
        let is_found = guises("canary7canary8xy")
            .iter()
            .any(|guise| text.contains(guise));
        assert!(is_found, "{before}: {text}");
    }
    assert_eq!(encoded("a/"), "%61%2F");
}

/// What a command writes, to either of its outputs.
fn shown(host: &Host, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = host.botguard.run(&host.lab, arguments)?;
    Ok([output.stdout, output.stderr].concat())
}

/// What the admin port serves as metrics.
pub(crate) fn metrics(host: &Host) -> Result<String> {
    let page = host.lab.edge.spawn(|| async {
        let mut page = String::new();
        let mut stream = TcpStream::connect("127.0.0.1:9480").await?;
        let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await?;
        stream.read_to_string(&mut page).await?;
        Ok(page)
    });
    page.join().ok().context("metrics")?
}

fn files(directory: &Path) -> Result<Vec<Vec<u8>>> {
    let mut contents = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            contents.extend(files(&path)?);
        } else if path.is_file() {
            contents.push(std::fs::read(path)?);
        }
        // A socket holds nothing.
    }
    Ok(contents)
}
