//! A reload replaces how a listener serves, under its open connections.

use http_body_util::{BodyExt as _, Empty, Full};

use super::*;
use crate::edge::listener::{Inherited, Prepared};

async fn named(name: &'static str) -> SocketAddr {
    let answer = move |_request: Request<Incoming>| {
        std::future::ready(Response::new(Full::new(Bytes::from(name))))
    };
    upstream(answer).await
}

/// Another configuration of the listener of `edge`.
pub(super) fn prepared(edge: &Running, endpoint: SocketAddr, listener: &str) -> Vec<Prepared> {
    prepared_with(edge, endpoint, "", listener)
}

fn prepared_with(
    edge: &Running,
    endpoint: SocketAddr,
    upstream: &str,
    listener: &str,
) -> Vec<Prepared> {
    let upstream = format!("endpoints = ['http://{endpoint}']\n{upstream}");
    let upstream = toml::from_str(&upstream).unwrap();
    let upstreams = Upstreams::new(&BTreeMap::from([("app".to_owned(), upstream)])).unwrap();
    let settings = toml::from_str(&format!(
        "bind = '127.0.0.1:0'\nupstream = 'app'\n\
         certificate = [{{ cert = 'cert.pem', key = 'key.pem' }}]\n{listener}"
    ));
    prepare(&[settings.unwrap()], &upstreams, edge.directory.path()).unwrap()
}

async fn ask(client: &mut http1::SendRequest<Empty<Bytes>>) -> Bytes {
    client.ready().await.unwrap();
    let request = get("/").body(Empty::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn an_open_connection_goes_to_the_new_upstream() {
    let edge = start(named("old").await).await;
    let mut client = edge.http1().await;
    assert_eq!(ask(&mut client).await, "old");
    replace(&edge, prepared(&edge, named("new").await, ""));
    assert_eq!(ask(&mut client).await, "new");
    drop(client);
    edge.stop().await;
}

#[tokio::test]
async fn a_lowered_limit_holds_for_who_comes_next() {
    let edge = start(named("old").await).await;
    let mut first = edge.http1().await;
    assert_eq!(ask(&mut first).await, "old");
    let lower = prepared(&edge, named("new").await, "max_connections = 1");
    replace(&edge, lower);
    // The listener had a place in its hand when the limit fell.
    let mut second = edge.http1().await;
    let mut third = Box::pin(edge.connect(b"http/1.1"));
    for _ in 0..20 {
        assert_eq!(ask(&mut second).await, "new");
        assert!(poll_once(&mut third).is_pending());
    }
    drop((first, second));
    third.await;
    edge.stop().await;
}

/// Polls once.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(std::task::Waker::noop()))
}

/// Answers with how many connections there were until now.
async fn counting() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 1.. {
            let (tcp, _) = listener.accept().await.unwrap();
            let service = service_fn(move |_request: Request<Incoming>| {
                let body = Full::new(Bytes::from(number.to_string()));
                std::future::ready(Ok::<_, Infallible>(Response::new(body)))
            });
            let server = hyper::server::conn::http1::Builder::new();
            tokio::spawn(server.serve_connection(TokioIo::new(tcp), service));
        }
    });
    address
}

#[tokio::test]
async fn an_upstream_that_is_the_same_keeps_its_connections() {
    let upstream = counting().await;
    let edge = start(upstream).await;
    let mut client = edge.http1().await;
    assert_eq!(ask(&mut client).await, "1");
    replace(&edge, prepared(&edge, upstream, ""));
    assert_eq!(ask(&mut client).await, "1");
    let other = "connect_timeout = '4s'";
    replace(&edge, prepared_with(&edge, upstream, other, ""));
    assert_eq!(ask(&mut client).await, "2");
    drop(client);
    edge.stop().await;
}

/// As a reload does; returns where nobody listens any more.
pub(super) fn replace(edge: &Running, prepared: Vec<Prepared>) -> Vec<SocketAddr> {
    let fresh = (edge.services)
        .bind_missing(&prepared, &mut Inherited::default())
        .unwrap();
    edge.services.replace(prepared, fresh)
}

#[tokio::test]
async fn a_listener_that_moves_is_bound_first_and_lets_its_connections_end() {
    let edge = start(named("old").await).await;
    let mut client = edge.http1().await;
    assert_eq!(ask(&mut client).await, "old");
    let mut silent = edge.http1().await;
    let old = edge.services.addresses();

    // Somebody has the address: nothing changes.
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut moved = prepared(&edge, named("new").await, "");
    moved[0].bind = taken.local_addr().unwrap();
    let refused = (edge.services).bind_missing(&moved, &mut Inherited::default());
    assert!(refused.unwrap_err().to_string().contains("cannot listen"));
    assert_eq!(edge.services.addresses(), old);
    assert_eq!(ask(&mut client).await, "old");

    drop(taken);
    let new = moved[0].bind;
    assert_eq!(replace(&edge, moved), old);
    assert_eq!(edge.services.addresses(), [new]);
    assert!(TcpStream::connect(new).await.is_ok());
    // Closed once the task that accepts has seen it; its connection then ends, idle as it is.
    while TcpStream::connect(old[0]).await.is_ok() {}
    assert!(client.ready().await.is_err());
    // Who has connected and not been answered yet may still ask once.
    assert_eq!(ask(&mut silent).await, "old");
    assert!(silent.ready().await.is_err());
    edge.stop().await;
}

#[tokio::test]
async fn listeners_come_and_go_beside_one_that_stays() {
    let edge = start(named("old").await).await;
    let mut client = edge.http1().await;
    let stays = edge.services.addresses();
    let two = |edge: &Running, upstream| {
        let mut both = prepared(edge, upstream, "");
        both.extend(prepared(edge, upstream, ""));
        both[0].bind = SocketAddr::from(([127, 0, 0, 2], 0));
        both
    };
    let upstream = named("new").await;
    assert_eq!(replace(&edge, two(&edge, upstream)), []);
    let addresses = edge.services.addresses();
    assert_eq!(addresses[1..], stays);
    assert_eq!(edge.services.handles().unwrap().len(), 2);
    assert_eq!(ask(&mut client).await, "new");
    assert_eq!(
        replace(&edge, prepared(&edge, upstream, "")),
        addresses[..1]
    );
    assert_eq!(edge.services.addresses(), stays);
    assert_eq!(edge.services.handles().unwrap().len(), 1);
    assert_eq!(ask(&mut client).await, "new");
    drop(client);
    edge.stop().await;
}
