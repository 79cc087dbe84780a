//! What an upstream does of its own accord, aside from requests: checks its targets, looks its
//! names up, closes connections that are idle. Ends with the token.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, header};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::connect::Channel;
use super::core::Core;
use super::endpoint::Protocol;
use super::names;
use super::settings::HealthSettings;
use super::target::Target;
use super::transfer::RequestBody;
use crate::words::clock::Monotonic;

/// Begins all of it. Needs a tokio runtime.
pub(super) fn spawn(core: &Arc<Core>, token: &CancellationToken) {
    let run = |work: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        let token = token.clone();
        tokio::spawn(async move { token.run_until_cancelled(work).await });
    };
    run(Box::pin(tidy(Arc::clone(core))));
    if core.has_names() {
        run(Box::pin(names::resolve(Arc::clone(core))));
    }
    if let Some(health) = &core.health {
        run(Box::pin(check(Arc::clone(core), health.clone())));
    }
}

async fn tidy(core: Arc<Core>) {
    let mut ticks = ticks(TIDY_INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = core.common.changed.notified() => {}
        }
        let now = Monotonic::read();
        for target in core.targets().iter() {
            target.refresh();
            target.sweep(now);
            // It may be new, or up again.
            core.common.queue.serve(target);
        }
        core.publish();
    }
}

async fn check(core: Arc<Core>, health: HealthSettings) {
    let limit = health.timeout.unwrap_or(health.interval).0;
    let mut ticks = ticks(health.interval.0);
    loop {
        ticks.tick().await;
        // Dropped, and so ended, with this task.
        let mut checks = JoinSet::new();
        for target in core.targets().iter() {
            let (target, path) = (Arc::clone(target), health.path.clone());
            checks.spawn(async move {
                let passed = timeout(limit, passes(&target, &path)).await;
                target.checked(passed.unwrap_or(false));
            });
        }
        while checks.join_next().await.is_some() {}
    }
}

/// Whether a connection of its own is made and a request for `path` answered 2xx.
async fn passes(target: &Target, path: &str) -> bool {
    let Ok(channel) = target.check_channel().await else {
        return false;
    };
    let authority = target.endpoint.authority();
    let uri = match (&channel, target.protocol()) {
        (Channel::Http1(_), _) => path.to_owned(),
        (Channel::Http2(_), Protocol::Tls) => format!("https://{authority}{path}"),
        (Channel::Http2(_), _) => format!("http://{authority}{path}"),
    };
    let request = Request::get(uri)
        .header(header::USER_AGENT, HeaderValue::from_static("botguard"))
        .body(RequestBody::Empty);
    let Ok(mut request) = request else {
        return false;
    };
    let response = match channel {
        Channel::Http1(mut sender) => {
            let Ok(host) = HeaderValue::from_str(&authority) else {
                return false;
            };
            request.headers_mut().insert(header::HOST, host);
            sender.send_request(request).await
        }
        Channel::Http2(mut stream) => stream.sender.send_request(request).await,
    };
    response.is_ok_and(|response| response.status().is_success())
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

const TIDY_INTERVAL: Duration = Duration::from_secs(1);
