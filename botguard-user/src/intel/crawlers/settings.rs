//! `[[crawler]]` and `[crawler_dns]` as they are written.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hickory_resolver::proto::rr::Name;
use serde::Deserialize;

use crate::words::units::Span;

/// `[[crawler]]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "Raw")]
pub struct CrawlerSettings {
    /// What records call it: `googlebot`.
    pub name: String,
    /// A part of the `User-Agent` by which it can be told, in any case: `Googlebot`.
    pub user_agent: String,
    /// File of its addresses: what Google and others publish, `{"prefixes": [{"ipv4Prefix": …}]}`,
    /// or a network a line. Followed when it changes.
    pub ranges: Option<PathBuf>,
    /// Domains that the names of its addresses lie in: `["googlebot.com", "google.com"]`. The name
    /// must lead back to the address.
    pub domains: Vec<Domain>,
}

/// `[crawler_dns]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct CrawlerDnsSettings {
    /// Name servers that the names of crawlers are asked from: `["192.0.2.53:53"]`. By default those
    /// of `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
    /// How long one question to a server may take.
    pub timeout: Span,
}

impl Default for CrawlerDnsSettings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Span(Duration::from_secs(2)),
        }
    }
}

/// A domain of two labels or more.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub struct Domain(pub(super) Name);

/// What is wrong with a `[[crawler]]`. The configuration's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CrawlerSettingsError {
    /// No name.
    #[error("crawler.name: is empty; name the crawler as records should call it")]
    Name,
    /// Hardly any text to tell it by.
    #[error(
        "crawler.user_agent: `{0}` is in too many headers; write at least 4 characters of its name"
    )]
    UserAgent(String),
    /// Nothing to tell a true one by.
    #[error("crawler {0}: nothing tells a true one from a false one; set ranges or domains")]
    Nothing(String),
    /// Not a domain.
    #[error("crawler.domains: `{0}` is not a domain; write it as in \"googlebot.com\"")]
    Domain(String),
}

/// As it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    user_agent: String,
    #[serde(default)]
    ranges: Option<PathBuf>,
    #[serde(default)]
    domains: Vec<Domain>,
}

impl TryFrom<Raw> for CrawlerSettings {
    type Error = CrawlerSettingsError;

    fn try_from(raw: Raw) -> Result<Self, CrawlerSettingsError> {
        let Raw {
            name,
            user_agent,
            ranges,
            domains,
        } = raw;
        if name.trim().is_empty() {
            return Err(CrawlerSettingsError::Name);
        }
        if user_agent.trim().len() < 4 {
            return Err(CrawlerSettingsError::UserAgent(user_agent));
        }
        if ranges.is_none() && domains.is_empty() {
            return Err(CrawlerSettingsError::Nothing(name));
        }
        Ok(Self {
            name,
            user_agent,
            ranges,
            domains,
        })
    }
}

impl TryFrom<String> for Domain {
    type Error = CrawlerSettingsError;

    fn try_from(text: String) -> Result<Self, CrawlerSettingsError> {
        let bare = text.trim_start_matches('.').trim_end_matches('.');
        let is_plain = bare
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        // A top-level domain would make everybody a crawler.
        let name = (is_plain && bare.contains('.') && !bare.contains(".."))
            .then(|| Name::from_ascii(format!("{bare}.")).ok())
            .flatten();
        name.map(Self).ok_or(CrawlerSettingsError::Domain(text))
    }
}
