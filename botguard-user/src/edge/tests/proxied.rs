//! Clients behind proxies that speak the PROXY protocol, and what others make of it; hosts.

use http_body_util::{BodyExt as _, Empty};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::edge::trust::TrustSettings;

async fn behind(proxies: &str, lines: &str) -> Running {
    let settings: TrustSettings = toml::from_str(&format!("proxies = [{proxies}]")).unwrap();
    // The upstream answers with what it was told of the client.
    let at = upstream(async |request: Request<Incoming>| {
        let told = request.headers().get_all("x-forwarded-for").iter();
        let told: Vec<_> = told.map(|value| value.to_str().unwrap()).collect();
        Response::new(http_body_util::Full::new(Bytes::from(told.join(", "))))
    })
    .await;
    let lines = format!("proxy_protocol = true\n{lines}");
    start_behind(&[at], "", &lines, Trust::new(&settings)).await
}

/// A TLS connection that begins with `header`.
async fn connect_with(edge: &Running, header: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut tcp = TcpStream::connect(edge.address).await?;
    tcp.write_all(header).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::clone(&edge.client))
        .connect(name, tcp)
        .await
}

#[tokio::test]
async fn the_client_is_whom_a_trusted_proxy_names() {
    let edge = behind("'127.0.0.1', '203.0.113.0/24'", "").await;
    let check = async |header: &[u8], forwarded_for: Option<&str>, expected: &str| {
        let tls = connect_with(&edge, header).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await.unwrap();
        tokio::spawn(connection);
        let mut request = get("/");
        if let Some(value) = forwarded_for {
            request = request.header("x-forwarded-for", value);
        }
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, expected, "{header:?} {forwarded_for:?}");
    };
    let v1 = |source: &str| format!("PROXY TCP4 {source} 198.51.100.1 4711 443\r\n");
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x10".to_vec();
    v2.extend([
        192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x67, 1, 187, 4, 0, 1, 0,
    ]);
    check(v1("192.0.2.1").as_bytes(), None, "192.0.2.1").await;
    check(&v2, None, "192.0.2.1").await;
    // Its own word for another is not believed, another proxy's is.
    check(v1("192.0.2.1").as_bytes(), Some("192.0.2.9"), "192.0.2.1").await;
    let chained = v1("203.0.113.5");
    check(
        chained.as_bytes(),
        Some("192.0.2.9"),
        "192.0.2.9, 203.0.113.5",
    )
    .await;
    check(b"PROXY UNKNOWN\r\n", None, "127.0.0.1").await;
    // Of whom the proxy knows nothing, the headers are the client's own.
    check(b"PROXY UNKNOWN\r\n", Some("192.0.2.9"), "127.0.0.1").await;
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
    check(local, None, "127.0.0.1").await;
    check(local, Some("192.0.2.9"), "192.0.2.9, 127.0.0.1").await;
}

#[tokio::test]
async fn what_is_no_header_of_a_trusted_proxy_is_closed() {
    let check = async |proxies: &str, header: &[u8], expected: bool| {
        let edge = behind(proxies, "handshake_timeout = '2s'").await;
        let connected = connect_with(&edge, header).await;
        assert_eq!(connected.is_ok(), expected, "{proxies} {header:?}");
        drop(connected);
        assert_eq!(edge.stop().await, []);
    };
    let header = b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n";
    check("'127.0.0.1'", header, true).await;
    check("", header, false).await;
    check("'192.0.2.1'", header, false).await;
    check("'127.0.0.1'", b"", false).await;
    check("'127.0.0.1'", b"PROXY TCP4 192.0.2.1\r\n", false).await;
    check("'127.0.0.1'", b"GET / HTTP/1.1\r\n\r\n", false).await;
}

#[tokio::test]
async fn a_header_that_does_not_end_is_not_waited_for() {
    let edge = behind("'127.0.0.1'", "handshake_timeout = '20ms'").await;
    let mut tcp = TcpStream::connect(edge.address).await.unwrap();
    tcp.write_all(b"PROXY TCP4 192.0.2.1 ").await.unwrap();
    assert_eq!(tcp.read_to_end(&mut Vec::new()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_client_that_is_named_has_at_most_its_connections() {
    let edge = behind("'127.0.0.1'", "max_connections_per_source = 1").await;
    let header = |source: &str| format!("PROXY TCP6 {source} 2001:db8:9::1 4711 443\r\n");
    let first = connect_with(&edge, header("2001:db8::1").as_bytes()).await;
    assert!(first.is_ok());
    let same = connect_with(&edge, header("2001:db8::2").as_bytes()).await;
    assert!(same.is_err(), "the /64 has one already");
    let other = connect_with(&edge, header("2001:db8:0:1::1").as_bytes()).await;
    assert!(other.is_ok());
}

#[tokio::test]
async fn hosts_that_are_not_served() {
    let check = async |lines: &str, host: &str, status: u16| {
        let at = upstream(async |_| Response::new(Empty::<Bytes>::new())).await;
        let edge = start_with(&[at], "", lines).await;
        let mut client = edge.http1().await;
        let request = Request::get("/").header("host", host);
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{lines} {host}");
    };
    let hosts = "hosts = ['a.test', '*.b.test']\n";
    let refusing = format!("{hosts}unknown_host = 'refuse'");
    check("", "c.test", 200).await;
    check(hosts, "c.test", 200).await;
    check(&refusing, "a.test", 200).await;
    check(&refusing, "x.b.test:8443", 200).await;
    check(&refusing, "c.test", 421).await;
    check(&refusing, "b.test", 421).await;
}

/// As HAProxy's `option httpchk` asks by default.
#[tokio::test]
async fn a_check_that_names_no_host_is_one_for_an_unknown_host() {
    let check = async |lines: &str, version: &str, expected: &str| {
        let at = upstream(async |request: Request<Incoming>| {
            let host = request.headers()["host"].clone();
            Response::new(http_body_util::Full::new(Bytes::from_owner(host)))
        })
        .await;
        let edge = start_with(&[at], "", lines).await;
        let mut tls = edge.connect(b"http/1.1").await;
        let sent = format!("OPTIONS / HTTP/{version}\r\nConnection: close\r\n\r\n");
        tls.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _end: std::io::Result<usize> = tls.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        assert_eq!(
            answer.get(9..12),
            Some(expected),
            "{lines} {version}: {answer}"
        );
        let host = format!("\r\n\r\n{}", edge.address);
        assert_eq!(answer.ends_with(&host), expected == "200", "{answer}");
    };
    check("", "1.0", "200").await;
    check("hosts = ['a.test']", "1.0", "200").await;
    check(
        "hosts = ['127.0.0.1']\nunknown_host = 'refuse'",
        "1.0",
        "200",
    )
    .await;
    check("hosts = ['a.test']\nunknown_host = 'refuse'", "1.0", "421").await;
    check("", "1.1", "400").await;
}
