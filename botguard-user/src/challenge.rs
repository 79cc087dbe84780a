//! Floor 4: the challenge of a browser, and the clearance that it earns.
//!
//! A page is shown instead of what was asked for. Its script finds, in a worker, a number whose hash
//! begins with enough zero bits, waits until the solve-time floor has passed, and posts it. The
//! answer is a signed cookie, the *clearance*, and the page loads again what was asked for.
//!
//! What it proves is that a browser, or something as slow, was there: evidence for a score in the
//! challenge band and nothing else. Both puzzle and clearance are bound to session and fingerprint,
//! and not to the address, since people roam. The page goes nowhere but where it was shown, so there
//! is no redirect that could be abused.
//!
//! A clearance is good for exactly the session that it was earned with. One that was earned
//! without a session is good without a session only: who logs in is challenged once more, if the
//! score is still high, and nobody can share one clearance among many sessions.
//!
//! Knows nothing of connections or scores: control hands requests in.

use aws_lc_rs::rand;
use bytes::Bytes;
use http::{HeaderMap, Method, Response, header};
use parking_lot::Mutex;
use serde::Deserialize;

use crate::engine::facts::Clearance;
use crate::words::clock::{Monotonic, Now, Wall};
use crate::words::identity::{SessionHash, SessionIdentity};

mod clearances;
mod page;
mod puzzle;
mod reply;
mod settings;

pub use page::After;
pub use puzzle::{LIFETIME, PuzzleError};
pub use settings::{ChallengeSettings, CookieName, CookieNameError, Difficulty, DifficultyError};

use clearances::Clearances;
use page::Page;
use puzzle::{Puzzle, Puzzles};

/// Shows challenges, checks solutions, and knows who has solved one.
pub struct Challenge {
    settings: ChallengeSettings,
    path: String,
    page: Page,
    puzzles: Mutex<Puzzles>,
    clearances: Clearances,
}

impl std::fmt::Debug for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Challenge").field(&self.settings).finish()
    }
}

/// Whom a puzzle and a clearance are for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Holder {
    /// The session that the request carries.
    pub session: Option<SessionHash>,
    /// Keyed hash of what the client looks like.
    pub fingerprint: u64,
}

impl Holder {
    /// Who sends a request.
    #[must_use]
    pub fn new(session: Option<&SessionIdentity>, fingerprint: u64) -> Self {
        Self {
            session: session.map(|session| session.hash),
            fingerprint,
        }
    }
}

/// A request for the path of the challenge.
#[derive(Clone, Debug)]
pub struct ChallengeRequest<'a> {
    /// HTTP method.
    pub method: &'a Method,
    /// The whole body.
    pub body: &'a [u8],
    /// Who sends it.
    pub holder: Holder,
    /// Its id, for people to quote.
    pub request_id: &'a str,
}

/// What the page posts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Solution<'a> {
    challenge: &'a str,
    solution: u64,
}

impl Challenge {
    /// Challenges at `path`. `clearance_secret` outlives the process; `puzzle_secret` must be new
    /// with each, since what was solved before is forgotten.
    #[must_use]
    pub fn new(
        settings: ChallengeSettings,
        path: String,
        clearance_secret: &[u8; 32],
        puzzle_secret: &[u8; 32],
    ) -> Self {
        Self {
            page: Page::new(&path),
            puzzles: Mutex::new(Puzzles::new(puzzle_secret, &settings)),
            clearances: Clearances::new(clearance_secret, settings.clearance.0),
            settings,
            path,
        }
    }

    /// The same under other settings, or `None` where they are the old ones. Clearances stay good;
    /// puzzles that are out become worthless, and pages get others.
    #[must_use]
    pub fn with(&self, settings: &ChallengeSettings, path: &str) -> Option<Self> {
        (self.settings != *settings || self.path != path).then(|| Self {
            page: Page::new(path),
            puzzles: Mutex::new(self.puzzles.lock().successor(settings)),
            clearances: self.clearances.lasting(settings.clearance.0),
            settings: settings.clone(),
            path: path.to_owned(),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The name of the cookie that holds a clearance.
    #[must_use]
    pub fn cookie(&self) -> &CookieName {
        &self.settings.cookie
    }

    /// Whether a request brings a clearance that is good for its holder.
    #[must_use]
    pub fn clearance(&self, now: Wall, headers: &HeaderMap, holder: &Holder) -> Clearance {
        let name = self.settings.cookie.as_str();
        let is_good = |value: &str| self.clearances.is_good(now, value, holder);
        // A few of one name are honest, as from several paths; more are only work.
        if cookies(headers, name).take(MAX_COOKIES).any(is_good) {
            Clearance::Valid
        } else {
            Clearance::None
        }
    }

    /// The page, with a puzzle of its own; `None` without randomness to make one from. Its status
    /// is 200, for whoever shows it instead of something else to change.
    #[must_use]
    pub fn page(
        &self,
        now: Monotonic,
        holder: &Holder,
        after: After,
        request_id: &str,
    ) -> Option<Response<Bytes>> {
        let puzzle = self.puzzle(now, holder)?;
        count("issued");
        Some(self.page.response(&puzzle, after, request_id))
    }

    /// Answers a request for the path: the page, or what becomes of a solution.
    #[must_use]
    pub fn answer(&self, now: Now, request: &ChallengeRequest<'_>) -> Response<Bytes> {
        match *request.method {
            Method::GET | Method::HEAD => self
                .page(
                    now.monotonic,
                    &request.holder,
                    After::Stay,
                    request.request_id,
                )
                .unwrap_or_else(|| reply::no_randomness(request.request_id)),
            Method::POST => self.judge(now, request),
            _ => reply::wrong_method(request.request_id),
        }
    }

    fn judge(&self, now: Now, request: &ChallengeRequest<'_>) -> Response<Bytes> {
        let holder = &request.holder;
        let session = holder
            .session
            .map(|it| self.clearances.session_tag(Some(it)));
        let solved = serde_json::from_slice::<Solution<'_>>(request.body)
            .map_err(|_cause| PuzzleError::Malformed)
            .and_then(|it| {
                let mut puzzles = self.puzzles.lock();
                let fingerprint = holder.fingerprint;
                puzzles.solve(
                    now.monotonic,
                    it.challenge,
                    it.solution,
                    fingerprint,
                    session,
                )
            });
        match solved {
            Ok(session) => {
                count("solved");
                let value = (self.clearances).sign(now.wall, holder.fingerprint, &session);
                reply::cleared(&self.settings, &value)
            }
            Err(error) => {
                count(error.label());
                let next = self.puzzle(now.monotonic, holder);
                reply::refused(error, next.as_ref(), request.request_id)
            }
        }
    }

    fn puzzle(&self, now: Monotonic, holder: &Holder) -> Option<Puzzle> {
        let mut nonce = [0; 16];
        rand::fill(&mut nonce).ok()?;
        let session = self.clearances.session_tag(holder.session);
        let puzzles = self.puzzles.lock();
        Some(puzzles.issue(now, nonce, holder.fingerprint, &session))
    }
}

/// The values of all cookies of a name (RFC 6265 section 5.4).
fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    (headers.get_all(header::COOKIE).iter())
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.split_once('='))
        .filter(move |(cookie, _)| cookie.trim() == name)
        .map(|(_, value)| value.trim())
}

fn count(outcome: &'static str) {
    metrics::counter!("botguard_challenges_total", "outcome" => outcome).increment(1);
}

const MAX_COOKIES: usize = 4;

#[cfg(test)]
mod tests;
