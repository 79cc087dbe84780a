//! Logins whose user is read from the body as it passes: nothing waits for it, over either protocol.

use http_body_util::{BodyExt as _, Full};

use super::*;
use crate::engine::facts::{Login, LoginAttempt, LoginName, Unread};
use crate::engine::policy::login::LoginRule;

/// `/login` is one.
pub(super) fn rule(path: &str) -> Option<Arc<LoginRule>> {
    path.starts_with("/login").then(|| {
        Arc::new(LoginRule {
            field: "json:email".parse().unwrap(),
            failure: [401].into(),
        })
    })
}

/// Of two names, two; nothing more.
pub(super) fn hash(name: &str) -> UserHash {
    let bytes = name.bytes().map(u128::from);
    UserHash(bytes.fold(0, |hash, byte| (hash << 8) ^ byte ^ (hash >> 120)))
}

fn attempt(name: &str, outcome: Option<Login>) -> LoginAttempt {
    let name = LoginName::Hashed(hash(name));
    LoginAttempt { name, outcome }
}

/// Says of each piece of a body that it has arrived, and answers 401 at its end.
async fn listening() -> (SocketAddr, mpsc::UnboundedReceiver<Bytes>) {
    let (arrived, pieces) = mpsc::unbounded_channel();
    let at = upstream(move |request: Request<Incoming>| {
        let arrived = arrived.clone();
        async move {
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                if let Ok(piece) = frame.into_data() {
                    arrived.send(piece).unwrap();
                }
            }
            let mut response = Response::new(Full::new(Bytes::new()));
            *response.status_mut() = http::StatusCode::UNAUTHORIZED;
            response
        }
    })
    .await;
    (at, pieces)
}

#[tokio::test]
async fn a_half_sent_body_arrives_and_the_whole_one_names_its_user() {
    let (at, mut pieces) = listening().await;
    let mut edge = start(at).await;
    let mut one = edge.http1().await;
    let mut two = edge.http2().await;
    for version in [1, 2] {
        let (mut feed, body) = fed();
        let answer = match version {
            1 => tokio::spawn(one.send_request(post("/login").body(body).unwrap())),
            _ => {
                let request = Request::post("https://localhost/login").body(body);
                tokio::spawn(two.send_request(request.unwrap()))
            }
        };
        feed.send(data("{\"email\": \"Ann@")).await.unwrap();
        // The rest is not sent before this is there.
        assert_eq!(
            pieces.recv().await.unwrap(),
            "{\"email\": \"Ann@",
            "{version}"
        );
        feed.send(data("b.test\", \"password\": \"x\"}"))
            .await
            .unwrap();
        drop(feed);
        assert_eq!(
            pieces.recv().await.unwrap(),
            "b.test\", \"password\": \"x\"}"
        );
        let response = answer.await.unwrap().unwrap();
        assert_eq!(response.status(), 401);
        drop(response.into_body().collect().await);
        let (facts, _) = edge.finished().await;
        assert_eq!(
            facts.login,
            Some(attempt("ann@b.test", Some(Login::Fail))),
            "{version}"
        );
    }
}

#[tokio::test]
async fn what_is_not_read_passes_all_the_same() {
    let check = async |path: &str, coding: &str, body: String, expected: Option<LoginName>| {
        let (at, mut pieces) = listening().await;
        let mut edge = start_with(&[at], "", "inspect_body = '32B'").await;
        let mut client = edge.http1().await;
        let request = post(path).header("content-encoding", coding);
        let sent = Bytes::from(body);
        let request = request.body(Full::new(sent.clone())).unwrap();
        let response = client.send_request(request).await.unwrap();
        drop(response.into_body().collect().await);
        let (facts, _) = edge.finished().await;
        assert_eq!(
            facts.login.map(|login| login.name),
            expected,
            "{path} {sent:?}"
        );
        let mut arrived = Vec::new();
        while arrived.len() < sent.len() {
            arrived.extend(pieces.recv().await.unwrap());
        }
        assert_eq!(arrived, sent);
    };
    let named = || r#"{"email": "a@b.test"}"#.to_owned();
    let read = Some(LoginName::Hashed(hash("a@b.test")));
    let unread = |why| Some(LoginName::Unread(why));
    check("/login", "identity", named(), read).await;
    check("/other", "identity", named(), None).await;
    check("/login", "gzip", named(), unread(Unread::Encoded)).await;
    check(
        "/login",
        "identity",
        "{}".to_owned(),
        unread(Unread::Absent),
    )
    .await;
    check(
        "/login",
        "identity",
        "x".repeat(33),
        unread(Unread::TooLarge),
    )
    .await;
    check(
        "/login",
        "identity",
        "x".repeat(1_000_000),
        unread(Unread::TooLarge),
    )
    .await;
}

fn post(path: &str) -> http::request::Builder {
    Request::post(path).header("host", "localhost")
}
