//! An application that gives back what it is sent: `POST /upload` answers with the number of bytes,
//! a request for a WebSocket gets a tunnel that echoes, `GET /slow` a body that takes eight seconds,
//! anything else a short text. Speaks plain HTTP/1.1 and knows nothing of botguard.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::{Interval, interval};

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// Bytes of `GET /slow`.
pub const SLOW_BYTES: usize = 80 * CHUNK.len();

const CHUNK: &[u8] = &[7; 1_000];

/// A chunk at each tick.
struct Slow {
    ticks: Interval,
    n_sent: usize,
}

impl Body for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.n_sent == SLOW_BYTES {
            return Poll::Ready(None);
        }
        ready!(self.ticks.poll_tick(cx));
        self.n_sent += CHUNK.len();
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(CHUNK)))))
    }
}

fn whole(text: impl Into<Bytes>) -> Answer {
    Response::new(Full::new(text.into()).boxed())
}

/// Serves on `address` until the runtime ends.
pub async fn serve(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).await.context("echo app")?;
    loop {
        let (stream, _peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = service_fn(async |request| Ok::<_, Infallible>(answer(request).await));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A client that hangs up is no concern of the application's.
            let _ended = connection.with_upgrades().await;
        });
    }
}

async fn answer(mut request: Request<Incoming>) -> Answer {
    let asked = request.headers().get(header::UPGRADE).cloned();
    match (request.method(), request.uri().path(), asked) {
        (&Method::POST, "/upload", _) => {
            let mut n_bytes = 0;
            while let Some(Ok(frame)) = request.frame().await {
                n_bytes += frame.data_ref().map_or(0, Bytes::len);
            }
            whole(n_bytes.to_string())
        }
        (_, _, Some(protocol)) => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                if let Ok(upgraded) = upgrade.await {
                    let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
                    let _ended = tokio::io::copy(&mut from, &mut to).await;
                }
            });
            switching(protocol)
        }
        (_, "/slow", _) => Response::new(
            Slow {
                ticks: interval(Duration::from_millis(100)),
                n_sent: 0,
            }
            .boxed(),
        ),
        _ => whole("here"),
    }
}

fn switching(protocol: HeaderValue) -> Answer {
    let mut response = whole(Bytes::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
    response
}
