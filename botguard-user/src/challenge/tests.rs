//! The challenge as browsers, solvers and forgers see it.

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use proptest::prelude::*;

use super::*;

const CLEARANCE: [u8; 32] = [7; 32];
const PUZZLES: [u8; 32] = [8; 32];

fn challenge(text: &str) -> Challenge {
    let settings = toml::from_str(text).unwrap();
    let path = "/.botguard/challenge".to_owned();
    Challenge::new(settings, path, &CLEARANCE, &PUZZLES)
}

/// Eight bits are 256 hashes.
fn easy() -> Challenge {
    challenge("difficulty = 8")
}

fn at(ms: u64) -> Now {
    Now {
        monotonic: Monotonic::from_boot(Duration::from_millis(1_000_000 + ms)),
        wall: Wall::from_unix_ms(1_795_435_200_000 + ms),
    }
}

fn holder() -> Holder {
    Holder {
        session: Some(SessionHash(5)),
        fingerprint: 6,
    }
}

fn find(token: &str, matches: impl Fn(u32) -> bool) -> u64 {
    (0..)
        .find(|solution| matches(puzzle::zero_bits(token, *solution)))
        .unwrap()
}

fn post(challenge: &Challenge, now: Now, holder: Holder, body: &str) -> Response<Bytes> {
    let request = ChallengeRequest {
        method: &Method::POST,
        body: body.as_bytes(),
        holder,
        request_id: "r-1",
    };
    challenge.answer(now, &request)
}

fn body(token: &str, solution: u64) -> String {
    format!("{{\"challenge\":\"{token}\",\"solution\":{solution}}}")
}

/// The header fields of a browser that keeps the cookie of an answer.
fn kept(response: &Response<Bytes>) -> HeaderMap {
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
    let pair = cookie.split(';').next().unwrap();
    with_cookie(pair)
}

fn with_cookie(pair: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(pair).unwrap())])
}

fn problem(response: &Response<Bytes>) -> serde_json::Value {
    let type_ = &response.headers()[header::CONTENT_TYPE];
    assert_eq!(type_, "application/problem+json");
    let document: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(document["request_id"], "r-1");
    document
}

#[test]
fn a_solution_earns_a_clearance() {
    let challenge = easy();
    let puzzle = challenge.puzzle(at(0).monotonic, &holder()).unwrap();
    let solution = find(&puzzle.token, |bits| bits >= 8);
    let response = post(
        &challenge,
        at(1_000),
        holder(),
        &body(&puzzle.token, solution),
    );
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert!(response.body().is_empty());
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.starts_with("botguard_clearance="), "{cookie}");
    let attributes = "; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=1800";
    assert!(cookie.ends_with(attributes), "{cookie}");
    let clearance = challenge.clearance(at(1_000).wall, &kept(&response), &holder());
    assert_eq!(clearance, Clearance::Valid);
}

#[test]
fn solutions_are_refused_that_prove_nothing() {
    let check = |ms: u64, changed: &dyn Fn(&mut Holder), bits: u32, expected: Result<(), &str>| {
        let challenge = easy();
        let puzzle = challenge.puzzle(at(0).monotonic, &holder()).unwrap();
        let solution = find(&puzzle.token, |zero| zero.min(8) == bits);
        let mut other = holder();
        changed(&mut other);
        let response = post(&challenge, at(ms), other, &body(&puzzle.token, solution));
        match expected {
            Ok(()) => assert_eq!(response.status(), StatusCode::NO_CONTENT, "{ms} {other:?}"),
            Err(kind) => {
                assert_eq!(response.status(), StatusCode::FORBIDDEN, "{ms} {other:?}");
                assert!(!response.headers().contains_key(header::SET_COOKIE));
                let problem = problem(&response);
                assert_eq!(problem["type"], format!("urn:botguard:problem:{kind}"));
                // There is always another.
                let next = problem["challenge"]["token"].as_str().unwrap();
                assert_ne!(next, puzzle.token);
                assert_eq!(problem["challenge"]["difficulty"], 8);
                assert_eq!(problem["challenge"]["floor_ms"], 1_000);
            }
        }
    };
    let same = |_: &mut Holder| {};
    let refused = Err("solution-refused");
    check(1_000, &same, 8, Ok(()));
    check(119_999, &same, 8, Ok(()));
    check(999, &same, 8, Err("solution-too-early"));
    check(0, &same, 8, Err("solution-too-early"));
    check(120_000, &same, 8, refused);
    check(1_000, &same, 7, refused);
    check(1_000, &same, 0, refused);
    check(1_000, &|it| it.fingerprint = 9, 8, refused);
    check(1_000, &|it| it.session = Some(SessionHash(9)), 8, refused);
    // A cookie of a narrower path is not sent to the reserved prefix.
    check(1_000, &|it| it.session = None, 8, Ok(()));
}

