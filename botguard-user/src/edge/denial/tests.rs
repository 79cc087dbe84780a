//! Every denial, as programs and pages see it.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;
use http::request::Parts;

use super::*;
use crate::edge::gate::Asks;
use crate::edge::prints::NO_PRINTS;
use crate::engine::decision::LimitUnit;
use crate::words::address::ClientAddress;

/// Has a challenge to show.
struct Challenger;

impl ReservedRoutes for Challenger {
    fn owns(&self, _path: &str) -> bool {
        false
    }

    fn answer(&self, _request: &RequestHead<'_>, _id: &str, _body: Bytes) -> Response<Bytes> {
        Response::new(Bytes::new())
    }

    fn challenge_page(
        &self,
        _request: &RequestHead<'_>,
        request_id: &str,
    ) -> Option<Response<Bytes>> {
        let page = Response::builder().header("content-type", "text/html");
        page.body(Bytes::from(format!("<html>{request_id}"))).ok()
    }

    fn challenge_path(&self) -> Option<String> {
        Some("/.botguard/challenge".to_owned())
    }
}

fn answer_to(denial: &Denial, limit: Option<&LimitState>, parts: &Parts) -> Response<Bytes> {
    let local: SocketAddr = "127.0.0.1:443".parse().unwrap();
    let head = RequestHead {
        parts,
        path: parts.uri.path(),
        authority: "a.test:8443",
        client: ClientAddress::direct("192.0.2.1".parse().unwrap()),
        local,
        asks: Asks::Application,
        prints: &NO_PRINTS,
    };
    answer(denial, limit, &head, &Challenger, "r-1")
}

fn request(method: &str, path: &str, accept: &str) -> Parts {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("accept", accept).body(()).unwrap();
    request.into_parts().0
}

/// The answer to a program, and its document.
fn document(denial: &Denial, limit: Option<&LimitState>) -> (Response<Bytes>, Value) {
    let response = answer_to(denial, limit, &request("GET", "/", "application/json"));
    let document: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(document["status"], response.status().as_u16());
    assert_eq!(document["request_id"], "r-1");
    for member in ["type", "title", "detail"] {
        assert!(document[member].is_string(), "{member}");
    }
    (response, document)
}

fn throttled(cause: ThrottleCause, ms: u64) -> Denial {
    Denial::Throttle {
        retry_after: Duration::from_millis(ms),
        cause,
    }
}

#[test]
fn each_denial_has_its_status_and_type() {
    let check = |denial: &Denial, status: u16, kind: &str| {
        let (response, document) = document(denial, None);
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(document["type"], kind);
    };
    check(&Denial::Block, 403, "urn:botguard:problem:blocked");
    check(
        &Denial::Suspended,
        403,
        "urn:botguard:problem:key-suspended",
    );
    check(
        &Denial::Challenge,
        403,
        "urn:botguard:problem:challenge-required",
    );
    check(
        &Denial::StepUp(StepUpDemand::default()),
        401,
        "urn:botguard:problem:step-up-required",
    );
    check(
        &throttled(ThrottleCause::Limit, 1),
        429,
        "https://iana.org/assignments/http-problem-types#quota-exceeded",
    );
    check(
        &throttled(ThrottleCause::Score, 1),
        429,
        "https://iana.org/assignments/http-problem-types#abnormal-usage-detected",
    );
}

#[test]
fn throttling_says_when_to_come_back() {
    let limit = |reset_ms| LimitState {
        name: "key".into(),
        unit: LimitUnit::Requests,
        quota: 120,
        window: Duration::from_secs(60),
        remaining: 0,
        reset: Duration::from_millis(reset_ms),
    };
    let check = |retry_ms: u64, limit: Option<LimitState>, seconds: &str| {
        for cause in [ThrottleCause::Limit, ThrottleCause::Score] {
            let (response, document) = document(&throttled(cause, retry_ms), limit.as_ref());
            assert_eq!(response.headers()["retry-after"], seconds);
            let violated = document.get("violated-policies");
            if let (ThrottleCause::Limit, Some(_)) = (cause, &limit) {
                assert_eq!(violated, Some(&serde_json::json!(["key"])));
            } else {
                assert_eq!(violated, None);
            }
            assert_eq!(
                response.headers().contains_key("ratelimit"),
                limit.is_some()
            );
        }
    };
    check(0, None, "1");
    check(1, None, "1");
    check(2_000, None, "2");
    check(2_001, None, "3");
    check(2_000, Some(limit(30_000)), "30");
    check(31_000, Some(limit(30_000)), "31");
}

#[test]
fn step_up_demands_are_quoted() {
    let check = |acr_values: &[&str], url: Option<&str>, expected: &str| {
        let demand = StepUpDemand {
            max_age: Duration::from_secs(300),
            acr_values: acr_values.iter().map(|value| Arc::from(*value)).collect(),
            url: url.map(Arc::from),
        };
        let (response, document) = document(&Denial::StepUp(demand), None);
        assert_eq!(
            response.headers()["www-authenticate"].to_str().unwrap(),
            format!(
                "Bearer error=\"insufficient_user_authentication\", \
                 error_description=\"The user has to prove again who they are\", {expected}"
            )
        );
        assert_eq!(document["max_age"], 300);
        assert_eq!(document.get("step_up_url").and_then(Value::as_str), url);
        let members = document
            .get("acr_values")
            .map_or(0, |values| values.as_array().unwrap().len());
        assert_eq!(members, acr_values.len());
    };
    check(&[], None, "max_age=\"300\"");
    check(
        &["urn:mfa", "hwk"],
        Some("https://app.example.com/again?to=\"x\""),
        "acr_values=\"urn:mfa hwk\", max_age=\"300\"",
    );
    check(
        &["a\"b\\c\r\né"],
        None,
        "acr_values=\"a\\\"b\\\\c\", max_age=\"300\"",
    );
}

#[test]
fn only_pages_are_shown_the_challenge() {
    let check = |method: &str, path: &str, accept: &str, html: bool| {
        let response = answer_to(&Denial::Challenge, None, &request(method, path, accept));
        assert_eq!(response.status(), 403);
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["vary"], "Accept, Cookie");
        let type_ = response.headers()["content-type"].to_str().unwrap();
        assert_eq!(type_ == "text/html", html, "{method} {path} {accept}");
        if !html {
            let document: Value = serde_json::from_slice(response.body()).unwrap();
            let url = "https://a.test:8443/.botguard/challenge";
            assert_eq!(document["challenge_url"], url);
            assert_eq!(document["request_id"], "r-1");
        }
    };
    let page = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8";
    check("GET", "/users", page, true);
    check("HEAD", "/users", page, true);
    check("POST", "/users", page, false);
    check("GET", "/users", "*/*", false);
    check("GET", "/users", "application/json", false);
    check("GET", "/robots.txt", page, false);
    check("GET", "/.well-known/security.txt", page, false);
    check("GET", "/.well-knownish", page, true);
}

#[test]
fn no_other_denial_is_html() {
    let page = request("GET", "/", "text/html");
    for denial in [
        Denial::Block,
        Denial::Suspended,
        Denial::StepUp(StepUpDemand::default()),
        throttled(ThrottleCause::Score, 1),
    ] {
        let response = answer_to(&denial, None, &page);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
    }
}
