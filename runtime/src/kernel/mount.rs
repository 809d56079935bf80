//! Mounts by descriptor: fsopen(2), fsmount(2), open_tree(2), mount_setattr(2), move_mount(2).
//!
//! A mount is first made detached, where nobody can see or race with it, gets its flags there, and is then
//! attached to a descriptor of its target inside the root. No mount source or target is a path that an
//! image could have bent.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::FileType;
use rustix::mount::{FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};
use sys::mount::{MountAttr, mount_setattr};

use super::root::{RootFd, Target};
use crate::bail;
use crate::error::{Call, Context, Error, Result};
use crate::plan::mount::{Attributes, Mount, Propagation, RESTRICTIONS, What};

const ATTR_RDONLY: u64 = crate::plan::mount::RDONLY;

/// A detached mount and the kind of target it needs.
#[derive(Debug)]
pub struct Detached {
    /// The mount's root.
    pub tree: OwnedFd,
    /// Whether it goes onto a folder or a file.
    pub target: Target,
}

/// Clones what `source` refers to as a detached mount (open_tree(2), OPEN_TREE_CLONE).
///
/// # Errors
/// As open_tree(2).
pub fn clone_tree(source: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    rustix::mount::open_tree(source, "", flags).call("open_tree", || "OPEN_TREE_CLONE")
}

/// Clones the tree at a path of the runtime's own mount namespace.
///
/// # Errors
/// As open_tree(2), with the path.
pub fn clone_path(path: &str, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    rustix::mount::open_tree(rustix::fs::CWD, path, flags).call("open_tree", || format!("{path:?}"))
}

/// Attaches a detached mount at `target`.
///
/// # Errors
/// As move_mount(2).
pub fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, "", target, "", flags).call("move_mount", || "")
}

/// Sets and clears flags on one mount, or on it and all below.
///
/// # Errors
/// As mount_setattr(2).
pub fn set_attributes(tree: BorrowedFd<'_>, attributes: Attributes, recursive: bool) -> Result<()> {
    if attributes.is_empty() {
        return Ok(());
    }
    let attr = MountAttr { attr_set: attributes.set, attr_clr: attributes.clear, ..MountAttr::default() };
    Ok(mount_setattr(tree, recursive, &attr)?)
}

/// Changes propagation of one mount, or of it and all below.
///
/// # Errors
/// As mount_setattr(2).
pub fn set_propagation(tree: BorrowedFd<'_>, propagation: Propagation) -> Result<()> {
    let attr = MountAttr { propagation: propagation.flag, ..MountAttr::default() };
    Ok(mount_setattr(tree, propagation.recursive, &attr)?)
}

/// Makes a new file system of `fstype`, detached, with mount flags.
///
/// # Errors
/// The failing call and, where the file system says so, its reason.
pub fn new_filesystem(
    fstype: &str,
    source: &str,
    parameters: &[(String, Option<String>)],
    attributes: u64,
) -> Result<OwnedFd> {
    let context = rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)
        .call("fsopen", || format!("{fstype:?}"))?;
    if !source.is_empty() {
        configure(&context, "source", Some(source))?;
    }
    let mut by_layer = false;
    for (key, value) in parameters {
        match value.as_deref() {
            Some(value) if fstype == "overlay" && key == "lowerdir" && value.len() > LONGEST_VALUE => {
                by_layer = true;
                for (key, layer) in layers(value) {
                    configure(&context, key, Some(&layer))?;
                }
            }
            value => configure(&context, key, value)?,
        }
    }
    rustix::mount::fsconfig_create(&context)
        .call("fsconfig", || format!("{fstype:?}, FSCONFIG_CMD_CREATE"))
        .map_err(|error| with_kernel_log(error, &context))
        // Before, an overlay took any key, and looked at it only now.
        .map_err(
            |error| if by_layer && error.errno() == libc::EINVAL { error.context(BY_LAYER) } else { error },
        )?;
    let flags = MountAttrFlags::from_bits_retain(u32::try_from(attributes).unwrap_or_default());
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
        .call("fsmount", || format!("{fstype:?}"))
}

/// Bytes of a value that fsconfig(2) takes. (mount(2) takes a page for all of them together.)
const LONGEST_VALUE: usize = 255;

const BY_LAYER: &str = "lowerdir has more than 255 bytes, which needs Linux 6.5";

