//! Follows a client's HTTP/1 byte stream, from head over body to the next head, and refuses what
//! two readers could read in two ways: what request smuggling is made of. Pure; constant memory.
//!
//! It is not the parser: hyper is, behind it, and is more lenient than this (it settles
//! `Content-Length` beside `Transfer-Encoding` as RFC 9112 section 6.3 allows, takes a bare LF for
//! the end of a line, and reads `5 , 5` as one length). What comes through here, hyper and any
//! application read alike. Bytes come from `watched`'s stream, which acts on what is found.
//!
//! Bodies of a known length are skipped by arithmetic; heads are read once, byte by byte.

mod chunked;
mod fields;
mod head;
pub(super) mod stand_in;
pub(super) mod watched;

use http::StatusCode;

use self::chunked::Chunked;
use self::head::Head;

/// What a head may be at most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HeadLimits {
    /// Bytes from the request line to the empty line, both included.
    pub head_bytes: usize,
    /// Bytes of the request target.
    pub uri_bytes: usize,
    /// Header lines.
    pub fields: usize,
}

/// A client's byte stream, as far as it was seen.
#[derive(Clone, Debug)]
pub struct Tracker {
    limits: HeadLimits,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Head(Head),
    Sized(u64),
    Chunked(Chunked),
    Refused(Violation),
}

/// How far [`Tracker::advance`] came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// All bytes were looked at; the stream may go on.
    All,
    /// A head ends before the byte at this place.
    HeadEnds {
        /// Bytes that were looked at.
        at: usize,
        /// What the head says of what comes after it.
        next: Next,
    },
    /// A body ends before the byte at this place.
    BodyEnds {
        /// Bytes that were looked at.
        at: usize,
    },
    /// The byte at this place cannot be there, or one that should have been before it was not.
    Refused {
        /// Bytes that were good.
        at: usize,
        /// Why.
        violation: Violation,
    },
}

/// What follows a head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// A body of so many bytes, maybe none, and then a head.
    Sized(u64),
    /// A chunked body, and then a head.
    Chunked,
    /// Nothing, until the server has said whether it switches protocols (RFC 9110 section 7.8).
    Upgrade,
}

