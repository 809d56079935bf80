//! A root as an overlay of the store's layers (kernel documentation, "Overlay Filesystem").
//!
//! Each layer is a `lowerdir+` of its own (Linux 6.5), so that any number of them fits. An older kernel gets them in
//! one string, a page at most, each by the short name of its descriptor. The mount is made detached and attached by
//! the descriptor of the bundle's folder.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, move_mount, open_tree,
    unmount,
};

use crate::error::{Context, Error, Result};
use crate::root::record::BundleId;
use crate::unpack::c_string;
use crate::unpack::tree::As;

/// Longest value of a parameter, in bytes with its end (fsconfig(2)).
const VALUE_MAX: usize = 256;
/// Longest parameters of mount(2) together, in bytes with their end.
const PAGE: usize = 4096;

/// What is mounted.
#[derive(Debug)]
pub struct Overlay<'a> {
    /// What mountinfo calls it: [`source`].
    pub source: &'a str,
    /// Trees of the layers, the highest first; at least one.
    pub lower: &'a [PathBuf],
    /// Where changes go.
    pub upper: &'a Path,
    /// The kernel's own, beside it.
    pub work: &'a Path,
    /// Who mounts.
    pub who: As,
    /// Nobody needs the changes after a crash: they are not forced to the disk when it is taken away (Linux 5.10).
    pub passing: bool,
    /// What SELinux is to see on all files in it.
    pub label: Option<&'a str>,
}

/// What the mount of a bundle or a container is called in mountinfo (proc(5)), by which it is known again.
#[must_use]
pub fn source(id: &BundleId) -> String {
    format!("caisson-{id}")
}

/// A folder of the store, open, and what the mount calls it.
struct Part {
    open: OwnedFd,
    path: String,
}

impl Part {
    fn open(path: &Path) -> Result<Part> {
        let words = || format!("open {path:?}");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = fs::open(path, flags, Mode::empty()).during(words)?;
        let path = path.to_str().ok_or_else(|| Error::invalid("it is not UTF-8")).during(words)?.to_owned();
        Ok(Part { open, path })
    }

    fn short(&self) -> String {
        format!("/proc/self/fd/{}", self.open.as_raw_fd())
    }

    /// Its path, for who looks at the mount later, unless the kernel would read it otherwise or cut it off.
    fn name(&self) -> String {
        let is_plain = self.path.len() < VALUE_MAX && !self.path.contains(['\\', ':', ',']);
        if is_plain { self.path.clone() } else { self.short() }
    }
}

/// Mounts the overlay on the empty folder `name` of `folder`.
///
/// # Errors
/// The system's reason. Where a user may not mount, it names `--copy`.
pub fn attach(overlay: &Overlay, folder: BorrowedFd, name: &str) -> Result<()> {
    let is_user = overlay.who != As::Root;
    put(overlay, folder, name).map_err(|error| told_of_copy(error, is_user))
}

fn put(overlay: &Overlay, folder: BorrowedFd, name: &str) -> Result<()> {
    let lower = overlay.lower.iter().map(|layer| Part::open(layer)).collect::<Result<Vec<_>>>()?;
    let (upper, work) = (Part::open(overlay.upper)?, Part::open(overlay.work)?);
    let made = match make(overlay, &lower, &upper, &work) {
        Ok(made) => move_mount(&made, "", folder, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH),
        // No fsopen(2), no overlay by it, or no `lowerdir+`.
        Err(Errno::NOSYS | Errno::INVAL) => {
            let is_user = overlay.who != As::Root;
            mount_page(overlay.source, &page(&lower, &upper, &work, is_user, overlay.label)?, folder, name)
        }
        Err(errno) => Err(errno),
    };
    made.during(|| "mount overlay".into())
}

/// Makes the overlay and mounts it nowhere: it goes with the descriptor, unless [`place`] gives it a place. `name` is an
/// empty folder of `folder`, which older kernels need for a moment.
///
/// # Errors
/// The system's reason.
pub fn detached(overlay: &Overlay, folder: BorrowedFd, name: &str) -> Result<OwnedFd> {
    let lower = overlay.lower.iter().map(|layer| Part::open(layer)).collect::<Result<Vec<_>>>()?;
    let (upper, work) = (Part::open(overlay.upper)?, Part::open(overlay.work)?);
    match make(overlay, &lower, &upper, &work) {
        // The same, in a roundabout way (see `put`).
        Err(Errno::NOSYS | Errno::INVAL) => {
            put(overlay, folder, name)?;
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            let cloned = open_tree(folder, name, flags).during(|| "open_tree overlay".into());
            detach(folder, name)?;
            cloned
        }
        made => made.during(|| "mount overlay".into()),
    }
}

