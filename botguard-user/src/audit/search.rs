//! Finds a record again, from the end of the file and in constant memory: what is asked for is
//! mostly recent, and the file may be larger than memory.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::record::{Event, Record, RequestRecord};

/// A request as recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The whole record, but for its event.
    pub record: Record,
    /// Its event.
    pub request: RequestRecord,
}

/// The log could not be searched.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The file cannot be read. The configuration's or the caller's fault.
    #[error("cannot read {}: {source}; `[audit] path` names the file", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The line has the id, but not the form. Written by a later version, or damaged.
    #[error("{}: the record of this request cannot be read: {source}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// The last request of this id, or `None`. A last line without its end is passed over.
pub fn request(path: &Path, request_id: &str) -> Result<Option<Found>, SearchError> {
    let unreadable = |source| SearchError::Io {
        path: path.to_owned(),
        source,
    };
    // As it stands in the line; quoting by serde_json, so that an odd argument finds nothing
    // instead of something else.
    let quoted = serde_json::to_string(request_id).unwrap_or_default();
    let needle = format!("\"request_id\":{quoted}");
    let file = File::open(path).map_err(unreadable)?;
    for line in LinesFromEnd::new(file).map_err(unreadable)? {
        let line = line.map_err(unreadable)?;
        if !contains(&line, needle.as_bytes()) {
            continue;
        }
        let record: Record = serde_json::from_slice(&line).map_err(|source| SearchError::Form {
            path: path.to_owned(),
            source,
        })?;
        // A header's value may hold the same text; only the record's own id counts.
        if let Event::Request(request) = &record.event
            && request.request_id == request_id
        {
            let request = (**request).clone();
            return Ok(Some(Found { record, request }));
        }
    }
    Ok(None)
}

/// Number of the last whole record of the file, if it has one that can be read.
pub fn last_sequence(path: &Path) -> io::Result<Option<u64>> {
    #[derive(serde::Deserialize)]
    struct Sequence {
        seq: u64,
    }
    for line in LinesFromEnd::new(File::open(path)?)? {
        if let Ok(Sequence { seq }) = serde_json::from_slice(&line?) {
            return Ok(Some(seq));
        }
    }
    Ok(None)
}

/// Whole lines, last first, without their line feeds. What follows the last line feed is a line
/// that was never finished, and left out.
struct LinesFromEnd {
    file: File,
    /// Bytes of the file not read yet, from its start.
    unread: u64,
    /// What was read and not returned; ends where a returned line began.
    tail: Vec<u8>,
    /// Whether the unfinished last line was left out already.
    torn_skipped: bool,
}

impl LinesFromEnd {
    fn new(file: File) -> io::Result<Self> {
        let unread = file.metadata()?.len();
        Ok(Self {
            file,
            unread,
            tail: Vec::new(),
            torn_skipped: false,
        })
    }

    fn read_chunk(&mut self) -> io::Result<()> {
        let len = self.unread.min(CHUNK_BYTES);
        self.unread -= len;
        self.file.seek(SeekFrom::Start(self.unread))?;
        let mut chunk = Vec::new();
        (&mut self.file).take(len).read_to_end(&mut chunk)?;
        chunk.append(&mut self.tail);
        self.tail = chunk;
        Ok(())
    }

    fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(feed) = self.tail.iter().rposition(|&byte| byte == b'\n') {
                let line = self.tail.split_off(feed + 1);
                self.tail.truncate(feed);
                let is_torn = !std::mem::replace(&mut self.torn_skipped, true);
                if !is_torn && !line.is_empty() {
                    return Ok(Some(line));
                }
            } else if self.unread > 0 {
                self.read_chunk()?;
            } else if self.torn_skipped && !self.tail.is_empty() {
                return Ok(Some(std::mem::take(&mut self.tail)));
            } else {
                return Ok(None);
            }
        }
    }
}

impl Iterator for LinesFromEnd {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_line().transpose()
    }
}

const CHUNK_BYTES: u64 = 64 * 1024;

fn contains(line: &[u8], needle: &[u8]) -> bool {
    line.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn from_end(text: &[u8]) -> Vec<Vec<u8>> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, text).unwrap();
        LinesFromEnd::new(File::open(path).unwrap())
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    #[test]
    fn lines_come_last_first_and_torn_ones_not() {
        let check = |text: &str, expected: &[&str]| {
            let expected: Vec<_> = expected
                .iter()
                .map(|line| line.as_bytes().to_vec())
                .collect();
            assert_eq!(from_end(text.as_bytes()), expected, "{text:?}");
        };
        check("", &[]);
        check("torn", &[]);
        check("a\n", &["a"]);
        check("a\nb\n", &["b", "a"]);
        check("a\n\nb\n{\"torn", &["b", "a"]);
    }

    #[test]
    fn lines_longer_than_a_chunk_are_whole() {
        let long = "x".repeat(150_000);
        let text = format!("a\n{long}\nb\n");
        assert_eq!(
            from_end(text.as_bytes()),
            [b"b".to_vec(), long.into_bytes(), b"a".to_vec()]
        );
    }

    proptest! {
        #[test]
        fn agrees_with_reading_it_all(text in "[ab\n]{0,200}") {
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            let expected: Vec<_> = whole
                .split('\n')
                .rev()
                .filter(|line| !line.is_empty())
                .map(|line| line.as_bytes().to_vec())
                .collect();
            prop_assert_eq!(from_end(text.as_bytes()), expected);
        }
    }
}
