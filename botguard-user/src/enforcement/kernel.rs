//! The filter in the kernel: attach it, bring its tables to the lists, read its counters.
//!
//! The filter lives in its pins, not in this process: [`KernelFilter::attach`] sets it up or adopts
//! what a former process left, [`KernelFilter::open`] reaches it without attaching anything, and
//! dropping either leaves it filtering.
//!
//! Tables are written in two ways. [`KernelFilter::fill`] makes a new generation of them aside,
//! with a program of its own, and puts it in the place of the old one between two packets: one
//! step, however much it changes. [`KernelFilter::refresh`] follows a single block by a few stores
//! into the tables in force. What a process finds pinned it never writes to: its first change is a
//! new generation. So nothing depends on how a former writer ended.

use std::path::Path;

use aya::programs::Xdp;
use aya_obj::programs::XdpAttachType;
use botguard_common::maps as shared;
use botguard_common::maps::Config;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::list::BlockList;
use super::plan::{self, Plan};
use super::rules::RuleNumbers;
use super::settings::{AttachMode, KernelSettings};
use super::tables::{Contents, Sizes, WriteError};
use crate::words::clock::Wall;
use crate::words::mode::Mode;

mod attach;
mod authority;
mod capabilities;
mod clock;
mod error;
mod events;
mod generation;
mod lasting;
mod listeners;
mod netlink;
mod object;
mod pins;
mod stats;
pub mod steward;
mod whole;

pub use authority::Authority;
pub use capabilities::{bound_capabilities, hold_capabilities};
pub use error::KernelError;
pub use events::{DropEvents, Dropped};
pub use listeners::{LocalListener, Protocol, expand_wildcards};
pub use netlink::NetlinkError;
pub use stats::KernelStats;

use authority::Aside;
use generation::KernelTables;
use lasting::{Lasting, of_map};
use pins::{PinLock, Pins};

/// A pinned filter.
pub struct KernelFilter {
    authority: Authority,
    pins: Pins,
    lasting: Lasting,
    rules: RuleNumbers,
    /// The tables in force, if this process made them.
    tables: Option<KernelTables>,
    clock: Xdp,
    _lock: PinLock,
}

/// One interface that the filter is attached to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Attachment {
    /// Its name when it was attached.
    pub interface: String,
    /// Where the program runs; `None` if the interface is gone, renamed, or in another network
    /// namespace.
    pub mode: Option<AttachMode>,
    /// The program's id, as `bpftool prog show id` takes it.
    pub program_id: u32,
}

impl KernelFilter {
    /// Attaches the filter to the interfaces of the settings, and to no other. What is pinned is
    /// adopted: maps with their entries and mode, links with a new program, between two packets.
    ///
    /// Its tables are those that were pinned, empty ones for a new filter, until the first
    /// [`Self::fill`]. A new filter is in log mode, with no listeners.
    ///
    /// Errors: configuration (no such interface, foreign program, no bpffs, driver refuses) or
    /// internal (privileges, verifier, another process has the pins). Nothing new stays attached or pinned then.
    pub fn attach(settings: &KernelSettings) -> Result<Self, KernelError> {
        Self::attach_by(Authority::Own, settings)
    }

    /// The same by whoever may.
    pub fn attach_by(authority: Authority, settings: &KernelSettings) -> Result<Self, KernelError> {
        let (pins, lock) = authority.attach(settings)?;
        let mut filter = Self::of_pins(authority, pins, lock)?;
        filter.calibrate()?;
        Ok(filter)
    }

    /// Reaches a filter that is pinned already.
    ///
    /// Errors: [`KernelError::NotAttached`], [`KernelError::InUse`], or a pin that is not this version's.
    pub fn open(pin_dir: &Path) -> Result<Self, KernelError> {
        Self::open_by(Authority::Own, pin_dir)
    }

    /// The same by whoever may.
    pub fn open_by(authority: Authority, pin_dir: &Path) -> Result<Self, KernelError> {
        let (pins, lock) = authority.open(pin_dir)?;
        Self::of_pins(authority, pins, lock)
    }

    /// Makes the file system of the pins ready, which takes CAP_SYS_ADMIN: for a process that is
    /// about to give up its capabilities.
    ///
    /// Errors: it cannot be mounted.
    pub fn mount(pin_dir: &Path) -> Result<(), KernelError> {
        Pins::below(pin_dir).mount()
    }

    fn of_pins(authority: Authority, pins: Pins, lock: PinLock) -> Result<Self, KernelError> {
        let path = pins.clock_program();
        let clock = Xdp::from_pin(&path, XdpAttachType::Interface)
            .map_err(|error| KernelError::pin(&path, error))?;
        let lasting = Lasting::open(&pins)?;
        Ok(Self {
            rules: lasting.rules()?,
            lasting,
            tables: None,
            authority,
            pins,
            clock,
            _lock: lock,
        })
    }

