//! Reloads under load: `h2load` at work, a WebSocket and an upload open. No request fails, what is
//! open stays open, and memory stays where it was.

use std::convert::Infallible;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::{Context as _, Result, ensure};
use botguard_tests::certificate::SERVER_NAME;
use botguard_tests::config::Config;
use botguard_tests::echo_app;
use botguard_tests::host::{Host, UPSTREAM};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body, Frame};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::fixture::{USER, ask};

const N_RELOADS: usize = 200;

/// Of one run of `h2load`; there is one after the other.
const N_REQUESTS: &str = "2000";

#[test]
fn nobody_notices_two_hundred_reloads() -> Result<()> {
    // Proxies, limits and upstreams are taken up with the policy.
    let config = |turn: usize| Config {
        mode: "log",
        proxies: ["\"10.0.0.0/8\"", "\"10.0.0.0/9\""][turn % 2],
        tier_weight: [0.10, 0.20][turn % 2],
        ..Config::default()
    };
    let mut host = Host::set_up("reload", &config(0))?;
    host.lab.add_source(USER.parse()?)?;
    host.serve_with(|| echo_app::serve(UPSTREAM));
    let _daemon = host.botguard.start(&host.lab)?;

    let tls = host.certificate.client(&["http/1.1"]);
    let (asks, asked) = mpsc::channel(1);
    let (tells, mut told) = mpsc::channel(1);
    let open = host.lab.world.spawn(move || hold_open(tls, asked, tells));
    told.blocking_recv().context("nothing was opened")?;

    let pid = ask(&host, &["status"])?["daemon"]["pid"].to_string();
    let (mut load, mut n_loads) = (None, 0);
    let mut after_warming = 0;
    for number in 1..=N_RELOADS {
        if load.is_none() {
            load = Some(h2load(&host)?);
        }
        host.configure(&config(number))?;
        host.botguard.expect(&host.lab, &["reload"])?;
        if number.is_multiple_of(10) {
            asks.blocking_send(())?;
            told.blocking_recv().context("what was open has broken")?;
        }
        if number == N_RELOADS / 4 {
            after_warming = resident_kib(&pid)?;
        }
        if let Some(child) = load.as_mut()
            && child.try_wait()?.is_some()
            && let Some(child) = load.take()
        {
            all_succeeded(child)?;
            n_loads += 1;
        }
    }
    let grown = resident_kib(&pid)?.saturating_sub(after_warming);
    ensure!(grown < 8 * 1_024, "{grown} KiB more after the reloads");
    if let Some(child) = load {
        all_succeeded(child)?;
        n_loads += 1;
    }
    ensure!(n_loads > 0);
    drop(asks);
    open.join()
        .map_err(|_panic| anyhow::anyhow!("what was open has panicked"))?
}

fn h2load(host: &Host) -> Result<std::process::Child> {
    let url = format!("https://{}/pricing", Host::server(USER.parse()?)?);
    let mut command = host.lab.world.command("h2load");
    command.args(["-n", N_REQUESTS, "-c", "8", "-m", "4", &url]);
    let child = command.stdout(Stdio::piped()).spawn();
    child.context("h2load; `cargo xtask setup` installs it")
}

fn all_succeeded(child: std::process::Child) -> Result<()> {
    let summary = String::from_utf8(child.wait_with_output()?.stdout)?;
    let wanted = format!("{N_REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout");
    ensure!(summary.contains(&wanted), "{summary}");
    Ok(())
}

/// Opens a WebSocket and an upload, says so, and sends something over both whenever it is asked to.
async fn hold_open(
    tls: Arc<ClientConfig>,
    mut asked: mpsc::Receiver<()>,
    tells: mpsc::Sender<()>,
) -> Result<()> {
    let mut client = connect(&tls).await?;
    let asks = Request::get("/socket")
        .header("host", SERVER_NAME)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .body(Empty::<Bytes>::new())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(client)).await?;
    tokio::spawn(connection.with_upgrades());
    let mut response = sender.send_request(asks).await?;
    ensure!(response.status() == StatusCode::SWITCHING_PROTOCOLS);
    let mut socket = TokioIo::new(hyper::upgrade::on(&mut response).await?);

    let (feed, fed) = mpsc::channel(1);
    let upload = Request::post("/upload")
        .header("host", SERVER_NAME)
        .body(Fed(fed))?;
    client = connect(&tls).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(client)).await?;
    tokio::spawn(connection);
    let answer = tokio::spawn(async move { sender.send_request(upload).await });

    tells.send(()).await?;
    let mut n_bytes = 0;
    while asked.recv().await.is_some() {
        socket.write_all(b"ping").await?;
        let mut back = [0; 4];
        socket.read_exact(&mut back).await?;
        ensure!(&back == b"ping");
        feed.send(Bytes::from_static(&[7; 10_000])).await?;
        n_bytes += 10_000;
        tells.send(()).await?;
    }
    drop(feed);
    let body = answer.await??.into_body().collect().await?.to_bytes();
    ensure!(body == n_bytes.to_string(), "{body:?} of {n_bytes}");
    Ok(())
}

/// A body that is fed through a channel.
struct Fed(mpsc::Receiver<Bytes>);

impl Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = self.0.poll_recv(cx);
        data.map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}

async fn connect(tls: &Arc<ClientConfig>) -> Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(Host::server(USER.parse()?)?).await?;
    let connector = TlsConnector::from(Arc::clone(tls));
    Ok(connector
        .connect(ServerName::try_from(SERVER_NAME)?, tcp)
        .await?)
}

fn resident_kib(pid: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("VmRSS")?.parse()?)
}
