//! What goes through the edge and what stays in it: bodies and headers of HTTP/2, an application
//! that dies, clients that leave, and secrets.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use botguard_tests::certificate::SERVER_NAME;
use botguard_tests::client::Client;
use botguard_tests::config::Config;
use botguard_tests::daemon::Daemon;
use botguard_tests::host::{Host, UPSTREAM};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::fixture::{USER, audit_of, status_of};

#[test]
fn http2_goes_through_and_only_botguard_speaks_for_botguard() {
    let (host, _daemon, mut heads) = running("http2", &Config::default()).unwrap();
    let tls = host.certificate.client(&["h2"]);
    let answer = host
        .in_world(move || async move {
            let source = USER.parse()?;
            let mut client = Client::new(source, Host::server(source)?, tls);
            let forged = [
                ("botguard-score", "0.00"),
                ("botguard_score", "0.00"),
                ("Botguard_Request-Id", "forged"),
                ("x_forwarded_for", "198.51.100.1"),
            ];
            client
                .post("/echo?a=%20b", &forged, "x".repeat(300_000))
                .await
        })
        .unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body.len(), 300_000);
    let head = heads.try_recv().unwrap();
    assert!(head.starts_with("POST /echo?a=%20b HTTP/1.1\r\n"), "{head}");
    let fields = |name: &str| -> Vec<&str> {
        (head.lines().skip(1))
            .filter_map(|line| line.split_once(':'))
            .filter(|(field, _)| field.replace('_', "-").eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    };
    let records = audit_of(&host, 1).unwrap();
    assert_eq!(fields("botguard-request-id"), [&records[0]["request_id"]]);
    for name in ["botguard-score", "botguard-action", "botguard-signals"] {
        assert_eq!(fields(name).len(), 1, "{name} in {head}");
    }
    assert_eq!(fields("x-forwarded-for"), [USER]);
    assert_eq!(records[0]["http"]["version"], "HTTP/2.0");
    assert_eq!(records[0]["http"]["bytes_in"], 300_000);
    assert_eq!(records[0]["http"]["bytes_out"], 300_000);
}

#[test]
fn an_application_that_dies_in_mid_response_breaks_off_that_response_only() {
    let (host, mut daemon, _heads) = running("dies", &Config::default()).unwrap();
    for protocol in ["http/1.1", "h2"] {
        let tls = host.certificate.client(&[protocol]);
        let error = host.in_world(move || async move {
            let source = USER.parse()?;
            let mut client = Client::new(source, Host::server(source)?, tls);
            client.get("/die", &[]).await
        });
        assert!(error.is_err(), "{protocol}: {error:?}");
    }
    assert_eq!(status_of(&host, USER, "/well").unwrap(), Some(200));
    let records = audit_of(&host, 3).unwrap();
    let ending = |record: &Value| json!([record["http"]["status"], record["http"]["broken_off"]]);
    let endings: Vec<_> = records.iter().map(ending).collect();
    let broken = json!([200, "upstream"]);
    assert_eq!(endings, [broken.clone(), broken, json!([200, null])]);
    assert!(!daemon.has_ended());
}

#[test]
fn clients_that_leave_have_one_record_each() {
    const N_CLIENTS: usize = 30;
    let (host, _daemon, mut heads) = running("leave", &Config::default()).unwrap();
    let tls = host.certificate.client(&["http/1.1"]);
    // Half of them leave before the head of the response, half in the middle of its body.
    let heads = host
        .in_world(move || async move {
            for client in 0..N_CLIENTS {
                let path = if client % 2 == 0 { "/hang" } else { "/endless" };
                let mut stream = connect(&tls).await?;
                let request = format!("GET {path} HTTP/1.1\r\nhost: {SERVER_NAME}\r\n\r\n");
                stream.write_all(request.as_bytes()).await?;
                heads.recv().await.context("the application ended")?;
                if path == "/endless" {
                    stream.read_u8().await?;
                }
            }
            Ok(heads)
        })
        .unwrap();
    assert_eq!(heads.len(), 0);
    let records = audit_of(&host, N_CLIENTS).unwrap();
    let mut ids: Vec<_> = records
        .iter()
        .map(|record| record["request_id"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), N_CLIENTS);
    let with_status = |status: u16| {
        (records.iter())
            .filter(|record| record["http"]["status"] == status)
            .filter(|record| record["http"]["broken_off"] == "client")
            .count()
    };
    assert_eq!((with_status(499), with_status(200)), (15, 15));
}

