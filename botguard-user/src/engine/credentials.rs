//! What a request brings along to say who sends it.

use super::facts::{InteractionFacts, RequestFacts};
use crate::words::identity::{KeyHash, SessionHash, UserHash, UserProof};
use crate::words::memo::Credential;

/// A credential, its hash as octets, which need no alignment.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Holder {
    kind: HolderKind,
    pub(crate) hash: [u8; 16],
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum HolderKind {
    Key,
    Session,
    User,
}

/// The credentials of a request, the one that is charged first first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claims([Option<Claim>; 3]);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) credential: Credential,
    /// Whether a signature vouches for it, so that the upstream need not.
    pub(crate) is_verified: bool,
}

impl Claims {
    pub(crate) fn of(facts: &RequestFacts) -> Self {
        let claim = |credential, is_verified| Claim {
            credential,
            is_verified,
        };
        let key = facts.key.as_ref();
        let user = facts.user.filter(|user| user.proof == UserProof::Verified);
        Self([
            key.map(|key| claim(Credential::Key(key.hash), false)),
            (facts.session).map(|session| claim(Credential::Session(session.hash), false)),
            user.map(|user| claim(Credential::User(user.hash), true)),
        ])
    }

    /// Of somebody who touched a page.
    pub(crate) fn of_interaction(facts: &InteractionFacts) -> Self {
        let claim = |credential| Claim {
            credential,
            is_verified: false,
        };
        Self([
            (facts.key.as_ref()).map(|key| claim(Credential::Key(key.hash))),
            (facts.session).map(|session| claim(Credential::Session(session.hash))),
            None,
        ])
    }

    /// All of them, in that order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Claim> {
        self.0.iter().flatten()
    }

    /// The one that the upstream accepts if it accepts the request.
    pub(crate) fn first(&self) -> Option<Credential> {
        (self.iter().next()).map(|claim| claim.credential)
    }
}

impl Holder {
    pub(crate) const fn of(credential: Credential) -> Self {
        let (kind, hash) = match credential {
            Credential::Key(KeyHash(hash)) => (HolderKind::Key, hash),
            Credential::Session(SessionHash(hash)) => (HolderKind::Session, hash),
            Credential::User(UserHash(hash)) => (HolderKind::User, hash),
        };
        Self {
            kind,
            hash: hash.to_be_bytes(),
        }
    }

    pub(crate) const fn credential(self) -> Credential {
        let hash = u128::from_be_bytes(self.hash);
        match self.kind {
            HolderKind::Key => Credential::Key(KeyHash(hash)),
            HolderKind::Session => Credential::Session(SessionHash(hash)),
            HolderKind::User => Credential::User(UserHash(hash)),
        }
    }
}
