//! The proxies that are compared, each as its own documentation sets it up for one core: TLS to the
//! client, kept connections to the upstream, no access log at the peers. Only botguard scores, and
//! writes a record for each request.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::process::Process;
use crate::stage::{FILES_PORT, PROXY_CORE, Stage};

/// A proxy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// Everything on; nothing is denied, see the module of the bench.
    Botguard,
    /// With the audit log rotated and compressed as by default.
    BotguardRotating,
    /// Stock.
    Nginx,
    /// With ModSecurity and the Core Rule Set.
    NginxCrs,
    /// Stock.
    Haproxy,
}

/// What answers with sizes, and takes them; see `bulk`.
pub(crate) const BULK_PORT: u16 = 3001;

impl Kind {
    /// What rows call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Botguard => "botguard",
            Self::BotguardRotating => "botguard, audit rotated and compressed",
            Self::Nginx => "nginx",
            Self::NginxCrs => "nginx + ModSecurity + CRS",
            Self::Haproxy => "HAProxy",
        }
    }

    const fn port(self) -> u16 {
        match self {
            Self::Botguard => 8440,
            Self::BotguardRotating => 8441,
            Self::Nginx => 8443,
            Self::NginxCrs => 8444,
            Self::Haproxy => 8445,
        }
    }

    /// Whether its audit log has all records since it was emptied.
    pub(crate) const fn keeps_records(self) -> bool {
        matches!(self, Self::Botguard)
    }

    /// Where requests go to the upstream of bulk transfers; a listener of botguard's has only one
    /// upstream.
    pub(crate) const fn bulk_port(self) -> u16 {
        match self {
            Self::Botguard | Self::BotguardRotating => self.port() + 1_000,
            Self::Nginx | Self::NginxCrs | Self::Haproxy => self.port(),
        }
    }
}

/// A proxy that serves.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// Which.
    pub(crate) kind: Kind,
    /// Where it serves, on the stage's loopback.
    pub(crate) port: u16,
    /// What is measured.
    pub(crate) process: Process,
    directory: PathBuf,
}

impl Proxy {
    /// Starts one and waits until it serves.
    pub(crate) fn start(stage: &Stage, kind: Kind, botguard: &Path) -> Result<Self> {
        let directory = stage.subdirectory(&format!("proxy-{}", kind.port()))?;
        let config = directory.join("config");
        let mut command = match kind {
            Kind::Botguard | Kind::BotguardRotating => {
                std::fs::write(&config, botguard_config(kind, stage, &directory))?;
                let mut command = stage.command(PROXY_CORE, botguard);
                command.arg("run").arg("--config").arg(&config);
                command.env("BOTGUARD_LOG", "warn");
                command
            }
            Kind::Nginx | Kind::NginxCrs => {
                std::fs::write(&config, nginx_config(kind, stage, &directory))?;
                std::fs::write(directory.join("crs.conf"), CORE_RULE_SET)?;
                let mut command = stage.command(PROXY_CORE, "nginx");
                command.arg("-c").arg(&config);
                command
            }
            Kind::Haproxy => {
                // It wants chain and key in one file.
                let mut pem = std::fs::read(&stage.certificate.chain)?;
                pem.extend(std::fs::read(&stage.certificate.key)?);
                std::fs::write(directory.join("both.pem"), pem)?;
                std::fs::write(&config, haproxy_config(&directory))?;
                let mut command = stage.command(PROXY_CORE, "haproxy");
                command.arg("-db").arg("-f").arg(&config);
                command
            }
        };
        let mut process = Process::start(&mut command)?;
        let port = kind.port();
        stage
            .wait_for(&mut process, port)
            .with_context(|| kind.name())?;
        Ok(Self {
            kind,
            port,
            process,
            directory,
        })
    }

    /// Empties the audit log, which fills a disk in no time; the daemon appends, and goes on at
    /// the beginning.
    pub(crate) fn forget_records(&self) -> Result<()> {
        let path = self.directory.join("audit.jsonl");
        if self.kind.keeps_records() {
            std::fs::File::options()
                .write(true)
                .open(&path)?
                .set_len(0)?;
        }
        Ok(())
    }

