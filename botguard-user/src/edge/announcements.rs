//! Networks whose connections were closed, for other processes that have connections of them: who
//! asks is told what comes, and what came shortly before.

use std::collections::VecDeque;
use std::time::Duration;

use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::words::clock::Monotonic;

/// What was announced.
#[derive(Debug)]
pub(super) struct Announcements {
    channel: broadcast::Sender<IpNet>,
    /// The latest, oldest first.
    recent: Mutex<VecDeque<(Monotonic, IpNet)>>,
}

/// What is announced to one who asked.
#[derive(Debug)]
pub struct Announced {
    /// A moment ago.
    pub recent: Vec<IpNet>,
    /// From now on.
    pub coming: broadcast::Receiver<IpNet>,
}

impl Default for Announcements {
    fn default() -> Self {
        Self {
            channel: broadcast::Sender::new(MOST),
            recent: Mutex::default(),
        }
    }
}

impl Announcements {
    pub(super) fn announce(&self, network: IpNet, now: Monotonic) {
        let mut recent = self.recent.lock();
        if recent.len() == MOST {
            recent.pop_front();
        }
        recent.push_back((now, network));
        // An error means that nobody listens.
        let _n_listeners: Result<usize, _> = self.channel.send(network);
    }

    pub(super) fn listen(&self, now: Monotonic) -> Announced {
        let mut recent = self.recent.lock();
        recent.retain(|(at, _)| now.since(*at) < RECENT);
        Announced {
            recent: recent.iter().map(|(_, network)| *network).collect(),
            // Under the lock, so that nothing is between the two.
            coming: self.channel.subscribe(),
        }
    }
}

/// Who does not keep up misses the oldest.
const MOST: usize = 1_024;

/// Longer than a daemon that was taken over from takes to ask.
const RECENT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_told_what_was_and_what_comes() {
        let network = |last: u8| IpNet::from(std::net::IpAddr::from([192, 0, 2, last]));
        let at = |seconds| Monotonic::default().after(Duration::from_secs(seconds));
        let announcements = Announcements::default();
        announcements.announce(network(1), at(1));
        announcements.announce(network(2), at(8));
        let mut told = announcements.listen(at(11));
        assert_eq!(told.recent, [network(2)]);
        announcements.announce(network(3), at(11));
        assert_eq!(told.coming.try_recv(), Ok(network(3)));
        assert!(told.coming.try_recv().is_err());
        assert_eq!(announcements.listen(at(60)).recent, []);
    }

    #[test]
    fn no_more_is_kept_than_is_told() {
        let announcements = Announcements::default();
        for _ in 0..=MOST {
            announcements.announce(IpNet::default(), Monotonic::default());
        }
        assert_eq!(
            announcements.listen(Monotonic::default()).recent.len(),
            MOST
        );
    }
}
