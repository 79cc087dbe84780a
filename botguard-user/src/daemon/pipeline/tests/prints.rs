//! Prints from head to record: of whoever holds the connection, and evidence about nobody else.

use http::HeaderMap;

use super::*;
use crate::edge::prints::Prints;
use crate::words::address::Via;

const CHROME: &str = "Mozilla/5.0 (X11; Linux) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36";

/// A request to the end, and its record.
fn record(bench: &Bench, client: &str, user_agent: &str, via: Via) -> RequestRecord {
    let request = Request::builder()
        .uri("https://api.example.com/pricing")
        .header("user-agent", user_agent);
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let (peer, ip) = ("192.0.2.9".parse().unwrap(), "192.0.2.7".parse().unwrap());
    let admission = bench.pipeline.admit(&RequestHead {
        parts: &parts,
        path: parts.uri.path(),
        authority: "api.example.com",
        client: ClientAddress::behind(peer, ip, via),
        local: SocketAddr::from(([192, 0, 2, 80], 443)),
        asks: Asks::Application,
        prints: &Prints::captured(client, 0, &parts.headers),
    });
    let response = response_of(AnsweredBy::Upstream);
    bench.pipeline.finish(admission.ticket, &response);
    bench.requests().pop().unwrap()
}

#[test]
fn prints_are_recorded_and_count_for_who_holds_the_connection() {
    let bench = Bench::new("enforce");
    let check = |client: &str, user_agent: &str, via, ja4: &str, h2: Option<&str>, lies: bool| {
        let record = record(&bench, client, user_agent, via);
        assert_eq!(record.client.ja4.as_deref(), Some(ja4));
        assert_eq!(record.client.h2.as_deref(), h2);
        assert_eq!(record.client.header_shape.map_or(0, |it| it.len()), 16);
        let mismatch = record.signals.iter().find(|it| it.id == "client_mismatch");
        assert_eq!(mismatch.is_some(), lies, "{client} {user_agent} {via:?}");
    };
    let python = "t13d1812h1_85036bcba153_b26ce05bbdd6";
    let honest = "python-requests/2.34.2";
    check("requests", honest, Via::Peer, python, None, false);
    check("requests", CHROME, Via::Peer, python, None, true);
    check("requests", CHROME, Via::ProxyProtocol, python, None, true);
    check("requests", CHROME, Via::Forwarded, python, None, false);
    check(
        "chromium",
        "Mozilla/5.0 (X11; Linux) Gecko/20100101 Firefox/52.0",
        Via::Peer,
        "t13d1517h2_8daaf6152771_cb7bf5808d99",
        Some("1:65536;2:0;4:6291456;6:262144|15663105|0|m,a,s,p"),
        true,
    );
}

#[test]
fn a_proxys_connections_do_not_tell_its_clients_apart() {
    let bench = Bench::new("enforce");
    let fingerprint = |client: &str, place, via| {
        let request = Request::builder().uri("/").header("user-agent", CHROME);
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let (peer, ip) = ("192.0.2.9".parse().unwrap(), "192.0.2.7".parse().unwrap());
        bench.pipeline.fingerprint(&RequestHead {
            parts: &parts,
            path: "/",
            authority: "api.example.com",
            client: ClientAddress::behind(peer, ip, via),
            local: SocketAddr::from(([192, 0, 2, 80], 443)),
            asks: Asks::Application,
            prints: &Prints::captured(client, place, &HeaderMap::new()),
        })
    };
    let check = |one: (&str, usize), other: (&str, usize), via, is_same: bool| {
        let (one, other) = (
            fingerprint(one.0, one.1, via),
            fingerprint(other.0, other.1, via),
        );
        assert_eq!(one == other, is_same, "{via:?}");
    };
    check(("wrk", 0), ("wrk", 1), Via::Peer, true);
    check(("wrk", 0), ("h2load", 0), Via::Peer, false);
    check(("wrk", 0), ("h2load", 0), Via::ProxyProtocol, false);
    check(("wrk", 0), ("h2load", 0), Via::Forwarded, true);
}
