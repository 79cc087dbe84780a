//! What callers of the log and its threads share: what was lost, how much waits, and what is wrong.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Shared by callers, writer and archive.
#[derive(Debug, Default)]
pub(super) struct Health {
    n_lost: AtomicU64,
    n_queued: AtomicUsize,
    is_failing: AtomicBool,
    problems: Mutex<BTreeMap<Problem, String>>,
}

/// What can be wrong, each at most once.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Problem {
    /// Records cannot be written.
    Write,
    /// The file cannot be rotated; it grows.
    Rotation,
    /// Rotated files cannot be compressed or removed.
    Archive,
}

impl Problem {
    const fn text(self) -> &'static str {
        match self {
            Self::Write => "the audit log cannot be written",
            Self::Rotation => "the audit log cannot be rotated and goes on growing",
            Self::Archive => "rotated audit logs cannot be compressed or removed",
        }
    }
}

impl Health {
    /// Something is wrong, or right again. Logged once for each change.
    pub(super) fn set(&self, problem: Problem, error: Option<&impl Display>) {
        if problem == Problem::Write {
            self.is_failing.store(error.is_some(), Ordering::Relaxed);
        }
        let mut problems = self.problems.lock();
        match error {
            Some(error) => {
                let text = format!("{}: {error}", problem.text());
                if problems.insert(problem, text.clone()).is_none() {
                    tracing::error!("{text}; tried again by itself");
                }
            }
            None => {
                if problems.remove(&problem).is_some() {
                    tracing::info!("no longer: {}", problem.text());
                }
            }
        }
    }

    /// What is wrong, for `status`.
    pub(super) fn problems(&self) -> Vec<String> {
        self.problems.lock().values().cloned().collect()
    }

    /// Whether the last write failed.
    pub(super) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// Counts records that will never be written.
    pub(super) fn lose(&self, n_records: u64) {
        self.n_lost.fetch_add(n_records, Ordering::Relaxed);
        metrics::counter!("botguard_audit_lost_total").increment(n_records);
    }

    pub(super) fn n_lost(&self) -> u64 {
        self.n_lost.load(Ordering::Relaxed)
    }

    /// A record is put into the queue, or was about to be.
    pub(super) fn enqueue(&self) {
        self.n_queued.fetch_add(1, Ordering::Relaxed);
    }

    /// A record was taken from the queue, or had no place in it.
    pub(super) fn dequeue(&self) {
        self.n_queued.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn n_queued(&self) -> usize {
        self.n_queued.load(Ordering::Relaxed)
    }
}
