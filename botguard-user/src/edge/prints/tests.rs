//! Captured clients under their own and under others' names.

use http::{HeaderName, HeaderValue, Method, Request};

use super::*;
use crate::edge::captures::{Capture, captures, openings};
use crate::edge::gate::Asks;
use crate::engine::prints::Browser;

impl Prints {
    /// Of a request with `headers` from the `place`th captured connection of `client`.
    pub(crate) fn captured(client: &str, place: usize, headers: &HeaderMap) -> Self {
        let captures = captures();
        let mut of_client = captures.iter().filter(|it| it.client == client);
        connection(of_client.nth(place).unwrap()).with(headers)
    }
}

fn connection(capture: &Capture) -> Arc<ConnectionPrints> {
    let prints = Arc::new(ConnectionPrints::default());
    let mut ear = HelloEar::new(&prints);
    let wants = ear.hear(&capture.bytes()).unwrap();
    assert!(wants == Wants::NoMore, "{}", capture.client);
    let openings = openings();
    if let Some(opening) = openings.iter().find(|it| it.client == capture.client) {
        let mut ear = OpeningEar::new(&prints);
        let bytes = opening.bytes();
        let (first, rest) = bytes.split_at(30);
        let wants = [ear.hear(first).unwrap(), ear.hear(rest).unwrap()];
        let expected = [Wants::More, Wants::NoMore];
        assert!(wants == expected, "{}", capture.client);
    }
    prints
}

/// A request of `capture`, with `user_agent`, from a client that is known by `via`.
fn seen(capture: &Capture, user_agent: &str, via: Via) -> PrintFacts {
    let prints = connection(capture);
    let (mut parts, ()) = Request::get("/").body(()).unwrap().into_parts();
    for name in &capture.header_order {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        parts.headers.insert(name, HeaderValue::from_static("x"));
    }
    let value = HeaderValue::from_str(user_agent).unwrap();
    parts.headers.insert(header::USER_AGENT, value);
    facts_of(&parts, &prints, via)
}

fn facts_of(parts: &http::request::Parts, prints: &ConnectionPrints, via: Via) -> PrintFacts {
    let ip = "192.0.2.1".parse().unwrap();
    facts(&RequestHead {
        parts,
        path: "/",
        authority: "a.test",
        client: ClientAddress::behind("192.0.2.9".parse().unwrap(), ip, via),
        local: ([192, 0, 2, 80], 443).into(),
        asks: Asks::Application,
        prints: &prints.with(&parts.headers),
    })
}

#[test]
fn who_is_honest_looks_like_what_it_says() {
    for capture in captures() {
        let user_agent = capture.user_agent.clone().unwrap_or_default();
        let facts = seen(&capture, &user_agent, Via::Peer);
        let client = &*capture.client;
        let expected = match client {
            "chromium" | "playwright" => Some(Browser::Chromium),
            _ if client.starts_with("curl_cffi_chrome") => Some(Browser::Chromium),
            "curl_cffi_edge101" => Some(Browser::Chromium),
            "curl_cffi_firefox" => Some(Browser::Firefox),
            "curl_cffi_safari" | "curl_cffi_safari_ios" => Some(Browser::WebKit),
            _ => None,
        };
        assert_eq!(facts.claim, expected, "{client}");
        match expected {
            Some(browser) => {
                assert_eq!(facts.tls, Look::Of(browser), "{client}");
                let http2 = [Look::Of(browser), Look::Unknown];
                assert!(http2.contains(&facts.http2), "{client}");
                assert_eq!(facts.fields, Fields::There, "{client}");
            }
            None => {
                assert_eq!(facts.tls, Look::Program, "{client}");
                assert_eq!(facts.fields, Fields::Unknown, "{client}");
            }
        }
    }
}

#[test]
fn who_is_not_looks_like_what_it_is() {
    let captures = captures();
    let check = |client: &str, user_agent: &str, expected: (Browser, Look, Fields)| {
        let capture = captures.iter().find(|it| it.client == client).unwrap();
        let facts = seen(capture, user_agent, Via::Peer);
        let found = (facts.claim.unwrap(), facts.tls, facts.fields);
        assert_eq!(found, expected, "{client} as {user_agent}");
    };
    use Browser::{Chromium, Firefox};
    let chrome = "Mozilla/5.0 (X11; Linux) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36";
    let firefox = "Mozilla/5.0 (X11; Linux; rv:147.0) Gecko/20100101 Firefox/147.0";
    let old = "Mozilla/5.0 (X11; Linux) Gecko/20100101 Firefox/52.0";
    check(
        "requests",
        chrome,
        (Chromium, Look::Program, Fields::Missing),
    );
    check(
        "requests",
        firefox,
        (Firefox, Look::Program, Fields::Missing),
    );
    check("requests", old, (Firefox, Look::Program, Fields::Unknown));
    check(
        "node_fetch",
        chrome,
        (Chromium, Look::Program, Fields::There),
    );
    check("ffuf", chrome, (Chromium, Look::Program, Fields::Missing));
    check(
        "curl_cffi_chrome",
        firefox,
        (Firefox, Look::Of(Chromium), Fields::There),
    );
    check(
        "curl_cffi_firefox",
        chrome,
        (Chromium, Look::Of(Firefox), Fields::There),
    );
}

#[test]
fn only_who_holds_the_connection_has_its_prints() {
    let captures = captures();
    let requests = captures.iter().find(|it| it.client == "requests").unwrap();
    let chrome = "Mozilla/5.0 (X11; Linux) Chrome/150.0.0.0 Safari/537.36";
    let check = |via, is_known: bool| {
        let facts = seen(requests, chrome, via);
        assert_eq!(facts != PrintFacts::default(), is_known, "{via:?}");
    };
    check(Via::Peer, true);
    check(Via::ProxyProtocol, true);
    check(Via::Forwarded, false);
    check(Via::Sdk, false);
}

#[test]
fn websockets_come_without_the_fields_of_browsers() {
    let check = |method: Method, field: Option<&'static str>, expected| {
        let mut request = Request::builder().method(method).uri("/").header(
            "user-agent",
            "Mozilla/5.0 (X11; Linux) Chrome/150.0.0.0 Safari/537.36",
        );
        if let Some(name) = field {
            request = request.header(name, "websocket");
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let facts = facts_of(&parts, &ConnectionPrints::default(), Via::Peer);
        assert_eq!(facts.fields, expected);
    };
    check(Method::GET, None, Fields::Missing);
    check(Method::GET, Some("upgrade"), Fields::Unknown);
    check(Method::CONNECT, None, Fields::Unknown);
    check(Method::GET, Some("sec-fetch-mode"), Fields::There);
}

#[test]
fn a_copy_of_a_browsers_ciphers_without_grease_is_not_its_own() {
    let captures = captures();
    let chromium = captures.iter().find(|it| it.client == "chromium").unwrap();
    let hello = chromium.hello();
    assert!(hello.has_grease());
    let ja4 = Ja4::of(&hello);
    assert_eq!(families::of_tls(&ja4, true), Look::Of(Browser::Chromium));
    assert_eq!(families::of_tls(&ja4, false), Look::Plain);
}
