//! The configuration file: read and parsed into the modules' own settings types, and checked as a
//! whole. [`document`] knows where in the file a key stands.
//!
//! Reading it opens no other file: what a command needs of them it opens itself, so that the kill
//! switch works while a certificate is missing.

pub mod document;
pub mod suggestion;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use self::document::Document;
use crate::admin::AdminSettings;
use crate::audit::AuditSettings;
use crate::challenge::ChallengeSettings;
use crate::edge::identity::IdentitySettings;
use crate::edge::listener::{self, ListenerSettings, Prepared};
use crate::edge::trust::TrustSettings;
use crate::edge::upstream::{UpstreamSettings, Upstreams};
use crate::enforcement::settings::{Backend, EnforcementSettings, KernelSettings};
use crate::engine::policy::Policy;
use crate::engine::policy::ban::BanPolicy;
use crate::engine::policy::reputation::ReputationSettings;
use crate::engine::policy::settings::{
    DefaultSettings, PolicySettings, RouteSettings, TierSettings,
};
use crate::engine::policy::step_up::StepUpSettings;
use crate::intel::IntelSettings;
use crate::intel::crawlers::{CrawlerDnsSettings, CrawlerSettings};
use crate::interaction::UiSettings;
use crate::words::mode::Mode;
use crate::words::plain::Plain;
use crate::words::units::Span;

/// A mistake in the configuration. Names file, line where it is known, key and mend.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{}{}: {}",
    Plain(&path.to_string_lossy()),
    line.map_or_else(String::new, |line| format!(":{line}")),
    Plain(message)
)]
pub struct SettingsError {
    /// The file.
    pub path: PathBuf,
    /// Where in it, from 1.
    pub line: Option<usize>,
    /// What is wrong, and the mend.
    pub message: String,
}

/// The whole file.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Directory of store, lock and secrets, mode 0700.
    pub state_dir: PathBuf,
    /// Name or uid of whom the daemon becomes once it has started as root, with the groups of that
    /// account: what faces the network has no capability then, and a helper of its own keeps those
    /// of the kernel filter. Unset: it stays who started it.
    pub user: Option<String>,
    /// `off`, `log` or `enforce`: upper bound for every route and for the kernel.
    pub mode: Mode,
    /// How long requests that run when the daemon is told to stop, or has handed over to the next
    /// one, may go on; what is left is then closed. Service managers kill after 90 s.
    pub drain: Span,
    /// `[admin]`
    pub admin: AdminSettings,
    /// `[[listener]]`
    pub listener: Vec<ListenerSettings>,
    /// `[upstream.NAME]`
    pub upstream: BTreeMap<String, UpstreamSettings>,
    /// `[trust]`
    pub trust: TrustSettings,
    /// `[kernel]`
    pub kernel: KernelSettings,
    /// `[enforcement]`
    pub enforcement: EnforcementSettings,
    /// `[intel]`
    pub intel: IntelSettings,
    /// `[[crawler]]`
    pub crawler: Vec<CrawlerSettings>,
    /// `[crawler_dns]`
    pub crawler_dns: CrawlerDnsSettings,
    /// `[identity]`
    pub identity: IdentitySettings,
    /// `[ui]`
    pub ui: UiSettings,
    /// `[challenge]`
    pub challenge: ChallengeSettings,
    /// `[[tier]]`
    pub tier: Vec<TierSettings>,
    /// `[default]`
    pub default: DefaultSettings,
    /// `[[route]]`
    pub route: Vec<RouteSettings>,
    /// `[step_up]`
    pub step_up: StepUpSettings,
    /// `[reputation]`
    pub reputation: ReputationSettings,
    /// `[audit]`
    pub audit: AuditSettings,
}

/// Nothing is bounded globally; what no route names is only logged (`[default]`).
impl Default for Settings {
    fn default() -> Self {
        Self {
            state_dir: PathBuf::from("/var/lib/botguard"),
            user: None,
            mode: Mode::Enforce,
            drain: Span(Duration::from_secs(30)),
            admin: AdminSettings::default(),
            listener: Vec::new(),
            upstream: BTreeMap::new(),
            trust: TrustSettings::default(),
            kernel: KernelSettings::default(),
            enforcement: EnforcementSettings::default(),
            intel: IntelSettings::default(),
            crawler: Vec::new(),
            crawler_dns: CrawlerDnsSettings::default(),
            identity: IdentitySettings::default(),
            ui: UiSettings::default(),
            challenge: ChallengeSettings::default(),
            tier: Vec::new(),
            default: DefaultSettings::default(),
            route: Vec::new(),
            step_up: StepUpSettings::default(),
            reputation: ReputationSettings::default(),
            audit: AuditSettings::default(),
        }
    }
}

/// A parsed file, and the text it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says, paths made absolute.
    pub settings: Settings,
    /// Where it says so.
    pub document: Document,
}

