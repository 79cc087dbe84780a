//! The contract's file loads; every mistake names its place.

use super::*;

const CONTRACT: &str = include_str!("../../tests-data/contract.toml");

fn load(text: &str) -> Result<Loaded, SettingsError> {
    let path = Path::new("/etc/botguard/botguard.toml");
    Loaded::parse(Document::from_text(path, text.to_owned()))
}

#[test]
fn the_promised_file_loads() {
    let loaded = load(CONTRACT).unwrap();
    loaded.policy().unwrap();
    let settings = &loaded.settings;
    assert_eq!(settings.mode, Mode::Enforce);
    assert_eq!(settings.route.len(), 2);
    assert_eq!(settings.state_dir, Path::new("/var/lib/botguard"));
    let certificate = &settings.listener[0].certificate[0];
    assert_eq!(
        certificate.cert,
        Path::new("/etc/botguard/tls/fullchain.pem")
    );
    assert_eq!(
        settings.intel.asn.as_deref(),
        Some(Path::new("/etc/botguard/asn.csv"))
    );
}

#[test]
fn life_and_tls_are_configured() {
    let loaded = load(
        "drain = '45s'\n[[listener]]\nbind = '127.0.0.1:0'\nupstream = 'app'\n\
         self_signed = ['localhost']\nmin_tls = '1.3'\nclient_certificates = { ca = 'ca.pem' }",
    );
    let settings = loaded.unwrap().settings;
    assert_eq!(settings.drain.0, Duration::from_secs(45));
    let clients = settings.listener[0].client_certificates.as_ref().unwrap();
    assert_eq!(clients.ca, Path::new("/etc/botguard/ca.pem"));
    assert!(clients.required);
    assert_eq!(load("").unwrap().settings.drain.0, Duration::from_secs(30));
}

#[test]
fn every_key_of_later_work_is_named_with_its_line() {
    let warnings = load(CONTRACT).unwrap().warnings().join("\n");
    for key in ["route[1].kind", "[identity] user: nobody vouches"] {
        let line = warnings.lines().find(|line| line.contains(key));
        let line = line.unwrap_or_else(|| panic!("{key} is not in\n{warnings}"));
        assert!(line.starts_with("/etc/botguard/botguard.toml:"), "{line}");
    }
}

#[test]
fn an_empty_file_loads_and_bounds_nothing() {
    let loaded = load("").unwrap();
    assert_eq!(loaded.settings, {
        let mut expected = Settings::default();
        expected.resolve_paths(Path::new("/etc/botguard"));
        expected
    });
    assert_eq!(loaded.settings.default.mode, Mode::Log);
}

#[test]
fn mistakes_name_line_and_mend() {
    let check = |text: &str, expected: &str| {
        let error = load(text)
            .and_then(|loaded| loaded.policy().map(|_| loaded))
            .and_then(|loaded| loaded.listeners())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(
        "[default]\nthrottle = 0.9\n\nblock = 0.5",
        ".toml:2: default.throttle: 0.9000 is above default.block = 0.5000; thresholds rise from \
         throttle over challenge and step_up to block (default.block is on line 4)",
    );
    check(
        "[[route]]\npath = \"/a\"\n\n[[route]]\npath = \"/a\"",
        ".toml:5: route[1].path: `/a` is already covered by route[0] for the same method; join the two \
         or give them different methods (route[0] is on line 1)",
    );
    check(
        "stat_dir = \"x\"",
        ".toml:1: unknown key `stat_dir`; did you mean `state_dir`?",
    );
    check(
        "\n[kernel]\nscop = \"host\"",
        ".toml:3: unknown key `scop`; did you mean `scope`?",
    );
    check(
        "mode = \"enforced\"",
        ".toml:1: unknown value `enforced`; did you mean `enforce`?",
    );
    check("[enforcement]\nttl = 10", ".toml:2:");
    check(
        "[enforcement]\n\nttl = \"48h\"",
        ".toml:3: [enforcement] ttl",
    );
    check(
        "[enforcement]\nttl = \"1m\"\nban_after = { denied = 0 }",
        ".toml:3: [enforcement] ban_after.denied must be above zero",
    );
    check(
        "\n[[route]]\npath = \"users\"",
        ".toml:3: route[0].path: `users` is not",
    );
    check(
        "[identity]\nsession = [\"cookies:a\"]",
        ".toml:2: `cookies:a` is not a place for a secret; write header:NAME",
    );
    check(
        "[identity]\n\nuser = [\"sub\"]",
        ".toml:3: `sub` is not a place for a user; write jwt:CLAIM",
    );
    check(
        "[identity.jwt]\nleway = \"60s\"",
        ".toml:2: unknown key `leway`; did you mean `leeway`?",
    );
    check(
        "[identity.jwt]\nalgorithms = [\"RS512\"]",
        ".toml:2: unknown value `RS512`; known here: one of `RS256`",
    );
    let crawler = "[[crawler]]\nname = \"g\"\nuser_agent = \"Googlebot\"\n";
    check(crawler, ".toml:1: crawler g: nothing tells a true one");
    check(
        &format!("{crawler}domains = [\"com\"]"),
        "crawler.domains: `com` is not a domain",
    );
    check(
        &format!("{crawler}domain = [\"a.test\"]"),
        "unknown key `domain`",
    );
    check("mode = \"log\"", "listener: there is none");
    let listener = "[[listener]]\nbind = \"127.0.0.1:0\"\nupstream = \"app\"\n";
    check(&format!("\n{listener}self_signed = [\"a\"]"), ".toml:2: ");
    check(
        &format!(
            "{listener}certificate = [{{ cert = \"x\", key = \"y\" }}]\n[upstream.app]\nendpoints = [\"http://a\"]"
        ),
        "/etc/botguard/x",
    );
    check(
        &format!("{listener}\n[upstream.app]\nendpoints = [\"ftp://a\"]"),
        ".toml:5: [upstream.app]",
    );
}

/// What it says of them goes to a terminal.
#[test]
fn what_a_file_says_gives_a_terminal_no_commands() {
    let check = |text: &str, expected: &str| {
        let error = load(text)
            .and_then(|loaded| loaded.policy())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error:?}");
        assert!(!error.contains(char::is_control), "{error:?}");
    };
    check(r#""a\u001bb" = 1"#, r"unknown key `a\u{1b}b`");
    check(r#"mode = "\n""#, r"unknown value `\n`");
    check("[[route]]\npath = \"\\u009b2J\"", r"`\u{9b}2J` is not");
}

#[test]
fn policies_are_told_apart() {
    let hash = |text| policy_hash(&load(text).unwrap().document);
    assert_eq!(hash("mode = \"log\""), hash("mode = \"log\""));
    assert_ne!(hash("mode = \"log\""), hash("mode = \"enforce\""));
    assert_eq!(hash("").len(), 16);
}
