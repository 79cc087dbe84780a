//! `paging`: walking through collections faster than the tier allows requests at all. Value: pages
//! in the window that the evidence names.
//!
//! All collections count together, since alternating between two of them excuses nothing.

use super::excess::{Floors, excess};
use super::{Grouped, Page, View};
use crate::engine::decision::{Group, SignalReading};
use crate::engine::features::principal::Spread;
use crate::engine::weights;
use crate::words::points::Points;

pub(super) fn read(view: &View<'_>) -> Option<SignalReading> {
    let floors = Floors {
        window: weights::PAGES_BY_HAND,
        haste: weights::PAGES_BY_HAND,
    };
    let excess = excess(view.features.pages, view.allowance, floors);
    (excess.confidence > Points::ZERO).then(|| SignalReading {
        id: "paging",
        group: Group::Pattern,
        weight: weights::PAGING,
        confidence: excess.confidence,
        value: f64::from(excess.count),
        evidence: format!(
            "{} × {} in {} s",
            walk(view),
            Grouped(excess.count),
            excess.window.as_secs()
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
