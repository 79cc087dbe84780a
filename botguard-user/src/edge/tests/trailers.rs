//! Trailers in both directions: they end the message, and say nothing that only a head may say.

use http::HeaderMap;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::upstream_failing::{PATIENCE, read_head};
use super::upstream_replays::kept;
use super::*;

/// An application that answers with the names of the trailers that it got.
async fn naming(protocol: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let is_http1 = protocol == "http";
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let service = service_fn(async |request: Request<Incoming>| {
                    let whole = request.into_body().collect().await.unwrap();
                    let mut names: Vec<_> = (whole.trailers().into_iter())
                        .flat_map(HeaderMap::keys)
                        .map(|name| name.as_str().to_owned())
                        .collect();
                    names.sort_unstable();
                    let body = http_body_util::Full::new(Bytes::from(names.join(" ")));
                    Ok::<_, Infallible>(Response::new(body))
                });
                let io = TokioIo::new(tcp);
                // Tests close connections as they like.
                if is_http1 {
                    let server = hyper::server::conn::http1::Builder::new();
                    let _broken = server.serve_connection(io, service).await;
                } else {
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _broken = server.serve_connection(io, service).await;
                }
            });
        }
    });
    format!("{protocol}://{address}")
}

/// What is read of a client's request with `trailers`, and how its answer ends.
async fn ask(edge: &Running, trailers: &str) -> String {
    let mut tls = edge.connect(b"http/1.1").await;
    let request = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTrailer: X-Good\r\n\
         Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{trailers}\r\n"
    );
    tls.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let ended = timeout(PATIENCE, tls.read_to_end(&mut answer)).await;
    ended.expect("the request hangs").unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    body.to_owned()
}

#[tokio::test]
async fn a_request_s_trailers_say_what_trailers_may() {
    for protocol in ["http", "h2c"] {
        let edge = start_at(&[naming(protocol).await], "", "", Trust::default()).await;
        for (trailers, expected) in [
            ("", ""),
            ("X-Good: 1\r\n", "x-good"),
            ("Connection: close\r\n", ""),
            (
                "Connection: X-Other\r\nX-Other: 1\r\nX-Good: 1\r\n",
                "x-good",
            ),
            ("Upgrade: h2c\r\nTE: gzip\r\nX-Good: 1\r\n", "x-good"),
            ("Keep-Alive: 5\r\nProxy-Connection: close\r\n", ""),
            ("Host: other\r\nAuthorization: a\r\nX-Good: 1\r\n", "x-good"),
        ] {
            assert_eq!(
                ask(&edge, trailers).await,
                expected,
                "{protocol} {trailers}"
            );
        }
    }
}

#[tokio::test]
async fn a_connection_is_kept_after_trailers_of_a_request() {
    let edge = start_at(&[naming("http").await], "", "", Trust::default()).await;
    for trailers in ["", "X-Good: 1\r\n", "X-Bad: 1\r\n"] {
        ask(&edge, trailers).await;
        kept(&edge).await;
    }
}

#[tokio::test]
async fn a_response_s_trailers_end_it_and_say_what_trailers_may() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, mut connections) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            sender.send(()).unwrap();
            tokio::spawn(async move {
                while read_head(&mut tcp).await {
                    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\
                        Trailer: grpc-status, x-end\r\n\r\n5\r\nhello\r\n0\r\n\
                        Grpc-Status: 0\r\nGrpc-Status-Details-Bin: CAA\r\nX-End: 7\r\n\
                        Connection: close\r\nTransfer-Encoding: chunked\r\nUpgrade: h2c\r\n\
                        Keep-Alive: 5\r\nTE: gzip\r\nContent-Length: 9\r\nSet-Cookie: a=b\r\n\r\n";
                    tcp.write_all(answer).await.unwrap();
                }
            });
        }
    });
    let mut edge = start(address).await;
    let mut client = edge.http2().await;
    for _ in 0..2 {
        let request = get2("/").header("te", "trailers");
        let request = request.body(http_body_util::Empty::<Bytes>::new()).unwrap();
        let response = client.send_request(request).await.unwrap();
        let whole = timeout(PATIENCE, response.into_body().collect()).await;
        let whole = whole.expect("no end").expect("it broke off");
        let mut names: Vec<_> = whole.trailers().unwrap().keys().collect();
        names.sort_unstable_by_key(|name| name.as_str());
        assert_eq!(names, ["grpc-status", "grpc-status-details-bin", "x-end"]);
        assert_eq!(whole.to_bytes(), "hello");
        let (_, before) = edge.finished().await;
        assert!(!before.contains(&Event::Broken(BrokenBy::Client)));
    }
    kept(&edge).await;
    connections.recv().await.unwrap();
    assert!(
        connections.try_recv().is_err(),
        "the connection was not kept"
    );
}
