//! Settings as a whole, names and their targets, and the end of what runs aside. What requests
//! meet is in `edge/tests`.

use std::net::SocketAddr;

use http::header::CONNECTION;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::sending::Unsent;
use super::*;

mod connections;

pub(super) fn upstreams(lines: &str) -> Result<Upstreams, UpstreamError> {
    let settings: UpstreamSettings = toml::from_str(lines).unwrap();
    Upstreams::new(&BTreeMap::from([("app".to_owned(), settings)]))
}

#[test]
fn settings_are_checked() {
    let check = |lines: &str, expected: Option<&str>| {
        let error = upstreams(lines).err().map(|error| error.to_string());
        match (&error, expected) {
            (None, None) => {}
            (Some(error), Some(part)) => {
                assert!(error.starts_with("[upstream.app]: "), "{error}");
                assert!(error.contains(part), "{error}");
            }
            _ => panic!("{lines}: {error:?}, expected {expected:?}"),
        }
    };
    let with = |line: &str| format!("endpoints = ['http://a']\n{line}");
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
    let (cert, key) = (
        directory.path().join("cert.pem"),
        directory.path().join("key.pem"),
    );
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (cert, key) = (cert.display(), key.display());
    let tls = |more: &str| {
        format!("endpoints = ['https://a', 'https://10.0.0.1']\ntls = {{ ca = '{cert}'{more} }}")
    };

    check("endpoints = ['http://127.0.0.1:3000']", None);
    check(
        "endpoints = ['http://[::1]:3000/', 'unix:/run/app', 'h2c://app']",
        None,
    );
    check(&tls(""), None);
    check(&tls(", server_name = 'app.internal'"), None);
    check(
        &tls(&format!(", client_cert = '{cert}', client_key = '{key}'")),
        None,
    );
    check(
        &with(
            "health = { path = '/h?a', interval = '5s', timeout = '1s', healthy_after = 1, \
               unhealthy_after = 1 }",
        ),
        None,
    );
    check(&with("max_connections = 1\nqueue_timeout = '0s'"), None);
    check(
        &with("keep_alive = { connections = 0 }\neject = { failures = 1 }"),
        None,
    );

    check("endpoints = []", Some("endpoints is empty"));
    check(
        "endpoints = ['ftp://a']",
        Some("\"ftp://a\" is not understood"),
    );
    check("endpoints = ['unix:app.sock']", Some("is absolute"));
    check(
        "endpoints = ['http://a', 'http://a']",
        Some("stands there twice"),
    );
    check(&tls(", server_name = 'a b'"), Some("set tls.server_name"));
    check(
        &tls(&format!(", client_cert = '{cert}'")),
        Some("belong together"),
    );
    check(
        &format!("endpoints = ['https://a']\ntls = {{ ca = '{key}' }}"),
        Some("has no certificate"),
    );
    check(
        "endpoints = ['https://a']\ntls = { ca = '/nonexistent/ca' }",
        Some("cannot read /nonexistent/ca"),
    );
    check(
        &with("connect_timeout = '0s'"),
        Some("connect_timeout must be above 0"),
    );
    check(
        &with("idle_timeout = '0s'"),
        Some("idle_timeout must be above 0"),
    );
    check(
        &with("max_connections = 0"),
        Some("max_connections must be above 0"),
    );
    check(&with("resolve = '0s'"), Some("resolve must be above 0"));
    check(
        &with("eject = { failures = 0 }"),
        Some("eject.failures must"),
    );
    check(
        &with("eject = { time = '2m' }"),
        Some("eject.max is below eject.time"),
    );
    let health = |keys: &str| with(&format!("health = {{ {keys} }}"));
    check(
        &health("path = 'h', interval = '1s'"),
        Some("begins with a slash"),
    );
    check(
        &health("path = '/a b', interval = '1s'"),
        Some("is not a path"),
    );
    check(
        &health("path = '/', interval = '0s'"),
        Some("health.interval must"),
    );
    check(
        &health("path = '/', interval = '1s', unhealthy_after = 0"),
        Some("health.unhealthy_after must"),
    );
    check(&with("observe = true"), Some("set secret_file"));
    check(
        &with("secret_file = '/nonexistent/secret'"),
        Some("cannot be read"),
    );
}

