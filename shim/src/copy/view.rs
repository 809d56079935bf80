//! A container's files as its program sees them, by a descriptor of its root.
//!
//! Of one that runs, it is the root of its own mount namespace, whatever folder its first process has made its own root since.
//! Of another one it is its root with its volumes and binds where they will be: a tree of mounts that nobody else sees and
//! that goes with the descriptor. Nobody starts the container meanwhile: its layer may have no second mount.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{self, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree,
};
use serde::Deserialize;
use sys::mount::{MountAttr, mount_setattr};

use crate::bundle::ROOT;
use crate::container::create::DOCUMENT;
use crate::container::process::ProcessId;
use crate::container::record::Container;
use crate::container::state::Status;
use crate::container::store::Containers;
use crate::container::{self, ContainerId, attend, document, root, volumes};
use crate::copy::lookup::Tree;
use crate::copy::path::{Absolute, End};
use crate::error::{Context, Error, Kind, Result};
use crate::store::record::Lock;
use crate::unpack::c_string;

/// How often a container may end or start while it is looked at.
const TURNS_MAX: usize = 100;
const CLONE_NEWNS: i32 = 0x2_0000;
const CLONE_FS: i32 = 0x200;
const MOUNT_ATTR_RDONLY: u64 = 1;
const MS_PRIVATE: u64 = 1 << 18;

/// A container's files.
#[derive(Debug)]
pub struct View {
    /// Its root.
    pub root: OwnedFd,
    /// What was asked for.
    pub container: Container,
    /// What keeps it from being started.
    pub lock: Option<Lock>,
}

/// Opens a container's files.
///
/// # Errors
/// No such container, or one that is being removed; a layer or a volume that is missing; the system's reason.
pub fn open(containers: &Containers, id: &ContainerId) -> Result<View> {
    for _ in 0..TURNS_MAX {
        let found = attend::attend(containers, id)?.ok_or_else(|| container::missing(id))?;
        let container = found.container;
        let process = found.state.process.filter(|_| found.state.status.has_process());
        if let Some(process) = process {
            if let Some(root) = of_process(process)? {
                return Ok(View { root, container, lock: None });
            }
            continue;
        }
        if matches!(found.state.status, Status::Removing | Status::Dead) {
            let status = found.state.status.as_str();
            return Err(Error::conflict(format!("container {id} is {status}")));
        }
        // Whoever starts it now is waited for, and whoever wants to waits.
        let lock = containers.operation(id)?;
        if containers.state(id)?.status.has_process() {
            continue;
        }
        let root = of_folders(containers, &container)?;
        return Ok(View { root, container, lock: Some(lock) });
    }
    Err(Error::conflict(format!("container {id} starts and ends all the time")))
}

/// The root of a process's mount namespace; None if it has ended.
fn of_process(process: ProcessId) -> Result<Option<OwnedFd>> {
    let path = format!("/proc/{}/ns/mnt", process.pid);
    let namespace = match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        open => open.during(|| format!("open {path:?}"))?,
    };
    // Alive after it was opened: so it was of this process and no later one.
    if !process.is_alive() {
        return Ok(None);
    }
    apart(|| {
        let entered = sys::process::setns(namespace.as_fd(), CLONE_NEWNS);
        entered.map_err(|error| Error::new(Kind::Denied, error.to_string()))?;
        // Joining has made the namespace's root this thread's.
        open_root(Path::new("/"))
    })
    .map(Some)
}

/// Does something in a thread whose mount namespace and root folder may be others than those of the process.
fn apart<T: Send>(act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let unshared = sys::process::unshare(CLONE_FS);
            unshared.map_err(|error| Error::new(Kind::Denied, error.to_string()))?;
            act()
        });
        thread.join().unwrap_or_else(|_| Err(Error::new(Kind::System, "a thread has ended")))
    })
}

fn open_root(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    fs::open(path, flags, Mode::empty()).during(|| format!("open {path:?}"))
}

/// What is needed of `config.json`.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    mounts: Vec<Mount>,
}

#[derive(Deserialize)]
struct Mount {
    destination: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    options: Vec<String>,
}

impl Mount {
    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|known| known == option)
    }

    fn is_bind(&self) -> bool {
        self.has("bind") || self.has("rbind")
    }
}

/// The root of a container that does not run, with its volumes and binds.
fn of_folders(containers: &Containers, container: &Container) -> Result<OwnedFd> {
    let id = ContainerId::parse(&container.id)?;
    let folder = containers.folder(&id);
    let mounts = mounts_of(&folder.join(DOCUMENT))?;
    let root = root::open(containers, container)?;
    if mounts.is_empty() {
        return Ok(root);
    }
    // As for a start; what is mounted then stays as long as somebody has the tree.
    let tree = volumes::attach(containers, container)
        .and_then(|parts| parts.into_iter().map(|(place, part)| Ok((place, cloned(&part)?))).collect())
        .and_then(|parts: Vec<_>| with_mounts(containers, &id, &root, &mounts, &parts));
    match (tree, volumes::release(containers, container, true)) {
        (Err(error), Err(clean_up)) => Err(error.and(&clean_up)),
        (tree, released) => tree.and_then(|tree| released.map(|()| tree)),
    }
}

