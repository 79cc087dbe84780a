//! `[[crawler]]`: whether a request that says it is a known crawler comes from one. A crawler's
//! operator publishes address ranges, or names that its addresses have in DNS, or both.
//!
//! Ranges answer at once. Names take two lookups, which no request waits for: it is told that nobody
//! knows yet ([`Crawler::Unknown`]), and a later one gets the answer (`lookups`, `names`).

mod lookups;
mod names;
mod ranges_file;
mod settings;

use std::net::IpAddr;
use std::sync::Arc;

use hickory_resolver::proto::rr::Name;

pub use self::lookups::{Answer, Lookups, NameLookup};
pub use self::names::{NameResolver, NamesError};
pub use self::settings::{CrawlerDnsSettings, CrawlerSettings, CrawlerSettingsError, Domain};
use super::error::IntelError;
use crate::words::address::{canonical, host_network};
use crate::words::clock::Monotonic;
use crate::words::data_file::DataFile;
use crate::words::identity::Crawler;
use crate::words::network_set::NetworkSet;

/// The crawlers of the configuration, with their ranges.
#[derive(Debug, Default)]
pub struct Crawlers(Vec<Known>);

/// One of them.
#[derive(Debug)]
struct Known {
    name: Arc<str>,
    /// Lower case.
    user_agent: String,
    ranges: Option<(NetworkSet, DataFile)>,
    domains: Arc<[Name]>,
}

impl Crawlers {
    /// Reads the range files that the settings name.
    ///
    /// Errors: [`IntelError`], naming file and line, or two crawlers of one name.
    pub fn load(settings: &[CrawlerSettings]) -> Result<Self, IntelError> {
        let mut all: Vec<Known> = Vec::new();
        for crawler in settings {
            if all.iter().any(|other| *other.name == *crawler.name) {
                let name = crawler.name.clone();
                return Err(IntelError::SameCrawler { name });
            }
            let kind = || format!("crawler {}", crawler.name);
            let ranges = crawler.ranges.as_deref();
            let ranges = ranges
                .map(|path| ranges_file::load(path, kind()))
                .transpose()?;
            all.push(Known {
                name: Arc::from(crawler.name.as_str()),
                user_agent: crawler.user_agent.to_ascii_lowercase(),
                ranges,
                domains: crawler
                    .domains
                    .iter()
                    .map(|domain| domain.0.clone())
                    .collect(),
            });
        }
        Ok(Self(all))
    }

    /// What is to be made of a request from `ip` with this `User-Agent`.
    #[must_use]
    pub fn judge(
        &self,
        user_agent: Option<&str>,
        ip: IpAddr,
        lookups: &Lookups,
        now: Monotonic,
    ) -> Crawler {
        let Some(claimed) = user_agent.and_then(|agent| self.claimed(agent)) else {
            return Crawler::No;
        };
        let ip = canonical(ip);
        let name = Arc::clone(&claimed.name);
        let ranges = claimed.ranges.as_ref().map(|(ranges, _)| ranges);
        if ranges.is_some_and(|ranges| ranges.covering(&host_network(ip)).is_some()) {
            return Crawler::Verified { name };
        }
        if claimed.domains.is_empty() {
            return Crawler::False { name };
        }
        match lookups.ask(ip, &claimed.domains, now) {
            Answer::Belongs => Crawler::Verified { name },
            Answer::Stranger => Crawler::False { name },
            Answer::Unknown => Crawler::Unknown { name },
        }
    }

    /// Whether any is known by names.
    #[must_use]
    pub fn have_names(&self) -> bool {
        self.0.iter().any(|crawler| !crawler.domains.is_empty())
    }

    /// The range files, as `botguard status` shows them.
    pub fn files(&self) -> impl Iterator<Item = &DataFile> {
        let ranges = self.0.iter().filter_map(|crawler| crawler.ranges.as_ref());
        ranges.map(|(_, file)| file)
    }

    /// The first that the header names.
    fn claimed(&self, user_agent: &str) -> Option<&Known> {
        if self.0.is_empty() {
            return None;
        }
        let user_agent = user_agent.to_ascii_lowercase();
        let mut all = self.0.iter();
        all.find(|crawler| user_agent.contains(&crawler.user_agent))
    }
}

#[cfg(test)]
mod tests;
