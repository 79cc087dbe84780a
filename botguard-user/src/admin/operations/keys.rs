//! API keys: what a command about them does, and what it answers. What the engine makes of a key
//! and of an override is the engine's business.

use std::collections::HashMap;
use std::time::Duration;

use super::{Site, answer};
use crate::admin::protocol::{
    Done, KeyCard, KeyDetail, KeyEntry, KeyName, KeyReference, KeyRequest, Keys, OverrideEntry,
    OverrideTerms, Response, TransitionEntry,
};
use crate::admin::socket::Actor;
use crate::audit::record::{Event, KeyRecord};
use crate::daemon::enforcer::OperatorError;
use crate::words::clock::Wall;
use crate::words::identity::{ClientClass, KeyHash};
use crate::words::key::{KeyMemo, KeyOverride, KeyRuling, KeyStanding, KeyState};
use crate::words::units::Span;

mod known;

use self::known::Known;

/// What an operator gives with a change.
#[derive(Clone, Copy)]
struct Order<'a> {
    actor: Actor,
    key: &'a KeyReference,
    reason: &'a str,
    for_s: Option<u64>,
}

pub(super) fn perform(site: Site<'_>, actor: Actor, request: &KeyRequest, now: Wall) -> Response {
    let order = |key, reason, for_s| Order {
        actor,
        key,
        reason,
        for_s,
    };
    match request {
        KeyRequest::List { state } => list(site, *state, now),
        KeyRequest::Show { key } => show(site, key, now),
        KeyRequest::Suspend { key, reason, for_s } => {
            suspend(site, order(key, reason, *for_s), now)
        }
        KeyRequest::Resume { key, reason } => resume(site, order(key, reason, None), now),
        KeyRequest::Override {
            key,
            terms,
            reason,
            for_s,
        } => override_key(site, order(key, reason, *for_s), *terms, now),
        KeyRequest::Clear { key, reason } => clear(site, order(key, reason, None), now),
    }
}

/// The operation and its target, if the request changes anything.
pub(super) fn change(request: &KeyRequest) -> Option<(&'static str, String)> {
    match request {
        KeyRequest::List { .. } | KeyRequest::Show { .. } => None,
        KeyRequest::Suspend { key, .. } => Some(("key suspend", key.to_string())),
        KeyRequest::Resume { key, .. } => Some(("key resume", key.to_string())),
        KeyRequest::Override { key, .. } => Some(("key override", key.to_string())),
        KeyRequest::Clear { key, .. } => Some(("key override --clear", key.to_string())),
    }
}

fn list(site: Site<'_>, state: Option<KeyState>, now: Wall) -> Response {
    let mut keys: Vec<_> = (known::all(site, now).values())
        .map(|key| key.entry(now))
        .filter(|entry| state.is_none_or(|state| entry.state == state))
        .collect();
    keys.sort_by(|a, b| {
        let by_name = || (&a.public_id, &a.hash).cmp(&(&b.public_id, &b.hash));
        b.state.cmp(&a.state).then_with(by_name)
    });
    Response::Keys(Keys { keys })
}

fn show(site: Site<'_>, key: &KeyReference, now: Wall) -> Response {
    match known::find(site, key, now) {
        Ok(known) => Response::Key(Box::new(known.detail(now))),
        Err(refused) => *refused,
    }
}

fn suspend(site: Site<'_>, order: Order<'_>, now: Wall) -> Response {
    let (key, until) = match prepare(site, order, now) {
        Ok(prepared) => prepared,
        Err(refused) => return *refused,
    };
    let before = key.set.as_ref();
    let ruling = KeyRuling {
        standing: KeyStanding::Suspended,
        ..before.map(|set| set.ruling).unwrap_or_default()
    };
    let moved = before.filter(|set| {
        (set.ruling.limit.is_some() || set.ruling.mode.is_some()) && set.until != until
    });
    let moved =
        moved.map(|_set| "its own rate or mode now ends together with the suspension".to_owned());
    let unpinned = before.filter(|set| set.ruling.standing == KeyStanding::Pinned);
    let unpinned = unpinned.map(|set| format!("it was pinned: {}", set.reason));
    let from = key.state();
    put(site, order, &key, ruling, until, now, "suspended")
        .also(|| record(site, order, &key, (from, KeyState::Suspended), until, now))
        .warned(moved)
        .warned(unpinned)
        .warned(key.browser_warning(site, "refuses every user of it"))
}

