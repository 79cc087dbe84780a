//! Tables of what is read and what is not, and that any bytes are answered.

use proptest::prelude::*;

use super::*;

fn networks(parsed: &Parsed) -> Vec<String> {
    let of_group = |group: &Group| {
        let end = group.expires.map(|end| format!(" {end}"));
        let end = end.unwrap_or_default();
        let networks = group.networks.iter();
        networks
            .map(|network| format!("{network}{end}"))
            .collect::<Vec<_>>()
    };
    parsed.groups.iter().flat_map(of_group).collect()
}

fn check(format: Format, content: &[u8], expected: Result<&[&str], (usize, &str)>) {
    let shown = String::from_utf8_lossy(content);
    match (parse(content, format), expected) {
        (Ok(parsed), Ok(expected)) => assert_eq!(networks(&parsed), expected, "{shown}"),
        (Err(error), Err((line, text))) => {
            assert_eq!(error.line, line, "{shown}: {error}");
            assert!(error.to_string().contains(text), "{shown}: {error}");
        }
        (answer, _) => panic!("{shown}: {answer:?}"),
    }
}

#[test]
fn lines() {
    let check = |content: &str, expected| check(Format::Cidr, content.as_bytes(), expected);
    check("", Ok(&[]));
    check("192.0.2.7", Ok(&["192.0.2.7/32"]));
    check(
        "192.0.2.7\r\n\r\n2001:db8::/32\r\n",
        Ok(&["192.0.2.7/32", "2001:db8::/32"]),
    );
    check("\u{feff}192.0.2.7\n", Ok(&["192.0.2.7/32"]));
    check(
        "# list\n ; of\n\t192.0.2.7 ; SBL1\n192.0.2.8# x\n192.0.2.9;y",
        Ok(&["192.0.2.7/32", "192.0.2.8/32", "192.0.2.9/32"]),
    );
    check("::ffff:192.0.2.0/120\n", Ok(&["192.0.2.0/24"]));
    check("192.0.2.7/32\n192.0.2.0/24", Ok(&["192.0.2.0/24"]));
    check(
        "192.0.2.0/24\n\n192.0.2.7/24 # x",
        Err((3, "write 192.0.2.0/24 or 192.0.2.7")),
    );
    check(
        "\n2001:db8::1/64",
        Err((2, "write 2001:db8::/64 or 2001:db8::1")),
    );
    check(
        "192.0.2.1\n300.1.2.3\n",
        Err((2, "`300.1.2.3` is not an address")),
    );
    check("10.0.0.0/33", Err((1, "not an address")));
    check("10.0.0.0/+8", Err((1, "not an address")));
    check("10.0.0.0/", Err((1, "not an address")));
    check("010.0.0.1", Err((1, "not an address")));
    check("fe80::1%eth0", Err((1, "not an address")));
    check("192.0.2.1-192.0.2.9", Err((1, "not an address")));
    check("example.com", Err((1, "not an address")));
    check(
        "192.0.2.1 192.0.2.2",
        Err((1, "`192.0.2.2` behind the entry")),
    );
    check("192.0.2.1 1795435200000", Err((1, "behind the entry")));
    check("192.0.2.1, 192.0.2.2", Err((1, "`192.0.2.1,`")));
}

#[test]
fn bytes_that_are_no_text_are_shown_fit_to_print() {
    check(
        Format::Cidr,
        b"192.0.2.1\n\xff\x1b[2J",
        Err((2, "`\u{fffd}\u{fffd}[2J`")),
    );
    let long = vec![b'x'; 10_000];
    check(Format::Cidr, &long, Err((1, "xxx…`")));
}

#[test]
fn the_seventy_thousand_and_first_line_is_named() {
    let mut content = String::new();
    for n in 0..70_000_u32 {
        content += &format!("{}\n", std::net::Ipv4Addr::from(0x4000_0000 + n));
    }
    content += "64.0.0.0.1\n192.0.2.1\n";
    check(
        Format::Cidr,
        content.as_bytes(),
        Err((70_001, "`64.0.0.0.1`")),
    );
}

#[test]
fn json() {
    let check = |content: &str, expected| check(Format::Json, content.as_bytes(), expected);
    check("[]", Ok(&[]));
    check(
        " [\"192.0.2.7\", \"2001:db8::/32\"]\n",
        Ok(&["192.0.2.7/32", "2001:db8::/32"]),
    );
    check("[\"192.0.2.0\\/24\"]", Ok(&["192.0.2.0/24"]));
    check(
        r#"[{"network": "192.0.2.7", "expires": null, "reason": {"any": ["thing"]}}, "192.0.2.8",
            {"expires": "2026-11-23T12:00:00.001Z", "network": "192.0.2.9"},
            {"expires": "2026-11-23T12:01:00Z", "network": "192.0.2.10"}]"#,
        Ok(&[
            "192.0.2.7/32",
            "192.0.2.8/32",
            "192.0.2.9/32 2026-11-23T12:01:00.000Z",
            "192.0.2.10/32 2026-11-23T12:01:00.000Z",
        ]),
    );
    check(
        "[\"192.0.2.7\",\n\n\"192.0.2.7/24\"]",
        Err((3, "write 192.0.2.0/24")),
    );
    check(
        "[\n{\"network\":\n\"x\"}]",
        Err((3, "`x` is not an address")),
    );
    check(
        "[\n{\"network\": \"192.0.2.1\"},\n{\"net\": 1}]",
        Err((3, "without `network`")),
    );
    check("[\n{\"network\": null}]", Err((2, "without `network`")));
    check("[{\"network\": 7}]", Err((1, "a list is an array")));
    check(
        "[\n{\"network\": \"192.0.2.1\", \"expires\": \"soon\"}]",
        Err((2, "`soon` is not a time")),
    );
    check(
        "[{\"network\": \"192.0.2.1\", \"expires\": \"2026-11-23T12:00:00+01:00\"}]",
        Err((1, "in UTC")),
    );
    check("[1]", Err((1, "a list is an array")));
    check(
        "{\"network\": \"192.0.2.1\"}",
        Err((1, "expected an array")),
    );
    check("[\"192.0.2.1\",\n]", Err((2, "trailing comma")));
    check("[\"192.0.2.1\"", Err((1, "EOF")));
    check("[\"192.0.2.1\"]\n[]", Err((2, "trailing characters")));
    check("", Err((1, "EOF")));
}

