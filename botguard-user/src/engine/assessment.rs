//! Everything that is found out about a request before anything follows from it: whose it is, what
//! applies to it, what it used up, its score, and what policy would have.

use super::credentials::Claims;
use super::decision::{Breakdown, RouteThresholds, TrustCredit};
use super::facts::{Clearance, Reader, RequestFacts};
use super::features::paging::{Collection, position_parameter};
use super::features::principal::{Charge, Features};
use super::limits::LimitVerdict;
use super::policy::limit::Pace;
use super::policy::reputation::Suspension;
use super::policy::tier::Tier;
use super::policy::{Policy, RoutePolicy};
use super::principals::{Identity, PrincipalId, Realm, Subject};
use super::signals::{Page, View};
use super::throttle::Allowance;
use super::verdict::{Case, Held, Remedy, Wish};
use super::{Conduct, Engine, Pending, score, weights};
use crate::words::clock::Monotonic;
use crate::words::identity::{ClientClass, UserProof};
use crate::words::key::{KeyLimit, KeyStanding, KeyState};
use crate::words::memo::Credential;
use crate::words::mode::Mode;
use crate::words::points::Points;

/// What was found out.
pub(super) struct Assessment<'p> {
    pub(super) route: &'p RoutePolicy,
    /// The effective mode.
    pub(super) mode: Mode,
    pub(super) realm: Realm,
    pub(super) subject: Subject,
    pub(super) class: ClientClass,
    pub(super) thresholds: RouteThresholds,
    pub(super) limits: LimitVerdict,
    pub(super) key_state: Option<KeyState>,
    pub(super) score: Breakdown,
    pub(super) wish: Wish,
    pub(super) conduct: Conduct,
    pub(super) pending: Pending,
}

/// Whose request it is and what the policy says to it.
pub(super) struct Terms<'p> {
    pub(super) route: &'p RoutePolicy,
    /// The tier of its key, accepted or not.
    pub(super) tier: Option<&'p Tier>,
    pub(super) mode: Mode,
    pub(super) realm: Realm,
    pub(super) subject: Subject,
    /// Whether the upstream accepted the key from this address.
    pub(super) key: Identity,
    pub(super) key_state: KeyState,
    pub(super) thresholds: RouteThresholds,
}

impl Engine {
    pub(super) fn assess<'p>(
        &mut self,
        now: Monotonic,
        facts: &RequestFacts,
        policy: &'p Policy,
    ) -> Assessment<'p> {
        let claims = Claims::of(facts);
        let terms = self.terms(facts, &claims, policy);
        let Terms {
            route,
            tier,
            subject,
            ..
        } = terms;
        let bill = self.bill(now, facts, policy, &terms);

        let entitled = facts
            .ruling
            .limit
            .map_or_else(|| entitled(tier), Allowance::from);
        let allowance = match terms.key {
            Identity::Accepted => entitled,
            Identity::Anonymous | Identity::Claimed => UNTIERED,
        };
        let page = page(facts, route);
        let charge = Charge {
            at: now,
            page_of: page.map(|it| Collection::new(&facts.method, it.template, it.parameter)),
            allowance,
            fingerprint: facts.fingerprint,
        };
        let (features, receipt) = self.principals.charge(subject.id, charge);
        let class = class(terms.key, tier, route);
        let step_up = self.step_up(now, facts, class, policy);
        let newcomers = match subject.identity {
            Identity::Claimed => (self.sources).churning(now, facts.client.ip(), terms.realm),
            Identity::Anonymous | Identity::Accepted => None,
        };
        let view = View {
            facts,
            features,
            tier,
            class,
            allowance,
            newcomers,
            page,
            holder: subject.id.credential(),
        };
        let score = score::breakdown(&view, trust(step_up, policy));

        let wish = Wish::new(&Case {
            standing: &facts.standing,
            key: facts.ruling.standing,
            key_state: terms.key_state,
            crawler: &facts.crawler,
            pair: self.held(now, facts, &claims),
            limits: &bill.verdict,
            score: score.score,
            thresholds: &terms.thresholds,
            passage: receipt.passage,
            challenge: challenge(facts, class),
            step_up,
        });
        let conduct = conduct(&terms, &score, features);
        let suspicion = match conduct {
            Conduct::Suspect => score.score,
            Conduct::Good | Conduct::Unremarkable => Points::ZERO,
        };
        let pending = Pending {
            charged: subject.id,
            receipt,
            entitled,
            claim: claims.first(),
            key: facts.key.clone(),
            suspension: tier.map_or(Suspension::Manual, |tier| tier.suspension),
            address: facts.client.ip(),
            conduct,
            realm: terms.realm,
            suspicion,
            person: person(facts),
            fingerprint: facts.fingerprint,
            owed: bill.owed,
            metered: bill.metered,
        };
        Assessment {
            route,
            mode: terms.mode,
            realm: terms.realm,
            subject,
            class,
            thresholds: terms.thresholds,
            limits: bill.verdict,
            key_state: facts.key.as_ref().map(|_key| terms.key_state),
            score,
            wish,
            conduct,
            pending,
        }
    }

    /// What a tier or the operator loosens holds once the upstream accepted the key: anybody can
    /// write a partner tier's prefix.
    fn terms<'p>(&self, facts: &RequestFacts, claims: &Claims, policy: &'p Policy) -> Terms<'p> {
        let route = policy.route(&facts.host, &facts.method, &facts.path);
        let key = facts.key.as_ref();
        let tier = key.and_then(|key| policy.tier(key.tier.as_deref()?));
        let known = (self.principals).subject(facts.client.ip(), claims, Realm::Enforced);
        let key_identity = match (known.id.credential(), key) {
            (Some(Credential::Key(_)), _) => Identity::Accepted,
            (_, Some(_)) => Identity::Claimed,
            (_, None) => Identity::Anonymous,
        };
        let trusted = tier.filter(|_tier| key_identity == Identity::Accepted);
        let bound = [
            policy.mode(),
            trusted.map_or(Mode::Enforce, |tier| tier.mode),
            facts.ruling.mode.unwrap_or(Mode::Enforce),
        ];
        let mode = bound.into_iter().fold(route.mode, Mode::min);
        let is_rolled_out = (route.rollout).includes(known.id.stable_hash(), route.hash);
        let mode = if is_rolled_out {
            mode
        } else {
            mode.min(Mode::Log)
        };
        let realm = Realm::of(mode);
        Terms {
            route,
            tier,
            mode,
            realm,
            subject: Subject {
                id: known.id.counted_in(realm),
                ..known
            },
            key: key_identity,
            key_state: match (key, facts.ruling.standing) {
                (Some(key), KeyStanding::Earned) => self.keys.state(key.hash),
                _ => KeyState::Ok,
            },
            thresholds: trusted.map_or(route.thresholds, |tier| tier.thresholds(route.thresholds)),
        }
    }

    /// A pair that was held stays so where the upstream has not vouched for it again, as after a
    /// restart, and whatever else it brings along.
    fn held(&self, now: Monotonic, facts: &RequestFacts, claims: &Claims) -> Held {
        let address = facts.client.ip();
        let pairs = claims.iter();
        let mut pairs = pairs.map(|it| PrincipalId::of_credential(address, it.credential));
        if pairs.any(|pair| self.pairs.is_held(pair, now)) {
            Held::Yes
        } else {
            Held::No
        }
    }

    /// Whether fresh authentication is possible for who sent this, and there.
    fn step_up(
        &self,
        now: Monotonic,
        facts: &RequestFacts,
        class: ClientClass,
        policy: &Policy,
    ) -> Remedy {
        let demand = policy.step_up();
        let by_token = (facts.authentication.as_ref()).is_some_and(|it| demand.is_met_by(it));
        let by_application = person(facts)
            .and_then(|person| self.freshness.age(now, person, facts.fingerprint))
            .is_some_and(|age| age <= demand.max_age);
        let has_person = facts.session.is_some() || facts.user.is_some();
        if by_token || by_application {
            Remedy::Done
        } else if has_person && class != ClientClass::Machine {
            Remedy::Open
        } else {
            Remedy::Impossible
        }
    }
}

