//! Gathers what `status` shows.

use super::Site;
use crate::admin::protocol::{Override, RouteStatus, Status};
use crate::words::clock::Wall;

pub(super) fn of(site: Site<'_>, now: Wall) -> Status {
    let bound = site.enforcer.bound();
    let mode = bound.effective(now);
    let (blocks, allows) = site.enforcer.snapshot(now);
    let lists = site.enforcer.named_lists();
    let mut degraded = site.enforcer.degraded();
    match site.daemon {
        Some(daemon) => degraded.extend(daemon.problems()),
        None => degraded.insert(0, "no daemon is running: nothing is served".to_owned()),
    }
    let routes = match site.loaded.policy() {
        Ok(policy) => (policy.summary().iter())
            .map(|route| RouteStatus {
                route: route.route.to_string(),
                methods: route.methods.iter().map(ToString::to_string).collect(),
                configured: route.configured,
                effective: route.configured.min(mode),
            })
            .collect(),
        Err(error) => {
            degraded.push(error.to_string());
            Vec::new()
        }
    };
    Status {
        daemon: site.daemon.map(super::Running::status),
        configured_mode: bound.configured,
        mode_override: bound.live(now).map(|set| Override {
            mode: set.mode,
            until: set.until.map(|until| until.to_string()),
        }),
        mode,
        routes,
        kernel: site.enforcer.kernel(),
        n_blocks: blocks.len() as u64,
        n_asns: site.enforcer.n_asns() as u64,
        n_lists: lists.len() as u64,
        n_list_networks: lists.iter().map(|list| list.len() as u64).sum(),
        n_allows: allows.len() as u64,
        n_key_overrides: site.enforcer.n_key_overrides() as u64,
        degraded,
        warnings: site.loaded.warnings(),
    }
}
