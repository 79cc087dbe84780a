//! Who claims to be a crawler, and what is made of it.

use std::path::Path;
use std::time::Duration;

use super::*;

fn now() -> Monotonic {
    Monotonic::from_boot(Duration::from_secs(1))
}

fn settings(text: &str) -> Result<Vec<CrawlerSettings>, String> {
    #[derive(serde::Deserialize)]
    struct File {
        crawler: Vec<CrawlerSettings>,
    }
    let file: Result<File, _> = toml::from_str(text);
    file.map(|file| file.crawler)
        .map_err(|error| error.to_string())
}

/// Three crawlers: by ranges, by names, by both.
fn crawlers(directory: &Path) -> Crawlers {
    let ranges = directory.join("ranges.txt");
    std::fs::write(&ranges, "192.0.2.0/24\n2001:db8::/32\n").unwrap();
    let text = format!(
        "[[crawler]]\nname = 'ranged'\nuser_agent = 'RangedBot'\nranges = {ranges:?}\n\
         [[crawler]]\nname = 'named'\nuser_agent = 'NamedBot'\ndomains = ['named.test']\n\
         [[crawler]]\nname = 'both'\nuser_agent = 'both-bot'\nranges = {ranges:?}\n\
         domains = ['.both.test.']\n"
    );
    Crawlers::load(&settings(&text).unwrap()).unwrap()
}

#[test]
fn claims_are_told_from_truth() {
    let directory = tempfile::tempdir().unwrap();
    let crawlers = crawlers(directory.path());
    let (lookups, mut questions) = Lookups::new();
    let check = |agent: Option<&str>, ip: &str, expected: Crawler| {
        let found = crawlers.judge(agent, ip.parse().unwrap(), &lookups, now());
        assert_eq!(found, expected, "{agent:?} {ip}");
    };
    let verified = |name: &str| Crawler::Verified { name: name.into() };
    let unknown = |name: &str| Crawler::Unknown { name: name.into() };
    let wrong = |name: &str| Crawler::False { name: name.into() };
    let ranged = Some("Mozilla/5.0 (compatible; rangedbot/2.1; +http://a.test)");
    check(None, "192.0.2.1", Crawler::No);
    check(Some("Mozilla/5.0"), "192.0.2.1", Crawler::No);
    check(ranged, "192.0.2.1", verified("ranged"));
    check(ranged, "::ffff:192.0.2.1", verified("ranged"));
    check(ranged, "2001:db8::1", verified("ranged"));
    check(ranged, "198.51.100.1", wrong("ranged"));
    check(Some("NAMEDBOT"), "192.0.2.1", unknown("named"));
    check(Some("both-bot/1"), "192.0.2.1", verified("both"));
    check(Some("both-bot/1"), "198.51.100.1", unknown("both"));
    // Both names that were asked for become known.
    for answer in [Answer::Belongs, Answer::Stranger] {
        lookups.learn(questions.try_recv().unwrap(), answer, now());
    }
    assert!(questions.try_recv().is_err());
    check(Some("NamedBot"), "192.0.2.1", verified("named"));
    check(Some("both-bot"), "198.51.100.1", wrong("both"));
    assert!(crawlers.have_names());
    let files: Vec<_> = crawlers.files().map(|file| file.kind.clone()).collect();
    assert_eq!(files, ["crawler ranged", "crawler both"]);
    assert!(!Crawlers::load(&[]).unwrap().have_names());
}

#[test]
fn settings_that_tell_nobody_are_refused() {
    let check = |text: &str, expected: Option<&str>| {
        let found = settings(&format!("[[crawler]]\n{text}"));
        let found = found.and_then(|all| {
            let loaded = Crawlers::load(&all);
            loaded.map_err(|error| error.to_string())
        });
        match (found, expected) {
            (Ok(_), None) => {}
            (Err(message), Some(part)) => assert!(message.contains(part), "{message}"),
            (found, expected) => panic!("{text}: {found:?}, expected {expected:?}"),
        }
    };
    let good = "name = 'g'\nuser_agent = 'Googlebot'\ndomains = ['googlebot.com']\n";
    check(good, None);
    check(
        &format!("{good}[[crawler]]\n{good}"),
        Some("crawler g stands twice"),
    );
    check(&good.replace("'g'", "''"), Some("crawler.name: is empty"));
    check(
        &good.replace("Googlebot", "bot"),
        Some("`bot` is in too many headers"),
    );
    check(
        "name = 'g'\nuser_agent = 'Googlebot'",
        Some("crawler g: nothing tells"),
    );
    check("user_agent = 'Googlebot'", Some("missing field `name`"));
    check(&format!("{good}range = 'x'"), Some("unknown field `range`"));
    for domain in ["com", "", "*.googlebot.com", "a..b", "a b.c", "a.b/c"] {
        check(
            &good.replace("googlebot.com", domain),
            Some("is not a domain"),
        );
    }
    let missing = good.replace("domains = ['googlebot.com']", "ranges = 'no/such.json'");
    check(&missing, Some("no/such.json: cannot be read"));
}
