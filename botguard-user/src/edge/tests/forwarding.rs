//! What the upstream gets is what the gate judged: requests that are odd but legal, over HTTP/1 and
//! HTTP/2, read at the other end by another parser than the edge's.

use std::collections::BTreeSet;

use http::request::Parts;
use http::{HeaderMap, Version};
use http_body_util::channel::Channel;
use http_body_util::{BodyExt as _, Full};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;

use self::reading::{Arrived, reading};
use self::requests::{Sent, SentBody, requests, written};
use super::*;

mod reading;
mod requests;

/// A request as the gate saw it.
#[derive(Debug)]
struct Judged {
    parts: Parts,
    path: String,
    authority: String,
}

/// Lets everything pass, and keeps what it was shown.
struct Witness {
    judged: mpsc::UnboundedSender<Judged>,
    finished: mpsc::UnboundedSender<ResponseFacts>,
}

impl Gate for Witness {
    fn admit(&self, request: &RequestHead<'_>) -> Admission {
        let judged = Judged {
            parts: request.parts.clone(),
            path: request.path.to_owned(),
            authority: request.authority.to_owned(),
        };
        self.judged.send(judged).unwrap();
        Admission {
            ticket: Ticket(Box::new(())),
            denial: None,
            login: None,
            limit: None,
            upstream_headers: vec![(
                HeaderName::from_static("botguard-request-id"),
                HeaderValue::from_static("id-1"),
            )],
            request_id: Arc::from("id-1"),
        }
    }

    fn finish(&self, _ticket: Ticket, response: &ResponseFacts) -> Closing {
        self.finished.send(*response).unwrap();
        Closing::Keep
    }

    fn settle(&self, _ban: BanProposal) {}
}

/// What the edge says itself.
const MADE: [&str; 9] = [
    "host",
    "via",
    "te",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "botguard-request-id",
    "content-length",
    "transfer-encoding",
];

/// What ends at the edge beside what `Connection` names; with `-` for each `_`.
fn ends_here(name: &str) -> bool {
    let name = name.replace('_', "-");
    let ends = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "upgrade",
        "forwarded",
        "x-real-ip",
        "expect",
    ];
    MADE.contains(&name.as_str())
        || ends.contains(&name.as_str())
        || name.starts_with("x-forwarded-")
        || name.starts_with("botguard-")
}

/// As RFC 3986 has it; empty segments and the parameters of segments left out.
fn normalised(path: &str) -> String {
    let mut decoded = Vec::new();
    let names = path.split('/').map(|it| it.split(';').next().unwrap());
    let path = names.collect::<Vec<_>>().join("/");
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let mut digit = || char::from(bytes.next().unwrap()).to_digit(16).unwrap();
        decoded.push(match byte {
            b'%' => u8::try_from(digit() * 16 + digit()).unwrap(),
            other => other,
        });
    }
    let decoded = String::from_utf8(decoded).unwrap();
    let mut segments = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    format!("/{}", segments.join("/"))
}

fn check_arrived(judged: &Judged, facts: ResponseFacts, arrived: &Arrived) -> TestCaseResult {
    let parts = &judged.parts;
    prop_assert_eq!(&arrived.method, parts.method.as_str());
    let (path, query) = match arrived.target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (arrived.target.as_str(), None),
    };
    prop_assert_eq!(&normalised(path), &judged.path);
    prop_assert_eq!(query, parts.uri.query());
    let values = |name: &str| -> Vec<&[u8]> {
        let fields = arrived.fields.iter().filter(|field| field.0 == name);
        fields.map(|(_, value)| value.as_slice()).collect()
    };
    prop_assert_eq!(values("host"), [judged.authority.as_bytes()]);
    prop_assert_eq!(values("botguard-request-id"), [b"id-1"]);
    prop_assert_eq!(values("x-forwarded-for"), [b"127.0.0.1"]);
    prop_assert_eq!(facts.bytes_in, arrived.body.len() as u64);
    prop_assert_eq!(&arrived.rest, b"");

    let expected = end_to_end(&parts.headers);
    let names: BTreeSet<_> = arrived
        .fields
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    for name in names.iter().filter(|name| !MADE.contains(name)) {
        prop_assert!(expected.contains(*name), "{} was not judged", name);
    }
    for name in &expected {
        let mut judged: Vec<_> = (parts.headers.get_all(name).iter())
            .map(|value| value.as_bytes().to_vec())
            .collect();
        if name == "cookie" {
            judged = vec![judged.join(&b"; "[..]).trim_ascii().to_vec()];
        }
        prop_assert_eq!(values(name), judged, "{}", name);
    }
    Ok(())
}

/// The names that are for the upstream.
fn end_to_end(headers: &HeaderMap) -> BTreeSet<String> {
    let named: Vec<_> = (headers.get_all("connection").iter())
        .flat_map(|value| value.to_str().unwrap_or_default().split(','))
        .map(|option| option.trim().to_ascii_lowercase())
        .collect();
    let names = headers.keys().map(|name| name.as_str().to_owned());
    names
        .filter(|name| !ends_here(name) && !named.contains(name))
        .collect()
}

/// An edge, the upstream behind it, and what the gate between them saw.
struct Scene {
    edge: Running,
    judged: mpsc::UnboundedReceiver<Judged>,
    finished: mpsc::UnboundedReceiver<ResponseFacts>,
    arrived: mpsc::UnboundedReceiver<Arrived>,
    n_refused: u32,
    n_passed: u32,
}

