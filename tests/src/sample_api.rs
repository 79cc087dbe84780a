//! A small SaaS API to put behind the edge: `GET /users?cursor=…` in pages, `GET /pricing`,
//! `POST /login`, `GET /healthz`. Speaks plain HTTP/1.1, wants an API key on `/users`, and knows
//! nothing of botguard.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Records in one page of `/users`.
pub const PAGE_SIZE: usize = 5;

/// The application: its keys and what it has given away.
#[derive(Debug)]
pub struct SampleApi {
    keys: Vec<String>,
    records: AtomicU64,
}

impl SampleApi {
    /// An application that accepts `keys` in `X-Api-Key`.
    #[must_use]
    pub fn new(keys: &[&str]) -> Arc<Self> {
        let keys = keys.iter().map(|&key| key.to_owned()).collect();
        Arc::new(Self {
            keys,
            records: AtomicU64::new(0),
        })
    }

    /// User records handed out so far.
    #[must_use]
    pub fn records_read(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Serves on `address` until the runtime ends.
    pub async fn serve(self: Arc<Self>, address: SocketAddr) -> Result<()> {
        let listener = TcpListener::bind(address).await.context("sample API")?;
        loop {
            let (stream, _peer) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let api = Arc::clone(&self);
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let api = Arc::clone(&api);
                    async move { Ok::<_, Infallible>(api.answer(request).await) }
                });
                // A client that hangs up is no concern of the application's.
                let _ended = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let key = request
            .headers()
            .get("x-api-key")
            .and_then(|value| value.to_str().ok());
        let accepted = key.is_some_and(|key| self.keys.iter().any(|known| known == key));
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/healthz") => reply(StatusCode::OK, &json!({"ok": true})),
            (&Method::GET, "/pricing") => reply(
                StatusCode::OK,
                &json!({"plans": ["free", "pro", "enterprise"]}),
            ),
            (&Method::GET, "/users") if !accepted => reply(
                StatusCode::UNAUTHORIZED,
                &json!({"error": "unknown API key"}),
            ),
            (&Method::GET, "/users") => {
                let query = request.uri().query().unwrap_or_default();
                match page_start(query) {
                    Some(start) => reply(StatusCode::OK, &self.page(start)),
                    None => reply(StatusCode::BAD_REQUEST, &json!({"error": "bad cursor"})),
                }
            }
            (&Method::POST, "/login") => match request.into_body().collect().await {
                Ok(body) => login(&body.to_bytes()),
                Err(_broken) => reply(StatusCode::BAD_REQUEST, &json!({"error": "no body"})),
            },
            _ => reply(StatusCode::NOT_FOUND, &json!({"error": "no such resource"})),
        }
    }

    fn page(&self, start: usize) -> Value {
        let users: Vec<Value> = (start..start + PAGE_SIZE)
            .map(|id| json!({"id": id, "email": format!("user{id}@example.com")}))
            .collect();
        self.records.fetch_add(PAGE_SIZE as u64, Ordering::Relaxed);
        json!({"users": users, "next": format!("c{}", start + PAGE_SIZE)})
    }
}

fn page_start(query: &str) -> Option<usize> {
    match query
        .split('&')
        .find_map(|pair| pair.strip_prefix("cursor="))
    {
        None | Some("") => Some(0),
        Some(cursor) => cursor.strip_prefix('c')?.parse().ok(),
    }
}

fn login(body: &[u8]) -> Response<Full<Bytes>> {
    let credentials: Value = serde_json::from_slice(body).unwrap_or_default();
    if credentials["password"] == "correct horse battery staple" {
        reply(StatusCode::OK, &json!({"token": "session"}))
    } else {
        reply(
            StatusCode::UNAUTHORIZED,
            &json!({"error": "wrong password"}),
        )
    }
}

fn reply(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors() {
        let check = |query, expected| assert_eq!(page_start(query), expected, "{query}");
        check("", Some(0));
        check("cursor=", Some(0));
        check("limit=5&cursor=c10", Some(10));
        check("cursor=10", None);
        check("cursor=cx", None);
    }
}
