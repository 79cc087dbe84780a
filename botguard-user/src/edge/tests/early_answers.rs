//! Answers before a request's body has come, and answers without one.

use http_body_util::{BodyExt as _, Empty};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::*;
use crate::edge::unwanted::LONGEST_SILENCE;

/// More than the buffers of both sides' sockets take.
const LARGE: usize = 8 << 20;

/// Answers 413 as soon as it has the head, says that nothing more will come, and closes with the
/// other side.
async fn early() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(tcp.read_u8().await.unwrap());
            }
            let answer = b"HTTP/1.1 413 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            tcp.write_all(answer).await.unwrap();
            tokio::spawn(async move {
                tcp.shutdown().await.unwrap();
                tokio::io::copy(&mut tcp, &mut tokio::io::sink()).await
            });
        }
    });
    address
}

#[tokio::test]
async fn an_early_answer_reaches_whoever_still_sends() {
    let edge = start(early().await).await;
    let check = async |path: &str, status: u16| {
        let mut tls = edge.connect(b"http/1.1").await;
        // One that sends all before it reads.
        for _ in 0..2 {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LARGE}\r\n\r\n"
            );
            tls.write_all(head.as_bytes()).await.unwrap();
            tls.write_all(&vec![0; LARGE]).await.unwrap();
            let mut line = [0; 12];
            tls.read_exact(&mut line).await.unwrap();
            assert_eq!(line, format!("HTTP/1.1 {status}").as_bytes(), "{path}");
            let mut rest = vec![0; 4_096];
            while !rest.ends_with(b"}") && !rest.ends_with(b"\r\n\r\n") {
                rest.clear();
                assert!(tls.read_buf(&mut rest).await.unwrap() > 0);
            }
            // And the connection is good for another one.
        }
    };
    check("/blocked", 403).await;
    check("/%2f", 400).await;
    check("/open", 413).await;
}

#[tokio::test]
async fn a_body_that_nobody_wants_is_not_asked_for() {
    let edge = start(early().await).await;
    let mut tls = edge.connect(b"http/1.1").await;
    let head = "POST /blocked HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\
                Expect: 100-continue\r\n\r\n";
    tls.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Before anybody would have given up waiting for it.
    let end = timeout(LONGEST_SILENCE, tls.read_to_end(&mut answer)).await;
    let _closed_or_reset: std::io::Result<usize> = end.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}

#[tokio::test]
async fn head_is_answered_as_get_without_the_content() {
    let mut edge = start(early().await).await;
    let mut http1 = edge.http1().await;
    let mut http2 = edge.http2().await;
    for path in ["/blocked", "/throttled", "/%2f"] {
        let mut lengths = Vec::new();
        for method in ["GET", "HEAD"] {
            let empty = Empty::<Bytes>::new;
            let responses = [
                http1
                    .send_request(get(path).method(method).body(empty()).unwrap())
                    .await,
                http2
                    .send_request(get2(path).method(method).body(empty()).unwrap())
                    .await,
            ];
            for response in responses {
                let (head, body) = response.unwrap().into_parts();
                // h2's client takes content for an error of the protocol.
                let n_bytes = body.collect().await.unwrap().to_bytes().len();
                let length: usize = head.headers["content-length"]
                    .to_str()
                    .unwrap()
                    .parse()
                    .unwrap();
                assert_eq!(n_bytes, if method == "HEAD" { 0 } else { length }, "{path}");
                lengths.push(length);
                if path != "/%2f" {
                    let (facts, _) = edge.finished().await;
                    assert_eq!(facts.bytes_out, n_bytes as u64);
                    assert_eq!(facts.answered_by, AnsweredBy::Botguard);
                }
            }
            http1.ready().await.unwrap();
        }
        assert!(
            lengths.iter().all(|&length| length == lengths[0]),
            "{lengths:?}"
        );
    }
}

#[tokio::test]
async fn streams_cannot_take_the_connections_window_from_each_other() {
    let edge = start(early().await).await;
    let mut tls = edge.connect(b"h2").await;
    tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    // What both begin with (RFC 9113 section 6.9.2), and no limit (section 6.5.2).
    let (mut streams, mut stream_window, mut window) = (u32::MAX, 65_535_u32, 65_535_u32);
    let mut is_told = (false, false);
    while is_told != (true, true) {
        let mut header = [0; 9];
        tls.read_exact(&mut header).await.unwrap();
        let [a, b, c, kind, ..] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        tls.read_exact(&mut payload).await.unwrap();
        match kind {
            4 => {
                for setting in payload.chunks(6) {
                    let value = u32::from_be_bytes(setting[2..].try_into().unwrap());
                    match setting[1] {
                        3 => streams = value,
                        4 => stream_window = value,
                        _ => {}
                    }
                }
                is_told.0 |= !payload.is_empty();
            }
            8 => {
                window += u32::from_be_bytes(payload[..].try_into().unwrap());
                is_told.1 = true;
            }
            _ => {}
        }
    }
    assert_eq!(streams * stream_window, window);
}
