//! Copies the beginning of a login's body as it passes, so that its user can be read once it has
//! passed. Nothing is held back for it: bytes are looked at on their way and go on.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, header};
use parking_lot::Mutex;

use super::body::RequestBytes;
use super::login_name::login_name;
use crate::engine::facts::{AnsweredBy, LoginAttempt, LoginName, Observation, Unread};
use crate::engine::policy::login::LoginRule;
use crate::words::identity::UserHash;

/// A bounded copy of one request's body. Clones share it.
#[derive(Clone)]
pub(super) struct Tee {
    rule: Arc<LoginRule>,
    copy: Arc<Mutex<Copied>>,
}

/// Passwords may be among it, so it does not print.
enum Copied {
    Within {
        bytes: Vec<u8>,
        limit: usize,
    },
    /// Given up, and the copy with it.
    Not(Unread),
}

impl Tee {
    /// A copy of at most `limit` bytes; none at all where its end can be foreseen not to be read.
    pub(super) fn new(rule: Arc<LoginRule>, limit: usize, headers: &HeaderMap) -> Self {
        let declared = headers.get(header::CONTENT_LENGTH);
        let declared = declared.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let is_encoded = (headers.get_all(header::CONTENT_ENCODING).iter())
            .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
        let copied = if limit == 0 {
            Copied::Not(Unread::Off)
        } else if is_encoded {
            Copied::Not(Unread::Encoded)
        } else if declared.is_some_and(|declared| declared > limit as u64) {
            Copied::Not(Unread::TooLarge)
        } else {
            let bytes = Vec::new();
            Copied::Within { bytes, limit }
        };
        let copy = Arc::new(Mutex::new(copied));
        Self { rule, copy }
    }

    /// These bytes are passing.
    pub(super) fn see(&self, passing: &Bytes) {
        let mut copied = self.copy.lock();
        if let Copied::Within { bytes, limit } = &mut *copied {
            if bytes.len() + passing.len() <= *limit {
                bytes.extend_from_slice(passing);
            } else {
                *copied = Copied::Not(Unread::TooLarge);
            }
        }
    }

    /// What the request tried, now that its response has ended: `hash` makes of the name what may
    /// be kept of it. The application's own word on the outcome goes before its status.
    pub(super) fn attempt(
        self,
        bytes: &RequestBytes,
        answer: (AnsweredBy, u16),
        observation: Option<&Observation>,
        hash: impl Fn(&str) -> Option<UserHash>,
    ) -> Option<LoginAttempt> {
        let copied = std::mem::replace(&mut *self.copy.lock(), Copied::Not(Unread::Unfinished));
        let name = match copied {
            Copied::Not(why) => Err(why),
            Copied::Within { .. } if !bytes.has_ended() || bytes.is_broken() => {
                Err(Unread::Unfinished)
            }
            Copied::Within { bytes, .. } => login_name(&self.rule.field, &bytes),
        };
        let name = match name {
            Ok(name) => LoginName::Hashed(hash(&name)?),
            Err(why) => LoginName::Unread(why),
        };
        let said = observation.and_then(|observation| observation.login);
        let outcome = said.or_else(|| match answer {
            (AnsweredBy::Upstream, status) => self.rule.outcome(status),
            (AnsweredBy::Botguard, _) => None,
        });
        Some(LoginAttempt { name, outcome })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::facts::Login;
    use crate::engine::policy::login::LoginField;

    fn tee(limit: usize, fields: &[(header::HeaderName, &str)]) -> Tee {
        let rule = LoginRule {
            field: LoginField::Form("user".into()),
            failure: [401].into(),
        };
        let fields = fields.iter();
        let headers = fields.map(|(name, value)| (name.clone(), value.parse().unwrap()));
        Tee::new(Arc::new(rule), limit, &headers.collect())
    }

    fn name(tee: Tee, pieces: &[&'static str]) -> LoginName {
        for piece in pieces {
            tee.see(&Bytes::from_static(piece.as_bytes()));
        }
        let whole = RequestBytes::default();
        whole.end();
        let hash = |name: &str| Some(UserHash(name.len() as u128));
        let answer = (AnsweredBy::Upstream, 200);
        tee.attempt(&whole, answer, None, hash).unwrap().name
    }

    #[test]
    fn what_is_copied_is_bounded() {
        let three = LoginName::Hashed(UserHash(3));
        let unread = LoginName::Unread;
        assert_eq!(name(tee(8, &[]), &["us", "er=a", "nn"]), three);
        assert_eq!(
            name(tee(7, &[]), &["us", "er=a", "nn"]),
            unread(Unread::TooLarge)
        );
        assert_eq!(name(tee(0, &[]), &["user=ann"]), unread(Unread::Off));
        let long = tee(7, &[(header::CONTENT_LENGTH, "8")]);
        assert!(matches!(*long.copy.lock(), Copied::Not(Unread::TooLarge)));
        assert_eq!(
            name(tee(8, &[(header::CONTENT_LENGTH, "8")]), &["user=ann"]),
            three
        );
        let coded = |coding| name(tee(8, &[(header::CONTENT_ENCODING, coding)]), &["user=ann"]);
        assert_eq!(coded("gzip"), unread(Unread::Encoded));
        assert_eq!(coded("identity, gzip"), unread(Unread::Encoded));
        assert_eq!(coded("Identity"), three);
    }

    #[test]
    fn what_goes_over_the_limit_lets_its_copy_go() {
        let tee = tee(16, &[]);
        tee.see(&Bytes::from_static(&[b'a'; 16]));
        assert!(matches!(&*tee.copy.lock(), Copied::Within { bytes, .. } if bytes.len() == 16));
        tee.see(&Bytes::from_static(b"a"));
        assert!(matches!(*tee.copy.lock(), Copied::Not(Unread::TooLarge)));
    }

    #[test]
    fn the_applications_word_goes_before_its_status() {
        let check = |answer, said: Option<Login>, expected| {
            let observation = said.map(|login| Observation {
                login: Some(login),
                ..Observation::default()
            });
            let bytes = RequestBytes::default();
            let attempt = tee(8, &[]).attempt(&bytes, answer, observation.as_ref(), |_| None);
            let expected = LoginAttempt {
                name: LoginName::Unread(Unread::Unfinished),
                outcome: expected,
            };
            assert_eq!(attempt, Some(expected), "{answer:?} {said:?}");
        };
        check((AnsweredBy::Upstream, 401), None, Some(Login::Fail));
        check((AnsweredBy::Upstream, 200), None, None);
        check((AnsweredBy::Botguard, 401), None, None);
        check(
            (AnsweredBy::Upstream, 401),
            Some(Login::Ok),
            Some(Login::Ok),
        );
        check(
            (AnsweredBy::Upstream, 200),
            Some(Login::Fail),
            Some(Login::Fail),
        );
    }
}
