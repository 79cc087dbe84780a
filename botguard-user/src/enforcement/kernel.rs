//! The filter in the kernel: attach it, change its tables, read its counters.
//!
//! The filter lives in its pins, not in this process: [`KernelFilter::attach`] sets it up or adopts
//! what a former process left, [`KernelFilter::open`] reaches it without attaching anything, and
//! dropping either leaves it filtering. Input are the operations of `enforcement::plan`; what to
//! block is decided elsewhere.

use std::path::Path;
use std::time::Duration;

use aya::maps::PerCpuValues;
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya_obj::programs::XdpAttachType;
use botguard_common::exit::Exit;
use botguard_common::maps as shared;
use botguard_common::maps::{ClockReading, Config, OriginCounters};

use super::kernel_clock::{KernelClock, jiffies_per_second};
use super::plan::{Entries, Operation};
use super::settings::{AttachMode, KernelSettings};
use crate::words::block::Origin;
use crate::words::clock::Wall;
use crate::words::mode::Mode;

mod attach;
mod error;
mod listeners;
mod netlink;
mod object;
mod pins;
mod tables;

pub use error::KernelError;
pub use listeners::{LocalListener, Protocol, expand_wildcards};
pub use netlink::NetlinkError;

use pins::{PinLock, Pins};
use tables::{PRESENT, Tables, gone, of_map};

/// A pinned filter.
pub struct KernelFilter {
    pins: Pins,
    tables: Tables,
    clock: Xdp,
    _lock: PinLock,
}

/// One interface that the filter is attached to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attachment {
    /// Its name when it was attached.
    pub interface: String,
    /// Where the program runs; `None` if the interface is gone, renamed, or in another network
    /// namespace.
    pub mode: Option<AttachMode>,
    /// The program's id, as `bpftool prog show id` takes it.
    pub program_id: u32,
}

/// What the filter has done since its maps were made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KernelStats {
    /// Packets by their way out, in the order of [`Exit::ALL`].
    pub exits: Vec<(Exit, u64)>,
    /// Packets of blocked sources by who blocked them.
    pub origins: Vec<(Origin, OriginCounters)>,
}

impl KernelStats {
    /// Packets that took this way out.
    #[must_use]
    pub fn exit(&self, exit: Exit) -> u64 {
        let mut exits = self.exits.iter();
        exits.find(|(of, _)| *of == exit).map_or(0, |(_, n)| *n)
    }

    /// Packets dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let drops = self.exits.iter().filter(|(exit, _)| exit.is_drop());
        drops.map(|(_, n)| n).sum()
    }
}

impl KernelFilter {
    /// Attaches the filter to the interfaces of the settings, and to no other. What is pinned is
    /// adopted: maps with their entries and mode, links with a new program, between two packets.
    ///
    /// A new filter is in log mode, with no entries and no listeners.
    ///
    /// Errors: configuration (no such interface, foreign program, no bpffs, driver refuses) or
    /// internal (privileges, verifier, another process has the pins). Nothing new stays attached or pinned then.
    pub fn attach(settings: &KernelSettings) -> Result<Self, KernelError> {
        let pins = Pins::below(&settings.pin_dir);
        let is_new = !pins.directory().exists();
        let lock = attach::install(settings, &pins).inspect_err(|_error| {
            if is_new {
                // The first error is the one to tell.
                let _unused: Result<(), KernelError> = remove(&pins);
            }
        })?;
        let mut filter = Self::of_pins(pins, lock)?;
        filter.calibrate()?;
        Ok(filter)
    }

    /// Reaches a filter that is pinned already.
    ///
    /// Errors: [`KernelError::NotAttached`], [`KernelError::InUse`], or a pin that is not this version's.
    pub fn open(pin_dir: &Path) -> Result<Self, KernelError> {
        let pins = Pins::below(pin_dir);
        if !pins.program().exists() {
            return Err(KernelError::NotAttached(pins.directory().into()));
        }
        let lock = pins.lock()?;
        pins.verify()?;
        Self::of_pins(pins, lock)
    }

