//! When a file is full, and what is on the disk after each step of a rotation.

use std::io::Write as _;

use super::*;

const NOW: Wall = Wall::from_unix_ms(1_795_617_000_500);

#[test]
fn settings() {
    let check = |text: &str, expected: Result<Rotate, &str>| {
        let parsed = toml::from_str::<crate::audit::AuditSettings>(text).map_err(|e| e.to_string());
        let parsed =
            parsed.and_then(|it| it.validate().map_err(|e| e.to_string()).map(|()| it.rotate));
        match (parsed, expected) {
            (Ok(parsed), Ok(expected)) => assert_eq!(parsed, expected, "{text}"),
            (Err(message), Err(expected)) => assert!(message.contains(expected), "{message}"),
            (parsed, _) => panic!("{text}: {parsed:?}"),
        }
    };
    let at = |size: Option<u64>, age_s: Option<u64>| {
        Ok(Rotate::At(Full {
            size: size.map(Size),
            age: age_s.map(|s| Span(Duration::from_secs(s))),
        }))
    };
    check("", at(Some(268_435_456), None));
    check("rotate = \"off\"", Ok(Rotate::Off));
    check("rotate = { age = \"24h\" }", at(None, Some(86_400)));
    check(
        "rotate = { size = \"1MiB\", age = \"1h\" }\ncompress = \"none\"\n[keep]\nage = \"30d\"",
        at(Some(1 << 20), Some(3_600)),
    );
    check("rotate = \"daily\"", Err("\"off\", or a table"));
    check("rotate = {}", Err("neither size nor age"));
    check("rotate = { size = \"1KiB\" }", Err("below 4KiB"));
    check("rotate = { age = \"10ms\" }", Err("below 1s"));
    check("rotate = { bytes = \"1MiB\" }", Err("unknown field"));
    check("keep = { files = 0 }", Err("keeps no rotated file"));
    check("compress = \"rar\"", Err("unknown variant"));
}

#[test]
fn a_file_is_full_by_size_or_age() {
    let check = |size: Option<u64>, age_s: Option<u64>, bytes, after_s, expected| {
        let rotate = Rotate::At(Full {
            size: size.map(Size),
            age: age_s.map(|s| Span(Duration::from_secs(s))),
        });
        let at = NOW.after(Duration::from_secs(after_s));
        assert_eq!(rotate.is_due(bytes, NOW, at), expected);
        assert!(!Rotate::Off.is_due(bytes, NOW, at));
    };
    check(Some(5_000), None, 4_999, 1_000_000, false);
    check(Some(5_000), None, 5_000, 0, true);
    check(None, Some(60), 1 << 40, 59, false);
    check(None, Some(60), 1, 60, true);
    // A clock that was set back makes nothing old.
    let rotate = Rotate::At(Full {
        size: None,
        age: Some(Span(MIN_AGE)),
    });
    assert!(!rotate.is_due(1, NOW, Wall::from_unix_ms(0)));
}

#[test]
fn names_say_when_and_are_read_back() {
    let log = Path::new("/x/audit.jsonl");
    let name = name_at(log, NOW);
    assert_eq!(name, Path::new("/x/audit.jsonl-20261125T143000Z"));
    assert_eq!(
        stamp(log, &name),
        Some(Wall::from_unix_ms(1_795_617_000_000))
    );
    let check = |name: &str, expected: bool| {
        assert_eq!(stamp(log, Path::new(name)).is_some(), expected, "{name}");
    };
    check("/x/audit.jsonl-20261125T143000Z.gz", true);
    check("/x/audit.jsonl-20261125T143000Z.gz.part", false);
    check("/x/audit.jsonl-20261125", false);
    check("/x/audit.jsonl-20261325T143000Z", false);
    check("/x/audit.jsonl.1", false);
    check("/x/audit.jsonl", false);
    check("/x/other.jsonl-20261125T143000Z", false);
}

fn listing(log: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory(log))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_swap_leaves_an_empty_log_of_the_same_mode_and_the_old_one_beside_it() {
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("audit.jsonl");
    let mut file = open_append(&log).unwrap();
    // Left by a crash between the two renames.
    fs::write(home.path().join("audit.jsonl.rotating"), "").unwrap();
    for content in ["one\n", "two\n", "three\n"] {
        file.write_all(content.as_bytes()).unwrap();
        file.set_permissions(Permissions::from_mode(0o600)).unwrap();
        // Always at the same second, or before it.
        file = swap(&log, &file, NOW).unwrap();
        assert_eq!(fs::metadata(&log).unwrap().mode() & 0o777, 0o600);
    }
    assert_eq!(
        listing(&log),
        [
            "audit.jsonl",
            "audit.jsonl-20261125T143000Z",
            "audit.jsonl-20261125T143001Z",
            "audit.jsonl-20261125T143002Z",
        ]
    );
    let contents: Vec<_> = rotated(&log)
        .unwrap()
        .iter()
        .map(|file| fs::read_to_string(&file.plain).unwrap())
        .collect();
    assert_eq!(contents, ["one\n", "two\n", "three\n"]);
}

#[test]
fn a_swap_that_fails_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("audit.jsonl");
    let mut file = open_append(&log).unwrap();
    file.write_all(b"one\n").unwrap();
    // In the way of the new file.
    fs::create_dir(home.path().join("audit.jsonl.rotating")).unwrap();
    swap(&log, &file, NOW).unwrap_err();
    assert_eq!(listing(&log), ["audit.jsonl", "audit.jsonl.rotating"]);
    file.write_all(b"two\n").unwrap();
    assert_eq!(fs::read_to_string(&log).unwrap(), "one\ntwo\n");
}

#[test]
fn what_somebody_else_has_renamed_is_only_opened_anew() {
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("audit.jsonl");
    let mut file = open_append(&log).unwrap();
    file.write_all(b"one\n").unwrap();
    fs::rename(&log, home.path().join("audit.jsonl.1")).unwrap();
    swap(&log, &file, NOW).unwrap();
    assert_eq!(listing(&log), ["audit.jsonl", "audit.jsonl.1"]);
}
