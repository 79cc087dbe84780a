//! An HTTPS client with a source address of its own. Speaks HTTP/1.1 or HTTP/2 by ALPN, keeps its
//! connection, and reconnects when it was closed, as real clients do.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

use crate::certificate::SERVER_NAME;

/// One client: a source address and at most one connection.
pub struct Client {
    source: IpAddr,
    server: SocketAddr,
    tls: TlsConnector,
    patience: Duration,
    connection: Option<Connection>,
}

/// A whole response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    /// A client that will connect from `source` to `server`.
    #[must_use]
    pub fn new(source: IpAddr, server: SocketAddr, tls: Arc<ClientConfig>) -> Self {
        let patience = Duration::from_secs(5);
        Self {
            source,
            server,
            tls: TlsConnector::from(tls),
            patience,
            connection: None,
        }
    }

    /// Gives up a connection attempt or an answer after `patience` instead of 5 s.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// `GET target` with the given headers.
    pub async fn get(&mut self, target: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        let mut request = Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Full::default())?).await
    }

    /// `POST target` with the given headers and body.
    pub async fn post(
        &mut self,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        let mut request = Request::post(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Full::new(body.into()))?).await
    }

    /// Sends one request, connecting first where needed, and reads the whole answer.
    ///
    /// Errors: no connection or no answer within the client's patience, or the connection broke.
    /// The next request starts a new connection.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let patience = self.patience;
        let outcome = tokio::time::timeout(patience, self.exchange(request)).await;
        match outcome {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                self.connection = None;
                Err(error)
            }
            Err(_elapsed) => {
                self.connection = None;
                bail!("no answer within {patience:?}")
            }
        }
    }

    async fn exchange(&mut self, mut request: Request<Full<Bytes>>) -> Result<Answer> {
        if self.connection.as_ref().is_none_or(Connection::is_closed) {
            self.connection = Some(self.connect().await?);
        }
        let Some(connection) = &mut self.connection else {
            bail!("no connection")
        };
        let response = match connection {
            Connection::Http1(sender) => {
                request
                    .headers_mut()
                    .entry("host")
                    .or_insert(SERVER_NAME.parse()?);
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Connection::Http2(sender) => {
                let target = format!("https://{SERVER_NAME}{}", request.uri());
                *request.uri_mut() = target.parse()?;
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    async fn connect(&self) -> Result<Connection> {
        let socket = match self.source {
            IpAddr::V4(_) => TcpSocket::new_v4()?,
            IpAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket
            .bind(SocketAddr::new(self.source, 0))
            .context("source address")?;
        let stream = socket.connect(self.server).await?;
        stream.set_nodelay(true)?;
        let stream = self
            .tls
            .connect(ServerName::try_from(SERVER_NAME)?, stream)
            .await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let io = TokioIo::new(stream);
        if is_http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            Ok(Connection::Http2(sender))
        } else {
            let (sender, connection) = http1::handshake(io).await?;
            tokio::spawn(connection);
            Ok(Connection::Http1(sender))
        }
    }
}

impl Connection {
    fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).context("the body is not JSON")
    }
}
