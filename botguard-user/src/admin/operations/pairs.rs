//! Pairs that are refused at the edge: shown with the blocks, and lifted with those of their address.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Site;
use crate::admin::protocol::{Done, PairEntry, Response};
use crate::words::clock::Wall;

/// The pairs that are refused now.
pub(super) fn entries(site: Site<'_>, now: Wall) -> Vec<PairEntry> {
    let held = match site.daemon {
        Some(daemon) => daemon.held_pairs(),
        None => site.enforcer.remembered_pairs(now),
    };
    held.iter().map(|pair| PairEntry::of(pair, now)).collect()
}

/// Lifts those at addresses of these networks, and tells so.
pub(super) fn released(
    site: Site<'_>,
    networks: &[IpNet],
    now: Wall,
    response: Response,
) -> Response {
    let released = match site.daemon {
        Some(daemon) => daemon.release_pairs(networks),
        None => {
            (site.enforcer.release_remembered(networks, now)).map_err(|error| error.to_string())
        }
    };
    match (released, response) {
        (Ok(0), response) => response,
        (Ok(n_pairs), Response::Done(mut done)) => {
            done.did.push(line(n_pairs));
            Response::Done(done)
        }
        // There was nothing else to lift.
        (Ok(n_pairs), _) => Response::Done(Done {
            did: vec![line(n_pairs)],
            warnings: Vec::new(),
        }),
        (Err(error), _) => Response::internal(format!(
            "what was refused at the edge is let through again, but not kept so across a restart: \
             {error}"
        )),
    }
}

/// Those of everybody.
pub(super) fn all_released(site: Site<'_>, now: Wall, response: Response) -> Response {
    let everybody = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
    released(site, &everybody, now, response)
}

fn line(n_pairs: usize) -> String {
    match n_pairs {
        1 => "1 credential that was refused from there is let through again".to_owned(),
        _ => format!("{n_pairs} credentials that were refused from there are let through again"),
    }
}
