//! A site as browsers and programs use it: a page whose script fetches, opens a WebSocket and
//! listens to events; ranges; uploads; an answer without a length. Speaks HTTP/1.1 and knows
//! nothing of botguard.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};

/// What `/range` has.
pub(crate) const RANGE_BYTES: usize = 100_000;

type Answer = Response<Either<Full<Bytes>, Endless>>;

/// Serves on `address` until the runtime ends.
pub(crate) async fn serve(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).await.context("application")?;
    loop {
        let (stream, _peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service =
                service_fn(|request| async move { Ok::<_, Infallible>(answer(request).await) });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A client that hangs up is no concern of the application's.
            let _ended = connection.with_upgrades().await;
        });
    }
}

async fn answer(mut request: Request<Incoming>) -> Answer {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    match (&method, path.as_str()) {
        (&Method::GET, "/page") => whole("text/html", PAGE),
        (&Method::GET, "/page.css") => whole("text/css", "body { color: rgb(1, 2, 3) }"),
        (&Method::GET, "/page.js") => whole("text/javascript", "document.title = 'scripted'"),
        (&Method::GET, "/page.svg") => whole("image/svg+xml", PICTURE),
        (&Method::POST, "/json") => match request.collect().await {
            Ok(sent) => whole("application/json", sent.to_bytes()),
            Err(_broken) => whole("application/json", "null"),
        },
        (&Method::GET, "/json") => whole("application/json", r#"{"fetched": true}"#),
        (&Method::GET, "/events") => {
            let mut response = Response::new(Either::Right(Endless::events()));
            set(&mut response, header::CONTENT_TYPE, "text/event-stream");
            response
        }
        (&Method::GET | &Method::HEAD, "/range") => range(request.headers()),
        (&Method::GET, "/large") => whole("application/octet-stream", vec![b'x'; 20_000_000]),
        (&Method::POST, "/upload") => {
            let mut n_bytes = 0;
            while let Some(Ok(frame)) = request.frame().await {
                n_bytes += frame.data_ref().map_or(0, Bytes::len);
            }
            whole("text/plain", n_bytes.to_string())
        }
        (&Method::GET, "/socket") => socket(&mut request),
        (&Method::POST, "/next") => {
            NEXT.notify_one();
            whole("text/plain", "")
        }
        _ => {
            let mut response = whole("text/plain", "no such page");
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

/// Somebody wants the next event.
static NEXT: Notify = Notify::const_new();

const PAGE: &str = r#"<!doctype html><title>page</title><link rel="stylesheet" href="/page.css">
<script src="/page.js"></script><link rel="icon" href="data:,"><body><img src="/page.svg">"#;

const PICTURE: &str = r#"<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>"#;

fn whole(content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Either::Left(Full::new(body.into())));
    set(&mut response, header::CONTENT_TYPE, content_type);
    response
}

fn set(response: &mut Answer, name: header::HeaderName, value: &str) {
    response.headers_mut().insert(name, value.parse().unwrap());
}

/// What byte `at` of `/range` is.
pub(crate) fn byte_of(at: usize) -> u8 {
    u8::try_from(at % 251).unwrap()
}

/// All of it, or one range of the form `bytes=FROM-TO`.
fn range(headers: &HeaderMap) -> Answer {
    let body: Vec<u8> = (0..RANGE_BYTES).map(byte_of).collect();
    let asked = (headers.get(header::RANGE)).and_then(|value| {
        let (from, to) = value
            .to_str()
            .ok()?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()?))
    });
    match asked {
        None => whole("application/octet-stream", body),
        Some((from, to)) => {
            let part = body[from..=to].to_vec();
            let mut response = whole("application/octet-stream", part);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let named = format!("bytes {from}-{to}/{RANGE_BYTES}");
            set(&mut response, header::CONTENT_RANGE, &named);
            response
        }
    }
}

/// RFC 6455 §4.2.2.
fn socket(request: &mut Request<Incoming>) -> Answer {
    let key = request.headers()["sec-websocket-key"].to_str().unwrap();
    let proof = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let proof = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, proof.as_bytes()));
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            // A browser that leaves ends it.
            let _ended: Result<()> = echo(upgraded).await;
        }
    });
    let mut response = whole("text/plain", "");
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    set(&mut response, header::CONNECTION, "upgrade");
    set(&mut response, header::UPGRADE, "websocket");
    response.headers_mut().remove(header::CONTENT_TYPE);
    set(&mut response, header::SEC_WEBSOCKET_ACCEPT, &proof);
    response
}

/// Gives back one short masked text frame, and waits until the client leaves.
async fn echo(upgraded: Upgraded) -> Result<()> {
    let mut stream = TokioIo::new(upgraded);
    let mut head = [0; 6];
    stream.read_exact(&mut head).await?;
    let [_opcode, length, mask @ ..] = head;
    let mut text = vec![0; usize::from(length & 0x7f)];
    stream.read_exact(&mut text).await?;
    let text = (text.iter().zip(mask.iter().cycle())).map(|(byte, mask)| byte ^ mask);
    let mut frame = vec![0x81, length & 0x7f];
    frame.extend(text);
    stream.write_all(&frame).await?;
    stream.read_to_end(&mut Vec::new()).await?;
    Ok(())
}

/// An answer that begins and does not end.
pub(crate) struct Endless(mpsc::UnboundedReceiver<Bytes>);

impl Endless {
    /// An event, and another whenever it is asked for.
    fn events() -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut number = 1;
            while (sender.send(format!("data: event {number}\n\n").into())).is_ok() {
                number += 1;
                NEXT.notified().await;
            }
        });
        Self(events)
    }
}

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let event = self.0.poll_recv(context);
        event.map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
