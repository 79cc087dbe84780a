//! Field lines of a head or of trailers, up to the empty line that ends them, read byte by byte in
//! constant memory: of a line, as much is kept as tells whether it frames a body.

use super::Violation;

/// A field section being read.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    place: Place,
    word: [u8; WORD_BYTES],
    /// Of the whole name or value; `word` holds its first bytes.
    word_bytes: usize,
    /// Bytes of the value up to its last that is not white space.
    value_bytes: usize,
    kind: Kind,
    lines: usize,
    found: Found,
}

/// What a field section says of framing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    pub(super) content_length: Option<u64>,
    pub(super) transfer_encoding: Option<ChunkedOnly>,
    pub(super) upgrade: Option<Upgrade>,
}

/// `Transfer-Encoding: chunked`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkedOnly;

/// An `Upgrade` field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upgrade;

#[derive(Clone, Copy, Debug)]
enum Place {
    LineStart,
    Name,
    ValueStart,
    Value,
    /// After the CR of a line.
    LineEnd,
    /// After the CR of the empty line.
    SectionEnd,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    ContentLength,
    TransferEncoding,
    Upgrade,
    Other,
}

impl Fields {
    pub(super) const fn new() -> Self {
        Self {
            place: Place::LineStart,
            word: [0; WORD_BYTES],
            word_bytes: 0,
            value_bytes: 0,
            kind: Kind::Other,
            lines: 0,
            found: Found {
                content_length: None,
                transfer_encoding: None,
                upgrade: None,
            },
        }
    }

    /// Reads on, to the end of the section. Errors: how many bytes were good, and what is wrong.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        most_lines: usize,
    ) -> Result<(usize, Option<Found>), (usize, Violation)> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at).copied() {
            match self.step(byte, most_lines) {
                Ok(None) => at += 1,
                Ok(Some(found)) => return Ok((at + 1, Some(found))),
                Err(violation) => return Err((at, violation)),
            }
            // Most bytes of a head are values that nobody here asks for.
            if let (Place::Value, Kind::Other) = (self.place, self.kind) {
                let rest = bytes.get(at..).unwrap_or_default();
                let plain = rest.iter().position(|byte| !is_value(*byte));
                at += plain.unwrap_or(rest.len());
            }
        }
        Ok((at, None))
    }

    fn step(&mut self, byte: u8, most_lines: usize) -> Result<Option<Found>, Violation> {
        match (self.place, byte) {
            (Place::LineStart, b'\r') => self.place = Place::SectionEnd,
            (Place::LineStart, b' ' | b'\t') => return Err(Violation::Fold),
            (Place::LineStart | Place::Name, byte) if is_token(byte) => {
                if let Place::LineStart = self.place {
                    self.lines += 1;
                    if self.lines > most_lines {
                        return Err(Violation::TooManyFields);
                    }
                    self.place = Place::Name;
                }
                self.keep(byte.to_ascii_lowercase());
            }
            (Place::Name, b':') => {
                self.kind = match self.kept() {
                    b"content-length" => Kind::ContentLength,
                    b"transfer-encoding" => Kind::TransferEncoding,
                    b"upgrade" => Kind::Upgrade,
                    // What CGI's way of naming header fields takes for the two above.
                    b"content_length" | b"transfer_encoding" => return Err(Violation::FieldName),
                    _ => Kind::Other,
                };
                self.word_bytes = 0;
                self.value_bytes = 0;
                self.place = Place::ValueStart;
            }
            (Place::Name, b' ' | b'\t') => return Err(Violation::SpaceBeforeColon),
            (Place::LineStart | Place::Name, b'\n') => return Err(Violation::BareLf),
            (Place::Name, b'\r') | (Place::LineStart | Place::Name, _) => {
                return Err(Violation::FieldName);
            }
            (Place::ValueStart, b' ' | b'\t') => {}
            (Place::ValueStart | Place::Value, b'\r') => self.place = Place::LineEnd,
            (Place::ValueStart | Place::Value, b'\n') => return Err(Violation::BareLf),
            (Place::ValueStart | Place::Value, byte) if is_value(byte) => {
                self.place = Place::Value;
                self.keep(byte.to_ascii_lowercase());
                if byte != b' ' && byte != b'\t' {
                    self.value_bytes = self.word_bytes;
                }
            }
            (Place::ValueStart | Place::Value, _) => return Err(Violation::FieldValue),
            (Place::LineEnd, b'\n') => {
                self.end_line()?;
                self.place = Place::LineStart;
            }
            (Place::SectionEnd, b'\n') => return Ok(Some(self.found)),
            (Place::LineEnd | Place::SectionEnd, _) => return Err(Violation::BareCr),
        }
        Ok(None)
    }

    fn end_line(&mut self) -> Result<(), Violation> {
        let value = self.word.get(..self.value_bytes);
        match self.kind {
            Kind::Other => {}
            Kind::Upgrade => self.found.upgrade = Some(Upgrade),
            Kind::ContentLength => {
                if self.found.content_length.is_some() {
                    return Err(Violation::ContentLengths);
                }
                let length = value.and_then(decimal).ok_or(Violation::ContentLength)?;
                self.found.content_length = Some(length);
            }
            Kind::TransferEncoding => {
                if self.found.transfer_encoding.is_some() || value != Some(b"chunked") {
                    return Err(Violation::TransferEncoding);
                }
                self.found.transfer_encoding = Some(ChunkedOnly);
            }
        }
        self.word_bytes = 0;
        Ok(())
    }

    fn keep(&mut self, byte: u8) {
        if let Some(place) = self.word.get_mut(self.word_bytes) {
            *place = byte;
        }
        self.word_bytes = self.word_bytes.saturating_add(1);
    }

    /// The word, if it is short enough to be one that matters.
    fn kept(&self) -> &[u8] {
        self.word.get(..self.word_bytes).unwrap_or_default()
    }
}

/// Digits only; no sign, no list. Nineteen of them always fit.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `tchar` (RFC 9110 section 5.6.2).
pub(super) const fn is_token(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`'
            | b'|' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z'
    )
}

/// `field-vchar`, space and tab (RFC 9110 section 5.5).
pub(super) const fn is_value(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// Longer than the names that matter, than `chunked`, and than any length.
const WORD_BYTES: usize = 24;
