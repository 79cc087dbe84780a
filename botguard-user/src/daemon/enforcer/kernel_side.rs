//! The kernel's copy of the lists, if there is one: attached, given up, or never wanted. Failures
//! end here; they are logged, kept as the reason why the state is degraded, and never stop traffic.

use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;

use crate::admin::protocol::{self, Counter, Interface};
use crate::enforcement::kernel::{
    Authority, KernelError, KernelFilter, KernelStats, LocalListener,
};
use crate::enforcement::list::BlockList;
use crate::enforcement::recovery::{self, Recovered};
use crate::enforcement::settings::{Backend, KernelSettings};
use crate::words::clock::Wall;
use crate::words::mode::Mode;

/// The kernel filter as this process sees it.
#[derive(Debug)]
pub struct KernelSide {
    filter: Filter,
    /// Who attaches, and makes tables.
    authority: Authority,
    /// The settings' interfaces.
    interfaces: Vec<String>,
    /// Whether the program ran on any interface when last looked at; without one, entries drop
    /// nothing.
    is_on_path: bool,
    /// Those of [`Self::interfaces`] on which it did not.
    uncovered: Vec<String>,
    /// Why it is not attached as it should be.
    problem: Option<String>,
    /// The last change that failed; a filling mends it.
    unfilled: Option<String>,
    /// When a filling that failed is tried again; until then changes wait for it.
    retry_at: Option<Wall>,
}

/// A filling that fails has taken as long as one that does not: not with each ban anew.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Debug)]
enum Filter {
    /// `backend = "none"`.
    Off,
    /// There is none: it was detached, or could not be attached.
    Absent,
    Present(Box<KernelFilter>),
}

impl KernelSide {
    /// Attaches the filter, or adopts a pinned one.
    ///
    /// Errors: only where the configuration says `required`; else the failure is the side's
    /// [`Self::problem`].
    pub fn attach(authority: Authority, settings: &KernelSettings) -> Result<Self, KernelError> {
        if settings.backend == Backend::None {
            return Ok(Self::unwanted(authority, settings));
        }
        match KernelFilter::attach_by(authority.clone(), settings) {
            Ok(filter) => Ok(Self::present(authority, filter, settings)),
            Err(error) if settings.required => Err(error),
            Err(error) => {
                tracing::error!(%error, "KERNEL FILTER NOT ATTACHED as configured");
                Ok(Self::left_over(authority, settings, &error))
            }
        }
    }

    /// What is left after attaching failed: a former process's filter goes on dropping, so commands
    /// and the kill switch must reach it.
    fn left_over(authority: Authority, settings: &KernelSettings, error: &KernelError) -> Self {
        let mut side = Self::open_by(authority, settings);
        side.problem = Some(format!("kernel filter is not attached: {error}"));
        side
    }

    /// Attaches the filter anew, or adopts it.
    ///
    /// Errors: as [`Self::attach`]; what was attached is reached as before then.
    pub(super) fn attach_again(&mut self, settings: &KernelSettings) -> Result<(), KernelError> {
        let authority = self.authority.clone();
        if let Some(error) = authority.refusal(&settings.pin_dir) {
            // It could not be reached again either: what is reached now stays so.
            return Err(error);
        }
        // The pins have one owner at a time. They go on filtering meanwhile.
        *self = Self::off(authority.clone());
        match Self::attach(authority.clone(), settings) {
            Ok(side) => {
                *self = side;
                Ok(())
            }
            Err(error) => {
                *self = Self::left_over(authority, settings, &error);
                Err(error)
            }
        }
    }

    /// Reaches a pinned filter without attaching anything.
    #[must_use]
    pub fn open(settings: &KernelSettings) -> Self {
        Self::open_by(Authority::Own, settings)
    }

    fn open_by(authority: Authority, settings: &KernelSettings) -> Self {
        if settings.backend == Backend::None {
            return Self::unwanted(authority, settings);
        }
        match KernelFilter::open_by(authority.clone(), &settings.pin_dir) {
            Ok(filter) => Self::present(authority, filter, settings),
            Err(error) => Self::absent(authority, error.to_string()),
        }
    }

    pub(super) const fn off(authority: Authority) -> Self {
        Self {
            filter: Filter::Off,
            authority,
            interfaces: vec![],
            is_on_path: false,
            uncovered: vec![],
            problem: None,
            unfilled: None,
            retry_at: None,
        }
    }

