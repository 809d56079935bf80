//! Layers as one tree, to be read: an overlay without a layer to write to, mounted nowhere. It goes with its descriptor, so
//! there is nothing that a killed command could leave.
//!
//! Which files hide which, where a renamed folder was, and where the data of a file lies of which only the description was
//! changed: the kernel knows, and nobody else has to.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, OpenTreeFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, mount_change, open_tree,
};

use crate::error::{Context, Error, Kind, Result};
use crate::unpack::c_string;
use crate::unpack::tree::As;

/// A mount namespace of its own (unshare(2)).
const CLONE_NEWNS: i32 = 0x2_0000;
/// Options that the kernel may have as defaults and that have no place here: the layers may be in use by another mount.
const OFF: [(&str, &str); 2] = [("index", "off"), ("nfs_export", "off")];
/// Longest parameters of mount(2) together, in bytes with their end.
const PAGE: usize = 4096;

/// These trees, the highest first, as one. `place` is a folder on which it may be mounted for a moment, out of everybody's
/// sight.
///
/// # Errors
/// A layer that is not there; the system's reason.
pub fn open(trees: &[PathBuf], place: &Path, who: As) -> Result<OwnedFd> {
    match trees {
        [] => Err(Error::invalid("no layer")),
        // One layer is what it is.
        [tree] => open_folder(tree),
        _ if who == As::Root => match detached(&open_all(trees)?) {
            // No fsopen(2), no overlay by it, or no `lowerdir+` (Linux 6.5).
            Err(Errno::NOSYS | Errno::INVAL) => apart(trees, place, false),
            made => made.during(|| "mount overlay".into()),
        },
        _ => apart(trees, place, true),
    }
}

fn open_all(trees: &[PathBuf]) -> Result<Vec<OwnedFd>> {
    trees.iter().map(|tree| open_folder(tree)).collect()
}

fn open_folder(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::open(path, flags, Mode::empty()).during(|| format!("open {path:?}"))
}

fn short(layer: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", layer.as_raw_fd())
}

fn detached(layers: &[OwnedFd]) -> rustix::io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "source", "caisson-view")?;
    for layer in layers {
        fsconfig_set_string(context.as_fd(), "lowerdir+", short(layer))?;
    }
    for (name, value) in OFF {
        fsconfig_set_string(context.as_fd(), name, value)?;
    }
    fsconfig_set_flag(context.as_fd(), "ro")?;
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// By mount(2), in a mount namespace that ends with a thread: what the thread has opened stays.
fn apart(trees: &[PathBuf], place: &Path, is_user: bool) -> Result<OwnedFd> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| mount_apart(trees, place, is_user));
        thread.join().unwrap_or_else(|_| Err(Error::new(Kind::System, "a thread has ended")))
    })
}

fn mount_apart(trees: &[PathBuf], place: &Path, is_user: bool) -> Result<OwnedFd> {
    let unshared = sys::process::unshare(CLONE_NEWNS);
    unshared.map_err(|error| Error::new(Kind::Denied, error.to_string()))?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .during(|| "mount --make-rprivate /".into())?;
    // Here, and not before: an overlay takes no layer of another mount namespace.
    let layers = open_all(trees)?;
    let folder = File::open(place).during(|| format!("open {place:?}"))?;
    let at = format!("/proc/thread-self/fd/{}", folder.as_raw_fd());
    let data = page(&layers, is_user)?;
    mount("caisson-view", at.as_str(), "overlay", MountFlags::RDONLY, &*data)
        .during(|| "mount overlay".into())?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(rustix::fs::CWD, place, flags).during(|| format!("open_tree {place:?}"))
}

/// The parameters of mount(2).
fn page(layers: &[OwnedFd], is_user: bool) -> Result<CString> {
    let names: Vec<String> = layers.iter().map(short).collect();
    let off: Vec<String> = OFF.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut data = format!("lowerdir={},{}", names.join(":"), off.join(","));
    if is_user {
        data.push_str(",userxattr");
    }
    if data.len() >= PAGE {
        return Err(Error::invalid(format!("{} layers need Linux 6.5 to be looked at", layers.len())));
    }
    c_string(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;

    #[test]
    fn layers_are_seen_as_one_by_old_and_new_calls_and_nothing_is_mounted() {
        let scratch = Scratch::new();
        for name in ["low/d", "high/d", "place"] {
            std::fs::create_dir_all(scratch.join(name)).unwrap();
        }
        std::fs::write(scratch.join("low/d/low"), "").unwrap();
        std::fs::write(scratch.join("high/d/high"), "").unwrap();
        let trees = [scratch.join("high"), scratch.join("low")];
        let seen = |root: &OwnedFd| {
            let folder = fs::openat(root, "d", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
            crate::pack::tree::names(&folder).unwrap()
        };
        let both = [c"high".to_owned(), c"low".to_owned()];
        assert_eq!(seen(&open(&trees, &scratch.join("place"), As::Root).unwrap()), both);
        assert_eq!(seen(&apart(&trees, &scratch.join("place"), false).unwrap()), both);
        assert_eq!(seen(&open(&trees[1..], &scratch.join("place"), As::Root).unwrap()), both[1..]);
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(scratch.path().to_str().unwrap()));
        let error = open(&[scratch.join("nothing")], &scratch.join("place"), As::Root).unwrap_err();
        assert!(error.to_string().ends_with("No such file or directory"), "{error}");
    }
}
