//! How a client opens HTTP/2, in the form of Akamai's paper (Black Hat Europe 2017, "Passive
//! Fingerprinting of HTTP/2 Clients"): `SETTINGS|WINDOW_UPDATE|PRIORITY|pseudo-header order`, as in
//! `1:65536;2:0;4:6291456;6:262144|15663105|0|m,a,s,p`.
//!
//! Reads the client's first bytes after TLS beside hyper, up to its first HEADERS frame, and no
//! further. No HTTP/2 implementation: of that frame it reads the names of the pseudo-header fields,
//! and hyper refuses what is malformed. Settings whose numbers are reserved for greasing are left
//! out, since they change from one connection to the next.

use std::fmt::Write as _;

use self::names::pseudo_order;

mod names;

/// Reads an opening as its bytes arrive. Keeps at most one frame of [`MOST_FRAME_BYTES`].
#[derive(Debug, Default)]
pub struct OpeningReader {
    /// How much of the preface is read.
    n_preface: usize,
    /// The header of the frame that is being read, and how much of it is there.
    header: [u8; FRAME_HEADER],
    n_header: usize,
    /// Its payload so far.
    payload: Vec<u8>,
    n_frames: usize,
    /// Of the first SETTINGS frame.
    settings: Option<String>,
    /// The first increment of the connection's window.
    window_update: Option<u32>,
    priorities: String,
}

/// How far an [`OpeningReader`] came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OpeningReading {
    /// There is more to come.
    Incomplete,
    /// The fingerprint. What follows is not read.
    Fingerprint(String),
    /// It is no opening, or one that is longer than any client's.
    None,
}

/// The longest frame that is read: what hyper allows (`SETTINGS_MAX_FRAME_SIZE`'s initial value).
pub const MOST_FRAME_BYTES: usize = 16_384;

/// More frames than this before the first request, more settings or more priorities are nobody's
/// opening. Firefox once sent six PRIORITY frames.
const MOST_FRAMES: usize = 32;
const MOST_SETTINGS: usize = 32;

/// RFC 9113 section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// RFC 9113 section 4.1: length, type, flags, stream.
const FRAME_HEADER: usize = 9;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;

const FLAG_ACK: u8 = 0x01;
const FLAG_PADDED: u8 = 0x08;
const FLAG_PRIORITY: u8 = 0x20;

impl OpeningReader {
    /// Reads on. Not to be called again once it answered anything but `Incomplete`.
    pub fn read(&mut self, bytes: &[u8]) -> OpeningReading {
        let n_preface = bytes.len().min(PREFACE.len() - self.n_preface);
        let (preface, mut bytes) = bytes.split_at(n_preface);
        let expected = PREFACE.get(self.n_preface..).unwrap_or_default();
        if !expected.starts_with(preface) {
            return OpeningReading::None;
        }
        self.n_preface += n_preface;
        while let Some((first, rest)) = bytes.split_first() {
            if self.n_header < FRAME_HEADER {
                if let Some(place) = self.header.get_mut(self.n_header) {
                    *place = *first;
                }
                self.n_header += 1;
                bytes = rest;
                if self.n_header < FRAME_HEADER {
                    continue;
                }
            }
            let length = self.length();
            if length > MOST_FRAME_BYTES {
                return OpeningReading::None;
            }
            let missing = length.saturating_sub(self.payload.len());
            let (payload, rest) = bytes.split_at(missing.min(bytes.len()));
            self.payload.extend_from_slice(payload);
            bytes = rest;
            if self.payload.len() < length {
                break;
            }
            match self.frame() {
                OpeningReading::Incomplete => {}
                done => return done,
            }
            self.payload.clear();
            self.n_header = 0;
        }
        OpeningReading::Incomplete
    }

    fn length(&self) -> usize {
        let [high, middle, low, ..] = self.header;
        u32::from_be_bytes([0, high, middle, low]) as usize
    }

    /// A whole frame is there.
    fn frame(&mut self) -> OpeningReading {
        self.n_frames += 1;
        let [_, _, _, kind, flags, stream @ ..] = self.header;
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        // A client begins with its settings (RFC 9113 section 3.4).
        let is_in_place = kind == SETTINGS || self.settings.is_some();
        if self.n_frames > MOST_FRAMES || !is_in_place {
            return OpeningReading::None;
        }
        match kind {
            SETTINGS if flags & FLAG_ACK == 0 && self.settings.is_none() => {
                let Some(settings) = settings(&self.payload) else {
                    return OpeningReading::None;
                };
                self.settings = Some(settings);
            }
            WINDOW_UPDATE if stream == 0 && self.window_update.is_none() => {
                let increment = self.payload.first_chunk().copied().map(u32::from_be_bytes);
                self.window_update = increment.map(|it| it & (u32::MAX >> 1));
            }
            PRIORITY => self.priority(stream),
            HEADERS => return self.fingerprint(flags),
            _ => {}
        }
        OpeningReading::Incomplete
    }

