//! Device nodes and links of the container's /dev (config-linux.md "Devices", "Default Devices").
//!
//! Everything happens on descriptors of folders inside the root: an image whose /dev is a link gets its
//! nodes where the link leads *inside* the root (CVE-2026-41579).

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode};

use super::mount;
use super::root::{RootFd, Target, stat_entry, symlink};
use crate::bail;
use crate::error::{Call, Context, Result};
use crate::plan::device::{Device, NodeType};

/// Makes the nodes by mknod(2), or attaches the ready bind mounts where the container may not make nodes.
///
/// `binds` holds the detached mounts of a container in a user namespace, one place per device, and is empty
/// otherwise. The umask must be 0.
///
/// # Errors
/// The failing call with the device's place in the specification.
pub fn make_nodes(root: &RootFd, devices: &[Device], binds: &[Option<OwnedFd>]) -> Result<()> {
    let mut dev: Option<(OwnedFd, &str)> = None; // nearly all live in one folder: resolve it once
    for (index, device) in devices.iter().enumerate() {
        let step = || format!("{} {:?}", device.pointer, device.path);
        if let Some(Some(bind)) = binds.get(index) {
            let target = root.ensure(&device.path, Target::File).context(step)?;
            mount::attach(bind.as_fd(), target.as_fd()).context(step)?;
            continue;
        }
        let folder_name = device.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        if dev.as_ref().is_none_or(|(_, known)| *known != folder_name) {
            dev = Some((root.ensure_parent(&device.path).context(step)?.0, folder_name));
        }
        let name = device.path.rsplit('/').next().unwrap_or_default();
        if let Some((folder, _)) = &dev {
            make_node(folder, name, device).context(step)?;
        }
    }
    Ok(())
}

fn make_node(folder: &OwnedFd, name: &str, device: &Device) -> Result<()> {
    let (kind, number) = match device.kind {
        NodeType::Character => (FileType::CharacterDevice, rustix::fs::makedev(device.major, device.minor)),
        NodeType::Block => (FileType::BlockDevice, rustix::fs::makedev(device.major, device.minor)),
        NodeType::Fifo => (FileType::Fifo, 0),
    };
    match rustix::fs::mknodat(folder, name, kind, Mode::from_raw_mode(device.mode), number) {
        Ok(()) => {}
        Err(rustix::io::Errno::EXIST) => {
            let there = stat_entry(folder.as_fd(), name)?;
            let same = there.is_some_and(|stat| {
                FileType::from_raw_mode(stat.st_mode) == kind
                    && (device.kind == NodeType::Fifo || stat.st_rdev == number)
            });
            if !same {
                bail!("another file exists at that path");
            }
        }
        Err(errno) => return Err(errno).call("mknodat", || format!("{name:?}")),
    }
    if device.uid != 0 || device.gid != 0 {
        let (uid, gid) = (rustix::fs::Uid::from_raw(device.uid), rustix::fs::Gid::from_raw(device.gid));
        rustix::fs::chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .call("fchownat", || format!("{name:?}, {}:{}", device.uid, device.gid))?;
    }
    Ok(())
}

/// Clones the host's nodes as detached mounts, for containers in a user namespace. A FIFO is no device: it is
/// made there as anywhere.
///
/// # Errors
/// A device that the host does not have, or has with another number.
pub fn clone_nodes(devices: &[Device]) -> Result<Vec<Option<OwnedFd>>> {
    let clone = |device: &Device| {
        if device.kind == NodeType::Fifo {
            return Ok(None);
        }
        let tree = mount::clone_path(&device.path, false)?;
        let stat = rustix::fs::fstat(&tree).call("fstat", || format!("{:?}", device.path))?;
        if stat.st_rdev != rustix::fs::makedev(device.major, device.minor) {
            bail!("the host's {:?} is not {}:{}", device.path, device.major, device.minor);
        }
        Ok(Some(tree))
    };
    devices
        .iter()
        .map(|device| clone(device).context(|| format!("{} {:?}", device.pointer, device.path)))
        .collect()
}

/// The links every container has: fd, stdin, stdout, stderr, and ptmx.
///
/// # Errors
/// The failing call.
pub fn make_links(root: &RootFd) -> Result<()> {
    let dev = root.ensure("/dev", Target::Folder)?;
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(dev.as_fd(), name, target)?;
    }
    // An image's own ptmx would be the host's: it gives way, inside the folder that we hold.
    let kind = stat_entry(dev.as_fd(), "ptmx")?.map(|stat| FileType::from_raw_mode(stat.st_mode));
    if let Some(kind) = kind.filter(|kind| *kind != FileType::Symlink) {
        let how = if kind == FileType::Directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        rustix::fs::unlinkat(&dev, "ptmx", how)
            .call("unlinkat", || "\"/dev/ptmx\"")
            .context(|| "replace the image's own /dev/ptmx by a link to pts/ptmx")?;
    }
    symlink(dev.as_fd(), "ptmx", "pts/ptmx")
}
