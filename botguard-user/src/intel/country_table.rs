//! Which country an address is used in, as a table says: CSV rows `start,end,country` or an MMDB with
//! the fields of GeoLite2-Country, told apart by content. Where people are is not known from it.

use std::net::IpAddr;
use std::path::Path;

use hashbrown::HashMap;
use maxminddb::geoip2;
use maxminddb::{MaxMindDbError, Reader, WithinOptions};

use super::asn_table::address;
use super::error::{IntelError, RowProblem};
use super::ranges::{BothRanges, Rows};
use super::table_file::{RowShape, TableFile};
use crate::engine::facts::Country;
use crate::words::clock::Wall;
use crate::words::data_file::{DataFile, file_name};

/// Ranges of addresses and their countries.
#[derive(Debug)]
pub struct CountryTable {
    ranges: BothRanges,
    countries: Vec<Country>,
    file: DataFile,
    warning: Option<String>,
}

impl CountryTable {
    /// Reads a CSV or an MMDB.
    ///
    /// Errors: [`IntelError`], naming file and line.
    pub fn load(path: &Path) -> Result<Self, IntelError> {
        let file = TableFile::read(path)?;
        if file.is_database() {
            from_database(&file)
        } else {
            from_rows(&file)
        }
    }

    /// The country of `ip`, which is canonical. Cost: no allocation.
    #[must_use]
    pub fn find(&self, ip: IpAddr) -> Option<Country> {
        let place = self.ranges.find(ip)?;
        self.countries.get(place as usize).copied()
    }

    /// As `botguard status` shows it.
    #[must_use]
    pub const fn file(&self) -> &DataFile {
        &self.file
    }

    /// Which rows overlap, if any do.
    #[must_use]
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }
}

/// A table while it is read.
#[derive(Default)]
struct Builder {
    rows: Rows,
    countries: Vec<Country>,
    places: HashMap<Country, u32>,
}

impl Builder {
    fn place(&mut self, country: Country) -> u32 {
        let countries = &mut self.countries;
        *self.places.entry(country).or_insert_with(|| {
            // Two letters: 676 at most.
            let place = u32::try_from(countries.len()).unwrap_or(u32::MAX);
            countries.push(country);
            place
        })
    }

    fn finish(self, file: &TableFile, date: Wall) -> CountryTable {
        let ranges = self.rows.sorted();
        CountryTable {
            warning: ranges.warning(&file.path),
            file: DataFile {
                kind: "country".to_owned(),
                name: file_name(&file.path),
                n_entries: ranges.len(),
                date: Some(date),
            },
            ranges,
            countries: self.countries,
        }
    }
}

const SHAPE: RowShape<3> = RowShape {
    expected: "`start,end,country` as in `192.0.2.0,192.0.2.255,DE`, or an MMDB",
    n_with_digits: 2,
};

fn from_rows(file: &TableFile) -> Result<CountryTable, IntelError> {
    let mut builder = Builder::default();
    file.each_row(SHAPE, |[start, end, code], line| {
        let (start, end) = (address(start)?, address(end)?);
        let code = code.trim();
        if NOWHERE.contains(&code) {
            return Ok(());
        }
        let country = Country::parse(code).ok_or_else(|| RowProblem::Country(code.to_owned()))?;
        let place = builder.place(country);
        builder.rows.add(start, end, place, line)
    })?;
    if builder.countries.is_empty() {
        return Err(IntelError::Empty {
            path: file.path.clone(),
            expected: "rows of `start,end,country`, or an MMDB",
        });
    }
    Ok(builder.finish(file, file.date))
}

/// How tables write that a range belongs to no country.
const NOWHERE: [&str; 4] = ["", "-", "None", "ZZ"];

