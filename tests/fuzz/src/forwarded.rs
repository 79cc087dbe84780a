//! `Forwarded` and `X-Forwarded-For`: what a client wrote before a proxy appended its own hop
//! changes nothing of what that hop says.

use std::net::{IpAddr, Ipv4Addr};

use botguard::edge::forwarded::{Hop, client, forwarded, x_forwarded_for};

/// # Panics
///
/// The nearest hop is not the one that was appended, or an address is not canonical.
pub fn check(bytes: &[u8]) {
    let near = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let nobody = |_: IpAddr| false;
    let appended = [bytes, b", 192.0.2.1"].concat();
    assert_eq!(client(x_forwarded_for(&appended), nobody), Some(near));
    let appended = [bytes, b", for=192.0.2.1;proto=https"].concat();
    assert_eq!(client(forwarded(&appended), nobody), Some(near));

    let most = bytes.len() + 1;
    for hops in [
        x_forwarded_for(bytes).collect::<Vec<_>>(),
        forwarded(bytes).collect(),
    ] {
        assert!(hops.len() <= most);
        for hop in &hops {
            if let Hop::Address(ip) = hop {
                assert_eq!(*ip, ip.to_canonical());
            }
        }
        // Whoever trusts all is told one of the hops, the furthest that can be read.
        let furthest = client(hops.iter().copied(), |_| true);
        assert!(furthest.is_none_or(|ip| hops.contains(&Hop::Address(ip))));
    }
}

/// A list of each form.
pub fn seeds() -> impl Iterator<Item = Vec<u8>> {
    SEEDS.into_iter().map(|seed| seed.as_bytes().to_vec())
}

const SEEDS: [&str; 6] = [
    "192.0.2.1, 10.0.0.1",
    "[2001:db8::1]:443, ::ffff:192.0.2.7, unknown",
    "for=192.0.2.60;proto=http;by=203.0.113.43",
    "For=\"[2001:db8:cafe::17]:4711\", for=unknown",
    "for=\"_gazonk\";host=\"a,b;c\\\"\", for=10.0.0.1",
    ", for=\"evil, for=192.0.2.1",
];
