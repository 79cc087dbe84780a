//! A daemon in front of the application, and programs that run in the world.

use std::process::{Command, Output, Stdio};

use botguard_tests::certificate::SERVER_NAME;
use botguard_tests::config::{Config, PORT};
use botguard_tests::daemon::Daemon;
use botguard_tests::host::{Host, UPSTREAM};
use botguard_tests::lab::EDGE_V4;

use crate::application;

/// AS7922, Comcast.
pub(crate) const SOURCE: &str = "73.15.20.30";

/// A host on which everything runs. The daemon ends first.
pub(crate) struct Scene {
    _daemon: Daemon,
    pub(crate) host: Host,
}

impl Scene {
    /// Starts application and daemon; `more` is added to the configuration.
    pub(crate) fn set_up(name: &str, more: &'static str) -> Self {
        let config = Config {
            more,
            ..Config::default()
        };
        let mut host = Host::set_up(name, &config).unwrap();
        host.lab.add_source(SOURCE.parse().unwrap()).unwrap();
        host.serve_with(|| application::serve(UPSTREAM));
        let daemon = host.botguard.start(&host.lab).unwrap();
        Self {
            _daemon: daemon,
            host,
        }
    }

    /// A command in the world that ends with the test. It knows the certificate by
    /// `SSL_CERT_FILE`.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = self.host.lab.world.command("setpriv");
        command.args(["--pdeathsig", "KILL", "--", program]);
        command
            .env("SSL_CERT_FILE", &self.host.certificate.chain)
            .env("HOME", self.host.lab.directory())
            .env("TMPDIR", self.host.lab.directory())
            .current_dir(self.host.lab.directory())
            .stdin(Stdio::null());
        command
    }

    /// Runs `curl ARGUMENTS… https://…PATH`: status and body.
    pub(crate) fn curl(&self, path: &str, arguments: &[&str]) -> (String, Vec<u8>) {
        let output = self.host.lab.directory().join("body");
        std::fs::write(&output, "").unwrap();
        let mut command = self.command("curl");
        command
            .args(["--silent", "--show-error", "--max-time", "60"])
            .args(["--resolve", &format!("{SERVER_NAME}:{PORT}:{EDGE_V4}")])
            .arg("--cacert")
            .arg(&self.host.certificate.chain)
            .arg("--output")
            .arg(&output)
            .args(["--write-out", "%{http_version} %{http_code}"])
            .args(arguments)
            .arg(url(path));
        let said = succeed(&mut command);
        (said, std::fs::read(&output).unwrap())
    }
}

/// Of the site, at the name that the certificate is for.
pub(crate) fn url(path: &str) -> String {
    format!("https://{SERVER_NAME}:{PORT}{path}")
}

/// Standard output of a command that must succeed.
pub(crate) fn succeed(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; `cargo xtask setup` installs it"));
    let (out, err) = (
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    assert!(status.success(), "{command:?}: {status}\n{out}\n{err}");
    out.into_owned()
}