    /// `backend = "none"`, with an eye on what another setting left: it drops by lists of old.
    fn unwanted(authority: Authority, settings: &KernelSettings) -> Self {
        let pin_dir = &settings.pin_dir;
        let problem = authority.is_pinned(pin_dir).then(|| {
            format!(
                "[kernel] backend is \"none\", but a filter is still pinned in {} and drops by what \
                 it last knew; `botguard kernel detach` removes it",
                pin_dir.display()
            )
        });
        Self {
            problem,
            ..Self::off(authority)
        }
    }

    fn absent(authority: Authority, problem: String) -> Self {
        Self {
            filter: Filter::Absent,
            problem: Some(problem),
            ..Self::off(authority)
        }
    }

    fn present(authority: Authority, filter: KernelFilter, settings: &KernelSettings) -> Self {
        let mut side = Self {
            filter: Filter::Present(Box::new(filter)),
            interfaces: settings.interfaces.clone(),
            ..Self::off(authority)
        };
        side.look();
        side
    }

    /// Looks where the program runs now: interfaces are deleted and made anew without a word.
    fn look(&mut self) {
        let Filter::Present(filter) = &self.filter else {
            return;
        };
        let attachments = filter.attachments().unwrap_or_default().into_iter();
        let running: Vec<_> = attachments
            .filter(|attachment| attachment.mode.is_some())
            .map(|attachment| attachment.interface)
            .collect();
        self.is_on_path = !running.is_empty();
        let wanted = self.interfaces.iter();
        self.uncovered = wanted
            .filter(|interface| !running.contains(interface))
            .cloned()
            .collect();
    }

    /// Why the kernel does not do what it should, by a fresh look.
    pub fn problem(&mut self) -> Option<String> {
        self.look();
        let is_uncovered = !self.uncovered.is_empty();
        let problem = self.problem.clone().or_else(|| self.unfilled.clone());
        let problem = problem.or_else(|| self.authority.problem());
        problem.or_else(|| {
            is_uncovered.then(|| {
                format!(
                    "kernel filter is not on {}: made anew, renamed, in another network namespace, \
                     or the pins were removed; `botguard kernel attach` puts it there",
                    self.uncovered.join(", ")
                )
            })
        })
    }

    /// Follows changes of these networks. Returns whether the kernel has them now and sees packets.
    pub(super) fn refresh(&mut self, lists: &BlockList, networks: &[IpNet], now: Wall) -> bool {
        if self.retry_at.is_some_and(|at| now < at) {
            return false;
        }
        let is_on_path = self.is_on_path;
        let followed = self.change("follow the lists", |filter| {
            filter.refresh(lists, networks, now)
        });
        self.retry_at = followed.is_err().then(|| now.after(RETRY_INTERVAL));
        followed.is_ok() && is_on_path && matches!(self.filter, Filter::Present(_))
    }

