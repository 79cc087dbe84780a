//! An application that gives back what it is sent: `POST /upload` answers with the number of bytes,
//! a request for a WebSocket gets a tunnel that echoes, anything else a short text. Speaks plain
//! HTTP/1.1 and knows nothing of botguard.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

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

async fn answer(mut request: Request<Incoming>) -> Response<Full<Bytes>> {
    let asked = request.headers().get(header::UPGRADE).cloned();
    match (request.method(), request.uri().path(), asked) {
        (&Method::POST, "/upload", _) => {
            let mut n_bytes = 0;
            while let Some(Ok(frame)) = request.frame().await {
                n_bytes += frame.data_ref().map_or(0, Bytes::len);
            }
            Response::new(Full::new(Bytes::from(n_bytes.to_string())))
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
        _ => Response::new(Full::new(Bytes::from_static(b"here"))),
    }
}

fn switching(protocol: HeaderValue) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
    response
}
