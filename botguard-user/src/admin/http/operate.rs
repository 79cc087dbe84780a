//! `POST /v1/operate`: what the admin socket takes and answers, over HTTP, for who has the token.
//! A request with a wrong one costs a hash and is counted; nothing is read of it but its head. No
//! CORS: a page that cannot read the token cannot ask, and one that has it is a program.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body;

use crate::admin::protocol::{self, Blame, Failed};
use crate::admin::socket::{Actor, Operator};
use crate::admin::token::Token;
use crate::telemetry::metrics;

/// What stands behind the path.
pub struct Door {
    /// Whom it opens to; nobody without one.
    pub token: Arc<ArcSwapOption<Token>>,
    /// Who carries out what is asked.
    pub operator: Arc<dyn Operator>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Door")
    }
}

/// Everything below is for whoever has the token.
pub(super) const PREFIX: &str = "/v1/";
const PATH: &str = "/v1/operate";

/// Some hundred thousand networks of a list; longer ones go over the socket.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Answers a request whose `Host` is good.
pub(super) async fn respond<B>(request: Request<B>, door: &Door) -> Response<String>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if let Err(refused) = admit(&request, door) {
        return *refused;
    }
    let body = Limited::new(request.into_body(), MAX_BODY_BYTES).collect();
    let body = match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return too_large(),
        Ok(Err(error)) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
        Err(_elapsed) => {
            return problem(StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
        }
    };
    let asked = match serde_json::from_slice::<protocol::Request>(&body) {
        Ok(asked) => asked,
        Err(error) => {
            let message = format!("not a request of this version: {error}");
            return answer(&protocol::Response::usage(message));
        }
    };
    let operator = Arc::clone(&door.operator);
    let performed = tokio::task::spawn_blocking(move || operator.perform(Actor::HttpToken, asked));
    match performed.await {
        Ok(response) => answer(&response),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// By its head alone.
fn admit<B: Body>(request: &Request<B>, door: &Door) -> Result<(), Box<Response<String>>> {
    let refuse = |reason, response| {
        metrics::admin_refused(reason);
        Err(Box::new(response))
    };
    let Some(token) = &*door.token.load() else {
        let detail = "nothing is operated over HTTP: the configuration has no `[admin] token_file`";
        return refuse("no_door", problem(StatusCode::FORBIDDEN, detail));
    };
    match bearer(request.headers()) {
        None => {
            let challenge = r#"Bearer realm="botguard""#;
            return refuse("no_token", unauthorized("a token is wanted", challenge));
        }
        Some(presented) if !token.is(presented) => {
            let challenge = r#"Bearer realm="botguard", error="invalid_token""#;
            return refuse("wrong_token", unauthorized("not the token", challenge));
        }
        Some(_) => {}
    }
    if request.uri().path() != PATH {
        let detail = "only /v1/operate is here";
        return Err(Box::new(problem(StatusCode::NOT_FOUND, detail)));
    }
    if request.method() != Method::POST {
        let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "only POST");
        let allowed = HeaderValue::from_static("POST");
        response.headers_mut().insert(header::ALLOW, allowed);
        return Err(Box::new(response));
    }
    if request.body().size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(Box::new(too_large()));
    }
    Ok(())
}

/// RFC 6750 section 2.1.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| token.trim_ascii())
}

