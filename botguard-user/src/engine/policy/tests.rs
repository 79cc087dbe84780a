//! Policies from text, as the configuration has them.

use serde::Deserialize;

use super::settings::{DefaultSettings, RouteSettings, TierSettings};
use super::step_up::StepUpSettings;
use super::*;

mod limits;

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    tier: Vec<TierSettings>,
    default: DefaultSettings,
    route: Vec<RouteSettings>,
    step_up: StepUpSettings,
    reputation: ReputationSettings,
}

impl File {
    fn settings(&self) -> PolicySettings<'_> {
        PolicySettings {
            mode: Mode::Enforce,
            tiers: &self.tier,
            default: &self.default,
            routes: &self.route,
            step_up: &self.step_up,
            reputation: self.reputation,
        }
    }
}

fn compile(text: &str) -> Result<Policy, PolicyError> {
    let file: File = toml::from_str(text).unwrap();
    Policy::compile(&file.settings(), BanPolicy::default())
}

fn routes(paths: &[&str]) -> Policy {
    let text: String = paths
        .iter()
        .map(|path| match path.split_once(' ') {
            Some((method, path)) => {
                format!("[[route]]\npath = \"{path}\"\nmethods = [\"{method}\"]\n")
            }
            None => format!("[[route]]\npath = \"{path}\"\n"),
        })
        .collect();
    compile(&text).unwrap()
}

#[test]
fn the_most_literal_route_wins() {
    let policy = routes(&[
        "/*",
        "/users",
        "GET /users",
        "/users/{id}",
        "/users/me",
        "/users/{id}/orders",
        "/users/*",
        "POST /upload",
        "/{any}/settings",
        "/static/*",
    ]);
    let check = |method: Method, path: &str, expected: &str| {
        assert_eq!(
            &*policy.route("", &method, path).name,
            expected,
            "{method} {path}"
        );
    };
    check(Method::GET, "/", "/*");
    check(Method::GET, "/users", "/users");
    check(Method::GET, "/users/7", "/users/{id}");
    check(Method::GET, "/users/me", "/users/me");
    check(Method::GET, "/users/7/orders", "/users/{id}/orders");
    // `me` leads nowhere here, so the search goes back to the parameter.
    check(Method::GET, "/users/me/orders", "/users/{id}/orders");
    check(Method::GET, "/users/7/invoices", "/users/*");
    check(Method::GET, "/users/7/orders/9", "/users/*");
    check(Method::GET, "/users/settings", "/users/{id}");
    check(Method::GET, "/teams/settings", "/{any}/settings");
    check(Method::POST, "/upload", "/upload");
    check(Method::GET, "/upload", "/*");
    check(Method::GET, "/static", "/static/*");
    check(Method::GET, "/static/a/b/c", "/static/*");
    check(Method::GET, "/nowhere/at/all", "/*");
}

#[test]
fn a_method_of_its_own_comes_before_all_methods() {
    let policy = compile(
        "[[route]]\npath = \"/a\"\nblock = 0.8\n[[route]]\npath = \"/a\"\nmethods = [\"GET\"]\nblock = 0.7",
    )
    .unwrap();
    let block = |method| {
        let thresholds = policy.route("", &method, "/a").thresholds;
        thresholds.block.as_basis()
    };
    assert_eq!((block(Method::GET), block(Method::POST)), (7_000, 8_000));
}

#[test]
fn routes_that_nobody_named_take_the_default() {
    let policy = routes(&["/users"]);
    assert_eq!(&*policy.route("", &Method::GET, "/other").name, "default");
    assert_eq!(&*policy.route("", &Method::GET, "/users/7").name, "default");
    assert_eq!(&*policy.route("", &Method::GET, "/").name, "default");
}

