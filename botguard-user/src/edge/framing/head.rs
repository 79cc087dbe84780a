//! A request's head: its request line, then its fields.

use super::fields::{Fields, is_token};
use super::{HeadLimits, Next, Violation};

/// A head being read.
#[derive(Clone, Debug)]
pub(super) struct Head {
    place: Place,
    /// Of the head, empty lines before it included.
    bytes: usize,
    /// Of the method, the target or the version.
    word_bytes: usize,
    minor: u8,
    fields: Fields,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// Empty lines before the request line do not count (RFC 9112 section 2.2).
    Before,
    /// After the CR of one.
    BeforeCr,
    Method,
    Target,
    Version,
    LineEnd,
    Fields,
}

impl Head {
    pub(super) const fn new() -> Self {
        Self {
            place: Place::Before,
            bytes: 0,
            word_bytes: 0,
            minor: b'1',
            fields: Fields::new(),
        }
    }

    /// Whether a byte of its request line was read.
    pub(super) const fn has_begun(&self) -> bool {
        !matches!(self.place, Place::Before | Place::BeforeCr)
    }

    /// Whether nothing is left to be known of what was read: at most empty lines, and whole ones.
    pub(super) const fn is_blank(&self) -> bool {
        matches!(self.place, Place::Before)
    }

    /// Reads on, to the end of the head. Errors: how many bytes were good, and what is wrong.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        limits: &HeadLimits,
    ) -> Result<(usize, Option<Next>), (usize, Violation)> {
        let left = limits.head_bytes.saturating_sub(self.bytes);
        let within = bytes.get(..left).unwrap_or(bytes);
        let (read, next) = self.read_within(within, limits)?;
        self.bytes += read;
        if next.is_none() && within.len() < bytes.len() {
            return Err((read, Violation::HeadTooLarge));
        }
        Ok((read, next))
    }

    fn read_within(
        &mut self,
        bytes: &[u8],
        limits: &HeadLimits,
    ) -> Result<(usize, Option<Next>), (usize, Violation)> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at).copied() {
            if let Place::Fields = self.place {
                let rest = bytes.get(at..).unwrap_or_default();
                let (read, found) = self
                    .fields
                    .read(rest, limits.fields)
                    .map_err(|(good, violation)| (at + good, violation))?;
                let Some(found) = found else {
                    return Ok((at + read, None));
                };
                let next = match (found.content_length, found.transfer_encoding) {
                    (Some(_), Some(_)) => Err(Violation::TwoFramings),
                    (None, Some(_)) if self.minor == b'0' => Err(Violation::Http10Chunked),
                    (None, Some(_)) => Ok(Next::Chunked),
                    (None | Some(0), None) if found.upgrade.is_some() => Ok(Next::Upgrade),
                    (length, None) => Ok(Next::Sized(length.unwrap_or(0))),
                };
                return match next {
                    Ok(next) => Ok((at + read, Some(next))),
                    Err(violation) => Err((at + read, violation)),
                };
            }
            self.request_line(byte, limits)
                .map_err(|violation| (at, violation))?;
            at += 1;
        }
        Ok((at, None))
    }

    fn request_line(&mut self, byte: u8, limits: &HeadLimits) -> Result<(), Violation> {
        match (self.place, byte) {
            (Place::Before, b'\r') => self.place = Place::BeforeCr,
            (Place::BeforeCr, b'\n') => self.place = Place::Before,
            (Place::BeforeCr, _) => return Err(Violation::BareCr),
            (Place::Before | Place::Method, byte) if is_token(byte) => {
                self.place = Place::Method;
                self.word_bytes += 1;
                if self.word_bytes > METHOD_BYTES {
                    return Err(Violation::RequestLine);
                }
            }
            (Place::Method, b' ') => {
                self.place = Place::Target;
                self.word_bytes = 0;
            }
            (Place::Target, b' ') if self.word_bytes > 0 => {
                self.place = Place::Version;
                self.word_bytes = 0;
            }
            (Place::Target, b'!'..=b'~' | 0x80..) => {
                self.word_bytes += 1;
                if self.word_bytes > limits.uri_bytes {
                    return Err(Violation::UriTooLong);
                }
            }
            (Place::Version, b'\r') if self.word_bytes == VERSION.len() + 1 => {
                self.place = Place::LineEnd;
            }
            (Place::Version, b'0' | b'1') if self.word_bytes == VERSION.len() => {
                self.minor = byte;
                self.word_bytes += 1;
            }
            (Place::Version, byte) if VERSION.get(self.word_bytes) == Some(&byte) => {
                self.word_bytes += 1;
            }
            (Place::LineEnd, b'\n') => self.place = Place::Fields,
            (Place::LineEnd, _) => return Err(Violation::BareCr),
            (_, b'\n') => return Err(Violation::BareLf),
            (_, _) => return Err(Violation::RequestLine),
        }
        Ok(())
    }
}

const VERSION: &[u8] = b"HTTP/1.";

/// Longer than any in IANA's registry of methods (`VERSION-CONTROL`, `UPDATEREDIRECTREF`).
const METHOD_BYTES: usize = 64;
