//! Requests that wait for a place, where all targets of an upstream have as many as they may: they
//! take what becomes free first, wherever that is, in the order in which they came.
//!
//! Whoever gives a place back hands it to the one whose turn it is, and wakes nobody else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::balance::Candidate as _;
use super::connect::Need;
use super::target::{Place, Target};

/// Who waits for a place at one upstream.
#[derive(Default)]
pub(super) struct Queue {
    lines: Mutex<Lines>,
    /// How many stand in them, to be read without the lock.
    n_waiting: AtomicUsize,
}

/// One for each [`Need`], since a target may have room for one and not for the other.
#[derive(Default)]
struct Lines {
    any: VecDeque<Waiting>,
    upgrade: VecDeque<Waiting>,
    next_turn: u64,
}

struct Waiting {
    turn: u64,
    terms: Terms,
    sender: oneshot::Sender<Place>,
}

/// Which places a request can take.
pub(super) struct Terms {
    pub(super) need: Need,
    /// Targets that it was offered to already.
    pub(super) tried: Vec<Arc<Target>>,
    pub(super) among: Among,
}

/// What a target has to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Among {
    Up,
    /// None is up, so all are tried.
    All,
}

impl Waiting {
    fn can_have(&self, target: &Arc<Target>) -> bool {
        let Terms { tried, among, .. } = &self.terms;
        !self.sender.is_closed()
            && !tried.iter().any(|tried| Arc::ptr_eq(tried, target))
            && (*among == Among::All || target.is_up())
    }
}

impl Queue {
    /// Whether nobody waits, so that whoever comes may take what is free.
    pub(super) fn is_empty(&self) -> bool {
        self.n_waiting.load(Ordering::SeqCst) == 0
    }

    /// Waits for a place at any target, for `limit` at most; none either where too many wait.
    pub(super) async fn wait(
        &self,
        terms: Terms,
        targets: &[Arc<Target>],
        limit: Duration,
    ) -> Option<Place> {
        let place = self.enter(terms)?;
        // What was given back before this one stood in line; seldom anything.
        for target in targets {
            self.serve(target);
        }
        timeout(limit, place).await.ok()?.ok()
    }

    fn enter(&self, terms: Terms) -> Option<oneshot::Receiver<Place>> {
        let mut lines = self.lines.lock();
        lines.forget_gone();
        if lines.len() >= MAX_WAITING {
            return None;
        }
        let (sender, place) = oneshot::channel();
        let turn = lines.next_turn;
        lines.next_turn += 1;
        lines.of(terms.need).push_back(Waiting {
            turn,
            terms,
            sender,
        });
        self.n_waiting.store(lines.len(), Ordering::SeqCst);
        Some(place)
    }

    /// Hands what `target` has free to those whose turn it is.
    pub(super) fn serve(&self, target: &Arc<Target>) {
        while !self.is_empty() {
            let Some((waiting, place)) = self.next(target) else {
                return;
            };
            // Not under the lock: it may have gone meanwhile, and the place is given back here.
            let _gone: Result<(), Place> = waiting.sender.send(place);
        }
    }

    fn next(&self, target: &Arc<Target>) -> Option<(Waiting, Place)> {
        let mut lines = self.lines.lock();
        lines.forget_gone();
        let first = lines.take_turn(target);
        self.n_waiting.store(lines.len(), Ordering::SeqCst);
        first
    }
}

impl Lines {
    fn len(&self) -> usize {
        self.any.len() + self.upgrade.len()
    }

    const fn of(&mut self, need: Need) -> &mut VecDeque<Waiting> {
        match need {
            Need::Any => &mut self.any,
            Need::Upgrade => &mut self.upgrade,
        }
    }

    /// Those who waited for too long came first.
    fn forget_gone(&mut self) {
        for line in [&mut self.any, &mut self.upgrade] {
            while (line.front()).is_some_and(|first| first.sender.is_closed()) {
                line.pop_front();
            }
        }
    }

    /// The one who came first of those who can have a place at `target`.
    fn take_turn(&mut self, target: &Arc<Target>) -> Option<(Waiting, Place)> {
        let first = |line: &VecDeque<Waiting>| {
            let at = line.iter().position(|waiting| waiting.can_have(target))?;
            Some((line.get(at)?.turn, at))
        };
        let mut firsts = [
            (first(&self.any), Need::Any),
            (first(&self.upgrade), Need::Upgrade),
        ];
        firsts.sort_by_key(|(first, _)| *first);
        firsts.into_iter().find_map(|(first, need)| {
            let (_, at) = first?;
            let place = target.try_enter(need)?;
            Some((self.of(need).remove(at)?, place))
        })
    }
}

