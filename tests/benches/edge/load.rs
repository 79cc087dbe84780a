//! Load by h2load: a fixed number of requests, none of which may fail, and what they cost the
//! proxy.

use anyhow::{Context as _, Result, ensure};
use botguard_tests::certificate::SERVER_NAME;
use botguard_tests::wait;

use crate::process::as_f64;
use crate::proxies::Proxy;
use crate::stage::{LOAD_CORE, Stage};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Path and query.
    pub(crate) target: &'static str,
    /// Version.
    pub(crate) protocol: Protocol,
    /// Headers beside those of h2load.
    pub(crate) headers: &'static [&'static str],
    /// Requests.
    pub(crate) n_requests: u32,
}

/// Version of HTTP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    /// 32 connections with one request at a time each.
    Http1,
    /// 16 connections with 8 requests at a time each.
    Http2,
}

/// What a load cost the proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// CPU time of the proxy by requests done, in µs.
    pub(crate) us: f64,
    /// Share of its core that the proxy used, in percent.
    pub(crate) busy_percent: f64,
}

/// Sends the load and waits until the proxy is at rest again.
///
/// Errors: a request failed, or had another status than 2xx, or was not recorded.
pub(crate) fn send(stage: &Stage, proxy: &Proxy, load: &Load) -> Result<Cost> {
    proxy.forget_records()?;
    let before = proxy.process.settled_cpu_s()?;
    let begun = wait::now();
    let text = h2load(stage, proxy.port, load)?;
    let wall_s = begun.elapsed().as_secs_f64();
    // Not yet at rest, but the core was this busy while there was load.
    let during = proxy.process.cpu_s()? - before;
    let done = succeeded(&text).with_context(|| text.clone())?;
    ensure!(
        done == load.n_requests,
        "{}: {done} of {} requests succeeded:\n{text}",
        proxy.kind.name(),
        load.n_requests
    );
    let cpu_s = proxy.process.settled_cpu_s()? - before;
    if proxy.kind.keeps_records() {
        let n_records = proxy.n_records()?;
        ensure!(
            n_records >= usize::try_from(done)?,
            "{n_records} records of {done} requests; what is not recorded costs less"
        );
    }
    Ok(Cost {
        us: cpu_s * 1e6 / as_f64(done.into()),
        busy_percent: during / wall_s * 100.0,
    })
}

fn h2load(stage: &Stage, port: u16, load: &Load) -> Result<String> {
    let mut command = stage.command(LOAD_CORE, "h2load");
    command.args(["-n", &load.n_requests.to_string()]);
    match load.protocol {
        Protocol::Http1 => command.args(["--h1", "-c", "32"]),
        Protocol::Http2 => command.args(["-c", "16", "-m", "8"]),
    };
    // Whom the server prefers would otherwise decide how much work the cipher is.
    command.args(["--tls13-ciphers", "TLS_AES_128_GCM_SHA256"]);
    for header in load.headers {
        command.args(["-H", header]);
    }
    command.arg(format!("--connect-to=127.0.0.1:{port}"));
    command.arg(format!("https://{SERVER_NAME}{}", load.target));
    let output = command.output().context("cannot run h2load")?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "h2load: {}", output.status);
    Ok(text)
}

/// Requests that were answered with 2xx, by what h2load says at its end; `None` if it says nothing
/// of the kind.
fn succeeded(text: &str) -> Option<u32> {
    let codes = text.lines().find_map(|l| l.strip_prefix("status codes:"))?;
    let (n_good, _rest) = codes.split_once(" 2xx")?;
    n_good.trim().parse().ok()
}
