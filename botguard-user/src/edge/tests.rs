//! The edge over loopback: a real client, a real upstream, TLS in between, and a gate that writes
//! down what it is asked and told. Nothing here sleeps; tests wait for what they expect.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use self::bodies::{Endless, Sendable, data, fed};
use super::Edge;
use super::connections::Connections;
use super::gate::{
    Admission, BrokenBy, Closing, FailedUpstream, Gate, RefusedRequest, RequestHead, Ticket,
};
use super::listener::{Drain, Listeners, Services, prepare};
use super::reserved::ReservedRoutes;
use super::trust::Trust;
use super::upstream::Upstreams;
use crate::engine::decision::{BanProposal, Denial, ThrottleCause};
use crate::engine::facts::{AnsweredBy, ResponseFacts};
use crate::words::address::{ClientAddress, host_network};
use crate::words::identity::UserHash;

mod banning;
mod bodies;
mod breaking;
mod denying;
mod draining;
mod early_answers;
mod forwarding;
mod hostile_http2;
mod limits;
mod logins;
mod passing;
mod printing;
mod proxied;
mod reloading;
mod smuggling;
mod trailers;
mod upstream_answers;
mod upstream_failing;
mod upstream_failures;
mod upstream_kinds;
mod upstream_replays;
mod websocket;

/// What the gate was asked and told, in order.
#[derive(Debug, PartialEq)]
enum Event {
    Admitted { path: String, authority: String },
    Broken(BrokenBy),
    Failed(Option<String>, &'static str),
    Finished(ResponseFacts),
    Refused(u16),
    Settled { ban: BanProposal, open: usize },
}

/// Denies and bans by path, and reports everything.
struct Recorder {
    connections: Arc<Connections>,
    events: mpsc::UnboundedSender<Event>,
}

/// `/blocked`, `/throttled` and `/banned` are denied; `/banned` earns its source a ban.
impl Gate for Recorder {
    fn admit(&self, request: &RequestHead<'_>) -> Admission {
        self.note(Event::Admitted {
            path: request.path.to_owned(),
            authority: request.authority.to_owned(),
        });
        let retry_after = Duration::from_millis(1_500);
        Admission {
            ticket: Ticket(Box::new((request.path.to_owned(), request.client))),
            denial: match request.path {
                "/blocked" | "/banned" => Some(Denial::Block),
                "/throttled" => Some(Denial::Throttle {
                    retry_after,
                    cause: ThrottleCause::Score,
                }),
                _ => None,
            },
            login: logins::rule(request.path),
            limit: limits::limit(request.path),
            upstream_headers: printing::and_prints(
                request,
                vec![(
                    HeaderName::from_static("botguard-request-id"),
                    HeaderValue::from_static("id-1"),
                )],
            ),
            request_id: Arc::from("id-1"),
        }
    }

    fn broken_off(&self, _ticket: &mut Ticket, by: BrokenBy) {
        self.note(Event::Broken(by));
    }

    fn upstream_failed(&self, _ticket: &mut Ticket, failed: &FailedUpstream<'_>) {
        assert_eq!(failed.upstream, "app");
        let endpoint = failed.endpoint.map(ToString::to_string);
        self.note(Event::Failed(endpoint, failed.kind));
    }

    fn finish(&self, ticket: Ticket, response: &ResponseFacts) -> Closing {
        let ticket = ticket.0.downcast::<(String, ClientAddress)>();
        let (path, client) = *ticket.unwrap();
        self.note(Event::Finished(*response));
        if path == "/banned" {
            Closing::Ban(BanProposal {
                target: client.own_peer().unwrap(),
                network: host_network(client.ip()),
                ttl: Duration::from_secs(60),
                reason: "it asked for it".to_owned(),
            })
        } else {
            Closing::Keep
        }
    }

    fn user(&self, name: &str) -> Option<UserHash> {
        Some(logins::hash(name))
    }

    fn doubled_secret(&self, parts: &http::request::Parts) -> Option<String> {
        let mut keys = parts.headers.get_all("x-api-key").iter();
        keys.nth(1).map(|_| "header:x-api-key".to_owned())
    }

    fn refused(&self, request: &RefusedRequest<'_>) -> Option<Arc<str>> {
        self.note(Event::Refused(request.status));
        None
    }

    fn settle(&self, ban: BanProposal) {
        let open = self.connections.count();
        self.note(Event::Settled { ban, open });
    }
}

impl Recorder {
    fn note(&self, event: Event) {
        // A test that has ended does not listen any more.
        let _unheard: Result<(), _> = self.events.send(event);
    }
}

/// Answers `/.botguard/…` with the body it was sent.
struct Echo;

impl ReservedRoutes for Echo {
    fn owns(&self, path: &str) -> bool {
        path.starts_with("/.botguard")
    }

