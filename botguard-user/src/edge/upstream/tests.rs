//! Settings as a whole, names and their targets, and the end of what runs aside. What requests
//! meet is in `edge/tests`.

use std::net::SocketAddr;

use http::header::CONNECTION;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::sending::Unsent;
use super::target::{Age, Occupancy};
use super::*;
use crate::words::clock::Monotonic;

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

#[tokio::test]
async fn connections_that_are_idle_for_too_long_are_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, mut closed) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut sent = vec![0; 3];
                if tcp.read_exact(&mut sent).await.is_ok() && sent == b"PRI" {
                    // Empty SETTINGS, without which nobody speaks HTTP/2.
                    tcp.write_all(b"\0\0\0\x04\0\0\0\0\0").await.unwrap();
                }
                tcp.read_to_end(&mut sent).await.unwrap();
                sender.send(()).unwrap();
            });
        }
    });
    for scheme in ["http", "h2c"] {
        let app = upstreams(&format!("endpoints = ['{scheme}://{address}']"));
        let app = app.unwrap().named("app").unwrap();
        let target = Arc::clone(&app.core.targets()[0]);
        let now = Monotonic::read();
        let (channel, age) = target.channel(Need::Any, Age::Used).await.unwrap();
        assert_eq!(age, Age::New);
        let place = target.try_enter(Need::Any).unwrap();
        Occupancy { place, channel }.release();
        let later = |seconds| now.after(std::time::Duration::from_secs(seconds));
        // The connection's own task, on this thread too, says that it is ready.
        tokio::task::yield_now().await;
        target.sweep(later(1));
        target.sweep(later(3));
        let (channel, age) = target.channel(Need::Any, Age::Used).await.unwrap();
        assert_eq!(age, Age::Used);
        // In use, however long: it does not count as idle.
        target.sweep(later(100));
        let place = target.try_enter(Need::Any).unwrap();
        Occupancy { place, channel }.release();
        assert!(closed.try_recv().is_err());
        let now = Monotonic::read();
        let later = |seconds| now.after(std::time::Duration::from_secs(seconds));
        // Idle since it was given back, whenever that was seen.
        target.sweep(later(3));
        assert!(closed.try_recv().is_err());
        target.sweep(later(5));
        let end = timeout(std::time::Duration::from_secs(10), closed.recv()).await;
        end.expect("still open").unwrap();
    }
}

/// An application that keeps what it accepts, and tells when one of them ends.
async fn ending() -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, ended) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut sent = Vec::new();
                tcp.read_to_end(&mut sent).await.unwrap();
                // A test that has ended does not listen any more.
                let _unheard: Result<(), _> = sender.send(());
            });
        }
    });
    (address, ended)
}

#[tokio::test]
async fn nothing_is_kept_where_a_name_is_not_any_more() {
    let (address, mut ended) = ending().await;
    let app = upstreams("endpoints = ['http://a']").unwrap();
    let app = app.named("app").unwrap();
    app.core.found(0, vec![address]);
    let target = Arc::clone(&app.core.targets()[0]);
    let occupied = async || {
        let place = target.try_enter(Need::Any).unwrap();
        let (channel, _) = target.channel(Need::Any, Age::New).await.unwrap();
        Occupancy { place, channel }
    };
    let (idle, busy) = (occupied().await, occupied().await);
    idle.release();
    assert_eq!(target.n_idle(), 1);
    // The same again, and it stays.
    app.core.found(0, vec![address]);
    assert_eq!(target.n_idle(), 1);

    app.core.found(0, vec!["192.0.2.1:80".parse().unwrap()]);
    assert_eq!(target.n_idle(), 0);
    let patience = std::time::Duration::from_secs(10);
    timeout(patience, ended.recv()).await.expect("still open");
    assert!(ended.try_recv().is_err());
    busy.release();
    timeout(patience, ended.recv()).await.expect("still open");
}

/// Accepts, and goes no further; the connections, as they come.
async fn silent() -> (
    SocketAddr,
    tokio::sync::mpsc::UnboundedReceiver<tokio::net::TcpStream>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, held) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            // A test that has ended does not listen any more.
            let _unheard: Result<(), _> = sender.send(tcp);
        }
    });
    (address, held)
}

async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn upgrades_count_but_not_for_what_they_alone_need() {
    let check = async |endpoint: String, need: Need, is_counted: bool| {
        let lines = "eject = { failures = 1 }\nconnect_timeout = '30ms'";
        let app = upstreams(&format!("endpoints = ['{endpoint}']\n{lines}"));
        let app = app.unwrap().named("app").unwrap();
        let target = Arc::clone(&app.core.targets()[0]);
        assert!(target.channel(need, Age::Used).await.is_err());
        let state = app.status()[0].state;
        assert_eq!(
            state == EndpointState::Ejected,
            is_counted,
            "{endpoint} {need:?}"
        );
    };
    let away = nobody().await;
    let (silent, _held) = silent().await;
    for need in [Need::Any, Need::Upgrade] {
        check(format!("http://{away}"), need, true).await;
        check(format!("https://{away}"), need, true).await;
        check(format!("https://{silent}"), need, true).await;
    }
    check(format!("h2c://{silent}"), Need::Any, true).await;
    check(format!("h2c://{silent}"), Need::Upgrade, false).await;
    check(format!("h2c://{away}"), Need::Upgrade, false).await;
}

#[tokio::test]
async fn one_slow_handshake_is_one_failure_whoever_waits_for_it() {
    let (silent, _held) = silent().await;
    let lines = "eject = { failures = 4 }\nconnect_timeout = '50ms'";
    let app = upstreams(&format!("endpoints = ['h2c://{silent}']\n{lines}"));
    let app = app.unwrap().named("app").unwrap();
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let target = Arc::clone(&app.core.targets()[0]);
        requests.spawn(async move { target.channel(Need::Any, Age::Used).await.is_err() });
    }
    assert_eq!(requests.join_all().await, [true; 10]);
    // Theirs, and at most that of one who had its turn before it gave up.
    assert_eq!(app.status()[0].state, EndpointState::Up);
}
