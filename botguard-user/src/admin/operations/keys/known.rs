//! The keys that are known, by name: whose reputation is remembered, or which have an override.

use super::*;
use crate::words::key::{SPANS, SuspicionMemo};
use crate::words::points::Points;

/// One key.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) hash: KeyHash,
    pub(super) public_id: String,
    pub(super) shown: String,
    tier: Option<String>,
    pub(super) memo: Option<KeyMemo>,
    pub(super) set: Option<KeyOverride>,
}

pub(super) fn all(site: Site<'_>, now: Wall) -> HashMap<KeyHash, Known> {
    let memos = site.daemon.map_or_else(
        || site.enforcer.remembered_keys(),
        crate::admin::operations::Running::keys,
    );
    let mut known: HashMap<_, _> = memos
        .into_iter()
        .map(|memo| (memo.hash, Known::of_memo(memo)))
        .collect();
    for set in site.enforcer.key_overrides(now) {
        let key = known
            .entry(set.hash)
            .or_insert_with(|| Known::unseen(set.hash, &set.public_id));
        key.set = Some(set);
    }
    known
}

/// The one key of this name.
///
/// Errors: the answer that says why there is none.
pub(super) fn find(
    site: Site<'_>,
    reference: &KeyReference,
    now: Wall,
) -> Result<Known, Box<Response>> {
    let mut known = all(site, now);
    let name = match reference {
        KeyReference::Card(card) => {
            let hash = whole_hash(&card.hash)
                .ok_or_else(|| Response::usage("`hash` of a key has 32 hexadecimal digits"))?;
            let found = known.remove(&hash);
            return Ok(found.unwrap_or_else(|| Known::of_card(hash, card)));
        }
        KeyReference::Named(text) => text
            .parse::<KeyName>()
            .map_err(|error| Response::usage(error.to_string()))?,
    };
    let is_meant = |key: &Known| match &name {
        KeyName::PublicId(id) => key.public_id == *id,
        KeyName::Hash(digits) => key.hash.to_string().starts_with(digits),
    };
    known.retain(|_hash, key| is_meant(key));
    let mut found: Vec<_> = known.into_values().collect();
    match found.len() {
        1 => found.pop().ok_or_else(|| nobody(&name)),
        0 => match &name {
            // A whole hash, as the audit log has it, leaves nothing open.
            KeyName::Hash(digits) => whole_hash(digits)
                .map(|hash| Known::unseen(hash, ""))
                .ok_or_else(|| nobody(&name)),
            KeyName::PublicId(_) => Err(nobody(&name)),
        },
        _ => Err(several(&mut found)),
    }
}

fn nobody(name: &KeyName) -> Box<Response> {
    let name = match name {
        KeyName::PublicId(id) => id.clone(),
        KeyName::Hash(digits) => format!("#{digits}"),
    };
    Box::new(Response::internal(format!(
        "no key `{name}` is known; `botguard key list` shows those that are. One that has not been \
         seen yet is named by `--key-file FILE`"
    )))
}

fn several(found: &mut [Known]) -> Box<Response> {
    const SHOWN: usize = 16;
    found.sort_by_key(|key| key.hash);
    let lines = found.iter().take(SHOWN).map(|key| {
        let tier = key.tier.as_deref().unwrap_or("no tier");
        format!("  #{} {} ({tier})", short(key.hash), key.shown)
    });
    let lines: Vec<_> = lines.collect();
    Box::new(Response::usage(format!(
        "{} keys are called so; name one by its hash:\n{}",
        found.len(),
        lines.join("\n")
    )))
}

/// Enough of a hash to tell some million keys apart, mostly.
fn short(hash: KeyHash) -> String {
    hash.to_string().chars().take(12).collect()
}

fn whole_hash(digits: &str) -> Option<KeyHash> {
    let is_whole = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let hash = u128::from_str_radix(digits, 16).ok()?;
    is_whole.then_some(KeyHash(hash))
}

impl Known {
    fn of_memo(memo: KeyMemo) -> Self {
        Self {
            hash: memo.hash,
            public_id: memo.public_id.clone(),
            shown: memo.shown.clone(),
            tier: memo.tier.clone(),
            memo: Some(memo),
            set: None,
        }
    }

    fn of_card(hash: KeyHash, card: &KeyCard) -> Self {
        Self {
            shown: card.shown.clone(),
            tier: card.tier.clone(),
            ..Self::unseen(hash, &card.public_id)
        }
    }

