//! Endpoints of every kind: Unix sockets, HTTP/2 without TLS, TLS that is verified.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderMap;
use http_body_util::{BodyExt as _, Empty};
use hyper::server::conn::{http1 as server1, http2 as server2};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::upstream_failing::PATIENCE;
use super::*;
use crate::edge::upstream::EndpointState;

/// Answers with the frames that it is sent, and says what it saw of the head.
async fn echo(request: Request<Incoming>) -> Result<Response<Incoming>, Infallible> {
    let host = (request.headers().get("host"))
        .map_or("none", |host| host.to_str().unwrap())
        .to_owned();
    let seen = format!("{:?} {} host {host}", request.version(), request.uri());
    let response = Response::builder().header("x-seen", seen);
    Ok(response.body(request.into_body()).unwrap())
}

async fn serve1(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let connection = server1::Builder::new().serve_connection(TokioIo::new(io), service_fn(echo));
    // Tests close connections as they like.
    let _broken = connection.await;
}

async fn serve2(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let connection = server2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(io), service_fn(echo));
    let _broken = connection.await;
}

/// What the application saw of `/a?b`, and the status.
async fn seen(edge: &Running) -> (u16, String) {
    let mut client = edge.http1().await;
    let request = get("/a?b").body(Empty::<Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    let seen = (response.headers().get("x-seen")).map(|seen| seen.to_str().unwrap().to_owned());
    (response.status().as_u16(), seen.unwrap_or_default())
}

#[tokio::test]
async fn a_unix_socket_is_an_endpoint() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            tokio::spawn(serve1(io));
        }
    });
    let edge = start_at(
        &[format!("unix:{}", path.display())],
        "",
        "",
        Trust::default(),
    )
    .await;
    for _ in 0..2 {
        let expected = "HTTP/1.1 /a?b host localhost".to_owned();
        assert_eq!(seen(&edge).await, (200, expected));
    }
    std::fs::remove_file(&path).unwrap();
    let gone = start_at(
        &[format!("unix:{}", path.display())],
        "",
        "",
        Trust::default(),
    )
    .await;
    assert_eq!(seen(&gone).await.0, 502);
}

async fn h2c() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        // One connection: whoever shares it passes, whoever needs another waits for ever.
        let (io, _) = listener.accept().await.unwrap();
        serve2(io).await;
    });
    format!("h2c://{address}")
}

#[tokio::test]
async fn http2_without_tls_carries_calls_both_ways_with_trailers() {
    let edge = start_at(&[h2c().await], "", "", Trust::default()).await;
    let mut client = edge.http2().await;
    let mut calls = Vec::new();
    // All of them at once, on the upstream's one connection.
    for _ in 0..10 {
        let (feed, body) = fed();
        let request = Request::post("https://localhost/package.Service/Call");
        let request = request.header("te", "trailers").body(body).unwrap();
        let response = client.send_request(request).await.unwrap();
        // The head came while the request had not even begun.
        let seen = "HTTP/2.0 http://localhost/package.Service/Call host none";
        assert_eq!(response.headers()["x-seen"], seen);
        calls.push((feed, response.into_body()));
    }
    for (feed, response) in &mut calls {
        for text in ["one", "two"] {
            feed.send(data(text)).await.unwrap();
            let frame = response.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), text);
        }
    }
    for (mut feed, response) in calls {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        feed.send(Frame::trailers(trailers)).await.unwrap();
        drop(feed);
        let collected = response.collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
    }
}

#[tokio::test]
async fn no_connection_has_more_requests_than_the_application_takes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let n_connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&n_connections);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            let mut server = server2::Builder::new(TokioExecutor::new());
            server.max_concurrent_streams(2);
            tokio::spawn(server.serve_connection(TokioIo::new(tcp), service_fn(echo)));
        }
    });
    let edge = start_at(&[format!("h2c://{address}")], "", "", Trust::default()).await;
    let client = edge.http2().await;
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let (feed, body) = fed();
            let request = Request::post("https://localhost/").body(body).unwrap();
            let mut client = client.clone();
            tokio::spawn(async move {
                let response = client.send_request(request).await.unwrap();
                assert_eq!(response.status(), 200);
                (feed, response)
            })
        })
        .collect();
    // None of them ends, so none waits for another.
    let mut open = Vec::new();
    for call in calls {
        let call = timeout(PATIENCE, call).await.expect("it waits");
        open.push(call.unwrap());
    }
    assert_eq!(n_connections.load(Ordering::Relaxed), 3);
    drop(open);
}

