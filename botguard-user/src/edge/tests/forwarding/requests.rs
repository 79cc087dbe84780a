//! Requests that are odd but legal, and how HTTP/1 writes them.

use proptest::prelude::*;

/// A request as a client means it.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) host: &'static str,
    pub(super) fields: Vec<(String, Vec<u8>)>,
    pub(super) body: SentBody,
}

#[derive(Clone, Debug)]
pub(super) enum SentBody {
    None,
    Sized(Vec<u8>),
    /// The chunks, and a trailer.
    Chunked(Vec<Vec<u8>>, Option<(String, Vec<u8>)>),
}

impl SentBody {
    pub(super) fn whole(&self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Sized(body) => body.clone(),
            Self::Chunked(chunks, _) => chunks.concat(),
        }
    }
}

fn methods() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "GET",
        "POST",
        "PUT",
        "DELETE",
        "PATCH",
        "OPTIONS",
        "PROPFIND",
        "M-SEARCH",
        "get",
        "!#$%&'*+-.^_`|~",
    ])
}

fn targets() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        4 => "[a-zA-Z0-9._~!$&'()*+,;=:@-]{0,8}",
        1 => prop::sample::select(vec!["..", ".", "%20", "%c3%A9", "%7e", "%2E%2e", "%25", "a%2fb"])
            .prop_map(str::to_owned),
    ];
    let path = prop::collection::vec(segment, 0..5).prop_map(|all| format!("/{}", all.join("/")));
    let query = prop::option::of("[a-z0-9/?=&+%@:,;.-]{0,16}");
    (path, query).prop_map(|(path, query)| match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    })
}

/// Names that mean something on the way, and any others.
fn names() -> impl Strategy<Value = String> {
    let known = vec![
        "accept",
        "authorization",
        "connection",
        "content-type",
        "content-encoding",
        "cookie",
        "cookie",
        "expect",
        "forwarded",
        "from",
        "if-none-match",
        "keep-alive",
        "origin",
        "range",
        "proxy-authorization",
        "proxy-connection",
        "referer",
        "te",
        "trailer",
        "user-agent",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x_forwarded_for",
        "x-real-ip",
        "botguard-score",
        "botguard_score",
        "content_length",
        "transfer_encoding",
        "x-hop",
        "x-hop",
        "x-end",
    ];
    prop_oneof![
        3 => prop::sample::select(known).prop_map(str::to_owned),
        1 => "[a-z0-9!#$%&'*+.^_`|~-]{1,10}",
    ]
}

fn fields() -> impl Strategy<Value = (String, Vec<u8>)> {
    let byte = prop_oneof![8 => b' '..=b'~', 1 => 0x80..=0xff_u8, 1 => Just(b'\t')];
    let any = prop::collection::vec(byte, 0..16).prop_map(|value| value.trim_ascii().to_vec());
    let options = prop::sample::select(vec![
        "x-hop",
        "close, X-Hop",
        "keep-alive",
        "te",
        "content-length",
        "host, cookie",
        ",x-hop,,",
    ]);
    (names(), any, options).prop_map(|(name, any, option)| match name.as_str() {
        "connection" => (name, option.into()),
        "te" => (name, b"trailers".into()),
        "expect" => (name, b"100-continue".into()),
        _ => (name, any),
    })
}

fn bodies() -> impl Strategy<Value = SentBody> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..64);
    let chunk = prop::collection::vec(any::<u8>(), 1..64);
    let trailer = prop::option::of(
        ("x-[a-z]{1,4}", "[ -~]{0,8}").prop_map(|(name, value)| (name, value.trim().into())),
    );
    prop_oneof![
        Just(SentBody::None),
        bytes().prop_map(SentBody::Sized),
        (prop::collection::vec(chunk, 0..4), trailer)
            .prop_map(|(chunks, trailer)| SentBody::Chunked(chunks, trailer)),
    ]
}

pub(super) fn requests() -> impl Strategy<Value = Sent> {
    let hosts = vec![
        "localhost",
        "LOCALHOST:8443",
        "a.example.",
        "[::1]:80",
        "a.example:443",
    ];
    let hosts = prop::sample::select(hosts);
    let fields = prop::collection::vec(fields(), 0..12);
    (methods(), targets(), hosts, fields, bodies()).prop_map(
        |(method, target, host, fields, body)| Sent {
            method,
            target,
            host,
            fields,
            body,
        },
    )
}

/// A request as bytes, its `Host` at `place` among its fields; one in four has an absolute target.
pub(super) fn written(sent: &Sent, place: usize) -> Vec<u8> {
    let (method, target) = (sent.method, &sent.target);
    let origin = match place % 4 {
        3 => format!("https://{}", sent.host),
        _ => String::new(),
    };
    let mut head = format!("{method} {origin}{target} HTTP/1.1\r\n").into_bytes();
    let mut fields = sent.fields.clone();
    fields.insert(
        place.min(fields.len()),
        ("HoSt".to_owned(), sent.host.into()),
    );
    let mut body = Vec::new();
    match &sent.body {
        SentBody::None => {}
        SentBody::Sized(sized) => {
            fields.push(("Content-Length".to_owned(), sized.len().to_string().into()));
            body.clone_from(sized);
        }
        SentBody::Chunked(chunks, trailer) => {
            fields.insert(0, ("transfer-encoding".to_owned(), b"Chunked".into()));
            for chunk in chunks {
                body.extend_from_slice(format!("0{:x};a=\"b\"\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\n");
            if let Some((name, value)) = trailer {
                body.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
            }
            body.extend_from_slice(b"\r\n");
        }
    }
    for (name, value) in fields {
        head.extend_from_slice(&[name.as_bytes(), b": \t", &value, b" \r\n"].concat());
    }
    [head, b"\r\n".to_vec(), body].concat()
}
