//! To whom a request's evidence is charged, and the records of all of them.
//!
//! A request with a credential (API key, session, verified user) belongs to the pair (credential,
//! address) once the upstream accepted it from that address, and until then to the address alone.
//! So garbage that carries a victim's key, session or user name moves nothing of the victim's, a
//! public key outlives one scraper who copied it, and the users behind one address outlive one bad
//! key among them. Where several are accepted, the first of key, session, user is charged.
//!
//! A credential that comes along with one that is accepted already is not accepted for that: whoever
//! is known could make up as many others as it likes. Nor are those of an address from which ever
//! new ones come and hardly any comes twice: then the application does not look at them.
//!
//! Evidence gathered where botguard may not act (mode log or off) is kept apart from the rest: no
//! request on a watched route can contribute to a denial or a ban elsewhere.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::credentials::{Claim, Claims, Holder};
use super::facts::{AnsweredBy, ResponseFacts};
use super::features::churn::{Arrival, Turnover};
use super::features::principal::{Charge, Features, Principal, Receipt};
use super::policy::rollout::mix;
use super::table::{ClockTable, Slot};
use super::throttle::Allowance;
use crate::words::address::canonical;
use crate::words::clock::Monotonic;
use crate::words::memo::Credential;
use crate::words::mode::Mode;

/// Who is charged.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct PrincipalId {
    /// IPv6 by its /64: a subscriber holds them all, and each would be a fresh record.
    network: IpAddr,
    /// The credential of an accepted pair; `None` is the address itself.
    holder: Option<Holder>,
    /// Where the evidence counts.
    realm: Realm,
}

/// Where evidence counts.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Realm {
    /// On routes where decisions are carried out.
    Enforced,
    /// Only in the scores of watched routes.
    Watched,
}

impl Realm {
    pub(crate) const fn of(mode: Mode) -> Self {
        match mode {
            Mode::Enforce => Self::Enforced,
            Mode::Off | Mode::Log => Self::Watched,
        }
    }
}

/// How far the upstream vouches for a credential of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Identity {
    /// There is none.
    Anonymous,
    /// The upstream has not yet accepted any of them from this address.
    Claimed,
    /// It has accepted the one that is charged.
    Accepted,
}

/// The request's principal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    pub(crate) id: PrincipalId,
    pub(crate) identity: Identity,
}

/// All records, at most as many as the capacity.
pub(crate) struct Principals {
    table: ClockTable<PrincipalId, Principal>,
    /// Whether anything was ever counted where decisions are only watched: if not, nobody need be
    /// looked up there.
    watches: bool,
}

/// A record with its key, the whole of what one principal costs beside 5 bytes of index.
const _: () = assert!(size_of::<Slot<PrincipalId, Principal>>() <= 512);

