//! The whole of what botguard adds to a request beside the proxying: identity, standing, tables,
//! engine, headers, and the audit record on its way to the writer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use botguard::audit::writer::AuditLog;
use botguard::challenge::Challenge;
use botguard::daemon::enforcer::{AsnSource, Enforcer, Fill, KernelSide, Start};
use botguard::daemon::pipeline::{Pipeline, View};
use botguard::edge::gate::{Asks, Gate as _, RequestHead};
use botguard::edge::identity::KeyHasher;
use botguard::edge::identity::jwt::TokenVerifier;
use botguard::edge::prints::NO_PRINTS;
use botguard::enforcement::never_block::NeverBlock;
use botguard::enforcement::settings::{Backend, KernelSettings};
use botguard::engine::facts::{AnsweredBy, ResponseFacts};
use botguard::intel::Intel;
use botguard::intel::crawlers::Lookups;
use botguard::settings::{Loaded, policy_hash};
use botguard::store::Store;
use botguard::store::journal::Journal;
use botguard::words::address::ClientAddress;
use botguard::words::block::Scope;
use botguard::words::clock::{Monotonic, Now, Wall};
use botguard::words::mode::Mode;
use botguard_tests::bench::random::Random;
use botguard_tests::bench::report::{Goal, Report};
use botguard_tests::bench::statistics::quantile;
use http::Request;
use http::request::Parts;

use crate::crowd::{configuration, load};
use crate::decisions::nanoseconds;
use crate::{Scale, progress};

pub(crate) fn measure(scale: Scale, report: &mut Report) -> Result<()> {
    progress("requests through the whole gate");
    let directory = tempfile::tempdir().context("temporary directory")?;
    let (pipeline, audit) = pipeline(&load(configuration(scale.routes))?, directory.path())?;
    let mut random = Random::seeded(2);
    let heads: Vec<(Parts, String)> = (0..1_000)
        .map(|_| head(&mut random, scale.routes))
        .collect();
    let (mut medians, mut tails, mut means) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        let mut times = Vec::with_capacity(scale.decisions);
        for k in 0..scale.decisions {
            let (parts, path) = random.choose(&heads);
            let client = std::net::Ipv4Addr::from_bits(0x0B00_0000 + random.below(100_000));
            let head = RequestHead {
                parts,
                path,
                authority: "api.example.com",
                client: ClientAddress::direct(client.into()),
                local: ([127, 0, 0, 1], 8443).into(),
                asks: Asks::Application,
                prints: &NO_PRINTS,
            };
            let start = Monotonic::read();
            let admission = pipeline.admit(&head);
            std::hint::black_box(pipeline.finish(admission.ticket, &RESPONSE));
            times.push(nanoseconds(Monotonic::read().since(start)));
            // The writer is measured apart; here it must not lose records.
            if k % 4_096 == 0 {
                audit.flush();
            }
        }
        means.push(times.iter().sum::<f64>() / times.len() as f64);
        times.sort_by(f64::total_cmp);
        medians.extend(quantile(&times, 50));
        tails.extend(quantile(&times, 99));
    }
    anyhow::ensure!(audit.lost() == 0, "{} records were lost", audit.lost());
    let section = "gate: admit and finish, with the record";
    // A three-hundredth of the 1,500 µs that ModSecurity with the Core Rule Set takes (DESIGN §9).
    report.judged(section, "median", "ns", &medians, Goal::AtMost(5_000.0));
    report.figure(section, "p99", "ns", &tails);
    report.figure(section, "mean", "ns", &means);
    Ok(())
}

/// One request, from admission to its record.
pub(crate) fn one_request(pipeline: &Pipeline) {
    let (parts, path) = head(&mut Random::seeded(3), 10);
    let head = RequestHead {
        parts: &parts,
        path: &path,
        authority: "api.example.com",
        client: ClientAddress::direct([192, 0, 2, 1].into()),
        local: ([127, 0, 0, 1], 8443).into(),
        asks: Asks::Application,
        prints: &NO_PRINTS,
    };
    let admission = pipeline.admit(&head);
    pipeline.finish(admission.ticket, &RESPONSE);
}

/// A request as a browser's script sends it.
fn head(random: &mut Random, n_routes: usize) -> (Parts, String) {
    let route = random.below(u32::try_from(n_routes).unwrap_or(1));
    let path = format!("/v{}/resource{route}/{}", route % 7, random.below(10_000));
    let request = Request::builder()
        .uri(format!("https://api.example.com{path}?fields=name"))
        .header("host", "api.example.com")
        .header(
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/155.0 Safari/537.36",
        )
        .header("accept", "application/json")
        .header("accept-language", "de,en;q=0.7")
        .header("accept-encoding", "gzip, br")
        .header("cookie", "theme=dark; session=3b1f9c52a7e04d6f")
        .header("referer", "https://app.example.com/")
        .header("x-api-key", format!("sk_pub_{:032x}", random.bits()));
    // Names and values are visible ASCII.
    let (parts, ()) = request.body(()).unwrap_or_default().into_parts();
    (parts, path)
}

/// A pipeline as the daemon has it, without a kernel filter.
pub(crate) fn pipeline(
    loaded: &Loaded,
    directory: &std::path::Path,
) -> Result<(Pipeline, Arc<AuditLog>)> {
    let now = Wall::read();
    let (store, contents) = Store::open(directory, Duration::ZERO, now)?;
    let audit = Arc::new(AuditLog::open(&directory.join("audit.jsonl"))?);
    let start = Start {
        contents,
        store_is_blank: true,
        store_problem: None,
        journal: Journal::start(Arc::new(store))?,
        guard: NeverBlock::default(),
        mode: Mode::Enforce,
        default_scope: Scope::Listeners,
        fill: Fill::Now,
        asns: AsnSource::Unset,
        boot_id: "bench".to_owned(),
        clock: Now::read_closely(),
    };
    let kernel = KernelSide::open(&KernelSettings {
        backend: Backend::None,
        ..KernelSettings::default()
    });
    let enforcer = Arc::new(Enforcer::new(start, kernel, now));
    let view = View {
        policy: loaded.policy()?,
        policy_hash: policy_hash(&loaded.document),
        intel: Arc::new(Intel::load(
            &loaded.settings.intel,
            &loaded.settings.crawler,
        )?),
        tokens: Arc::new(TokenVerifier::load(&loaded.settings.identity)?),
        lookups: Arc::new(Lookups::new().0),
        challenge: Arc::new(Challenge::new(
            loaded.settings.challenge.clone(),
            "/.botguard/challenge".to_owned(),
            &[5; 32],
            &[6; 32],
        )),
        identity: loaded.settings.identity.clone(),
    };
    let hasher = KeyHasher::new(&[7; 32]);
    Ok((
        Pipeline::new(view, enforcer, Arc::clone(&audit), hasher, now),
        audit,
    ))
}

const RESPONSE: ResponseFacts = ResponseFacts {
    answered_by: AnsweredBy::Upstream,
    status: 200,
    bytes_in: 0,
    bytes_out: 2_048,
    upstream: Some(Duration::from_millis(1)),
    total: Duration::from_millis(2),
    observation: None,
    login: None,
};
