//! Puzzles: issued here, bound to who asked, solved once. Pure: time and randomness are arguments.
//!
//! A puzzle's token is base64url of `issued (8) ‖ nonce (16) ‖ session tag (16) ‖ HMAC-SHA-256 (32)`;
//! fingerprint and difficulty are under the MAC and not in the token. A solution is a number for
//! which SHA-256 of `token.number` (decimal) begins with as many zero bits as the difficulty says.

use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::clearances::SessionTag;
use super::settings::{ChallengeSettings, Difficulty};
use crate::words::clock::Monotonic;
use crate::words::spent::{Spent, SpentError};

/// Issues puzzles and judges solutions.
pub(super) struct Puzzles {
    secret: [u8; 32],
    key: hmac::Key,
    difficulty: Difficulty,
    floor: Duration,
    spent: Spent,
}

/// What a page needs to know to find a solution.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Puzzle {
    pub(super) token: String,
    pub(super) difficulty: Difficulty,
    /// How long to wait at least before the solution is posted.
    pub(super) floor_ms: u64,
}

/// A solution that earns nothing. Blame: the client, except [`Self::Full`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PuzzleError {
    /// Not a puzzle's and solution's form.
    #[error("the body is not {{\"challenge\": …, \"solution\": …}}")]
    Malformed,
    /// Not issued by this process and under these settings, or for another client.
    #[error("the challenge was not issued for this client, or before a restart")]
    Foreign,
    /// Older than [`LIFETIME`].
    #[error("the challenge has expired")]
    Expired,
    /// The hash has too few zero bits.
    #[error("the solution is wrong")]
    Wrong,
    /// Earlier than the solve-time floor.
    #[error("the solution came earlier than a browser would send it")]
    TooEarly,
    /// Solved before.
    #[error("the challenge was solved before")]
    Spent,
    /// More puzzles are solved than can be remembered. Blame: internal.
    #[error("too many challenges are solved at the moment")]
    Full,
}

impl PuzzleError {
    /// A metric label.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Foreign => "foreign",
            Self::Expired => "expired",
            Self::Wrong => "wrong",
            Self::TooEarly => "too_early",
            Self::Spent => "replayed",
            Self::Full => "full",
        }
    }
}

impl From<SpentError> for PuzzleError {
    fn from(error: SpentError) -> Self {
        match error {
            SpentError::Before => Self::Spent,
            SpentError::Full => Self::Full,
        }
    }
}

/// How long a puzzle can be solved.
pub const LIFETIME: Duration = Duration::from_secs(120);

impl Puzzles {
    pub(super) fn new(secret: &[u8; 32], settings: &ChallengeSettings) -> Self {
        Self {
            secret: *secret,
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            difficulty: settings.difficulty,
            floor: settings.solve_floor.0,
            spent: Spent::new(LIFETIME, SPENT_CAPACITY),
        }
    }

    /// Under other settings and another secret, so that nothing that was solved can be again.
    pub(super) fn successor(&self, settings: &ChallengeSettings) -> Self {
        let derived = hmac::sign(&self.key, b"botguard challenge successor 1\0");
        let mut secret = self.secret;
        // A tag of SHA-256 has 32 bytes.
        secret.copy_from_slice(derived.as_ref());
        Self::new(&secret, settings)
    }

    /// A new puzzle. `nonce` must be random: two equal ones are one puzzle.
    pub(super) fn issue(
        &self,
        now: Monotonic,
        nonce: [u8; 16],
        fingerprint: u64,
        session: &SessionTag,
    ) -> Puzzle {
        let mut token = Vec::with_capacity(TOKEN_BYTES);
        token.extend_from_slice(&now.as_nanoseconds().to_be_bytes());
        token.extend_from_slice(&nonce);
        token.extend_from_slice(session);
        let tag = hmac::sign(&self.key, &self.message(&token, fingerprint));
        token.extend_from_slice(tag.as_ref());
        Puzzle {
            token: URL_SAFE_NO_PAD.encode(token),
            difficulty: self.difficulty,
            floor_ms: u64::try_from(self.floor.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Judges a solution, and tells the session that its puzzle was issued for.
    ///
    /// `session` is that of the request, if it carries one: a cookie of a narrower path may not be
    /// sent here, so that none is no contradiction.
    ///
    /// Errors: [`PuzzleError`]. Only a right solution spends its puzzle, so that only work fills
    /// the memory; one that comes too early does, so that waiting does not mend it.
    pub(super) fn solve(
        &mut self,
        now: Monotonic,
        text: &str,
        solution: u64,
        fingerprint: u64,
        session: Option<SessionTag>,
    ) -> Result<SessionTag, PuzzleError> {
        let token = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_cause| PuzzleError::Malformed)?;
        let (signed, tag) = (token.split_at_checked(SIGNED_BYTES))
            .filter(|_| token.len() == TOKEN_BYTES)
            .ok_or(PuzzleError::Malformed)?;
        hmac::verify(&self.key, &self.message(signed, fingerprint), tag)
            .map_err(|_cause| PuzzleError::Foreign)?;
        let fields = Fields::of(signed).ok_or(PuzzleError::Malformed)?;
        if session.is_some_and(|session| session != fields.session) {
            return Err(PuzzleError::Foreign);
        }
        let age_ns = now.as_nanoseconds().saturating_sub(fields.issued_ns);
        let age = Duration::from_nanos(age_ns);
        if age >= LIFETIME {
            return Err(PuzzleError::Expired);
        }
        if zero_bits(text, solution) < u32::from(self.difficulty.bits()) {
            return Err(PuzzleError::Wrong);
        }
        self.spent.insert(now, fields.nonce)?;
        if age < self.floor {
            return Err(PuzzleError::TooEarly);
        }
        Ok(fields.session)
    }

    fn message(&self, signed: &[u8], fingerprint: u64) -> Vec<u8> {
        let mut message = Vec::with_capacity(96);
        message.extend_from_slice(b"botguard challenge 1\0");
        message.extend_from_slice(signed);
        message.extend_from_slice(&fingerprint.to_be_bytes());
        message.push(self.difficulty.bits());
        message
    }
}

struct Fields {
    issued_ns: u64,
    nonce: u128,
    session: SessionTag,
}

impl Fields {
    fn of(signed: &[u8]) -> Option<Self> {
        let (issued, rest) = signed.split_first_chunk::<8>()?;
        let (nonce, rest) = rest.split_first_chunk::<16>()?;
        Some(Self {
            issued_ns: u64::from_be_bytes(*issued),
            nonce: u128::from_be_bytes(*nonce),
            session: *rest.first_chunk()?,
        })
    }
}

/// Leading zero bits of the hash of a token and a number.
pub(super) fn zero_bits(token: &str, solution: u64) -> u32 {
    let hash = digest::digest(&digest::SHA256, format!("{token}.{solution}").as_bytes());
    // The difficulty is at most 24.
    let first = hash.as_ref().first_chunk::<4>().copied();
    first.map_or(0, |first| u32::from_be_bytes(first).leading_zeros())
}

const SIGNED_BYTES: usize = 8 + 16 + 16;
const TOKEN_BYTES: usize = SIGNED_BYTES + 32;

/// About 2,000 solutions a second, sustained, in at most 2 × 9 MiB.
const SPENT_CAPACITY: usize = 1 << 18;
