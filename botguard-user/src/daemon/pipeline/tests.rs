//! From a request's head to its record, without sockets.

mod visitors;

use std::time::Duration;

use std::net::SocketAddr;
use std::path::Path;

use http::{HeaderName, HeaderValue, Request};
use tempfile::TempDir;

use super::*;
use crate::audit::AuditSettings;
use crate::audit::record::{BanScope, Record, RequestRecord};
use crate::daemon::enforcer::{KernelSide, Start};
use crate::edge::gate::RequestHead;
use crate::edge::gate::{Asks, Closing, Gate as _, RefusedRequest, Ticket};
use crate::edge::prints::NO_PRINTS;
use crate::enforcement::never_block::{Guard, NeverBlock};
use crate::enforcement::settings::{Backend, KernelSettings};
use crate::engine::decision::{Action, Denial};
use crate::engine::facts::ResponseFacts;
use crate::engine::facts::{AnsweredBy, Standing};
use crate::settings::document::Document;
use crate::settings::{Loaded, policy_hash};
use crate::store::Store;
use crate::store::journal::Journal;
use crate::words::address::ClientAddress;
use crate::words::points::Points;

mod broken;
mod challenge;
mod counting;
mod keys;
mod limits;
mod logins;
mod prints;

const ASN_TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/asn-extract.csv");

/// An address of AS16509, which the built-in list says is hosting.
const SCRAPER: &str = "3.5.140.2";

mod lasting;
mod replay;
mod strict;

struct Bench {
    /// The configuration's text.
    config: String,
    directory: TempDir,
    pipeline: Pipeline,
    audit: Arc<AuditLog>,
    enforcer: Arc<Enforcer>,
}

impl Bench {
    /// The worked example's configuration, under this mode of its route.
    fn new(route_mode: &str) -> Self {
        Self::guarding(route_mode, &[])
    }

    fn guarding(route_mode: &str, spared: &[&str]) -> Self {
        Self::with("", route_mode, spared, "")
    }

    /// `identity` is the rest of `[identity]`.
    fn identifying(identity: &str, route_mode: &str, spared: &[&str]) -> Self {
        Self::with(identity, route_mode, spared, "")
    }

    fn with(identity: &str, route_mode: &str, spared: &[&str], more: &str) -> Self {
        let text = format!(
            "[intel]\nasn = {ASN_TABLE:?}\n[identity]\napi_key = [\"header:x-api-key\"]\n\
             {identity}\n[[tier]]\nname = \"free\"\nkeys = [\"sk_pub_*\"]\nclient = \"browser\"\n\
             weight = 0.10\nrate = \"120/min\"\nburst = 60\n\
             [[route]]\npath = \"/users\"\nmode = \"{route_mode}\"\n{more}"
        );
        Self::of(&text, spared)
    }

    /// Any configuration.
    fn of(text: &str, spared: &[&str]) -> Self {
        let document = Document::from_text(Path::new("b.toml"), text.to_owned());
        let loaded = Loaded::parse(document).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let now = Wall::read();
        let (store, contents) = Store::open(directory.path(), Duration::ZERO, now).unwrap();
        let settings = AuditSettings {
            path: directory.path().join("audit.jsonl"),
            ..loaded.settings.audit
        };
        let audit = Arc::new(AuditLog::start(&settings, now).unwrap());
        let mut guard = NeverBlock::default();
        let spared = spared.iter().map(|network| network.parse().unwrap());
        guard.guard(Guard::Operator, spared);
        let start = Start {
            contents,
            store_is_blank: false,
            store_problem: None,
            journal: Journal::start(Arc::new(store)).unwrap(),
            guard,
            mode: Mode::Enforce,
            default_scope: crate::words::block::Scope::Listeners,
            fill: crate::daemon::enforcer::Fill::Now,
            asns: super::super::enforcer::AsnSource::Unset,
            boot_id: "test".to_owned(),
            clock: Now::read_closely(),
        };
        let kernel = KernelSide::open(&KernelSettings {
            backend: Backend::None,
            ..KernelSettings::default()
        });
        let enforcer = Arc::new(Enforcer::new(start, kernel, now));
        let view = View {
            policy: loaded.policy().unwrap(),
            policy_hash: policy_hash(&loaded.document),
            intel: Arc::new(Intel::load(&loaded.settings.intel, &loaded.settings.crawler).unwrap()),
            tokens: Arc::new(TokenVerifier::load(&loaded.settings.identity).unwrap()),
            identity: loaded.settings.identity,
            lookups: Arc::new(Lookups::new().0),
            challenge: Arc::new(Challenge::new(
                loaded.settings.challenge,
                "/.botguard/challenge".to_owned(),
                &[5; 32],
                &[6; 32],
            )),
        };
        let pipeline = Pipeline::new(
            view,
            Arc::clone(&enforcer),
            Arc::clone(&audit),
            KeyHasher::new(&[7; 32]),
            now,
        );
        Self {
            config: text.to_owned(),
            directory,
            pipeline,
            audit,
            enforcer,
        }
    }

