//! Logins whose user was read from the body.

use http::Method;

use super::*;
use crate::engine::facts::{Login, LoginAttempt, LoginName};

#[test]
fn a_login_is_recorded_by_keyed_hash_and_read_back() {
    let bench = Bench::of(
        "[[route]]\npath = \"/login\"\nmethods = [\"POST\"]\n\
         login = { user = \"json:email\", failure = [401] }",
        &[],
    );
    let send = |method: Method, login: Option<LoginAttempt>| {
        let request = Request::builder().method(method).uri("/login");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let admission = bench.pipeline.admit(&head(&parts, Asks::Application));
        let response = ResponseFacts {
            login,
            ..response_of(AnsweredBy::Upstream)
        };
        let _closing: Closing = bench.pipeline.finish(admission.ticket, &response);
        admission.login
    };
    let hash = bench.pipeline.user("ann@b.test").unwrap();
    let attempt = LoginAttempt {
        name: LoginName::Hashed(hash),
        outcome: Some(Login::Fail),
    };
    let rule = send(Method::POST, Some(attempt)).unwrap();
    assert_eq!(rule.outcome(401), Some(Login::Fail));
    // Another method is another route.
    assert_eq!(send(Method::GET, None), None);

    let requests = bench.requests();
    let (_at, read) = requests[0].response_facts().unwrap();
    assert_eq!(read.login, Some(attempt));
    let (_at, read) = requests[1].response_facts().unwrap();
    assert_eq!(read.login, None);
    let text = serde_json::to_string(&requests).unwrap();
    assert!(text.contains(&hash.to_string()), "{text}");
    assert!(!text.contains("ann@b.test"), "{text}");
}