    fn answer(&self, _request: &RequestHead<'_>, _id: &str, body: Bytes) -> Response<Bytes> {
        Response::new(body)
    }
}

/// A running edge before one upstream.
struct Running {
    address: SocketAddr,
    events: mpsc::UnboundedReceiver<Event>,
    connections: Arc<Connections>,
    services: Services,
    /// Holds `cert.pem` and `key.pem`.
    directory: tempfile::TempDir,
    shutdown: CancellationToken,
    cut_short: CancellationToken,
    served: JoinHandle<()>,
    client: Arc<ClientConfig>,
}

/// Starts an edge before `endpoints`, with more `[upstream]` and `[[listener]]` lines.
async fn start_with(endpoints: &[SocketAddr], upstream: &str, listener: &str) -> Running {
    let endpoints: Vec<_> = endpoints.iter().map(|at| format!("http://{at}")).collect();
    start_at(&endpoints, upstream, listener, Trust::default()).await
}

/// The same, with proxies that are trusted.
async fn start_behind(
    endpoints: &[SocketAddr],
    upstream: &str,
    listener: &str,
    trust: Trust,
) -> Running {
    let endpoints: Vec<_> = endpoints.iter().map(|at| format!("http://{at}")).collect();
    start_at(&endpoints, upstream, listener, trust).await
}

/// The same, before endpoints of any kind.
async fn start_at(endpoints: &[String], upstream: &str, listener: &str, trust: Trust) -> Running {
    let (sender, events) = mpsc::unbounded_channel();
    let connections = Arc::new(Connections::default());
    let gate = Arc::new(Recorder {
        connections: Arc::clone(&connections),
        events: sender,
    });
    let started = start_judged(endpoints, upstream, listener, (trust, connections, gate));
    Running {
        events,
        ..started.await
    }
}

/// The same, with another gate, which has to note its events elsewhere.
async fn start_judged(
    endpoints: &[String],
    upstream: &str,
    listener: &str,
    (trust, connections, gate): (Trust, Arc<Connections>, Arc<dyn Gate>),
) -> Running {
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(directory.path().join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(
        directory.path().join("key.pem"),
        made.signing_key.serialize_pem(),
    )
    .unwrap();

    let upstream = toml::from_str(&format!("endpoints = {endpoints:?}\n{upstream}")).unwrap();
    let upstreams = Upstreams::new(&BTreeMap::from([("app".to_owned(), upstream)])).unwrap();
    let listener = toml::from_str(&format!(
        "bind = '127.0.0.1:0'\nupstream = 'app'\n\
         certificate = [{{ cert = 'cert.pem', key = 'key.pem' }}]\n{listener}"
    ));
    let prepared = prepare(&[listener.unwrap()], &upstreams, directory.path()).unwrap();
    let listeners = Listeners::bind(prepared).unwrap();
    let address = listeners.addresses()[0];

    let services = listeners.services();
    let (_nobody, events) = mpsc::unbounded_channel();
    let edge = Edge {
        gate,
        reserved: Arc::new(Echo),
        trust: Arc::new(ArcSwap::from_pointee(trust)),
        connections: Arc::clone(&connections),
    };
    let shutdown = CancellationToken::new();
    let cut_short = CancellationToken::new();
    let drain = Drain {
        longest: Duration::from_secs(10),
        cut_short: cut_short.clone(),
    };
    let served = tokio::spawn(listeners.serve(edge, shutdown.clone(), drain));
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Running {
        address,
        events,
        connections,
        services,
        directory,
        shutdown,
        cut_short,
        served,
        client: Arc::new(client),
    }
}

async fn start(endpoint: SocketAddr) -> Running {
    start_with(&[endpoint], "", "").await
}

impl Running {
    /// A TLS connection that offers `alpn`.
    async fn connect(&self, alpn: &[u8]) -> TlsStream<TcpStream> {
        let mut config = (*self.client).clone();
        config.alpn_protocols = vec![alpn.to_vec()];
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, tcp).await.unwrap()
    }

    async fn http1<B: Sendable>(&self) -> http1::SendRequest<B> {
        let io = TokioIo::new(self.connect(b"http/1.1").await);
        let (sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn http2<B: Sendable>(&self) -> http2::SendRequest<B> {
        let io = TokioIo::new(self.connect(b"h2").await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn event(&mut self) -> Event {
        self.events.recv().await.unwrap()
    }

    /// The next `Finished`, and what went before it since the last one.
    async fn finished(&mut self) -> (ResponseFacts, Vec<Event>) {
        let mut before = Vec::new();
        loop {
            match self.event().await {
                Event::Finished(facts) => return (facts, before),
                other => before.push(other),
            }
        }
    }

    /// Ends the drain, and with it all connections.
    async fn cut_short(&mut self) {
        self.shutdown.cancel();
        self.cut_short.cancel();
        (&mut self.served).await.unwrap();
        assert_eq!(self.connections.count(), 0);
    }

    /// Stops the edge and returns all that the gate was told and not yet looked at.
    async fn stop(mut self) -> Vec<Event> {
        self.shutdown.cancel();
        self.served.await.unwrap();
        assert_eq!(self.connections.count(), 0);
        let mut rest = Vec::new();
        while let Some(event) = self.events.recv().await {
            rest.push(event);
        }
        rest
    }
}

/// An upstream that answers with `handler`.
async fn upstream<F, B>(
    handler: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
) -> SocketAddr
where
    F: Future<Output = Response<B>> + Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let handler = handler.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let response = handler(request);
                    async { Ok::<_, Infallible>(response.await) }
                });
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(tcp), service)
                    .await
            });
        }
    });
    address
}

fn get(path: &str) -> http::request::Builder {
    Request::get(path).header("host", "localhost")
}

/// For HTTP/2, whose requests have an absolute target.
fn get2(path: &str) -> http::request::Builder {
    Request::get(format!("https://localhost{path}"))
}

fn answered(facts: &ResponseFacts) -> (AnsweredBy, u16) {
    (facts.answered_by, facts.status)
}
