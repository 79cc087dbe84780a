//! Reads a log file from its start, line by line, compressed or not, in constant memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

/// Whole lines without their line feeds. A last line without its end is left out: it was never
/// finished.
pub struct Lines {
    reader: Box<dyn BufRead>,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lines")
    }
}

impl Lines {
    /// Those of a file, which may be compressed by gzip.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::of(BufReader::with_capacity(BUFFER_BYTES, File::open(path)?))
    }

    /// Those of any input, which may be compressed by gzip.
    pub fn of(mut reader: impl BufRead + 'static) -> io::Result<Self> {
        let is_compressed = reader.fill_buf()?.starts_with(&GZIP_MAGIC);
        let reader: Box<dyn BufRead> = if is_compressed {
            Box::new(BufReader::with_capacity(
                BUFFER_BYTES,
                MultiGzDecoder::new(reader),
            ))
        } else {
            Box::new(reader)
        };
        Ok(Self { reader })
    }

    fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        (&mut self.reader)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)?;
        match line.pop() {
            Some(b'\n') => Ok(Some(line)),
            Some(_) if line.len() as u64 + 1 == MAX_LINE_BYTES => {
                let message = "a line of more than 4 MiB, which no audit log has";
                Err(io::Error::new(io::ErrorKind::InvalidData, message))
            }
            _ => Ok(None),
        }
    }
}

impl Iterator for Lines {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_line().transpose()
    }
}

/// RFC 1952 section 2.3.1.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

const BUFFER_BYTES: usize = 64 * 1024;

/// A record is about 3 KiB; the edge bounds heads, and so records, to far less than this.
const MAX_LINE_BYTES: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn zipped(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn lines_come_whole_from_plain_and_compressed_files() {
        let check = |bytes: Vec<u8>, expected: &[&str]| {
            let lines = Lines::of(Cursor::new(bytes)).unwrap();
            let lines: Vec<_> = lines
                .map(|line| String::from_utf8(line.unwrap()).unwrap())
                .collect();
            assert_eq!(lines, expected);
        };
        check(b"".to_vec(), &[]);
        check(b"a\nb\ntorn".to_vec(), &["a", "b"]);
        check(zipped("a\nb\ntorn"), &["a", "b"]);
        // Files that were put one behind the other.
        check([zipped("a\n"), zipped("b\n")].concat(), &["a", "b"]);
    }

    #[test]
    fn damage_is_an_error_and_memory_is_bounded() {
        let failure = |bytes: Vec<u8>| {
            Lines::of(Cursor::new(bytes))
                .unwrap()
                .find_map(Result::err)
                .map(|error| error.kind())
        };
        let whole = zipped(&"line\n".repeat(10_000));
        assert_eq!(failure(whole.clone()), None);
        let cut = whole[..whole.len() / 2].to_vec();
        assert_eq!(failure(cut), Some(io::ErrorKind::UnexpectedEof));
        // 8 MiB in 8 KiB.
        let bomb = zipped(&"x".repeat(8 << 20));
        assert_eq!(failure(bomb), Some(io::ErrorKind::InvalidData));
    }
}