    /// How many records the audit log has.
    pub(crate) fn n_records(&self) -> Result<usize> {
        let text = std::fs::read(self.directory.join("audit.jsonl"))?;
        Ok(text.split(|&byte| byte == b'\n').count() - 1)
    }
}

fn botguard_config(kind: Kind, stage: &Stage, directory: &Path) -> String {
    let (port, bulk, admin) = (kind.port(), kind.bulk_port(), kind.port() + 2_000);
    let (chain, key) = (
        stage.certificate.chain.display(),
        stage.certificate.key.display(),
    );
    let directory = directory.display();
    let rotate = match kind {
        Kind::BotguardRotating => "keep = { files = 2 }",
        _ => "rotate = \"off\"",
    };
    format!(
        r#"
state_dir = "{directory}/state"
mode = "enforce"

[admin]
socket = "{directory}/admin.sock"
http = "127.0.0.1:{admin}"

[[listener]]
bind = "127.0.0.1:{port}"
upstream = "files"
certificate = [{{ cert = "{chain}", key = "{key}" }}]
max_connections_per_source = 10000

[[listener]]
bind = "127.0.0.1:{bulk}"
upstream = "bulk"
certificate = [{{ cert = "{chain}", key = "{key}" }}]

[upstream.files]
endpoints = ["http://127.0.0.1:{FILES_PORT}"]

[upstream.bulk]
endpoints = ["http://127.0.0.1:{BULK_PORT}"]

[kernel]
backend = "none"

# All load comes from one address: scored and recorded, and never denied.
[default]
mode = "log"

[audit]
path = "{directory}/audit.jsonl"
{rotate}
"#
    )
}

fn nginx_config(kind: Kind, stage: &Stage, directory: &Path) -> String {
    let (port, chain, key) = (
        kind.port(),
        stage.certificate.chain.display(),
        stage.certificate.key.display(),
    );
    let directory = directory.display();
    let mut text = String::new();
    let inspection = if kind == Kind::NginxCrs {
        text.push_str("load_module /usr/lib/nginx/modules/ngx_http_modsecurity_module.so;\n");
        format!("modsecurity on; modsecurity_rules_file {directory}/crs.conf;")
    } else {
        String::new()
    };
    let _infallible: std::fmt::Result = write!(
        text,
        r#"daemon off;
worker_processes 1;
pid {directory}/pid;
error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_max_body_size 0;
  keepalive_requests 100000000;
  client_body_temp_path {directory}/bodies;
  proxy_temp_path {directory}/responses;
  ssl_certificate {chain};
  ssl_certificate_key {key};
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_cache shared:sessions:10m;
  upstream files {{ server 127.0.0.1:{FILES_PORT}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} ssl http2 backlog=4096;
    {inspection}
    location / {{ proxy_pass http://files; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    location /bulk/ {{
      proxy_pass http://127.0.0.1:{BULK_PORT}; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_request_buffering off; proxy_buffering off;
    }}
  }}
}}
"#
    );
    text
}

/// As Debian ships both, but enforcing, and without a log of what was found.
const CORE_RULE_SET: &str = "Include /etc/nginx/modsecurity.conf\n\
    SecRuleEngine On\n\
    SecAuditEngine Off\n\
    SecStatusEngine Off\n\
    Include /etc/modsecurity/crs/crs-setup.conf\n\
    Include /usr/share/modsecurity-crs/rules/*.conf\n";

fn haproxy_config(directory: &Path) -> String {
    let (port, directory) = (Kind::Haproxy.port(), directory.display());
    format!(
        "global\n  nbthread 1\n  maxconn 5000\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  \
         http-reuse always\n\
         frontend edge\n  bind 127.0.0.1:{port} ssl crt {directory}/both.pem alpn h2,http/1.1\n  \
         use_backend bulk if {{ path_beg /bulk/ }}\n  default_backend files\n\
         backend files\n  server files 127.0.0.1:{FILES_PORT}\n\
         backend bulk\n  server bulk 127.0.0.1:{BULK_PORT}\n"
    )
}
