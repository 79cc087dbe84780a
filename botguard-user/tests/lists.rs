//! Lists from outside, by the built binary: with a store and no daemon. No kernel
//! (`backend = "none"`).

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails, and a panic says where"
)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const SETTINGS: &str = r#"
state_dir = "state"
[admin]
socket = "run/admin.sock"
[trust]
never_block = ["64.64.0.0/28"]
[kernel]
backend = "none"
[audit]
path = "audit.jsonl"
"#;

struct Host {
    directory: TempDir,
}

impl Host {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("botguard.toml"), SETTINGS).unwrap();
        Self { directory }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_botguard"));
        command.args(arguments).arg("--config");
        command.arg(self.directory.path().join("botguard.toml"));
        command
            .current_dir(&self.directory)
            .env_remove("SSH_CONNECTION");
        command
    }

    fn write(&self, file: &str, content: &str) -> PathBuf {
        let path = self.directory.path().join(file);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Runs a command and compares exit status and a part of what it says.
    fn check(&self, arguments: &[&str], status: i32, part: &str) -> String {
        let output = self.command(arguments).output().unwrap();
        let text = text(&output);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
        assert!(
            text.contains(part),
            "{arguments:?}: {part:?} is not in {text}"
        );
        text
    }

    /// Imports `content` and compares in the same way.
    fn import(&self, content: &str, status: i32, part: &str) {
        self.write("drop.txt", content);
        self.check(&["block", "import", "drop.txt"], status, part);
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// So many addresses of 64.0.0.0/8, one a line.
fn addresses(n: u32) -> String {
    let mut text = String::new();
    for n in 0..n {
        writeln!(text, "{}", Ipv4Addr::from(0x4000_0000 + n)).unwrap();
    }
    text
}

#[test]
fn a_list_is_imported_shown_replaced_and_removed() {
    let host = Host::new();
    host.import(
        "# a list\n198.51.100.0/24 ; SBL1\n\n2001:db8::/32\n",
        0,
        "list drop: 2 networks",
    );
    host.check(&["block", "list"], 0, "2 networks               list:drop");
    host.check(&["status"], 2, "lists       1 with 2 networks");
    host.import("203.0.113.7\n", 0, "in place of 2");
    assert_eq!(host.check(&["block", "export"], 0, ""), "203.0.113.7/32\n");
    host.check(
        &["block", "del", "--origin", "drop"],
        0,
        "list drop with 1 networks removed",
    );
    host.check(&["block", "del", "--origin", "drop"], 1, "no list `drop`");
    host.check(&["block", "list"], 0, "no blocks");
    host.check(&["block", "del"], 64, "TARGET");
    host.check(
        &["block", "del", "192.0.2.1", "--origin", "drop"],
        64,
        "--origin",
    );
}

#[test]
fn a_bad_line_is_named_and_nothing_is_half_done() {
    let host = Host::new();
    host.import("203.0.113.7\n", 0, "1 networks");
    let unchanged = |content: &str, part: &str| {
        host.import(content, 64, part);
        assert_eq!(
            host.check(&["block", "export"], 0, ""),
            "203.0.113.7/32\n",
            "{part}"
        );
    };
    let many = addresses(70_000);
    unchanged(
        &format!("{many}64.1.2.3.4\n192.0.2.1\n"),
        "drop.txt:70001: `64.1.2.3.4` is not",
    );
    unchanged(
        &format!("{many}64.1.2.3/24\n"),
        "drop.txt:70001: `64.1.2.3/24` has bits set",
    );
    unchanged(
        "# own\n\n127.0.0.1\n",
        "drop.txt:3: 127.0.0.1/32 must not be blocked",
    );
    unchanged(
        "64.0.0.1\n0.0.0.0/0\n",
        "drop.txt:2: 0.0.0.0/0 must not be blocked",
    );
    unchanged("64.64.0.0/16\n", "one of [trust] never_block");
    unchanged(
        "64.0.0.1\n192.168.0.0/16\n",
        "drop.txt:2: 192.168.0.0/16 is, or holds",
    );
    unchanged(
        "64.0.0.1\n\n68.0.0.0/7\n",
        "drop.txt:3: 68.0.0.0/7 is wider",
    );
    let quarter: String = (128..192)
        .filter(|byte| ![169, 172, 192].contains(byte))
        .map(|byte| format!("{byte}.0.0.0/8\n"))
        .collect();
    unchanged(&quarter, "% of all IPv4 addresses");
    unchanged("", "no entry");
    unchanged(
        "[\n\"64.0.0.1\",\n\"64.0.0.1/24\"\n]",
        "drop.txt:3: `64.0.0.1/24`",
    );
    unchanged(
        "[\n\"64.0.0.1\",\n\"10.1.2.3\"\n]",
        "drop.txt:3: 10.1.2.3/32 is, or holds",
    );
}

#[test]
fn sudden_changes_of_size_need_force() {
    let host = Host::new();
    host.import(&addresses(1_000), 0, "1000 networks");
    host.import(&addresses(2_001), 64, "more than twice as many");
    host.import(&addresses(499), 64, "less than half as many");
    host.import(&addresses(2_000), 0, "2000 networks");
    host.write("drop.txt", &addresses(10));
    host.check(&["block", "import", "drop.txt"], 64, "--force");
    host.check(
        &["block", "import", "drop.txt", "--force"],
        0,
        "10 networks",
    );
}

#[test]
fn force_does_not_reach_this_host() {
    let host = Host::new();
    host.write("bogons", "10.99.0.0/16\n");
    host.check(&["block", "import", "bogons"], 64, "private use");
    host.write("bogons", "127.0.0.0/8\n");
    host.check(
        &["block", "import", "bogons", "--force"],
        64,
        "`--force` does not help",
    );
}

#[test]
fn arguments_are_checked_and_files_named() {
    let host = Host::new();
    let path = host.write("(x)", "203.0.113.7\n");
    let path = path.to_str().unwrap();
    host.check(&["block", "import", "absent.txt"], 64, "absent.txt");
    host.check(
        &["block", "import", path, "--origin", "A B"],
        64,
        "cannot name a list",
    );
    host.check(
        &["block", "import", path, "--origin", "automatic"],
        64,
        "--origin",
    );
    host.check(&["block", "import", path, "--ttl", "0s"], 64, "--ttl");
    host.check(&["block", "import", path, "--format", "nft"], 64, "nft");
    host.check(&["block", "import", path], 0, "list -x-: 1 networks");
    host.check(
        &["block", "export", "--origin", "none"],
        1,
        "no list `none`",
    );
    host.write("()", "203.0.113.7\n");
    host.check(&["block", "import", "()"], 64, "--origin NAME");
}

#[test]
fn standard_input_is_a_list_with_a_name() {
    let host = Host::new();
    let import = |arguments: &[&str], content: &str| {
        let mut child = host.command(arguments);
        child
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(content.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        (output.status.code(), text(&output))
    };
    let (status, text) = import(&["block", "import", "-"], "203.0.113.7\n");
    assert_eq!(status, Some(64), "{text}");
    assert!(text.contains("--origin"), "{text}");
    let named = ["block", "import", "-", "--origin", "feed"];
    let (status, text) = import(&named, "203.0.113.7\nx\n");
    assert_eq!(status, Some(64), "{text}");
    assert!(text.contains("standard input:2: `x`"), "{text}");
    let (status, text) = import(&named, "203.0.113.7\n");
    assert_eq!(status, Some(0), "{text}");
    host.check(&["block", "list"], 0, "list:feed");
}

#[test]
fn an_export_is_imported_as_it_was() {
    let host = Host::new();
    host.check(
        &[
            "block",
            "add",
            "198.51.100.7",
            "--ttl",
            "2h",
            "--reason",
            "x",
        ],
        0,
        "",
    );
    host.import("203.0.113.0/24\n2001:db8::/32\n", 0, "2 networks");
    for format in ["json", "cidr"] {
        let export = || {
            host.check(
                &["block", "export", "--format", format],
                0,
                "203.0.113.0/24",
            )
        };
        let before = export();
        host.write("copy", &before);
        host.check(&["block", "flush"], 0, " removed");
        host.check(
            &["block", "import", "copy"],
            0,
            "list copy: 3 networks of 3 entries",
        );
        let after = export();
        if format == "cidr" {
            assert_eq!(after, before);
        }
        let ends = |text: &str| text.matches("\"expires\":\"2").count();
        assert_eq!(ends(&after), ends(&before));
    }
}
