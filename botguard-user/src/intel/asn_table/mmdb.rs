//! ASN tables as MMDB, with the fields of GeoLite2-ASN: `autonomous_system_number` and
//! `autonomous_system_organization`.
//!
//! Source: MaxMind DB file format specification 2.0.

use hashbrown::HashMap;
use maxminddb::geoip2::Asn;
use maxminddb::{MaxMindDbError, Reader, WithinOptions};

use super::{AsnTable, Builder};
use crate::intel::error::IntelError;
use crate::intel::table_file::TableFile;

/// Errors: [`IntelError`].
pub(super) fn parse(file: &TableFile) -> Result<AsnTable, IntelError> {
    let (reader, date) = file.database()?;
    let mut builder = Builder::default();
    read_networks(&reader, &mut builder).map_err(|source| file.damaged(source))?;
    if builder.systems.is_empty() {
        return Err(IntelError::AnotherDatabase {
            path: file.path.clone(),
            kind: reader.metadata().database_type.clone(),
            field: "autonomous_system_number",
            expected: "autonomous systems",
        });
    }
    Ok(builder.finish(file, date))
}

/// Networks share their data records, so each record is decoded once.
fn read_networks(reader: &Reader<&[u8]>, builder: &mut Builder) -> Result<(), MaxMindDbError> {
    let mut known: HashMap<usize, Option<u32>> = HashMap::new();
    for network in reader.networks(WithinOptions::default())? {
        let network = network?;
        let Some(offset) = network.offset() else {
            continue;
        };
        let system = match known.get(&offset) {
            Some(system) => *system,
            None => {
                let asn: Option<Asn<'_>> = network.decode()?;
                let system = asn.and_then(|asn| {
                    let name = asn.autonomous_system_organization.unwrap_or_default();
                    let number = asn.autonomous_system_number.filter(|number| *number != 0)?;
                    Some(builder.system(number, name))
                });
                known.insert(offset, system);
                system
            }
        };
        if let Some(system) = system {
            let network = network.network()?;
            // The first and last address of a network are of one family and in order.
            let added = builder
                .rows
                .add(network.network(), network.broadcast(), system, 0);
            debug_assert_eq!(added, Ok(()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
