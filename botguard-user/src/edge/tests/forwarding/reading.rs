//! An upstream that keeps what it was sent, as another parser than the edge's reads it.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A request as the upstream read it.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) fields: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<(String, Vec<u8>)>,
    /// What came after its end.
    pub(super) rest: Vec<u8>,
}

/// An upstream that reads a request with a parser of its own, to the end of its connection.
pub(super) async fn reading() -> (SocketAddr, mpsc::UnboundedReceiver<Arrived>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, arrived) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                let (mut read, used) = loop {
                    if let Some(whole) = parsed(&bytes) {
                        break whole;
                    }
                    let n = tcp.read_buf(&mut bytes).await.unwrap();
                    assert!(n > 0, "it ends after {bytes:?}");
                };
                let answer = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
                tcp.write_all(answer).await.unwrap();
                let _end: std::io::Result<usize> = tcp.read_to_end(&mut bytes).await;
                read.rest = bytes.split_off(used);
                sender.send(read).unwrap();
            });
        }
    });
    (address, arrived)
}

/// A request and its length, if it is whole.
fn parsed(bytes: &[u8]) -> Option<(Arrived, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = request.parse(bytes).unwrap() else {
        return None;
    };
    let fields = owned(request.headers);
    let named = |name: &str| -> Vec<_> {
        (fields.iter().filter(|field| field.0 == name))
            .map(|(_, value)| value.as_slice())
            .collect()
    };
    let (lengths, codings) = (named("content-length"), named("transfer-encoding"));
    let mut rest = bytes.get(head..)?;
    let mut body = Vec::new();
    let mut trailers = Vec::new();
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => {}
        ([length], []) => {
            let length: usize = std::str::from_utf8(length).unwrap().parse().unwrap();
            body.extend_from_slice(rest.get(..length)?);
            rest = rest.get(length..)?;
        }
        ([], [b"chunked"]) => loop {
            let httparse::Status::Complete((line, size)) =
                httparse::parse_chunk_size(rest).unwrap()
            else {
                return None;
            };
            rest = rest.get(line..)?;
            if size == 0 {
                let mut headers = [httparse::EMPTY_HEADER; 8];
                let httparse::Status::Complete((line, read)) =
                    httparse::parse_headers(rest, &mut headers).unwrap()
                else {
                    return None;
                };
                trailers = owned(read);
                rest = rest.get(line..)?;
                break;
            }
            let size = usize::try_from(size).unwrap();
            body.extend_from_slice(rest.get(..size)?);
            assert_eq!(rest.get(size..size + 2)?, b"\r\n");
            rest = rest.get(size + 2..)?;
        },
        both => panic!("framed twice: {both:?}"),
    }
    let arrived = Arrived {
        method: request.method?.to_owned(),
        target: request.path?.to_owned(),
        fields,
        body,
        trailers,
        rest: Vec::new(),
    };
    Some((arrived, bytes.len() - rest.len()))
}

fn owned(headers: &[httparse::Header<'_>]) -> Vec<(String, Vec<u8>)> {
    let owned = headers.iter();
    owned
        .map(|header| (header.name.to_ascii_lowercase(), header.value.to_vec()))
        .collect()
}
