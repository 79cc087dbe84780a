//! Finds a record again, from the end of the file and in constant memory: what is asked for is
//! mostly recent, and the file may be larger than memory. Compressed files are read through.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::lines::Lines;
use super::record::{Event, Record, RequestRecord};
use super::rotation::{COMPRESSED, directory, stamp, with_suffix};
use crate::words::clock::Wall;

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

/// The last request of this id, or `None`: in the log, else in the files that were rotated from it
/// (`audit.jsonl-20261125T143000Z.gz`, `audit.jsonl.1`), newest first. A last line without its end
/// is passed over.
///
/// Errors: what could not be read, where it is not found in the rest.
pub fn request(path: &Path, request_id: &str) -> Result<Option<Found>, SearchError> {
    let wanted = Wanted::new(request_id);
    let mut problem = None;
    // The log is opened before its directory is listed, so that no rotation slips between them.
    let mut next = Some(path.to_owned());
    let mut older = None;
    while let Some(file) = next {
        match wanted.last_in(&file) {
            Ok(Some(found)) => return Ok(Some(found)),
            Ok(None) => {}
            Err(error) => {
                problem.get_or_insert(error);
            }
        }
        let older = older.get_or_insert_with(|| rotated(path).into_iter());
        next = older.next();
    }
    problem.map_or(Ok(None), Err)
}

/// Number of the last whole record of the log, or of the newest rotated file that has one.
///
/// Errors: the log cannot be read.
pub fn last_sequence(path: &Path) -> io::Result<Option<u64>> {
    if let Some(last) = last_sequence_in(path)? {
        return Ok(Some(last));
    }
    // A rotated file that cannot be read has no more to say than one that is gone.
    let older = rotated(path);
    Ok((older.iter()).find_map(|file| last_sequence_in(file).ok().flatten()))
}

fn last_sequence_in(path: &Path) -> io::Result<Option<u64>> {
    #[derive(serde::Deserialize)]
    struct Sequence {
        seq: u64,
    }
    let sequence = |line: &[u8]| {
        serde_json::from_slice(line)
            .ok()
            .map(|Sequence { seq }| seq)
    };
    if !is_compressed(path) {
        for line in LinesFromEnd::new(File::open(path)?)? {
            if let Some(last) = sequence(&line?) {
                return Ok(Some(last));
            }
        }
        return Ok(None);
    }
    let mut last = None;
    for line in Lines::open(path)? {
        last = sequence(&line?).or(last);
    }
    Ok(last)
}

/// A request's id, and how it stands in a line.
struct Wanted<'a> {
    request_id: &'a str,
    needle: String,
}

impl<'a> Wanted<'a> {
    fn new(request_id: &'a str) -> Self {
        // Quoting by serde_json, so that an odd argument finds nothing instead of something else.
        let quoted = serde_json::to_string(request_id).unwrap_or_default();
        Self {
            request_id,
            needle: format!("\"request_id\":{quoted}"),
        }
    }

