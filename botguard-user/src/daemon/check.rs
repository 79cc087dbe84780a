//! `run --check`: everything that can be said of a configuration without binding or attaching.
//! Stricter than the start: what the daemon would live with, degraded, is an error here.

use std::fmt;
use std::os::unix::net::SocketAddr;

use nix::net::if_::if_nametoindex;
use serde::Serialize;

use super::{StartError, data_files, privileges};
use crate::admin::token::Token;
use crate::enforcement::settings::Backend;
use crate::intel::crawlers::NameResolver;
use crate::settings::Loaded;

/// A configuration that can be run.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct CheckReport {
    /// The file.
    pub config: String,
    /// What of it this version does not act on.
    pub warnings: Vec<String>,
}

/// Checks policy, listeners, certificates, data files and interfaces; as the daemon's user, whom a
/// process of root's becomes by this.
pub fn check(loaded: &Loaded) -> Result<CheckReport, StartError> {
    privileges::reduce_for_check(loaded)?;
    check_all(loaded).map_err(|error| error.mended(loaded.settings.user.as_deref()))
}

fn check_all(loaded: &Loaded) -> Result<CheckReport, StartError> {
    loaded.policy()?;
    loaded.listeners()?;
    let data = data_files::load(&loaded.settings).map_err(StartError::Data)?;
    if data.intel.crawlers().have_names() {
        let resolver = NameResolver::new(&loaded.settings.crawler_dns);
        resolver.map_err(|error| loaded.document.error_of(&error.to_string()))?;
    }
    Token::configured(loaded.settings.admin.token_file.as_deref())?;
    if let Err(error) = SocketAddr::from_pathname(&loaded.settings.admin.socket) {
        let message = format!("{error}; a socket's path has at most 107 bytes");
        return Err(loaded.document.error("admin.socket", &message).into());
    }
    let kernel = &loaded.settings.kernel;
    if kernel.backend == Backend::Xdp {
        for (index, interface) in kernel.interfaces.iter().enumerate() {
            if if_nametoindex(interface.as_str()).is_err() {
                let key = format!("kernel.interfaces[{index}]");
                let message = format!("there is no interface `{interface}` on this host");
                return Err(loaded.document.error(&key, &message).into());
            }
        }
    }
    Ok(CheckReport {
        config: loaded.document.path().display().to_string(),
        warnings: loaded.warnings(),
    })
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        writeln!(f, "{} is good", self.config)
    }
}
