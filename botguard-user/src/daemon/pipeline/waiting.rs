//! What may have to wait for the kernel: a ban, while large tables are filled. The requests that
//! share its thread need not.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

use crate::daemon::enforcer::{BanOutcome, Enforcer};
use crate::engine::decision::BanProposal;

/// Carries out a ban.
pub(super) fn ban(enforcer: &Enforcer, ban: &BanProposal) -> BanOutcome {
    run(enforcer.is_kernel_busy(), || {
        enforcer.timed(|now| enforcer.ban(ban.clone(), now))
    })
}

/// Carries out what takes long if `waits`, having other threads take over what this one serves.
fn run<T>(waits: bool, carry_out: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::MultiThread) if waits => block_in_place(carry_out),
        _ => carry_out(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_carried_out_on_any_thread() {
        let check = || assert_eq!((run(true, || 1), run(false, || 2)), (1, 2));
        check();
        let runtime = |builder: &mut tokio::runtime::Builder| builder.build().unwrap();
        runtime(&mut tokio::runtime::Builder::new_current_thread()).block_on(async { check() });
        let threads = runtime(&mut tokio::runtime::Builder::new_multi_thread());
        threads.block_on(async { tokio::spawn(async move { check() }).await.unwrap() });
    }
}
