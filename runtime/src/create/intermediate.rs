//! The process between the runtime and init, where namespaces to join demand one.
//!
//! A joined pid namespace only takes children, and after joining a user namespace the runtime's rights are
//! gone: so a short-lived clone joins everything and then makes init as its sibling (CLONE_PARENT), which
//! leaves the runtime where it was and init its child.

use std::convert::Infallible;
use std::os::fd::{BorrowedFd, OwnedFd};

use sys::process::Clone;

use super::channel::{Channel, ToParent};
use super::init::{self, Prepared};
use crate::bail;
use crate::error::{Call, Context, Error, Result};
use crate::kernel::namespace::Opened;
use crate::plan::Plan;

/// CLONE_PARENT of clone(2).
const CLONE_PARENT: u64 = 0x8000;

/// Joins what is to be joined, makes init, tells the runtime its process id, and ends.
pub fn run(plan: &Plan, prepared: Prepared, channel: &Channel, cgroup: Option<BorrowedFd<'_>>) -> ! {
    let Err(error) = steps(plan, prepared, channel, cgroup);
    let told = channel.send(&ToParent::Failed(error.bounded()));
    sys::process::exit_now(if told.is_ok() { 1 } else { 2 })
}

fn steps(
    plan: &Plan,
    mut prepared: Prepared,
    channel: &Channel,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Infallible> {
    let join = std::mem::take(&mut prepared.join);
    join_all(&join)?;
    drop(join);
    let flags = u64::from(plan.namespaces.clone_flags().unsigned_abs());
    // Both speak to the runtime through one channel: init is silent until this process has had its word.
    let (wait, keep) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).call("pipe2", || "")?;
    match sys::process::clone3(flags | CLONE_PARENT, cgroup).context(|| "make the container's namespaces")? {
        Clone::Child => {
            drop(keep);
            let _ = rustix::io::retry_on_intr(|| rustix::io::read(&wait, &mut [0_u8; 1]));
            drop(wait);
            init::run(plan, prepared, channel)
        }
        Clone::Parent { pid, pidfd } => {
            drop::<OwnedFd>(pidfd);
            channel.send(&ToParent::Cloned(pid))?;
            drop(keep);
            sys::process::exit_now(0)
        }
    }
}

/// Joins with the runtime's own rights first; what those do not reach (a namespace that belongs to the
/// user namespace, for a rootless caller) is joined after the user namespace, which comes last.
fn join_all(namespaces: &[Opened]) -> Result<()> {
    let mut later = Vec::new();
    for namespace in namespaces {
        match namespace.join() {
            Err(error) if error.errno() == libc::EPERM => later.push((namespace, error)),
            result => result?,
        }
    }
    let joined_user = namespaces.iter().any(|n| n.kind == crate::plan::namespace::Namespace::User);
    for (namespace, first) in later {
        if !joined_user {
            return Err(first);
        }
        namespace.join()?;
    }
    Ok(())
}

/// Reaps the process in between and turns init's process id into a descriptor.
///
/// # Errors
/// Where the process in between failed without a word.
pub fn reap(pid: i32, init: i32) -> Result<OwnedFd> {
    let waited = rustix::process::Pid::from_raw(pid)
        .map(|pid| rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()));
    match waited {
        Some(Ok(_)) => {}
        Some(Err(errno)) => return Err(errno).call("waitpid", || pid.to_string()),
        None => bail!("waitpid({pid}): not a process id"),
    }
    // init is our child and not reaped yet: the number cannot mean another process.
    let Some(init) = rustix::process::Pid::from_raw(init) else {
        return Err(Error::other(format!("pidfd_open({init}): not a process id")));
    };
    rustix::process::pidfd_open(init, rustix::process::PidfdFlags::empty())
        .call("pidfd_open", || init.as_raw_nonzero().to_string())
}
