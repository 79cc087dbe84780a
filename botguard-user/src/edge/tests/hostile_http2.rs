//! HTTP/2 as no client library sends it: frames by hand, with HPACK literals.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// Literals without indexing (RFC 7541 section 6.2.2), neither Huffman-coded.
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat();
    fields
        .iter()
        .flat_map(|(name, value)| [vec![0], text(name), text(value)].concat())
        .collect()
}

const REQUEST: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "localhost"),
    (":path", "/"),
];

/// How the server took a stream of frames.
#[derive(Debug, Eq, PartialEq)]
enum Taken {
    /// It answered stream 1 with a status that is coded as one byte.
    Answered(u8),
    Reset,
    /// By GOAWAY with an error, or by closing.
    Ended,
}

/// Sends, and reads frames until stream 1 or the connection is done.
async fn send(edge: &Running, frames: &[u8]) -> Taken {
    let mut tls = edge.connect(b"h2").await;
    let begin = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    tls.write_all(&begin).await.unwrap();
    // The server may have had enough before all is written.
    let _written: std::io::Result<()> = tls.write_all(frames).await;
    let _flushed: std::io::Result<()> = tls.flush().await;
    loop {
        let mut head = [0; 9];
        if tls.read_exact(&mut head).await.is_err() {
            return Taken::Ended;
        }
        let [_, middle, low, kind, _, stream @ ..] = head;
        let mut payload = vec![0; usize::from(u16::from_be_bytes([middle, low]))];
        if tls.read_exact(&mut payload).await.is_err() {
            return Taken::Ended;
        }
        match (kind, u32::from_be_bytes(stream)) {
            (HEADERS, 1) => return Taken::Answered(payload[0]),
            (RST_STREAM, 1) => return Taken::Reset,
            (GOAWAY, _) if payload[4..8] != [0; 4] => return Taken::Ended,
            _ => {}
        }
    }
}

/// Indexed in HPACK's static table.
const OK: Taken = Taken::Answered(0x88);
const BAD_REQUEST: Taken = Taken::Answered(0x8c);

async fn ok() -> SocketAddr {
    upstream(async |_| Response::new(http_body_util::Empty::<Bytes>::new())).await
}

#[tokio::test]
async fn what_http1_could_read_otherwise_is_refused() {
    let edge = start(ok().await).await;
    let check = async |change: &[(&str, &str)], passes: bool| {
        let mut fields: Vec<_> = REQUEST
            .into_iter()
            .filter(|(name, _)| !change.iter().any(|(changed, _)| changed == name))
            .collect();
        let pseudo = change.iter().filter(|(name, _)| name.starts_with(':'));
        fields.splice(0..0, pseudo.copied());
        fields.extend(change.iter().filter(|(name, _)| !name.starts_with(':')));
        let flags = END_STREAM | END_HEADERS;
        let taken = send(&edge, &frame(HEADERS, flags, 1, &block(&fields))).await;
        if passes {
            assert_eq!(taken, OK, "{change:?}");
        } else {
            let refused = [BAD_REQUEST, Taken::Reset, Taken::Ended];
            assert!(refused.contains(&taken), "{change:?}: {taken:?}");
        }
    };
    check(&[], true).await;
    check(&[("a", "b")], true).await;
    check(&[("te", "trailers")], true).await;
    check(&[("host", "localhost")], true).await;
    check(&[(":path", "/a?b=c")], true).await;
    for value in ["b\r\nc: d", "b\nc", "b\rc", "b\0", "b\u{1}"] {
        check(&[("a", value)], false).await;
    }
    for name in ["A", "a:b", "a b", "a\r\nb", "", "a\0"] {
        check(&[(name, "b")], false).await;
    }
    check(&[("transfer-encoding", "chunked")], false).await;
    check(&[("connection", "close")], false).await;
    check(&[("keep-alive", "1")], false).await;
    check(&[("upgrade", "h2c")], false).await;
    check(&[("te", "gzip")], false).await;
    check(&[("host", "other")], false).await;
    check(&[("content-length", "3")], false).await;
    check(&[("content-length", "0")], true).await;
    for other in ["0", "00"] {
        let twice = [("content-length", "0"), ("content-length", other)];
        check(&twice, false).await;
    }
    check(&[("content-length", "+0")], false).await;
    check(&[("content-length", "x")], false).await;
    for path in [
        "/ HTTP/1.1\r\nHost: other",
        "/a b",
        "/\0",
        "/\r\n",
        "",
        "a",
        "/\u{7f}",
        "/%2f",
        "//\t",
    ] {
        check(&[(":path", path)], false).await;
    }
    for method in ["GET / HTTP/1.1\r\n", "", "G T", "G\0", "TRACE:"] {
        check(&[(":method", method)], false).await;
    }
    for authority in [
        "a b",
        "a\r\nb: c",
        "user@localhost",
        "localhost:x",
        "a/b",
        "",
    ] {
        check(&[(":authority", authority)], false).await;
    }
    check(&[(":other", "a")], false).await;
}