#[test]
fn no_secret_leaves_its_request() {
    const KEY: &str = "sk_pub_canarykeyzq81mzx83hv02ckt5wrdy";
    const ENCODED: &str = "sk%5Fpub%5Fcanarykeyzq81mzx83hv02ckt5wrdy";
    let (host, daemon, mut heads) = running("secrets", &Config::default()).unwrap();
    let targets = [
        format!("/well/{KEY}"),
        format!("/well/{ENCODED}/x?cursor=1"),
        format!("/well?q={ENCODED}&token=canary-1&password=canary-2&api_key=canary-3"),
        "/well;jsessionid=canary-4?a=1;pwd=canary-5".to_owned(),
        "/well?next=%2Flogin%3Ftoken%3Dcanary-6".to_owned(),
        "/die?secret=canary-7".to_owned(),
        format!("/..%2f/{KEY}?token=canary-8"),
        "https://user:canary-9@app.example.com/well".to_owned(),
    ];
    let n_requests = targets.len();
    let tls = host.certificate.client(&["http/1.1"]);
    host.in_world(move || async move {
        for target in targets {
            let mut stream = connect(&tls).await?;
            let request = format!(
                "GET {target} HTTP/1.1\r\nhost: {SERVER_NAME}\r\nx-api-key: {KEY}\r\n\
                 authorization: Bearer canary-20\r\ncookie: a=canary-21; canary-22\r\n\
                 x-auth: canary-23\r\nproxy-authorization: Basic canary-24\r\n\
                 referer: https://u:canary-25@a.test/{ENCODED}?code=canary-26\r\n\
                 x-copy: {KEY}\r\nconnection: close\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            let _broken: std::io::Result<usize> = stream.read_to_end(&mut answer).await;
        }
        Ok(())
    })
    .unwrap();
    let _records = audit_of(&host, n_requests).unwrap();
    // It was really there.
    assert!(heads.try_recv().unwrap().contains(KEY));

    let metrics = host.lab.edge.spawn(|| async {
        let mut page = String::new();
        let mut stream = TcpStream::connect("127.0.0.1:9480").await?;
        let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await?;
        stream.read_to_string(&mut page).await?;
        Ok(page)
    });
    let metrics = metrics.join().unwrap().unwrap();
    assert!(metrics.contains("botguard_requests_total"), "{metrics}");
    let audit = std::fs::read_to_string(host.audit_path()).unwrap();
    for (place, text) in [
        ("audit log", audit),
        ("log", daemon.log()),
        ("metrics", metrics),
    ] {
        for secret in ["canary-", KEY, ENCODED] {
            let found = text.find(secret).map(|at| {
                let before: String = text[..at].chars().rev().take(60).collect();
                before.chars().rev().collect::<String>() + secret
            });
            assert_eq!(found, None, "{place}");
        }
    }
}

/// A daemon before an application that reports the heads of its requests.
fn running(name: &str, config: &Config) -> Result<(Host, Daemon, mpsc::UnboundedReceiver<String>)> {
    let (heads, received) = mpsc::unbounded_channel();
    let mut host = Host::set_up(name, config)?;
    host.lab.add_source(USER.parse()?)?;
    host.serve_with(move || application(heads));
    let daemon = host.botguard.start(&host.lab)?;
    Ok((host, daemon, received))
}

/// One request a connection; what it does is in the path.
async fn application(heads: mpsc::UnboundedSender<String>) -> Result<()> {
    let listener = TcpListener::bind(UPSTREAM).await?;
    loop {
        let (stream, _peer) = listener.accept().await?;
        let heads = heads.clone();
        // A daemon that hangs up is what some of the tests are about.
        tokio::spawn(async move { serve(stream, &heads).await.ok() });
    }
}

async fn serve(mut stream: TcpStream, heads: &mpsc::UnboundedSender<String>) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head)?;
    heads.send(head.clone())?;
    let path = head.split(' ').nth(1).unwrap_or_default();
    if path.starts_with("/echo") {
        let length = (head.lines())
            .find_map(|line| line.strip_prefix("content-length: "))
            .context("no length")?;
        let mut body = vec![0; length.parse()?];
        stream.read_exact(&mut body).await?;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(answer.as_bytes()).await?;
        stream.write_all(&body).await?;
    } else if path.starts_with("/die") {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nhello";
        stream.write_all(answer).await?;
    } else if path.starts_with("/hang") {
        stream.read_u8().await?;
    } else if path.starts_with("/endless") {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n";
        stream.write_all(answer).await?;
        loop {
            stream.write_all(&[b'x'; 16_384]).await?;
        }
    } else {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await?;
    }
    Ok(())
}

pub(crate) async fn connect(tls: &Arc<ClientConfig>) -> Result<TlsStream<TcpStream>> {
    let source: IpAddr = USER.parse()?;
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    let stream = socket.connect(Host::server(source)?).await?;
    let connector = TlsConnector::from(Arc::clone(tls));
    let name = ServerName::try_from(SERVER_NAME)?;
    Ok(connector.connect(name, stream).await?)
}
