//! Headless Chromium, with a profile of its own.

use std::process::{Child, Command, Stdio};

/// A browser of its own, ended with the test.
pub(crate) struct Browser {
    process: Child,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Opens it before a page.
    pub(crate) fn open(url: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let process = Self::command(&profile, url)
            .stdout(Stdio::null())
            .spawn()
            .expect(NO_CHROMIUM);
        Self {
            process,
            _profile: profile,
        }
    }

    /// The document as it stands once it is loaded.
    pub(crate) fn document(url: &str, switch: &str) -> String {
        let profile = tempfile::tempdir().unwrap();
        let output = Self::command(&profile, url)
            .args(["--dump-dom", switch])
            .output()
            .expect(NO_CHROMIUM);
        String::from_utf8(output.stdout).unwrap()
    }

    fn command(profile: &tempfile::TempDir, url: &str) -> Command {
        let mut command = Command::new("chromium");
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--ignore-certificate-errors",
                "--no-first-run",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

const NO_CHROMIUM: &str = "chromium does not start; `cargo xtask setup` installs it";

impl Drop for Browser {
    fn drop(&mut self) {
        // One that has ended by itself cannot be killed.
        let _ended: std::io::Result<()> = self.process.kill();
        let _status: std::io::Result<std::process::ExitStatus> = self.process.wait();
    }
}