/// RFC 9113 section 8.1.1.
#[tokio::test]
async fn a_length_that_the_data_do_not_have_is_refused() {
    let edge = start(ok().await).await;
    let check = async |length: &str, body: &[u8], passes: bool| {
        let mut fields = REQUEST.to_vec();
        fields[0].1 = "POST";
        fields.push(("content-length", length));
        let head = frame(HEADERS, END_HEADERS, 1, &block(&fields));
        let data = frame(DATA, END_STREAM, 1, body);
        let taken = send(&edge, &[head, data].concat()).await;
        assert_eq!(taken == OK, passes, "{length} {body:?}: {taken:?}");
    };
    check("3", b"abc", true).await;
    check("3", b"abcd", false).await;
    check("5", b"abc", false).await;
}

#[tokio::test]
async fn floods_end_the_connection_that_they_come_on_and_no_other() {
    let edge = start(ok().await).await;
    let mut other = edge.http2::<http_body_util::Empty<Bytes>>().await;
    let whole = END_STREAM | END_HEADERS;
    let request = |stream: u32| frame(HEADERS, whole, stream, &block(&REQUEST));
    let reset = |stream: u32| frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    let rapid = |streams: u32| -> Vec<u8> {
        let odd = (0..streams).map(|number| 2 * number + 3);
        odd.flat_map(|stream| [request(stream), reset(stream)].concat())
            .collect()
    };
    let pings = |count: usize| frame(PING, 0, 0, &[7; 8]).repeat(count);
    let settings = |count: usize| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9]).repeat(count);
    let begin = frame(HEADERS, END_STREAM, 1, &block(&REQUEST));
    let continued = |count: usize| {
        let parts = frame(CONTINUATION, 0, 1, &block(&[("a", "b")])).repeat(count);
        let end = frame(CONTINUATION, END_HEADERS, 1, &block(&[("c", "d")]));
        [begin.clone(), parts, end].concat()
    };
    let empty = |count: usize| {
        let parts = frame(CONTINUATION, 0, 1, &[]).repeat(count);
        [begin.clone(), parts].concat()
    };
    let check = async |frames: Vec<u8>, expected: Taken| {
        let count = frames.len();
        assert_eq!(send(&edge, &frames).await, expected, "{count} bytes");
    };
    check([pings(50), request(1)].concat(), OK).await;
    check(pings(20_000), Taken::Ended).await;
    check([settings(50), request(1)].concat(), OK).await;
    check(settings(20_000), Taken::Ended).await;
    check(continued(3), OK).await;
    check(continued(10_000), Taken::Ended).await;
    check(empty(10_000), Taken::Ended).await;
    check(rapid(5_000), Taken::Ended).await;
    let unread = frame(0xfe, 0, 0, &[]).repeat(20_000);
    check(unread, Taken::Ended).await;
    let request = get2("/").body(http_body_util::Empty::new()).unwrap();
    let response = other.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
}

/// A client that opens no window has the head of the response, and no part of its body.
#[tokio::test]
async fn responses_that_nobody_takes_are_finished() {
    let at =
        upstream(async |_| Response::new(http_body_util::Full::new(Bytes::from("five!")))).await;
    let mut edge = start_with(&[at], "", "send_timeout = '50ms'").await;
    let no_window = [0, 4, 0, 0, 0, 0];
    let begin = [PREFACE, &frame(SETTINGS, 0, 0, &no_window)].concat();
    let asks = |path| {
        let mut fields = REQUEST;
        fields[3].1 = path;
        block(&fields)
    };
    let flags = END_STREAM | END_HEADERS;
    let mut tls = edge.connect(b"h2").await;
    tls.write_all(&begin).await.unwrap();
    tls.write_all(&frame(HEADERS, flags, 1, &asks("/")))
        .await
        .unwrap();
    let finished = tokio::time::timeout(PATIENCE, edge.finished()).await;
    let (facts, before) = finished.expect("still waiting for a client that takes nothing");
    assert_eq!(answered(&facts), (AnsweredBy::Upstream, 200));
    assert!(before.contains(&Event::Broken(BrokenBy::Client)));
    assert_eq!(edge.connections.count(), 1);
    // And what a denial earns is not put off.
    tls.write_all(&frame(HEADERS, flags, 3, &asks("/banned")))
        .await
        .unwrap();
    let settled = async { while !matches!(edge.event().await, Event::Settled { .. }) {} };
    let settled = tokio::time::timeout(PATIENCE, settled).await;
    settled.expect("no ban of a client that takes nothing");
}

/// Far longer than any limit that these tests set.
const PATIENCE: Duration = Duration::from_secs(10);
