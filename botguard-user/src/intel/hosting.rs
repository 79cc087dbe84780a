//! Which autonomous systems rent out machines.

use std::path::Path;
use std::sync::Arc;

use hashbrown::HashSet;

use super::asn_table::as_number;
use super::error::{IntelError, RowProblem, read};
use super::table_file::modified;
use crate::words::clock::Wall;
use crate::words::data_file::{DataFile, file_name};

/// A list of AS numbers.
#[derive(Clone, Debug)]
pub struct HostingList {
    name: Arc<str>,
    /// When the file was last modified; none of the built-in one.
    date: Option<Wall>,
    numbers: HashSet<u32>,
}

impl HostingList {
    /// The list that is part of the program; its file says how it was made.
    #[must_use]
    pub fn built_in() -> Self {
        let numbers = parse(BUILT_IN)
            // The text is part of the build, and a test parses it.
            .expect("the built-in list has one AS number a line");
        Self {
            name: Arc::from("built-in"),
            date: None,
            numbers,
        }
    }

    /// The operator's list: one AS number a line, `16509` or `AS16509`; `#` starts a comment.
    ///
    /// Errors: [`IntelError`], naming file and line.
    pub fn load(path: &Path) -> Result<Self, IntelError> {
        let at = |line, problem| IntelError::Row {
            path: path.to_owned(),
            line,
            problem,
        };
        let content = String::from_utf8(read(path)?)
            .map_err(|_cause| at(1, RowProblem::Text("one AS number a line")))?;
        let numbers = parse(&content).map_err(|(line, problem)| at(line, problem))?;
        Ok(Self {
            name: Arc::from(file_name(path)),
            date: Some(modified(path)?),
            numbers,
        })
    }

    /// `built-in`, or the file's name.
    #[must_use]
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// As `botguard status` shows it.
    #[must_use]
    pub fn file(&self) -> DataFile {
        DataFile {
            kind: "hosting".to_owned(),
            name: self.name.to_string(),
            n_entries: self.numbers.len(),
            date: self.date,
        }
    }

    /// Whether the list names the system.
    #[must_use]
    pub fn contains(&self, number: u32) -> bool {
        self.numbers.contains(&number)
    }
}

fn parse(text: &str) -> Result<HashSet<u32>, (u64, RowProblem)> {
    (1..)
        .zip(text.lines())
        .map(|(line, text)| {
            (
                line,
                text.split_once('#')
                    .map_or(text, |(it, _comment)| it)
                    .trim(),
            )
        })
        .filter(|(_line, text)| !text.is_empty())
        .map(|(line, text)| as_number(text).map_err(|problem| (line, problem)))
        .collect()
}

const BUILT_IN: &str = include_str!("../../data/hosting-asns.txt");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_list_names_hosting_and_nothing_else() {
        let list = HostingList::built_in();
        let check = |number, expected| assert_eq!(list.contains(number), expected, "AS{number}");
        for hosting in [
            16_509, 14_618, 8_075, 24_940, 16_276, 14_061, 63_949, 20_473,
        ] {
            check(hosting, true);
        }
        // Transit, a CDN with a VPN for people, and people at home.
        for other in [174, 13_335, 7_922, 3_320, 701] {
            check(other, false);
        }
        assert!((40..120).contains(&list.numbers.len()));
    }

    #[test]
    fn lists_are_read_or_refused_by_line() {
        let check = |text: &str, expected: Result<&[u32], &str>| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("hosting.txt");
            std::fs::write(&path, text).unwrap();
            match (HostingList::load(&path), expected) {
                (Ok(list), Ok(numbers)) => {
                    assert_eq!(list.numbers, numbers.iter().copied().collect(), "{text}");
                    assert_eq!(&**list.name(), "hosting.txt");
                }
                (Err(error), Err(part)) => {
                    assert!(error.to_string().contains(part), "{error}");
                }
                (found, expected) => panic!("{text}: {found:?}, expected {expected:?}"),
            }
        };
        check(
            "16509\nAS14618 # Amazon\n\n  # note\nas5\n",
            Ok(&[16_509, 14_618, 5]),
        );
        check("", Ok(&[]));
        check(
            "16509\nAmazon\n",
            Err("hosting.txt:2: `Amazon` is not an AS number"),
        );
        check("16509,14618\n", Err("hosting.txt:1: `16509,14618` is not"));
        check("AS-5\n", Err("hosting.txt:1: `AS-5` is not"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = HostingList::load(Path::new("no/such/list.txt")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("no/such/list.txt: cannot be read")
        );
    }
}
