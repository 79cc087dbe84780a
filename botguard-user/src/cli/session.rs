//! Keeps an operator from ending the SSH session that the command is typed in. Pure but for the
//! environment variable that sshd(8) sets; `sudo` may take it away, and then nobody is warned.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::admin::protocol::Request;
use crate::enforcement::import::{self, Format};
use crate::words::address::{canonical, canonical_network, host_network};
use crate::words::block::{Effect, Scope};

/// The network of the request, if any, whose block would end this session. `default_scope` holds
/// where the request names none.
pub(super) fn shut_out(request: &Request, default_scope: Scope) -> Option<IpNet> {
    hit(request, default_scope, peer()?)
}

/// Where the session comes from. Which systems it belongs to, whoever has the table knows.
pub(super) fn peer() -> Option<IpAddr> {
    client(&std::env::var("SSH_CONNECTION").ok()?)
}

/// The client of `client port server port`.
fn client(connection: &str) -> Option<IpAddr> {
    let address = connection.split_whitespace().next()?;
    // A link-local one has its zone behind it.
    let address = address.split('%').next()?;
    address.parse().ok().map(canonical)
}

fn hit(request: &Request, default_scope: Scope, peer: IpAddr) -> Option<IpNet> {
    let (Request::BlockAdd { scope, effect, .. } | Request::ListImport { scope, effect, .. }) =
        request
    else {
        return None;
    };
    if *effect != Effect::Drop || scope.unwrap_or(default_scope) != Scope::Host {
        return None;
    }
    let is_hit = |network: &IpNet| canonical_network(*network).contains(&peer);
    match request {
        Request::BlockAdd { networks, .. } => networks.iter().copied().find(is_hit),
        Request::ListImport { networks, .. } => {
            let parsed = import::parse(networks.as_bytes(), Format::Wire).ok()?;
            let peer = host_network(peer);
            let mut groups = parsed.groups.iter();
            groups.find_map(|group| group.networks.covering(&peer))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_the_sessions_peer_is_seen() {
        let check = |network: &str, scope, effect, default_scope, expected| {
            let request = Request::BlockAdd {
                networks: vec!["203.0.113.9/32".parse().unwrap(), network.parse().unwrap()],
                asns: vec![],
                session: None,
                ttl_s: None,
                reason: String::new(),
                scope,
                effect,
            };
            let peer = client("::ffff:198.51.100.7 50022 192.0.2.1 22").unwrap();
            let hit = hit(&request, default_scope, peer);
            assert_eq!(hit.is_some(), expected, "{network} {scope:?}");
            let request = Request::ListImport {
                name: "drop".parse().unwrap(),
                networks: format!("203.0.113.9/32\n{network}\n"),
                ttl_s: None,
                reason: String::new(),
                scope,
                effect,
                force: true,
            };
            let hit = super::hit(&request, default_scope, peer);
            assert_eq!(hit.is_some(), expected, "list with {network} {scope:?}");
        };
        let (listeners, host) = (Scope::Listeners, Scope::Host);
        check("198.51.100.0/24", Some(host), Effect::Drop, listeners, true);
        check("198.51.100.0/24", None, Effect::Drop, host, true);
        check("198.51.100.0/24", None, Effect::Drop, listeners, false);
        check("198.51.100.7/32", Some(host), Effect::Count, host, false);
        check("198.51.100.8/32", Some(host), Effect::Drop, host, false);
    }

    #[test]
    fn a_zone_is_no_part_of_the_peer() {
        assert_eq!(client("fe80::1%eth0 5 fe80::2 22"), "fe80::1".parse().ok());
        assert_eq!(client(""), None);
    }
}