#[test]
fn a_puzzle_is_solved_once_also_where_it_came_too_early() {
    for first_ms in [500, 1_000] {
        let challenge = easy();
        let puzzle = challenge.puzzle(at(0).monotonic, &holder()).unwrap();
        let body = body(&puzzle.token, find(&puzzle.token, |bits| bits >= 8));
        let _first = post(&challenge, at(first_ms), holder(), &body);
        for ms in [1_000, 60_000, 119_999] {
            let again = post(&challenge, at(ms), holder(), &body);
            assert_eq!(again.status(), StatusCode::FORBIDDEN, "{first_ms} {ms}");
        }
    }
}

#[test]
fn other_processes_and_settings_have_other_puzzles() {
    let puzzle = easy().puzzle(at(0).monotonic, &holder()).unwrap();
    let body = body(&puzzle.token, find(&puzzle.token, |bits| bits >= 9));
    let check = |challenge: &Challenge, expected: u16| {
        let response = post(challenge, at(1_000), holder(), &body);
        assert_eq!(response.status().as_u16(), expected);
    };
    check(&easy(), 204);
    check(&challenge("difficulty = 9"), 403);
    let settings = toml::from_str("difficulty = 8").unwrap();
    let restarted = Challenge::new(settings, String::new(), &CLEARANCE, &[9; 32]);
    check(&restarted, 403);
    let settings = toml::from_str("difficulty = 8\nclearance = '1h'").unwrap();
    check(&easy().with(&settings, "/x").unwrap(), 403);
}

#[test]
fn a_clearance_is_good_for_its_holder_until_it_expires() {
    let challenge = easy();
    let tag = challenge.clearances.session_tag(Some(SessionHash(5)));
    let value = challenge.clearances.sign(at(0).wall, 6, &tag);
    let check = |ms, cookie: &str, changed: &dyn Fn(&mut Holder), expected: Clearance| {
        let mut holder = holder();
        changed(&mut holder);
        let clearance = challenge.clearance(at(ms).wall, &with_cookie(cookie), &holder);
        assert_eq!(clearance, expected, "{ms} {cookie} {holder:?}");
    };
    let good = format!("botguard_clearance={value}");
    let same = |_: &mut Holder| {};
    check(0, &good, &same, Clearance::Valid);
    check(1_799_999, &good, &same, Clearance::Valid);
    check(1_800_000, &good, &same, Clearance::None);
    check(0, &good, &|it| it.fingerprint = 9, Clearance::None);
    check(0, &good, &|it| it.session = None, Clearance::None);
    check(
        0,
        &good,
        &|it| it.session = Some(SessionHash(9)),
        Clearance::None,
    );
    check(0, &format!("a=b; {good}"), &same, Clearance::Valid);
    check(
        0,
        &format!("botguard_clearance=x;{good}"),
        &same,
        Clearance::Valid,
    );
    check(0, &format!("x{good}"), &same, Clearance::None);
    check(0, &good[..good.len() - 1], &same, Clearance::None);
    check(0, &format!("{good}A"), &same, Clearance::None);
    check(0, "botguard_clearance=", &same, Clearance::None);
    // One that was earned without a session is good without one.
    let tag = challenge.clearances.session_tag(None);
    let value = challenge.clearances.sign(at(0).wall, 6, &tag);
    let good = format!("botguard_clearance={value}");
    check(0, &good, &|it| it.session = None, Clearance::Valid);
    check(0, &good, &same, Clearance::None);
}