/// Gives a detached mount its place: the folder `name` of `folder`.
///
/// # Errors
/// The system's reason.
pub fn place(mount: BorrowedFd, folder: BorrowedFd, name: &str) -> Result<()> {
    move_mount(mount, "", folder, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .during(|| format!("mount {name:?}"))
}

fn make(overlay: &Overlay, lower: &[Part], upper: &Part, work: &Part) -> rustix::io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "source", overlay.source)?;
    for layer in lower {
        fsconfig_set_string(context.as_fd(), "lowerdir+", layer.name())?;
    }
    fsconfig_set_string(context.as_fd(), "upperdir", upper.name())?;
    fsconfig_set_string(context.as_fd(), "workdir", work.name())?;
    if overlay.who != As::Root {
        fsconfig_set_flag(context.as_fd(), "userxattr")?;
    }
    if overlay.passing {
        // An older kernel does not know it, and waits.
        let _ = fsconfig_set_flag(context.as_fd(), "volatile");
    }
    if let Some(label) = overlay.label {
        fsconfig_set_string(context.as_fd(), "context", label)?;
    }
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// The parameters of mount(2).
fn page(lower: &[Part], upper: &Part, work: &Part, is_user: bool, label: Option<&str>) -> Result<CString> {
    let layers: Vec<String> = lower.iter().map(Part::short).collect();
    let (upper, work) = (upper.short(), work.short());
    let mut data = format!("lowerdir={},upperdir={upper},workdir={work}", layers.join(":"));
    if is_user {
        data.push_str(",userxattr");
    }
    if let Some(label) = label {
        data.push_str(&context_option(label));
    }
    if data.len() >= PAGE {
        let (count, reason) = (lower.len(), "layers need Linux 6.5 for an overlay; without one: --copy");
        return Err(Error::invalid(format!("{count} {reason}")));
    }
    c_string(data)
}

/// What stands behind other parameters of mount(2): a label may have commas in it.
pub fn context_option(label: &str) -> String {
    format!(",context=\"{label}\"")
}

/// By mount(2).
fn mount_page(source: &str, data: &CStr, folder: BorrowedFd, name: &str) -> rustix::io::Result<()> {
    // The folder is the caller's own and was empty a moment ago: nobody puts a link there.
    let target = format!("/proc/self/fd/{}/{name}", folder.as_raw_fd());
    mount(source, target.as_str(), "overlay", MountFlags::empty(), data)
}

fn told_of_copy(error: Error, is_user: bool) -> Error {
    match error.kind() {
        kind if is_user => Error::new(kind, format!("{error}; without an overlay: --copy")),
        _ => error,
    }
}

/// Takes the mount on `name` of `folder` away, which nobody in this mount namespace may use any more.
///
/// # Errors
/// Somebody uses it; the system's reason.
pub fn detach(folder: BorrowedFd, name: &str) -> Result<()> {
    // By the descriptor of the folder around it, which is no part of the mount: one of the mount would keep it busy.
    let target = format!("/proc/self/fd/{}/{name}", folder.as_raw_fd());
    unmount(target.as_str(), UnmountFlags::NOFOLLOW).during(|| format!("umount {name:?}"))
}

/// The same whoever uses it: it goes when nobody does any more.
///
/// # Errors
/// The system's reason.
pub fn detach_lazily(folder: BorrowedFd, name: &str) -> Result<()> {
    let target = format!("/proc/self/fd/{}/{name}", folder.as_raw_fd());
    let flags = UnmountFlags::NOFOLLOW | UnmountFlags::DETACH;
    unmount(target.as_str(), flags).during(|| format!("umount {name:?}"))
}

/// What a folder of this name is.
#[derive(Debug, PartialEq, Eq)]
pub enum Mounted {
    /// A folder of the one around it.
    Nothing,
    /// The one of this source.
    Ours,
    /// Some other mount.
    Other,
}

/// Is a file system of this source mounted on `name` of `folder`?
///
/// # Errors
/// The system's reason.
pub fn look(folder: BorrowedFd, name: &str, source: &str) -> Result<Mounted> {
    let words = || format!("open {name:?}");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = fs::openat(folder, name, flags, Mode::empty()).during(words)?;
    let id = mount_id(open.as_fd()).during(words)?;
    if id == mount_id(folder).during(words)? {
        return Ok(Mounted::Nothing);
    }
    let mounts = mounts_of(source)?;
    Ok(if mounts.contains(&id) { Mounted::Ours } else { Mounted::Other })
}

/// Is a file system of this source mounted anywhere in this mount namespace?
///
/// # Errors
/// The system's reason.
pub fn is_mounted(source: &str) -> Result<bool> {
    Ok(!mounts_of(source)?.is_empty())
}

