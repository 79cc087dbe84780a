//! Imported lists: what a command about them does, and what it answers.

use super::{Site, answer, block_line, did, kernel_warning};
use crate::admin::protocol::{Export, ExportPart, ListEntry, Response};
use crate::daemon::enforcer::{Flushed, ImportRequest, Imported};
use crate::words::clock::Wall;
use crate::words::rule::{ListName, Rule};

pub(super) fn import(site: Site<'_>, request: ImportRequest<'_>, now: Wall) -> Response {
    let ended = |imported: &Imported| {
        (imported.n_ended > 0).then(|| {
            let n_ended = imported.n_ended;
            format!("{n_ended} networks whose end had passed were left out")
        })
    };
    match site.enforcer.import(request, now) {
        Ok(imported) => did(&line(&request, &imported))
            .warned(ended(&imported))
            .warned(kernel_warning(site)),
        Err(error) => answer(Err(error), |()| vec![]),
    }
}

fn line(request: &ImportRequest<'_>, imported: &Imported) -> String {
    let Imported {
        scope,
        n_entries,
        n_networks,
        n_replaced,
        ..
    } = imported;
    let replaced = n_replaced.map(|n| format!(", in place of {n}"));
    let what = format!(
        "list {}: {n_networks} networks of {n_entries} entries{}:",
        request.name,
        replaced.unwrap_or_default()
    );
    block_line(&what, *scope, request.effect, request.ttl)
}

pub(super) fn delete(site: Site<'_>, name: &ListName, now: Wall) -> Response {
    answer(site.enforcer.delete_list(name, now), |n| {
        vec![format!("list {name} with {n} networks removed")]
    })
    .warned(kernel_warning(site))
}

pub(super) fn export(site: Site<'_>, origin: Option<&str>, now: Wall) -> Response {
    let rule = match origin.map(rule).transpose() {
        Ok(rule) => rule,
        Err(message) => return Response::usage(message),
    };
    if let Some(Rule::List(name)) = &rule {
        let is_known = |name: &ListName| {
            let lists = site.enforcer.named_lists();
            lists.iter().any(|list| list.name == *name)
        };
        if !is_known(name) {
            return Response::internal(crate::daemon::enforcer::OperatorError::NoList(
                name.clone(),
            ));
        }
    }
    let parts = site.enforcer.export(rule.as_ref(), now);
    Response::Export(Export {
        parts: parts.iter().map(ExportPart::from).collect(),
    })
}

/// The rule that an `--origin` names: as rules are written, or a list by its bare name.
fn rule(text: &str) -> Result<Rule, String> {
    let named = || text.parse().map(Rule::List);
    text.parse::<Rule>()
        .or_else(|_error| named())
        .map_err(|error| {
            format!("--origin: {error}, or `operator`, `automatic`, or a system as in AS16509")
        })
}

pub(super) fn entries(site: Site<'_>, now: Wall) -> Vec<ListEntry> {
    let lists = site.enforcer.named_lists();
    lists.iter().map(|list| ListEntry::of(list, now)).collect()
}

pub(super) fn flushed(flushed: &Flushed) -> Vec<String> {
    let mut lines = vec![format!("{} blocks removed", flushed.n_blocks)];
    lines.extend(flushed.layers.iter().map(|rule| format!("{rule} removed")));
    lines
}
