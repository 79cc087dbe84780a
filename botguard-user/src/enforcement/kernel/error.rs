//! What can go wrong between user space and the kernel filter, each with its mend.

use std::io;
use std::path::PathBuf;

use super::netlink::NetlinkError;
use crate::enforcement::rules::TooManyRules;
use crate::enforcement::settings::AttachMode;
use crate::enforcement::tables::Full;

/// The kernel filter cannot be attached, reached or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// `[kernel] interfaces` names none of this host's. The configuration's fault.
    #[error(
        "[kernel] interfaces: there is no interface `{interface}` here; there are: {}",
        existing.join(", ")
    )]
    NoInterface {
        /// As configured.
        interface: String,
        /// What there is.
        existing: Vec<String>,
    },
    /// Somebody else's XDP program is there. It is never replaced.
    #[error(
        "interface {interface} already has the XDP program `{program}` (id {id}), which is not \
         botguard's and is left alone; detach it, or leave {interface} out of [kernel] interfaces"
    )]
    ForeignProgram {
        /// Which interface.
        interface: String,
        /// Name of the program, or `?`.
        program: String,
        /// Its id, as `bpftool prog show id` takes it.
        id: u32,
    },
    /// The driver or the kernel refuses.
    #[error(
        "interface {interface} refuses an XDP program in {mode} mode: {source}; {}",
        attach_mend(*mode, interface)
    )]
    Refused {
        /// Which interface.
        interface: String,
        /// The mode asked for.
        mode: AttachMode,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The attachment would end with this process.
    #[error(
        "interface {interface} was attached without a bpf_link, which cannot outlive the daemon; \
         Linux 5.18 or newer is needed"
    )]
    NotALink {
        /// Which interface.
        interface: String,
    },
    /// XDP for packets of several buffers came with Linux 5.18, the rest before.
    #[error("the kernel filter needs Linux 5.18 or newer; set [kernel] backend = \"none\"")]
    KernelTooOld,
    /// `pin_dir` is on a file system that keeps no pins.
    #[error(
        "[kernel] pin_dir: {path} is not on a bpffs; mount one (mount -t bpf bpf {mount}), or \
         choose a directory below /sys/fs/bpf"
    )]
    NotBpffs {
        /// As configured.
        path: PathBuf,
        /// Where one could be mounted.
        mount: PathBuf,
    },
    /// Nothing is pinned there.
    #[error("no kernel filter is pinned in {0}; attach one with `botguard kernel attach`")]
    NotAttached(PathBuf),
    /// Another process fills these maps.
    #[error(
        "the kernel filter in {0} belongs to another botguard process with another state_dir; give \
         this one a [kernel] pin_dir of its own, or stop the other (`fuser {0}` names it)"
    )]
    InUse(PathBuf),
    /// A pinned map is not of this version's shape.
    #[error(
        "{path} is {actual}, but this version needs {expected}; remove the old filter with \
         `botguard kernel detach` and attach again"
    )]
    WrongShape {
        /// The pin.
        path: PathBuf,
        /// What the kernel says of it.
        actual: String,
        /// What it should be.
        expected: String,
    },
    /// The kernel does not load the object.
    #[error(
        "the kernel does not load the filter: {0}; it takes root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"
    )]
    Load(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A table is full or refuses the entry.
    #[error("map {map}: {source}{}", full_mend(source))]
    Map {
        /// Which.
        map: &'static str,
        /// What the kernel said.
        source: aya::maps::MapError,
    },
    /// A pin or directory.
    #[error("{path}: {source}{}", pin_mend(source.as_ref()))]
    Pin {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The kernel does not say what is attached.
    #[error("cannot ask the kernel about interface {interface}: {source}")]
    Netlink {
        /// Which interface.
        interface: String,
        /// Why not.
        source: NetlinkError,
    },
    /// More than the tables can be made for. The operator's fault; what was in force stays.
    #[error(
        "{0}, and cannot be made larger; block wider networks, or fewer; what was in force stays"
    )]
    Full(#[from] Full),
    /// More lists and systems than can be told apart. The operator's fault.
    #[error(transparent)]
    Rules(#[from] TooManyRules),
    /// The steward could not do it; as it says itself.
    #[error("{0}")]
    Steward(String),
    /// There is no steward any more, and this process lacks the capabilities.
    #[error(
        "the privileged helper of this daemon has ended, and with it what takes capabilities: new \
         tables (lists, systems, wide networks), attaching and detaching; what is in force stays, \
         and single blocks go on; restart the daemon"
    )]
    StewardEnded,
    /// The steward works on the pins that it was started for.
    #[error(
        "[kernel] pin_dir was changed to {0} while the daemon runs; it holds from the next start"
    )]
    OtherPins(PathBuf),
    /// The clock program failed, or the rate of jiffies is none that Linux can be built with.
    #[error("cannot read the kernel's clock: {0}")]
    Clock(String),
}

impl KernelError {
    pub(super) fn pin(
        path: impl Into<PathBuf>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Pin {
            path: path.into(),
            source: source.into(),
        }
    }
}

fn attach_mend(mode: AttachMode, interface: &str) -> String {
    match mode {
        AttachMode::Native => format!(
            "its driver may lack native XDP, or refuse it with this MTU, LRO or number of queues \
             (see dmesg); set [kernel] mode = \"generic\", which is slower, or leave {interface} out"
        ),
        AttachMode::Generic => format!("see dmesg, or leave {interface} out"),
    }
}

fn pin_mend(error: &(dyn std::error::Error + 'static)) -> &'static str {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    if kind == Some(io::ErrorKind::PermissionDenied) {
        "; it takes root"
    } else {
        ""
    }
}

fn full_mend(error: &aya::maps::MapError) -> &'static str {
    // E2BIG from a hash, ENOSPC from a trie.
    let is_full = matches!(error, aya::maps::MapError::SyscallError(error)
        if matches!(error.io_error.kind(),
            io::ErrorKind::ArgumentListTooLong | io::ErrorKind::StorageFull));
    if is_full {
        "; it is full: block wider networks, or fewer"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_that_is_not_for_everybody_names_the_mend() {
        let check = |kind: io::ErrorKind, has_mend| {
            let error = KernelError::pin("/sys/fs/bpf/botguard", io::Error::from(kind));
            assert_eq!(error.to_string().ends_with("; it takes root"), has_mend);
        };
        check(io::ErrorKind::PermissionDenied, true);
        check(io::ErrorKind::NotFound, false);
    }
}
