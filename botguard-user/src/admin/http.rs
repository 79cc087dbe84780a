//! The admin HTTP port: `/metrics` and `/healthz` for everybody on this host, and `/v1/operate` for
//! who has the token. A request whose `Host` is not loopback is refused, so that a page in somebody's
//! browser cannot read it by rebinding its name to 127.0.0.1.

mod operate;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::telemetry::metrics;

pub use self::operate::Door;

/// What the pages say.
pub trait Pages: Send + Sync + 'static {
    /// Prometheus text.
    fn metrics(&self) -> String;

    /// What does not work as configured; empty is well.
    fn degraded(&self) -> Vec<String>;
}

/// The port could not be bound. The configuration's fault.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for metrics: {source}; `[admin] http` names it, `ss -ltnp` shows who has it"
)]
pub struct HttpError {
    address: SocketAddr,
    source: io::Error,
}

/// Binds the port.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, HttpError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| HttpError { address, source })
}

/// Serves until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    pages: Arc<dyn Pages>,
    door: Door,
    shutdown: CancellationToken,
) {
    let door = Arc::new(door);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            // Both are cancellation-safe: a connection not taken here stays in the backlog.
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, _peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: at once it would only fail again.
                tracing::warn!(%error, "admin port");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Whoever comes to a full house is turned away: scrapers come again.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let pages = Arc::clone(&pages);
        let door = Arc::clone(&door);
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let (pages, door) = (Arc::clone(&pages), Arc::clone(&door));
                async move { Ok::<_, Infallible>(answer(request, &*pages, &door).await) }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT);
            tokio::select! {
                () = shutdown.cancelled() => {}
                // What a client does wrong here is its own business.
                _result = http.serve_connection(TokioIo::new(stream), service) => {}
            }
            drop(place);
        });
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const MAX_CONNECTIONS: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

async fn answer(request: Request<Incoming>, pages: &dyn Pages, door: &Door) -> Response<String> {
    if !request.uri().path().starts_with(operate::PREFIX) {
        let path = request.uri().path();
        respond(request.method(), path, request.headers(), pages)
    } else if has_loopback_host(request.headers()) {
        operate::respond(request, door).await
    } else {
        metrics::admin_refused("host");
        operate::problem(StatusCode::FORBIDDEN, WRONG_HOST)
    }
}

const WRONG_HOST: &str = "the Host header must be a loopback address or localhost";

fn has_loopback_host(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST);
    host.and_then(|host| host.to_str().ok())
        .is_some_and(is_loopback)
}

fn respond(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    pages: &dyn Pages,
) -> Response<String> {
    if !has_loopback_host(headers) {
        return page(StatusCode::FORBIDDEN, format!("{WRONG_HOST}\n"));
    }
    let text = match path {
        "/metrics" => pages.metrics(),
        "/healthz" => match pages.degraded() {
            reasons if reasons.is_empty() => "ok\n".to_owned(),
            reasons => format!("degraded: {}\n", reasons.join("; ")),
        },
        _ => {
            return page(
                StatusCode::NOT_FOUND,
                "/metrics and /healthz are here\n".to_owned(),
            );
        }
    };
    if method == Method::GET || method == Method::HEAD {
        page(StatusCode::OK, text)
    } else {
        let mut response = page(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
        let allowed = header::HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, allowed);
        response
    }
}

fn page(status: StatusCode, text: String) -> Response<String> {
    let mut response = Response::new(text);
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

/// `localhost`, `127.0.0.0/8` or `[::1]`, with or without a port.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sample(Vec<String>);

    impl Pages for Sample {
        fn metrics(&self) -> String {
            "botguard_principals 1\n".to_owned()
        }

        fn degraded(&self) -> Vec<String> {
            self.0.clone()
        }
    }

    fn ask(method: Method, host: Option<&str>, path: &str, degraded: &[&str]) -> (u16, String) {
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(header::HOST, host.parse().unwrap());
        }
        let pages = Sample(degraded.iter().map(|&reason| reason.to_owned()).collect());
        let response = respond(&method, path, &headers, &pages);
        (response.status().as_u16(), response.into_body())
    }

    #[test]
    fn two_pages_and_no_more() {
        let check = |method: Method, path: &str, status: u16, text: &str| {
            let (actual, body) = ask(method, Some("localhost:9480"), path, &[]);
            assert_eq!(actual, status, "{path}");
            assert!(body.contains(text), "{body}");
        };
        check(Method::GET, "/metrics", 200, "botguard_principals 1");
        check(Method::HEAD, "/metrics", 200, "");
        check(Method::GET, "/healthz", 200, "ok");
        check(Method::POST, "/healthz", 405, "only GET");
        check(Method::GET, "/", 404, "");
        check(Method::GET, "/metrics/../status", 404, "");
    }

    #[test]
    fn health_names_what_is_degraded() {
        let (status, body) = ask(
            Method::GET,
            Some("[::1]:1"),
            "/healthz",
            &["kernel", "store"],
        );
        assert_eq!((status, body.as_str()), (200, "degraded: kernel; store\n"));
    }

    #[test]
    fn only_loopback_hosts_are_served() {
        let check = |host: Option<&str>, expected: u16| {
            assert_eq!(
                ask(Method::GET, host, "/metrics", &[]).0,
                expected,
                "{host:?}"
            );
        };
        check(Some("127.0.0.1:9480"), 200);
        check(Some("127.9.9.9"), 200);
        check(Some("LOCALHOST"), 200);
        check(Some("[::1]:9480"), 200);
        check(Some("[::1]"), 200);
        check(Some("evil.example:9480"), 403);
        check(Some("127.0.0.1.evil.example"), 403);
        check(Some("192.0.2.1"), 403);
        check(Some(""), 403);
        check(None, 403);
    }
}
