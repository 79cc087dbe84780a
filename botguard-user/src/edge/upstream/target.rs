//! One address that requests go to: its connections, how many requests it has, and whether it is
//! well. An endpoint that is a name has a target for each of its addresses.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::balance::Candidate;
use super::connect::{Address, Channel, Connector, Need};
use super::endpoint::{Endpoint, Protocol};
use super::failure::ConnectError;
use super::health::{Availability, Health, Thresholds};
use super::places::{Kind, Places};
use super::pool::Pool;
use super::queue::Queue;
use crate::words::clock::Monotonic;

/// What all targets of one upstream have in common.
pub(super) struct Common {
    pub(super) upstream: String,
    pub(super) connect_timeout: Duration,
    pub(super) max_connections: Option<u32>,
    pub(super) keep_idle: Duration,
    pub(super) keep_connections: usize,
    pub(super) thresholds: Thresholds,
    /// Told when a target goes up or down.
    pub(super) changed: Notify,
    /// Who waits for a place at any of them.
    pub(super) queue: Queue,
}

/// One address of an endpoint.
pub(super) struct Target {
    common: Arc<Common>,
    pub(super) endpoint: Arc<Endpoint>,
    connector: Connector,
    n_requests: AtomicUsize,
    /// `None` where there is no limit.
    places: Option<Places>,
    pool: Pool,
    /// Whether HTTP/2 was spoken last.
    speaks_http2: AtomicBool,
    /// Held while an HTTP/2 connection is made, which all who wait for it then share.
    opening: Arc<tokio::sync::Mutex<()>>,
    standing: Mutex<Standing>,
    /// 0 while it is up, `u64::MAX` while it is down, else the end of its ejection in nanoseconds
    /// since boot: what [`Standing`] comes to, to be read without its lock.
    blocked_until: AtomicU64,
}

struct Standing {
    health: Health,
    /// What the log was told last.
    told: Told,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Told {
    Up,
    NotUp,
}

/// A request's place at a target.
pub(super) struct Place {
    target: Arc<Target>,
    /// Of those that are counted.
    kind: Option<Kind>,
}

impl Place {
    pub(super) const fn target(&self) -> &Arc<Target> {
        &self.target
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let target = &self.target;
        target.n_requests.fetch_sub(1, Ordering::Relaxed);
        if let (Some(kind), Some(places)) = (self.kind, &target.places) {
            places.give_back(kind);
            target.common.queue.serve(target);
        }
    }
}

/// What a request holds until its response has ended. Dropping it closes an HTTP/1.1 connection
/// that is in the middle of a message.
pub(super) struct Occupancy {
    pub(super) place: Place,
    pub(super) channel: Channel,
}

impl Occupancy {
    /// The response has ended: the connection may have another.
    pub(super) fn release(self) {
        if let Channel::Http1(sender) = self.channel {
            self.place.target.pool.keep(sender);
        }
    }
}

/// Whether a connection has carried a request before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Age {
    New,
    Used,
}

impl Target {
    pub(super) fn new(common: Arc<Common>, endpoint: Arc<Endpoint>, connector: Connector) -> Self {
        let pool = Pool::new(common.keep_idle, common.keep_connections);
        Self {
            speaks_http2: AtomicBool::new(connector.protocol == Protocol::H2c),
            places: common.max_connections.map(Places::new),
            common,
            endpoint,
            connector,
            n_requests: AtomicUsize::new(0),
            pool,
            opening: Arc::default(),
            standing: Mutex::new(Standing {
                health: Health::default(),
                told: Told::Up,
            }),
            blocked_until: AtomicU64::new(0),
        }
    }

    pub(super) const fn address(&self) -> &Address {
        &self.connector.address
    }

    pub(super) const fn protocol(&self) -> Protocol {
        self.connector.protocol
    }

    pub(super) fn n_idle(&self) -> usize {
        self.pool.n_idle()
    }