    /// One page of `/users`, from admission to settlement. Returns how it was denied, if it was.
    fn page(&self, ip: &str, n: u32) -> Option<Denial> {
        let request = Request::builder()
            .uri(format!("https://api.example.com/users?cursor=c{n}"))
            .header("x-api-key", "sk_pub_xyz1234567890")
            .header("user-agent", "curl/8");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let admission = self.pipeline.admit(&RequestHead {
            parts: &parts,
            path: "/users",
            authority: "api.example.com",
            client: ClientAddress::direct(ip.parse().unwrap()),
            local: SocketAddr::from(([192, 0, 2, 80], 443)),
            asks: Asks::Application,
            prints: &NO_PRINTS,
        });
        let id = HeaderValue::from_str(&admission.request_id).unwrap();
        let named = HeaderName::from_static("botguard-request-id");
        assert!(admission.upstream_headers.contains(&(named, id)));
        let response = ResponseFacts {
            answered_by: match admission.denial {
                Some(_) => AnsweredBy::Botguard,
                None => AnsweredBy::Upstream,
            },
            status: match admission.denial {
                Some(Denial::Throttle { .. }) => 429,
                Some(Denial::StepUp(_)) => 401,
                Some(Denial::Unrecordable) => 503,
                Some(_) => 403,
                None => 200,
            },
            ..response_of(AnsweredBy::Upstream)
        };
        if let Closing::Ban(ban) = self.pipeline.finish(admission.ticket, &response) {
            self.pipeline.settle(ban);
        }
        admission.denial
    }

