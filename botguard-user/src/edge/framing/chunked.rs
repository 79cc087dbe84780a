//! A chunked body (RFC 9112 section 7.1), trailers included.

use super::Violation;
use super::fields::{Fields, is_value};

/// A chunked body being read.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunked {
    place: Place,
    /// Of the chunk: while its size is read, what was read of it; then, what is left of its data.
    size: u64,
    digits: usize,
    /// Of the whole body.
    extension_bytes: usize,
}

#[derive(Clone, Debug, Default)]
enum Place {
    #[default]
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The fields, and how many bytes of them were read.
    Trailers(Box<Fields>, usize),
}

impl Chunked {
    /// Reads on; the flag tells the end of the body. Errors: how many bytes were good, and what is
    /// wrong.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(usize, bool), (usize, Violation)> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at).copied() {
            let rest = bytes.get(at..).unwrap_or_default();
            match &mut self.place {
                Place::Data => {
                    let skipped =
                        usize::try_from(self.size).map_or(rest.len(), |n| n.min(rest.len()));
                    self.size -= skipped as u64;
                    at += skipped;
                    if self.size == 0 {
                        self.place = Place::DataCr;
                    }
                }
                Place::Trailers(fields, read_before) => {
                    let (read, found) =
                        fields
                            .read(rest, TRAILER_LINES)
                            .map_err(|(good, violation)| match violation {
                                Violation::TooManyFields => (at + good, Violation::Trailer),
                                other => (at + good, other),
                            })?;
                    *read_before += read;
                    at += read;
                    if *read_before > TRAILER_BYTES {
                        return Err((at, Violation::Trailer));
                    }
                    if let Some(found) = found {
                        let frames =
                            found.content_length.is_some() || found.transfer_encoding.is_some();
                        return if frames {
                            // The last byte is kept from whoever would take the body for whole.
                            Err((at.saturating_sub(1), Violation::Trailer))
                        } else {
                            Ok((at, true))
                        };
                    }
                }
                _ => {
                    self.line(byte).map_err(|violation| (at, violation))?;
                    at += 1;
                }
            }
        }
        Ok((at, false))
    }

    fn line(&mut self, byte: u8) -> Result<(), Violation> {
        match (&self.place, byte) {
            (Place::Size, b'\r') if self.digits > 0 => self.place = Place::SizeLf,
            (Place::Size, b';') if self.digits > 0 => self.place = Place::Extension,
            (Place::Size, byte) => {
                let digit = char::from(byte).to_digit(16).ok_or(Violation::ChunkSize)?;
                self.digits += 1;
                // hyper takes sixteen digits too, but no length near the end of 64 bits.
                if self.digits > SIZE_DIGITS {
                    return Err(Violation::ChunkSize);
                }
                self.size = self.size << 4 | u64::from(digit);
            }
            (Place::Extension, b'\r') => self.place = Place::SizeLf,
            (Place::Extension, byte) => {
                self.extension_bytes += 1;
                if !is_value(byte) || self.extension_bytes > EXTENSION_BYTES {
                    return Err(Violation::ChunkExtension);
                }
            }
            (Place::SizeLf, b'\n') => {
                self.digits = 0;
                self.place = if self.size == 0 {
                    Place::Trailers(Box::new(Fields::new()), 0)
                } else {
                    Place::Data
                };
            }
            (Place::SizeLf, _) => return Err(Violation::ChunkSize),
            (Place::DataCr, b'\r') => self.place = Place::DataLf,
            (Place::DataLf, b'\n') => self.place = Place::Size,
            (_, _) => return Err(Violation::ChunkEnd),
        }
        Ok(())
    }
}

/// Leading zeros included: 2^60 bytes are more than anybody sends.
const SIZE_DIGITS: usize = 15;

/// Of all chunks of a body together; nobody is known to use them.
const EXTENSION_BYTES: usize = 4 * 1_024;

/// As many as hyper reads.
const TRAILER_LINES: usize = 100;

/// hyper's own limit on trailers.
const TRAILER_BYTES: usize = 16 * 1_024;
