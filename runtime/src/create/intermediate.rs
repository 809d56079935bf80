//! The process between the runtime and init, where namespaces to join demand one.
//!
//! A joined pid namespace only takes children, and after joining a user namespace the runtime's rights are
//! gone: so a short-lived clone joins everything and then makes init as its sibling (CLONE_PARENT), which
//! leaves the runtime where it was and init its child.

use std::convert::Infallible;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions};
use sys::process::Clone;

use super::channel::{Channel, ToParent};
use super::init::{self, Prepared};
use crate::bail;
use crate::error::{Call, Context, Result};
use crate::kernel::namespace::Opened;
use crate::kernel::procfs::Procfs;
use crate::kernel::scheduler;
use crate::plan::Plan;

/// CLONE_PARENT of clone(2).
pub const CLONE_PARENT: u64 = 0x8000;

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
    if sets_oom_score(plan) {
        scheduler::set_oom_score(
            &Procfs::host()?,
            std::process::id().cast_signed(),
            plan.process.oom_score_adj,
        )?;
        // From here on nobody in the namespaces to join may trace or look into this process, or init after it: it
        // has the host's files open. An ordinary user's runtime is not protected yet.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .call("prctl", || "PR_SET_DUMPABLE")?;
    }
    let join = std::mem::take(&mut prepared.join);
    join_all(&join)?;
    drop(join);
    let flags = u64::from(plan.namespaces.clone_flags().unsigned_abs());
    let make =
        || sys::process::clone3(flags | CLONE_PARENT, cgroup).context(|| "make the container's namespaces");
    beget(channel, || Ok((make()?, true)), |_| init::run(plan, prepared, channel))
}

/// Has `make` clone a sibling of this process, which lives by `begin`; tells the runtime of it, and ends. Whether
/// the sibling is in its cgroup already, `make` tells too, and `begin` and the runtime hear of it.
///
/// # Errors
/// Of `make`, pipe2(2) and the channel; in the sibling, those of `begin`.
pub fn beget(
    channel: &Channel,
    make: impl FnOnce() -> Result<(Clone, bool)>,
    begin: impl FnOnce(bool) -> Result<Infallible>,
) -> Result<Infallible> {
    // Both speak to the runtime through one channel: the sibling is silent until this process has had its word.
    let (wait, keep) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).call("pipe2", || "")?;
    let (clone, placed) = make()?;
    match clone {
        Clone::Child => {
            drop(keep);
            let _ = rustix::io::retry_on_intr(|| rustix::io::read(&wait, &mut [0_u8; 1]));
            drop(wait);
            begin(placed)
        }
        Clone::Parent { pid, pidfd } => {
            drop::<OwnedFd>(pidfd);
            channel.send(&ToParent::Cloned { pid, placed })?;
            drop(keep);
            sys::process::exit_now(0)
        }
    }
}