impl Tracker {
    /// At the begin of a connection.
    #[must_use]
    pub const fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            place: Place::Head(Head::new()),
        }
    }

    /// Looks at the bytes that come next, up to the first that ends a head or a body, or cannot be
    /// there. After an end, the rest is to be given to it again; after a refusal, nothing more is
    /// read.
    pub fn advance(&mut self, bytes: &[u8]) -> Progress {
        let mut at = 0;
        loop {
            let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else {
                return Progress::All;
            };
            let refused = match &mut self.place {
                Place::Head(head) => match head.read(rest, &self.limits) {
                    Ok((read, None)) => {
                        at += read;
                        continue;
                    }
                    Ok((read, Some(next))) => {
                        at += read;
                        self.place = match next {
                            Next::Sized(length) if length > 0 => Place::Sized(length),
                            Next::Sized(_) | Next::Upgrade => Place::Head(Head::new()),
                            Next::Chunked => Place::Chunked(Chunked::default()),
                        };
                        return Progress::HeadEnds { at, next };
                    }
                    Err(refused) => refused,
                },
                Place::Sized(left) => {
                    let skipped = usize::try_from(*left).map_or(rest.len(), |n| n.min(rest.len()));
                    *left -= skipped as u64;
                    at += skipped;
                    if *left > 0 {
                        continue;
                    }
                    self.place = Place::Head(Head::new());
                    return Progress::BodyEnds { at };
                }
                Place::Chunked(chunked) => match chunked.read(rest) {
                    Ok((read, ended)) => {
                        at += read;
                        if !ended {
                            continue;
                        }
                        self.place = Place::Head(Head::new());
                        return Progress::BodyEnds { at };
                    }
                    Err(refused) => refused,
                },
                Place::Refused(violation) => (0, *violation),
            };
            let (good, violation) = refused;
            self.place = Place::Refused(violation);
            return Progress::Refused {
                at: at + good,
                violation,
            };
        }
    }

    /// Whether the next byte belongs to a head, or begins one.
    #[must_use]
    pub const fn is_in_head(&self) -> bool {
        matches!(self.place, Place::Head(_))
    }

    /// Whether a head has begun, for which empty lines before it are not enough.
    #[must_use]
    pub const fn has_begun_head(&self) -> bool {
        matches!(&self.place, Place::Head(head) if head.has_begun())
    }

    /// Whether the next byte begins a head, or an empty line before it.
    #[must_use]
    pub const fn is_between(&self) -> bool {
        matches!(&self.place, Place::Head(head) if head.is_blank())
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Violation {
    /// Not `METHOD SP target SP HTTP/1.0` or `HTTP/1.1` (RFC 9112 section 3).
    RequestLine,
    /// A target that is no URI (RFC 9112 section 3.2).
    Target,
    /// A line ends with LF alone (RFC 9112 section 2.2).
    BareLf,
    /// CR without LF (RFC 9112 section 2.2).
    BareCr,
    /// A field name that is empty or no token (RFC 9110 section 5.1).
    FieldName,
    /// White space before the colon (RFC 9112 section 5.1).
    SpaceBeforeColon,
    /// A line that begins with white space (RFC 9112 section 5.2).
    Fold,
    /// NUL or another control character in a value (RFC 9110 section 5.5).
    FieldValue,
    /// A `Content-Length` that is no decimal number (RFC 9112 section 6.3).
    ContentLength,
    /// More than one `Content-Length`, be they equal (RFC 9112 section 6.3).
    ContentLengths,
    /// A `Transfer-Encoding` that is not exactly one `chunked` (RFC 9112 section 6.1).
    TransferEncoding,
    /// `Content-Length` beside `Transfer-Encoding` (RFC 9112 section 6.1).
    TwoFramings,
    /// `Transfer-Encoding` in HTTP/1.0 (RFC 9112 section 6.1).
    Http10Chunked,
    /// A chunk's size that is not one to fifteen hexadecimal digits, or ends without CRLF (RFC 9112
    /// section 7.1).
    ChunkSize,
    /// Chunk extensions that are too long or hold control characters (RFC 9112 section 7.1.1).
    ChunkExtension,
    /// A chunk's data that is not followed by CRLF (RFC 9112 section 7.1).
    ChunkEnd,
    /// A trailer field that would frame a message (RFC 9110 section 6.5.1), or trailers that are
    /// too long.
    Trailer,
    /// The request target is longer than the listener's `max_uri_length`.
    UriTooLong,
    /// The head is longer than the listener's `max_header_size`.
    HeadTooLarge,
    /// More header lines than the listener's `max_headers`.
    TooManyFields,
    /// The head has not arrived within the listener's `header_timeout` from its first byte.
    HeadTooSlow,
}

impl Violation {
    /// Status of the answer: 400, 408, 414 or 431.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge | Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::HeadTooSlow => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The label `reason` of `botguard_requests_refused_total`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::RequestLine => "request_line",
            Self::Target => "target",
            Self::BareLf => "bare_lf",
            Self::BareCr => "bare_cr",
            Self::FieldName => "field_name",
            Self::SpaceBeforeColon => "space_before_colon",
            Self::Fold => "fold",
            Self::FieldValue => "field_value",
            Self::ContentLength => "content_length",
            Self::ContentLengths => "content_lengths",
            Self::TransferEncoding => "transfer_encoding",
            Self::TwoFramings => "two_framings",
            Self::Http10Chunked => "http10_chunked",
            Self::ChunkSize => "chunk_size",
            Self::ChunkExtension => "chunk_extension",
            Self::ChunkEnd => "chunk_end",
            Self::Trailer => "trailer",
            Self::UriTooLong => "uri_too_long",
            Self::HeadTooLarge => "head_too_large",
            Self::TooManyFields => "too_many_fields",
            Self::HeadTooSlow => "head_too_slow",
        }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::RequestLine => "the request line is not METHOD, target and HTTP/1.1",
            Self::Target => "the request target is not a URI",
            Self::BareLf => "a line ends without CR before its LF",
            Self::BareCr => "a CR has no LF after it",
            Self::FieldName => "a header's name is not a token",
            Self::SpaceBeforeColon => "white space stands between a header's name and its colon",
            Self::Fold => "a header is folded over several lines",
            Self::FieldValue => "a header's value has a control character",
            Self::ContentLength => "Content-Length is not a number",
            Self::ContentLengths => "the request has more than one Content-Length",
            Self::TransferEncoding => "Transfer-Encoding is not exactly one `chunked`",
            Self::TwoFramings => {
                "the request frames its body in two ways; send either Content-Length or \
                 Transfer-Encoding"
            }
            Self::Http10Chunked => "HTTP/1.0 knows no Transfer-Encoding",
            Self::ChunkSize => "a chunk's size is not a hexadecimal number on a line of its own",
            Self::ChunkExtension => "chunk extensions are too long or have control characters",
            Self::ChunkEnd => "a chunk is longer than its size says",
            Self::Trailer => "the trailers are too long or frame a message",
            Self::UriTooLong => "the request target is too long",
            Self::HeadTooLarge => "the request's headers are too large",
            Self::TooManyFields => "the request has too many header lines",
            Self::HeadTooSlow => "the request's head took too long to arrive",
        })
    }
}

impl std::error::Error for Violation {}

#[cfg(test)]
mod tests;
