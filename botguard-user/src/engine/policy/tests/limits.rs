//! Hosts, limits, and what contradicts itself.

use super::*;

#[test]
fn hosts_come_before_paths() {
    let policy = compile(
        "[[route]]\npath = \"/a\"\n[[route]]\npath = \"/b\"\n\
         [[route]]\npath = \"/a\"\nhost = \"api.example.com\"\n\
         [[route]]\npath = \"/*\"\nhost = \"*.example.com\"\nmethods = [\"GET\"]\n\
         [[route]]\npath = \"/a\"\nhost = \"*.api.example.com\"\n\
         [[route]]\npath = \"/a\"\nhost = \"192.0.2.7\"\n",
    )
    .unwrap();
    let check = |host: &str, method: Method, path: &str, expected: &str| {
        let route = policy.route(host, &method, path);
        assert_eq!(&*route.name, expected, "{host} {method} {path}");
    };
    check("api.example.com", Method::GET, "/a", "api.example.com/a");
    check("api.example.com", Method::GET, "/b", "*.example.com/*");
    check("api.example.com", Method::POST, "/b", "/b");
    check("www.example.com", Method::GET, "/a", "*.example.com/*");
    check(
        "v1.api.example.com",
        Method::GET,
        "/a",
        "*.api.example.com/a",
    );
    check(
        "x.v1.api.example.com",
        Method::GET,
        "/a",
        "*.api.example.com/a",
    );
    check("x.v1.api.example.com", Method::GET, "/c", "*.example.com/*");
    check("example.com", Method::GET, "/a", "/a");
    check("evilexample.com", Method::GET, "/a", "/a");
    check("192.0.2.7", Method::GET, "/a", "192.0.2.7/a");
    check("", Method::GET, "/b", "/b");
}

#[test]
fn what_contradicts_itself_names_both_places() {
    let check = |text: &str, message: &str, other: Option<&str>| {
        let error = compile(text).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(error.other_key(), other);
    };
    check(
        "[[tier]]\nname = \"a\"\nkeys = [\"*\"]\nblock = 0.4\nthrottle = 0.5\n",
        "tier[0].throttle: 0.5000 is above tier[0].block = 0.4000; thresholds rise from throttle over \
         challenge and step_up to block",
        Some("tier[0].block"),
    );
    check(
        "[reputation]\nwatch = 0.6\n",
        "reputation.watch: 0.6000 is above reputation.throttle = 0.5000; they rise from watch over \
         throttle to suspend",
        Some("reputation.throttle"),
    );
    check(
        "[[route]]\npath = \"/a\"\nlimits = [{ rate = \"1/s\", burst = 1 }, { rate = \"9/h\", burst = 2 }]\n",
        "route[0].limits[1]: `key` is already the name of route[0].limits[0]; give one of them another \
         `name`",
        Some("route[0].limits[0]"),
    );
    check(
        "[[route]]\npath = \"/a\"\nhost = \"a.b\"\n[[route]]\npath = \"/a\"\nhost = \"A.b\"\n",
        "route[1].path: `A.b/a` is already covered by route[0] for the same method; join the two or \
         give them different methods",
        Some("route[0]"),
    );
}

#[test]
fn limits_and_their_like_are_checked() {
    let check = |text: &str, message: &str| {
        assert_eq!(compile(text).unwrap_err().to_string(), message);
    };
    let route = |rest: &str| format!("[[route]]\npath = \"/a\"\n{rest}\n");
    check(
        &route("cost = 0"),
        "route[0].cost: 0 would let nothing pass; write at least 1, or remove the limit",
    );
    check(
        &route("limits = [{ rate = \"1/s\", burst = 0 }]"),
        "route[0].limits[0].burst: 0 would let nothing pass; write at least 1, or remove the limit",
    );
    check(
        &route("limits = [{ rate = \"1/s\", burst = 1, name = \"a\\\"b\" }]"),
        "route[0].limits[0].name: `a\"b` cannot name a limit; write 1 to 32 letters, digits, `_` and `-`",
    );
    check(
        &route("quota = { bytes = \"1KiB\", window = \"0s\" }"),
        "route[0].quota.window: 0 would let nothing pass; write at least 1, or remove the limit",
    );
    check(
        &route("host = \"example.com:443\""),
        "route[0].host: `example.com:443` is not a host; write a name without port, as in \
         \"api.example.com\" or \"*.example.com\"",
    );
    check(
        "[step_up]\nmax_age = \"0s\"",
        "step_up.max_age: out of range; write from \"1s\" to \"24h\"",
    );
    check(
        "[step_up]\nurl = \"javascript:alert(1)\"",
        "step_up.url: write a URL as in \"https://app.example.com/reauthenticate\", or a path",
    );
    check(
        "[reputation]\nsuspend_after_hours = 25",
        "reputation.suspend_after_hours: out of range; write a whole number from 1 to 24",
    );
}