fn from_database(file: &TableFile) -> Result<CountryTable, IntelError> {
    let (reader, date) = file.database()?;
    let mut builder = Builder::default();
    read_networks(&reader, &mut builder).map_err(|source| file.damaged(source))?;
    if builder.countries.is_empty() {
        return Err(IntelError::AnotherDatabase {
            path: file.path.clone(),
            kind: reader.metadata().database_type.clone(),
            field: "country.iso_code",
            expected: "countries",
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
        let place = match known.get(&offset) {
            Some(place) => *place,
            None => {
                let record: Option<geoip2::Country<'_>> = network.decode()?;
                let place = record
                    // Where it is used; else where it is registered.
                    .and_then(|it| it.country.iso_code.or(it.registered_country.iso_code))
                    .and_then(Country::parse)
                    .map(|country| builder.place(country));
                known.insert(offset, place);
                place
            }
        };
        if let Some(place) = place {
            let network = network.network()?;
            // The first and last address of a network are of one family and in order.
            let added = (builder.rows).add(network.network(), network.broadcast(), place, 0);
            debug_assert_eq!(added, Ok(()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::intel::table_file::example::{database, map, number, text};

    fn file(content: &[u8]) -> TableFile {
        TableFile {
            path: "data/country.csv".into(),
            content: content.to_vec(),
            date: Wall::from_unix_ms(1_781_654_400_000),
        }
    }

    fn found(table: &CountryTable, ip: &str) -> Option<String> {
        table.find(ip.parse().unwrap()).map(|it| it.to_string())
    }

    #[test]
    fn rows_are_found_again() {
        let check = |text: &str, ip: &str, expected: Option<&str>| {
            let table = from_rows(&file(text.as_bytes())).unwrap();
            assert_eq!(found(&table, ip).as_deref(), expected, "{text}");
        };
        let rows = "1.0.0.0,1.0.0.255,AU\n2001:db8::,2001:db8::ffff,de\n9.0.0.0,9.0.0.1,ZZ\n";
        for text in [
            rows,
            &format!("start,end,country\n{rows}"),
            &rows.replace('\n', "\r\n"),
        ] {
            check(text, "1.0.0.7", Some("AU"));
            check(text, "1.0.1.0", None);
            check(text, "2001:db8::7", Some("DE"));
            check(text, "2001:db9::", None);
            check(text, "9.0.0.0", None);
        }
        let table = from_rows(&file(rows.as_bytes())).unwrap();
        assert_eq!(
            (table.file().n_entries, table.file().name.as_str()),
            (2, "country.csv")
        );
        assert_eq!(
            table.file().date,
            Some(Wall::from_unix_ms(1_781_654_400_000))
        );
        assert_eq!(table.warning(), None);
        let overlapping = "1.0.0.0,1.0.0.255,AU\n1.0.0.7,1.0.0.8,NZ\n";
        let table = from_rows(&file(overlapping.as_bytes())).unwrap();
        assert!(
            table
                .warning()
                .is_some_and(|it| it.contains("country.csv:2: "))
        );
        assert_eq!(found(&table, "1.0.0.7").as_deref(), Some("NZ"));
    }

    #[test]
    fn errors_name_file_and_line() {
        let check = |text: &[u8], expected: &str| {
            let message = from_rows(&file(text)).unwrap_err().to_string();
            let expected = format!("data/country.csv{expected}");
            assert!(message.starts_with(&expected), "{message}");
        };
        check(b"", ": is empty; expected rows of `start,end,country`");
        check(b"start,end,country\n", ": is empty");
        check(
            b"1.0.0.0,1.0.0.1,AU\n2.0.0.0,2.0.0.1,Germany",
            ":2: `Germany` is not a country",
        );
        check(
            b"1.0.0.0,1.0.0.1,5,AU\n",
            ":1: has 4 fields; expected `start,end,country`",
        );
        check(
            b"1.0.0.0,::1,AU\n",
            ":1: the range starts and ends in different",
        );
        check(
            b"\xff\xfe,a,b\n",
            ":1: is not UTF-8 text; expected `start,end,country`",
        );
    }

    proptest! {
        #[test]
        fn any_octets_are_answered(
            content in prop::collection::vec(any::<u8>(), 0..200),
            bits in prop::collection::vec(0_u8..2, 1..8),
        ) {
            let _answered = (from_rows(&file(&content)), from_database(&file(&content)));
            let _answered = from_database(&file(&database(&bits, &content, 0)));
        }
    }

    #[test]
    fn databases_are_read_by_use_and_else_by_registration() {
        let country = |code: &str| map(&[("iso_code", text(code))]);
        let parse = |data: &[u8]| from_database(&file(&database(&[1, 0, 1, 0], data, 60_000)));
        let check = |data: &[u8], expected: &str| {
            let table = parse(data).unwrap();
            assert_eq!(found(&table, "160.0.0.1").as_deref(), Some(expected));
            assert_eq!(found(&table, "176.0.0.0"), None);
            assert_eq!(table.file().date, Some(Wall::from_unix_ms(60_000_000)));
        };
        check(&map(&[("country", country("DE"))]), "DE");
        check(&map(&[("registered_country", country("FR"))]), "FR");
        let both = [
            ("country", country("DE")),
            ("registered_country", country("FR")),
        ];
        check(&map(&both), "DE");
        let systems = map(&[("autonomous_system_number", number(5))]);
        let message = parse(&systems).unwrap_err().to_string();
        assert!(
            message.contains("without `country.iso_code`; expected one of countries"),
            "{message}"
        );
    }
}