    fn of_pins(pins: Pins, lock: PinLock) -> Result<Self, KernelError> {
        let path = pins.clock_program();
        let clock = Xdp::from_pin(&path, XdpAttachType::Interface)
            .map_err(|error| KernelError::pin(&path, error))?;
        Ok(Self {
            tables: Tables::open(&pins)?,
            pins,
            clock,
            _lock: lock,
        })
    }

    /// The kernel's clock beside the wall clock's `now`, for compiling entries at once.
    pub fn clock(&self, now: Wall) -> Result<KernelClock, KernelError> {
        let config = self.config()?;
        Ok(KernelClock {
            jiffies: self
                .read_clock(1)?
                .jiffies
                .saturating_sub(config.anchor_jiffies),
            jiffies_per_second: config.jiffies_per_second,
            wall: now,
        })
    }

    /// Carries operations out, in order.
    ///
    /// Errors: a table is full or gone; the operations before stand, and repeating all is safe.
    pub fn apply(&mut self, operations: &[Operation]) -> Result<(), KernelError> {
        operations
            .iter()
            .try_for_each(|operation| match *operation {
                Operation::Put { network, entry } => self.tables.put(network, entry),
                Operation::Delete { network } => self.tables.delete(network),
                Operation::Allow { network } => self.tables.allow(network),
                Operation::Unallow { network } => self.tables.unallow(network),
            })
    }

    /// What is blocked and allowed. Cost: a walk over all entries.
    pub fn entries(&self) -> Result<Entries, KernelError> {
        self.tables.entries()
    }

    /// Carries drops out, or only counts them: in one cell, so the kill switch is instant.
    pub fn set_mode(&mut self, mode: Mode) -> Result<(), KernelError> {
        let mode = match mode {
            Mode::Enforce => shared::Mode::Enforce,
            Mode::Log | Mode::Off => shared::Mode::Log,
        };
        let config = Config {
            mode: mode as u32,
            ..self.config()?
        };
        self.set_config(config)
    }

    /// [`Mode::Enforce`] or [`Mode::Log`].
    pub fn mode(&self) -> Result<Mode, KernelError> {
        Ok(match shared::Mode::try_from(self.config()?.mode) {
            Ok(shared::Mode::Enforce) => Mode::Enforce,
            Ok(shared::Mode::Log) | Err(_) => Mode::Log,
        })
    }

    /// Replaces the listeners that scope `listeners` protects. New ones are there before old ones
    /// go.
    pub fn set_listeners(&mut self, listeners: &[LocalListener]) -> Result<(), KernelError> {
        let map = &mut self.tables.listeners;
        let wanted = listeners::keys(listeners);
        let present: Result<Vec<_>, _> = map.keys().collect();
        let present = of_map(shared::LISTENERS, present)?;
        for key in &wanted {
            of_map(shared::LISTENERS, map.insert(key, PRESENT, 0))?;
        }
        for key in present.iter().filter(|key| !wanted.contains(key)) {
            of_map(shared::LISTENERS, gone(map.remove(key)))?;
        }
        Ok(())
    }

    /// The counters, summed over the CPUs.
    pub fn stats(&self) -> Result<KernelStats, KernelError> {
        let exits = Exit::ALL.into_iter().map(|exit| {
            let counts = self.tables.exits.get(&exit.index(), 0);
            Ok((exit, of_map(shared::EXITS, counts)?.iter().sum()))
        });
        let origins = [Origin::Operator, Origin::Automatic]
            .into_iter()
            .map(|origin| {
                let counts = self.tables.origins.get(&(origin as u32), 0);
                Ok((origin, sum(&of_map(shared::ORIGIN_COUNTERS, counts)?)))
            });
        Ok(KernelStats {
            exits: exits.collect::<Result<_, KernelError>>()?,
            origins: origins.collect::<Result<_, KernelError>>()?,
        })
    }

