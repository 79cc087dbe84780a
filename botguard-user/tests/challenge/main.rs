//! The challenge before a real browser: headless Chromium, TLS, an edge whose gate asks for a
//! clearance, and an application that must be asked in the end. Beside it the mirror: what is no
//! browser gets no page, and what solves faster than one gets nothing.
//!
//! Chromium comes with `cargo xtask setup`; without it the test fails and says so.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod browser;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use botguard::challenge::{After, Challenge, ChallengeRequest, ChallengeSettings, Holder};
use botguard::edge::Edge;
use botguard::edge::connections::Connections;
use botguard::edge::gate::{Admission, Asks, Closing, Gate, RequestHead, Ticket};
use botguard::edge::identity::KeyHasher;
use botguard::edge::listener::{Drain, Listeners, prepare};
use botguard::edge::reserved::ReservedRoutes;
use botguard::edge::trust::Trust;
use botguard::edge::upstream::Upstreams;
use botguard::engine::decision::{BanProposal, Denial};
use botguard::engine::facts::{Clearance, ResponseFacts};
use botguard::words::clock::{Monotonic, Now, Wall};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use self::browser::Browser;

/// How long a browser may take to start and to solve. Only a broken page needs all of it.
const PATIENCE: Duration = Duration::from_secs(90);

const PATH: &str = "/.botguard/challenge";

/// Asks for a clearance, and answers under the reserved prefix.
struct Guard {
    challenge: Challenge,
    hasher: KeyHasher,
    /// How many solutions came.
    posts: AtomicUsize,
    haste: Haste,
    /// When the last page was made.
    shown: Mutex<Monotonic>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Haste {
    /// Solutions are judged when they come.
    AsItCame,
    /// The first is judged as if it had come with no time in between.
    FirstAtOnce,
}

impl Guard {
    fn holder(&self, request: &RequestHead<'_>) -> Holder {
        let ja4 = request.prints.ja4_of(&request.client);
        Holder::new(None, self.hasher.fingerprint(&request.parts.headers, ja4))
    }
}

impl Gate for Guard {
    fn admit(&self, request: &RequestHead<'_>) -> Admission {
        let holder = self.holder(request);
        let headers = &request.parts.headers;
        let clearance = self.challenge.clearance(Wall::read(), headers, &holder);
        let passes = request.asks == Asks::Botguard || clearance == Clearance::Valid;
        Admission {
            ticket: Ticket(Box::new(())),
            denial: (!passes).then_some(Denial::Challenge),
            login: None,
            limit: None,
            upstream_headers: Vec::new(),
            request_id: Arc::from("id-1"),
        }
    }

    fn finish(&self, _ticket: Ticket, _response: &ResponseFacts) -> Closing {
        Closing::Keep
    }

    fn settle(&self, _ban: BanProposal) {}
}

/// Under the reserved prefix.
struct Reserved(Arc<Guard>);

impl ReservedRoutes for Reserved {
    fn owns(&self, path: &str) -> bool {
        path.starts_with("/.botguard/")
    }

    fn answer(&self, request: &RequestHead<'_>, request_id: &str, body: Bytes) -> Response<Bytes> {
        let mut now = Now::read();
        if request.parts.method == Method::POST {
            let earlier = self.0.posts.fetch_add(1, Ordering::SeqCst);
            if earlier == 0 && self.0.haste == Haste::FirstAtOnce {
                now.monotonic = *self.0.shown.lock();
            }
        }
        let request = ChallengeRequest {
            method: &request.parts.method,
            body: &body,
            holder: self.0.holder(request),
            request_id,
        };
        self.0.challenge.answer(now, &request)
    }

    fn challenge_page(
        &self,
        request: &RequestHead<'_>,
        request_id: &str,
    ) -> Option<Response<Bytes>> {
        let holder = self.0.holder(request);
        let now = Monotonic::read();
        *self.0.shown.lock() = now;
        (self.0.challenge).page(now, &holder, After::Reload, request_id)
    }

    fn challenge_path(&self) -> Option<String> {
        Some(PATH.to_owned())
    }

