//! Logs to standard error, metrics as Prometheus text. Names and labels stand in [`metrics`];
//! the page is served by `admin`.

pub mod metrics;
pub mod request_metrics;

use std::io::IsTerminal as _;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use tracing_subscriber::EnvFilter;

/// Starts logging to standard error; `BOTGUARD_LOG` filters it as `RUST_LOG` would
/// (`botguard=debug`), `info` without it. A second call changes nothing.
pub fn start_logging() {
    let filter = EnvFilter::try_from_env("BOTGUARD_LOG").unwrap_or_else(|_unset| "info".into());
    // Fails only where a subscriber is installed already, which then is the one to keep.
    let _installed: Result<(), _> = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
}

/// Renders the metrics page.
#[derive(Clone)]
pub struct MetricsPage(PrometheusHandle);

impl std::fmt::Debug for MetricsPage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MetricsPage")
    }
}

/// Metrics could not be set up. Internal.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up metrics: {0}")]
pub struct MetricsError(#[from] BuildError);

impl MetricsPage {
    /// Installs the process's recorder.
    ///
    /// Errors: one is installed already.
    pub fn install() -> Result<Self, MetricsError> {
        let handle = builder(GAUGE_IDLE)?.install_recorder()?;
        metrics::describe();
        Ok(Self(handle))
    }

    /// The page: Prometheus text format 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Bounds what histograms hold between two renderings; to be called every few seconds.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

/// `gauge_idle` is how long a gauge is shown that nobody sets any more.
fn builder(gauge_idle: Duration) -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .idle_timeout(MetricKindMask::GAUGE, Some(gauge_idle))
        .set_buckets_for_metric(Matcher::Full(metrics::SCORE.to_owned()), &SCORE_BUCKETS)?
        .set_buckets_for_metric(
            Matcher::Full(metrics::ENGINE_SECONDS.to_owned()),
            &ENGINE_BUCKETS,
        )?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)
}

/// Every gauge is set each second, by the daemon's timers or an upstream's tasks. One that is not was
/// of something that a reload took away, an upstream's endpoint for one.
const GAUGE_IDLE: Duration = Duration::from_secs(60);

/// Tenths, and finer where policies have their thresholds.
const SCORE_BUCKETS: [f64; 12] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0];

/// Around the goals of DESIGN section 9: p50 2 µs, p99 10 µs.
const ENGINE_BUCKETS: [f64; 9] = [500e-9, 1e-6, 2e-6, 5e-6, 10e-6, 20e-6, 50e-6, 100e-6, 1e-3];

/// From a loopback answer to a timeout.
const SECONDS_BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::clock::Monotonic;

    #[test]
    fn the_page_has_the_promised_names() {
        let recorder = builder(GAUGE_IDLE).unwrap().build_recorder();
        let handle = recorder.handle();
        ::metrics::with_local_recorder(&recorder, || {
            metrics::describe();
            metrics::kernel_packets("drop_block", 3);
            metrics::kernel_entries("automatic", 1);
            metrics::keys("suspended", 2);
            metrics::principals(4);
            metrics::overrides(3);
            metrics::admin_refused("wrong_token");
        });
        let page = handle.render();
        for line in [
            r#"botguard_kernel_packets_total{exit="drop_block"} 3"#,
            r#"botguard_kernel_entries{origin="automatic"} 1"#,
            r#"botguard_keys{state="suspended"} 2"#,
            "botguard_principals 4",
            "botguard_key_overrides 3",
            r#"botguard_admin_refused_total{reason="wrong_token"} 1"#,
            "# HELP botguard_audit_lost_total",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn a_gauge_that_nobody_sets_any_more_goes_away_and_nothing_else() {
        let recorder = builder(Duration::from_millis(20)).unwrap().build_recorder();
        let handle = recorder.handle();
        ::metrics::with_local_recorder(&recorder, || {
            metrics::kernel_entries("automatic", 1);
            metrics::kernel_packets("drop_block", 3);
            let begun = Monotonic::read();
            let mut page = String::new();
            while page.is_empty() || page.contains(r#"origin="automatic""#) {
                metrics::kernel_entries("operator", 2);
                page = handle.render();
                let time = Monotonic::read().since(begun);
                assert!(time < Duration::from_secs(10), "still there:\n{page}");
            }
            assert!(page.contains(r#"botguard_kernel_entries{origin="operator"} 2"#));
            assert!(page.contains(r#"botguard_kernel_packets_total{exit="drop_block"} 3"#));
        });
    }
}
