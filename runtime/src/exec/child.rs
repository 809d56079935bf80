//! The process that `exec` adds, from its birth to its program.
//!
//! It is a clone of the runtime. What needs the runtime's rights or its view of the host is done first; then all is
//! closed that leads to the host, and it joins the container: whoever is in there may try to get at it, so it is
//! not dumpable from before it joins until execve(2). [`run`] never returns.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags};

use super::place::Place;
use crate::bail;
use crate::container::Pidfd;
use crate::create::channel::{Channel, ToInit, ToParent};
use crate::create::handover::Inherited;
use crate::create::identity;
use crate::create::init::{hand_over_listener, reset_affinity};
use crate::create::intermediate;
use crate::error::{Call, Context, Error, Result};
use crate::kernel::procfs::Procfs;
use crate::kernel::root::RootFd;
use crate::kernel::{intel_rdt, keyring, lsm, namespace, rlimit, rootfs, scheduler, tty};
use crate::plan::exec::ExecPlan;
use crate::plan::namespace::Namespace;

/// Everything the process needs beside the plan, opened by the runtime before the clone.
#[derive(Debug)]
pub struct Prepared {
    /// The container's id, for its keyring.
    pub id: String,
    /// The container's init.
    pub init: Pidfd,
    /// The namespaces to join, as `CLONE_NEW…` flags.
    pub join: i32,
    /// The cgroup namespace among these, for who can join that only later.
    pub cgroup_namespace: Option<OwnedFd>,
    /// The container's root, where that is not the root of a mount namespace of its own.
    pub root: Option<OwnedFd>,
    /// Where the terminal goes.
    pub console: Option<OwnedFd>,
    /// Descriptors from 3 on that the program inherits.
    pub inherited: Inherited,
    /// Whether the runtime has something to say before the program does, which waits for that.
    pub announces: bool,
    /// Whether the caller's session keyring is kept.
    pub keeps_keyring: bool,
    /// The host's procfs.
    pub host: &'static Procfs,
}

/// Joins the container and becomes the program; where it is not `placed`, after it has been brought to its cgroup.
pub fn run(plan: &ExecPlan, prepared: &Prepared, channel: &Channel, placed: bool) -> ! {
    let Err(error) = arrive(plan, channel, placed)
        .and_then(|()| equip(plan, prepared))
        .and_then(|()| close(prepared, channel))
        .and_then(|()| join(prepared, prepared.join & !Namespace::Pid.flag()))
        .and_then(|()| settle(plan, prepared, channel));
    fail(channel, error)
}

/// The same by way of a process that joins first, the pid namespace too, and clones then: what it clones is seen in
/// the container when there is nothing of the host about it any more.
pub fn run_outside(plan: &ExecPlan, prepared: &Prepared, channel: &Channel, placed: bool) -> ! {
    let make = || Ok((sys::process::clone3(intermediate::CLONE_PARENT, None)?, true));
    let Err(error) = arrive(plan, channel, placed)
        .and_then(|()| equip(plan, prepared))
        .and_then(|()| close(prepared, channel))
        .and_then(|()| join(prepared, prepared.join))
        .and_then(|()| intermediate::beget(channel, make, |_| settle(plan, prepared, channel)));
    fail(channel, error)
}

/// The same by way of a process that joins first, and clones into `place` then: for a caller whose rights reach a
/// pid namespace only from inside the container's user namespace.
pub fn run_between(plan: &ExecPlan, prepared: &Prepared, channel: &Channel, place: &Place<'_>) -> ! {
    // The cgroup namespace comes last: from inside it the caller's own cgroup, which a clone into another one
    // leaves, cannot be seen.
    let (late, now) = (&prepared.cgroup_namespace, prepared.join & !Namespace::Cgroup.flag());
    let make = || {
        let newborn = place.bear(|cgroup| Ok(sys::process::clone3(intermediate::CLONE_PARENT, cgroup)?))?;
        Ok((newborn.clone, newborn.placed))
    };
    let Err(error) = equip(plan, prepared).and_then(|()| join(prepared, now)).and_then(|()| {
        intermediate::beget(channel, make, |placed| {
            arrive(plan, channel, placed)?;
            close(prepared, channel)?;
            if let Some(late) = late {
                // By its own descriptor: from inside, an init that waits for its start cannot be looked into.
                namespace::enter(late.as_fd(), Namespace::Cgroup).context(|| "join the cgroup namespace")?;
            }
            settle(plan, prepared, channel)
        })
    });
    fail(channel, error)
}

fn fail(channel: &Channel, error: Error) -> ! {
    let told = channel.send(&ToParent::Failed(error.bounded()));
    sys::process::exit_now(if told.is_ok() { 1 } else { 2 })
}

/// Waits to be in the container's cgroup, then chooses among its CPUs. Where no more than `initial` is given, it is
/// the kernel that decides (config.md).
fn arrive(plan: &ExecPlan, channel: &Channel, placed: bool) -> Result<()> {
    // step 9: be in the cgroup; CPUs
    if !placed {
        match channel.receive::<ToInit>()? {
            Some(ToInit::Placed) => {}
            Some(other) => bail!("the runtime sent {other:?} out of turn"),
            None => bail!("the runtime ended before the process was in its cgroup"),
        }
    }
    match (&plan.affinity.initial, &plan.affinity.after) {
        (_, Some(cpus)) => scheduler::set_affinity(cpus, "process.execCPUAffinity.final"),
        (Some(_), None) => Ok(()),
        (None, None) => reset_affinity(channel),
    }
}

