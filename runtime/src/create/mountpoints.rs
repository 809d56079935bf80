//! What CRIU leaves undone about a restored container's root: mount points, which it makes none of, though the root
//! may be a fresh one; and that the root is read-only.
//!
//! Mount points are made as `create` makes them, by mounting everything in order, in a mount namespace that is thrown away
//! with the process in it. So a mount point inside another mount is made where it belongs, and nothing is ever
//! mounted on the host.

use std::os::fd::AsFd;

use rustix::fs::Mode;
use rustix::process::{WaitId, WaitIdOptions};
use sys::process::Clone;

use super::channel::{Channel, ToParent};
use crate::bail;
use crate::error::{Call, Context, Result};
use crate::kernel::procfs::Procfs;
use crate::kernel::root::{RootFd, Target};
use crate::kernel::{device, mount, namespace, rootfs};
use crate::plan::Plan;
use crate::plan::mount::{Propagation, What};
use crate::plan::namespace::Namespace;

/// Makes the mount points, device nodes and links of the plan in its root.
///
/// # Errors
/// The failing call, as `create` would have it.
pub fn make(plan: &Plan) -> Result<()> {
    apart(libc::CLONE_NEWNS, || furnish(plan)).context(|| "make mount points")
}

/// Makes the root of a restored container read-only, which CRIU leaves writable: from inside the container's mount
/// namespace, where alone a mount can be changed (mount_setattr(2)), and with nothing but calls.
///
/// # Errors
/// As setns(2) and mount_setattr(2).
pub fn make_root_readonly(host: &Procfs, pid: i32) -> Result<()> {
    let namespace = namespace::of_process(host, pid, "mnt")?;
    apart(0, || {
        namespace::enter(namespace.as_fd(), Namespace::Mount)?;
        rootfs::finish(rootfs::current()?.as_fd(), true, None)
    })
}

/// Does something in a process of its own, made with these flags, which ends with it.
fn apart(flags: i32, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let (channel, theirs) = Channel::pair()?;
    match sys::process::clone3(u64::from(flags.unsigned_abs()), None)? {
        Clone::Child => {
            let message = match work() {
                Ok(()) => ToParent::Ready,
                Err(error) => ToParent::Failed(error.bounded()),
            };
            let sent = theirs.send(&message);
            sys::process::exit_now(i32::from(sent.is_err()))
        }
        Clone::Parent { pidfd, .. } => {
            drop(theirs);
            let said = channel.receive::<ToParent>();
            rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
                .call("waitid", || "a process of the runtime's own")?;
            match said? {
                Some(ToParent::Ready) => Ok(()),
                Some(ToParent::Failed(error)) => Err(error),
                _ => bail!("a process of the runtime's own ended without a word"),
            }
        }
    }
}

fn furnish(plan: &Plan) -> Result<()> {
    rustix::process::umask(Mode::empty());
    rootfs::isolate(false)?;
    let root = rootfs::place(rootfs::open(&plan.root.path)?, &plan.root.path)?;
    for entry in &plan.mounts {
        place(&root, entry).context(|| entry.describe())?;
    }
    if let Some(devices) = &plan.devices {
        let binds = if plan.namespaces.binds_devices() { device::clone_nodes(devices)? } else { Vec::new() };
        device::make_nodes(&root, devices, &binds)?;
        device::make_links(&root)?;
    }
    if plan.process.terminal {
        root.ensure("/dev/console", Target::File).context(|| "/dev/console")?;
    }
    Ok(())
}

fn place(root: &RootFd, entry: &crate::plan::mount::Mount) -> Result<()> {
    let made = match &entry.what {
        What::Bind { source, recursive } => {
            let inherited = Propagation { flag: libc::MS_SLAVE, recursive: true };
            Some(mount::open_bind(entry, source, *recursive, inherited)?)
        }
        _ => mount::make(entry)?,
    };
    match made {
        Some(made) => mount::place(root, entry, &made),
        None => Ok(()), // a remount, of nothing that stays
    }
}
