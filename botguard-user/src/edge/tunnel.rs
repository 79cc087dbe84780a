//! WebSockets (RFC 6455): bytes both ways once client and application have left HTTP/1.1 behind.
//!
//! Only `websocket` is passed on. `h2c` above all is not: it would be a second connection to the
//! application, past every decision. Over HTTP/2 no upgrade exists, and extended CONNECT (RFC 8441)
//! is not offered, so browsers open an HTTP/1.1 connection for it. What is inside is not read.

use std::io;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, Response, Version, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::body::RequestBytes;
use super::farewell::{self, Left};
use super::finish::Finisher;
use super::headers;
use super::tap::{Ear, Tapped, Wants};
use super::upstream::ResponseBody;

/// Whether a request asks for a WebSocket (RFC 6455 section 4.1).
pub(super) fn is_asked<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && has_no_length(request.headers())
        && !request.headers().contains_key(header::TRANSFER_ENCODING)
        && switches(request.headers())
}

/// A length of nothing is no body, as it is to what frames requests here.
fn has_no_length(fields: &HeaderMap) -> bool {
    let mut lengths = fields.get_all(header::CONTENT_LENGTH).iter();
    lengths.all(|length| !length.is_empty() && length.as_bytes().iter().all(|digit| *digit == b'0'))
}

/// Whether the application agrees.
pub(super) fn is_granted<B>(response: &Response<B>) -> bool {
    switches(response.headers())
}

/// Puts back what ended here as hop-by-hop: both hops change.
pub(super) fn ask(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

fn switches(fields: &HeaderMap) -> bool {
    let names = |name, wanted: &[u8]| {
        let mut values = fields.get_all(name).iter().flat_map(headers::list);
        values.any(|value| value.eq_ignore_ascii_case(wanted))
    };
    // A list with another protocol in it would leave the choice to the application.
    let only = fields.get_all(header::UPGRADE).iter().count() == 1
        && (fields.get(header::UPGRADE))
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    only && names(header::CONNECTION, b"upgrade")
}

/// A WebSocket between a client and the application, from the moment both agreed.
pub(super) struct Tunnel {
    client: OnUpgrade,
    upstream: OnUpgrade,
    /// The place at the endpoint, among those that it may have at a time.
    place: ResponseBody,
    from_client: RequestBytes,
    finisher: Finisher,
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tunnel")
    }
}

impl Tunnel {
    pub(super) fn new(
        client: OnUpgrade,
        (upstream, place): (OnUpgrade, ResponseBody),
        from_client: RequestBytes,
        finisher: Finisher,
    ) -> Self {
        Self {
            client,
            upstream,
            place,
            from_client,
            finisher,
        }
    }

    /// Carries until both sides have closed, one breaks off, nothing moved for `idle_limit`, `over` is
    /// cancelled, or `abort` is. Sides that would go on are told of the end, but for an abort. Finishes
    /// the request in every case.
    pub(super) async fn carry(
        self,
        abort: &CancellationToken,
        over: &CancellationToken,
        idle_limit: Duration,
    ) -> Left {
        let Self {
            client,
            upstream,
            place: _held,
            from_client,
            mut finisher,
        } = self;
        let to_client = RequestBytes::default();
        let mut sides = None;
        let upgrades = (client, upstream);
        let ended = tokio::select! {
            biased;
            () = abort.cancelled() => Ended::Broken,
            () = over.cancelled() => Ended::Cut,
            () = idle(&from_client, &to_client, idle_limit) => Ended::Cut,
            ended = join(upgrades, &mut sides, (&from_client, &to_client)) => match ended {
                Ok(()) => Ended::Whole,
                Err(_broken_off) => Ended::Broken,
            },
        };
        finisher.sent_in_all(to_client.count());
        if ended == Ended::Whole {
            finisher.complete();
        }
        drop(finisher);
        match (ended, sides) {
            // It has not switched yet.
            (Ended::Cut, None) => return Left::Open,
            (Ended::Cut, Some(sides)) => Box::pin(part(sides, abort)).await,
            (Ended::Whole | Ended::Broken, _) => {}
        }
        Left::Nothing
    }
}