/// `parts` are those volumes of which only a part is seen, open, by their places.
fn with_mounts(
    containers: &Containers,
    id: &ContainerId,
    root: &OwnedFd,
    mounts: &[Mount],
    parts: &[(String, OwnedFd)],
) -> Result<OwnedFd> {
    let is_attached = root::is_attached(containers, id)?;
    apart(|| {
        let unshared = sys::process::unshare(CLONE_NEWNS);
        unshared.map_err(|error| Error::new(Kind::Denied, error.to_string()))?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .during(|| "mount --make-rprivate /".into())?;
        let place = containers.folder(id).join(ROOT);
        if !is_attached {
            move_mount(root, "", fs::CWD, &place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
                .during(|| format!("mount {place:?}"))?;
        }
        // As what is mounted there now.
        let top = Tree::of_container(open_root(&place)?);
        for mount in mounts {
            let what = || format!("mount {:?} on {:?}", mount.source, mount.destination);
            let part = parts.iter().find(|(place, _)| *place == mount.destination);
            attach(&top, mount, part.map(|(_, part)| part)).during(what)?;
        }
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        open_tree(fs::CWD, &place, flags).during(|| format!("open_tree {place:?}"))
    })
}

/// Those that lead to files of the host, the outer ones first, as the document has them.
fn mounts_of(path: &Path) -> Result<Vec<Mount>> {
    let document: Document = document::read(path)?;
    Ok(document.mounts.into_iter().filter(Mount::is_bind).collect())
}

/// A mount of what a descriptor is of and nothing else, which no mount namespace has and that tells nobody of what is
/// mounted in it.
fn cloned(open: &OwnedFd) -> Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(open, "", flags).during(|| "open_tree".into())?;
    let private = MountAttr { propagation: MS_PRIVATE, ..MountAttr::default() };
    let set = mount_setattr(tree.as_fd(), true, &private);
    set.map_err(|error| Error::new(Kind::System, error.to_string()))?;
    Ok(tree)
}

/// Has a bind where it will be; what it is mounted on is made, as at a start.
fn attach(root: &Tree, mount: &Mount, part: Option<&OwnedFd>) -> Result<()> {
    let recursive = if mount.has("rbind") { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | recursive;
    let opened = match part {
        Some(part) => part.try_clone().map_err(|_| Errno::MFILE),
        None => open_tree(fs::CWD, mount.source.as_str(), flags),
    };
    let tree = match opened {
        // It may be made until the container starts, and is no file of it before.
        Err(Errno::NOENT) => return Ok(()),
        tree => tree.during(|| "open_tree".into())?,
    };
    let is_recursive = mount.has("rro");
    if is_recursive || mount.has("ro") {
        let readonly = MountAttr { attr_set: MOUNT_ATTR_RDONLY, ..MountAttr::default() };
        let set = mount_setattr(tree.as_fd(), is_recursive, &readonly);
        set.map_err(|error| Error::new(Kind::System, error.to_string()))?;
    }
    let kind = FileType::from_raw_mode(fs::fstat(&tree).during(|| "fstat".into())?.st_mode);
    let place = place(root, &mount.destination, kind == FileType::Directory)?;
    let Some(place) = place else { return Ok(()) };
    move_mount(
        &tree,
        "",
        &place,
        "",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
    .during(|| "move_mount".into())?;
    Ok(())
}

/// What is to be mounted on, in the container's root; None where something of another kind is in the way.
fn place(root: &Tree, destination: &str, is_folder: bool) -> Result<Option<OwnedFd>> {
    let wanted = Absolute::of(b"/", destination.as_bytes());
    let wanted = Absolute { end: End::Name, ..wanted };
    if root.source(&wanted, true)?.is_none() {
        // What the runtime makes too: where links lead that lead to nothing yet.
        let wanted = Absolute { path: root.resolved(&wanted.path)?, end: End::Name };
        let (parent, name) = wanted.split().ok_or_else(|| Error::invalid("a mount on the root"))?;
        if is_folder {
            root.make_folder(&wanted.path)?;
        } else {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            fs::openat(root.make_folder(parent)?, &*c_string(name)?, flags, Mode::from_raw_mode(0o644))
                .during(|| format!("create {destination:?}"))?;
        }
    }
    let Some(found) = root.source(&wanted, true)? else { return Ok(None) };
    let kind = FileType::from_raw_mode(fs::fstat(&found).during(|| "fstat".into())?.st_mode);
    Ok((is_folder == (kind == FileType::Directory)).then_some(found))
}