/// A challenge is for browsers, and never for what crawlers and programs fetch by convention.
fn challenge(facts: &RequestFacts, class: ClientClass) -> Remedy {
    let is_conventional = *facts.path == *"/robots.txt" || facts.path.starts_with("/.well-known/");
    let is_browser = match class {
        ClientClass::Browser => true,
        ClientClass::Any => facts.reader != Reader::Program,
        ClientClass::Machine | ClientClass::Mobile => false,
    };
    match facts.clearance {
        _ if is_conventional || !is_browser => Remedy::Impossible,
        Clearance::Valid => Remedy::Done,
        Clearance::None => Remedy::Open,
    }
}

fn trust(step_up: Remedy, policy: &Policy) -> Vec<TrustCredit> {
    if step_up != Remedy::Done {
        return Vec::new();
    }
    vec![TrustCredit {
        id: "fresh_authentication",
        credit: weights::FRESH_AUTHENTICATION,
        evidence: format!(
            "the user has authenticated within {} s",
            policy.step_up().max_age.as_secs()
        ),
    }]
}

fn conduct(terms: &Terms<'_>, score: &Breakdown, features: Features) -> Conduct {
    match terms.thresholds.reached(score.score) {
        Some(_) => Conduct::Suspect,
        None if terms.subject.identity == Identity::Anonymous && features.interactions == 0 => {
            Conduct::Unremarkable
        }
        None => Conduct::Good,
    }
}

/// Whose authentication it would be.
fn person(facts: &RequestFacts) -> Option<Credential> {
    let user = facts.user.filter(|user| user.proof == UserProof::Verified);
    (facts.session)
        .map(|session| Credential::Session(session.hash))
        .or_else(|| user.map(|user| Credential::User(user.hash)))
}

/// The client that is expected: the tier's word, else the route's.
///
/// A key that the upstream has not accepted may incriminate (a browser's is expected to be used by
/// a browser) but not excuse: anybody can write a machine tier's prefix.
fn class(key: Identity, tier: Option<&Tier>, route: &RoutePolicy) -> ClientClass {
    match tier.map(|tier| tier.client) {
        None | Some(ClientClass::Any) => route.expects,
        Some(ClientClass::Browser) => ClientClass::Browser,
        Some(declared) if key == Identity::Accepted => declared,
        Some(_) => route.expects,
    }
}

/// What a key of this tier may send from one address.
fn entitled(tier: Option<&Tier>) -> Allowance {
    tier.map_or(UNTIERED, |tier| tier.allowance)
}

pub(super) const UNTIERED: Allowance = Allowance {
    rate: weights::UNTIERED_RATE,
    burst: weights::UNTIERED_BURST,
};

impl From<KeyLimit> for Allowance {
    fn from(limit: KeyLimit) -> Self {
        Self {
            rate: limit.rate,
            burst: limit.burst,
        }
    }
}

impl From<Allowance> for Pace {
    fn from(allowance: Allowance) -> Self {
        Self::from(KeyLimit {
            rate: allowance.rate,
            burst: allowance.burst,
        })
    }
}

fn page<'a>(facts: &'a RequestFacts, route: &'a RoutePolicy) -> Option<Page<'a>> {
    let template = if route.has_parameters {
        &route.name
    } else {
        &facts.path
    };
    position_parameter(&facts.query).map(|parameter| Page {
        template,
        parameter,
    })
}
