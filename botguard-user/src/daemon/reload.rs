//! Reload: the new configuration is parsed, checked and compiled as a whole before anything of it
//! takes effect. Engine state, bans and connections stay.

use std::net::SocketAddr;
use std::sync::Arc;

use super::certificates;
use super::data_files::{self, AllStamps, Data, Stamps};
use super::pipeline::View;
use super::reserved;
use super::running::Daemon;
use super::surroundings::{Lookup, guard, local_listeners};
use crate::admin::protocol::Done;
use crate::edge::listener::{self, ListenerSettings, Prepared};
use crate::edge::trust::Trust;
use crate::engine::policy::Policy;
use crate::settings::{Loaded, Settings, policy_hash};
use crate::words::clock::Wall;

/// A configuration that can take effect.
pub(super) struct Fresh {
    loaded: Loaded,
    policy: Policy,
    listeners: Vec<Prepared>,
    data: Data,
    certificate_stamps: Stamps,
    now: Wall,
}

/// Reads the file of `old` anew and everything it names.
///
/// Errors: the first mistake, with file and line.
pub(super) fn prepare(old: &Loaded, now: Wall) -> Result<Fresh, String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let loaded = Loaded::read(old.document.path()).map_err(|error| text(&error))?;
    let policy = loaded.policy().map_err(|error| text(&error))?;
    let certificate_stamps = certificates::stamps(&loaded.settings.listener);
    let listeners = loaded.listeners().map_err(|error| text(&error))?;
    let data = data_files::load(&loaded.settings)?;
    Ok(Fresh {
        loaded,
        policy,
        listeners,
        data,
        certificate_stamps,
        now,
    })
}

impl Fresh {
    /// What changes against what was loaded last, and what needs a restart against what the daemon
    /// started with.
    pub(super) fn report(&self, last: &Settings, started_with: &Settings) -> Done {
        let names = |old: &Settings, wanted: Takes| {
            let differences = differences(old, &self.loaded.settings);
            let chosen = differences.iter().filter(|(_, takes)| *takes == wanted);
            chosen.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
        };
        let live = names(last, Takes::Effect);
        let did = match live.as_str() {
            "" => {
                "nothing that a reload takes up has changed; data files and certificates were read \
                 anew"
                    .to_owned()
            }
            _ => format!("changed: {live}"),
        };
        let mut warnings = Vec::new();
        let later = names(started_with, Takes::Restart);
        if !later.is_empty() {
            warnings.push(format!(
                "changed, but in force only after a restart: {later}"
            ));
        }
        warnings.extend(self.loaded.warnings());
        Done {
            did: vec![did],
            warnings,
        }
    }

    /// The data files that it has read.
    pub(super) const fn stamps(&self) -> &AllStamps {
        &self.data.stamps
    }

    /// What is to listen.
    pub(super) fn listeners(&self) -> &[Prepared] {
        &self.listeners
    }

    /// Takes effect; `bound` are the sockets of listeners that are new. Says which come and go.
    pub(super) fn swap(self, daemon: &Daemon, bound: listener::Fresh) -> Vec<String> {
        let settings = &self.loaded.settings;
        daemon
            .enforcer
            .set_guard(guard(settings, Lookup::Names), self.now);
        daemon.enforcer.set_configured_mode(settings.mode, self.now);
        let mode = daemon.enforcer.bound().effective(self.now);
        let table = self.data.intel.asns();
        if daemon.enforcer.set_asn_table(table, self.now) > 0 {
            daemon.close_all_blocked();
        }
        daemon.pipeline.replace(View {
            policy: self.policy.with_mode(mode),
            policy_hash: policy_hash(&self.loaded.document),
            intel: self.data.intel,
            identity: settings.identity.clone(),
            tokens: self.data.tokens,
            lookups: Arc::clone(&daemon.pipeline.view().lookups),
            challenge: reserved::next_challenge(&daemon.pipeline.view().challenge, settings),
        });
        if let Err(error) = daemon
            .reserved
            .replace(&daemon.loaded.load().settings, settings)
        {
            tracing::error!(%error, "[ui] stays as it was");
        }
        daemon.trust.store(Arc::new(Trust::new(&settings.trust)));
        (daemon.certificates).take_over(&self.listeners, self.certificate_stamps);
        let moved = move_listeners(daemon, self.listeners, bound);
        daemon.loaded.store(Arc::new(self.loaded));
        moved
    }
}