/// The layers of an overlay one by one, with the keys that Linux has for this since 6.5: there is no limit to all of
/// them together. Layers of data alone stand after two colons. A backslash takes a colon its meaning; in a layer by
/// itself colons have none.
fn layers(lowerdir: &str) -> Vec<(&'static str, String)> {
    let mut layers = vec![("lowerdir+", String::new())];
    let mut characters = lowerdir.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, &mut layers[..]) {
            ('\\', [.., (_, layer)]) => layer.extend(characters.next()),
            (':', _) => {
                let is_data = characters.next_if_eq(&':').is_some();
                layers.push((if is_data { "datadir+" } else { "lowerdir+" }, String::new()));
            }
            (other, [.., (_, layer)]) => layer.push(other),
            (_, []) => {} // never empty
        }
    }
    layers
}

fn configure(context: &OwnedFd, key: &str, value: Option<&str>) -> Result<()> {
    if value.is_some_and(|value| value.len() > LONGEST_VALUE) {
        bail!("option {key:?}: its value has more than the {LONGEST_VALUE} bytes that fsconfig(2) takes");
    }
    let result = match value {
        Some(value) => rustix::mount::fsconfig_set_string(context, key, value),
        None => rustix::mount::fsconfig_set_flag(context, key),
    };
    result
        .call("fsconfig", || match value {
            Some(value) => format!("{:?}", format!("{key}={value}")),
            None => format!("{key:?}"),
        })
        .map_err(|error| with_kernel_log(error, context))
        .map_err(|error| match value {
            Some(id) if matches!(key, "uid" | "gid") && error.errno() == libc::EINVAL => {
                error.context(format!("cannot specify {key}={id} mount option: is it in the user namespace?"))
            }
            _ => error,
        })
}

/// Adds what the kernel wrote to the file system context (fsopen(2): messages are read from it).
fn with_kernel_log(error: Error, context: &OwnedFd) -> Error {
    let mut buffer = [0_u8; 256];
    match rustix::io::read(context, &mut buffer) {
        // "e <text>\n"
        Ok(length) if length > 2 => {
            let text = String::from_utf8_lossy(&buffer[2..length]);
            error.context(format!("the kernel says {:?}", text.trim_end()))
        }
        _ => error,
    }
}

/// Opens the source of a bind mount as a detached mount, with its flags set.
///
/// Done in the runtime's own mount namespace and before the container exists: the source is named there,
/// and an error costs nothing yet. `inherited` is the propagation the container's tree would have given it.
///
/// # Errors
/// As open_tree(2) and mount_setattr(2), with the path.
pub fn open_bind(mount: &Mount, source: &str, recursive: bool, inherited: Propagation) -> Result<Detached> {
    let tree = clone_path(source, recursive).map_err(|error| match error.errno() {
        libc::EINVAL if !recursive => error.context(COMES_ALONG),
        _ => error,
    })?;
    let stat = rustix::fs::fstat(&tree).call("fstat", || format!("{source:?}"))?;
    let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    set_propagation(tree.as_fd(), Propagation { recursive: true, ..inherited })?;
    finish(tree.as_fd(), mount).map_err(|error| match error.errno() {
        libc::EPERM if mount.attributes.clear | mount.recursive.clear != 0 => error.context(LOCKED),
        _ => error,
    })?;
    Ok(Detached { tree, target: if is_folder { Target::Folder } else { Target::File } })
}

// mount_namespaces(7), "Restrictions on mount namespaces".
const COMES_ALONG: &str =
    "in a user namespace, what is mounted below the source cannot be left out: rbind takes it along";
const LOCKED: &str = "in a user namespace, flags that the source's mount has from outside cannot be cleared";

/// Clones the folder of the container's cgroup as a detached mount, with the entry's flags set: for a
/// container that may not mount cgroup2, which only the owner of its cgroup namespace may.
///
/// # Errors
/// As open_tree(2) and mount_setattr(2).
pub fn open_cgroup(mount: &Mount, cgroup: BorrowedFd<'_>) -> Result<Detached> {
    let tree = clone_tree(cgroup, false)?;
    set_propagation(tree.as_fd(), Propagation { flag: libc::MS_PRIVATE, recursive: true })?;
    finish(tree.as_fd(), mount)?;
    Ok(Detached { tree, target: Target::Folder })
}

