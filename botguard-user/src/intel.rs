//! Floor 4: what the operator's tables and lists say of an address. Read at start and on reload,
//! never on the way of a request; a lookup is a few binary searches and copies of counted pointers.
//! Names of crawlers' addresses are asked for beside the traffic (`crawlers`).
//!
//! Not here: blocks and allows (`enforcement`), and what the knowledge weighs (`engine::weights`).

mod asn_table;
mod country_table;
pub mod crawlers;
mod error;
mod hosting;
mod ranges;
mod table_file;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

pub use self::asn_table::{Announced, AsnTable};
pub use self::country_table::CountryTable;
pub use self::error::{IntelError, RowProblem};
pub use self::hosting::HostingList;

use self::crawlers::{CrawlerSettings, Crawlers};
use crate::engine::facts::{Hosting, NetworkFacts};
use crate::words::address::canonical;
use crate::words::data_file::DataFile;

/// `[intel]`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct IntelSettings {
    /// Table of autonomous systems: CSV rows `start,end,asn,name` or MMDB, told apart by content.
    /// Without one, no address belongs to a hosting network.
    pub asn: Option<PathBuf>,
    /// Table of countries: CSV rows `start,end,country` or MMDB. For records.
    pub country: Option<PathBuf>,
    /// List of hosting systems, one AS number a line, in place of the built-in one.
    pub hosting_asns: Option<PathBuf>,
}

/// Everything known of networks. Never changes; a reload makes a new one.
#[derive(Debug)]
pub struct Intel {
    asns: Option<Arc<AsnTable>>,
    countries: Option<CountryTable>,
    hosting: HostingList,
    crawlers: Crawlers,
}

impl Intel {
    /// Reads what the settings name; their paths are used as they are.
    ///
    /// Errors: [`IntelError`], the configuration's or a data file's fault; names file and line.
    pub fn load(
        settings: &IntelSettings,
        crawlers: &[CrawlerSettings],
    ) -> Result<Self, IntelError> {
        let asns = settings.asn.as_deref().map(AsnTable::load).transpose()?;
        let asns = asns.map(Arc::new);
        let countries = settings.country.as_deref();
        let countries = countries.map(CountryTable::load).transpose()?;
        let hosting = match &settings.hosting_asns {
            Some(path) => HostingList::load(path)?,
            None => HostingList::built_in(),
        };
        Ok(Self {
            asns,
            countries,
            hosting,
            crawlers: Crawlers::load(crawlers)?,
        })
    }

    /// The known crawlers.
    #[must_use]
    pub const fn crawlers(&self) -> &Crawlers {
        &self.crawlers
    }

    /// The table of autonomous systems.
    #[must_use]
    pub const fn asns(&self) -> Option<&Arc<AsnTable>> {
        self.asns.as_ref()
    }

    /// The table of countries.
    #[must_use]
    pub const fn countries(&self) -> Option<&CountryTable> {
        self.countries.as_ref()
    }

    /// The files, with the age of their data.
    #[must_use]
    pub fn files(&self) -> Vec<DataFile> {
        let asns = self.asns.iter().map(|table| table.file());
        let countries = self.countries.iter().map(|table| table.file().clone());
        let hosting = [self.hosting.file()];
        let crawlers = self.crawlers.files().cloned();
        asns.chain(countries)
            .chain(hosting)
            .chain(crawlers)
            .collect()
    }

    /// What is known of an address. Cost: no allocation.
    #[must_use]
    pub fn network(&self, ip: IpAddr) -> NetworkFacts {
        let ip = canonical(ip);
        let asn = self.asns.as_ref().and_then(|asns| asns.find(ip));
        let hosting = match &asn {
            Some(asn) if self.hosting.contains(asn.number) => Hosting::Verified {
                list: Arc::clone(self.hosting.name()),
            },
            _ => Hosting::Unlisted,
        };
        NetworkFacts {
            country: self.countries.as_ref().and_then(|table| table.find(ip)),
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
        let intel = Intel::load(
            &IntelSettings {
                asn: Some(PathBuf::from(EXTRACT)),
                ..IntelSettings::default()
            },
            &[],
        )
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
        let intel = Intel::load(&IntelSettings::default(), &[]).unwrap();
        assert_eq!(
            intel.network("3.5.140.2".parse().unwrap()),
            NetworkFacts::default()
        );
    }

    #[test]
    fn countries_are_told_and_files_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("country.csv");
        std::fs::write(&path, "3.0.0.0,3.255.255.255,US\n2003::,2003::ffff,DE\n").unwrap();
        let settings = |country: Option<PathBuf>| IntelSettings {
            asn: Some(PathBuf::from(EXTRACT)),
            country,
            hosting_asns: None,
        };
        let check = |country: Option<PathBuf>, ip: &str, expected: Option<&str>| {
            let intel = Intel::load(&settings(country), &[]).unwrap();
            let found = intel.network(ip.parse().unwrap());
            let country = found.country.map(|country| country.to_string());
            assert_eq!(country.as_deref(), expected, "{ip}");
        };
        check(Some(path.clone()), "3.5.140.2", Some("US"));
        check(Some(path.clone()), "::ffff:3.5.140.2", Some("US"));
        check(Some(path.clone()), "2003::1", Some("DE"));
        check(Some(path.clone()), "192.0.2.1", None);
        check(None, "3.5.140.2", None);

        let files = Intel::load(&settings(Some(path)), &[]).unwrap().files();
        let shown = files
            .iter()
            .map(|file| (file.kind.as_str(), file.name.as_str()));
        let expected = [
            ("asn", "asn-extract.csv"),
            ("country", "country.csv"),
            ("hosting", "built-in"),
        ];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
        assert_eq!(files[1].n_entries, 2);
        assert!(files[0].date.is_some() && files[1].date.is_some() && files[2].date.is_none());
    }
}
