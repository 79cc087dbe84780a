//! A challenge from the page to the fact that the engine is told, without sockets.

use aws_lc_rs::digest;
use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode, header};

use super::*;
use crate::challenge::ChallengeRequest;
use crate::daemon::reserved::{Reserved, next_challenge};
use crate::edge::reserved::ReservedRoutes as _;
use crate::engine::facts::{Clearance, Reader};
use crate::settings::Settings;

fn parts(method: Method, path: &str, agent: &str, cookie: Option<&str>) -> Parts {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("user-agent", agent)
        .header("accept", "text/html");
    if let Some(cookie) = cookie {
        request = request.header("cookie", cookie);
    }
    request.body(()).unwrap().into_parts().0
}

fn head(parts: &Parts, asks: Asks) -> RequestHead<'_> {
    RequestHead {
        parts,
        path: parts.uri.path(),
        authority: "api.example.com",
        client: ClientAddress::direct("192.0.2.1".parse().unwrap()),
        local: SocketAddr::from(([192, 0, 2, 80], 443)),
        asks,
        prints: &NO_PRINTS,
    }
}

/// What a page's script posts.
fn solved(page: &Bytes) -> String {
    let page = std::str::from_utf8(page).unwrap();
    let token = page.split("data-token=\"").nth(1).unwrap();
    let token = token.split('"').next().unwrap();
    let is_solution = |number: &u64| {
        let text = format!("{token}.{number}");
        digest::digest(&digest::SHA256, text.as_bytes()).as_ref()[..2] == [0, 0]
    };
    let solution = (0..).find(is_solution).unwrap();
    format!("{{\"challenge\":\"{token}\",\"solution\":{solution}}}")
}

#[test]
fn who_has_solved_a_challenge_is_known_by_it() {
    let Bench {
        pipeline,
        directory: _directory,
        ..
    } = Bench::new("enforce");
    let pipeline = Arc::new(pipeline);
    let settings = Settings::default();
    let reserved = Reserved::new(Arc::clone(&pipeline), &settings).unwrap();
    assert_eq!(reserved.own_cookie().unwrap(), "botguard_clearance");
    let path = reserved.challenge_path().unwrap();
    assert!(reserved.owns(&path));

    let asks = parts(Method::GET, "/users", "firefox", None);
    let asks = head(&asks, Asks::Application);
    let page = || reserved.challenge_page(&asks, "r-1").unwrap().into_body();
    let post = parts(Method::POST, &path, "firefox", None);
    let post = head(&post, Asks::Botguard);
    // Under the reserved prefix the clock is the real one, and a page takes a second.
    let answer = reserved.answer(&post, "r-2", Bytes::from(solved(&page())));
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let problem: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(problem["type"], "urn:botguard:problem:solution-too-early");
    assert_eq!(problem["request_id"], "r-2");

    let body = solved(&page());
    let mut now = Now::read();
    now.monotonic = now.monotonic.after(Duration::from_secs(1));
    let request = ChallengeRequest {
        method: &Method::POST,
        body: body.as_bytes(),
        holder: pipeline.holder(&post),
        request_id: "r-3",
    };
    let answer = pipeline.view().challenge.answer(now, &request);
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap();

    let check = |agent: &str, cookie: Option<&str>, expected: Clearance| {
        let parts = parts(Method::GET, "/users", agent, cookie);
        let (facts, _) = pipeline.facts(&head(&parts, Asks::Application), &pipeline.view());
        assert_eq!(facts.clearance, expected, "{agent} {cookie:?}");
        assert_eq!(facts.reader, Reader::Page);
    };
    check("firefox", Some(cookie), Clearance::Valid);
    check("firefox", None, Clearance::None);
    check("curl/8", Some(cookie), Clearance::None);

    // A reload keeps it, under whatever difficulty.
    let mut harder = settings;
    harder.challenge.difficulty = 20.try_into().unwrap();
    let view = pipeline.view();
    pipeline.replace(View {
        challenge: next_challenge(&view.challenge, &harder),
        ..View::clone(&view)
    });
    check("firefox", Some(cookie), Clearance::Valid);
    let page = reserved.challenge_page(&asks, "r-1").unwrap().into_body();
    assert!(
        page.windows(20)
            .any(|part| part == b"data-difficulty=\"20\"")
    );
}