    /// Where the filter is attached.
    pub fn attachments(&self) -> Result<Vec<Attachment>, KernelError> {
        let interfaces = self.pins.linked_interfaces()?.into_iter();
        let attachments = interfaces.map(|interface| {
            let program_id = attach::linked_program(&self.pins.link(&interface))?;
            Ok(Attachment {
                mode: attach::running_mode(&interface, program_id),
                interface,
                program_id,
            })
        });
        attachments.collect()
    }

    /// Takes the filter out of the kernel: links, then programs, maps and their directory.
    /// When it returns, the interfaces of this network namespace are free.
    pub fn detach(self) -> Result<(), KernelError> {
        remove(&self.pins)
    }

    /// Whether there are pins, of whatever shape.
    #[must_use]
    pub fn is_pinned(pin_dir: &Path) -> bool {
        Pins::below(pin_dir).directory().exists()
    }

    /// As [`Self::detach`], for pins of whatever shape, as after an upgrade that changed it.
    pub fn remove(pin_dir: &Path) -> Result<(), KernelError> {
        let pins = Pins::below(pin_dir);
        if !pins.directory().exists() {
            return Err(KernelError::NotAttached(pins.directory().into()));
        }
        let _lock = pins.lock()?;
        remove(&pins)
    }

    /// Finds the rate of jiffies, once in the life of the maps, and sets the anchor.
    fn calibrate(&mut self) -> Result<(), KernelError> {
        let config = self.config()?;
        if config.anchor_jiffies != 0 {
            return Ok(());
        }
        let first = self.read_clock(1)?;
        let jiffies_per_second = loop {
            // The kernel repeats the program, so this waits for the very clock it measures.
            let reading = self.read_clock(CLOCK_REPEAT)?;
            let elapsed_ns = reading.boot_ns.saturating_sub(first.boot_ns);
            if u128::from(elapsed_ns) >= CALIBRATION.as_nanos() {
                let passed = reading.jiffies.saturating_sub(first.jiffies);
                break jiffies_per_second(passed, elapsed_ns).ok_or_else(|| {
                    KernelError::Clock(format!("{passed} jiffies in {elapsed_ns} ns"))
                })?;
            }
        };
        self.set_config(Config {
            anchor_jiffies: first.jiffies.saturating_sub(ANCHOR_AHEAD).max(1),
            jiffies_per_second,
            ..config
        })
    }

    fn read_clock(&self, repeat: u32) -> Result<ClockReading, KernelError> {
        let packet = [0; 64];
        let mut options = TestRunOptions::new();
        options.data_in = Some(&packet);
        options.repeat = repeat;
        self.clock
            .test_run(options)
            .map_err(|error| KernelError::Clock(error.to_string()))?;
        of_map(shared::CLOCK, self.tables.clock.get(&0, 0))
    }

    fn config(&self) -> Result<Config, KernelError> {
        of_map(shared::CONFIG, self.tables.config.get(&0, 0))
    }

    fn set_config(&mut self, config: Config) -> Result<(), KernelError> {
        of_map(shared::CONFIG, self.tables.config.set(0, config, 0))
    }
}

impl std::fmt::Debug for KernelFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelFilter")
            .field("pins", &self.pins)
            .finish_non_exhaustive()
    }
}

/// Long enough to tell 250 from 300 jiffies a second: 62 or 63 against 75.
const CALIBRATION: Duration = Duration::from_millis(250);
/// A few milliseconds of clock readings in one system call.
const CLOCK_REPEAT: u32 = 50_000;
/// Jiffies that the anchor lies in the past, so that an end may too.
const ANCHOR_AHEAD: u64 = 1 << 16;

/// Links first, so that no packet meets a filter that is half gone.
fn remove(pins: &Pins) -> Result<(), KernelError> {
    for interface in pins.linked_interfaces()? {
        attach::release(&interface, pins)?;
    }
    pins.remove_all()
}

fn sum(counters: &PerCpuValues<OriginCounters>) -> OriginCounters {
    counters
        .iter()
        .fold(OriginCounters::default(), |sum, cpu| OriginCounters {
            dropped: sum.dropped + cpu.dropped,
            would_drop: sum.would_drop + cpu.would_drop,
        })
}
