//! `botguard key list` and `key show`.

use std::fmt;

use crate::admin::protocol::{KeyDetail, KeyEntry, Keys, OverrideEntry};
use crate::words::key::KeyStanding;
use crate::words::plain::Plain;
use crate::words::points::Points;

pub(super) fn render(f: &mut fmt::Formatter<'_>, keys: &Keys) -> fmt::Result {
    if keys.keys.is_empty() {
        return writeln!(f, "no keys");
    }
    writeln!(
        f,
        "{:<13} {:<24} {:<10} {:<10} {:>4} {:>4} {:>4} {:>8}  override",
        "id", "key", "tier", "state", "hour", "day", "week", "requests",
    )?;
    keys.keys.iter().try_for_each(|key| line(f, key))
}

fn line(f: &mut fmt::Formatter<'_>, key: &KeyEntry) -> fmt::Result {
    write!(
        f,
        "{:<13} {:<24} {:<10} {:<10} {:>4} {:>4} {:>4} {:>8}",
        Plain(&id(key)).to_string(),
        Plain(&key.shown).to_string(),
        key.tier.as_deref().unwrap_or("-"),
        key.state,
        mean(key.reputation.hour),
        mean(key.reputation.day),
        mean(key.reputation.week),
        key.requests_last_hour,
    )?;
    match &key.set {
        Some(set) => writeln!(f, "  {}", Set(set)),
        None => writeln!(f),
    }
}

/// A key without a public id is called by its hash.
fn id(key: &KeyEntry) -> String {
    if key.public_id.is_empty() {
        format!("#{}", key.hash.chars().take(12).collect::<String>())
    } else {
        key.public_id.clone()
    }
}

fn mean(mean: Option<Points>) -> String {
    mean.map_or_else(
        || "-".to_owned(),
        |mean| format!("{:.2}", mean.as_decimal()),
    )
}

pub(super) fn render_one(f: &mut fmt::Formatter<'_>, detail: &KeyDetail) -> fmt::Result {
    let key = &detail.key;
    writeln!(
        f,
        "key         {} (id {})",
        Plain(&key.shown),
        Plain(&id(key))
    )?;
    writeln!(f, "hash        #{}", key.hash)?;
    writeln!(
        f,
        "tier        {}",
        key.tier.as_deref().unwrap_or("none known")
    )?;
    writeln!(f, "state       {}: {}", key.state, Plain(&detail.because))?;
    if let Some(since) = &key.since {
        writeln!(f, "by itself   {} since {since}", key.earned)?;
    }
    let [hour, day, week] =
        [key.reputation.hour, key.reputation.day, key.reputation.week].map(mean);
    writeln!(
        f,
        "mean score  {hour} over an hour, {day} a day, {week} a week"
    )?;
    writeln!(f, "requests    {} in the last hour", key.requests_last_hour)?;
    if let Some(set) = &key.set {
        writeln!(f, "override    {}", Set(set))?;
    }
    for change in &detail.history {
        let at = change.reputation;
        let at = at.map_or_else(|| "by command".to_owned(), |at| format!("at {at}"));
        writeln!(
            f,
            "history     {} {} → {} {at}: {}",
            change.at,
            change.from,
            change.to,
            Plain(&change.reason)
        )?;
    }
    Ok(())
}

/// What an override says, who made it and until when.
struct Set<'a>(&'a OverrideEntry);

impl fmt::Display for Set<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(set) = self;
        let standing = match set.standing {
            KeyStanding::Earned => None,
            KeyStanding::Suspended => Some("suspended".to_owned()),
            KeyStanding::Pinned => Some("pinned".to_owned()),
        };
        let limit = set
            .limit
            .map(|it| format!("{} burst {}", it.rate, it.burst));
        let mode = set.mode.map(|mode| format!("mode {mode}"));
        let terms: Vec<_> = [standing, limit, mode].into_iter().flatten().collect();
        let until = set.until.as_deref();
        let until = until.map_or_else(|| "for good".to_owned(), |until| format!("until {until}"));
        write!(
            f,
            "{} {until} by {}: {}",
            terms.join(", "),
            set.actor,
            Plain(&set.reason)
        )
    }
}
