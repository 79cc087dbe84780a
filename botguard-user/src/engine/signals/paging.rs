//! `paging`: walking through collections faster than the tier allows requests at all. Value: pages
//! in the window.
//!
//! All collections count together, since alternating between two of them excuses nothing.

use super::{Grouped, Page, View};
use crate::engine::decision::{Group, SignalReading};
use crate::engine::features::principal::Spread;
use crate::engine::weights::{self, Ramp};
use crate::words::points::Points;

pub(super) fn read(view: &View<'_>) -> Option<SignalReading> {
    let pages = view.features.pages;
    let from = view.allowed.max(weights::PAGES_BY_HAND);
    let ramp = Ramp {
        from,
        to: from.saturating_mul(weights::FULL_AT_ALLOWANCES),
    };
    let confidence = ramp.confidence(u64::from(pages));
    (confidence > Points::ZERO).then(|| SignalReading {
        id: "paging",
        group: Group::Pattern,
        weight: weights::PAGING,
        confidence,
        value: f64::from(pages),
        evidence: format!(
            "{} × {} in {} s",
            walk(view),
            Grouped(pages),
            weights::WINDOW.as_secs()
        ),
    })
}

fn walk(view: &View<'_>) -> String {
    match (view.page, view.features.spread) {
        (None, _) => "pages of collections".to_owned(),
        (Some(page), Spread::One) => collection(view, page),
        (Some(page), Spread::Several) => {
            format!(
                "pages of several collections, now {},",
                collection(view, page)
            )
        }
    }
}

fn collection(view: &View<'_>, page: Page<'_>) -> String {
    format!(
        "{} {}?{}=…",
        view.facts.method, page.template, page.parameter
    )
}