    fn own_cookie(&self) -> Option<String> {
        Some(self.0.challenge.cookie().as_str().to_owned())
    }
}

/// A guarded application.
struct Site {
    address: SocketAddr,
    guard: Arc<Guard>,
    /// What the application was asked: path and cookies.
    asked: mpsc::UnboundedReceiver<(String, Option<String>)>,
    client: Arc<ClientConfig>,
    shutdown: CancellationToken,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn site(haste: Haste) -> Site {
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(directory.path().join("cert.pem"), made.cert.pem()).unwrap();
    let key = made.signing_key.serialize_pem();
    std::fs::write(directory.path().join("key.pem"), key).unwrap();

    let (app, asked) = application().await;
    let upstream = toml::from_str(&format!("endpoints = ['http://{app}']")).unwrap();
    let upstreams = Upstreams::new(&BTreeMap::from([("app".to_owned(), upstream)])).unwrap();
    let listener = toml::from_str(
        "bind = '127.0.0.1:0'\nupstream = 'app'\n\
         certificate = [{ cert = 'cert.pem', key = 'key.pem' }]",
    );
    let prepared = prepare(&[listener.unwrap()], &upstreams, directory.path()).unwrap();
    let listeners = Listeners::bind(prepared).unwrap();
    let address = listeners.addresses()[0];
    let guard = Arc::new(Guard {
        challenge: Challenge::new(
            ChallengeSettings::default(),
            PATH.to_owned(),
            &[1; 32],
            &[2; 32],
        ),
        hasher: KeyHasher::new(&[3; 32]),
        posts: AtomicUsize::new(0),
        haste,
        shown: Mutex::default(),
    });
    let edge = Edge {
        gate: Arc::clone(&guard) as _,
        reserved: Arc::new(Reserved(Arc::clone(&guard))),
        trust: Arc::new(ArcSwap::from_pointee(Trust::default())),
        connections: Arc::new(Connections::default()),
    };
    let shutdown = CancellationToken::new();
    let drain = Drain {
        longest: Duration::from_secs(1),
        cut_short: CancellationToken::new(),
    };
    tokio::spawn(listeners.serve(edge, shutdown.clone(), drain));

    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Site {
        address,
        guard,
        asked,
        client: Arc::new(client),
        shutdown,
    }
}

/// Tells what it is asked.
async fn application() -> (
    SocketAddr,
    mpsc::UnboundedReceiver<(String, Option<String>)>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let sender = sender.clone();
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let cookies = request.headers().get(header::COOKIE);
                let cookies = cookies.map(|value| value.to_str().unwrap().to_owned());
                let path = request.uri().to_string();
                // A test that has ended does not listen any more.
                let _unheard: Result<(), _> = sender.send((path, cookies));
                async {
                    let page = "<!doctype html><title>app</title><p>app</p>";
                    let mut response =
                        Response::new(Full::new(Bytes::from_static(page.as_bytes())));
                    let html = header::HeaderValue::from_static("text/html");
                    response.headers_mut().insert(header::CONTENT_TYPE, html);
                    Ok::<_, Infallible>(response)
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(tcp), service),
            );
        }
    });
    (address, asked)
}

impl Site {
    async fn send(&self, request: Request<Full<Bytes>>) -> (http::response::Parts, Bytes) {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::clone(&self.client));
        let tls = connector.connect(name, tcp).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await.unwrap();
        tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        (head, body.collect().await.unwrap().to_bytes())
    }
}

async fn check_browser(haste: Haste, posts: usize) {
    let mut site = site(haste).await;
    let port = site.address.port();
    let _browser = Browser::open(&format!("https://localhost:{port}/users?page=1#part"));
    let asked = tokio::time::timeout(PATIENCE, site.asked.recv()).await;
    let (path, cookies) = asked.expect("the browser did not get through").unwrap();
    // It comes back to where it was, and the application is not shown the clearance.
    assert_eq!((path.as_str(), cookies), ("/users?page=1", None));
    assert_eq!(site.guard.posts.load(Ordering::SeqCst), posts);
}

#[tokio::test]
async fn a_browser_solves_the_challenge_and_gets_what_it_asked_for() {
    check_browser(Haste::AsItCame, 1).await;
}

#[tokio::test]
async fn a_browser_that_is_refused_once_tries_again() {
    check_browser(Haste::FirstAtOnce, 2).await;
}

#[tokio::test]
async fn a_browser_that_keeps_no_cookies_says_so_in_words() {
    let site = site(Haste::AsItCame).await;
    let url = format!("https://localhost:{}/users", site.address.port());
    let document = move || Browser::document(&url, "--blink-settings=cookieEnabled=false");
    let document = tokio::task::spawn_blocking(document).await.unwrap();
    for part in [
        "<p id=\"status\" role=\"status\">This check needs cookies. Allow them for this site and try \
         again.</p>",
        "<button id=\"retry\" type=\"button\">",
        "<code>id-1</code>",
    ] {
        assert!(document.contains(part), "{document}");
    }
    assert_eq!(site.guard.posts.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_program_is_told_and_not_shown() {
    let mut site = site(Haste::AsItCame).await;
    let request = Request::get("/users").header("host", "localhost");
    let request = request.header("accept", "*/*").body(Full::default());
    let (head, body) = site.send(request.unwrap()).await;
    assert_eq!(head.status, StatusCode::FORBIDDEN);
    assert_eq!(head.headers["content-type"], "application/problem+json");
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["type"], "urn:botguard:problem:challenge-required");
    assert_eq!(problem["challenge_url"], format!("https://localhost{PATH}"));
    assert!(site.asked.try_recv().is_err());
}

/// It claims to be a browser, reads the page, and has the solution long before one would.
#[tokio::test]
async fn a_solver_that_is_faster_than_a_browser_is_refused() {
    let mut site = site(Haste::FirstAtOnce).await;
    let request = Request::get("/users").header("host", "localhost");
    let request = request.header("accept", "text/html").body(Full::default());
    let (head, body) = site.send(request.unwrap()).await;
    assert_eq!(head.status, StatusCode::FORBIDDEN);
    let page = std::str::from_utf8(&body).unwrap();
    let token = page.split("data-token=\"").nth(1).unwrap();
    let token = token.split('"').next().unwrap();
    let body = format!(
        "{{\"challenge\":\"{token}\",\"solution\":{}}}",
        solve(token)
    );
    let request = Request::post(PATH).header("host", "localhost");
    let (head, body) = site.send(request.body(body.into()).unwrap()).await;
    assert_eq!(head.status, StatusCode::FORBIDDEN);
    assert!(!head.headers.contains_key(header::SET_COOKIE));
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["type"], "urn:botguard:problem:solution-too-early");
    assert!(site.asked.try_recv().is_err());
}

fn solve(token: &str) -> u64 {
    let zero_bits = |solution: &u64| {
        let text = format!("{token}.{solution}");
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        hash.as_ref()[..2] == [0, 0]
    };
    (0..).find(zero_bits).unwrap()
}