    /// The last of a file: from its end, or, of a compressed one, through all of it.
    fn last_in(&self, path: &Path) -> Result<Option<Found>, SearchError> {
        let unreadable = |source| SearchError::Io {
            path: path.to_owned(),
            source,
        };
        let mut problem = None;
        let mut last = None;
        if is_compressed(path) {
            for line in Lines::open(path).map_err(unreadable)? {
                match self.found(&line.map_err(unreadable)?) {
                    Ok(found) => last = found.or(last),
                    Err(source) => problem = Some(source),
                }
            }
        } else {
            let file = match File::open(path) {
                // Compressed between the listing and now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let compressed = with_suffix(path, COMPRESSED);
                    return match compressed.exists() {
                        true => self.last_in(&compressed),
                        false => Err(unreadable(error)),
                    };
                }
                file => file.map_err(unreadable)?,
            };
            for line in LinesFromEnd::new(file).map_err(unreadable)? {
                match self.found(&line.map_err(unreadable)?) {
                    Ok(None) => {}
                    Ok(found) => {
                        last = found;
                        break;
                    }
                    Err(source) => problem = problem.or(Some(source)),
                }
            }
        }
        match (last, problem) {
            (Some(found), _) => Ok(Some(found)),
            (None, None) => Ok(None),
            (None, Some(source)) => Err(SearchError::Form {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// The request, if this line is its record.
    ///
    /// Errors: the line has the id and not the form; it may be another kind of record about it.
    fn found(&self, line: &[u8]) -> Result<Option<Found>, serde_json::Error> {
        if !contains(line, self.needle.as_bytes()) {
            return Ok(None);
        }
        let record: Record = serde_json::from_slice(line)?;
        // A header's value may hold the same text; only the record's own id counts.
        match &record.event {
            Event::Request(request) if request.request_id == self.request_id => {
                let request = (**request).clone();
                Ok(Some(Found { record, request }))
            }
            _ => Ok(None),
        }
    }
}

/// Files that botguard, logrotate and its like made of this one, last written first. Of one that is
/// there twice, since compressing it was cut off, only the plain one.
fn rotated(path: &Path) -> Vec<PathBuf> {
    let Some(name) = path.file_name() else {
        return Vec::new();
    };
    let written = |other: &Path| {
        if let Some(at) = stamp(path, other) {
            return Some(at);
        }
        let rest = (other.file_name()?.as_encoded_bytes()).strip_prefix(name.as_encoded_bytes())?;
        let rest = rest.strip_suffix(COMPRESSED.as_bytes()).unwrap_or(rest);
        let is_rotated = matches!(rest.first(), Some(b'.' | b'-'))
            && rest.last().is_some_and(u8::is_ascii_digit);
        let modified = is_rotated.then(|| std::fs::metadata(other).ok()?.modified().ok())??;
        let since_epoch = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some(Wall::default().after(since_epoch))
    };
    // A directory that cannot be listed has nothing to offer; the log itself was tried.
    let entries = std::fs::read_dir(directory(path))
        .into_iter()
        .flatten()
        .flatten();
    let mut files: Vec<_> = entries
        .map(|entry| entry.path())
        .filter_map(|other| Some((written(&other)?, other)))
        .collect();
    files.sort_unstable_by(|one, other| other.cmp(one));
    let names: HashSet<_> = files.iter().map(|(_, file)| file.clone()).collect();
    (files.into_iter())
        .map(|(_written, file)| file)
        .filter(|file| !(is_compressed(file) && names.contains(&file.with_extension(""))))
        .collect()
}

fn is_compressed(path: &Path) -> bool {
    path.as_os_str()
        .as_encoded_bytes()
        .ends_with(COMPRESSED.as_bytes())
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
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::audit::record;
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

    fn line(request_id: &str, status: u16) -> Vec<u8> {
        let mut request = record::tests::request(request_id);
        request.http.status = Some(status);
        let record = Record {
            v: record::VERSION,
            seq: 0,
            ts: record::Timestamp(Wall::from_unix_ms(0)),
            event: Event::Request(Box::new(request)),
        };
        record.to_line().unwrap()
    }

    #[test]
    fn rotated_files_are_searched_after_the_log_itself() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("audit.jsonl");
        let write = |name: &str, id: &str, status| {
            std::fs::write(directory.path().join(name), line(id, status)).unwrap();
        };
        write("audit.jsonl.1", "r1", 201);
        write("audit.jsonl-20261123", "r2", 202);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder
            .write_all(&[line("r0", 200), line("r3", 103), line("r3", 203)].concat())
            .unwrap();
        let zipped = encoder.finish().unwrap();
        std::fs::write(directory.path().join("audit.jsonl.2.gz"), &zipped).unwrap();
        std::fs::write(
            directory.path().join("audit.jsonl-20261125T143000Z.gz"),
            "cut off",
        )
        .unwrap();
        write("audit.jsonl-20261125T143000Z", "r5", 205);
        write("other.jsonl.1", "r4", 204);
        let status =
            |id: &str| request(&log, id).map(|it| it.and_then(|it| it.request.http.status));
        assert_eq!(status("r1").unwrap(), Some(201));
        assert!(matches!(status("r6"), Err(SearchError::Io { .. })));
        write("audit.jsonl", "r1", 200);
        assert_eq!(status("r1").unwrap(), Some(200));
        assert_eq!(status("r2").unwrap(), Some(202));
        assert_eq!(status("r3").unwrap(), Some(203));
        assert_eq!(status("r5").unwrap(), Some(205));
        assert_eq!(status("r6").unwrap(), None);
        assert_eq!(status("r4").unwrap(), None);
    }

    #[test]
    fn a_record_of_another_version_does_not_hide_the_request() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("audit.jsonl");
        let strange = b"{\"v\":2,\"kind\":\"moon\",\"request_id\":\"r1\"}\n";
        std::fs::write(&log, strange).unwrap();
        assert!(matches!(request(&log, "r1"), Err(SearchError::Form { .. })));
        std::fs::write(&log, [&line("r1", 200), &strange[..]].concat()).unwrap();
        assert!(request(&log, "r1").unwrap().is_some());
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
