//! Counts the HTTP/2 frames that cost the server something and the client nothing, on the way to
//! hyper: PING, SETTINGS, PRIORITY, RST_STREAM, empty DATA and CONTINUATION, and kinds that are not
//! known. hyper and h2 bound what they make them keep, but not how often they come.
//!
//! A bucket: so many at once, so many a second. No client that means well comes near; whoever
//! empties it is disconnected. WINDOW_UPDATE is not counted: readers send as many as they are sent
//! data.

use std::io;

use super::tap::{Ear, Wants};
use crate::words::clock::Monotonic;

/// Hears the frames of one connection, and ends it when there are too many that count.
pub(super) struct ControlFrames {
    frames: Frames,
    bucket: Bucket,
}

impl ControlFrames {
    pub(super) fn new() -> Self {
        Self {
            frames: Frames::default(),
            bucket: Bucket {
                left: BURST,
                since: Monotonic::read(),
            },
        }
    }
}

impl Ear for ControlFrames {
    fn hear(&mut self, bytes: &[u8]) -> io::Result<Wants> {
        let counted = self.frames.read(bytes);
        if counted > 0 && !self.bucket.take(counted, Monotonic::read()) {
            metrics::counter!("botguard_http_errors_total", "kind" => "control_flood").increment(1);
            tracing::debug!("too many HTTP/2 control frames");
            return Err(io::Error::other("too many HTTP/2 control frames"));
        }
        Ok(Wants::More)
    }
}

/// Where in the frames a stream is. What is no HTTP/2 is hyper's to refuse.
struct Frames {
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    /// Of the preface, or of a frame's payload.
    skip: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            head: [0; HEAD_BYTES],
            head_bytes: 0,
            skip: PREFACE_BYTES,
        }
    }
}

impl Frames {
    /// Reads on; how many frames that count began.
    fn read(&mut self, mut bytes: &[u8]) -> u32 {
        let mut counted = 0;
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let missing = self.head.get_mut(self.head_bytes..).unwrap_or_default();
            let n = missing.len().min(bytes.len());
            let (now, rest) = bytes.split_at_checked(n).unwrap_or((bytes, &[]));
            if let Some(place) = missing.get_mut(..n) {
                place.copy_from_slice(now);
            }
            self.head_bytes += n;
            bytes = rest;
            if self.head_bytes == HEAD_BYTES {
                let [high, middle, low, kind, flags, ..] = self.head;
                let length = u32::from_be_bytes([0, high, middle, low]);
                counted += u32::from(counts(kind, flags, length));
                self.skip = length as usize;
                self.head_bytes = 0;
            }
        }
        counted
    }
}

/// By RFC 9113 section 6.
const fn counts(kind: u8, flags: u8, length: u32) -> bool {
    const END_STREAM: u8 = 0x1;
    const DATA: u8 = 0x0;
    const HEADERS: u8 = 0x1;
    const PUSH_PROMISE: u8 = 0x5;
    const GOAWAY: u8 = 0x7;
    const WINDOW_UPDATE: u8 = 0x8;
    const CONTINUATION: u8 = 0x9;
    match kind {
        DATA => length == 0 && flags & END_STREAM == 0,
        CONTINUATION => length == 0,
        HEADERS | PUSH_PROMISE | GOAWAY | WINDOW_UPDATE => false,
        _ => true,
    }
}

struct Bucket {
    left: u32,
    since: Monotonic,
}

impl Bucket {
    /// Whether there were as many.
    fn take(&mut self, count: u32, now: Monotonic) -> bool {
        let gained = now.since(self.since).as_millis() * u128::from(A_SECOND) / 1_000;
        if gained > 0 {
            let gained = u32::try_from(gained).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(gained).min(BURST);
            self.since = now;
        }
        let left = self.left.checked_sub(count);
        self.left = left.unwrap_or(0);
        left.is_some()
    }
}

/// More than a browser sends in a page's life, cancelled requests included; as many as gRPC's
/// bandwidth estimation may send in its first second on a fast network.
const BURST: u32 = 4_000;
const A_SECOND: u32 = 500;

const PREFACE_BYTES: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
const HEAD_BYTES: usize = 9;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, 0];
        [&head[..], &vec![0; payload]].concat()
    }

    #[test]
    fn frames_that_cost_only_the_server_count() {
        let check = |frames: &[Vec<u8>], expected: u32| {
            let stream = [vec![b'p'; PREFACE_BYTES], frames.concat()].concat();
            for cut in 0..=stream.len() {
                let (one, other) = stream.split_at(cut);
                let mut frames = Frames::default();
                assert_eq!(frames.read(one) + frames.read(other), expected, "{cut}");
            }
        };
        check(&[], 0);
        check(&[frame(0x4, 0, 0)], 1);
        check(&[frame(0x4, 0, 36), frame(0x6, 0, 8), frame(0x6, 1, 8)], 3);
        check(&[frame(0x2, 0, 5), frame(0x3, 0, 4), frame(0xfe, 0, 7)], 3);
        check(&[frame(0x0, 0, 0), frame(0x0, 1, 0), frame(0x0, 0, 300)], 1);
        check(&[frame(0x1, 5, 30), frame(0x9, 4, 30), frame(0x9, 0, 0)], 1);
        check(&[frame(0x8, 0, 4), frame(0x7, 0, 8)], 0);
    }

    #[test]
    fn the_bucket_fills_with_time() {
        let mut bucket = Bucket {
            left: BURST,
            since: Monotonic::from_boot(Duration::ZERO),
        };
        let mut check = |ms: u64, count: u32, expected: bool| {
            let now = Monotonic::from_boot(Duration::from_millis(ms));
            assert_eq!(bucket.take(count, now), expected, "{ms} ms");
        };
        check(0, BURST, true);
        check(0, 1, false);
        check(1, 1, false);
        check(1_001, A_SECOND, true);
        check(1_001, 1, false);
        check(1_000_000, BURST, true);
        check(1_000_000, 1, false);
    }
}