    fn records(&self) -> Vec<Event> {
        self.audit.flush();
        let text = std::fs::read_to_string(self.directory.path().join("audit.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<Record>(line).unwrap().event)
            .collect()
    }

    fn requests(&self) -> Vec<RequestRecord> {
        let requests = self.records().into_iter().filter_map(|event| match event {
            Event::Request(request) => Some(*request),
            _ => None,
        });
        requests.collect()
    }

    fn bans(&self) -> Vec<BanRecord> {
        let bans = self.records().into_iter().filter_map(|event| match event {
            Event::Ban(ban) => Some(ban),
            _ => None,
        });
        bans.collect()
    }

    fn standing(&self, ip: &str) -> Standing {
        self.enforcer.standing(ip.parse().unwrap(), Wall::read())
    }
}

#[test]
fn the_worked_example_is_blocked_banned_and_recorded() {
    let bench = Bench::new("enforce");
    let denials: Vec<_> = (0..500).map(|n| bench.page(SCRAPER, n)).collect();
    assert_eq!(denials.first(), Some(&None));
    assert_eq!(denials.last(), Some(&Some(Denial::Block)));
    assert!(matches!(bench.standing(SCRAPER), Standing::Blocked { .. }));
    assert_eq!(bench.standing("3.5.140.3"), Standing::Unlisted);

    let requests = bench.requests();
    assert_eq!(requests.len(), denials.len());
    let worst = requests.last().unwrap();
    assert_eq!(
        (worst.raw, worst.score),
        (Points::from_basis(10_500), Points::ONE)
    );
    let text = serde_json::to_string(&requests).unwrap();
    assert!(
        !text.contains("sk_pub_xyz1234567890"),
        "the key must not be in the log"
    );

    let bans = bench.bans();
    assert_eq!(bans.len(), 1);
    assert_eq!(bans[0].refused, None);
    let earned: Vec<_> = requests
        .iter()
        .filter(|it| it.enforcement.is_some())
        .collect();
    assert_eq!(earned.len(), 1);
    assert_eq!(earned[0].request_id, bans[0].request_id);
}

#[test]
fn a_log_route_denies_and_bans_nobody() {
    let bench = Bench::new("log");
    let n_denied = (0..500)
        .filter(|&n| bench.page(SCRAPER, n).is_some())
        .count();
    assert_eq!(n_denied, 0);
    assert_eq!(bench.standing(SCRAPER), Standing::Unlisted);
    assert_eq!(bench.bans(), []);
    let would = bench.requests().last().unwrap().decision.would;
    assert_eq!(would, Action::Block);
}

#[test]
fn the_kill_switch_holds_at_once() {
    let bench = Bench::new("enforce");
    let n_denied =
        |range: std::ops::Range<u32>| range.filter(|&n| bench.page(SCRAPER, n).is_some()).count();
    assert!(n_denied(0..500) > 0);
    bench.pipeline.set_mode(Mode::Log);
    assert_eq!(n_denied(500..600), 0);
    bench.pipeline.set_mode(Mode::Enforce);
    assert_eq!(n_denied(600..610), 10);
}

#[test]
fn a_guarded_source_is_refused_requests_and_spared_the_ban() {
    let bench = Bench::guarding("enforce", &["3.5.140.0/28"]);
    let last = (0..500).filter_map(|n| bench.page(SCRAPER, n)).last();
    assert_eq!(last, Some(Denial::Block));
    assert_eq!(bench.standing(SCRAPER), Standing::Unlisted);
    let refused = bench.bans()[0].refused.clone().unwrap();
    assert!(refused.contains("never_block"), "{refused}");
    assert!(
        bench
            .requests()
            .iter()
            .filter_map(|request| request.enforcement.as_ref())
            .all(|earned| earned.scope == BanScope::Pair)
    );
}

#[test]
fn a_request_without_one_meaning_is_recorded_too() {
    let bench = Bench::new("enforce");
    let (parts, ()) = Request::get("/a%2Fb").body(()).unwrap().into_parts();
    let id = bench.pipeline.refused(&RefusedRequest {
        parts: &parts,
        client: ClientAddress::direct(SCRAPER.parse().unwrap()),
        local: SocketAddr::from(([192, 0, 2, 80], 443)),
        status: 400,
        reason: "an encoded slash",
        prints: &NO_PRINTS,
    });
    let requests = bench.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(Some(requests[0].request_id.as_str()), id.as_deref());
    assert_eq!(requests[0].http.status, Some(400));
}

#[test]
fn what_botguard_answers_itself_is_no_evidence() {
    let bench = Bench::new("enforce");
    let own = |path: &str| {
        let (parts, ()) = Request::get(format!("{path}?cursor=1"))
            .header("x-api-key", "sk_pub_xyz1234567890")
            .body(())
            .unwrap()
            .into_parts();
        let admission = bench.pipeline.admit(&head(&parts, Asks::Botguard));
        let response = response_of(AnsweredBy::Botguard);
        let closing = bench.pipeline.finish(admission.ticket, &response);
        assert_eq!(closing, Closing::Keep);
        admission.denial
    };
    // Not even under the path of a route that would block.
    assert!((0..500).all(|_| own("/users").is_none()));
    assert_eq!(bench.page(SCRAPER, 0), None);
    let requests = bench.requests();
    assert_eq!(requests.len(), 501);
    assert_eq!(requests[0].score, Points::ZERO);
    let seen = |id| {
        let signal = requests[500].signals.iter().find(|signal| signal.id == id);
        signal.map(|signal| signal.value)
    };
    assert!(seen("paging").is_none_or(|pages| pages <= 1.0));
    // A ban holds there as everywhere.
    while bench
        .enforcer
        .standing(SCRAPER.parse().unwrap(), Wall::read())
        == Standing::Unlisted
    {
        bench.page(SCRAPER, 0);
    }
    assert_eq!(own("/.botguard/ui"), Some(Denial::Block));
}

/// A request of the scraper's.
fn head(parts: &http::request::Parts, asks: Asks) -> RequestHead<'_> {
    RequestHead {
        parts,
        path: parts.uri.path(),
        authority: "a",
        client: ClientAddress::direct(SCRAPER.parse().unwrap()),
        local: SocketAddr::from(([192, 0, 2, 80], 443)),
        asks,
        prints: &NO_PRINTS,
    }
}

/// A short response that ended well.
const fn response_of(answered_by: AnsweredBy) -> ResponseFacts {
    ResponseFacts {
        answered_by,
        status: 200,
        bytes_in: 0,
        bytes_out: 10,
        upstream: None,
        total: Duration::from_micros(300),
        observation: None,
        login: None,
    }
}