fn answer(response: &protocol::Response) -> Response<String> {
    let status = match response {
        protocol::Response::Failed(Failed {
            blame: Blame::Usage,
            ..
        }) => StatusCode::BAD_REQUEST,
        protocol::Response::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::OK,
    };
    match serde_json::to_string(response) {
        Ok(text) => page(status, "application/json", text),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn too_large() -> Response<String> {
    let detail = "at most 16 MiB; longer lists are imported by the command, over the socket";
    problem(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

fn unauthorized(detail: &str, challenge: &'static str) -> Response<String> {
    let mut response = problem(StatusCode::UNAUTHORIZED, detail);
    let challenge = HeaderValue::from_static(challenge);
    (response.headers_mut()).insert(header::WWW_AUTHENTICATE, challenge);
    response
}

/// RFC 9457.
pub(super) fn problem(status: StatusCode, detail: &str) -> Response<String> {
    let text = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": detail,
    });
    page(status, "application/problem+json", text.to_string())
}

fn page(status: StatusCode, content_type: &'static str, text: String) -> Response<String> {
    let mut response = Response::new(text);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;
    use crate::admin::protocol::{Done, Response as Answer};

    const TOKEN: &str = "0123456789abcdef";

    /// Says who asked for what; some requests it refuses.
    struct Echo;

    impl Operator for Echo {
        fn perform(&self, actor: Actor, request: protocol::Request) -> Answer {
            match request {
                protocol::Request::Status => Answer::Done(Done {
                    did: vec![actor.to_string()],
                    warnings: vec![],
                }),
                protocol::Request::Reload => Answer::usage("bad file"),
                _ => Answer::internal("no disk"),
            }
        }
    }

    fn door(token: Option<&str>) -> Door {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let token = token.map(|token| {
            std::fs::write(&path, token).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            Arc::new(Token::load(&path).unwrap())
        });
        Door {
            token: Arc::new(ArcSwapOption::from(token)),
            operator: Arc::new(Echo),
        }
    }

    async fn ask(
        door: &Door,
        method: Method,
        path: &str,
        authorization: Option<&str>,
        body: &[u8],
    ) -> Response<String> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let body = Full::new(Bytes::copy_from_slice(body));
        respond(request.body(body).unwrap(), door).await
    }

    #[tokio::test]
    async fn only_the_token_opens() {
        let open = door(Some(TOKEN));
        let right = format!("Bearer {TOKEN}");
        let status = br#"{"request":"status"}"#;
        let check = async |door: &Door, authorization: Option<&str>, expected: u16| {
            let response = ask(door, Method::POST, PATH, authorization, status).await;
            assert_eq!(response.status().as_u16(), expected, "{authorization:?}");
            assert!(!response.body().contains(TOKEN));
            let is_challenged = response.headers().contains_key(header::WWW_AUTHENTICATE);
            assert_eq!(is_challenged, expected == 401);
            let content = response.headers()[header::CONTENT_TYPE].to_str().unwrap();
            assert_eq!(content.contains("problem"), expected != 200);
        };
        check(&open, Some(&right), 200).await;
        check(&open, Some(&format!("bearer  {TOKEN}")), 200).await;
        check(&open, None, 401).await;
        check(&open, Some(""), 401).await;
        check(&open, Some("Bearer "), 401).await;
        check(&open, Some(TOKEN), 401).await;
        check(&open, Some(&format!("Basic {TOKEN}")), 401).await;
        check(&open, Some(&format!("{right}0")), 401).await;
        check(&open, Some(&right[..right.len() - 1]), 401).await;
        check(&door(None), Some(&right), 403).await;
        check(&door(None), None, 403).await;
    }

    #[tokio::test]
    async fn answers_have_the_sockets_form() {
        let door = door(Some(TOKEN));
        let right = format!("Bearer {TOKEN}");
        let check = async |method: Method, path: &str, body: &[u8], status: u16, part: &str| {
            let response = ask(&door, method, path, Some(&right), body).await;
            assert_eq!(response.status().as_u16(), status, "{part}");
            assert!(response.body().contains(part), "{}", response.body());
        };
        let post = Method::POST;
        let done = r#"{"response":"done","did":["http token"],"warnings":[]}"#;
        check(post.clone(), PATH, br#"{"request":"status"}"#, 200, done).await;
        let usage = r#""response":"failed","message":"bad file","blame":"usage""#;
        check(post.clone(), PATH, br#"{"request":"reload"}"#, 400, usage).await;
        let internal = r#""message":"no disk","blame":"internal""#;
        check(
            post.clone(),
            PATH,
            br#"{"request":"block_list"}"#,
            500,
            internal,
        )
        .await;
        check(post.clone(), PATH, b"", 400, "not a request").await;
        check(
            post.clone(),
            PATH,
            br#"{"request":"explode"}"#,
            400,
            "not a request",
        )
        .await;
        check(
            post.clone(),
            PATH,
            br#"{"request":"status"} x"#,
            400,
            "not a request",
        )
        .await;
        check(
            post.clone(),
            PATH,
            &vec![b' '; MAX_BODY_BYTES + 1],
            413,
            "16 MiB",
        )
        .await;
        check(
            post.clone(),
            PATH,
            &vec![b' '; MAX_BODY_BYTES],
            400,
            "not a request",
        )
        .await;
        check(post, "/v1/", b"", 404, "/v1/operate").await;
        check(Method::GET, PATH, b"", 405, "only POST").await;
        check(Method::OPTIONS, PATH, b"", 405, "only POST").await;
    }
}