/// Of one upstream; more than a listener has connections by default.
const MAX_WAITING: usize = 16_384;

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::super::Upstream;
    use super::super::tests::upstreams;
    use super::*;

    /// Two endpoints with a place each, and a request that has it.
    fn full() -> (Arc<Upstream>, Vec<Arc<Target>>, Vec<Option<Place>>) {
        let lines = "endpoints = ['http://127.0.0.1:1', 'http://127.0.0.1:2']\n\
                     max_connections = 1\nqueue_timeout = '1h'";
        let app = upstreams(lines).unwrap().named("app").unwrap();
        let targets = app.core.targets().to_vec();
        let places = (targets.iter())
            .map(|target| Some(target.try_enter(Need::Any).unwrap()))
            .collect();
        (app, targets, places)
    }

    fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
        future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Where the place is, if there is one.
    fn at<F: Future<Output = Option<Place>>>(
        future: &mut Pin<Box<F>>,
        targets: &[Arc<Target>],
    ) -> Option<usize> {
        match poll(future) {
            Poll::Ready(Some(place)) => {
                let at = |target| Arc::ptr_eq(target, place.target());
                let found = targets.iter().position(at);
                // Kept, so that it is not handed on.
                std::mem::forget(place);
                found
            }
            Poll::Ready(None) => panic!("it gave up"),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn whoever_came_first_has_what_is_free_first_wherever_it_is() {
        for order in [[0, 1], [1, 0]] {
            let (app, targets, mut places) = full();
            let wait = || Box::pin(app.place(&targets, &targets[0], &[], Need::Any));
            let (mut first, mut second, mut third) = (wait(), wait(), wait());
            for waiting in [&mut first, &mut second, &mut third] {
                assert_eq!(at(waiting, &targets), None);
            }
            drop(places[order[0]].take());
            // Nobody who comes now takes it from those who wait.
            let mut late = wait();
            assert_eq!(at(&mut late, &targets), None);
            assert_eq!(at(&mut third, &targets), None);
            assert_eq!(at(&mut second, &targets), None);
            assert_eq!(at(&mut first, &targets), Some(order[0]));
            drop(places[order[1]].take());
            assert_eq!(at(&mut third, &targets), None);
            assert_eq!(at(&mut second, &targets), Some(order[1]));
        }
    }

    #[tokio::test]
    async fn who_has_gone_takes_nobody_s_place() {
        let (app, targets, mut places) = full();
        let wait = || Box::pin(app.place(&targets, &targets[0], &[], Need::Any));
        let (mut gone, mut second) = (wait(), wait());
        assert_eq!(at(&mut gone, &targets), None);
        assert_eq!(at(&mut second, &targets), None);
        drop(gone);
        drop(places[1].take());
        assert_eq!(at(&mut second, &targets), Some(1));

        // It goes while it is being handed one.
        let (mut gone, mut third) = (wait(), wait());
        assert_eq!(at(&mut gone, &targets), None);
        assert_eq!(at(&mut third, &targets), None);
        drop(places[0].take());
        assert_eq!(at(&mut third, &targets), None);
        drop(gone);
        assert_eq!(at(&mut third, &targets), Some(0));
    }

    #[tokio::test]
    async fn nobody_waits_where_a_place_is_free() {
        let (app, targets, mut places) = full();
        drop(places[1].take());
        let mut one = Box::pin(app.place(&targets, &targets[0], &[], Need::Any));
        assert_eq!(at(&mut one, &targets), Some(1));
        assert!(app.core.common.queue.is_empty());
        let mut waiting = Box::pin(app.place(&targets, &targets[0], &[], Need::Any));
        assert_eq!(at(&mut waiting, &targets), None);
        assert!(!app.core.common.queue.is_empty());
        drop(places[0].take());
        assert_eq!(at(&mut waiting, &targets), Some(0));
        assert!(app.core.common.queue.is_empty());
    }

    #[tokio::test]
    async fn no_place_is_one_that_was_tried() {
        let (app, targets, mut places) = full();
        let tried = [Arc::clone(&targets[0])];
        let mut picky = Box::pin(app.place(&targets, &targets[1], &tried, Need::Any));
        let mut other = Box::pin(app.place(&targets, &targets[1], &[], Need::Any));
        assert_eq!(at(&mut picky, &targets), None);
        assert_eq!(at(&mut other, &targets), None);
        drop(places[0].take());
        assert_eq!(at(&mut picky, &targets), None);
        assert_eq!(at(&mut other, &targets), Some(0));
        drop(places[1].take());
        assert_eq!(at(&mut picky, &targets), Some(1));
    }

    #[tokio::test]
    async fn the_queue_is_bounded() {
        let (app, targets, _places) = full();
        let wait = || Box::pin(app.place(&targets, &targets[0], &[], Need::Any));
        let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| wait()).collect();
        assert!(waiting.iter_mut().all(|one| poll(one).is_pending()));
        assert!(matches!(poll(&mut wait()), Poll::Ready(None)));
        // Those who gave up leave room.
        drop(waiting.remove(0));
        assert!(poll(&mut wait()).is_pending());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_place_is_lost_between_who_gives_and_who_comes() {
        let (app, targets, places) = full();
        let mut requests = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (app, targets) = (Arc::clone(&app), targets.clone());
            requests.spawn(async move {
                for at in 0..2_000 {
                    let chosen = &targets[at % 2];
                    let place = app.place(&targets, chosen, &[], Need::Any).await;
                    drop(place.expect("it gave up"));
                    tokio::task::yield_now().await;
                }
            });
        }
        drop(places);
        let all = timeout(Duration::from_secs(60), requests.join_all()).await;
        all.expect("one waits for ever");
        assert!(app.core.common.queue.is_empty());
        assert!(targets.iter().all(|target| target.load() == 0));
    }
}
