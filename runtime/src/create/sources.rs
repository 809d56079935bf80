//! What is named in the runtime's mount namespace and goes into the container: the root, the sources of bind
//! mounts, device nodes of the host.
//!
//! Mostly the runtime opens it all before the clone, as detached mounts. Who may not mount in the namespace that
//! the runtime is in, an ordinary user above all, cannot do that: then init does, in its copy of that namespace,
//! where it may. It does so as the first thing, while it still is the caller in everything but capabilities:
//! what the caller cannot reach is not reached, and nobody of the user namespace needs to be able to.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};

use crate::bail;
use crate::error::{Call, Context, Error, Kind, Result};
use crate::kernel::mount::{self, Detached};
use crate::kernel::namespace::Opened;
use crate::kernel::procfs::Procfs;
use crate::kernel::{capability, device, idmap, rootfs};
use crate::plan::Plan;
use crate::plan::mount::{Mount, Propagation, What};
use crate::plan::namespace::Namespace;

/// The opened sources.
#[derive(Debug, Default)]
pub struct Sources {
    /// The root file system, detached; init takes it.
    pub root: Option<OwnedFd>,
    /// One per entry of `plan.mounts`: the source of a bind mount.
    pub binds: Vec<Option<Detached>>,
    /// Device nodes of the host, for containers that may make none.
    pub devices: Vec<Option<OwnedFd>>,
    /// Whether init has to open all of it.
    pub by_init: bool,
}

impl Sources {
    /// Opens what the plan names, before the clone; leaves it to init where this process may not mount.
    ///
    /// # Errors
    /// What is not there or not to be had, with its field.
    pub fn open(plan: &Plan, join: &[Opened], host: &Procfs) -> Result<Self> {
        match open_root(plan) {
            Err(error) if error.errno() == libc::EPERM => leave_to_init(plan, error),
            root => Self::beside(root?, plan, |entry, bind| map_ids(entry, bind, plan, join, host)),
        }
    }

    /// Opens what was left to init.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_in_init(&mut self, plan: &Plan) -> Result<()> {
        let refuse_idmap = |entry: &Mount, _: &Detached| match &entry.idmap {
            None => Ok(()),
            Some(_) => bail!("an id-mapped mount needs CAP_SYS_ADMIN over its file system"),
        };
        *self = Self::beside(open_root(plan)?, plan, refuse_idmap)?;
        Ok(())
    }

    /// All but the root.
    fn beside(root: OwnedFd, plan: &Plan, map_ids: impl Fn(&Mount, &Detached) -> Result<()>) -> Result<Self> {
        let open_bind = |entry: &Mount| match &entry.what {
            What::Bind { source, recursive } => {
                mount::open_bind(entry, source, *recursive, inherited(plan, entry))
                    .and_then(|bind| map_ids(entry, &bind).map(|()| Some(bind)))
                    .context(|| entry.describe())
            }
            _ => Ok(None),
        };
        Ok(Self {
            root: Some(root),
            binds: plan.mounts.iter().map(open_bind).collect::<Result<_>>()?,
            devices: match &plan.devices {
                Some(devices) if plan.namespaces.binds_devices() => device::clone_nodes(devices)?,
                _ => Vec::new(),
            },
            by_init: false,
        })
    }
}

/// `refused` is why this process could not open the root.
fn leave_to_init(plan: &Plan, refused: Error) -> Result<Sources> {
    let namespaces = &plan.namespaces;
    if namespaces.is_joined(Namespace::Mount) {
        return Err(refused.context("a mount namespace can be joined by root alone"));
    }
    if !namespaces.is_own(Namespace::User) && capability::grantable(false)? & capability::SYS_ADMIN == 0 {
        if rustix::process::geteuid().is_root() {
            return Err(refused);
        }
        let reason =
            "rootless container requires user namespaces: linux.namespaces has none of type \"user\"";
        return Err(Error::new(Kind::Spec, reason));
    }
    let binds = plan.mounts.iter().map(|_| None).collect();
    Ok(Sources { binds, by_init: true, ..Sources::default() })
}

fn open_root(plan: &Plan) -> Result<OwnedFd> {
    let step = || format!("root.path {:?}", plan.root.path);
    if !plan.namespaces.is_own(Namespace::Mount) {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        return rustix::fs::open(plan.root.path.as_str(), flags, Mode::empty())
            .call("open", || format!("{:?}", plan.root.path))
            .context(step);
    }
    let tree = rootfs::open(&plan.root.path).context(step)?;
    let stat = rustix::fs::fstat(&tree).call("fstat", || "").context(step)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        bail!("root.path {:?}: not a directory", plan.root.path);
    }
    Ok(tree)
}

/// The propagation that the container's tree gives to a bind mount, before the entry's own.
fn inherited(plan: &Plan, entry: &Mount) -> Propagation {
    let recursively = |flag| Propagation { flag, recursive: true };
    match plan.root.propagation {
        None => recursively(libc::MS_SLAVE),
        // An unbindable mount could not be bound again for readonlyPaths: that comes at the end, for all.
        Some(last) if last.flag == libc::MS_UNBINDABLE => recursively(libc::MS_PRIVATE),
        // A mount that stays in the peer group of its source carries what the container mounts to the host. That
        // takes two: the root, and the entry itself.
        Some(shared)
            if shared.flag == libc::MS_SHARED
                && !entry.propagation.iter().any(|own| own.flag == libc::MS_SHARED) =>
        {
            recursively(libc::MS_SLAVE)
        }
        Some(given) => given,
    }
}

/// The id mapping of a bind mount: its own, or that of the container's user namespace.
fn map_ids(entry: &Mount, bind: &Detached, plan: &Plan, join: &[Opened], host: &Procfs) -> Result<()> {
    let Some(map) = &entry.idmap else { return Ok(()) };
    let made;
    let namespace = match (&map.own, joined(join, Namespace::User)) {
        (None, Some(namespace)) => namespace.as_fd(),
        (Some((uid, gid)), _) => {
            made = idmap::user_namespace(host, uid, gid)?;
            made.as_fd()
        }
        (None, None) if plan.namespaces.is_new(Namespace::User) => {
            made = idmap::user_namespace(host, &plan.namespaces.uid_mappings, &plan.namespaces.gid_mappings)?;
            made.as_fd()
        }
        (None, None) => bail!("idmap without mappings needs a user namespace"),
    };
    idmap::map_mount(bind.tree.as_fd(), namespace, map.recursive)
}

/// The namespace of this kind among those that are joined.
pub fn joined(join: &[Opened], kind: Namespace) -> Option<&Opened> {
    join.iter().find(|namespace| namespace.kind == kind)
}