/// How it came to an end.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Ended {
    /// By both sides.
    Whole,
    /// By one of them, or abortively.
    Broken,
    /// Though both sides would go on.
    Cut,
}

/// A side that has left HTTP behind, whose bytes are counted.
type Side = Tapped<TokioIo<Upgraded>, Count>;

/// Puts both into `sides` and carries between them. The client's is ready when its 101 is written, the
/// application's at once.
async fn join(
    (client, upstream): (OnUpgrade, OnUpgrade),
    sides: &mut Option<(Side, Side)>,
    (from_client, to_client): (&RequestBytes, &RequestBytes),
) -> io::Result<()> {
    let upgraded = timeout(UPGRADE_LIMIT, async { tokio::try_join!(client, upstream) });
    let (client, upstream) = upgraded.await?.map_err(io::Error::other)?;
    let (client, upstream) = sides.insert((
        Tapped::new(TokioIo::new(client), Count(from_client.clone())),
        Tapped::new(TokioIo::new(upstream), Count(to_client.clone())),
    ));
    copy_bidirectional(client, upstream).await?;
    Ok(())
}

/// Tells both sides of the end, unless it is to be abortive after all.
async fn part((mut client, mut upstream): (Side, Side), abort: &CancellationToken) {
    let told = async { tokio::join!(farewell::close(&mut client), farewell::close(&mut upstream)) };
    tokio::select! {
        biased;
        () = abort.cancelled() => {}
        ((), ()) = told => {}
    }
}

/// Resolves when neither count has moved for `limit`.
async fn idle(one: &RequestBytes, other: &RequestBytes, limit: Duration) {
    let mut seen = (0, 0);
    loop {
        sleep(limit).await;
        let now = (one.count(), other.count());
        if now == seen {
            return;
        }
        seen = now;
    }
}

/// Counts what comes out of a side.
struct Count(RequestBytes);

impl Ear for Count {
    fn hear(&mut self, bytes: &[u8]) -> io::Result<Wants> {
        self.0.add(bytes.len());
        Ok(Wants::More)
    }
}

/// How long a client may take to be told that it may switch.
const UPGRADE_LIMIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_websockets_are_asked_for() {
        let check = |method: Method, version: Version, fields: &[(&str, &str)], expected: bool| {
            let mut request = Request::builder().method(method).version(version);
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            assert_eq!(is_asked(&request.body(()).unwrap()), expected, "{fields:?}");
        };
        let (get, one) = (Method::GET, Version::HTTP_11);
        let asks = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
        ];
        check(get.clone(), one, &asks, true);
        check(
            get.clone(),
            one,
            &[("connection", "upgrade"), ("upgrade", "WebSocket")],
            true,
        );
        check(Method::POST, one, &asks, false);
        check(get.clone(), Version::HTTP_10, &asks, false);
        check(get.clone(), Version::HTTP_2, &asks, false);
        check(get.clone(), one, &[("upgrade", "websocket")], false);
        check(get.clone(), one, &[("connection", "upgrade")], false);
        let h2c = [
            ("connection", "upgrade, http2-settings"),
            ("upgrade", "h2c"),
        ];
        check(get.clone(), one, &h2c, false);
        let both = [("connection", "upgrade"), ("upgrade", "websocket, h2c")];
        check(get.clone(), one, &both, false);
        let twice = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("upgrade", "h2c"),
        ];
        check(get.clone(), one, &twice, false);
        let of_length = |length| [asks[0], asks[1], ("content-length", length)];
        check(get.clone(), one, &of_length("0"), true);
        check(get.clone(), one, &of_length("00"), true);
        check(get.clone(), one, &of_length("5"), false);
        check(get.clone(), one, &of_length("10"), false);
        check(get.clone(), one, &of_length(""), false);
        let chunked = [asks[0], asks[1], ("transfer-encoding", "chunked")];
        check(get, one, &chunked, false);
    }
}