/// The host's /sys, and all that is mounted below it, as a detached mount: for a container that may not mount sysfs,
/// which only the owner of its network namespace may.
///
/// It is read-only throughout, whatever the entry says: an id that the container's user namespace maps may own some of
/// it, and what is not the container's is not for it to change. Nothing that the host mounts there later appears.
///
/// # Errors
/// As open_tree(2) and mount_setattr(2).
pub fn open_host_sysfs(mount: &Mount) -> Result<Detached> {
    let tree = clone_path(SYSFS, true)?;
    set_propagation(tree.as_fd(), Propagation { flag: libc::MS_PRIVATE, recursive: true })?;
    let asked = (mount.attributes.set | mount.recursive.set) & RESTRICTIONS;
    set_attributes(tree.as_fd(), Attributes { set: asked | ATTR_RDONLY, clear: 0 }, true)?;
    Ok(Detached { tree, target: Target::Folder })
}

/// Where the host's sysfs is (sysfs(5)).
pub const SYSFS: &str = "/sys";

/// The flags and the propagation that come after a mount is made.
fn finish(tree: BorrowedFd<'_>, mount: &Mount) -> Result<()> {
    if mount.idmap.is_none() && mount.propagation.is_empty() {
        // the common case in one call each
        set_attributes(tree, mount.attributes, false)?;
        return set_attributes(tree, mount.recursive, true);
    }
    set_attributes(tree, mount.attributes, false)?;
    set_attributes(tree, mount.recursive, true)?;
    for propagation in &mount.propagation {
        set_propagation(tree, *propagation)?;
    }
    Ok(())
}

/// Makes the detached mount of an entry that is no bind mount and no remount.
///
/// # Errors
/// The failing call; the caller adds which mount it was.
pub fn make(mount: &Mount) -> Result<Option<Detached>> {
    let tree = match &mount.what {
        What::Bind { .. } | What::Remount { .. } => return Ok(None),
        What::Cgroup => new_filesystem("cgroup2", "cgroup", &[], mount.attributes.set)?,
        What::Filesystem { fstype, source, parameters } => {
            let labelled = !mount.root_label.is_empty();
            let set = if labelled || is_finished_late(mount) {
                mount.attributes.set & !ATTR_RDONLY
            } else {
                mount.attributes.set
            };
            let made = new_filesystem(fstype, source, parameters, set);
            let tree = made.map_err(|error| explain_refusal(error, fstype))?;
            if labelled {
                super::lsm::label_root(tree.as_fd(), &mount.root_label)?;
                set_attributes(tree.as_fd(), late(mount.attributes), false)?;
            }
            tree
        }
    };
    if !mount.recursive.is_empty() && !is_finished_late(mount) {
        set_attributes(tree.as_fd(), mount.recursive, true)?;
    }
    for propagation in &mount.propagation {
        set_propagation(tree.as_fd(), *propagation)?;
    }
    Ok(Some(Detached { tree, target: Target::Folder }))
}

/// What has to be so in a user namespace for the kernel to mount a file system that shows more than files.
fn explain_refusal(error: Error, fstype: &str) -> Error {
    let why = match fstype {
        _ if error.errno() != libc::EPERM => return error,
        "sysfs" => {
            "sysfs is mounted by the owner of the network namespace alone, and where nothing covers the one in \
             sight; /sys can be bound instead (rbind), as `spec --rootless` has it"
        }
        "proc" => {
            "procfs is mounted by the owner of the process id namespace alone, and where nothing covers the one in \
             sight, as the masked paths of an outer container do"
        }
        "mqueue" => "mqueue is mounted by the owner of the ipc namespace alone",
        _ => return error,
    };
    error.context(why)
}

/// Attaches `detached` at the entry's destination inside `root`, making the target where it is missing.
///
/// # Errors
/// The failing call; the caller adds which mount it was.
pub fn place(root: &RootFd, mount: &Mount, detached: &Detached) -> Result<()> {
    // A folder that is only made for the mount has nothing worth keeping.
    let covers = is_finished_late(mount) && root.resolve(&mount.destination).is_ok();
    let target = if is_pseudo(mount) {
        // /proc and /sys must be real folders of the image, never behind links, and what was looked at is
        // what is mounted on (CVE-2023-27561, CVE-2025-54867).
        root.ensure_without_links(&mount.destination)?
    } else {
        root.ensure(&mount.destination, detached.target)?
    };
    if covers && mount.copy_up {
        super::copy_up::copy(target.as_fd(), detached.tree.as_fd(), given(mount))?;
    } else if covers {
        inherit_mode(target.as_fd(), detached.tree.as_fd())?;
    }
    if is_finished_late(mount) {
        set_attributes(detached.tree.as_fd(), late(mount.attributes), false)?;
        set_attributes(detached.tree.as_fd(), mount.recursive, true)?;
    }
    attach(detached.tree.as_fd(), target.as_fd())
}

