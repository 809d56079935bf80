//! The container's root: attached, entered by pivot_root(2), and made what the plan says.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::mount::UnmountFlags;

use super::mount::{self, attach, clone_path, set_propagation};
use super::root::RootFd;
use crate::error::{Call, Context, Result};
use crate::plan::mount::Propagation;

const SLAVE: Propagation = Propagation { flag: libc::MS_SLAVE, recursive: true };

/// Clones the root file system in the runtime's mount namespace, detached, receiving mounts but never
/// sending any back.
///
/// # Errors
/// As open_tree(2), with the path.
pub fn open(path: &str) -> Result<OwnedFd> {
    let tree = clone_path(path, true)?;
    set_propagation(tree.as_fd(), SLAVE)?;
    Ok(tree)
}

/// Cuts this (new) mount namespace off from the host's: nothing mounted here may reach the host.
///
/// # Errors
/// As mount_setattr(2).
pub fn isolate(private: bool) -> Result<()> {
    let flag = if private { libc::MS_PRIVATE } else { libc::MS_SLAVE };
    let root = current()?;
    set_propagation(root.as_fd(), Propagation { flag, recursive: true })
        .context(|| "make \"/\" of the new mount namespace a slave")
}

/// The root of this process's mount namespace, as long as it has no other.
///
/// # Errors
/// As open(2).
pub fn current() -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open("/", flags, Mode::empty()).call("open", || "\"/\"")
}

/// Attaches the root at its own path, where hooks expect to find it.
///
/// Where the user of a user namespace cannot reach that path, it is attached on top of `/` instead; the
/// steps that follow use descriptors and do not mind.
///
/// # Errors
/// As open(2) and move_mount(2).
pub fn place(tree: OwnedFd, path: &str) -> Result<RootFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let target = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(rustix::io::Errno::ACCESS) => rustix::fs::open("/", flags, Mode::empty()),
        other => other,
    };
    let target = target.call("open", || format!("{path:?}"))?;
    attach(tree.as_fd(), target.as_fd()).context(|| format!("root.path {path:?}"))?;
    Ok(tree.into())
}

/// Makes the root the process's root by pivot_root(2) and lets go of the old one.
///
/// # Errors
/// As pivot_root(2): EINVAL on an initramfs, where only `--no-pivot` helps.
pub fn pivot(root: &RootFd) -> Result<()> {
    rustix::process::fchdir(root).call("fchdir", || "the root")?;
    // Old and new root share one path, so that no folder for the old one is needed (pivot_root(2)): the
    // old root lies on top of the new one until it is unmounted.
    rustix::process::pivot_root(".", ".").call("pivot_root", || "\".\", \".\"")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).call("umount2", || "the old root, MNT_DETACH")?;
    rustix::process::chdir("/").call("chdir", || "\"/\"")
}

/// `--no-pivot`: moves the root onto `/` and chroots, for hosts whose root is an initramfs.
///
/// The host's proc and sysfs mounts are taken away first: they would stay reachable beneath. The container's
/// own, which hang on the root already, stay.
///
/// # Errors
/// The failing call.
pub fn move_root(root: &RootFd, mountinfo: &str) -> Result<()> {
    let (mask, flags) = (rustix::fs::StatxFlags::MNT_ID, rustix::fs::AtFlags::EMPTY_PATH);
    let root_id =
        rustix::fs::statx(root, "", flags, mask).call("statx", || "the root, STATX_MNT_ID")?.stx_mnt_id;
    for path in host_pseudo_mounts(mountinfo, root_id) {
        match rustix::mount::unmount(path.as_str(), UnmountFlags::DETACH) {
            // gone together with a mount above it, or locked in a user namespace, where it is harmless
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT | rustix::io::Errno::PERM) => {}
            Err(errno) => return Err(errno).call("umount2", || format!("{path:?}, MNT_DETACH")),
        }
    }
    rustix::process::fchdir(root).call("fchdir", || "the root")?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::open("/", flags, Mode::empty()).call("open", || "\"/\"")?;
    attach(root.as_fd(), top.as_fd()).context(|| "move the root onto \"/\"")?;
    change_root(root)
}

/// chroot(2) into the root: all there is without a mount namespace of its own.
///
/// # Errors
/// As chroot(2).
pub fn change_root(root: &RootFd) -> Result<()> {
    rustix::process::fchdir(root).call("fchdir", || "the root")?;
    rustix::process::chroot(".").call("chroot", || "\".\"")?;
    rustix::process::chdir("/").call("chdir", || "\"/\"")
}

/// Mount points of proc and sysfs in a mountinfo text (proc_pid_mountinfo(5)), with its escapes undone; but
/// not those on the mount with the number `root` or, a parent further, below it.
fn host_pseudo_mounts(mountinfo: &str, root: u64) -> Vec<String> {
    let mut parents = BTreeMap::new();
    let mut found = Vec::new();
    for line in mountinfo.lines() {
        let Some((mount, filesystem)) = line.split_once(" - ") else { continue };
        let fields: Vec<&str> = mount.split(' ').collect();
        let [Ok(id), Ok(parent)] =
            [0, 1].map(|field| fields.get(field).copied().unwrap_or_default().parse::<u64>())
        else {
            continue;
        };
        parents.insert(id, parent);
        if matches!(filesystem.split(' ').next(), Some("proc" | "sysfs")) {
            found.push((id, fields.get(4).copied().map(unescape).unwrap_or_default()));
        }
    }
    let is_below_root = |mut id: u64| {
        // No deeper than there are mounts, whatever the text says.
        for _ in 0..=parents.len() {
            match parents.get(&id) {
                _ if id == root => return true,
                Some(parent) if *parent != id => id = *parent,
                _ => return false,
            }
        }
        false
    };
    found.into_iter().filter(|(id, _)| !is_below_root(*id)).map(|(_, path)| path).collect()
}

fn unescape(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// Read-only and propagation of the finished root, after everything inside it is made.
///
/// # Errors
/// As mount_setattr(2).
pub fn finish(root: BorrowedFd<'_>, readonly: bool, propagation: Option<Propagation>) -> Result<()> {
    if let Some(propagation) = propagation {
        set_propagation(root, propagation).context(|| "linux.rootfsPropagation")?;
    }
    if readonly {
        let attributes = crate::plan::mount::Attributes { set: crate::plan::mount::RDONLY, clear: 0 };
        mount::set_attributes(root, attributes, false).context(|| "root.readonly")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pseudo_mounts_are_found_and_unescaped() {
        let text = "22 1 0:20 / /proc rw - proc proc rw\n\
                    23 1 8:1 / / rw - ext4 /dev/vda rw\n\
                    24 1 0:21 / /mnt/a\\040b rw shared:1 - sysfs sysfs rw\n";
        assert_eq!(host_pseudo_mounts(text, 7), ["/proc", "/mnt/a b"]);
    }

    #[test]
    fn pseudo_mounts_of_the_container_are_not_the_hosts() {
        let text = "1 1 8:1 / / rw - ext4 /dev/vda rw\n\
                    2 1 0:20 / /proc rw - proc proc rw\n\
                    3 1 8:1 /bundle/rootfs /bundle/rootfs rw - ext4 /dev/vda rw\n\
                    4 3 0:20 / /bundle/rootfs/proc rw - proc proc rw\n\
                    5 3 0:21 / /bundle/rootfs/mnt rw - tmpfs tmpfs rw\n\
                    6 5 0:22 / /bundle/rootfs/mnt/sys rw - sysfs sysfs rw\n";
        assert_eq!(host_pseudo_mounts(text, 3), ["/proc"]);
    }
}
