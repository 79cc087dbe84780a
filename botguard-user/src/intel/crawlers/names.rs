//! Forward-confirmed reverse DNS: the name of an address, if it is in a domain, leads back to the
//! address. Whoever has an address may name it as they like; only the owner of a domain can make its
//! names lead there.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::lookups::{Answer, NameLookup};
use super::settings::CrawlerDnsSettings;
use crate::words::address::canonical;

/// Names that one address may have in the domains; more are not followed.
const MAX_NAMES: usize = 4;

/// What all questions for one address may take together.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks name servers.
pub struct NameResolver(TokioResolver);

/// The name servers cannot be asked. The configuration's fault, or the host's.
#[derive(Debug, thiserror::Error)]
#[error(
    "[crawler_dns]: the name servers of /etc/resolv.conf cannot be used: {0}; name them in servers"
)]
pub struct NamesError(NetError);

impl std::fmt::Debug for NameResolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NameResolver")
    }
}

impl NameResolver {
    /// Asks the servers of the settings, or those of `/etc/resolv.conf`.
    ///
    /// Errors: that cannot be read.
    pub fn new(settings: &CrawlerDnsSettings) -> Result<Self, NamesError> {
        let mut builder = if settings.servers.is_empty() {
            TokioResolver::builder_tokio().map_err(NamesError)?
        } else {
            let servers = settings.servers.iter().map(|server| {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
                let connections = connections.map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
                NameServerConfig::new(server.ip(), true, connections.to_vec())
            });
            let config = ResolverConfig::from_name_servers(servers.collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.timeout = settings.timeout.0;
        options.attempts = 1;
        // What is known is kept by `Lookups`, and a host's file is nobody's proof.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        builder.build().map(Self).map_err(NamesError)
    }

    /// Looks an address up. Takes seconds at most.
    pub async fn answer(&self, lookup: &NameLookup) -> Answer {
        let answer = tokio::time::timeout(PATIENCE, self.confirm(lookup)).await;
        // Neither late nor failed answers say anything about the address.
        answer.ok().and_then(Result::ok).unwrap_or(Answer::Unknown)
    }

    /// Errors: a server did not answer, or not in its words.
    async fn confirm(&self, lookup: &NameLookup) -> Result<Answer, NetError> {
        let names = records(self.0.reverse_lookup(lookup.ip).await, |data| match data {
            RData::PTR(name) => Some(name.0.clone()),
            _ => None,
        })?;
        let is_ours = |name: &Name| lookup.domains.iter().any(|domain| domain.zone_of(name));
        let family = match lookup.ip {
            IpAddr::V4(_) => RecordType::A,
            IpAddr::V6(_) => RecordType::AAAA,
        };
        for name in names.into_iter().filter(is_ours).take(MAX_NAMES) {
            let addresses = records(self.0.lookup(name, family).await, RData::ip_addr)?;
            if addresses.into_iter().any(|ip| canonical(ip) == lookup.ip) {
                return Ok(Answer::Belongs);
            }
        }
        Ok(Answer::Stranger)
    }
}

/// The records of an answer; none is an answer too.
fn records<T>(
    found: Result<hickory_resolver::lookup::Lookup, NetError>,
    pick: impl Fn(&RData) -> Option<T>,
) -> Result<Vec<T>, NetError> {
    match found {
        Ok(found) => Ok((found.answers().iter())
            .filter_map(|record| pick(&record.data))
            .collect()),
        Err(error) if error.is_no_records_found() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
