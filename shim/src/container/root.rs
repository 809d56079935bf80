//! A container's root folder: an overlay of its image's layers and a folder of its own, mounted on `rootfs` from the
//! start until the last exit, and otherwise only as long as a command looks into it.
//!
//! What an image puts into its layers decides nothing here: folders are the store's own, the mount is attached by a
//! descriptor and known again by its source. What is seen in the root is for `root::lookup`.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, StatxAttributes, StatxFlags, statx};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use crate::bundle::ROOT;
use crate::container::ContainerId;
use crate::container::record::Container;
use crate::container::store::Containers;
use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::root::overlay::{self, Mounted, Overlay};
use crate::root::remove::forget;
use crate::rootless;
use crate::store::layer::{Layers, copy_description};
use crate::unpack::tree::As;
use crate::volume::relabel;

/// Where changes go.
pub const UPPER: &str = "upper";
/// overlayfs's own, beside it.
const WORK: &str = "work";
/// The lowest folder of an image without layers.
const EMPTY: &str = "empty";
/// Shared memory that other containers may have too.
pub const SHM: &str = "shm";

/// What a root is made of.
struct Parts {
    source: String,
    lower: Vec<PathBuf>,
    upper: PathBuf,
    work: PathBuf,
    who: As,
    passing: bool,
    label: Option<String>,
}

impl Parts {
    fn overlay(&self) -> Overlay<'_> {
        let Parts { source, lower, upper, work, who, passing, label } = self;
        Overlay { source, lower, upper, work, who: *who, passing: *passing, label: label.as_deref() }
    }
}

/// Makes the folders of a container in the making, and its root, which is mounted nowhere yet: whether it is for something
/// passing, and SELinux's label of all in it.
///
/// # Errors
/// A layer that is missing; the system's reason.
pub fn make(
    root: &Path,
    folder: &Path,
    id: &ContainerId,
    layers: &[Digest],
    (passing, label): (bool, Option<String>),
) -> Result<OwnedFd> {
    for name in [ROOT, UPPER, WORK] {
        let path = folder.join(name);
        std::fs::create_dir(&path).during(|| format!("mkdir {path:?}"))?;
    }
    // The image says what others may see of its root; the folder around it is private.
    let open = open_folder(folder)?;
    rustix::fs::chmodat(&open, ROOT, Mode::from_raw_mode(0o755), rustix::fs::AtFlags::empty())
        .during(|| format!("chmod {ROOT:?}"))?;
    if layers.is_empty() {
        let path = folder.join(EMPTY);
        std::fs::create_dir(&path).during(|| format!("mkdir {path:?}"))?;
    }
    let parts = parts(root, folder, id, layers, (passing, label))?;
    // An overlay's root looks as its upper folder does.
    let of = |path: &Path| open_folder(path).map(OwnedFd::from);
    let top = parts.lower.first().ok_or_else(|| Error::invalid("no layer"))?;
    copy_description(&of(top)?, &of(&parts.upper)?).during(|| format!("{:?}", parts.upper))?;
    overlay::detached(&parts.overlay(), open.as_fd(), ROOT)
}

/// Gives a root from [`make`] its place, now that the container has its own.
///
/// # Errors
/// The system's reason.
pub fn place(containers: &Containers, id: &ContainerId, root: BorrowedFd) -> Result<()> {
    let folder = open_folder(&containers.folder(id))?;
    overlay::place(root, folder.as_fd(), ROOT)
}

/// Mounts a container's root, unless it is.
///
/// # Errors
/// Something else is mounted there; a layer that is missing; the system's reason.
pub fn attach(containers: &Containers, container: &Container) -> Result<()> {
    let (id, folder) = located(containers, container)?;
    let open = open_folder(&folder)?;
    match overlay::look(open.as_fd(), ROOT, &overlay::source(&id))? {
        Mounted::Ours => Ok(()),
        Mounted::Other => Err(Error::conflict(format!("something else is mounted on its {ROOT}"))),
        Mounted::Nothing => {
            let parts = again(containers, container, &id, &folder)?;
            overlay::attach(&parts.overlay(), open.as_fd(), ROOT)
        }
    }
}

/// A container's root as a descriptor: the mounted one, or one that is mounted nowhere and goes with the descriptor.
///
/// # Errors
/// As for [`attach`].
pub fn open(containers: &Containers, container: &Container) -> Result<OwnedFd> {
    let (id, folder) = located(containers, container)?;
    let open = open_folder(&folder)?;
    match overlay::look(open.as_fd(), ROOT, &overlay::source(&id))? {
        Mounted::Ours => open_folder(&folder.join(ROOT)).map(OwnedFd::from),
        Mounted::Other => Err(Error::conflict(format!("something else is mounted on its {ROOT}"))),
        Mounted::Nothing => {
            let parts = again(containers, container, &id, &folder)?;
            overlay::detached(&parts.overlay(), open.as_fd(), ROOT)
        }
    }
}

/// Takes a container's mounts away, if they are there, also from who still has a file of them open.
///
/// # Errors
/// Something else is mounted there; the system's reason.
pub fn detach(containers: &Containers, id: &ContainerId) -> Result<()> {
    detach_in(&containers.folder(id), &overlay::source(id))
}

