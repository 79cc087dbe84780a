//! Which autonomous system announces an address.
//!
//! Both kinds of file become the same sorted arrays at load: about 5 MB for each family of the
//! whole Internet, and no decoding at lookup.

mod csv_rows;
mod mmdb;
mod ranges;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use hashbrown::HashMap;

pub(super) use self::csv_rows::as_number;
use self::ranges::{ByPlace, Overlap, Ranges, Row};
use super::error::{IntelError, RowProblem, read};
use crate::engine::facts::Asn;
use crate::words::clock::Wall;
use crate::words::network_set::{NetworkSet, Prefix};

/// Ranges of addresses and the systems that announce them.
#[derive(Debug)]
pub struct AsnTable {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
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
        let content = read(path)?;
        let date = data_date(path)?;
        if mmdb::is_database(&content) {
            mmdb::parse(path, &content, date)
        } else {
            csv_rows::parse(path, &content, date)
        }
    }

    /// The system that announces `ip`, if any; `ip` is canonical. Cost: no allocation.
    #[must_use]
    pub fn find(&self, ip: IpAddr) -> Option<Asn> {
        let system = match ip {
            IpAddr::V4(ip) => self.v4.find(u32::from(ip)),
            IpAddr::V6(ip) => self.v6.find(u128::from(ip)),
        }?;
        let system = &self.systems[system as usize];
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
        let v4 = self.v4.of(place, &self.v4_by_system);
        let v6 = self.v6.of(place, &self.v6_by_system);
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

    /// When the file was last modified: how old the data is at least.
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
        self.v4.len() + self.v6.len()
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
struct Builder {
    v4: Vec<Row<u32>>,
    v6: Vec<Row<u128>>,
    systems: Vec<System>,
    numbers: HashMap<u32, u32>,
}

impl Builder {
    fn new() -> Self {
        Self {
            v4: Vec::new(),
            v6: Vec::new(),
            systems: Vec::new(),
            numbers: HashMap::new(),
        }
    }

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

    /// Adds the range from `start` to `end`, both included.
    fn add(
        &mut self,
        start: IpAddr,
        end: IpAddr,
        system: u32,
        line: u64,
    ) -> Result<(), RowProblem> {
        match (start, end) {
            (IpAddr::V4(start), IpAddr::V4(end)) => {
                self.v4
                    .push(Row::new(start.into(), end.into(), system, line)?);
            }
            (IpAddr::V6(start), IpAddr::V6(end)) => {
                self.v6
                    .push(Row::new(start.into(), end.into(), system, line)?);
            }
            _ => return Err(RowProblem::Families),
        }
        Ok(())
    }

    fn finish(self, path: &Path, data_date: Wall) -> AsnTable {
        let file = path.file_name().unwrap_or(path.as_os_str());
        let timestamp = data_date.to_string();
        let day = timestamp.split('T').next().unwrap_or_default();
        let (v4, mut overlaps) = Ranges::new(self.v4);
        let (v6, overlaps_v6) = Ranges::new(self.v6);
        overlaps.extend(overlaps_v6);
        AsnTable {
            v4_by_system: v4.by_place(self.systems.len()),
            v6_by_system: v6.by_place(self.systems.len()),
            v4,
            v6,
            systems: self.systems,
            numbers: self.numbers,
            label: Arc::from(format!("{} of {day}", file.to_string_lossy())),
            data_date,
            warning: warning(path, &overlaps),
        }
    }
}

fn warning(path: &Path, overlaps: &[Overlap]) -> Option<String> {
    let first = overlaps.first()?;
    Some(format!(
        "{}:{}: the range overlaps that of line {}, and counts where it does ({} such in all)",
        path.display(),
        first.inner,
        first.outer,
        overlaps.len()
    ))
}

fn data_date(path: &Path) -> Result<Wall, IntelError> {
    let modified = std::fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .map_err(|source| IntelError::Read {
            path: path.to_owned(),
            source,
        })?;
    // A file from before 1970 is as old as can be shown.
    let since_epoch = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Wall::from_unix_ms(
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
    ))
}