fn resume(site: Site<'_>, order: Order<'_>, now: Wall) -> Response {
    let key = match known::find(site, order.key, now) {
        Ok(key) => key,
        Err(refused) => return *refused,
    };
    let set = key.set.as_ref();
    let suspended = set.filter(|set| set.ruling.standing == KeyStanding::Suspended);
    let earned = key.earned();
    if suspended.is_none() && earned == KeyState::Ok {
        return Response::internal(format!(
            "key {} is not suspended, throttled or watched; nothing was changed",
            key.name()
        ));
    }
    let from = key.state();
    if let Some(set) = suspended {
        let ruling = KeyRuling {
            standing: KeyStanding::Earned,
            ..set.ruling
        };
        let lifted = if ruling == KeyRuling::default() {
            site.enforcer.clear_override(key.hash).map(|_was_there| ())
        } else {
            site.enforcer.set_override(KeyOverride {
                ruling,
                ..set.clone()
            })
        };
        if let Err(error) = lifted {
            return answer(Err(error), |()| vec![]);
        }
    }
    if earned != KeyState::Ok {
        let forgiven = match site.daemon {
            Some(daemon) => {
                (daemon.forgive(key.hash, order.reason)).map_err(OperatorError::NotDurable)
            }
            None => site
                .enforcer
                .forgive_remembered(key.hash, order.reason, now),
        };
        if let Err(error) = forgiven {
            return answer(Err(error), |()| vec![]);
        }
    }
    record(site, order, &key, (from, KeyState::Ok), None, now);
    let what = match suspended {
        Some(_) if earned != KeyState::Ok => {
            "suspension by command lifted, and what it earned forgiven"
        }
        Some(_) => "suspension by command lifted",
        None => "what it earned is forgiven",
    };
    said(format!(
        "key {}: {what}{}",
        key.name(),
        because(order.reason)
    ))
}

fn override_key(site: Site<'_>, order: Order<'_>, terms: OverrideTerms, now: Wall) -> Response {
    if terms == OverrideTerms::default() {
        return Response::usage(
            "an override says something: `--pin`, `--rate` and `--burst`, or `--mode`",
        );
    }
    if terms.limit.is_some_and(|limit| limit.burst == 0) {
        return Response::usage("--burst: at least 1 request at once");
    }
    let (key, until) = match prepare(site, order, now) {
        Ok(prepared) => prepared,
        Err(refused) => return *refused,
    };
    let before = key.set.as_ref();
    if before.is_some_and(|set| set.ruling.standing == KeyStanding::Suspended) {
        return Response::usage(format!(
            "key {} is suspended by command, which an override would lift; `botguard key resume` \
             it first",
            key.name()
        ));
    }
    let replaced = before.map(|set| format!("in place of: {}", terms_of(&set.ruling)));
    let ruling = KeyRuling {
        standing: if terms.pin {
            KeyStanding::Pinned
        } else {
            KeyStanding::Earned
        },
        limit: terms.limit,
        mode: terms.mode,
    };
    let warning = terms
        .pin
        .then(|| key.browser_warning(site, "spares whoever copies it as well"));
    put(site, order, &key, ruling, until, now, &terms_of(&ruling))
        .warned(replaced)
        .warned(warning.flatten())
}

