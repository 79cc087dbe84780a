//! What the daemon does as root, and then never again (`user`): it starts the steward, which keeps
//! the capabilities of the kernel filter, gives botguard's own files to its user, binds the ports
//! that take root, and becomes that user. Everything else of the start comes after that, so that a
//! file that the user cannot read is noticed then and not at a reload.

use std::io;

use nix::unistd::{
    Gid, Group, Uid, User, geteuid, getresgid, getresuid, initgroups, setegid, seteuid, setresgid,
    setresuid,
};
use rustix::thread::CapabilitySet;

use crate::edge::listener::Inherited;
use crate::enforcement::kernel::steward::{Steward, StewardError};
use crate::enforcement::kernel::{Authority, KernelFilter, bound_capabilities, hold_capabilities};
use crate::enforcement::settings::Backend;
use crate::settings::{Loaded, SettingsError};

use super::Succession;

mod files;
mod ports;

pub use files::GiveError;
pub use ports::PortError;

/// The daemon cannot become its user.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivilegesError {
    /// There is nobody who keeps the capabilities.
    #[error(transparent)]
    Steward(#[from] StewardError),
    /// Its files cannot be given to it.
    #[error(transparent)]
    Files(#[from] GiveError),
    /// A port cannot be bound.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The kernel refuses.
    #[error(
        "cannot become user `{user}`: {source}; it takes CAP_SETUID, CAP_SETGID and CAP_SETPCAP, \
         which whoever started the daemon has taken from it"
    )]
    Become {
        /// As configured.
        user: String,
        /// What it said.
        source: io::Error,
    },
}

/// Who the daemon is to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Account {
    name: String,
    uid: Uid,
    group: Gid,
}

/// What is left of root's rights, in other hands, and what they were used for.
#[derive(Debug, Default)]
pub(super) struct Reduced {
    pub(super) authority: Authority,
    pub(super) ports: ports::Bound,
}

/// Becomes the user of the settings. To be called while there is one thread.
///
/// Errors: the configuration's fault, or [`PrivilegesError`]; the process is to end then.
pub(super) fn reduce(
    loaded: &Loaded,
    succession: Succession,
    inherited: &Inherited,
) -> Result<Reduced, super::StartError> {
    let settings = &loaded.settings;
    let Some(account) = to_become(loaded)? else {
        if geteuid().is_root() && account(loaded)?.is_none() {
            tracing::warn!(
                "runs as root for as long as it lives; `user` names whom it is to be instead"
            );
        }
        return Ok(Reduced::default());
    };
    if settings.kernel.backend == Backend::Xdp {
        // What is wrong with it is said where the filter is attached.
        let _mounted: Result<(), _> = KernelFilter::mount(&settings.kernel.pin_dir);
    }
    let steward =
        Steward::start(&settings.kernel.pin_dir, account.group).map_err(PrivilegesError::from)?;
    files::give(settings, &account).map_err(PrivilegesError::from)?;
    let binds = settings.listener.iter().map(|listener| listener.bind);
    let ports =
        ports::bind(binds, succession, &inherited.addresses()).map_err(PrivilegesError::from)?;
    account.take_on()?;
    account.can_reload(loaded)?;
    tracing::info!(user = %account.name, uid = %account.uid, "root is given up");
    Ok(Reduced {
        authority: Authority::Steward(steward.into()),
        ports,
    })
}

/// Becomes the user of the settings where this process can, so that a check of the configuration
/// reads its files as the daemon would.
pub(super) fn reduce_for_check(loaded: &Loaded) -> Result<(), super::StartError> {
    if let Some(account) = account(loaded)?
        && geteuid().is_root()
    {
        account.take_on()?;
        account.can_reload(loaded)?;
    }
    Ok(())
}

/// Does something to the daemon's files as the daemon's user where this process is root: what a
/// command makes there, a daemon that starts at this very moment must be able to open.
///
/// Errors: the user is unknown, its directories cannot be given to it, or it cannot be had.
pub fn as_owner<T>(loaded: &Loaded, work: impl FnOnce() -> T) -> Result<T, OwnerError> {
    if !geteuid().is_root() {
        return Ok(work());
    }
    let Some(account) = account(loaded)? else {
        return Ok(work());
    };
    files::give(&loaded.settings, &account)?;
    let _for_now = ForNow::become_user(&account)?;
    Ok(work())
}