    /// `stream:exclusive:depends on:weight` (RFC 7540 section 6.3).
    fn priority(&mut self, stream: u32) {
        let Some(([depends @ .., weight], _rest)) = self.payload.split_first_chunk::<5>() else {
            return;
        };
        let depends = u32::from_be_bytes(*depends);
        let comma = if self.priorities.is_empty() { "" } else { "," };
        // Writing into a string does not fail.
        let _written = write!(
            self.priorities,
            "{comma}{stream}:{}:{}:{}",
            depends >> 31,
            depends & (u32::MAX >> 1),
            u16::from(*weight) + 1,
        );
    }

    fn fingerprint(&self, flags: u8) -> OpeningReading {
        let Some(block) = block(&self.payload, flags) else {
            return OpeningReading::None;
        };
        let settings = self.settings.as_deref().unwrap_or_default();
        let window_update = match self.window_update {
            // So in the paper.
            None | Some(0) => "00".to_owned(),
            Some(increment) => increment.to_string(),
        };
        let priorities = match self.priorities.as_str() {
            "" => "0",
            priorities => priorities,
        };
        let order = pseudo_order(block);
        OpeningReading::Fingerprint(format!("{settings}|{window_update}|{priorities}|{order}"))
    }
}

/// `number:value;…` in the order they were sent; `None` where they are no settings.
fn settings(payload: &[u8]) -> Option<String> {
    let (settings, rest) = payload.as_chunks::<6>();
    if !rest.is_empty() || settings.len() > MOST_SETTINGS {
        return None;
    }
    let mut list = String::new();
    for [high, low, value @ ..] in settings {
        // 0x?a?a (draft-bishop-httpbis-grease).
        if high & 0x0f == 0x0a && low & 0x0f == 0x0a {
            continue;
        }
        let number = u16::from_be_bytes([*high, *low]);
        let value = u32::from_be_bytes(*value);
        let separator = if list.is_empty() { "" } else { ";" };
        let _written = write!(list, "{separator}{number}:{value}");
    }
    Some(list)
}