    fn unseen(hash: KeyHash, public_id: &str) -> Self {
        let shown = match public_id {
            "" => format!("#{}", short(hash)),
            id => format!("{id}…"),
        };
        Self {
            hash,
            public_id: public_id.to_owned(),
            shown,
            tier: None,
            memo: None,
            set: None,
        }
    }

    /// As answers call it.
    pub(super) fn name(&self) -> &str {
        &self.shown
    }

    /// What it earned by itself.
    pub(super) fn earned(&self) -> KeyState {
        self.memo
            .as_ref()
            .map(|memo| memo.state)
            .unwrap_or_default()
    }

    /// What holds.
    pub(super) fn state(&self) -> KeyState {
        let standing = self.set.as_ref().map(|set| set.ruling.standing);
        match standing.unwrap_or_default() {
            KeyStanding::Earned => self.earned(),
            KeyStanding::Suspended => KeyState::Suspended,
            KeyStanding::Pinned => KeyState::Ok,
        }
    }

    /// What an order about a page's key does to those who did nothing.
    pub(super) fn browser_warning(&self, site: Site<'_>, what: &str) -> Option<String> {
        let tier = self.tier.as_deref()?;
        let tiers = site.loaded.settings.tier.iter();
        let mut browsers = tiers.filter(|it| it.client == ClientClass::Browser);
        browsers.find(|it| it.name == tier).map(|_tier| {
            format!(
                "tier {tier} is for browsers, whose pages carry the key for everybody: this {what}"
            )
        })
    }

    pub(super) fn entry(&self, now: Wall) -> KeyEntry {
        let memo = self.memo.as_ref();
        let mean = |span: usize| memo.and_then(|memo| mean(memo.spans.get(span)?));
        KeyEntry {
            public_id: self.public_id.clone(),
            shown: self.shown.clone(),
            hash: self.hash.to_string(),
            tier: self.tier.clone(),
            state: self.state(),
            earned: self.earned(),
            since: memo.map(|memo| memo.since.to_string()),
            reputation: crate::admin::protocol::Reputation {
                hour: mean(0),
                day: mean(1),
                week: mean(2),
            },
            requests_last_hour: memo.map_or(0, |memo| requests_last_hour(memo, now)),
            set: self.set.as_ref().map(|set| OverrideEntry {
                standing: set.ruling.standing,
                limit: set.ruling.limit,
                mode: set.ruling.mode,
                reason: set.reason.clone(),
                actor: set.actor.clone(),
                created: set.created.to_string(),
                until: set.until.map(|until| until.to_string()),
            }),
        }
    }

    pub(super) fn detail(&self, now: Wall) -> KeyDetail {
        let history = self.memo.iter().flat_map(|memo| &memo.history);
        KeyDetail {
            key: self.entry(now),
            because: self.because(),
            history: history
                .map(|change| TransitionEntry {
                    at: change.at.to_string(),
                    from: change.from,
                    to: change.to,
                    reputation: change.reputation,
                    reason: change.reason.clone(),
                })
                .collect(),
        }
    }

    fn because(&self) -> String {
        let set = self.set.as_ref();
        let decided = set.filter(|set| set.ruling.standing != KeyStanding::Earned);
        if let Some(set) = decided {
            return format!(
                "{} by {}{}",
                terms_of(&set.ruling),
                set.actor,
                because(&set.reason)
            );
        }
        match &self.memo {
            None => "nothing is remembered of it".to_owned(),
            Some(memo) => match memo.history.last() {
                Some(change) => change.reason.clone(),
                None => "nothing speaks against it".to_owned(),
            },
        }
    }
}

fn mean(sums: &SuspicionMemo) -> Option<Points> {
    let SuspicionMemo {
        requests,
        suspicion,
    } = *sums;
    let basis = u128::from(suspicion) * 10_000 / u128::from(requests).max(1);
    let basis = u32::try_from(basis).unwrap_or(10_000).min(10_000);
    (requests > 0).then_some(Points::from_basis(basis))
}

/// Of requests at an even pace, those of the last hour are ln 2 of the sum that halves in an hour.
fn requests_last_hour(memo: &KeyMemo, now: Wall) -> u64 {
    let [hour, _, _] = SPANS;
    let [sums, _, _] = memo.spans;
    let half_lives = memo.at.until(now).as_secs_f64() / hour.as_secs_f64();
    let requests = sums.requests as f64 / 10_000.0 * (-half_lives).exp2();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "neither negative nor beyond what there was as u64"
    )]
    let rounded = (requests * std::f64::consts::LN_2).round() as u64;
    rounded
}