/// A command cannot work as the daemon's user.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// There is no such user.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The files cannot be given to it.
    #[error(transparent)]
    Files(#[from] GiveError),
    /// The kernel refuses.
    #[error("cannot work as the daemon's user: {0}")]
    Become(#[from] nix::errno::Errno),
}

/// Root is somebody else until this is dropped.
struct ForNow;

impl ForNow {
    fn become_user(account: &Account) -> nix::Result<Self> {
        setegid(account.group)?;
        let for_now = Self;
        seteuid(account.uid)?;
        Ok(for_now)
    }
}

impl Drop for ForNow {
    fn drop(&mut self) {
        // Its saved ids are root's still, so neither fails.
        let _restored = seteuid(Uid::from_raw(0)).and_then(|()| setegid(Gid::from_raw(0)));
    }
}

/// Adds to an error about a file that the daemon's user cannot read who that is, and the mend.
pub(super) fn with_mend(message: String, user: Option<&str>) -> String {
    match user {
        Some(user) if message.contains(&io::Error::from_raw_os_error(EACCES).to_string()) => {
            format!(
                "{message}; the daemon reads it as user `{user}`: let that user's group read it \
                 (`chgrp`, `chmod g+r`), or, as a secret has to be of mode 0600, `chown {user}` it"
            )
        }
        _ => message,
    }
}

const EACCES: i32 = nix::errno::Errno::EACCES as i32;

/// Whom this process has to become; `None` if it is that already, or is to stay who it is.
fn to_become(loaded: &Loaded) -> Result<Option<Account>, SettingsError> {
    let Some(account) = account(loaded)? else {
        return Ok(None);
    };
    let own = geteuid();
    if own.is_root() {
        return Ok(Some(account));
    }
    if own == account.uid {
        return Ok(None);
    }
    let message = format!(
        "uid {own} cannot become `{}`; start the daemon as root, or as `{}`, or leave `user` out",
        account.name, account.name
    );
    Err(loaded.document.error("user", &message))
}

/// The account that the settings name, if it is not root's.
fn account(loaded: &Loaded) -> Result<Option<Account>, SettingsError> {
    let Some(user) = &loaded.settings.user else {
        return Ok(None);
    };
    let refuse = |message: &str| loaded.document.error("user", message);
    let found = match user.parse() {
        Ok(uid) => User::from_uid(Uid::from_raw(uid)),
        Err(_a_name) => User::from_name(user),
    };
    let found = found.map_err(|error| refuse(&format!("cannot look `{user}` up: {error}")))?;
    let found = found.ok_or_else(|| {
        refuse(&format!(
            "this host knows no user `{user}`; make one (`useradd --system {user}`), or name another"
        ))
    })?;
    Ok((!found.uid.is_root()).then_some(Account {
        name: found.name,
        uid: found.uid,
        group: found.gid,
    }))
}

impl Account {
    fn take_on(&self) -> Result<(), PrivilegesError> {
        self.try_take_on()
            .map_err(|source| PrivilegesError::Become {
                user: self.name.clone(),
                source,
            })
    }

    /// Groups first: without root they cannot be changed. Then makes sure of it.
    fn try_take_on(&self) -> io::Result<()> {
        bound_capabilities(CapabilitySet::empty())?;
        let name = std::ffi::CString::new(self.name.as_str())?;
        initgroups(&name, self.group)?;
        setresgid(self.group, self.group, self.group)?;
        setresuid(self.uid, self.uid, self.uid)?;
        hold_capabilities(CapabilitySet::empty())?;
        let (uids, gids) = (getresuid()?, getresgid()?);
        let is_all = [uids.real, uids.effective, uids.saved] == [self.uid; 3]
            && [gids.real, gids.effective, gids.saved] == [self.group; 3];
        let root = Uid::from_raw(0);
        if !is_all || setresuid(root, root, root).is_ok() {
            return Err(io::Error::other("it can become root again"));
        }
        Ok(())
    }

    /// Errors: a reload would find the configuration unreadable.
    fn can_reload(&self, loaded: &Loaded) -> Result<(), SettingsError> {
        let path = loaded.document.path();
        // What is no file is read once.
        if !path.is_file() && path.try_exists().is_ok() {
            return Ok(());
        }
        nix::unistd::access(path, nix::unistd::AccessFlags::R_OK).map_err(|error| {
            let group = Group::from_gid(self.group).ok().flatten();
            let group = group.map_or_else(|| self.group.to_string(), |group| group.name);
            SettingsError {
                path: path.to_owned(),
                line: None,
                message: format!(
                    "user `{}` cannot read it ({}), which a reload takes; `chgrp {group}` it, and \
                     `chmod g+r` it",
                    self.name,
                    error.desc()
                ),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::document::Document;

    fn loaded(text: &str) -> Loaded {
        let document = Document::from_text(Path::new("/b.toml"), text.to_owned());
        Loaded::parse(document).unwrap()
    }

    #[test]
    fn an_account_is_found_by_name_and_by_number() {
        let check = |text: &str, expected: Option<u32>| {
            let found = account(&loaded(text)).unwrap();
            assert_eq!(found.map(|account| account.uid.as_raw()), expected);
        };
        check("", None);
        check("user = \"nobody\"", Some(65_534));
        check("user = \"65534\"", Some(65_534));
        check("user = \"root\"", None);
        check("user = \"0\"", None);
    }

    #[test]
    fn an_unknown_account_is_refused_with_its_line() {
        for user in ["no-such-user", "4000000001", "-1"] {
            let text = format!("mode = \"log\"\nuser = \"{user}\"");
            let error = account(&loaded(&text)).unwrap_err().to_string();
            assert!(error.starts_with("/b.toml:2: user: "), "{error}");
            assert!(error.contains(user) && error.contains("useradd"), "{error}");
        }
    }

    #[test]
    fn who_cannot_read_a_file_is_said_where_that_is_the_matter() {
        let check = |user, message: &str, expected| {
            let mended = with_mend(message.to_owned(), user);
            assert_eq!(mended != message, expected, "{mended}");
        };
        let denied = "key.pem: Permission denied (os error 13)";
        check(Some("nobody"), denied, true);
        check(None, denied, false);
        check(Some("nobody"), "key.pem: no such file", false);
    }
}