#[test]
fn a_target_stays_while_its_name_has_its_address() {
    let upstreams = upstreams("endpoints = ['http://a', 'http://127.0.0.1:1', 'http://b:2']");
    let app = upstreams.unwrap().named("app").unwrap();
    let addresses = || {
        let targets = app.core.targets();
        targets
            .iter()
            .map(|target| target.address().to_string())
            .collect::<Vec<_>>()
    };
    let found = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let mut known: BTreeMap<usize, Vec<SocketAddr>> = BTreeMap::new();
    assert_eq!(addresses(), ["127.0.0.1:1"]);

    known.insert(0, found(&["192.0.2.1:80", "192.0.2.2:80"]));
    app.core.set_addresses(&known);
    assert_eq!(addresses(), ["192.0.2.1:80", "192.0.2.2:80", "127.0.0.1:1"]);
    let before = app.core.targets();

    known.insert(0, found(&["192.0.2.2:80", "192.0.2.3:80"]));
    known.insert(2, found(&["127.0.0.1:1"]));
    app.core.set_addresses(&known);
    assert_eq!(
        addresses(),
        ["192.0.2.2:80", "192.0.2.3:80", "127.0.0.1:1", "127.0.0.1:1"]
    );
    let after = app.core.targets();
    assert!(Arc::ptr_eq(&before[1], &after[0]));
    assert!(Arc::ptr_eq(&before[2], &after[2]));
    // Another endpoint's address is another target.
    assert!(!Arc::ptr_eq(&after[2], &after[3]));
}

#[tokio::test]
async fn names_are_looked_up_and_tasks_end_with_their_upstream() {
    let upstreams = upstreams(
        "endpoints = ['http://localhost:1', 'http://127.0.0.1:2']\n\
         health = { path = '/', interval = '1h' }",
    )
    .unwrap();
    let app = upstreams.named("app").unwrap();
    app.start();
    app.core.resolved().await;
    let status = app.status();
    assert!(status.len() >= 2, "{status:?}");
    assert_eq!(status[0].endpoint, "http://localhost:1");

    let core = Arc::downgrade(&app.core);
    drop((upstreams, app));
    // Tasks end at their next turn; there is nothing else that this thread could run.
    let ended = timeout(std::time::Duration::from_secs(10), async {
        while core.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
    });
    ended.await.expect("they go on");
}

/// The head of a request, as it stands on the wire.
async fn read_head(stream: &mut tokio::net::TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn a_protocol_is_switched_over_http1_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let head = read_head(&mut tcp).await.to_ascii_lowercase();
        assert!(head.starts_with("get /socket http/1.1\r\n"), "{head}");
        assert!(head.contains("\r\nconnection: upgrade\r\n"), "{head}");
        assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
        let answer = b"HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello";
        tcp.write_all(answer).await.unwrap();
        let mut word = [0; 4];
        tcp.read_exact(&mut word).await.unwrap();
        tcp.write_all(&word).await.unwrap();
    });
    let send = async |endpoint: String| {
        let app = upstreams(&format!("endpoints = ['{endpoint}']\nmax_connections = 1"));
        let app = app.unwrap().named("app").unwrap();
        let request = Request::get("http://app/socket")
            .header(CONNECTION, "upgrade")
            .header(UPGRADE, "websocket")
            .body(RequestBody::Empty)
            .unwrap();
        let mut sending = Sending {
            need: Need::Upgrade,
            times: app.times,
            flow: Flow::default(),
            replay: Replay::Never,
        };
        let place = app.core.targets()[0].try_enter(Need::Any).unwrap();
        (app, sending.send(place, request).await)
    };
    let (app, outcome) = send(format!("http://{address}")).await;
    let Outcome::Answered(mut response) = outcome else {
        panic!("no answer");
    };
    assert_eq!(response.status(), 101);
    let upgraded = hyper::upgrade::on(&mut response).await.unwrap();
    let mut tunnel = hyper_util::rt::TokioIo::new(upgraded);
    let mut word = [0; 5];
    tunnel.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"hello");
    tunnel.write_all(b"echo").await.unwrap();
    tunnel.read_exact(&mut word[..4]).await.unwrap();
    assert_eq!(&word[..4], b"echo");
    // Whoever keeps the body keeps the place.
    assert!(app.core.targets()[0].try_enter(Need::Any).is_none());
    drop(response);
    assert!(app.core.targets()[0].try_enter(Need::Any).is_some());
    assert_eq!(app.core.targets()[0].n_idle(), 0);

    let (_app, outcome) = send(format!("h2c://{address}")).await;
    let Outcome::NotSent(Unsent {
        why: UpstreamFailure::NoUpgrade,
        ..
    }) = outcome
    else {
        panic!("sent");
    };
}