#[test]
fn thousands_of_routes_do_not_collide() {
    let paths: Vec<String> = (0..5_000)
        .map(|n| format!("/v{}/r{n}/{{id}}", n % 7))
        .collect();
    let policy = routes(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(
        &*policy.route("", &Method::GET, "/v3/r3/x").name,
        "/v3/r3/{id}"
    );
    assert_eq!(&*policy.route("", &Method::GET, "/v3/r4/x").name, "default");
}

#[test]
fn errors_name_the_key() {
    let check = |text: &str, expected: &str| {
        let message = compile(text).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    };
    check(
        "[default]\nthrottle = 0.95",
        "default.throttle: 0.9500 is above default.block",
    );
    check(
        "[default]\nblock = 1.5",
        "default.block: 1.5000 is out of range",
    );
    check(
        "[default]\nthrottle = 0.0",
        "default.throttle: 0.0000 is out of range",
    );
    check(
        "[[route]]\npath = \"/a\"\n[[route]]\npath = \"/b\"\nstep_up = 0.95",
        "route[1].step_up: 0.9500 is above route[1].block",
    );
    check(
        "[[route]]\npath = \"a\"",
        "route[0].path: `a` is not a route template",
    );
    check("[[route]]\npath = \"/{a\"", "route[0].path: `/{a`");
    check(
        "[[route]]\npath = \"/a\"\nmethods = [\"get\"]",
        "route[0].methods: `get` is not an HTTP method",
    );
    check(
        "[[route]]\npath = \"/{a}\"\n[[route]]\npath = \"/b\"\n[[route]]\npath = \"/{c}\"",
        "route[2].path: `/{c}` is already covered by route[0]",
    );
    check(
        "[[route]]\npath = \"/a\"\nmethods = [\"GET\", \"PUT\"]\n[[route]]\npath = \"/a\"\nmethods = [\"PUT\"]",
        "route[1].path: `/a` is already covered by route[0]",
    );
    let tier = |name: &str| format!("[[tier]]\nname = \"{name}\"\nkeys = [\"{name}*\"]\n");
    check(
        &(tier("a") + &tier("b") + &tier("a")),
        "tier[2].name: `a` is already the name of tier[0]",
    );
    check(
        "[[tier]]\nname = \"a\"\nkeys = []",
        "tier[0].keys: must not be empty",
    );
    check(
        "[[tier]]\nname = \"\"\nkeys = [\"*\"]",
        "tier[0].name: must not be empty",
    );
    check(
        "[[tier]]\nname = \"a\"\nkeys = [\"*\"]\nweight = 2",
        "tier[0].weight: 2.0000 is out",
    );
}

#[test]
fn numbers_of_enforcement_are_checked() {
    let check = |ban: BanPolicy, expected: Option<&str>| {
        let file = File::default();
        let error = Policy::compile(&file.settings(), ban)
            .err()
            .map(|it| it.to_string());
        match (&error, expected) {
            (Some(message), Some(key)) => assert!(message.starts_with(key), "{message}"),
            _ => assert_eq!(error.as_deref(), expected),
        }
    };
    let good = BanPolicy::default();
    let seconds = std::time::Duration::from_secs;
    check(good, None);
    check(
        BanPolicy { denied: 0, ..good },
        Some("enforcement.ban_after.denied"),
    );
    check(
        BanPolicy {
            within: seconds(0),
            ..good
        },
        Some("enforcement.ban_after.within"),
    );
    check(
        BanPolicy {
            ttl: seconds(0),
            ..good
        },
        Some("enforcement.ttl:"),
    );
    check(
        BanPolicy {
            ttl_factor: 0,
            ..good
        },
        Some("enforcement.ttl_factor"),
    );
    check(
        BanPolicy {
            ttl_max: seconds(1),
            ..good
        },
        Some("enforcement.ttl_max"),
    );
    check(
        BanPolicy {
            good_principals: 8,
            ..good
        },
        Some("enforcement.good_principals"),
    );
    check(
        BanPolicy {
            good_principals: 7,
            ..good
        },
        None,
    );
}

#[test]
fn what_is_not_acted_on_is_said() {
    let file: File = toml::from_str(
        "[default]\nchallenge = 0.6\n[[route]]\npath = \"/a\"\n[[route]]\npath = \"/login\"\n\
         kind = \"login\"\nstep_up = 0.7\nlogin = { user = \"json:email\", failure = [401] }",
    )
    .unwrap();
    let keys: Vec<String> = file
        .settings()
        .warnings()
        .iter()
        .filter_map(|line| line.strip_suffix(": not acted on by this version"))
        .map(str::to_owned)
        .collect();
    assert_eq!(keys, ["route[1].kind"]);
}

/// The tables of this floor in the configuration that CONTRACT.md promises to load.
#[test]
fn the_promised_configuration_compiles() {
    let file: File = toml::from_str(
        r#"
        [[tier]]
        name = "free"
        keys = ["sk_pub_*"]
        client = "browser"
        weight = 0.10
        rate = "120/min"
        burst = 60

        [default]
        mode = "log"
        throttle = 0.5
        challenge = 0.6
        step_up = 0.7
        block = 0.9

        [[route]]
        path = "/users"
        methods = ["GET"]
        mode = "enforce"
        throttle = 0.5
        challenge = 0.6
        step_up = 0.7
        block = 0.9
        expects = "any"

        [[route]]
        path = "/login"
        methods = ["POST"]
        kind = "login"
        login = { user = "json:email", failure = [400, 401, 403] }
        "#,
    )
    .unwrap();
    let policy = Policy::compile(&file.settings(), BanPolicy::default()).unwrap();
    let summary: Vec<_> = policy
        .summary()
        .into_iter()
        .map(|row| (row.route.to_string(), row.methods, row.mode))
        .collect();
    assert_eq!(
        summary,
        [
            ("/users".to_owned(), vec![Method::GET], Mode::Enforce),
            ("/login".to_owned(), vec![Method::POST], Mode::Log),
            ("default".to_owned(), vec![], Mode::Log),
        ]
    );
    assert_eq!(file.settings().warnings().len(), 1);
}

#[test]
fn unknown_keys_are_refused() {
    let check = |text: &str| {
        let message = toml::from_str::<File>(text).err().unwrap().to_string();
        assert!(message.contains("unknown field `colour`"), "{message}");
    };
    check("[default]\ncolour = 1");
    check("[[route]]\npath = \"/a\"\ncolour = 1");
    check("[[tier]]\nname = \"a\"\nkeys = [\"*\"]\ncolour = 1");
    check("[[route]]\npath = \"/a\"\nlogin = { user = \"form:a\", colour = 1 }");
}

#[test]
fn statuses_of_a_failed_login_are_statuses() {
    let check = |status: u16, expected: bool| {
        let route = "[[route]]\npath = \"/a\"\nlogin = { user = \"form:a\", failure = [401, ";
        let compiled = compile(&format!("{route}{status}] }}"));
        assert_eq!(compiled.is_ok(), expected, "{status}");
        if let Err(error) = compiled {
            let error = error.to_string();
            assert!(error.starts_with("route[0].login.failure: "), "{error}");
        }
    };
    check(100, true);
    check(599, true);
    check(99, false);
    check(600, false);
}

#[test]
fn modes_are_bounded_by_the_global_one() {
    let policy = compile(
        "[default]\nmode = \"enforce\"\n[[route]]\npath = \"/a\"\nmode = \"log\"\n[[route]]\npath = \"/b\"",
    )
    .unwrap();
    let modes =
        |policy: &Policy| -> Vec<Mode> { policy.summary().iter().map(|row| row.mode).collect() };
    assert_eq!(modes(&policy), [Mode::Log, Mode::Enforce, Mode::Enforce]);
    assert_eq!(modes(&policy.with_mode(Mode::Log)), [Mode::Log; 3]);
    assert_eq!(modes(&policy.with_mode(Mode::Off)), [Mode::Off; 3]);
}

#[test]
fn the_first_tier_that_matches_wins() {
    let policy = compile(
        "[[tier]]\nname = \"vip\"\nkeys = [\"sk_pub_vip*\"]\n[[tier]]\nname = \"free\"\nkeys = [\"sk_pub_*\", \"pk_*\"]",
    )
    .unwrap();
    let check = |key, expected: Option<&str>| {
        assert_eq!(policy.tier_of(key).as_deref(), expected, "{key}");
    };
    check("sk_pub_vip_1", Some("vip"));
    check("sk_pub_1", Some("free"));
    check("pk_1", Some("free"));
    check("other", None);
}
