//! What the operator decided about a key is among the facts of each of its requests, and of no
//! other's.

use super::*;
use crate::words::key::{KeyOverride, KeyRuling, KeyStanding};

#[test]
fn facts_carry_the_ruling_of_their_key() {
    let bench = Bench::new("enforce");
    let now = bench.enforcer.now();
    let key = KeyHasher::new(&[7; 32]).hash("sk_pub_xyz1234567890");
    let ruling = KeyRuling {
        standing: KeyStanding::Suspended,
        mode: Some(Mode::Log),
        limit: None,
    };
    let facts = |key: Option<&str>| {
        let mut request = Request::get("https://api.example.com/users");
        if let Some(key) = key {
            request = request.header("x-api-key", key);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let head = RequestHead {
            parts: &parts,
            path: "/users",
            authority: "api.example.com",
            client: ClientAddress::direct(SCRAPER.parse().unwrap()),
            local: SocketAddr::from(([192, 0, 2, 80], 443)),
            asks: Asks::Application,
            prints: &NO_PRINTS,
        };
        bench.pipeline.facts(&head, &bench.pipeline.view()).0
    };
    let ruling_of = |key| facts(key).ruling;
    assert_eq!(
        ruling_of(Some("sk_pub_xyz1234567890")),
        KeyRuling::default()
    );
    let set = |until| KeyOverride {
        hash: key,
        public_id: "xyz12".to_owned(),
        ruling,
        reason: "leaked".to_owned(),
        actor: "uid 0".to_owned(),
        created: now,
        until,
    };
    let hour = Duration::from_secs(3_600);
    bench
        .enforcer
        .set_override(set(Some(now.after(hour))))
        .unwrap();
    assert_eq!(ruling_of(Some("sk_pub_xyz1234567890")), ruling);
    // One that has ended and was not collected yet does not hold.
    assert_eq!(
        bench.enforcer.ruling(key, now.after(hour)),
        KeyRuling::default()
    );
    assert_eq!(
        ruling_of(Some("sk_pub_xyz1234567891")),
        KeyRuling::default()
    );
    assert_eq!(ruling_of(None), KeyRuling::default());
    bench.enforcer.clear_override(key).unwrap();
    assert_eq!(
        ruling_of(Some("sk_pub_xyz1234567890")),
        KeyRuling::default()
    );
}