    /// A place for a request, if one is free.
    pub(super) fn try_enter(self: &Arc<Self>, need: Need) -> Option<Place> {
        let kind = self.places.as_ref().map(|places| {
            let kind = self.kind(need);
            places.take(kind).then_some(kind)
        });
        let kind = match kind {
            Some(taken) => Some(taken?),
            None => None,
        };
        self.n_requests.fetch_add(1, Ordering::Relaxed);
        Some(Place {
            target: Arc::clone(self),
            kind,
        })
    }

    /// An upgrade has an HTTP/1.1 connection to itself, whatever others share.
    fn kind(&self, need: Need) -> Kind {
        if need == Need::Any && self.speaks_http2.load(Ordering::Relaxed) {
            Kind::Http2
        } else {
            Kind::Http1
        }
    }

    /// A connection, within `connect_timeout`: one that is kept where it may be of any `age`, else a
    /// new one.
    ///
    /// Errors: [`ConnectError`], which counts against this target unless it is only HTTP/1.1 that is
    /// missing, or another request that has not connected.
    pub(super) async fn channel(
        self: &Arc<Self>,
        need: Need,
        oldest: Age,
    ) -> Result<(Channel, Age), ConnectError> {
        if need == Need::Upgrade && self.connector.protocol == Protocol::H2c {
            return Err(ConnectError::NoUpgrade);
        }
        let shares = self.kind(need) == Kind::Http2;
        if oldest == Age::Used {
            let kept = if shares {
                self.pool.join().map(Channel::Http2)
            } else {
                self.pool.take(Monotonic::read()).map(Channel::Http1)
            };
            if let Some(channel) = kept {
                return Ok((channel, Age::Used));
            }
        }
        // Apart, since they are large and rarely used: every request would have room for them
        // otherwise.
        if shares {
            return Box::pin(self.shared(need, oldest)).await;
        }
        let channel = Box::pin(self.open(need)).await?;
        Ok((channel, Age::New))
    }

    /// One that others have made meanwhile, else a new one that others share. Its making has the
    /// whole time, and goes on when that of the request that began it is over: if each of those who
    /// wait made one in what is left of its own, a slow application would be reached by none.
    async fn shared(
        self: &Arc<Self>,
        need: Need,
        oldest: Age,
    ) -> Result<(Channel, Age), ConnectError> {
        let limit = self.common.connect_timeout;
        let (alone, left) = match Arc::clone(&self.opening).try_lock_owned() {
            Ok(alone) => (alone, None),
            Err(_taken) => {
                let arrived = Monotonic::read();
                // Somebody else's handshake that takes too long counts once.
                let waited = timeout(limit, Arc::clone(&self.opening).lock_owned()).await;
                let alone = waited.map_err(|_elapsed| ConnectError::Timeout)?;
                let waited = Monotonic::read().since(arrived);
                (alone, Some(limit.saturating_sub(waited)))
            }
        };
        if oldest == Age::Used
            && let Some(stream) = self.pool.join()
        {
            return Ok((Channel::Http2(stream), Age::Used));
        }
        let target = Arc::clone(self);
        let opening = tokio::spawn(async move {
            let opened = target.open(need).await;
            drop(alone);
            opened
        });
        let opened = match left {
            Some(left) => timeout(left, opening).await,
            None => Ok(opening.await),
        };
        let opened = opened.map_err(|_elapsed| ConnectError::Timeout)?;
        let channel = opened.map_err(io::Error::from)??;
        Ok((channel, Age::New))
    }

    /// A new connection, within `connect_timeout`, or a failure that counts.
    async fn open(&self, need: Need) -> Result<Channel, ConnectError> {
        let opened = timeout(self.common.connect_timeout, self.connector.open(need)).await;
        let opened = opened.unwrap_or(Err(ConnectError::Timeout));
        match &opened {
            Ok(channel) => {
                self.learn(channel, need);
                self.update(|health, now, _| health.connected(now));
            }
            Err(error) if self.is_for_want_of_http1(error, need) => {}
            Err(_error) => self.update(Health::connect_failed),
        }
        opened
    }

