//! What is known of addresses by their names, and the queue of those to be looked up. Bounded in
//! everything: whoever claims to be a crawler from ever new addresses fills a queue that drops, and
//! a memory of strangers in which true crawlers have no place to lose.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashSet;
use hickory_resolver::proto::rr::Name;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::words::bounded_map::BoundedMap;
use crate::words::clock::Monotonic;

/// Whether an address has a name in a crawler's domains that leads back to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// It has.
    Belongs,
    /// It has none.
    Stranger,
    /// Nobody has looked it up yet, or DNS did not answer.
    Unknown,
}

impl Answer {
    /// How long it is believed.
    const fn lifetime(self) -> Duration {
        match self {
            Self::Belongs => Duration::from_secs(24 * 3_600),
            Self::Stranger => Duration::from_secs(3_600),
            Self::Unknown => Duration::from_secs(5 * 60),
        }
    }
}

/// One question. Its answer goes to [`Lookups::learn`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct NameLookup {
    /// Whose name is asked for.
    pub ip: IpAddr,
    /// In which domains it must be.
    pub domains: Arc<[Name]>,
}

/// Questions that wait; more are dropped, and asked again with the next request.
const MAX_WAITING: usize = 256;

/// Addresses of true crawlers: those of all known ones together are fewer.
const MAX_BELONGING: usize = 16 * 1_024;

/// Addresses of others.
const MAX_OTHERS: usize = 16 * 1_024;

/// Answers of late, and the way to new ones.
pub struct Lookups {
    queue: mpsc::Sender<NameLookup>,
    known: Mutex<Known>,
}

struct Known {
    /// Until when each belongs.
    belonging: BoundedMap<NameLookup, Monotonic>,
    others: BoundedMap<NameLookup, (Answer, Monotonic)>,
    /// In the queue, or being looked up.
    pending: HashSet<NameLookup>,
}

impl Lookups {
    /// Without answers, and the questions as they come.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<NameLookup>) {
        let (queue, questions) = mpsc::channel(MAX_WAITING);
        let known = Known {
            belonging: BoundedMap::new(MAX_BELONGING),
            others: BoundedMap::new(MAX_OTHERS),
            pending: HashSet::new(),
        };
        let lookups = Self {
            queue,
            known: Mutex::new(known),
        };
        (lookups, questions)
    }

    /// What is known at `now`. Where that is nothing, the question is queued; nobody waits.
    #[must_use]
    pub fn ask(&self, ip: IpAddr, domains: &Arc<[Name]>, now: Monotonic) -> Answer {
        let lookup = NameLookup {
            ip,
            domains: Arc::clone(domains),
        };
        let mut known = self.known.lock();
        if known
            .belonging
            .find(&lookup)
            .is_some_and(|until| now < *until)
        {
            return Answer::Belongs;
        }
        if let Some((answer, until)) = known.others.find(&lookup)
            && now < *until
        {
            return *answer;
        }
        if known.pending.insert(lookup.clone())
            && let Err(refused) = self.queue.try_send(lookup)
        {
            known.pending.remove(&refused.into_inner());
            metrics::counter!("botguard_crawler_lookups_total", "answer" => "dropped").increment(1);
        }
        Answer::Unknown
    }

    /// Takes up an answer, found at `now`.
    pub fn learn(&self, lookup: NameLookup, answer: Answer, now: Monotonic) {
        let label = match answer {
            Answer::Belongs => "belongs",
            Answer::Stranger => "stranger",
            Answer::Unknown => "unknown",
        };
        metrics::counter!("botguard_crawler_lookups_total", "answer" => label).increment(1);
        let until = now.after(answer.lifetime());
        let mut known = self.known.lock();
        known.pending.remove(&lookup);
        match answer {
            Answer::Belongs => known.belonging.insert(lookup, until),
            Answer::Stranger | Answer::Unknown => known.others.insert(lookup, (answer, until)),
        }
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.known.lock();
        write!(f, "Lookups({:?}, {:?})", known.belonging, known.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_boot(Duration::from_secs(seconds))
    }

    fn domains(name: &str) -> Arc<[Name]> {
        Arc::from([Name::from_ascii(name).unwrap()])
    }

    fn address(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn an_answer_is_believed_for_its_time_and_asked_for_once() {
        let (lookups, mut questions) = Lookups::new();
        let google = domains("googlebot.com.");
        let check =
            |answer: Answer, ip: u32, lifetime: u64, questions: &mut mpsc::Receiver<NameLookup>| {
                let ask = |now| lookups.ask(address(ip), &google, at(now));
                assert_eq!((ask(0), ask(0)), (Answer::Unknown, Answer::Unknown));
                let lookup = questions.try_recv().unwrap();
                assert_eq!(lookup.ip, address(ip));
                // Once, although two asked, and a third while it is looked up.
                assert_eq!(ask(1), Answer::Unknown);
                assert!(questions.try_recv().is_err());
                lookups.learn(lookup, answer, at(1));
                assert_eq!(ask(1), answer);
                assert_eq!(ask(lifetime), answer);
                assert!(questions.try_recv().is_err(), "{answer:?}");
                assert_eq!(ask(1 + lifetime), Answer::Unknown);
                assert!(questions.try_recv().is_ok(), "{answer:?}");
            };
        check(Answer::Belongs, 1, 86_400, &mut questions);
        check(Answer::Stranger, 2, 3_600, &mut questions);
        check(Answer::Unknown, 3, 300, &mut questions);
        // Other domains are another question.
        assert_eq!(
            lookups.ask(address(1), &domains("bing.com."), at(1)),
            Answer::Unknown
        );
        assert!(questions.try_recv().is_ok());
    }

    #[test]
    fn a_full_queue_drops_and_asks_again_later() {
        let (lookups, mut questions) = Lookups::new();
        let google = domains("googlebot.com.");
        for n in 0..1_000 {
            assert_eq!(lookups.ask(address(n), &google, at(0)), Answer::Unknown);
        }
        assert_eq!(lookups.known.lock().pending.len(), MAX_WAITING);
        let mut n_asked = 0;
        while let Ok(lookup) = questions.try_recv() {
            lookups.learn(lookup, Answer::Stranger, at(0));
            n_asked += 1;
        }
        assert_eq!(n_asked, MAX_WAITING);
        assert_eq!(lookups.ask(address(0), &google, at(1)), Answer::Stranger);
        assert_eq!(lookups.ask(address(999), &google, at(1)), Answer::Unknown);
        assert_eq!(questions.try_recv().unwrap().ip, address(999));
    }

    #[test]
    fn strangers_take_no_crawlers_place() {
        let (lookups, _questions) = Lookups::new();
        let google = domains("googlebot.com.");
        let lookup = |n| NameLookup {
            ip: address(n),
            domains: Arc::clone(&google),
        };
        lookups.learn(lookup(0), Answer::Belongs, at(0));
        for n in 1..40_000 {
            lookups.learn(lookup(n), Answer::Stranger, at(0));
        }
        assert_eq!(lookups.ask(address(0), &google, at(1)), Answer::Belongs);
        assert_eq!(lookups.known.lock().others.len(), MAX_OTHERS);
    }
}
