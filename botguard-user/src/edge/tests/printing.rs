//! The prints of a real client reach the gate, with every request of a connection.

use http_body_util::{BodyExt as _, Empty};

use super::*;

/// The gate tells the upstream what it was shown of who asks for `/prints`.
pub(super) fn and_prints(
    request: &RequestHead<'_>,
    mut headers: Vec<(HeaderName, HeaderValue)>,
) -> Vec<(HeaderName, HeaderValue)> {
    if request.path == "/prints" {
        let prints = request.prints;
        let shown = format!(
            "{} {} {}",
            prints.ja4().map_or("none", |ja4| ja4.as_str()),
            prints.http2().unwrap_or("none"),
            prints.header_shape().is_some(),
        );
        headers.push((
            HeaderName::from_static("x-prints"),
            HeaderValue::from_str(&shown).unwrap(),
        ));
    }
    headers
}

/// What the upstream was told, sent back.
async fn mirror() -> SocketAddr {
    upstream(|request: Request<Incoming>| async move {
        let shown = request.headers().get("x-prints");
        let shown = shown.map(|it| it.as_bytes().to_vec()).unwrap_or_default();
        Response::new(http_body_util::Full::new(Bytes::from(shown)))
    })
    .await
}

async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

async fn over_http1(running: &Running) -> Vec<String> {
    let mut sender = running.http1::<Empty<Bytes>>().await;
    let mut shown = Vec::new();
    for _ in 0..2 {
        sender.ready().await.unwrap();
        let request = get("/prints").body(Empty::new()).unwrap();
        shown.push(text(sender.send_request(request).await.unwrap()).await);
    }
    shown
}

async fn over_http2(running: &Running) -> Vec<String> {
    let mut sender = running.http2::<Empty<Bytes>>().await;
    let mut shown = Vec::new();
    for _ in 0..2 {
        sender.ready().await.unwrap();
        let request = get2("/prints").body(Empty::new()).unwrap();
        shown.push(text(sender.send_request(request).await.unwrap()).await);
    }
    shown
}

#[tokio::test]
async fn each_request_has_the_prints_of_its_connection() {
    let running = start(mirror().await).await;
    let check = |shown: &[String], protocol: &str, http2: bool| {
        assert_eq!(shown[0], shown[1]);
        let parts: Vec<_> = shown[0].split(' ').collect();
        let [ja4, opening, shape] = parts[..] else {
            panic!("{shown:?}");
        };
        assert!(
            ja4.starts_with("t13d") && ja4[8..].starts_with(protocol),
            "{ja4}"
        );
        assert_eq!(opening.ends_with("|0|m,s,a,p"), http2, "{opening}");
        assert_eq!(opening == "none", !http2, "{opening}");
        assert_eq!(shape, "true");
        ja4.to_owned()
    };
    let first = check(&over_http1(&running).await, "h1", false);
    // Resumed: an extension more, and nothing else that lasts.
    let resumed = check(&over_http1(&running).await, "h1", false);
    assert_ne!(first, resumed);
    let part = |ja4: &str| ja4.split('_').nth(1).map(ToOwned::to_owned);
    assert_eq!(part(&first), part(&resumed));
    check(&over_http2(&running).await, "h2", true);
    running.stop().await;
}