    /// Whether all that is wrong is that it speaks no HTTP/1.1, which is no sign of its being down,
    /// and is a client's to find. TLS has an alert for it; some just hang up.
    fn is_for_want_of_http1(&self, error: &ConnectError, need: Need) -> bool {
        match error {
            ConnectError::NoUpgrade => true,
            ConnectError::Tls(_) => {
                need == Need::Upgrade && self.speaks_http2.load(Ordering::Relaxed)
            }
            _ => false,
        }
    }

    /// A connection for one check, of which nothing is kept.
    pub(super) async fn check_channel(&self) -> Result<Channel, ConnectError> {
        self.connector.open(Need::Any).await
    }

    fn learn(&self, channel: &Channel, need: Need) {
        match channel {
            Channel::Http2(stream) => {
                self.speaks_http2.store(true, Ordering::Relaxed);
                self.pool.share(stream);
                if let Some(places) = &self.places {
                    places.set_streams(stream.sharing().max_streams());
                }
            }
            Channel::Http1(_) if need == Need::Any => {
                self.speaks_http2.store(false, Ordering::Relaxed);
            }
            Channel::Http1(_) => {}
        }
    }

    /// Closes connections that were idle for too long.
    pub(super) fn sweep(&self, now: Monotonic) {
        self.pool.sweep(now);
    }

    /// It gets no further requests: closes what has none.
    pub(super) fn retire(&self) {
        self.pool.close();
    }

    /// What a check found.
    pub(super) fn checked(&self, passed: bool) {
        self.update(|health, _, thresholds| {
            if passed {
                health.check_passed(thresholds);
            } else {
                health.check_failed(thresholds);
            }
        });
    }

    /// Says so where an ejection has ended.
    pub(super) fn refresh(&self) {
        if self.blocked_until.load(Ordering::Relaxed) != 0 {
            self.update(|_, _, _| {});
        }
    }

    pub(super) fn availability(&self) -> Availability {
        self.standing.lock().health.availability(Monotonic::read())
    }

    fn update(&self, change: impl FnOnce(&mut Health, Monotonic, &Thresholds)) {
        let now = Monotonic::read();
        let mut standing = self.standing.lock();
        change(&mut standing.health, now, &self.common.thresholds);
        let availability = standing.health.availability(now);
        let (blocked_until, told) = match availability {
            Availability::Up => (0, Told::Up),
            Availability::Down => (u64::MAX, Told::NotUp),
            Availability::Ejected(until) => (until.as_nanoseconds(), Told::NotUp),
        };
        self.blocked_until.store(blocked_until, Ordering::Relaxed);
        let is_news = std::mem::replace(&mut standing.told, told) != told;
        drop(standing);
        if !is_news {
            return;
        }
        let (upstream, endpoint) = (&self.common.upstream, &self.endpoint);
        let address = self.address();
        match availability {
            Availability::Up => {
                tracing::info!(upstream, %endpoint, %address, "the endpoint is up again");
            }
            Availability::Down => {
                tracing::warn!(upstream, %endpoint, %address, "the endpoint is down: its checks fail");
            }
            Availability::Ejected(until) => {
                let seconds = until.since(now).as_secs_f32();
                tracing::warn!(
                    upstream, %endpoint, %address, seconds,
                    "the endpoint is left alone: no connection can be made"
                );
            }
        }
        self.common.changed.notify_one();
    }
}

impl Candidate for Arc<Target> {
    fn is_up(&self) -> bool {
        match self.blocked_until.load(Ordering::Relaxed) {
            0 => true,
            u64::MAX => false,
            until => Monotonic::read().as_nanoseconds() >= until,
        }
    }

    fn load(&self) -> usize {
        self.n_requests.load(Ordering::Relaxed)
    }
}
