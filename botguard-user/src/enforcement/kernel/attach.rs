//! Loads the programs, pins them with their maps, and attaches the filter to the interfaces.
//!
//! What is pinned already is adopted: lasting maps with what they hold, links with the program and
//! tables that are in them, which go on filtering until the next generation takes their place,
//! between two packets. A program that is not botguard's is never replaced.

use std::path::Path;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, ProgramInfo, Xdp, XdpMode, loaded_programs};
use aya::util::KernelVersion;
use aya::{Ebpf, EbpfLoader};
use aya_obj::programs::XdpAttachType;
use botguard_common::maps::{HOSTS_V4, HOSTS_V6, Life, NETS_V4, POLICIES, SHAPES, Shape};
use nix::errno::Errno;
use nix::net::if_::{if_nameindex, if_nametoindex};
use nix::poll::poll;

use super::error::KernelError;
use super::generation::{KernelTables, tables_of};
use super::netlink::{XdpState, xdp_state};
use super::object;
use super::pins::{PinLock, Pins};
use crate::enforcement::settings::{AttachMode, KernelSettings};
use crate::enforcement::tables::{Needs, Sizes};

/// Brings the host to what the settings say, with the tables that are there; empty ones where
/// none are.
///
/// After an error nothing new stays attached; what was attached before keeps filtering.
pub(super) fn install(settings: &KernelSettings, pins: &Pins) -> Result<PinLock, KernelError> {
    // Programs for packets of several buffers, as jumbo frames and LRO make them.
    if KernelVersion::current().is_ok_and(|version| version < KernelVersion::new(5, 18, 0)) {
        return Err(KernelError::KernelTooOld);
    }
    let targets = settings
        .interfaces
        .iter()
        .map(|name| Target::find(name))
        .collect::<Result<Vec<_>, _>>()?;
    pins.prepare()?;
    let lock = pins.lock()?;
    pins.adopt_older_layouts()?;
    pins.verify()?;
    if !pins.is_complete() {
        let sizes = Sizes::of(&Needs::default())?;
        // Not into links of an older layout, which hold what is in force.
        let mut empty = Generation::load(pins, &sizes, 0)?;
        empty.filled_by(|_tables| ())?;
        empty.pin(pins)?;
    }

    for interface in pins.linked_interfaces()? {
        if !settings.interfaces.contains(&interface) {
            release(&interface, pins)?;
        }
    }
    let path = pins.program();
    let mut filter = Xdp::from_pin(&path, XdpAttachType::Interface)
        .map_err(|error| KernelError::pin(&path, error))?;
    let mut fresh = vec![];
    for target in &targets {
        if !belongs(target, settings.mode, pins)? {
            fresh.push((attach(&mut filter, target, settings.mode)?, target));
        }
    }
    for (link, target) in fresh {
        let path = pins.link(target.name);
        link.pin(&path)
            .map_err(|error| KernelError::pin(&path, error))?;
    }
    Ok(lock)
}

/// A program and its tables, not yet in force.
pub(super) struct Generation {
    object: Ebpf,
    /// To be filled.
    pub(super) tables: KernelTables,
}

impl Generation {
    /// Makes empty tables of these sizes, and a program that is to read them.
    pub(super) fn load(pins: &Pins, sizes: &Sizes, seed: u64) -> Result<Self, KernelError> {
        let mut loader = EbpfLoader::new();
        for shape in &SHAPES {
            if shape.life == Life::Lasting {
                loader.map_pin_path(shape.name, pins.map(shape.name));
            }
        }
        loader
            .map_max_entries(HOSTS_V4, sizes.buckets_v4)
            .map_max_entries(HOSTS_V6, sizes.buckets_v6)
            .map_max_entries(NETS_V4, sizes.pages)
            .map_max_entries(POLICIES, sizes.policies);
        let mut object = loader
            .load(object::OBJECT)
            .map_err(|error| KernelError::Load(error.into()))?;
        for shape in of_generation() {
            let path = pins.aside(&pins.map(shape.name));
            Pins::remove(&path)?;
            let map = object.map(shape.name);
            let map =
                map.ok_or_else(|| KernelError::Load(format!("no map {}", shape.name).into()))?;
            map.pin(&path)
                .map_err(|error| KernelError::pin(&path, error))?;
        }
        let tables = tables_of(&mut object, seed)?;
        Ok(Self { object, tables })
    }

