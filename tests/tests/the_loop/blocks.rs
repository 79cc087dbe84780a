//! What a block by command does to those it covers, and to those it does not.

use std::sync::mpsc::channel;
use std::time::Duration;

use botguard_tests::config::Config;
use botguard_tests::host::Host;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpSocket;

use crate::fixture::{SCRAPER, USER, dropped, exit_of, running, status_of};

#[test]
fn a_block_that_only_counts_denies_nothing_anywhere() {
    let (host, _daemon) = running("count", &Config::default()).unwrap();
    let botguard = |arguments: &[&str]| host.botguard.expect(&host.lab, arguments).unwrap();
    botguard(&["block", "add", USER, "--count-only", "--ttl", "1h"]);
    assert_eq!(status_of(&host, USER, "/users").unwrap(), Some(200));
    assert_eq!(dropped(&host).unwrap(), 0);
    assert_eq!(exit_of(&host, &["would-block", USER]).unwrap().0, 2);
}

#[test]
fn a_block_closes_the_connections_of_its_source_and_of_nobody_else() {
    let (host, _daemon) = running("close", &Config::default()).unwrap();
    let (connected, both) = channel();
    let mut ends = Vec::new();
    for source in [SCRAPER, USER] {
        let connected = connected.clone();
        ends.push(host.lab.world.spawn(move || async move {
            let socket = TcpSocket::new_v4()?;
            socket.bind(format!("{source}:0").parse()?)?;
            let mut stream = socket.connect(Host::server(source.parse()?)?).await?;
            connected.send(())?;
            // Closed is an end or a reset; a connection that merely lost its packets says nothing.
            let read = stream.read_u8();
            Ok(tokio::time::timeout(Duration::from_secs(2), read)
                .await
                .is_ok())
        }));
    }
    both.recv().unwrap();
    both.recv().unwrap();
    let arguments = ["block", "add", "54.66.0.0/16", "--ttl", "1h"];
    host.botguard.expect(&host.lab, &arguments).unwrap();
    let is_closed = ends.into_iter().map(|end| end.join().unwrap().unwrap());
    assert_eq!(is_closed.collect::<Vec<_>>(), [true, false]);
}