#[tokio::test]
async fn who_accepts_and_speaks_no_http2_cannot_be_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((tcp, _)) = listener.accept().await {
            held.push(tcp);
        }
    });
    let lines = "connect_timeout = '30ms'\neject = { failures = 1 }";
    let edge = start_at(&[format!("h2c://{address}")], lines, "", Trust::default()).await;
    assert_eq!(seen(&edge).await.0, 504);
    let state = edge.services.upstreams()[0].2[0].state;
    assert_eq!(state, EndpointState::Ejected);
}

/// An authority, and what it issued for one name.
struct Issued {
    authority: String,
    server: ServerConfig,
}

fn issue(name: &str) -> Issued {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    Issued { authority, server }
}

async fn https(mut config: ServerConfig, alpn: &[&[u8]]) -> SocketAddr {
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Clients that do not trust it hang up.
                let Ok(tls) = acceptor.accept(tcp).await else {
                    return;
                };
                if tls.get_ref().1.alpn_protocol() == Some(b"h2") {
                    serve2(tls).await;
                } else {
                    serve1(tls).await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn https_is_verified_and_speaks_what_alpn_says() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (own, foreign) = (issue("localhost"), issue("localhost"));
    let ca = write("ca.pem", &own.authority);
    let other_ca = write("other.pem", &foreign.authority);
    let tls = |ca: &Path, more: &str| format!("tls = {{ ca = '{}'{more} }}", ca.display());
    let check = async |host: &str, alpn: &[&[u8]], lines: &str, expected: (u16, &str)| {
        let port = https(own.server.clone(), alpn).await.port();
        let edge = start_at(
            &[format!("https://{host}:{port}")],
            lines,
            "",
            Trust::default(),
        )
        .await;
        let (status, seen) = seen(&edge).await;
        assert_eq!((status, &*seen), expected, "{host} {lines}");
    };
    let http2 = "HTTP/2.0 https://localhost/a?b host none";
    let http1 = "HTTP/1.1 /a?b host localhost";
    check(
        "localhost",
        &[b"h2", b"http/1.1"],
        &tls(&ca, ""),
        (200, http2),
    )
    .await;
    check("localhost", &[b"http/1.1"], &tls(&ca, ""), (200, http1)).await;
    check("localhost", &[], &tls(&ca, ""), (200, http1)).await;
    // Another name than the certificate's, and how to say which it is.
    check("127.0.0.1", &[], &tls(&ca, ""), (502, "")).await;
    let named = tls(&ca, ", server_name = 'localhost'");
    check("127.0.0.1", &[], &named, (200, http1)).await;
    // An authority that is not trusted: another one's, and none of the system's.
    check("localhost", &[], &tls(&other_ca, ""), (502, "")).await;
}

/// Else whoever asks for a WebSocket could have it ejected.
#[tokio::test]
async fn who_speaks_http2_alone_is_not_down_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    let own = issue("localhost");
    std::fs::write(&ca, &own.authority).unwrap();
    let port = https(own.server, &[b"h2"]).await.port();
    let lines = format!(
        "tls = {{ ca = '{}' }}\neject = {{ failures = 1 }}",
        ca.display()
    );
    let endpoint = format!("https://localhost:{port}");
    let edge = start_at(&[endpoint], &lines, "", Trust::default()).await;
    let mut client = edge.http1().await;
    let request = get("/socket")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 502);
    // `localhost` may have an address at which nobody listens.
    let endpoints = &edge.services.upstreams()[0].2;
    let own = endpoints.iter().find(|one| one.address.starts_with("127."));
    assert_eq!(own.unwrap().state, EndpointState::Up);
    assert_eq!(seen(&edge).await.0, 200);
}

#[tokio::test]
async fn requests_are_signed_where_there_is_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, format!("k1:{}\n", "01".repeat(32))).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&path, mode).unwrap();
    let (sender, mut heads) = mpsc::unbounded_channel();
    let at = upstream(move |request: Request<Incoming>| {
        sender.send(request.headers().clone()).unwrap();
        async { Response::new(Empty::<Bytes>::new()) }
    })
    .await;
    let mut check = async |lines: &str, expected: Option<&str>| {
        let edge = start_with(&[at], lines, "").await;
        let mut client = edge.http1().await;
        let request = get("/").header("botguard-client", "192.0.2.1");
        let request = request.header("botguard-signature", "v1;kid=k1;t=0;s=");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        client.send_request(request).await.unwrap();
        let head = heads.recv().await.unwrap();
        let text = |name: &str| head.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(text("botguard-client"), expected);
        let signature = text("botguard-signature");
        let begin = signature.map(|signature| signature.split(";t=").next().unwrap());
        assert_eq!(begin, expected.map(|_| "v1;kid=k1"));
        assert_ne!(signature, Some("v1;kid=k1;t=0;s="));
    };
    check("", None).await;
    check(
        &format!("secret_file = '{}'", path.display()),
        Some("127.0.0.1"),
    )
    .await;
}
