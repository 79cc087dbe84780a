//! What a change is answered with, in words.

use std::time::Duration;

use crate::words::block::{Effect, Scope};
use crate::words::mode::Mode;
use crate::words::units::Span;

pub(super) fn mode_line(mode: Mode, duration: Option<Duration>) -> Vec<String> {
    let until = duration.map_or_else(
        || "until it is set again".to_owned(),
        |duration| format!("for {} (ended by the daemon)", Span(duration)),
    );
    vec![format!(
        "edge and kernel are bounded by mode {mode} {until}"
    )]
}

pub(super) fn block_line(
    network: &str,
    scope: Scope,
    effect: Effect,
    ttl: Option<Duration>,
) -> String {
    format!("{network} {}", blocked_line(scope, effect, ttl))
}

pub(super) fn blocked_line(scope: Scope, effect: Effect, ttl: Option<Duration>) -> String {
    let what = match (effect, scope) {
        (Effect::Drop, Scope::Listeners) => "dropped: TCP and UDP to the listeners",
        (Effect::Drop, Scope::Host) => "dropped: every packet",
        (Effect::Count, Scope::Listeners) => "counted, not dropped: TCP and UDP to the listeners",
        (Effect::Count, Scope::Host) => "counted, not dropped: every packet",
    };
    let scope = match scope {
        Scope::Listeners => "listeners",
        Scope::Host => "host",
    };
    let how_long = ttl.map_or_else(|| "for good".to_owned(), |ttl| format!("for {}", Span(ttl)));
    format!("blocked {how_long}, scope {scope} ({what})")
}
