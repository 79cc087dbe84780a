//! What real clients sent, for tests: `tests/data/README.md` says from where.

use serde::Deserialize;

use super::client_hello::{ClientHello, HelloReader, HelloReading};

/// One line of `client-hellos.jsonl`.
#[derive(Deserialize)]
pub(super) struct Capture {
    pub(super) client: String,
    pub(super) user_agent: Option<String>,
    pub(super) header_order: Vec<String>,
    client_hello_hex: String,
    #[serde(deserialize_with = "one_or_more")]
    pub(super) ja4: Vec<String>,
}

/// One line of `http2-openings.jsonl`.
#[derive(Deserialize)]
pub(super) struct Opening {
    pub(super) client: String,
    opening_hex: String,
}

impl Capture {
    /// The records as they came.
    pub(super) fn bytes(&self) -> Vec<u8> {
        bytes(&self.client_hello_hex)
    }

    pub(super) fn hello(&self) -> ClientHello {
        match HelloReader::default().read(&self.bytes()) {
            HelloReading::Hello(hello) => hello,
            other => panic!("{}: {other:?}", self.client),
        }
    }
}

impl Opening {
    pub(super) fn bytes(&self) -> Vec<u8> {
        bytes(&self.opening_hex)
    }
}

pub(super) fn captures() -> Vec<Capture> {
    lines(include_str!("../../../tests/data/client-hellos.jsonl"))
}

pub(super) fn openings() -> Vec<Opening> {
    lines(include_str!("../../../tests/data/http2-openings.jsonl"))
}

fn lines<T: for<'a> Deserialize<'a>>(text: &str) -> Vec<T> {
    let lines = text.lines();
    lines.map(|it| serde_json::from_str(it).unwrap()).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let (pairs, _odd) = hex.as_bytes().as_chunks::<2>();
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.iter().map(|pair| byte(pair)).collect()
}

fn one_or_more<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(String),
        More(Vec<String>),
    }
    Ok(match Either::deserialize(from)? {
        Either::One(one) => vec![one],
        Either::More(more) => more,
    })
}