impl Scene {
    async fn start() -> Self {
        let (upstream, arrived) = reading().await;
        let (judged_sender, judged) = mpsc::unbounded_channel();
        let (finished_sender, finished) = mpsc::unbounded_channel();
        let gate = Arc::new(Witness {
            judged: judged_sender,
            finished: finished_sender,
        });
        let judge = (
            Trust::default(),
            Arc::new(Connections::default()),
            gate as _,
        );
        let edge = start_judged(&[format!("http://{upstream}")], "", "", judge).await;
        Self {
            edge,
            judged,
            finished,
            arrived,
            n_refused: 0,
            n_passed: 0,
        }
    }

    /// Sends it over HTTP/1; the status of the answer.
    async fn send_http1(&self, sent: &Sent, place: usize) -> String {
        let mut tls = self.edge.connect(b"http/1.1").await;
        tls.write_all(&written(sent, place)).await.unwrap();
        let mut answer = Vec::new();
        // A hundred and some may come before.
        loop {
            let n = tls.read_buf(&mut answer).await.unwrap();
            assert!(n > 0, "no answer: {answer:?}");
            let text = String::from_utf8_lossy(&answer);
            let last = text.split("HTTP/1.1 ").last().unwrap_or_default();
            if last.contains("\r\n\r\n") && !last.starts_with('1') {
                return last.get(..3).unwrap_or_default().to_owned();
            }
        }
    }

    /// The same over HTTP/2; `None` where hyper does not send it.
    async fn send_http2(&self, sent: &Sent) -> Option<String> {
        let mut request = Request::builder()
            .method(sent.method)
            .uri(format!("https://{}{}", sent.host, sent.target));
        for (name, value) in &sent.fields {
            // hyper waits for the answer to it before it sends the body.
            let http1_only = ["connection", "keep-alive", "proxy-connection", "expect"];
            if !http1_only.contains(&name.as_str()) {
                request = request.header(name, value.as_slice());
            }
        }
        let request = match &sent.body {
            SentBody::None => request.body(Full::<Bytes>::default().boxed()),
            SentBody::Sized(body) => request.body(Full::from(body.clone()).boxed()),
            SentBody::Chunked(chunks, trailer) => {
                let (mut feed, body) = Channel::new(chunks.len() + 1);
                for chunk in chunks {
                    feed.send_data(chunk.clone().into()).await.unwrap();
                }
                if let Some((name, value)) = trailer {
                    let mut trailers = HeaderMap::new();
                    let name: HeaderName = name.parse().unwrap();
                    trailers.insert(name, HeaderValue::from_bytes(value).unwrap());
                    feed.send_trailers(trailers).await.unwrap();
                }
                request.body(body.boxed())
            }
        };
        let mut client = self.edge.http2().await;
        let response = client.send_request(request.ok()?).await.unwrap();
        Some(response.status().as_str().to_owned())
    }

    async fn check(&mut self, sent: &Sent, status: &str, version: Version) -> TestCaseResult {
        if status != "204" {
            // Not legal after all, or with two readings: then nobody judged it or got it.
            self.n_refused += 1;
            prop_assert!(status.starts_with('4'), "{} for {:?}", status, sent);
            prop_assert!(self.judged.try_recv().is_err() && self.arrived.try_recv().is_err());
            return Ok(());
        }
        self.n_passed += 1;
        let judged = self.judged.recv().await.unwrap();
        let facts = self.finished.recv().await.unwrap();
        let arrived = self.arrived.recv().await.unwrap();
        prop_assert!(self.judged.try_recv().is_err() && self.arrived.try_recv().is_err());
        prop_assert_eq!(judged.parts.version, version);
        prop_assert_eq!(judged.parts.method.as_str(), sent.method);
        prop_assert_eq!(&arrived.body, &sent.body.whole());
        let trailer = match &sent.body {
            SentBody::Chunked(_, trailer) => trailer.as_ref(),
            SentBody::None | SentBody::Sized(_) => None,
        };
        prop_assert!(
            arrived
                .trailers
                .iter()
                .all(|arrived| Some(arrived) == trailer)
        );
        check_arrived(&judged, facts, &arrived)
    }

    fn end(&self) {
        assert!(
            self.n_passed > self.n_refused,
            "{} of {} were refused",
            self.n_refused,
            self.n_refused + self.n_passed
        );
    }
}

/// Runs `case` on as many requests as the environment asks for.
fn run(mut case: impl FnMut(&Runtime, &mut Scene, Sent, usize) -> TestCaseResult) {
    let runtime = Runtime::new().unwrap();
    let scene = std::cell::RefCell::new(runtime.block_on(Scene::start()));
    let case = std::cell::RefCell::new(&mut case);
    let mut runner = proptest::test_runner::TestRunner::default();
    runner
        .run(&(requests(), 0..12_usize), |(sent, place)| {
            (case.borrow_mut())(&runtime, &mut scene.borrow_mut(), sent, place)
        })
        .unwrap();
    scene.borrow().end();
}

#[test]
fn over_http1_the_upstream_reads_what_was_judged() {
    run(|runtime, scene, sent, place| {
        runtime.block_on(async {
            let status = scene.send_http1(&sent, place).await;
            scene.check(&sent, &status, Version::HTTP_11).await
        })
    });
}

#[test]
fn over_http2_the_upstream_reads_what_was_judged() {
    run(|runtime, scene, sent, _place| {
        runtime.block_on(async {
            match scene.send_http2(&sent).await {
                Some(status) => scene.check(&sent, &status, Version::HTTP_2).await,
                None => Ok(()),
            }
        })
    });
}