/// Opens what is new and closes what is gone; kernel and service manager follow.
fn move_listeners(daemon: &Daemon, prepared: Vec<Prepared>, bound: listener::Fresh) -> Vec<String> {
    let opened = bound.addresses();
    let before = daemon.bound();
    // Those that go are guarded until they are gone, those that come before they accept.
    let all: Vec<_> = before.iter().chain(&opened).copied().collect();
    if !opened.is_empty() {
        daemon.enforcer.set_listeners(&local_listeners(&all));
    }
    let closed = daemon.services.replace(prepared, bound);
    if opened.is_empty() && closed.is_empty() {
        return Vec::new();
    }
    let addresses = daemon.bound();
    daemon.enforcer.set_listeners(&local_listeners(&addresses));
    for address in &closed {
        daemon.manager.forget(*address);
    }
    match daemon.services.handles() {
        Ok(handles) => {
            for (address, handle) in addresses.iter().zip(&handles) {
                if opened.contains(address) {
                    daemon.manager.keep(*address, handle);
                }
            }
        }
        Err(error) => {
            tracing::warn!(%error, "the service manager does not keep the new sockets");
        }
    }
    let opened = (opened.iter()).map(|address| format!("listens on {address}"));
    let closed = (closed.iter())
        .map(|address| format!("closed {address}; its connections end by themselves"));
    opened.chain(closed).collect()
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Takes {
    Effect,
    Restart,
}

/// Sections that differ. Both sides are taken apart, so that a section added later is a compile
/// error here.
fn differences(old: &Settings, new: &Settings) -> Vec<(&'static str, Takes)> {
    let Settings {
        state_dir,
        user,
        mode,
        drain,
        admin,
        listener,
        upstream,
        trust,
        kernel,
        enforcement,
        intel,
        crawler,
        crawler_dns,
        identity,
        ui,
        challenge,
        tier,
        default,
        route,
        step_up,
        reputation,
        audit,
    } = new;
    let all = [
        ("state_dir", Takes::Restart, *state_dir != old.state_dir),
        ("user", Takes::Restart, *user != old.user),
        ("mode", Takes::Effect, *mode != old.mode),
        ("drain", Takes::Restart, *drain != old.drain),
        ("[admin]", Takes::Restart, *admin != old.admin),
        (
            "[[listener]] bind",
            Takes::Effect,
            !binds(listener).eq(binds(&old.listener)),
        ),
        (
            "[[listener]]",
            Takes::Effect,
            (listener.iter()).any(|new| is_served_otherwise(new, &old.listener)),
        ),
        ("[upstream]", Takes::Effect, *upstream != old.upstream),
        (
            "[trust] proxies",
            Takes::Effect,
            trust.proxies != old.trust.proxies,
        ),
        (
            "[trust] never_block",
            Takes::Effect,
            trust.never_block != old.trust.never_block,
        ),
        ("[kernel]", Takes::Restart, *kernel != old.kernel),
        (
            "[enforcement]",
            Takes::Effect,
            *enforcement != old.enforcement,
        ),
        ("[intel]", Takes::Effect, *intel != old.intel),
        ("[[crawler]]", Takes::Effect, *crawler != old.crawler),
        (
            "[crawler_dns]",
            Takes::Restart,
            *crawler_dns != old.crawler_dns,
        ),
        ("[identity]", Takes::Effect, *identity != old.identity),
        ("[ui]", Takes::Effect, *ui != old.ui),
        ("[challenge]", Takes::Effect, *challenge != old.challenge),
        ("[[tier]]", Takes::Effect, *tier != old.tier),
        ("[default]", Takes::Effect, *default != old.default),
        ("[[route]]", Takes::Effect, *route != old.route),
        ("[step_up]", Takes::Effect, *step_up != old.step_up),
        ("[reputation]", Takes::Effect, *reputation != old.reputation),
        ("[audit]", Takes::Restart, *audit != old.audit),
    ];
    all.into_iter()
        .filter(|(_, _, differs)| *differs)
        .map(|(name, takes, _)| (name, takes))
        .collect()
}

/// Whether a listener that stays where it is differs.
fn is_served_otherwise(new: &ListenerSettings, old: &[ListenerSettings]) -> bool {
    (old.iter()).any(|old| old.bind == new.bind && old != new)
}

fn binds(listeners: &[ListenerSettings]) -> impl Iterator<Item = SocketAddr> + '_ {
    listeners.iter().map(|listener| listener.bind)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::document::Document;

    fn settings(text: &str) -> Settings {
        let document = Document::from_text(Path::new("b.toml"), text.to_owned());
        Loaded::parse(document).unwrap().settings
    }

    #[test]
    fn changes_are_named_with_when_they_take_effect() {
        let check = |old: &str, new: &str, expected: &[(&'static str, Takes)]| {
            assert_eq!(differences(&settings(old), &settings(new)), expected);
        };
        check("", "", &[]);
        check("mode = \"log\"", "", &[("mode", Takes::Effect)]);
        check(
            "",
            "[challenge]\ndifficulty = 12",
            &[("[challenge]", Takes::Effect)],
        );
        check(
            "",
            "[kernel]\nscope = \"host\"",
            &[("[kernel]", Takes::Restart)],
        );
        check(
            "",
            "[trust]\nproxies = [\"192.0.2.1\"]\n[ui]\norigins = [\"https://a.example\"]",
            &[("[trust] proxies", Takes::Effect), ("[ui]", Takes::Effect)],
        );
        let listener = |bind: &str, more: &str| {
            format!("[[listener]]\nbind = \"{bind}\"\nupstream = \"a\"\n{more}")
        };
        check(
            &listener("127.0.0.1:1", ""),
            &listener("127.0.0.1:1", "max_connections = 9"),
            &[("[[listener]]", Takes::Effect)],
        );
        check(
            &listener("127.0.0.1:1", ""),
            &listener("127.0.0.1:2", ""),
            &[("[[listener]] bind", Takes::Effect)],
        );
    }
}
