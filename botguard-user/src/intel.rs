//! Floor 4: what the operator's tables and lists say of an address. Read at start and on reload,
//! never on the way of a request; a lookup is two binary searches and copies of counted pointers.
//!
//! Not here: blocks and allows (`enforcement`), and what the knowledge weighs (`engine::weights`).

mod asn_table;
mod error;
mod hosting;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

pub use self::asn_table::{Announced, AsnTable};
pub use self::error::{IntelError, RowProblem};
pub use self::hosting::HostingList;

use crate::engine::facts::{Hosting, NetworkFacts};
use crate::words::address::canonical;

/// `[intel]`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct IntelSettings {
    /// Table of autonomous systems: CSV rows `start,end,asn,name` or MMDB, told apart by content.
    /// Without one, no address belongs to a hosting network.
    pub asn: Option<PathBuf>,
    /// Table of countries. Read, not acted on by this version.
    pub country: Option<PathBuf>,
    /// List of hosting systems, one AS number a line, in place of the built-in one.
    pub hosting_asns: Option<PathBuf>,
}

impl IntelSettings {
    /// One sentence for every key that is read but not acted on by this version.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.country
            .iter()
            .map(|_path| "intel.country: not acted on by this version".to_owned())
            .collect()
    }
}

/// Everything known of networks. Never changes; a reload makes a new one.
#[derive(Debug)]
pub struct Intel {
    asns: Option<Arc<AsnTable>>,
    hosting: HostingList,
}

impl Intel {
    /// Reads what the settings name; their paths are used as they are.
    ///
    /// Errors: [`IntelError`], the configuration's or a data file's fault; names file and line.
    pub fn load(settings: &IntelSettings) -> Result<Self, IntelError> {
        let asns = settings.asn.as_deref().map(AsnTable::load).transpose()?;
        let asns = asns.map(Arc::new);
        let hosting = match &settings.hosting_asns {
            Some(path) => HostingList::load(path)?,
            None => HostingList::built_in(),
        };
        Ok(Self { asns, hosting })
    }

    /// From parts that were read before; without a table nothing is known of any address.
    #[must_use]
    pub const fn new(asns: Option<Arc<AsnTable>>, hosting: HostingList) -> Self {
        Self { asns, hosting }
    }

    /// The table of autonomous systems.
    #[must_use]
    pub const fn asns(&self) -> Option<&Arc<AsnTable>> {
        self.asns.as_ref()
    }

    /// What is known of an address. Cost: no allocation.
    #[must_use]
    pub fn network(&self, ip: IpAddr) -> NetworkFacts {
        let asn = self.asns.as_ref().and_then(|asns| asns.find(canonical(ip)));
        let hosting = match &asn {
            Some(asn) if self.hosting.contains(asn.number) => Hosting::Verified {
                list: Arc::clone(self.hosting.name()),
            },
            _ => Hosting::Unlisted,
        };
        NetworkFacts {
            country: None,
            asn,
            hosting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTRACT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/asn-extract.csv");

    #[test]
    fn table_and_list_together_tell_hosting_networks() {
        let intel = Intel::load(&IntelSettings {
            asn: Some(PathBuf::from(EXTRACT)),
            ..IntelSettings::default()
        })
        .unwrap();
        let check = |ip: &str, asn: Option<u32>, hosting| {
            let facts = intel.network(ip.parse().unwrap());
            assert_eq!(facts.asn.map(|asn| asn.number), asn, "{ip}");
            assert_eq!(facts.hosting != Hosting::Unlisted, hosting, "{ip}");
        };
        check("3.5.140.2", Some(16_509), true);
        check("::ffff:3.5.140.2", Some(16_509), true);
        check("2a01:4f8::1", Some(24_940), true);
        check("24.144.64.9", Some(14_061), true);
        check("23.24.1.2", Some(7_922), false);
        check("2003::1", Some(3_320), false);
        check("192.0.2.1", None, false);
        check("2001:db8::1", None, false);
    }

    #[test]
    fn a_system_announces_what_is_found_to_be_its() {
        let table = AsnTable::load(EXTRACT.as_ref()).unwrap();
        let announced = table.announced(16_509).unwrap();
        assert_eq!(&*announced.name, "Amazon.com, Inc.");
        assert!(!announced.networks.v4().is_empty() && !announced.networks.v6().is_empty());
        for network in announced.networks.iter() {
            for ip in [network.network(), network.broadcast()] {
                assert_eq!(table.find(ip).map(|asn| asn.number), Some(16_509), "{ip}");
            }
        }
        assert_eq!(table.announced(64_496), None);
    }

    #[test]
    fn nothing_is_known_without_a_table() {
        let intel = Intel::load(&IntelSettings::default()).unwrap();
        assert_eq!(
            intel.network("3.5.140.2".parse().unwrap()),
            NetworkFacts::default()
        );
    }

    #[test]
    fn what_is_not_acted_on_is_said() {
        let settings = IntelSettings {
            country: Some(PathBuf::from("country.mmdb")),
            ..IntelSettings::default()
        };
        assert_eq!(
            settings.warnings(),
            ["intel.country: not acted on by this version"]
        );
        assert_eq!(IntelSettings::default().warnings(), [""; 0]);
    }
}
