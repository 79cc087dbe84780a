//! The reserved prefix as a page and an attacker see it.

use std::time::Duration;

use super::*;
use crate::words::identity::KeyHash;

const ORIGIN: &str = "https://app.example.com";

fn interaction() -> Interaction {
    let settings = toml::from_str(&format!("origins = ['{ORIGIN}']")).unwrap();
    let key_header = KeyHeader {
        name: http::HeaderName::from_static("x-api-key"),
        before: "",
    };
    Interaction::new(settings, &[7; 32], Some(key_header))
}

fn now() -> Monotonic {
    Monotonic::from_boot(Duration::from_secs(1_000))
}

fn visitor() -> Visitor {
    Visitor {
        session: None,
        client: ClientAddress::direct("192.0.2.1".parse().unwrap()),
        key: Some(KeyIdentity {
            public_id: "xyz1".into(),
            shown: "xyz1…".into(),
            hash: KeyHash(5),
            tier: None,
        }),
        fingerprint: 6,
    }
}

fn ask(ui: &Interaction, method: Method, path: &str, origin: Option<&str>, body: &str) -> UiReply {
    let mut headers = HeaderMap::new();
    if let Some(origin) = origin {
        headers.insert(header::ORIGIN, origin.parse().unwrap());
    }
    let request = UiRequest {
        method: &method,
        path,
        authority: "api.example.com",
        headers: &headers,
        body: body.as_bytes(),
        visitor: visitor(),
    };
    ui.answer(now(), &request)
}

fn token(reply: &UiReply) -> String {
    let body: serde_json::Value = serde_json::from_slice(reply.response.body()).unwrap();
    body["token"].as_str().unwrap().to_owned()
}

#[test]
fn every_path_and_method_has_its_status() {
    let check = |method: Method, path: &str, origin: Option<&str>, status: u16| {
        let reply = ask(&interaction(), method.clone(), path, origin, "");
        assert_eq!(
            reply.response.status().as_u16(),
            status,
            "{method} {path} {origin:?}"
        );
        assert!(reply.interaction.is_none());
        let type_ = reply.response.headers().get(header::CONTENT_TYPE);
        if status >= 400 {
            assert_eq!(type_.unwrap(), "application/problem+json");
        }
        let readable = reply
            .response
            .headers()
            .get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        assert_eq!(readable.is_some(), origin == Some(ORIGIN));
        assert_eq!(reply.response.headers()[header::VARY], "origin");
    };
    check(Method::GET, "/.botguard/ui.js", None, 200);
    check(Method::HEAD, "/.botguard/ui.js", None, 200);
    check(Method::POST, "/.botguard/ui.js", None, 405);
    check(Method::GET, "/.botguard/status", None, 200);
    check(Method::POST, "/.botguard/status", None, 405);
    check(Method::GET, "/.botguard/ui", None, 200);
    check(Method::GET, "/.botguard/ui", Some(ORIGIN), 200);
    check(Method::GET, "/.botguard/ui", Some("https://evil.test"), 403);
    check(Method::OPTIONS, "/.botguard/ui", Some(ORIGIN), 204);
    check(
        Method::OPTIONS,
        "/.botguard/ui",
        Some("https://evil.test"),
        403,
    );
    check(Method::POST, "/.botguard/ui", Some(ORIGIN), 400);
    check(Method::DELETE, "/.botguard/ui", Some(ORIGIN), 405);
    check(Method::GET, "/.botguard", None, 404);
    check(Method::GET, "/.botguard/other", Some(ORIGIN), 404);
}

#[test]
fn a_preflight_names_the_key_header() {
    let reply = ask(
        &interaction(),
        Method::OPTIONS,
        "/.botguard/ui",
        Some(ORIGIN),
        "",
    );
    let headers = reply.response.headers();
    assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], ORIGIN);
    assert_eq!(
        headers[header::ACCESS_CONTROL_ALLOW_HEADERS],
        "content-type, x-api-key"
    );
    assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_METHODS], "GET, POST");
}

#[test]
fn a_token_is_an_interaction_once_and_brings_the_next() {
    let ui = interaction();
    let post = |token: &str| {
        let body = format!("{{\"token\":\"{token}\",\"kind\":\"pointer\"}}");
        ask(&ui, Method::POST, "/.botguard/ui", Some(ORIGIN), &body)
    };
    let mut next = token(&ask(&ui, Method::GET, "/.botguard/ui", Some(ORIGIN), ""));
    for _ in 0..3 {
        let reply = post(&next);
        assert_eq!(reply.response.status(), 200);
        let facts = reply.interaction.as_ref().unwrap();
        assert_eq!(
            (facts.client, &facts.key),
            (visitor().client, &visitor().key)
        );
        let replayed = post(&next);
        assert_eq!(replayed.response.status(), 403);
        assert!(replayed.interaction.is_none());
        next = token(&reply);
    }
}

#[test]
fn malformed_events_spend_nothing() {
    let ui = interaction();
    let token = token(&ask(&ui, Method::GET, "/.botguard/ui", None, ""));
    let check = |body: String, status: u16| {
        let reply = ask(&ui, Method::POST, "/.botguard/ui", None, &body);
        assert_eq!(reply.response.status().as_u16(), status, "{body}");
        assert_eq!(reply.interaction.is_some(), status == 200);
    };
    check(String::new(), 400);
    check("[]".to_owned(), 400);
    check(format!("{{\"token\":\"{token}\"}}"), 400);
    check(
        format!("{{\"token\":\"{token}\",\"kind\":\"thought\"}}"),
        400,
    );
    check(
        format!("{{\"token\":\"{token}\",\"kind\":\"key\",\"x\":1}}"),
        400,
    );
    check("{\"token\":\"!\",\"kind\":\"key\"}".to_owned(), 400);
    check(format!("{{\"token\":\"{token}\",\"kind\":\"key\"}}"), 200);
}

#[test]
fn minting_is_bounded_and_says_when_to_come_back() {
    let ui = interaction();
    let get = || ask(&ui, Method::GET, "/.botguard/ui", None, "").response;
    for _ in 0..60 {
        assert_eq!(get().status(), 200);
    }
    let refused = get();
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
}

#[test]
fn the_status_says_nothing_but_that_somebody_answers() {
    let reply = ask(&interaction(), Method::GET, "/.botguard/status", None, "");
    assert_eq!(reply.response.body(), &r#"{"status":"ok"}"#);
}