/// Is anything mounted in `name` of `folder`, or on it?
///
/// # Errors
/// The system's reason.
pub fn has_mounts(folder: BorrowedFd, name: &str) -> Result<bool> {
    let place =
        std::fs::read_link(format!("/proc/self/fd/{}", folder.as_raw_fd())).during(|| "readlink".into())?;
    let place = place.join(name);
    let place = place.as_os_str().as_bytes();
    let is_in = |mounted: &[u8]| {
        mounted.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    let mounts = mountinfo()?;
    let mut points =
        mounts.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    Ok(points.any(|point| is_in(&plain(point))))
}

/// The mounts of this mount namespace, a line each, as bytes: paths may have any (proc(5), "/proc/PID/mountinfo").
fn mountinfo() -> Result<Vec<u8>> {
    std::fs::read("/proc/thread-self/mountinfo").during(|| "mountinfo".into())
}

/// A path of mountinfo, in which blanks and backslashes are three octal digits (proc(5)).
fn plain(mut escaped: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(escaped.len());
    while let Some((&byte, rest)) = escaped.split_first() {
        let digits = rest.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(blank) if byte == b'\\' => {
                path.push(blank);
                escaped = &rest[3..];
            }
            _ => {
                path.push(byte);
                escaped = rest;
            }
        }
    }
    path
}

/// The numbers of the mounts of this source.
fn mounts_of(source: &str) -> Result<Vec<u64>> {
    let mounts = mountinfo()?;
    let mounts = String::from_utf8_lossy(&mounts).into_owned();
    // Its kind stands before it: an overlay, or a container's shared memory.
    let is_it =
        |line: &&str| line.split_once(" - ").is_some_and(|(_, rest)| rest.split(' ').nth(1) == Some(source));
    Ok(mounts.lines().filter(is_it).filter_map(|line| line.split(' ').next()?.parse().ok()).collect())
}

/// The mount that a descriptor is in, by its number in mountinfo (proc(5), "/proc/PID/fdinfo").
fn mount_id(open: BorrowedFd) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", open.as_raw_fd()))?;
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    id.ok_or_else(|| Error::invalid("no mnt_id in fdinfo"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;
    use std::fs as std_fs;

    const CLONE_NEWNS: i32 = 0x2_0000;

    #[test]
    fn an_overlay_is_mounted_known_and_taken_away_by_old_and_new_calls() {
        let scratch = Scratch::new();
        // Its mounts are this thread's alone, and gone with it.
        sys::process::unshare(CLONE_NEWNS).unwrap();
        let private =
            rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).unwrap();
        for name in ["low", "high", "upper", "work", "bundle", "bundle/rootfs"] {
            std_fs::create_dir(scratch.join(name)).unwrap();
        }
        std_fs::write(scratch.join("low/file"), "low").unwrap();
        std_fs::write(scratch.join("high/file"), "high").unwrap();
        let lower = [scratch.join("high"), scratch.join("low")];
        let (upper, work) = (scratch.join("upper"), scratch.join("work"));
        let source = source(&BundleId::random().unwrap());
        let folder = std_fs::File::open(scratch.join("bundle")).unwrap();
        let look = || look(folder.as_fd(), "rootfs", &source).unwrap();
        let overlay = Overlay {
            source: &source,
            lower: &lower,
            upper: &upper,
            work: &work,
            who: As::Root,
            passing: false,
            label: None,
        };
        let by_page = || {
            let parts: Vec<Part> = lower.iter().map(|layer| Part::open(layer).unwrap()).collect();
            let (upper, work) = (Part::open(&upper).unwrap(), Part::open(&work).unwrap());
            let data = page(&parts, &upper, &work, false, None).unwrap();
            mount_page(&source, &data, folder.as_fd(), "rootfs").unwrap();
        };
        for attach in [&(|| attach(&overlay, folder.as_fd(), "rootfs").unwrap()) as &dyn Fn(), &by_page] {
            assert_eq!((look(), is_mounted(&source).unwrap()), (Mounted::Nothing, false));
            attach();
            assert_eq!((look(), is_mounted(&source).unwrap()), (Mounted::Ours, true));
            assert_eq!(std_fs::read_to_string(scratch.join("bundle/rootfs/file")).unwrap(), "high");
            detach(folder.as_fd(), "rootfs").unwrap();
        }
        mount("other", &*scratch.join("bundle/rootfs"), "tmpfs", MountFlags::empty(), None).unwrap();
        assert_eq!(look(), Mounted::Other);
        detach(folder.as_fd(), "rootfs").unwrap();
        assert!(detach(folder.as_fd(), "rootfs").is_err(), "there is nothing");
        let many: Vec<Part> = (0..400).map(|_| Part::open(&upper).unwrap()).collect();
        let error =
            page(&many, &Part::open(&upper).unwrap(), &Part::open(&work).unwrap(), false, None).unwrap_err();
        assert!(error.to_string().contains("400 layers need Linux 6.5"), "{error}");
    }
}
