//! Which autonomous system announces an address.
//!
//! Both kinds of file become the same sorted arrays at load: about 5 MB for each family of the
//! whole Internet, and no decoding at lookup.

mod csv_rows;
mod mmdb;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use hashbrown::HashMap;

pub(super) use self::csv_rows::{address, as_number};
use super::error::IntelError;
use super::ranges::{BothRanges, ByPlace, Rows};
use super::table_file::TableFile;
use crate::engine::facts::Asn;
use crate::words::clock::Wall;
use crate::words::data_file::DataFile;
use crate::words::network_set::{NetworkSet, Prefix};

/// Ranges of addresses and the systems that announce them.
#[derive(Debug)]
pub struct AsnTable {
    ranges: BothRanges,
    systems: Vec<System>,
    /// Places of the systems.
    numbers: HashMap<u32, u32>,
    v4_by_system: ByPlace,
    v6_by_system: ByPlace,
    /// File name and date of the data, for the evidence.
    label: Arc<str>,
    data_date: Wall,
    warning: Option<String>,
}

#[derive(Debug)]
struct System {
    number: u32,
    name: Arc<str>,
}

impl AsnTable {
    /// Reads a CSV or an MMDB, told apart by content.
    ///
    /// Errors: [`IntelError`], naming file and line.
    pub fn load(path: &Path) -> Result<Self, IntelError> {
        let file = TableFile::read(path)?;
        if file.is_database() {
            mmdb::parse(&file)
        } else {
            csv_rows::parse(&file)
        }
    }

    /// The system that announces `ip`, if any; `ip` is canonical. Cost: no allocation.
    #[must_use]
    pub fn find(&self, ip: IpAddr) -> Option<Asn> {
        let system = &self.systems[self.ranges.find(ip)? as usize];
        Some(Asn {
            number: system.number,
            name: Arc::clone(&system.name),
            table: Arc::clone(&self.label),
        })
    }

    /// The name of a system and what it announces, in the fewest networks. `None` where the table
    /// does not know it. Cost: by the size of the system, not of the table.
    #[must_use]
    pub fn announced(&self, number: u32) -> Option<Announced> {
        let place = *self.numbers.get(&number)?;
        let v4 = self.ranges.v4.of(place, &self.v4_by_system);
        let v6 = self.ranges.v6.of(place, &self.v6_by_system);
        Some(Announced {
            name: Arc::clone(&self.systems[place as usize].name),
            networks: NetworkSet::new(
                v4.flat_map(|(first, last)| Prefix::spanning(first, last))
                    .collect(),
                v6.flat_map(|(first, last)| Prefix::spanning(first, last))
                    .collect(),
            ),
        })
    }

    /// The name of a system, where the table knows it.
    #[must_use]
    pub fn name(&self, number: u32) -> Option<Arc<str>> {
        let place = *self.numbers.get(&number)?;
        Some(Arc::clone(&self.systems[place as usize].name))
    }

    /// File name and date of the data: `asn.csv of 2026-06-17`.
    #[must_use]
    pub const fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// As `botguard status` shows it.
    #[must_use]
    pub fn file(&self) -> DataFile {
        let (name, _day) = self.label.rsplit_once(" of ").unwrap_or((&self.label, ""));
        DataFile {
            kind: "asn".to_owned(),
            name: name.to_owned(),
            n_entries: self.n_ranges(),
            date: Some(self.data_date),
        }
    }

    /// How old the data is: an MMDB says so; of a CSV the time of modification is known.
    #[must_use]
    pub const fn data_date(&self) -> Wall {
        self.data_date
    }

    /// Which rows overlap, if any do. No error: the table of the whole Internet of June 2026 has
    /// one, and without it nothing would be known at all.
    #[must_use]
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Number of ranges, after neighbours of one system were joined.
    #[must_use]
    pub fn n_ranges(&self) -> usize {
        self.ranges.len()
    }
}

/// What a table says of a system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Announced {
    /// Its name.
    pub name: Arc<str>,
    /// Its networks.
    pub networks: NetworkSet,
}

/// A table while it is read.
#[derive(Default)]
struct Builder {
    rows: Rows,
    systems: Vec<System>,
    numbers: HashMap<u32, u32>,
}

impl Builder {
    /// The place of a system; the first name it is given stays.
    fn system(&mut self, number: u32, name: &str) -> u32 {
        let systems = &mut self.systems;
        *self.numbers.entry(number).or_insert_with(|| {
            // AS numbers have 32 bits, so there are no more places than that.
            let place = u32::try_from(systems.len()).unwrap_or(u32::MAX);
            systems.push(System {
                number,
                name: Arc::from(name),
            });
            place
        })
    }

    fn finish(self, file: &TableFile, data_date: Wall) -> AsnTable {
        let ranges = self.rows.sorted();
        let n_systems = self.systems.len();
        AsnTable {
            v4_by_system: ranges.v4.by_place(n_systems),
            v6_by_system: ranges.v6.by_place(n_systems),
            warning: ranges.warning(&file.path),
            ranges,
            systems: self.systems,
            numbers: self.numbers,
            label: Arc::from(file.label(data_date)),
            data_date,
        }
    }
}
