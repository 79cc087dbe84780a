//! Connections to one target: how long they are kept, and what one that cannot be made counts for.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::target::{Age, Occupancy};
use super::super::*;
use super::upstreams;
use crate::words::clock::Monotonic;

#[tokio::test]
async fn connections_that_are_idle_for_too_long_are_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, mut closed) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut sent = vec![0; 3];
                if tcp.read_exact(&mut sent).await.is_ok() && sent == b"PRI" {
                    // Empty SETTINGS, without which nobody speaks HTTP/2.
                    tcp.write_all(b"\0\0\0\x04\0\0\0\0\0").await.unwrap();
                }
                tcp.read_to_end(&mut sent).await.unwrap();
                sender.send(()).unwrap();
            });
        }
    });
    for scheme in ["http", "h2c"] {
        let app = upstreams(&format!("endpoints = ['{scheme}://{address}']"));
        let app = app.unwrap().named("app").unwrap();
        let target = Arc::clone(&app.core.targets()[0]);
        let now = Monotonic::read();
        let (channel, age) = target.channel(Need::Any, Age::Used).await.unwrap();
        assert_eq!(age, Age::New);
        let place = target.try_enter(Need::Any).unwrap();
        Occupancy { place, channel }.release();
        let later = |seconds| now.after(std::time::Duration::from_secs(seconds));
        // The connection's own task, on this thread too, says that it is ready.
        tokio::task::yield_now().await;
        target.sweep(later(1));
        target.sweep(later(3));
        let (channel, age) = target.channel(Need::Any, Age::Used).await.unwrap();
        assert_eq!(age, Age::Used);
        // In use, however long: it does not count as idle.
        target.sweep(later(100));
        let place = target.try_enter(Need::Any).unwrap();
        Occupancy { place, channel }.release();
        assert!(closed.try_recv().is_err());
        let now = Monotonic::read();
        let later = |seconds| now.after(std::time::Duration::from_secs(seconds));
        // Idle since it was given back, whenever that was seen.
        target.sweep(later(3));
        assert!(closed.try_recv().is_err());
        target.sweep(later(5));
        let end = timeout(std::time::Duration::from_secs(10), closed.recv()).await;
        end.expect("still open").unwrap();
    }
}

/// An application that keeps what it accepts, and tells when one of them ends.
async fn ending() -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, ended) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut sent = Vec::new();
                tcp.read_to_end(&mut sent).await.unwrap();
                // A test that has ended does not listen any more.
                let _unheard: Result<(), _> = sender.send(());
            });
        }
    });
    (address, ended)
}

#[tokio::test]
async fn nothing_is_kept_where_a_name_is_not_any_more() {
    let (address, mut ended) = ending().await;
    let app = upstreams("endpoints = ['http://a']").unwrap();
    let app = app.named("app").unwrap();
    app.core.found(0, vec![address]);
    let target = Arc::clone(&app.core.targets()[0]);
    let occupied = async || {
        let place = target.try_enter(Need::Any).unwrap();
        let (channel, _) = target.channel(Need::Any, Age::New).await.unwrap();
        Occupancy { place, channel }
    };
    let (idle, busy) = (occupied().await, occupied().await);
    idle.release();
    assert_eq!(target.n_idle(), 1);
    // The same again, and it stays.
    app.core.found(0, vec![address]);
    assert_eq!(target.n_idle(), 1);

    app.core.found(0, vec!["192.0.2.1:80".parse().unwrap()]);
    assert_eq!(target.n_idle(), 0);
    let patience = std::time::Duration::from_secs(10);
    timeout(patience, ended.recv()).await.expect("still open");
    assert!(ended.try_recv().is_err());
    busy.release();
    timeout(patience, ended.recv()).await.expect("still open");
}

/// Accepts, and goes no further; the connections, as they come.
async fn silent() -> (
    SocketAddr,
    tokio::sync::mpsc::UnboundedReceiver<tokio::net::TcpStream>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, held) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            // A test that has ended does not listen any more.
            let _unheard: Result<(), _> = sender.send(tcp);
        }
    });
    (address, held)
}

async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn upgrades_count_but_not_for_what_they_alone_need() {
    let check = async |endpoint: String, need: Need, is_counted: bool| {
        let lines = "eject = { failures = 1 }\nconnect_timeout = '30ms'";
        let app = upstreams(&format!("endpoints = ['{endpoint}']\n{lines}"));
        let app = app.unwrap().named("app").unwrap();
        let target = Arc::clone(&app.core.targets()[0]);
        assert!(target.channel(need, Age::Used).await.is_err());
        let state = app.status()[0].state;
        assert_eq!(
            state == EndpointState::Ejected,
            is_counted,
            "{endpoint} {need:?}"
        );
    };
    let away = nobody().await;
    let (silent, _held) = silent().await;
    for need in [Need::Any, Need::Upgrade] {
        check(format!("http://{away}"), need, true).await;
        check(format!("https://{away}"), need, true).await;
        check(format!("https://{silent}"), need, true).await;
    }
    check(format!("h2c://{silent}"), Need::Any, true).await;
    check(format!("h2c://{silent}"), Need::Upgrade, false).await;
    check(format!("h2c://{away}"), Need::Upgrade, false).await;
}

#[tokio::test]
async fn one_slow_handshake_is_one_failure_whoever_waits_for_it() {
    let (silent, _held) = silent().await;
    let lines = "eject = { failures = 4 }\nconnect_timeout = '50ms'";
    let app = upstreams(&format!("endpoints = ['h2c://{silent}']\n{lines}"));
    let app = app.unwrap().named("app").unwrap();
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let target = Arc::clone(&app.core.targets()[0]);
        requests.spawn(async move { target.channel(Need::Any, Age::Used).await.is_err() });
    }
    assert_eq!(requests.join_all().await, [true; 10]);
    // Theirs, and at most that of one who had its turn before it gave up.
    assert_eq!(app.status()[0].state, EndpointState::Up);
}

#[tokio::test]
async fn who_waits_for_a_handshake_waits_no_longer_than_connect_timeout() {
    let limit = std::time::Duration::from_millis(600);
    let (silent, mut held) = silent().await;
    let lines = "connect_timeout = '600ms'";
    let app = upstreams(&format!("endpoints = ['h2c://{silent}']\n{lines}"));
    let target = Arc::clone(&app.unwrap().named("app").unwrap().core.targets()[0]);
    let first = Arc::clone(&target);
    let first = tokio::spawn(async move { first.channel(Need::Any, Age::Used).await.is_err() });
    let _unanswered = held.recv().await.unwrap();
    let half: Result<(), _> = timeout(limit / 2, std::future::pending()).await;
    half.unwrap_err();
    // Half of its time goes by before it can begin, with as much time as any; what it has begun
    // is for whoever comes after it.
    assert!(target.channel(Need::Any, Age::Used).await.is_err());
    assert!(first.await.unwrap());
    let mut begun = held.recv().await.unwrap();
    // Empty SETTINGS.
    begun.write_all(b"\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let (_channel, age) = target.channel(Need::Any, Age::Used).await.unwrap();
    assert_eq!(age, Age::Used);
}
