//! Looks up the names of crawlers' addresses, beside the traffic. Without name servers nobody is
//! looked up, and whoever claims to be a crawler by name stays unknown.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::intel::crawlers::{CrawlerDnsSettings, Lookups, NameLookup, NameResolver};
use crate::words::clock::Monotonic;

/// Lookups at once.
const MAX_RUNNING: usize = 16;

/// Runs until `shutdown`.
pub(super) async fn serve(
    settings: CrawlerDnsSettings,
    lookups: Arc<Lookups>,
    mut questions: mpsc::Receiver<NameLookup>,
    shutdown: CancellationToken,
) {
    let resolver = match NameResolver::new(&settings) {
        Ok(resolver) => Arc::new(resolver),
        Err(error) => {
            tracing::warn!(%error, "crawlers are not looked up by name");
            return;
        }
    };
    let mut running = JoinSet::new();
    loop {
        // All arms are cancellation-safe: no question and no end of a lookup is lost.
        tokio::select! {
            () = shutdown.cancelled() => break,
            question = questions.recv(), if running.len() < MAX_RUNNING => {
                let Some(lookup) = question else {
                    break;
                };
                let (resolver, lookups) = (Arc::clone(&resolver), Arc::clone(&lookups));
                running.spawn(async move {
                    let answer = resolver.answer(&lookup).await;
                    lookups.learn(lookup, answer, Monotonic::read());
                });
            }
            Some(ended) = running.join_next(), if !running.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "lookup of a crawler");
                }
            }
        }
    }
}