/// Is a container's root mounted, or its shared memory?
///
/// # Errors
/// The system's reason.
pub fn is_attached(containers: &Containers, id: &ContainerId) -> Result<bool> {
    let folder = containers.folder(id);
    for name in [SHM, ROOT] {
        let path = folder.join(name);
        let stat = match statx(CWD, &path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty()) {
            Err(Errno::NOENT) => continue,
            stat => stat.during(|| format!("statx {path:?}"))?,
        };
        let is_mounted = if stat.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) {
            stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
        } else {
            // Linux before 5.8.
            overlay::look(open_folder(&folder)?.as_fd(), name, "")? != Mounted::Nothing
        };
        if is_mounted {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The same for a container's folder wherever it is.
fn detach_in(folder: &Path, source: &str) -> Result<()> {
    let open = match open_folder(folder) {
        Err(error) if error.kind() == Kind::NotFound => return Ok(()),
        open => open?,
    };
    for (name, source) in [(SHM, shm_source(source)), (ROOT, source.to_owned())] {
        match rustix::fs::statat(&open, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
            Err(rustix::io::Errno::NOENT) => continue,
            result => drop(result.during(|| format!("stat {name:?}"))?),
        }
        // A crash may have left more than one on top of the other.
        loop {
            match overlay::look(open.as_fd(), name, &source)? {
                Mounted::Nothing => break,
                Mounted::Ours => overlay::detach_lazily(open.as_fd(), name)?,
                Mounted::Other => {
                    return Err(Error::conflict(format!("something else is mounted on its {name}")));
                }
            }
        }
    }
    Ok(())
}

/// Mounts the shared memory of a container that others may join, unless it is.
///
/// # Errors
/// The system's reason.
pub fn attach_shm(containers: &Containers, container: &Container) -> Result<()> {
    let (id, folder) = located(containers, container)?;
    let path = folder.join(SHM);
    match std::fs::create_dir(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        result => result.during(|| format!("mkdir {path:?}"))?,
    }
    let open = open_folder(&folder)?;
    let source = shm_source(&overlay::source(&id));
    match overlay::look(open.as_fd(), SHM, &source)? {
        Mounted::Ours => return Ok(()),
        Mounted::Other => return Err(Error::conflict(format!("something else is mounted on its {SHM}"))),
        Mounted::Nothing => {}
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let mut data = format!("mode=1777,size={}", container.host_config.shm_size);
    if !container.mount_label.is_empty() && relabel::is_enabled() {
        data.push_str(&overlay::context_option(&container.mount_label));
    }
    let data = crate::unpack::c_string(data)?;
    // The folder is the caller's own: nobody puts a link there.
    mount(source.as_str(), &path, "tmpfs", flags, &*data).during(|| format!("mount {path:?}"))
}

fn shm_source(source: &str) -> String {
    format!("{source}-shm")
}

fn located(containers: &Containers, container: &Container) -> Result<(ContainerId, PathBuf)> {
    let id = ContainerId::parse(&container.id)?;
    let folder = containers.folder(&id);
    Ok((id, folder))
}

/// The parts of a root that was mounted before.
fn again(containers: &Containers, container: &Container, id: &ContainerId, folder: &Path) -> Result<Parts> {
    let passing = container.host_config.auto_remove;
    // A `restart` takes `--rm` back for a while: what the last mount was, only its mark tells (Linux's overlayfs.rst).
    if passing || folder.join(WORK).join("work/incompat/volatile").exists() {
        renew_work(folder)?;
    }
    let label =
        Some(container.mount_label.clone()).filter(|label| !label.is_empty() && relabel::is_enabled());
    parts(containers.root(), folder, id, &container.layers, (passing, label))
}

/// Empties overlayfs's own folder after a mount that was made for something passing: the kernel refuses one that it was not
/// told the end of.
///
/// # Errors
/// The system's reason.
pub fn renew_work(folder: &Path) -> Result<()> {
    let work = folder.join(WORK);
    forget(&work)?;
    std::fs::create_dir(&work).during(|| format!("mkdir {work:?}"))
}

/// Trees of the layers that are to be seen, the highest first, and the container's own folders.
fn parts(
    root: &Path,
    folder: &Path,
    id: &ContainerId,
    layers: &[Digest],
    (passing, label): (bool, Option<String>),
) -> Result<Parts> {
    let store = Layers::open(root)?;
    let mut lower = Vec::new();
    for chain_id in layers {
        let layer = store.get(chain_id)?.ok_or_else(|| {
            Error::not_found(format!("layer {chain_id} is missing: pull or load the image again"))
        })?;
        if layer.hides_all_below {
            lower.clear();
        }
        lower.push(store.tree(chain_id));
    }
    lower.reverse();
    if lower.is_empty() {
        lower.push(folder.join(EMPTY));
    }
    let (upper, work) = (folder.join(UPPER), folder.join(WORK));
    Ok(Parts { source: overlay::source(id), lower, upper, work, who: rootless::who()?, passing, label })
}

fn open_folder(path: &Path) -> Result<File> {
    use rustix::fs::OFlags;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = rustix::fs::open(path, flags, Mode::empty()).during(|| format!("open {path:?}"))?;
    Ok(File::from(open))
}