impl Principals {
    pub(crate) fn new(capacity: u32) -> Self {
        Self {
            table: ClockTable::new(capacity),
            watches: false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Who is charged for a request from `address` with these credentials, where its evidence counts
    /// in `realm`.
    pub(crate) fn subject(&self, address: IpAddr, claims: &Claims, realm: Realm) -> Subject {
        let pair = |claim: &Claim| PrincipalId::of(address, Some(claim.credential), realm);
        let accepted =
            (claims.iter()).find(|claim| claim.is_verified || self.n_accepted(pair(claim)) > 0);
        match accepted {
            Some(claim) => Subject {
                id: pair(claim),
                identity: Identity::Accepted,
            },
            None => Subject {
                id: PrincipalId::of(address, None, realm),
                identity: match claims.first() {
                    Some(_) => Identity::Claimed,
                    None => Identity::Anonymous,
                },
            },
        }
    }

    /// Charges one request and returns what counts in its realm, the request included.
    ///
    /// Where decisions are only watched, the requests of both realms count, and take from one
    /// bucket: what is shown is what enforcing the route would do.
    pub(crate) fn charge(&mut self, id: PrincipalId, charge: Charge) -> (Features, Receipt) {
        let elsewhere = match id.realm {
            Realm::Enforced => {
                if self.watches
                    && let Some(watched) = self.table.find_mut(&id.watched())
                {
                    watched.bucket.take(charge.at, charge.allowance);
                }
                None
            }
            Realm::Watched => {
                self.watches = true;
                (self.table.find(&id.enforced()))
                    .map(|record| (record.features(charge.at), record.bucket))
            }
        };
        let record = self.table.entry(id);
        if let Some((_features, bucket)) = elsewhere {
            record.bucket.drain_to(bucket);
        }
        let receipt = record.charge(charge);
        let features = record.features(charge.at);
        let features = elsewhere.map_or(features, |(enforced, _bucket)| enforced.with(features));
        (features, receipt)
    }

    /// Notes that `id` was blocked.
    pub(crate) fn note_blocked(&mut self, id: PrincipalId, now: Monotonic) {
        if let Some(record) = self.table.find_mut(&id) {
            record.blocked = now;
        }
    }

    /// Counts an interaction event, for the pair if the upstream accepted it, else the address.
    pub(crate) fn interact(&mut self, now: Monotonic, address: IpAddr, claims: &Claims) {
        let subject = self.subject(address, claims, Realm::Enforced);
        self.table.entry(subject.id).interact(now);
    }

    /// Notes that the upstream accepted a request which was charged to `charged` and carried
    /// `claim`, of a tier that entitles it to `entitled`. A charge to the address moves to the pair:
    /// it was the pair's all along, and no request counts twice. A new pair of an address where they
    /// churn is not accepted.
    pub(crate) fn accept(
        &mut self,
        charged: PrincipalId,
        claim: Option<Credential>,
        receipt: Receipt,
        entitled: Allowance,
        turnover: Turnover,
    ) -> PrincipalId {
        let owner = charged.owner(claim);
        if owner != charged {
            if turnover == Turnover::Churning && self.n_accepted(owner) == 0 {
                return charged;
            }
            if let Some(record) = self.table.find_mut(&charged) {
                record.uncharge(receipt);
            }
            self.table.entry_unused(owner).charge(Charge {
                allowance: entitled,
                ..receipt.charge
            });
        }
        // Its request was a use already; a second mark would make one-timers look like regulars.
        self.table.entry_unused(owner.enforced()).accept();
        owner
    }

    /// Whether a credential that is accepted now was before, if the request has one.
    pub(crate) fn arrival(
        &self,
        charged: PrincipalId,
        claim: Option<Credential>,
    ) -> Option<Arrival> {
        let owner = charged.owner(claim);
        owner.holder?;
        Some(match self.n_accepted(owner) {
            0 => Arrival::New,
            1 => Arrival::Second,
            _ => Arrival::Known,
        })
    }

    /// Requests of `id` that the upstream accepted, on whatever route.
    pub(crate) fn n_accepted(&self, id: PrincipalId) -> u16 {
        self.table
            .find(&id.enforced())
            .map_or(0, Principal::n_accepted)
    }

    /// Whether the upstream accepted `credential` from `address`.
    pub(crate) fn knows(&self, address: IpAddr, credential: Credential) -> bool {
        self.n_accepted(PrincipalId::of_credential(address, credential)) > 0
    }

    /// Whether `id` was blocked within `window`.
    pub(crate) fn blocked_within(&self, id: PrincipalId, now: Monotonic, window: Duration) -> bool {
        self.table
            .find(&id.enforced())
            .map(|record| record.blocked)
            .is_some_and(|at| at != Monotonic::default() && now.since(at) < window)
    }
}

impl PrincipalId {
    fn of(address: IpAddr, credential: Option<Credential>, realm: Realm) -> Self {
        Self {
            network: subscriber(address),
            holder: credential.map(Holder::of),
            realm,
        }
    }

    /// A pair where decisions are carried out.
    pub(crate) fn of_credential(address: IpAddr, credential: Credential) -> Self {
        Self::of(address, Some(credential), Realm::Enforced)
    }

    /// Whose request it was, if it is accepted: a known holder's, else the claimed one's.
    fn owner(self, claim: Option<Credential>) -> Self {
        Self {
            holder: self.holder.or_else(|| claim.map(Holder::of)),
            ..self
        }
    }

    /// The address; IPv6 by its /64.
    pub(crate) const fn network(self) -> IpAddr {
        self.network
    }

    /// Who, at that address; `None` is the address itself.
    pub(crate) fn credential(self) -> Option<Credential> {
        self.holder.map(Holder::credential)
    }

    /// A hash that stays the same for good, for the roll-out.
    pub(crate) fn stable_hash(self) -> u64 {
        match self.holder {
            Some(_) => mix(self.tag()),
            None => mix(Self::address_tag(self.network)),
        }
    }

    /// An address folded to a number.
    pub(crate) fn address_tag(address: IpAddr) -> u64 {
        match address {
            IpAddr::V4(ip) => mix(u64::from(ip.to_bits())),
            IpAddr::V6(ip) => fold(ip.to_bits()),
        }
    }

    /// The credential's hash folded to half, enough to tell the principals of one source apart; 0
    /// for the address itself.
    pub(crate) fn tag(self) -> u64 {
        self.holder
            .map_or(0, |holder| fold(u128::from_be_bytes(holder.hash)))
    }

    /// By what a key knows again who speaks for it: for itself, each address where it is used; nobody
    /// without a credential does.
    pub(crate) fn voice(self) -> Option<u64> {
        Some(match self.credential()? {
            Credential::Key(_) => Self::address_tag(self.network),
            Credential::Session(_) | Credential::User(_) => self.tag(),
        })
    }

    /// The same principal where its evidence counts in `realm`.
    pub(crate) fn counted_in(self, realm: Realm) -> Self {
        Self { realm, ..self }
    }

    /// Where the evidence of watched routes is kept.
    fn watched(self) -> Self {
        Self {
            realm: Realm::Watched,
            ..self
        }
    }

    /// Where the upstream's word, interaction and enforced evidence are kept.
    pub(crate) fn enforced(self) -> Self {
        Self {
            realm: Realm::Enforced,
            ..self
        }
    }
}

/// Whether a response shows that the upstream knows the key it was asked with.
///
/// Only answers that come after authentication do: success, redirection, and those client errors
/// that speak of the resource. 401 and 403 deny it; 400, 407 and 429 may come before it was
/// looked at; 5xx says nothing.
pub(crate) fn is_acceptance(response: &ResponseFacts) -> bool {
    response.answered_by == AnsweredBy::Upstream
        && match response.status {
            400 | 401 | 403 | 407 | 429 => false,
            status => (200..500).contains(&status),
        }
}

fn fold(hash: u128) -> u64 {
    // The conversion fits: the upper half was shifted away or masked off.
    u64::try_from((hash >> 64) ^ (hash & u128::from(u64::MAX))).unwrap_or(0)
}

/// IPv6 by its /64.
pub(crate) fn subscriber(address: IpAddr) -> IpAddr {
    match canonical(address) {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acceptance_is_the_upstreams_word_after_authentication() {
        let check = |answered_by, status, expected| {
            let response = ResponseFacts {
                answered_by,
                status,
                bytes_in: 0,
                bytes_out: 0,
                upstream: None,
                total: Duration::ZERO,
                observation: None,
                login: None,
            };
            assert_eq!(
                is_acceptance(&response),
                expected,
                "{answered_by:?} {status}"
            );
        };
        for status in [200, 204, 302, 304, 404, 409, 422] {
            check(AnsweredBy::Upstream, status, true);
            check(AnsweredBy::Botguard, status, false);
        }
        for status in [101, 400, 401, 403, 429, 500, 502] {
            check(AnsweredBy::Upstream, status, false);
        }
    }

    #[test]
    fn a_subscriber_is_an_address_or_a_64() {
        let check = |address: &str, expected: &str| {
            let ip = |text: &str| text.parse::<IpAddr>().unwrap();
            assert_eq!(subscriber(ip(address)), ip(expected));
        };
        check("192.0.2.7", "192.0.2.7");
        check("::ffff:192.0.2.7", "192.0.2.7");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::");
    }
}
