//! What a process takes on, and what it lays down, before it becomes a program: the last steps of a container's
//! init and of a process that `exec` adds, which must not differ.
//!
//! All of it happens inside the container. Nothing is opened here but the working directory and what the look-up of
//! the program needs, and from [`load_filter`] on the container's own filter holds.

use std::os::fd::{IntoRawFd, RawFd};

use rustix::fs::Mode;

use super::program::{self, Program};
use crate::bail;
use crate::error::{Call, Context, Result};
use crate::kernel::{capability, rlimit, scheduler};
use crate::plan::Process;
use crate::plan::capability::Sets;
use crate::plan::seccomp::Filter;
use crate::spec::User;

/// Personality, memory policy, priorities, no_new_privs.
///
/// # Errors
/// The kernel's, naming the field.
pub fn schedule(process: &Process) -> Result<()> {
    if let Some(domain) = process.personality {
        scheduler::set_personality(domain)?;
    }
    if let Some(policy) = &process.memory_policy {
        scheduler::set_memory_policy(policy)?;
    }
    if let Some(priority) = process.io_priority {
        scheduler::set_io_priority(priority)?;
    }
    if let Some(attr) = &process.scheduler {
        scheduler::set_scheduler(attr)?;
    }
    if process.no_new_privileges {
        rustix::thread::set_no_new_privs(true).call("prctl", || "PR_SET_NO_NEW_PRIVS")?;
    }
    Ok(())
}

/// Working directory, capabilities, groups, user; the program, found as that user. `filtered` tells that a system
/// call filter is to be loaded after this; `listen` is the number of systemd's sockets.
///
/// # Errors
/// The kernel's, naming the field, and those of [`Program::find`].
pub fn assume(process: &Process, filtered: bool, listen: u32) -> Result<Program> {
    // As runc: a folder that only root reaches is fine, one that only the user reaches is too.
    let entered = match program::enter_cwd(&process.cwd) {
        Err(error) if matches!(error.errno(), libc::EACCES | libc::EPERM) => false,
        result => result.map(|()| true)?,
    };
    // Without no_new_privs, loading a filter is a privilege: it is kept until then, not in force.
    let mut sets = process.capabilities;
    if filtered && !process.no_new_privileges {
        sets.permitted |= capability::SYS_ADMIN;
    }
    become_user(&process.user, &sets)?;
    if !entered {
        program::enter_cwd(&process.cwd)?;
    }
    let env = program::environment(&process.env, process.user.uid, listen);
    Program::find(&process.args, &env)
}

/// Bounding set, groups, user, the other sets: in the order in which each still may be changed.
fn become_user(user: &User, sets: &Sets) -> Result<()> {
    capability::drop_bounding(sets)?;
    capability::keep_over_setuid()?;
    let groups: Vec<_> = user.additional_gids.iter().map(|gid| rustix::fs::Gid::from_raw(*gid)).collect();
    match rustix::thread::set_thread_groups(&groups) {
        // A user namespace that may not call it has no groups to drop either.
        Err(rustix::io::Errno::PERM) if groups.is_empty() => {}
        Err(rustix::io::Errno::PERM) => bail!(
            "process.user.additionalGids: cannot set any additional groups in a rootless container whose user \
             namespace has setgroups(2) denied; newgidmap allows it, for mappings of more than one's own group"
        ),
        result => {
            result.call("setgroups", || format!("process.user.additionalGids {:?}", user.additional_gids))?
        }
    }
    let (uid, gid) = (rustix::fs::Uid::from_raw(user.uid), rustix::fs::Gid::from_raw(user.gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid)
        .call("setresgid", || format!("process.user.gid {}", user.gid))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
        .call("setresuid", || format!("process.user.uid {}", user.uid))?;
    capability::apply(sets)?;
    rustix::process::umask(Mode::from_raw_mode(user.umask.unwrap_or(0o022)));
    Ok(())
}

/// Descriptors close-on-exec but for the `preserve` after standard error, signals as they were born, limits.
///
/// # Errors
/// The kernel's, naming the field.
pub fn strip(process: &Process, preserve: u32) -> Result<()> {
    for fd in 3..3 + preserve {
        sys::fd::keep_over_exec(fd)?;
    }
    sys::process::cloexec_from(3 + preserve)?;
    sys::process::reset_signals()?;
    // Meant for the program: until here files were opened, memory used and hooks run.
    rlimit::apply(&process.rlimits)
}

/// Loads the filter and, with SCMP_ACT_NOTIFY, has its listener handed over by number.
///
/// Once it is loaded it holds for this process too, which may need no more than read, write, capset, prctl and
/// execve then: no memory is taken or given back and nothing is closed, execve does that.
///
/// # Errors
/// The kernel's, and those of handing over.
pub fn load_filter(
    filter: &Filter,
    process: &Process,
    hand_over: impl FnOnce(RawFd) -> Result<()>,
) -> Result<()> {
    let instructions = std::mem::ManuallyDrop::new(filter.instructions());
    let sets = &process.capabilities;
    let privileged = !process.no_new_privileges;
    if privileged {
        let (effective, permitted) = (sets.effective, sets.permitted);
        let (effective, permitted) = (effective | capability::SYS_ADMIN, permitted | capability::SYS_ADMIN);
        capability::apply(&Sets { effective, permitted, ..*sets })?;
    }
    let listener = sys::seccomp::load(&instructions, filter.flags).context(|| "linux.seccomp")?;
    // First of all: the agent may be asked about every call that follows.
    if let Some(number) = listener.map(IntoRawFd::into_raw_fd) {
        hand_over(number)?;
    }
    if privileged {
        capability::apply(sets)?;
    }
    Ok(())
}