/// What only the runtime's rights can give, or the host's view.
fn equip(plan: &ExecPlan, prepared: &Prepared) -> Result<()> {
    let (process, host) = (&plan.process, prepared.host);
    // step 10: limits, OOM score, Intel RDT, labels and standard input and output, with the runtime's rights
    rlimit::raise_hard(rustix::process::getpid(), &process.rlimits)?;
    if let Some(adjustment) = process.oom_score_adj {
        host.write("self/oom_score_adj", adjustment.to_string()).context(|| "process.oomScoreAdj")?;
    }
    if let Some(rdt) = &plan.intel_rdt {
        // 0 is whoever writes it.
        intel_rdt::assign(&intel_rdt::root()?, rdt, 0)?;
    }
    if !process.apparmor_profile.is_empty() {
        lsm::apply_apparmor(host, &process.apparmor_profile)?;
    }
    if !process.selinux_label.is_empty() {
        lsm::apply_selinux(host, &process.selinux_label)?;
        if !prepared.keeps_keyring {
            // For one that is made anew, where the container's is not found or expired.
            lsm::label_keys(host, &process.selinux_label)?;
        }
    }
    // Inside a user namespace nobody has a right to them: their owner is no user there.
    if let Some(uid) = plan.namespaces.host_uid(process.user.uid).filter(|_| !process.terminal) {
        tty::give_stdio(uid, false)?;
    }
    hide()
}

/// Nobody's business until execve says otherwise (CVE-2016-9962). A change of user may have undone it, by the sysctl
/// fs.suid_dumpable.
fn hide() -> Result<()> {
    nix::sys::prctl::set_dumpable(false).call("prctl", || "PR_SET_DUMPABLE")
}

/// Closes what leads to the host, except standard input and output and what is handed on.
fn close(prepared: &Prepared, channel: &Channel) -> Result<()> {
    // step 11: close what the runtime had open and this process has no use for
    let mut keep: Vec<RawFd> = vec![channel.as_fd().as_raw_fd(), prepared.init.as_fd().as_raw_fd()];
    let more = prepared.root.iter().chain(&prepared.console).chain(&prepared.cgroup_namespace);
    keep.extend(more.map(AsRawFd::as_raw_fd));
    keep.extend((3..3 + prepared.inherited.total).filter_map(|fd| RawFd::try_from(fd).ok()));
    Ok(sys::fd::close_all_except(&keep)?)
}

fn join(prepared: &Prepared, namespaces: i32) -> Result<()> {
    rustix::process::umask(Mode::empty());
    // step 12: join the namespaces of init, all in one call
    if namespaces != 0 {
        sys::process::setns(prepared.init.as_fd(), namespaces)
            .context(|| "join the container's namespaces")?;
    }
    Ok(())
}

/// Inside the container: session, root, terminal, then everything that makes it its program.
fn settle(plan: &ExecPlan, prepared: &Prepared, channel: &Channel) -> Result<Infallible> {
    let process = &plan.process;
    // step 13: root of a user namespace; a session of its own, the container's keyring and root
    if prepared.join & Namespace::User.flag() != 0 {
        // Only now: into the cgroup a process in between clones as the user that it was, whose the cgroup is.
        namespace::become_root()?;
        hide()?;
    }
    rustix::process::setsid().call("setsid", || "")?;
    if !prepared.keeps_keyring {
        keyring::join_session(&prepared.id, plan.namespaces.is_own(Namespace::User))?;
    }
    let root = match &prepared.root {
        Some(root) => RootFd::from(root.try_clone().call("dup", || "")?),
        None => RootFd::from(
            rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .call("open", || "\"/\"")?,
        ),
    };
    if prepared.root.is_some() {
        rootfs::change_root(&root)?;
    }
    // step 14: terminal, standard input and output
    if process.terminal {
        let pair = tty::open(&root, process.console_size)?;
        if process.terminal_is_ours {
            tty::pass_newlines(&pair)?;
        }
        if let Some(console) = &prepared.console {
            tty::send(console.as_fd(), pair.master.as_fd())?;
        }
        tty::become_terminal(pair.slave)?;
    }
    drop(root);
    tty::settle_stdio(process.user.uid, process.terminal)?;
    // step 15: personality, memory policy, priorities, no_new_privs
    identity::schedule(process)?;
    // step 16: working directory, capabilities, groups, user; find the program as that user
    let program = identity::assume(process, plan.seccomp.is_some(), 0)?;
    hide()?;
    // step 17: descriptors close-on-exec, signals as they were born, limits
    identity::strip(process, prepared.inherited.total)?;
    if channel.is_closed() {
        // Nobody knows of this process: a caller that was told of no success is not to find its program running.
        bail!("the runtime has ended");
    }
    if prepared.announces {
        channel.send(&ToParent::Ready)?;
        match channel.receive::<ToInit>()? {
            Some(ToInit::Go) => {}
            Some(other) => bail!("the runtime sent {other:?} out of turn"),
            None => bail!("the runtime has ended"),
        }
    }
    // step 18: load the container's system call filter, become the program
    if let Some(filter) = &plan.seccomp {
        identity::load_filter(filter, process, |number| hand_over_listener(channel, number))?;
    }
    Err(program.exec())
}