impl Loaded {
    /// Reads and parses a file. Relative paths in it are relative to its directory.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        Self::parse(Document::read(path)?)
    }

    /// Parses a document.
    pub fn parse(document: Document) -> Result<Self, SettingsError> {
        let mut settings: Settings = document.parse()?;
        let base = document.path().parent().unwrap_or_else(|| Path::new(""));
        settings.resolve_paths(base);
        Ok(Self { settings, document })
    }

    /// Compiles the policy under the global mode of the file.
    pub fn policy(&self) -> Result<Policy, SettingsError> {
        let at = |message: String| self.document.error_of(&message);
        let enforcement = &self.settings.enforcement;
        enforcement
            .validate()
            .map_err(|error| at(error.to_string()))?;
        let audit = self.settings.audit.validate();
        audit.map_err(|error| at(error.to_string()))?;
        Policy::compile(&self.settings.policy_settings(), ban_policy(enforcement)).map_err(
            |error| {
                // A contradiction is between two places; the message names both.
                let other = (error.other_key()).and_then(|key| {
                    Some(format!(" ({key} is on line {})", self.document.line(key)?))
                });
                at(format!("{error}{}", other.unwrap_or_default()))
            },
        )
    }

    /// Checks upstreams and listeners and loads their certificates.
    pub fn listeners(&self) -> Result<Vec<Prepared>, SettingsError> {
        let upstreams = Upstreams::new(&self.settings.upstream)
            .map_err(|error| self.document.error_of(&error.to_string()))?;
        if self.settings.listener.is_empty() {
            return Err(self.document.error_of(
                "listener: there is none, so nothing would be served; add a [[listener]]",
            ));
        }
        let mut prepared = Vec::new();
        for (index, listener) in self.settings.listener.iter().enumerate() {
            let base = Path::new("");
            let one = listener::prepare(std::slice::from_ref(listener), &upstreams, base).map_err(
                |error| {
                    let line = self.document.line(&format!("listener[{index}]"));
                    SettingsError {
                        line,
                        ..self.document.error_of(&error.to_string())
                    }
                },
            )?;
            prepared.extend(one);
        }
        Ok(prepared)
    }

    /// What the file asks for and this version does not act on, with file and line.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let settings = &self.settings;
        let mut warnings = settings.policy_settings().warnings();
        for (name, upstream) in &settings.upstream {
            warnings.extend(upstream.warnings(name));
        }
        warnings.extend(settings.identity.warnings());
        if settings.kernel.backend == Backend::Xdp && settings.kernel.interfaces.is_empty() {
            warnings.push(
                "kernel.interfaces: empty, so the kernel filters nothing; name the interfaces of \
                 the listeners"
                    .to_owned(),
            );
        }
        warnings
            .iter()
            .map(|warning| self.document.error_of(warning).to_string())
            .collect()
    }
}

impl Settings {
    fn policy_settings(&self) -> PolicySettings<'_> {
        PolicySettings {
            mode: self.mode,
            tiers: &self.tier,
            default: &self.default,
            routes: &self.route,
            step_up: &self.step_up,
            reputation: self.reputation,
        }
    }

    fn resolve_paths(&mut self, base: &Path) {
        let certificates = (self.listener.iter_mut()).flat_map(|listener| {
            let pairs = listener.certificate.iter_mut();
            let authorities = listener.client_certificates.iter_mut();
            (pairs.flat_map(|pair| [&mut pair.cert, &mut pair.key]))
                .chain(authorities.map(|clients| &mut clients.ca))
        });
        let secrets = (self.upstream.values_mut()).flat_map(UpstreamSettings::paths_mut);
        let token = self.admin.token_file.as_mut();
        let intel = [
            &mut self.intel.asn,
            &mut self.intel.country,
            &mut self.intel.hosting_asns,
        ];
        let own = [
            &mut self.state_dir,
            &mut self.admin.socket,
            &mut self.audit.path,
            &mut self.kernel.pin_dir,
        ];
        let tokens = [
            &mut self.identity.jwt.keys,
            &mut self.identity.jwt.secret_file,
        ];
        let crawlers = self.crawler.iter_mut().map(|crawler| &mut crawler.ranges);
        let data = (intel.into_iter().chain(tokens).chain(crawlers)).filter_map(Option::as_mut);
        for path in certificates
            .chain(secrets)
            .chain(token)
            .chain(data)
            .chain(own)
        {
            // `join` leaves absolute paths as they are.
            *path = base.join(&*path);
        }
    }
}

/// Hash of the text, as the audit log names the policy that decided: 64 bits, hexadecimal.
#[must_use]
pub fn policy_hash(document: &Document) -> Arc<str> {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, document.text().as_bytes());
    let hash: String = (digest.as_ref().iter().take(8))
        .map(|byte| format!("{byte:02x}"))
        .collect();
    hash.into()
}

const fn ban_policy(settings: &EnforcementSettings) -> BanPolicy {
    BanPolicy {
        denied: settings.ban_after.denied,
        within: settings.ban_after.within.0,
        ttl: settings.ttl.0,
        ttl_factor: settings.ttl_factor,
        ttl_max: settings.ttl_max.0,
        good_principals: settings.good_principals,
        good_window: settings.good_window.0,
        widest: [settings.widest[0].0, settings.widest[1].0],
    }
}

#[cfg(test)]
mod tests;
