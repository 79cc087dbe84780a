//! Bad configuration, bad arguments, bad bytes: a clear answer, and nobody else notices.

use std::sync::Arc;

use botguard_tests::client::Client;
use botguard_tests::config::Config;
use botguard_tests::host::Host;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fixture::{USER, exit_of, host, running, status_of};

#[test]
fn a_bad_configuration_names_the_thing() {
    let host = host("config", &Config::default()).unwrap();
    let good = std::fs::read_to_string(host.botguard.config()).unwrap();
    let check = |from: &str, to: &str, named: &[&str]| {
        assert!(good.contains(from), "{from}");
        std::fs::write(host.botguard.config(), good.replacen(from, to, 1)).unwrap();
        let (code, error) = exit_of(&host, &["run", "--check"]).unwrap();
        assert_eq!(code, 64, "{from} → {to}: {error}");
        for name in named {
            assert!(error.contains(name), "{from} → {to}: {error}");
        }
    };
    check("state_dir", "sate_dir", &["sate_dir", "botguard.toml"]);
    check("fullchain.pem", "absent.pem", &["absent.pem"]);
    check("\"edge\"", "\"eth7\"", &["eth7"]);
    check("asn.csv", "botguard.toml", &["botguard.toml"]);
    check("upstream = \"app\"", "upstream = \"ape\"", &["ape"]);
    check("120/min", "120", &["120"]);
    check("throttle = 0.5", "throttle = 0.95", &["throttle", "block"]);
    std::fs::write(host.botguard.config(), &good).unwrap();
    assert_eq!(exit_of(&host, &["run", "--check"]).unwrap().0, 0);
}

#[test]
fn a_port_in_use_is_named() {
    let (host, _daemon) = running("port", &Config::default()).unwrap();
    let second = std::fs::read_to_string(host.botguard.config()).unwrap();
    let second = second
        .replace("/state\"", "/other\"")
        .replace("admin.sock", "other.sock");
    let second = second.replace("required = true", "backend = \"none\"");
    let second = second.replace("127.0.0.1:9480", "127.0.0.1:9481");
    std::fs::write(host.botguard.config(), second).unwrap();
    let (code, error) = exit_of(&host, &["run"]).unwrap();
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("8443"), "{error}");
}

#[test]
fn bad_arguments_are_usage_errors() {
    let host = host("usage", &Config::default()).unwrap();
    let check = |arguments: &[&str], named: &str| {
        let (code, error) = exit_of(&host, arguments).unwrap();
        assert_eq!(code, 64, "{arguments:?}: {error}");
        assert!(error.contains(named), "{arguments:?}: {error}");
    };
    check(&["block", "add", "300.1.2.3"], "300.1.2.3");
    check(&["block", "add", "10.0.0.0/33"], "10.0.0.0/33");
    check(&["block", "add", "192.0.2.9", "--ttl", "soon"], "soon");
    check(&["would-block", "nobody"], "nobody");
    check(&["mode", "maybe"], "maybe");
    check(&["frobnicate"], "frobnicate");
}

#[test]
fn hostile_bytes_hurt_nobody_else() {
    let (host, mut daemon) = running("hostile", &Config::default()).unwrap();
    host.lab
        .add_source("198.51.100.9".parse().unwrap())
        .unwrap();
    let tls = host.certificate.client(&["http/1.1"]);
    let statuses = host
        .in_world(move || async move {
            let source = USER.parse()?;
            let server = Host::server(source)?;
            // Not TLS at all, and half a ClientHello: the connection ends, with or without an alert.
            for garbage in [
                &b"GET / HTTP/1.1\r\n\r\n"[..],
                &[0x16, 3, 1, 0xff, 0xff, 1, 0, 0][..],
            ] {
                let mut stream = TcpStream::connect(server).await?;
                stream.write_all(garbage).await?;
                stream.shutdown().await?;
                let mut rest = Vec::new();
                let _broken: std::io::Result<usize> = stream.read_to_end(&mut rest).await;
            }
            let client = || Client::new(source, server, Arc::clone(&tls));
            let long = "x".repeat(200_000);
            let mut statuses = Vec::new();
            for (target, headers) in [
                ("/pricing", vec![("x-long", long.as_str())]),
                ("/users/..%2f..%2fadmin", Vec::new()),
                ("/../../admin", Vec::new()),
                ("/pricing", Vec::new()),
            ] {
                let answer = client().get(target, &headers).await;
                statuses.push(answer.map(|answer| answer.status.as_u16()).ok());
            }
            Ok(statuses)
        })
        .unwrap();
    assert!(matches!(statuses[0], Some(431) | None), "{statuses:?}");
    assert_eq!(&statuses[1..], [Some(400), Some(400), Some(200)]);
    assert_eq!(status_of(&host, USER, "/pricing").unwrap(), Some(200));
    assert!(!daemon.has_ended());
}

#[test]
fn an_upstream_that_is_down_is_a_502() {
    let config = Config::default();
    let host = Host::set_up("down", &config).unwrap();
    host.lab.add_source(USER.parse().unwrap()).unwrap();
    let daemon = host.botguard.start(&host.lab).unwrap();
    assert_eq!(status_of(&host, USER, "/pricing").unwrap(), Some(502));
    daemon.stop().unwrap();
}