    /// Has the kernel load the program while `fill` fills the tables: the verifier takes as long as
    /// a few hundred thousand entries.
    ///
    /// Errors: the kernel does not load the program.
    pub(super) fn filled_by<T>(
        &mut self,
        fill: impl FnOnce(&mut KernelTables) -> T,
    ) -> Result<T, KernelError> {
        let Self { object, tables } = self;
        std::thread::scope(|scope| {
            let loading = scope.spawn(|| {
                let mut names = [object::FILTER, object::CLOCK].into_iter();
                names.try_for_each(|name| program(object, name)?.load().map_err(not_loaded))
            });
            let filled = fill(tables);
            // A panic of the thread has been printed by its own hook.
            let loaded = loading
                .join()
                .unwrap_or_else(|_panic| Err(KernelError::Load("its loading panicked".into())));
            loaded.map(|()| filled)
        })
    }

    /// Takes the place of the generation before: in each link between two packets, then in the
    /// pins. A link whose interface is gone sees no packets, and keeps none from the others.
    pub(super) fn take_over(mut self, pins: &Pins) -> Result<KernelTables, KernelError> {
        let filter = program(&mut self.object, object::FILTER)?;
        for interface in pins.linked_interfaces()? {
            let path = pins.link(&interface);
            let failed = |error| KernelError::pin(&path, error);
            let pinned = PinnedLink::from_pin(&path).map_err(|error| failed(error.into()))?;
            let link = XdpLink::try_from(FdLink::from(pinned))
                .map_err(|error| failed(Box::<DynError>::from(error)))?;
            match filter.attach_to_link(link) {
                Ok(_replaced) => {}
                Err(error) if is_severed(&error) => {
                    tracing::warn!(
                        interface,
                        "the interface is gone, nothing is filtered there"
                    );
                }
                Err(error) => return Err(failed(error.into())),
            }
        }
        self.pin(pins)
    }

    /// Takes the place of the pins before.
    fn pin(mut self, pins: &Pins) -> Result<KernelTables, KernelError> {
        for shape in of_generation() {
            let path = pins.map(shape.name);
            std::fs::rename(pins.aside(&path), &path)
                .map_err(|error| KernelError::pin(&path, error))?;
        }
        for (name, path) in [
            (object::CLOCK, pins.clock_program()),
            (object::FILTER, pins.program()),
        ] {
            replace_pin(program(&mut self.object, name)?, &path, pins)?;
        }
        Ok(self.tables)
    }
}

/// Whether a link's interface is gone: ENOLINK (bpf_xdp_link_update in net/core/dev.c).
fn is_severed(error: &ProgramError) -> bool {
    matches!(error, ProgramError::SyscallError(error)
        if error.io_error.raw_os_error() == Some(Errno::ENOLINK as i32))
}

/// The maps that each generation has of its own.
pub(super) fn of_generation() -> impl Iterator<Item = &'static Shape> {
    SHAPES.iter().filter(|shape| shape.life != Life::Lasting)
}

/// Unpins an interface's link and waits until the interface is free.
///
/// The kernel lets go of an unpinned link after a grace period, in the background and without an
/// event; until then the interface seems to carry somebody's program.
pub(super) fn release(interface: &str, pins: &Pins) -> Result<(), KernelError> {
    let path = pins.link(interface);
    let program_id = linked_program(&path)?;
    Pins::remove(&path)?;
    for _ in 0..RELEASE_ATTEMPTS {
        if running_mode(interface, program_id).is_none() {
            break;
        }
        // A wait that ends early does no harm.
        let _unused: nix::Result<i32> = poll(&mut [], RELEASE_INTERVAL_MS);
    }
    Ok(())
}

/// The id of the program in a pinned link.
pub(super) fn linked_program(path: &Path) -> Result<u32, KernelError> {
    let info = PinnedLink::from_pin(path).and_then(|link| FdLink::from(link).info());
    let info = info.map_err(|error| KernelError::pin(path, error))?;
    Ok(info.program_id())
}

/// Two seconds in all; some tens of milliseconds are usual.
const RELEASE_ATTEMPTS: u32 = 1_000;
const RELEASE_INTERVAL_MS: u8 = 2;