/// The field block of a HEADERS frame, without padding and priority (RFC 9113 section 6.2).
fn block(payload: &[u8], flags: u8) -> Option<&[u8]> {
    let mut block = payload;
    if flags & FLAG_PADDED != 0 {
        let (padding, rest) = block.split_first()?;
        let n = rest.len().checked_sub(usize::from(*padding))?;
        block = rest.get(..n)?;
    }
    if flags & FLAG_PRIORITY != 0 {
        block = block.get(5..)?;
    }
    Some(block)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::edge::captures::openings;

    fn whole(bytes: &[u8]) -> OpeningReading {
        OpeningReader::default().read(bytes)
    }

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let stream = stream.to_be_bytes();
        [&length[1..], &[kind, flags], &stream, payload].concat()
    }

    fn opening(frames: &[Vec<u8>]) -> Vec<u8> {
        [PREFACE, &frames.concat()].concat()
    }

    #[test]
    fn captured_clients_have_their_fingerprints() {
        let check = |client: &str, expected: &str| {
            let openings = openings();
            let opening = openings.iter().find(|it| it.client == client).unwrap();
            let found = whole(&opening.bytes());
            assert_eq!(
                found,
                OpeningReading::Fingerprint(expected.to_owned()),
                "{client}"
            );
        };
        let chromium = "1:65536;2:0;4:6291456;6:262144|15663105|0|m,a,s,p";
        check("chromium", chromium);
        check("curl_cffi_chrome", chromium);
        check("curl_cffi_chrome124", chromium);
        check(
            "curl_cffi_edge101",
            "1:65536;3:1000;4:6291456;6:262144|15663105|0|m,a,s,p",
        );
        check(
            "curl_cffi_firefox",
            "1:65536;2:0;4:131072;5:16384|12517377|0|m,p,a,s",
        );
        let safari = "2:0;3:100;4:2097152;9:1|10420225|0|m,s,a,p";
        check("curl_cffi_safari", safari);
        check("curl_cffi_safari_ios", safari);
        check("curl", "3:100;4:33554432;2:0|33488897|0|m,p,s,a");
        check(
            "httpx",
            "1:4096;2:0;4:65535;5:16384;3:100;6:65536|16777216|0|m,a,s,p",
        );
    }

    #[test]
    fn an_opening_is_put_together_of_its_frames() {
        let check = |frames: &[Vec<u8>], expected: Option<&str>| {
            let expected = expected.map_or(OpeningReading::None, |it| {
                OpeningReading::Fingerprint(it.to_owned())
            });
            assert_eq!(whole(&opening(frames)), expected);
        };
        let settings = frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]);
        let headers = frame(HEADERS, 4, 1, &[0x82, 0x87, 0x84, 0x81]);
        let expected = Some("4:65536|00|0|m,s,p,a");
        check(&[settings.clone(), headers.clone()], expected);
        // Firefox had such priorities once.
        let priority = |stream, weight| frame(PRIORITY, 0, stream, &[0x80, 0, 0, 0, weight]);
        check(
            &[
                settings.clone(),
                priority(3, 200),
                priority(5, 255),
                headers.clone(),
            ],
            Some("4:65536|00|3:1:0:201,5:1:0:256|m,s,p,a"),
        );
        // Another stream's window, acknowledged settings, a ping and unknown frames say nothing.
        let window = |stream, n| frame(WINDOW_UPDATE, 0, stream, &[0x80, 0, 0, n]);
        check(
            &[
                settings.clone(),
                window(1, 9),
                window(0, 7),
                window(0, 8),
                frame(SETTINGS, FLAG_ACK, 0, &[]),
                frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]),
                frame(6, 0, 0, &[0; 8]),
                frame(0xfa, 0, 0, &[1, 2, 3]),
                headers.clone(),
            ],
            Some("4:65536|7|0|m,s,p,a"),
        );
        // Greased settings are left out.
        let greased = frame(SETTINGS, 0, 0, &[0x1a, 0x2a, 1, 2, 3, 4, 0, 4, 0, 1, 0, 0]);
        check(&[greased, headers.clone()], expected);
        // Padding and priority are no fields.
        let padded = [&[2, 0, 0, 0, 0, 15], &[0x82, 0x84][..], &[0x87, 0x81]].concat();
        let flags = FLAG_PADDED | FLAG_PRIORITY;
        check(
            &[settings.clone(), frame(HEADERS, flags, 1, &padded)],
            Some("4:65536|00|0|m,p"),
        );
        let broken = frame(HEADERS, FLAG_PADDED, 1, &[2, 0x82]);
        check(&[settings.clone(), broken], None);
        check(&[frame(SETTINGS, 0, 0, &[0; 5])], None);
        check(&[frame(SETTINGS, 0, 0, &[0; 6 * 33])], None);
        check(std::slice::from_ref(&headers), None);
        check(&vec![settings; MOST_FRAMES + 1], None);
        let long = [&[0, 0x40, 1][..], &[SETTINGS, 0, 0, 0, 0, 0, 0]].concat();
        check(&[long], None);
    }

    #[test]
    fn what_is_not_http2_is_told_at_once() {
        let check = |bytes: &[u8], expected| assert_eq!(whole(bytes), expected, "{bytes:?}");
        check(b"GET / HTTP/1.1\r\n", OpeningReading::None);
        check(b"PRI * HTTP/2.0\r\n\r\nSX", OpeningReading::None);
        check(b"PRI * HT", OpeningReading::Incomplete);
        check(PREFACE, OpeningReading::Incomplete);
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(which in 0usize..9, segment in 1usize..600) {
            let bytes = openings()[which].bytes();
            let mut reader = OpeningReader::default();
            let mut found = OpeningReading::Incomplete;
            for part in bytes.chunks(segment) {
                prop_assert_eq!(&found, &OpeningReading::Incomplete);
                found = reader.read(part);
            }
            prop_assert_eq!(found, whole(&bytes));
        }

        #[test]
        fn no_bytes_are_too_much(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            flags in any::<u8>(),
        ) {
            let settings = frame(SETTINGS, 0, 0, &[]);
            let _whatever = whole(&opening(std::slice::from_ref(&bytes)));
            let _whatever = whole(&opening(&[settings, frame(HEADERS, flags, 1, &bytes)]));
        }
    }
}
