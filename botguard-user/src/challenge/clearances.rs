//! Clearances: signed here, kept by the browser, and good for one session and fingerprint until they
//! expire. Pure: time is an argument.
//!
//! The cookie's value is base64url of `key id (4) ‖ expires, Unix ms (8) ‖ HMAC-SHA-256 (32)`.
//! Session and fingerprint are under the MAC and not in the value.

use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Holder;
use crate::words::clock::Wall;
use crate::words::identity::SessionHash;

/// Signs clearances and knows its own.
#[derive(Clone)]
pub(super) struct Clearances {
    key: hmac::Key,
    key_id: [u8; 4],
    lifetime: Duration,
}

/// Stands for a session, or for none, in what a client holds.
pub(super) type SessionTag = [u8; 16];

impl Clearances {
    pub(super) fn new(secret: &[u8; 32], lifetime: Duration) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"botguard clearance key id 1\0");
        context.update(secret);
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            key_id: first_bytes(context.finish().as_ref()),
            lifetime,
        }
    }

    /// Under the same key, with another lifetime for those that are signed from now on.
    pub(super) fn lasting(&self, lifetime: Duration) -> Self {
        Self {
            lifetime,
            ..self.clone()
        }
    }

    pub(super) fn session_tag(&self, session: Option<SessionHash>) -> SessionTag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(b"botguard clearance session 1\0");
        if let Some(SessionHash(hash)) = session {
            context.update(&hash.to_be_bytes());
        }
        first_bytes(context.sign().as_ref())
    }

    pub(super) fn sign(&self, now: Wall, fingerprint: u64, session: &SessionTag) -> String {
        let expires = now.after(self.lifetime).as_unix_ms();
        let mut value = Vec::with_capacity(VALUE_BYTES);
        value.extend_from_slice(&self.key_id);
        value.extend_from_slice(&expires.to_be_bytes());
        let tag = hmac::sign(&self.key, &message(&value, fingerprint, session));
        value.extend_from_slice(tag.as_ref());
        URL_SAFE_NO_PAD.encode(value)
    }

    /// Whether it was signed here for this holder and has not expired.
    pub(super) fn is_good(&self, now: Wall, value: &str, holder: &Holder) -> bool {
        self.expiry(value, holder)
            .is_some_and(|expires| now.as_unix_ms() < expires)
    }

    /// When a clearance of this holder ends, in Unix milliseconds.
    fn expiry(&self, value: &str, holder: &Holder) -> Option<u64> {
        let value = URL_SAFE_NO_PAD.decode(value).ok()?;
        let (signed, tag) =
            (value.split_at_checked(SIGNED_BYTES)).filter(|_| value.len() == VALUE_BYTES)?;
        let (key_id, expires) = signed.split_first_chunk::<4>()?;
        if *key_id != self.key_id {
            return None;
        }
        let session = self.session_tag(holder.session);
        let message = message(signed, holder.fingerprint, &session);
        hmac::verify(&self.key, &message, tag).ok()?;
        Some(u64::from_be_bytes(*expires.first_chunk()?))
    }
}

fn message(signed: &[u8], fingerprint: u64, session: &SessionTag) -> Vec<u8> {
    let mut message = Vec::with_capacity(64);
    message.extend_from_slice(b"botguard clearance 1\0");
    message.extend_from_slice(signed);
    message.extend_from_slice(&fingerprint.to_be_bytes());
    message.extend_from_slice(session);
    message
}

/// The first bytes of a hash, which has 32.
fn first_bytes<const N: usize>(hash: &[u8]) -> [u8; N] {
    hash.first_chunk().copied().unwrap_or([0; N])
}

const SIGNED_BYTES: usize = 4 + 8;
const VALUE_BYTES: usize = SIGNED_BYTES + 32;