/// The mode in which a link's program runs on its interface now; `None` if it does not, or the
/// interface is not in this network namespace.
pub(super) fn running_mode(interface: &str, program_id: u32) -> Option<AttachMode> {
    let index = if_nametoindex(interface).ok()?;
    let state = xdp_state(index).ok()??;
    (state.program_id == program_id).then_some(state.mode)
}

/// An interface of this host.
struct Target<'a> {
    name: &'a str,
    index: u32,
}

impl<'a> Target<'a> {
    fn find(name: &'a str) -> Result<Self, KernelError> {
        match if_nametoindex(name) {
            Ok(index) => Ok(Self { name, index }),
            Err(_no_such_device) => Err(KernelError::NoInterface {
                interface: name.to_owned(),
                existing: interface_names(),
            }),
        }
    }

    fn state(&self) -> Result<Option<XdpState>, KernelError> {
        xdp_state(self.index).map_err(|source| KernelError::Netlink {
            interface: self.name.to_owned(),
            source,
        })
    }
}

fn interface_names() -> Vec<String> {
    let interfaces = if_nameindex();
    interfaces.map_or_else(
        |_error| vec![],
        |interfaces| {
            let names = interfaces.iter().map(|interface| interface.name());
            names
                .map(|name| name.to_string_lossy().into_owned())
                .collect()
        },
    )
}

/// The verifier's log runs to megabytes; it is for whoever changes the program.
fn not_loaded(error: ProgramError) -> KernelError {
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => {
            tracing::debug!(%verifier_log, "the kernel rejects the filter");
            KernelError::Load(io_error.into())
        }
        error => KernelError::Load(error.into()),
    }
}

fn program<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, KernelError> {
    let program = object.program_mut(name);
    let program = program.ok_or_else(|| KernelError::Load(format!("no program {name}").into()))?;
    program
        .try_into()
        .map_err(|error: ProgramError| KernelError::Load(error.into()))
}

/// Whether the link that is pinned for the interface still belongs to it in this mode. Else, as
/// where it was deleted and made again, renamed, or the mode was changed, it is let go.
fn belongs(target: &Target<'_>, mode: AttachMode, pins: &Pins) -> Result<bool, KernelError> {
    let path = pins.link(target.name);
    if !path.exists() {
        return Ok(false);
    }
    let program_id = linked_program(&path)?;
    let belongs = target
        .state()?
        .is_some_and(|state| state.program_id == program_id && state.mode == mode);
    if !belongs {
        release(target.name, pins)?;
    }
    Ok(belongs)
}

fn attach(filter: &mut Xdp, target: &Target<'_>, mode: AttachMode) -> Result<FdLink, KernelError> {
    if let Some(state) = target.state()? {
        return Err(KernelError::ForeignProgram {
            interface: target.name.to_owned(),
            program: program_name(state.program_id),
            id: state.program_id,
        });
    }
    let xdp_mode = match mode {
        AttachMode::Native => XdpMode::Driver,
        AttachMode::Generic => XdpMode::Skb,
    };
    let refused = |error: ProgramError| KernelError::Refused {
        interface: target.name.to_owned(),
        mode,
        source: error.into(),
    };
    let id = filter
        .attach_to_if_index(target.index, xdp_mode)
        .map_err(refused)?;
    let link = filter.take_link(id).map_err(refused)?;
    // Where a link cannot be had, aya attaches by netlink instead; that would end with us.
    FdLink::try_from(link).map_err(|_not_a_link| KernelError::NotALink {
        interface: target.name.to_owned(),
    })
}

type DynError = dyn std::error::Error + Send + Sync;

fn program_name(id: u32) -> String {
    let programs = loaded_programs().flatten();
    let mut named = programs.filter(|program: &ProgramInfo| program.id() == id);
    named
        .next()
        .and_then(|program| program.name_as_str().map(ToOwned::to_owned))
        .unwrap_or_else(|| "?".to_owned())
}

/// Pins a program in place of the one before, without a moment in which there is none.
fn replace_pin(program: &mut Xdp, path: &Path, pins: &Pins) -> Result<(), KernelError> {
    let aside = pins.aside(path);
    Pins::remove(&aside)?;
    program
        .pin(&aside)
        .map_err(|error| KernelError::pin(&aside, error))?;
    std::fs::rename(&aside, path).map_err(|error| KernelError::pin(path, error))
}