/// Whether something is done to a new file system when its target is known: it is read-only only after that.
fn is_finished_late(mount: &Mount) -> bool {
    mount.copy_up || mount.inherit_mode
}

/// Of flags that were set when the file system was made, the one that could not be.
fn late(attributes: Attributes) -> Attributes {
    Attributes { set: attributes.set & ATTR_RDONLY, clear: 0 }
}

/// What a tmpfs has from its options and not from the folder it covers.
fn given(mount: &Mount) -> super::copy_up::Given {
    let has = |name| match &mount.what {
        What::Filesystem { parameters, .. } => parameters.iter().any(|(key, _)| key == name),
        _ => false,
    };
    super::copy_up::Given { mode: has("mode"), owner: has("uid"), group: has("gid") }
}

/// Gives the root of a new file system the mode of the folder that it will cover.
fn inherit_mode(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let stat = rustix::fs::fstat(from).call("fstat", || "the target")?;
    let mode = rustix::fs::Mode::from_raw_mode(stat.st_mode & 0o7777);
    rustix::fs::chmodat(to, ".", mode, rustix::fs::AtFlags::empty())
        .call("fchmodat", || "the new file system")
}

fn is_pseudo(mount: &Mount) -> bool {
    matches!(&mount.what, What::Filesystem { fstype, .. } if fstype == "proc" || fstype == "sysfs")
}

/// Carries out a `remount` entry on what is mounted at its destination.
///
/// # Errors
/// EINVAL where nothing is mounted there.
pub fn remount(root: &RootFd, mount: &Mount, parameters: &[(String, Option<String>)]) -> Result<()> {
    let target = root.resolve(&mount.destination)?;
    if !parameters.is_empty() {
        let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
        let context = rustix::mount::fspick(&target, "", flags).call("fspick", || "")?;
        for (key, value) in parameters {
            configure(&context, key, value.as_deref())?;
        }
        rustix::mount::fsconfig_reconfigure(&context)
            .call("fsconfig", || "FSCONFIG_CMD_RECONFIGURE")
            .map_err(|error| with_kernel_log(error, &context))?;
    }
    finish(target.as_fd(), mount).context(|| format!("remount {:?}", mount.destination))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layers_of_an_overlay_stand_between_colons() {
        let as_text = |lowerdir: &str| {
            let layers = layers(lowerdir).into_iter().map(|(key, layer)| format!("{key}={layer}"));
            layers.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(as_text("/a"), "lowerdir+=/a");
        assert_eq!(as_text("/a:/b::/c"), "lowerdir+=/a lowerdir+=/b datadir+=/c");
        assert_eq!(as_text("/a\\:1:/b\\\\"), "lowerdir+=/a:1 lowerdir+=/b\\");
    }

    fn labelled(fstype: &str, attributes: u64) -> Mount {
        let entry = crate::spec::Mount {
            destination: "/x".into(),
            source: "x".into(),
            kind: fstype.into(),
            ..crate::spec::Mount::default()
        };
        let (mount, _) = crate::plan::mount::plan(0, &entry, "/bundle", "").unwrap();
        let attributes = Attributes { set: attributes, clear: 0 };
        Mount { root_label: "u:r:t:s0".into(), inherit_mode: false, attributes, ..mount }
    }

    /// tmpfs in the place of a message queue, which has no such attributes where SELinux is off.
    #[test]
    fn a_labelled_file_system_has_its_label_and_its_flags() {
        if !nix::unistd::geteuid().is_root() || super::super::lsm::selinux_enabled() {
            eprintln!("left out: only root may mount, and SELinux would decide about the label");
            return;
        }
        for read_only in [0, ATTR_RDONLY] {
            let made = make(&labelled("tmpfs", read_only)).unwrap().unwrap();
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
            let root = rustix::fs::openat(&made.tree, ".", flags, rustix::fs::Mode::empty()).unwrap();
            let mut label = [0_u8; 64];
            let length = rustix::fs::fgetxattr(&root, "security.selinux", &mut label).unwrap();
            assert_eq!(&label[..length], b"u:r:t:s0");
            let flags = rustix::fs::fstatvfs(&root).unwrap().f_flag;
            assert_eq!(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY), read_only != 0);
        }
        // The kernel's refusal names the field.
        let error = make(&labelled("mqueue", 0)).unwrap_err().to_string();
        assert!(error.starts_with("linux.mountLabel \"u:r:t:s0\": fsetxattr"), "{error}");
    }
}