    /// What the kernel holds; nothing where it cannot be asked.
    pub(super) fn recover(&self, now: Wall) -> Recovered {
        let Filter::Present(filter) = &self.filter else {
            return Recovered::default();
        };
        let recovered = filter.contents().and_then(|contents| {
            let clock = filter.clock(now)?;
            Ok(recovery::recover(&contents, filter.rules(), &clock))
        });
        recovered.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot read what is pinned");
            Recovered::default()
        })
    }

    /// Brings the kernel to the lists, whatever it holds, in one step. Where there is none, there
    /// is nothing to bring.
    ///
    /// Errors: as [`KernelFilter::fill`]; what was in force stays.
    pub(super) fn fill(&mut self, lists: &BlockList, now: Wall) -> Result<(), KernelError> {
        let filled = self.try_fill(lists, now);
        filled.inspect_err(|error| {
            self.note_unfilled(error);
            self.retry_at = Some(now.after(RETRY_INTERVAL));
        })
    }

    /// Whether a filling failed, and is to be tried again.
    pub(super) fn is_retry_due(&self, now: Wall) -> bool {
        self.retry_at.is_some_and(|at| at <= now)
    }

    /// As [`Self::fill`], for a caller that goes back to what was in force where it is refused: the
    /// kernel then holds what it should.
    pub(super) fn try_fill(&mut self, lists: &BlockList, now: Wall) -> Result<(), KernelError> {
        let Filter::Present(filter) = &mut self.filter else {
            return Ok(());
        };
        filter.fill(lists, now)?;
        self.unfilled = None;
        self.retry_at = None;
        Ok(())
    }

    /// Keeps the reason why the kernel holds not what it should, until it is filled.
    pub(super) fn note_unfilled(&mut self, error: &KernelError) {
        tracing::error!(%error, "kernel filter cannot take up the lists");
        self.unfilled = Some(format!("kernel filter cannot take up the lists: {error}"));
    }

    /// Time by the clock that the kernel ends entries by, since any fixed instant; it stands still
    /// while the host sleeps. `None` where there is no filter to ask.
    pub(super) fn running_time(&self, now: Wall) -> Option<Duration> {
        let Filter::Present(filter) = &self.filter else {
            return None;
        };
        let clock = filter.clock(now).ok()?;
        let ms = u128::from(clock.jiffies) * 1_000 / u128::from(clock.jiffies_per_second.max(1));
        Some(Duration::from_millis(u64::try_from(ms).ok()?))
    }

    pub(super) fn set_mode(&mut self, mode: Mode) {
        // Kept as the side's problem.
        let _noted: Result<(), KernelError> =
            self.change("set its mode", |filter| filter.set_mode(mode));
    }

    pub(in crate::daemon) fn set_listeners(&mut self, listeners: &[LocalListener]) {
        // Kept as the side's problem.
        let _noted: Result<(), KernelError> = self.change("set its listeners", |filter| {
            filter.set_listeners(listeners)
        });
    }

    /// Removes the filter and its pins, also those that cannot be used: of another shape, or left
    /// from when the backend was not `none`.
    ///
    /// Errors: [`KernelError::NotAttached`], or what could not be removed.
    pub(super) fn detach(&mut self, pin_dir: &Path) -> Result<(), KernelError> {
        let is_off = matches!(self.filter, Filter::Off);
        if let Some(error) = self.authority.refusal(pin_dir) {
            return Err(error);
        }
        match std::mem::replace(&mut self.filter, Filter::Absent) {
            Filter::Off | Filter::Absent => self.authority.take_and_remove(pin_dir)?,
            Filter::Present(filter) => filter.detach()?,
        }
        let authority = self.authority.clone();
        *self = if is_off {
            Self::off(authority)
        } else {
            Self::absent(
                authority,
                "kernel filter was detached by command".to_owned(),
            )
        };
        Ok(())
    }

    /// Its counters, where it can be asked.
    #[must_use]
    pub fn stats(&self) -> Option<KernelStats> {
        match &self.filter {
            Filter::Present(filter) => filter.stats().ok(),
            Filter::Off | Filter::Absent => None,
        }
    }

    /// Everything that status shows of it; `n_entries` is how many the lists come to.
    #[must_use]
    pub fn view(&self, n_entries: u64) -> protocol::Kernel {
        let filter = match &self.filter {
            Filter::Off => return named("off: backend is none"),
            Filter::Absent => return named("not attached"),
            Filter::Present(filter) => filter,
        };
        let interfaces: Vec<_> = (filter.attachments().unwrap_or_default().into_iter())
            .map(|attachment| Interface {
                name: attachment.interface,
                mode: (attachment.mode)
                    .map_or_else(|| Interface::GONE.to_owned(), |mode| mode.to_string()),
                program: attachment.program_id,
            })
            .collect();
        let stats = filter.stats().ok();
        let counter = |name: &str, packets| Counter {
            name: name.to_owned(),
            packets,
        };
        protocol::Kernel {
            state: if interfaces.is_empty() {
                "loaded, on no interface".to_owned()
            } else if interfaces.iter().any(Interface::is_running) {
                "attached".to_owned()
            } else {
                "loaded, but its interfaces are gone".to_owned()
            },
            interfaces,
            mode: filter.mode().ok(),
            n_entries,
            exits: (stats.iter().flat_map(|stats| &stats.exits))
                .map(|(exit, packets)| counter(exit.name(), *packets))
                .collect(),
            drops: (stats.iter().flat_map(|stats| &stats.rules))
                .map(|(rule, counters)| counter(&rule.to_string(), counters.dropped))
                .collect(),
            would_drop: (stats.iter().flat_map(|stats| &stats.rules))
                .map(|(rule, counters)| counter(&rule.to_string(), counters.would_drop))
                .collect(),
        }
    }

    /// Changes the filter, if there is one. What failed is kept until the filter is filled, or
    /// attached anew.
    fn change(
        &mut self,
        what: &'static str,
        change: impl FnOnce(&mut KernelFilter) -> Result<(), KernelError>,
    ) -> Result<(), KernelError> {
        let Filter::Present(filter) = &mut self.filter else {
            return Ok(());
        };
        change(filter).inspect_err(|error| {
            tracing::error!(%error, "kernel filter cannot {what}");
            self.unfilled = Some(format!("kernel filter cannot {what}: {error}"));
        })
    }
}

fn named(state: &str) -> protocol::Kernel {
    protocol::Kernel {
        state: state.to_owned(),
        ..protocol::Kernel::default()
    }
}