#[test]
fn lists_have_bounds() {
    let ends: String = (0..=MAX_ENDS)
        .map(|end| format!("192.0.2.1 {end}\n"))
        .collect();
    check(
        Format::Wire,
        ends.as_bytes(),
        Err((MAX_ENDS + 1, "different times")),
    );
    let three = |content: &[u8]| scan_at_most(3, content, Format::Cidr, |_entry| Ok(()));
    assert_eq!(three(b"192.0.2.1\n192.0.2.1\n192.0.2.1\n"), Ok(()));
    let error = three(b"192.0.2.1\n192.0.2.1\n\n192.0.2.1\n192.0.2.1\n").unwrap_err();
    assert_eq!((error.line, &error.problem), (5, &Problem::TooMany));
    assert!(
        error.to_string().contains("more than 4194304 entries"),
        "{error}"
    );
}

#[test]
fn formats_are_told_by_the_first_byte() {
    let check = |content: &str, expected| assert_eq!(Format::of(content.as_bytes()), expected);
    check("192.0.2.1", Format::Cidr);
    check("# [list]", Format::Cidr);
    check("", Format::Cidr);
    check("\n [\"192.0.2.1\"]", Format::Json);
    check("\u{feff}{", Format::Json);
}

#[test]
fn an_entry_is_found_by_its_number() {
    let check = |content: &str, entry, expected| {
        let content = content.as_bytes();
        assert_eq!(line_of(content, Format::of(content), entry), expected);
    };
    check("# x\n192.0.2.1\n\n192.0.2.2\n", 0, Some(2));
    check("# x\n192.0.2.1\n\n192.0.2.2\n", 1, Some(4));
    check("# x\n192.0.2.1\n\n192.0.2.2\n", 2, None);
    check(
        "[\"192.0.2.1\",\n{\"network\":\n\"192.0.2.2\"},\n\"192.0.2.3\"]",
        1,
        Some(3),
    );
    check(
        "[\"192.0.2.1\",\n{\"network\":\n\"192.0.2.2\"},\n\"192.0.2.3\"]",
        2,
        Some(4),
    );
}

proptest! {
    #[test]
    fn any_bytes_are_answered(content in prop::collection::vec(any::<u8>(), 0..200)) {
        for format in [Format::Cidr, Format::Json, Format::Wire] {
            let _answered: Result<Parsed, ImportError> = parse(&content, format);
        }
    }

    #[test]
    fn almost_lists_are_answered(content in r#"[\[\]{}",:0-9a-f./ \n#;"network""expires"]{0,80}"#) {
        for format in [Format::Cidr, Format::Json, Format::Wire] {
            let parsed = parse(content.as_bytes(), format);
            let lines = content.split('\n').count();
            prop_assert!(parsed.is_ok_and(|parsed| parsed.n_entries <= content.len())
                || parse(content.as_bytes(), format).unwrap_err().line <= lines);
        }
    }

    #[test]
    fn the_wire_carries_what_was_written(
        entries in prop::collection::vec(
            (any::<u32>(), any::<u128>(), 0_u8..=32, any::<bool>(), prop::option::of(0_u64..3)),
            0..20,
        ),
    ) {
        let mut content = String::from("[");
        for (number, (v4, v6, len, is_v4, end)) in entries.iter().enumerate() {
            let network = if *is_v4 {
                IpNet::new(std::net::Ipv4Addr::from(*v4).into(), *len).unwrap()
            } else {
                IpNet::new(std::net::Ipv6Addr::from(*v6).into(), len * 4).unwrap()
            };
            let end = end.map(|end| Wall::from_unix_ms(end * 60_000).to_string());
            content += if number == 0 { "" } else { "," };
            content += &serde_json::json!({"network": network.trunc(), "expires": end}).to_string();
        }
        content += "]";
        let wired = wire(content.as_bytes(), Format::Json).unwrap();
        prop_assert_eq!(wired.lines().count(), entries.len());
        prop_assert_eq!(
            parse(wired.as_bytes(), Format::Wire).unwrap(),
            parse(content.as_bytes(), Format::Json).unwrap()
        );
    }
}
