//! The engine as a whole: a small stage on which requests are played, and what must hold on it.

mod answers;
mod bans;
mod collateral;
mod haste;
mod hostile;
mod ladder;
mod laws;
mod modes;
mod overrides;
mod principals;
mod prints;
mod worked_example;

use crate::engine::policy::reputation::ReputationSettings;
use crate::engine::policy::step_up::StepUpSettings;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::decision::{Decision, SignalReading};
use super::facts::{
    AnsweredBy, Asn, Hosting, InteractionFacts, NetworkFacts, RequestFacts, ResponseFacts, Standing,
};
use super::policy::Policy;
use super::policy::ban::BanPolicy;
use super::policy::settings::{DefaultSettings, PolicySettings, RouteSettings, TierSettings};
use super::{Engine, PrincipalCapacity};
use crate::words::address::ClientAddress;
use crate::words::clock::Monotonic;
use crate::words::identity::{KeyHash, KeyIdentity};
use crate::words::mode::Mode;

const POLICY: &str = r#"
    [[tier]]
    name = "free"
    keys = ["sk_pub_*"]
    client = "browser"
    weight = 0.10
    rate = "120/min"
    burst = 60

    [[tier]]
    name = "partner"
    keys = ["sk_partner_*"]
    client = "machine"
    rate = "6000/min"
    burst = 100

    [[route]]
    path = "/users"
    methods = ["GET"]
    mode = "enforce"

    [[route]]
    path = "/pages"
    mode = "enforce"
    expects = "browser"

    [[route]]
    path = "/watched"
    mode = "log"
    expects = "browser"

    [[route]]
    path = "/off"
    mode = "off"
"#;

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct File {
    tier: Vec<TierSettings>,
    default: DefaultSettings,
    route: Vec<RouteSettings>,
    step_up: StepUpSettings,
    reputation: ReputationSettings,
}

fn compile(mode: Mode, text: &str, ban: BanPolicy) -> Arc<Policy> {
    let file: File = toml::from_str(text).unwrap();
    let settings = PolicySettings {
        mode,
        tiers: &file.tier,
        default: &file.default,
        routes: &file.route,
        step_up: &file.step_up,
        reputation: file.reputation,
    };
    Arc::new(Policy::compile(&settings, ban).unwrap())
}

fn engine() -> Engine {
    engine_in(Mode::Enforce)
}

fn engine_in(mode: Mode) -> Engine {
    let policy = compile(mode, POLICY, BanPolicy::default());
    Engine::new(policy, PrincipalCapacity(1_000))
}

/// One sender; its methods return changed copies.
#[derive(Clone, Debug)]
struct Sender {
    facts: RequestFacts,
    /// What the upstream says to it.
    status: u16,
}

const SCRAPER: &str = "198.51.100.7";

fn from(address: &str) -> Sender {
    Sender {
        facts: RequestFacts::anonymous(
            ClientAddress::direct(address.parse().unwrap()),
            Method::GET,
            "/users",
            "",
        ),
        status: 200,
    }
}

/// The worked example's sender.
fn scraper() -> Sender {
    from(SCRAPER)
        .key("free", 1)
        .hosting()
        .asks("/users", "cursor=eyJp")
}

impl Sender {
    fn key(mut self, tier: &str, hash: u128) -> Self {
        self.facts.key = Some(KeyIdentity {
            public_id: Arc::from("xyz123"),
            shown: Arc::from("sk_pub_xyz123…"),
            hash: KeyHash(hash),
            tier: Some(Arc::from(tier)),
        });
        self
    }

    fn hosting(mut self) -> Self {
        self.facts.network = NetworkFacts {
            country: None,
            asn: Some(Asn {
                number: 16_509,
                name: Arc::from("Amazon.com, Inc."),
                table: Arc::from("asn.csv"),
            }),
            hosting: Hosting::Verified {
                list: Arc::from("built-in"),
            },
        };
        self
    }

    fn asks(mut self, path: &str, query: &str) -> Self {
        self.facts.path = Arc::from(path);
        self.facts.query = Arc::from(query);
        self
    }

    fn standing(mut self, standing: Standing) -> Self {
        self.facts.standing = standing;
        self
    }

    fn answered(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    fn behind(mut self, peer: &str) -> Self {
        let (peer, ip): (IpAddr, IpAddr) = (peer.parse().unwrap(), self.facts.client.ip());
        let via = crate::words::address::Via::Forwarded;
        self.facts.client = ClientAddress::behind(peer, ip, via);
        self
    }

    /// Sends one request at `ms` and lets it be answered at once.
    fn send(&self, engine: &mut Engine, ms: u64) -> Decision {
        self.send_at(engine, at_ms(ms))
    }

    fn send_at(&self, engine: &mut Engine, now: Monotonic) -> Decision {
        let (decision, pending) = engine.decide(now, &self.facts);
        let (answered_by, status) = match decision.denial {
            None => (AnsweredBy::Upstream, self.status),
            Some(_) => (AnsweredBy::Botguard, 403),
        };
        engine.observe(now, &pending, &response(answered_by, status));
        decision
    }

    /// Sends `n` requests evenly over `seconds` from `start_ms` on; all decisions.
    fn decisions(
        &self,
        engine: &mut Engine,
        start_ms: u64,
        n: u64,
        seconds: u64,
    ) -> impl Iterator<Item = Decision> {
        (0..n).map(move |k| {
            let since_start = Duration::from_nanos(k * seconds * 1_000_000_000 / n);
            self.send_at(engine, at_ms(start_ms).after(since_start))
        })
    }

    /// The same; the last decision.
    fn sends(&self, engine: &mut Engine, start_ms: u64, n: u64, seconds: u64) -> Decision {
        self.decisions(engine, start_ms, n, seconds).last().unwrap()
    }

    /// Touches the page at `ms`.
    fn touches(&self, engine: &mut Engine, ms: u64) {
        let facts = InteractionFacts {
            session: None,
            client: self.facts.client,
            key: self.facts.key.clone(),
        };
        engine.interaction(at_ms(ms), &facts);
    }
}

fn at_ms(ms: u64) -> Monotonic {
    Monotonic::from_boot(Duration::from_millis(ms))
}

fn response(answered_by: AnsweredBy, status: u16) -> ResponseFacts {
    ResponseFacts {
        answered_by,
        status,
        bytes_in: 0,
        bytes_out: 0,
        upstream: None,
        total: Duration::ZERO,
        observation: None,
        login: None,
    }
}

fn signal<'a>(decision: &'a Decision, id: &str) -> Option<&'a SignalReading> {
    decision.score.signals.iter().find(|signal| signal.id == id)
}

/// Basis points of the score.
fn score(decision: &Decision) -> u32 {
    decision.score.score.as_basis()
}
