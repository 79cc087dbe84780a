//! Transfers of gigabytes: an application that gives and takes so many bytes, and a client that
//! does the same through a proxy.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use anyhow::{Context as _, Result, ensure};
use botguard_tests::certificate::SERVER_NAME;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// To the application.
    Up,
    /// To the client.
    Down,
}

/// Serves on `port` until the runtime ends: `GET /bulk/N` answers N bytes, `POST` how many came.
pub(crate) async fn serve(port: u16) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = service_fn(async |request| Ok::<_, Infallible>(answer(request).await));
        tokio::spawn(server::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(request: Request<Incoming>) -> Response<Either<Zeros, Full<Bytes>>> {
    let asked = request.uri().path().strip_prefix("/bulk/");
    if request.method() == http::Method::GET {
        let n_bytes = asked.and_then(|n| n.parse().ok()).unwrap_or_default();
        return Response::new(Either::Left(Zeros::new(n_bytes, Arc::default())));
    }
    let body = request.into_body();
    let n_bytes = count(body, &AtomicU64::new(0)).await.unwrap_or_default();
    Response::new(Either::Right(Full::new(Bytes::from(n_bytes.to_string()))))
}

async fn count(mut body: Incoming, carried: &AtomicU64) -> Result<u64> {
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        let n_bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        carried.fetch_add(n_bytes, Ordering::Relaxed);
    }
    Ok(carried.load(Ordering::Relaxed))
}

/// Carries `n_bytes` through the proxy on `port`; `carried` is raised as they go.
///
/// Errors: no answer, or fewer bytes than were sent arrived.
pub(crate) async fn carry(
    port: u16,
    trusting: Arc<ClientConfig>,
    way: Way,
    n_bytes: u64,
    carried: Arc<AtomicU64>,
) -> Result<()> {
    let tcp = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from(SERVER_NAME)?;
    let stream = TlsConnector::from(trusting).connect(name, tcp).await?;
    let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (method, body) = match way {
        Way::Up => ("POST", Zeros::new(n_bytes, Arc::clone(&carried))),
        Way::Down => ("GET", Zeros::new(0, Arc::default())),
    };
    let request = Request::builder()
        .method(method)
        .uri(format!("/bulk/{n_bytes}"))
        .header("host", SERVER_NAME)
        .body(body)?;
    let response = sender.send_request(request).await?;
    ensure!(response.status() == 200, "{}", response.status());
    let arrived = match way {
        Way::Down => count(response.into_body(), &carried).await?,
        Way::Up => {
            let said = response.into_body().collect().await?.to_bytes();
            std::str::from_utf8(&said)?.parse().context("no number")?
        }
    };
    ensure!(arrived == n_bytes, "{arrived} of {n_bytes} bytes arrived");
    Ok(())
}

/// So many bytes, none of which is kept.
#[derive(Debug)]
struct Zeros {
    n_bytes: u64,
    taken: Arc<AtomicU64>,
}

impl Zeros {
    /// `taken` is raised by what was taken of them.
    const fn new(n_bytes: u64, taken: Arc<AtomicU64>) -> Self {
        Self { n_bytes, taken }
    }
}

static BLOCK: [u8; 64 << 10] = [0; 64 << 10];

impl Body for Zeros {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.n_bytes.min(BLOCK.len() as u64);
        self.n_bytes -= length;
        self.taken.fetch_add(length, Ordering::Relaxed);
        let block = usize::try_from(length).ok().and_then(|n| BLOCK.get(..n));
        Poll::Ready(match block {
            None | Some([]) => None,
            Some(block) => Some(Ok(Frame::data(Bytes::from_static(block)))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.n_bytes == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.n_bytes)
    }
}