#[test]
fn a_clearance_outlives_the_process_and_a_reload_but_not_its_key() {
    let old = easy();
    let tag = old.clearances.session_tag(Some(SessionHash(5)));
    let value = old.clearances.sign(at(0).wall, 6, &tag);
    let headers = with_cookie(&format!("botguard_clearance={value}"));
    let check = |challenge: &Challenge, expected| {
        let clearance = challenge.clearance(at(1).wall, &headers, &holder());
        assert_eq!(clearance, expected);
    };
    let restarted = Challenge::new(
        ChallengeSettings::default(),
        String::new(),
        &CLEARANCE,
        &[1; 32],
    );
    check(&restarted, Clearance::Valid);
    assert!(old.with(&old.settings, old.path()).is_none());
    let settings = toml::from_str("clearance = '1m'").unwrap();
    check(&old.with(&settings, old.path()).unwrap(), Clearance::Valid);
    let other = Challenge::new(
        ChallengeSettings::default(),
        String::new(),
        &[1; 32],
        &PUZZLES,
    );
    check(&other, Clearance::None);
    let renamed = toml::from_str("cookie = 'other'").unwrap();
    check(&old.with(&renamed, old.path()).unwrap(), Clearance::None);
}

#[test]
fn every_method_and_body_has_its_status() {
    let challenge = easy();
    let check = |method: Method, body: &str, status: u16| {
        let request = ChallengeRequest {
            method: &method,
            body: body.as_bytes(),
            holder: holder(),
            request_id: "r-1",
        };
        let response = challenge.answer(at(0), &request);
        assert_eq!(response.status().as_u16(), status, "{method} {body}");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        if status >= 400 {
            assert_eq!(problem(&response)["status"], status);
        }
    };
    check(Method::GET, "", 200);
    check(Method::HEAD, "", 200);
    check(Method::DELETE, "", 405);
    check(Method::POST, "", 400);
    check(Method::POST, "[]", 400);
    check(Method::POST, &body("!", 1), 400);
    check(Method::POST, "{\"challenge\":\"AAAA\"}", 400);
    check(
        Method::POST,
        "{\"challenge\":\"AAAA\",\"solution\":-1}",
        400,
    );
    check(Method::POST, &body(&"A".repeat(96), 1), 403);
}

#[test]
fn the_page_may_do_nothing_but_what_it_is_for() {
    let page = easy().page(at(0).monotonic, &holder(), After::Reload, "r-1");
    let page = page.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'sha256-"),
        "{policy}"
    );
    assert!(
        !policy.contains("unsafe") && !policy.contains("http"),
        "{policy}"
    );
    assert_eq!(page.headers()[header::VARY], "Accept, Cookie");
    assert_eq!(page.headers()[header::CACHE_CONTROL], "no-store");
}

proptest! {
    /// Whatever is posted, nobody is cleared and nothing panics.
    #[test]
    fn garbage_earns_nothing(garbage in proptest::collection::vec(any::<u8>(), 0..300)) {
        let request = ChallengeRequest { method: &Method::POST, body: &garbage, holder: holder(), request_id: "r-1" };
        let response = easy().answer(at(1_000), &request);
        prop_assert!(response.status().is_client_error());
        prop_assert!(!response.headers().contains_key(header::SET_COOKIE));
    }

    /// Whatever stands in the cookie, nobody is cleared and nothing panics.
    #[test]
    fn forged_cookies_clear_nobody(value in proptest::collection::vec(32_u8..=255, 0..200)) {
        let mut cookie = b"botguard_clearance=".to_vec();
        cookie.extend(value.iter().filter(|byte| **byte != 127));
        let headers = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_bytes(&cookie).unwrap())]);
        prop_assert_eq!(easy().clearance(at(0).wall, &headers, &holder()), Clearance::None);
    }

    /// No changed clearance or puzzle is worth anything.
    #[test]
    fn tampering_is_noticed(byte in 0..44_usize, flip in 1_u8.., at_puzzle in 0..72_usize) {
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let challenge = easy();
        let tag = challenge.clearances.session_tag(Some(SessionHash(5)));
        let value = challenge.clearances.sign(at(0).wall, 6, &tag);
        let mut bytes = URL_SAFE_NO_PAD.decode(value).unwrap();
        bytes[byte] ^= flip;
        let headers = with_cookie(&format!("botguard_clearance={}", URL_SAFE_NO_PAD.encode(&bytes)));
        prop_assert_eq!(challenge.clearance(at(0).wall, &headers, &holder()), Clearance::None);

        let puzzle = challenge.puzzle(at(0).monotonic, &holder()).unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(puzzle.token).unwrap();
        bytes[at_puzzle] ^= flip;
        let token = URL_SAFE_NO_PAD.encode(&bytes);
        let solution = find(&token, |bits| bits >= 8);
        let response = post(&challenge, at(1_000), holder(), &body(&token, solution));
        prop_assert_eq!(response.status(), StatusCode::FORBIDDEN);
    }
}
