//! `Botguard-Signature`: proof to the application that a request came through botguard, and that
//! what botguard says of it is botguard's word. `docs/signature.md` is for those who verify it.

use std::net::IpAddr;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::edge::signing_keys::SigningKeys;
use crate::words::clock::Wall;

/// Signs a request with its final header fields, and names the client, whose address is signed.
pub(super) fn sign(head: &mut Parts, client: IpAddr, keys: &SigningKeys, now: Wall) {
    let target = head
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let client = client.to_string();
    let seconds = now.as_unix_ms() / 1_000;
    let id = keys.signing_id();
    let input = signing_input(&Signed {
        id,
        seconds,
        request_id: field(&head.headers, &REQUEST_ID),
        method: head.method.as_str(),
        authority: field(&head.headers, &HOST),
        target,
        client: &client,
        score: field(&head.headers, &SCORE),
        action: field(&head.headers, &ACTION),
        signals: field(&head.headers, &SIGNALS),
    });
    let tag = URL_SAFE_NO_PAD.encode(keys.sign(input.as_bytes()));
    let signature = format!("v1;kid={id};t={seconds};s={tag}");
    for (name, value) in [(CLIENT, client), (SIGNATURE, signature)] {
        // Ids of keys are letters, digits, `_` and `-`; the rest is digits, dots, colons, base64.
        if let Ok(value) = HeaderValue::from_str(&value) {
            head.headers.insert(name, value);
        }
    }
}

/// What is signed.
struct Signed<'a> {
    id: &'a str,
    seconds: u64,
    request_id: &'a str,
    method: &'a str,
    authority: &'a str,
    /// Path and query, as forwarded.
    target: &'a str,
    client: &'a str,
    score: &'a str,
    action: &'a str,
    signals: &'a str,
}

fn signing_input(signed: &Signed<'_>) -> String {
    let target = digest::digest(&digest::SHA256, signed.target.as_bytes());
    let hex: String = (target.as_ref().iter())
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|nibble| char::from_digit(u32::from(nibble), 16))
        .collect();
    let seconds = signed.seconds.to_string();
    [
        "v1",
        signed.id,
        &seconds,
        signed.request_id,
        signed.method,
        signed.authority,
        &hex,
        signed.client,
        signed.score,
        signed.action,
        signed.signals,
    ]
    .join("\n")
}

/// Empty where it is absent. A field's value has no line feed (RFC 9110 section 5.5), and what is
/// signed here is ASCII: the authority was parsed as one, the others are botguard's own.
fn field<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    (headers.get(name)).map_or("", |value| value.to_str().unwrap_or_default())
}

const REQUEST_ID: HeaderName = HeaderName::from_static("botguard-request-id");
const SCORE: HeaderName = HeaderName::from_static("botguard-score");
const ACTION: HeaderName = HeaderName::from_static("botguard-action");
const SIGNALS: HeaderName = HeaderName::from_static("botguard-signals");
const CLIENT: HeaderName = HeaderName::from_static("botguard-client");
const SIGNATURE: HeaderName = HeaderName::from_static("botguard-signature");

#[cfg(test)]
mod tests;