fn clear(site: Site<'_>, order: Order<'_>, now: Wall) -> Response {
    let key = match known::find(site, order.key, now) {
        Ok(key) => key,
        Err(refused) => return *refused,
    };
    let none = |more: &str| Response::internal(format!("key {} has no override{more}", key.name()));
    let Some(set) = &key.set else {
        return none("; nothing was changed");
    };
    let suspension = KeyRuling {
        standing: KeyStanding::Suspended,
        ..KeyRuling::default()
    };
    let cleared = if set.ruling == suspension {
        return none(" but its suspension, which `botguard key resume` lifts; nothing was changed");
    } else if set.ruling.standing == KeyStanding::Suspended {
        site.enforcer.set_override(KeyOverride {
            ruling: suspension,
            ..set.clone()
        })
    } else {
        site.enforcer.clear_override(key.hash).map(|_was_there| ())
    };
    answer(cleared, |()| {
        let was = terms_of(&set.ruling);
        vec![format!(
            "key {}: override lifted ({was}){}",
            key.name(),
            because(order.reason)
        )]
    })
}

/// The key, and when the order ends.
fn prepare(
    site: Site<'_>,
    order: Order<'_>,
    now: Wall,
) -> Result<(Known, Option<Wall>), Box<Response>> {
    const MAX_REASON_BYTES: usize = 1_024;
    let refuse = |message: &str| Err(Box::new(Response::usage(message)));
    if order.reason.trim().is_empty() {
        return refuse("--reason: say why; whoever looks at it in half a year will want to know");
    }
    if order.reason.len() > MAX_REASON_BYTES {
        return refuse("--reason: at most 1,024 bytes");
    }
    if order.for_s == Some(0) {
        let error = OperatorError::NoTime { argument: "--for" };
        return refuse(&error.to_string());
    }
    let key = known::find(site, order.key, now)?;
    let until = order
        .for_s
        .map(|seconds| now.after(Duration::from_secs(seconds)));
    Ok((key, until))
}

fn put(
    site: Site<'_>,
    order: Order<'_>,
    key: &Known,
    ruling: KeyRuling,
    until: Option<Wall>,
    now: Wall,
    what: &str,
) -> Response {
    let set = KeyOverride {
        hash: key.hash,
        public_id: key.public_id.clone(),
        ruling,
        reason: order.reason.to_owned(),
        actor: order.actor.to_string(),
        created: now,
        until,
    };
    let how_long = order.for_s.map_or_else(
        || "for good".to_owned(),
        |seconds| format!("for {}", Span(Duration::from_secs(seconds))),
    );
    let unseen = (key.memo.is_none() && key.set.is_none()).then(|| {
        "botguard remembers nothing of this key yet; it holds from its first request on".to_owned()
    });
    answer(site.enforcer.set_override(set), |()| {
        vec![format!(
            "key {} {what} {how_long}{}",
            key.name(),
            because(order.reason)
        )]
    })
    .warned(unseen)
}

fn record(
    site: Site<'_>,
    order: Order<'_>,
    key: &Known,
    (from, to): (KeyState, KeyState),
    until: Option<Wall>,
    now: Wall,
) {
    if let Some(audit) = site.audit {
        let record = KeyRecord {
            key: key.shown.clone(),
            key_id: key.public_id.clone(),
            from,
            to,
            by: order.actor.to_string(),
            reason: order.reason.to_owned(),
            until: until.map(|until| until.to_string()),
        };
        audit.record(now, Event::Key(record));
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    }
}

fn said(line: String) -> Response {
    Response::Done(Done {
        did: vec![line],
        warnings: Vec::new(),
    })
}

/// An override in words.
fn terms_of(ruling: &KeyRuling) -> String {
    let standing = match ruling.standing {
        KeyStanding::Earned => None,
        KeyStanding::Suspended => Some("suspended".to_owned()),
        KeyStanding::Pinned => Some("pinned".to_owned()),
    };
    let limit =
        (ruling.limit).map(|limit| format!("held to {}, burst {}", limit.rate, limit.burst));
    let mode = ruling.mode.map(|mode| format!("in mode {mode} at most"));
    let all: Vec<_> = [standing, limit, mode].into_iter().flatten().collect();
    all.join(", ")
}

impl Response {
    /// Does something besides, where it was done.
    fn also(self, work: impl FnOnce()) -> Self {
        if let Self::Done(_) = &self {
            work();
        }
        self
    }
}
