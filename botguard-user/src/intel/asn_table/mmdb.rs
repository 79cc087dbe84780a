//! ASN tables as MMDB, with the fields of GeoLite2-ASN: `autonomous_system_number` and
//! `autonomous_system_organization`.
//!
//! Source: MaxMind DB file format specification 2.0.

use std::path::Path;

use hashbrown::HashMap;
use maxminddb::geoip2::Asn;
use maxminddb::{MaxMindDbError, Reader, WithinOptions};

use super::{AsnTable, Builder};
use crate::intel::error::IntelError;
use crate::words::clock::Wall;

/// Whether the content has the marker of an MMDB's metadata, which stands in its last 128 KiB.
pub(super) fn is_database(content: &[u8]) -> bool {
    let tail = &content[content.len().saturating_sub(128 * 1_024)..];
    tail.windows(METADATA_MARKER.len())
        .any(|window| window == METADATA_MARKER)
}

/// Errors: [`IntelError`].
pub(super) fn parse(path: &Path, content: &[u8], date: Wall) -> Result<AsnTable, IntelError> {
    let damaged = |source| IntelError::Database {
        path: path.to_owned(),
        source,
    };
    let reader = Reader::from_source(content).map_err(damaged)?;
    let mut builder = Builder::new();
    read_networks(&reader, &mut builder).map_err(damaged)?;
    if builder.systems.is_empty() {
        return Err(IntelError::NotOfSystems {
            path: path.to_owned(),
            kind: reader.metadata().database_type.clone(),
        });
    }
    Ok(builder.finish(path, date))
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
            let added = builder.add(network.network(), network.broadcast(), system, 0);
            debug_assert_eq!(added, Ok(()));
        }
    }
    Ok(())
}

const METADATA_MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

#[cfg(test)]
mod tests;