/// Whether the process in between sets the OOM score, which init then has from it: once it may not be looked into,
/// its files in /proc are root's, and out of reach for the ordinary user that the runtime is.
pub fn sets_oom_score(plan: &Plan) -> bool {
    plan.namespaces.need_intermediate() && !nix::unistd::geteuid().is_root()
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

/// What the process in between has made.
#[derive(Debug)]
pub struct Made {
    /// Its process id.
    pub pid: i32,
    /// Its descriptor.
    pub pidfd: OwnedFd,
    /// Whether it is in its cgroup already.
    pub placed: bool,
}

/// The runtime's side: what was made, once the process in between has said what became of it; that one is waited for
/// in any case.
///
/// # Errors
/// What the process in between says, or that it ended without a word.
pub fn made_by(pid: i32, channel: &Channel) -> Result<Made> {
    let said = channel.receive::<ToParent>();
    let reaped = reap(pid);
    match said? {
        Some(ToParent::Cloned { pid, placed }) => {
            reaped?;
            // init is our child and not reaped yet: the number cannot mean another process.
            Ok(Made { pid, pidfd: open(pid)?, placed })
        }
        Some(ToParent::Failed(mut error)) => {
            reaped.err().iter().for_each(|note| error.attach(note));
            Err(error)
        }
        _ => bail!("the process that joins the namespaces ended without a word"),
    }
}

/// Ends the process in between, which has said its word, or cannot any more: by itself it would end at once, unless
/// somebody has stopped it meanwhile, or paused the container whose cgroup it is in.
fn reap(pid: i32) -> Result<()> {
    let waited = process_id(pid).and_then(|pid| {
        // The number is its own only as long as it is our child.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        rustix::process::waitid(WaitId::Pid(pid), look)?;
        match rustix::process::kill_process(pid, Signal::KILL) {
            // PERM: it has become somebody else on its way, which it goes on.
            Ok(()) | Err(Errno::SRCH | Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
        rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()))
    });
    waited.map(drop).call("waitpid", || pid.to_string())
}

fn open(init: i32) -> Result<OwnedFd> {
    let pidfd = process_id(init).and_then(|init| rustix::process::pidfd_open(init, PidfdFlags::empty()));
    pidfd.call("pidfd_open", || init.to_string())
}

/// A number that came through the channel; none but a positive one is a process.
fn process_id(number: i32) -> std::result::Result<Pid, Errno> {
    Pid::from_raw(number.max(0)).ok_or(Errno::SRCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    /// A process in between that says `word` and ends; what the runtime makes of it.
    #[allow(clippy::zombie_processes)] // reaping it is what is tested
    fn after(word: impl FnOnce(&Channel)) -> (i32, Result<Made>) {
        after_by("true", &[], word)
    }

    #[allow(clippy::zombie_processes)] // as above
    fn after_by(program: &str, args: &[&str], word: impl FnOnce(&Channel)) -> (i32, Result<Made>) {
        let (channel, end) = Channel::pair().unwrap();
        let child = std::process::Command::new(program).args(args).spawn().unwrap();
        word(&end);
        drop(end);
        let pid = child.id().cast_signed();
        (pid, made_by(pid, &channel))
    }

    fn cloned(pid: i32) -> ToParent {
        ToParent::Cloned { pid, placed: true }
    }

    fn is_reaped(pid: i32) -> bool {
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None) == Err(nix::errno::Errno::ECHILD)
    }

    #[test]
    fn the_process_in_between_is_reaped_whatever_it_says() {
        let own = std::process::id().cast_signed();
        let (pid, made) = after(|end| end.send(&cloned(own)).unwrap());
        assert_eq!(made.unwrap().pid, own);
        assert!(is_reaped(pid));
        let (pid, made) = after(|end| end.send(&ToParent::Failed(Error::other("no"))).unwrap());
        assert_eq!(made.unwrap_err().to_string(), "no");
        assert!(is_reaped(pid));
        let (pid, made) = after(|_| {});
        let error = made.unwrap_err().to_string();
        assert_eq!(error, "the process that joins the namespaces ended without a word");
        assert!(is_reaped(pid));
        let (pid, made) = after(|end| end.send(&cloned(-7)).unwrap());
        assert_eq!(made.unwrap_err().errno(), libc::ESRCH);
        assert!(is_reaped(pid));
    }

    #[test]
    fn one_that_is_stopped_behind_its_word_keeps_nobody_waiting() {
        let own = std::process::id().cast_signed();
        let (pid, made) = after_by("sleep", &["1000"], |end| end.send(&cloned(own)).unwrap());
        assert_eq!(made.unwrap().pid, own);
        assert!(is_reaped(pid));
    }

    #[test]
    fn a_process_that_cannot_be_waited_for_is_an_error() {
        let (channel, end) = Channel::pair().unwrap();
        end.send(&ToParent::Failed(Error::other("said"))).unwrap();
        let error = made_by(1, &channel).unwrap_err().to_string();
        assert!(
            error.starts_with("said") && error.contains("waitpid(1): no child processes (ECHILD)"),
            "{error}"
        );
        end.send(&cloned(1)).unwrap();
        assert_eq!(made_by(1, &channel).unwrap_err().errno(), libc::ECHILD);
    }
}
