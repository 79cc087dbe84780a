//! Sessions and users from head to record: named by hashes, and by nothing else.

use serde_json::json;

use super::*;
use crate::edge::identity::jwt::signer::{OTHER, OURS};
use crate::words::identity::{Crawler, UserProof};

const IDENTITY: &str = "session = [\"cookie:visit\"]\nuser = [\"jwt:sub\", \"header:x-who\"]";

/// A bench, and the directory of its keys.
fn bench() -> (Bench, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys.json");
    std::fs::write(&keys, OURS.set().to_string()).unwrap();
    let identity = format!("{IDENTITY}\njwt = {{ keys = {keys:?} }}");
    (Bench::identifying(&identity, "enforce", &[]), directory)
}

/// A request to the end, and its record.
fn record(bench: &Bench, fields: &[(&str, &str)], uri: &str) -> RequestRecord {
    let mut request = Request::builder().uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let admission = bench.pipeline.admit(&RequestHead {
        parts: &parts,
        path: parts.uri.path(),
        authority: "api.example.com:8443",
        client: ClientAddress::direct("192.0.2.7".parse().unwrap()),
        local: SocketAddr::from(([192, 0, 2, 80], 443)),
        asks: Asks::Application,
        prints: &NO_PRINTS,
    });
    let response = response_of(AnsweredBy::Upstream);
    bench.pipeline.finish(admission.ticket, &response);
    bench.requests().pop().unwrap()
}

#[test]
fn who_it_was_is_recorded_by_hash_and_proof() {
    let (bench, _directory) = bench();
    let hasher = KeyHasher::new(&[7; 32]);
    let in_a_year = Wall::read().as_unix_ms() / 1_000 + 31_536_000;
    let token = |issuer: &crate::edge::identity::jwt::signer::Issuer| {
        let claims = json!({"sub": "alice-canary", "exp": in_a_year});
        issuer.token(&json!({"alg": "ES256", "kid": "ec"}), &claims)
    };
    let (good, forged) = (token(&OURS), token(&OTHER));
    let short = |hash: u128| format!("#{:032x}", hash)[..17].to_owned();
    let session = short(hasher.session("visit-canary-1").0);
    let alice = short(hasher.user("alice-canary").0);
    let carol = short(hasher.user("carol-canary").0);

    let check = |token: &str, who: &str, user: Option<(&str, UserProof)>| {
        let bearer = format!("Bearer {token}");
        let fields = [
            ("authorization", bearer.as_str()),
            ("cookie", "visit=visit-canary-1; copy=visit-canary-1"),
            ("x-who", who),
            ("x-copy", &format!("visit-canary-1 {token}")),
        ];
        let uri = format!("https://api.example.com/users/visit-canary-1?t={token}");
        let record = record(&bench, &fields, &uri);
        let identity = &record.identity;
        assert_eq!(identity.session.as_ref(), Some(&session));
        assert_eq!(identity.user.as_deref(), user.map(|(hash, _)| hash));
        assert_eq!(identity.user_proof, user.map(|(_, proof)| proof));
        assert_eq!(identity.key, None);
    };
    check(&good, "", Some((&alice, UserProof::Verified)));
    check(&good, "carol-canary", Some((&alice, UserProof::Verified)));
    check(&forged, "carol-canary", Some((&carol, UserProof::Claimed)));
    check(&forged, "", None);

    bench.audit.flush();
    let log = std::fs::read_to_string(bench.directory.path().join("audit.jsonl")).unwrap();
    assert!(log.contains(&session) && log.contains(&alice) && log.contains(&carol));
    let parts = good.split('.').chain(forged.split('.'));
    // The header of a token is in every other of its issuer.
    for canary in parts.filter(|part| !part.is_empty()).chain(["canary"]) {
        assert!(!log.contains(canary), "{canary}");
    }
}

#[test]
fn facts_say_whether_a_crawler_is_true() {
    let directory = tempfile::tempdir().unwrap();
    let ranges = directory.path().join("ranges.txt");
    std::fs::write(&ranges, "192.0.2.0/24\n").unwrap();
    let crawler =
        format!("[[crawler]]\nname = \"truebot\"\nuser_agent = \"TrueBot\"\nranges = {ranges:?}");
    let bench = Bench::identifying(&crawler, "enforce", &[]);
    let check = |agent: &str, ip: &str, expected: Crawler| {
        let request = Request::builder().uri("https://api.example.com/");
        let (parts, ()) = request
            .header("user-agent", agent)
            .body(())
            .unwrap()
            .into_parts();
        let head = RequestHead {
            parts: &parts,
            path: "/",
            authority: "API.example.com:8443",
            client: ClientAddress::direct(ip.parse().unwrap()),
            local: SocketAddr::from(([192, 0, 2, 80], 443)),
            asks: Asks::Application,
            prints: &NO_PRINTS,
        };
        let (facts, _) = bench.pipeline.facts(&head, &bench.pipeline.view());
        assert_eq!(facts.crawler, expected, "{agent} {ip}");
        assert_eq!(&*facts.host, "api.example.com");
    };
    let name: Arc<str> = Arc::from("truebot");
    let verified = Crawler::Verified {
        name: Arc::clone(&name),
    };
    check("truebot/1.0", "192.0.2.7", verified);
    check("truebot/1.0", "198.51.100.7", Crawler::False { name });
    check("curl/8", "192.0.2.7", Crawler::No);
}
