//! Drops as they happen, sampled by the filter while somebody listens.
//!
//! Beside whoever owns the pins: a listener writes nothing but the tick until which it listens, so
//! it needs no lock and works while the daemon runs. There is one ring: of two listeners each gets
//! a part.

use std::net::IpAddr;
use std::path::Path;

use aya::maps::{Array, MapData, RingBuf};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya_obj::programs::XdpAttachType;
use botguard_common::entry::ticks;
use botguard_common::exit::Exit;
use botguard_common::maps::{CLOCK, CONFIG, ClockReading, Config, DropEvent, EVENTS, EVENTS_UNTIL};
use hashbrown::HashSet;

use super::KernelError;
use super::lasting::{Lasting, of_map, open};
use super::pins::Pins;
use crate::enforcement::rules::RuleNumbers;
use crate::words::clock::Wall;
use crate::words::rule::Rule;

/// Listens. What was sampled before it began is left out; dropping it ends the sampling by itself
/// within some seconds.
pub struct DropEvents {
    pins: Pins,
    ring: RingBuf<MapData>,
    until: Array<MapData, u32>,
    config: Config,
    clock: Xdp,
    readings: Array<MapData, ClockReading>,
    rules: RuleNumbers,
    /// Numbers that stood for no rule at the last [`Self::keep_listening`] or since.
    unknown: HashSet<u16>,
    since_jiffies: u64,
    /// Both clocks at the last [`Self::keep_listening`].
    now: (u64, Wall),
}

/// A packet that was dropped, or would have been.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dropped {
    /// When.
    pub at: Wall,
    /// Whose it was.
    pub source: IpAddr,
    /// On whose account; `None` for a rule that is gone.
    pub rule: Option<Rule>,
    /// What became of it; `None` for a later version's.
    pub exit: Option<Exit>,
    /// Index of the interface that it came by.
    pub interface: u32,
    /// Length of the frame in bytes, of its first buffer where it has several.
    pub frame_bytes: u32,
}

impl DropEvents {
    /// Begins to listen.
    ///
    /// Errors: [`KernelError::NotAttached`], or a pin that is not this version's.
    pub fn open(pin_dir: &Path, now: Wall) -> Result<Self, KernelError> {
        let pins = Pins::below(pin_dir);
        if !pins.has_filter()? {
            return Err(KernelError::NotAttached(pins.directory().into()));
        }
        pins.verify()?;
        let path = pins.clock_program();
        let clock = Xdp::from_pin(&path, XdpAttachType::Interface)
            .map_err(|error| KernelError::pin(&path, error))?;
        let config: Array<_, Config> = open(&pins, CONFIG)?;
        let mut events = Self {
            ring: open(&pins, EVENTS)?,
            until: open(&pins, EVENTS_UNTIL)?,
            config: of_map(CONFIG, config.get(&0, 0))?,
            readings: open(&pins, CLOCK)?,
            rules: RuleNumbers::default(),
            unknown: HashSet::new(),
            clock,
            pins,
            since_jiffies: 0,
            now: (0, now),
        };
        events.keep_listening(now)?;
        events.since_jiffies = events.now.0;
        Ok(events)
    }

    /// To be called every second or so: has the filter go on, and follows new rules.
    pub fn keep_listening(&mut self, now: Wall) -> Result<(), KernelError> {
        let packet = [0; 64];
        let mut options = TestRunOptions::new();
        options.data_in = Some(&packet);
        let ran = self.clock.test_run(options);
        ran.map_err(|error| KernelError::Clock(error.to_string()))?;
        let reading = of_map(CLOCK, self.readings.get(&0, 0))?;
        self.now = (reading.jiffies, now);
        let tick = ticks(reading.jiffies, self.config.anchor_jiffies);
        let until = tick.saturating_add(TICKS_AHEAD);
        of_map(EVENTS_UNTIL, self.until.set(0, until, 0))?;
        self.unknown.clear();
        self.follow_rules()
    }

    /// The next one that is there already; never waits.
    pub fn next_dropped(&mut self) -> Option<Dropped> {
        loop {
            let event = parse(&self.ring.next()?)?;
            if event.jiffies >= self.since_jiffies {
                return Some(self.dropped(&event));
            }
        }
    }

    fn follow_rules(&mut self) -> Result<(), KernelError> {
        self.rules = Lasting::open(&self.pins)?.rules()?;
        Ok(())
    }

    /// A rule may be younger than the last look at them. One look more for each number, since they
    /// are read one by one.
    fn rule(&mut self, number: u16) -> Option<Rule> {
        if self.rules.rule(number).is_none() && self.unknown.insert(number) {
            // An event without its rule is better than none.
            let _followed: Result<(), KernelError> = self.follow_rules();
        }
        self.rules.rule(number).cloned()
    }

    fn dropped(&mut self, event: &DropEvent) -> Dropped {
        let (jiffies, now) = self.now;
        let ms = |jiffies: u64| jiffies * 1_000 / u64::from(self.config.jiffies_per_second.max(1));
        // After the last look at the clocks, or before it.
        let ahead = ms(event.jiffies.saturating_sub(jiffies));
        let behind = ms(jiffies.saturating_sub(event.jiffies));
        let at = now
            .as_unix_ms()
            .saturating_add(ahead)
            .saturating_sub(behind);
        Dropped {
            at: Wall::from_unix_ms(at),
            source: IpAddr::from(event.source).to_canonical(),
            rule: (u16::try_from(event.rule).ok()).and_then(|number| self.rule(number)),
            exit: Exit::try_from(event.exit).ok(),
            interface: event.interface,
            frame_bytes: event.frame_bytes,
        }
    }
}

/// Some seconds, so that a listener that is late misses nothing.
const TICKS_AHEAD: u32 = 4;

/// `None` for what is not this layout's.
fn parse(bytes: &[u8]) -> Option<DropEvent> {
    fn field<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
        bytes.get(offset..)?.first_chunk().copied()
    }
    Some(DropEvent {
        jiffies: u64::from_ne_bytes(field(bytes, 0)?),
        source: field(bytes, 8)?,
        interface: u32::from_ne_bytes(field(bytes, 24)?),
        exit: u32::from_ne_bytes(field(bytes, 28)?),
        rule: u32::from_ne_bytes(field(bytes, 32)?),
        frame_bytes: u32::from_ne_bytes(field(bytes, 36)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_field_by_field() {
        let mut bytes = vec![];
        bytes.extend(7_u64.to_ne_bytes());
        bytes.extend([9; 16]);
        for field in [1_u32, 2, 3, 4] {
            bytes.extend(field.to_ne_bytes());
        }
        let expected = DropEvent {
            jiffies: 7,
            source: [9; 16],
            interface: 1,
            exit: 2,
            rule: 3,
            frame_bytes: 4,
        };
        assert_eq!(parse(&bytes), Some(expected));
        for len in 0..bytes.len() {
            assert_eq!(parse(&bytes[..len]), None);
        }
    }
}