    /// Brings the tables to the lists, whatever they held, in one step.
    ///
    /// Errors: more than the tables can hold (the operator's fault), or the kernel refuses
    /// (internal); what was in force stays in force.
    pub fn fill(&mut self, list: &BlockList, now: Wall) -> Result<(), KernelError> {
        let mut rules = self.rules.clone();
        let changes = rules.follow(list.layer_rules())?;
        for (number, rule) in &changes.given {
            self.lasting.name_rule(*number, rule)?;
        }
        let clock = self.clock(now)?;
        let plan = Plan {
            list,
            clock: &clock,
            rules: &rules,
        };
        let generation = self.filled(plan).inspect_err(|_error| {
            // It keeps as much memory as what it was to replace. The first error is the one to tell.
            let _unused: Result<(), KernelError> = self.authority.discard(&self.pins);
        })?;
        // After an error some links may have gone over and others not: then neither the tables
        // before nor these are in force everywhere, and the next change makes new ones.
        self.tables = None;
        self.tables = Some(generation.take_over(&self.pins)?);
        self.rules = rules;
        for number in changes.freed {
            self.lasting.unname_rule(number)?;
        }
        Ok(())
    }

    /// A generation that holds what the lists come to.
    fn filled(&self, plan: Plan<'_>) -> Result<Aside, KernelError> {
        let mut needs = plan::needs(plan.list);
        loop {
            let sizes = Sizes::of(&needs)?;
            let mut generation = (self.authority).aside(&self.pins, &needs, random_seed())?;
            let fill = |tables: &mut KernelTables| tables.marked(|tables| plan::fill(plan, tables));
            match generation.filled_by(fill)? {
                Ok(()) => return Ok(generation),
                // Counted too few policies, or too many hosts met in one place.
                Err(WriteError::Full(full)) => needs = needs.grown(full, &sizes),
                Err(WriteError::Trie(error)) => return Err(error),
            }
        }
    }

    /// Follows changes of the single blocks and allows of these networks.
    ///
    /// Errors: as [`Self::fill`], which takes over where the tables have no room left, and where
    /// this process has not made them.
    pub fn refresh(
        &mut self,
        list: &BlockList,
        networks: &[IpNet],
        now: Wall,
    ) -> Result<(), KernelError> {
        let is_small = networks.iter().all(is_written_in_place);
        let clock = self.clock(now)?;
        let Some(tables) = self.tables.as_mut().filter(|_| is_small) else {
            return self.fill(list, now);
        };
        let plan = Plan {
            list,
            clock: &clock,
            rules: &self.rules,
        };
        let written = tables.marked(|tables| plan::refresh_all(plan, tables, networks));
        match written {
            Ok(()) => Ok(()),
            Err(WriteError::Full(_)) => self.fill(list, now),
            Err(WriteError::Trie(error)) => {
                // Half of it may be written: the next change makes a new generation.
                self.tables = None;
                Err(error)
            }
        }
    }

    /// What is blocked and allowed. Cost: a walk over all tables.
    pub fn contents(&self) -> Result<Contents, KernelError> {
        match &self.tables {
            Some(tables) => tables.contents(),
            None => generation::pinned_contents(&self.pins),
        }
    }

    /// The numbers by which the tables' policies name rules.
    #[must_use]
    pub const fn rules(&self) -> &RuleNumbers {
        &self.rules
    }

    /// Whether a writer of the tables was killed in the middle of a change.
    pub fn is_dirty(&self) -> Result<bool, KernelError> {
        Ok(generation::pinned_header(&self.pins)?.state == shared::DIRTY)
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
        let wanted = listeners::keys(listeners);
        Ok(listeners::write(&self.lasting.listeners, &wanted)?)
    }

    /// Where the filter is attached.
    pub fn attachments(&self) -> Result<Vec<Attachment>, KernelError> {
        self.authority.attachments(&self.pins)
    }

    /// Takes the filter out of the kernel: links, then programs, maps and their directory.
    /// When it returns, the interfaces of this network namespace are free.
    pub fn detach(self) -> Result<(), KernelError> {
        self.authority.remove(&self.pins)
    }

    /// As [`Self::detach`], for pins of whatever shape, as after an upgrade that changed it.
    pub fn remove(pin_dir: &Path) -> Result<(), KernelError> {
        Authority::Own.take_and_remove(pin_dir)
    }

    fn config(&self) -> Result<Config, KernelError> {
        of_map(shared::CONFIG, self.lasting.config.get(&0, 0))
    }

    fn set_config(&mut self, config: Config) -> Result<(), KernelError> {
        of_map(shared::CONFIG, self.lasting.config.set(0, config, 0))
    }
}

impl std::fmt::Debug for KernelFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelFilter")
            .field("pins", &self.pins)
            .finish_non_exhaustive()
    }
}

/// Whether a change of this network is a few stores. What is wider is a new generation, since its
/// tables would have to be written cell by cell.
const fn is_written_in_place(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.prefix_len() >= 16,
        IpNet::V6(network) => network.prefix_len() >= 40,
    }
}

/// A seed that nobody outside can know.
fn random_seed() -> u64 {
    let mut bytes = [0; 8];
    // It fails only where the kernel has no random numbers; a fixed seed still filters.
    let _filled: Result<(), aws_lc_rs::error::Unspecified> = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}
