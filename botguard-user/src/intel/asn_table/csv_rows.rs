//! ASN tables as CSV: `start,end,asn,name`, both families in one file, in any order.

use std::net::IpAddr;

use super::{AsnTable, Builder};
use crate::intel::error::{IntelError, RowProblem};
use crate::intel::table_file::{RowShape, TableFile};

const SHAPE: RowShape<4> = RowShape {
    expected: "`start,end,asn,name` as in `192.0.2.0,192.0.2.255,64496,\"Example, Inc.\"`, or an MMDB",
    n_with_digits: 3,
};

/// Errors: [`IntelError`], naming file and line.
pub(super) fn parse(file: &TableFile) -> Result<AsnTable, IntelError> {
    let mut builder = Builder::default();
    file.each_row(SHAPE, |fields, line| add_row(&mut builder, fields, line))?;
    if builder.systems.is_empty() {
        return Err(IntelError::Empty {
            path: file.path.clone(),
            expected: "rows of `start,end,asn,name`, or an MMDB",
        });
    }
    Ok(builder.finish(file, file.date))
}

/// AS 0 means that nobody announces the range (RFC 7607), so such a row is left out.
fn add_row(builder: &mut Builder, fields: [&str; 4], line: u64) -> Result<(), RowProblem> {
    let [start, end, number, name] = fields;
    let (start, end) = (address(start)?, address(end)?);
    let number = as_number(number)?;
    if number == 0 {
        return Ok(());
    }
    let system = builder.system(number, name);
    builder.rows.add(start, end, system, line)
}

pub(in crate::intel) fn address(text: &str) -> Result<IpAddr, RowProblem> {
    text.trim()
        .parse()
        .map_err(|_cause| RowProblem::Address(text.to_owned()))
}

/// `16509` or `AS16509`.
pub(in crate::intel) fn as_number(text: &str) -> Result<u32, RowProblem> {
    let digits = text.trim();
    let digits = digits
        .strip_prefix("AS")
        .or_else(|| digits.strip_prefix("as"))
        .unwrap_or(digits);
    digits
        .parse()
        .ok()
        // `parse` takes a sign.
        .filter(|_number| digits.bytes().all(|octet| octet.is_ascii_digit()))
        .ok_or_else(|| RowProblem::Number(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::words::clock::Wall;

    fn parse_text(text: &[u8]) -> Result<AsnTable, IntelError> {
        parse(&TableFile {
            path: "data/asn.csv".into(),
            content: text.to_vec(),
            date: Wall::from_unix_ms(1_781_654_400_000),
        })
    }

    #[test]
    fn rows_are_found_again() {
        let check = |text: &str, ip: &str, expected: Option<(u32, &str)>| {
            let table = parse_text(text.as_bytes()).unwrap();
            let found = table.find(ip.parse().unwrap());
            let found = found.as_ref().map(|asn| (asn.number, &*asn.name));
            assert_eq!(found, expected, "{text}");
        };
        let row = "1.0.0.0,1.0.0.255,13335,\"Cloudflare, Inc.\"\n";
        for text in [
            row,
            &format!("start,end,asn,name\n{row}"),
            &row.replace("13335", "AS13335"),
            &row.replace('\n', "\r\n"),
            &format!("2001:db8::,2001:db8::ff,5,v6\n9.0.0.0,9.0.0.9,6,v4\n{row}"),
        ] {
            check(text, "1.0.0.7", Some((13_335, "Cloudflare, Inc.")));
            check(text, "1.0.1.0", None);
        }
        check("::1,::2,5,\"a \"\"b\"\"\"", "::2", Some((5, "a \"b\"")));
        let unannounced = "0.0.0.0,0.255.255.255,0,none\n1.0.0.0,1.0.0.1,5,a";
        check(unannounced, "0.1.2.3", None);
    }

    #[test]
    fn evidence_names_file_and_date() {
        let table = parse_text(b"1.0.0.0,1.0.0.255,13335,x").unwrap();
        let asn = table.find("1.0.0.0".parse().unwrap()).unwrap();
        assert_eq!(&*asn.table, "asn.csv of 2026-06-17");
    }

    #[test]
    fn errors_name_file_and_line() {
        let check = |text: &[u8], expected: &str| {
            let message = parse_text(text).unwrap_err().to_string();
            let expected = format!("data/asn.csv{expected}");
            assert!(message.starts_with(&expected), "{message}");
        };
        check(b"", ": is empty");
        check(b"start,end,asn,name\n", ": is empty");
        check(b"1.0.0.0,1.0.0.255,AU\n", ":1: has 3 fields");
        check(b"hello world\n", ":1: has 1 fields");
        check(b"\xff\xfe\x00", ":1: is not UTF-8");
        check(
            b"16777216,16777471,13335,x\n",
            ":1: `16777216` is not an IP",
        );

        let check_second = |row: &str, expected: &str| {
            let text = format!("1.0.0.0,1.0.0.255,13335,x\n{row}\n");
            check(text.as_bytes(), &format!(":2: {expected}"));
        };
        check_second("start,end,asn,name", "`start` is not an IP address");
        check_second("2.0.0.0,2.0.0.1,AS,x", "`AS` is not an AS number");
        check_second("2.0.0.0,2.0.0.1,+5,x", "`+5` is not an AS number");
        check_second("2.0.0.0,2.0.0.1,4294967296,x", "`4294967296` is not an AS");
        check_second("2.0.0.9,2.0.0.1,5,x", "the range ends before it starts");
        check_second("2.0.0.9,::1,5,x", "the range starts and ends in different");
    }

    #[test]
    fn overlaps_are_said_and_the_later_start_counts() {
        let check = |second: &str, ip: &str, number, expected: Option<&str>| {
            let text = format!("1.0.0.0,1.0.0.255,1,a\n{second}\n::,::1,3,c\n");
            let table = parse_text(text.as_bytes()).unwrap();
            let found = table.find(ip.parse().unwrap()).map(|asn| asn.number);
            assert_eq!((found, table.warning()), (Some(number), expected));
        };
        let warning = "data/asn.csv:2: the range overlaps that of line 1, and counts where it does \
                       (1 such in all)";
        check("1.0.0.255,1.0.1.0,2,b", "1.0.0.255", 2, Some(warning));
        check("1.0.0.255,1.0.1.0,2,b", "1.0.0.254", 1, Some(warning));
        check("1.0.1.0,1.0.1.0,2,b", "1.0.0.255", 1, None);
    }

    proptest! {
        #[test]
        fn any_octets_are_answered(content in prop::collection::vec(any::<u8>(), 0..200)) {
            let _answered: Result<AsnTable, IntelError> = parse_text(&content);
        }
    }
}
