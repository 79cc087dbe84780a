//! A configuration in a directory of its own, the built binary on it, and a daemon that is killed
//! with signal 9. What several suites of the binary from outside share.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A directory with a configuration.
pub(crate) struct Host {
    directory: TempDir,
    /// What no command may say.
    secret: &'static str,
}

impl Host {
    pub(crate) fn new(settings: &str, secret: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("botguard.toml"), settings).unwrap();
        Self { directory, secret }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The binary with these arguments and the configuration, in its directory.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_botguard"));
        command.args(arguments).arg("--config");
        command.arg(self.directory().join("botguard.toml"));
        command.current_dir(self.directory());
        command
    }

    /// Runs a command and compares exit status and a part of what it says.
    pub(crate) fn check(&self, arguments: &[&str], status: i32, part: &str) {
        let output = self.command(arguments).output().unwrap();
        let text = text(&output);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
        assert!(
            text.contains(part),
            "{arguments:?}: {part:?} is not in {text}"
        );
        assert!(!text.contains(self.secret), "{arguments:?}: {text}");
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let mut command = self.command(&[arguments, &["--json"]].concat());
        serde_json::from_slice(&command.output().unwrap().stdout).unwrap()
    }

    /// A daemon that is ready.
    pub(crate) fn start(&self) -> Running {
        let mut command = self.command(&["run"]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut lines = log.lines().map(Result::unwrap);
        assert!(lines.any(|line| line.contains("ready")), "it ended");
        // Somebody has to read on, or the daemon blocks once the pipe is full.
        std::thread::spawn(move || lines.count());
        Running(child)
    }
}

/// All that a command said.
pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Killed with signal 9 when it is dropped.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}
