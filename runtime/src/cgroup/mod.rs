//! The container's cgroup (cgroups(7), Documentation/admin-guide/cgroup-v2.rst).
//!
//! Owns the folder below the cgroup2 mount from its making to its removal, and what stands in its files. Two
//! managers can make and remove it, this runtime by the kernel's own files or systemd ([`Manager`]); everyone
//! else sees one [`Cgroup`]. It decides no limits: `plan::cgroup` has. Everything is reached by descriptors, without symbolic links and
//! without leaving the file system; no record can lead to the root of the hierarchy. Nothing here waits on a
//! cgroup that was frozen by somebody else, and every wait has an end.

mod change;
mod controllers;
pub mod dbus;
pub mod devices;
mod file;
mod files;
mod freezer;
mod hierarchy;
mod join;
mod oom;
mod stats;
pub mod systemd;
#[cfg(test)]
mod tests;
mod tree;
mod vfork;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bail;
use crate::error::{Context, Error, Result};
use crate::plan::cgroup::CgroupPlan;
pub use change::Before;
pub use freezer::Events;
pub use hierarchy::{Hierarchy, open_folder, own_cgroup};
pub use join::Lower;
pub use oom::OomWatch;
pub use stats::Stats;

/// What the container's record keeps of a cgroup, enough to find and remove it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Where the cgroup2 file system is mounted.
    pub mount: String,
    /// The cgroup below it, without a slash in front.
    pub path: String,
    /// How many levels, counted from the lowest upwards, this runtime made; the others are not removed.
    pub created: usize,
    /// Who made it, and is to change and remove it.
    #[serde(default, skip_serializing_if = "Manager::is_files")]
    pub manager: Manager,
}

/// Who makes a cgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// This runtime, by the cgroup's files.
    #[default]
    Files,
    /// systemd, which has it as a unit.
    Systemd(systemd::Unit),
}

impl Manager {
    fn is_files(&self) -> bool {
        *self == Self::Files
    }
}

impl Record {
    /// The names of the levels. A record is a file: what it says is checked before it opens anything.
    fn names(&self) -> Result<Vec<&str>> {
        let names: Vec<&str> = self.path.split('/').collect();
        if names.iter().any(|name| matches!(*name, "" | "." | "..")) || self.path.contains('\0') {
            bail!("the record's cgroup path {:?} names no cgroup of a container", self.path);
        }
        Ok(names)
    }

    fn full_path(&self) -> String {
        format!("{}/{}", self.mount.trim_end_matches('/'), self.path)
    }
}

/// An open cgroup.
#[derive(Debug)]
pub struct Cgroup {
    fd: OwnedFd,
    path: String,
    record: Record,
}

impl Cgroup {
    /// Makes the cgroup `names` below the hierarchy's root, with the plan's limits but not its devices.
    ///
    /// An existing cgroup is taken over where it is empty.
    ///
    /// # Errors
    /// Where the cgroup or one above it is frozen, where it has processes, where a controller is not to be
    /// had, or where a limit is refused; what was made is then removed again. A controller that was switched
    /// on for the levels above stays on: by then, another container may depend on it.
    pub fn create(hierarchy: Hierarchy, names: &[String], plan: &CgroupPlan) -> Result<Self> {
        let mut record = Record {
            mount: hierarchy.path().to_owned(),
            path: names.join("/"),
            created: 0,
            manager: Manager::Files,
        };
        if record.names()?.len() != names.len() {
            bail!("a name of the cgroup {names:?} has a slash in it");
        }
        let path = record.full_path();
        let step = || format!("create cgroup {path:?}");
        let made = tree::make(hierarchy.root(), names).context(step)?;
        record.created = made.created;
        let cgroup = Self { fd: made.fd, path: path.clone(), record };
        match cgroup.prepare(&hierarchy, names.len(), plan) {
            Ok(()) => Ok(cgroup),
            Err(mut error) => {
                if let Err(cleanup) = cgroup.remove(Duration::ZERO) {
                    error.attach(&cleanup);
                }
                Err(error.context(step()))
            }
        }
    }

    /// The steps between the folder and a cgroup ready for a birth.
    fn prepare(&self, hierarchy: &Hierarchy, levels: usize, plan: &CgroupPlan) -> Result<()> {
        // A new cgroup with nothing but the root above it, which is never frozen, need not be asked.
        if self.record.created < levels {
            self.check_free()?;
        }
        controllers::enable_others(hierarchy, self.fd(), &self.record.names()?)?;
        self.limit(hierarchy, plan)
    }

    /// Sees that the plan's controllers are there, and writes its limits.
    fn limit(&self, hierarchy: &Hierarchy, plan: &CgroupPlan) -> Result<()> {
        controllers::enable(hierarchy, &self.record.names()?, &plan.controllers())?;
        self.apply(plan)
    }

    /// Whether a container can live here.
    fn check_free(&self) -> Result<()> {
        let events = self.events()?;
        // Also true of a new cgroup below a frozen one: its processes would never run.
        if events.frozen {
            bail!(
                "it is frozen, by itself or by a cgroup above it; thaw it, or give another linux.cgroupsPath"
            );
        }
        if events.populated {
            bail!("it has processes already; give another linux.cgroupsPath");
        }
        if self.record.created == 0 {
            // What a dead container left would deny the new one its devices.
            match self.detach_devices() {
                Err(error) if error.errno() != libc::EPERM => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Opens the cgroup of a record; `None` where it is gone.
    ///
    /// # Errors
    /// A record that names no cgroup of a container, or a mount that is not cgroup2's.
    pub fn open(record: &Record) -> Result<Option<Self>> {
        record.names()?;
        let path = record.full_path();
        let step = || format!("open cgroup {path:?}");
        let Some(hierarchy) = Hierarchy::open(&record.mount).context(step)? else { return Ok(None) };
        let fd = tree::open(hierarchy.root(), &record.path).context(step)?;
        Ok(fd.map(|fd| Self { fd, path: path.clone(), record: record.clone() }))
    }

    /// Removes the cgroup of a record, as [`Self::remove`]; quick where it is empty, and content where it is
    /// gone.
    ///
    /// # Errors
    /// As [`Self::open`] and [`Self::remove`].
    pub fn delete(record: &Record, patience: Duration) -> Result<()> {
        let names = record.names()?;
        if let Manager::Systemd(unit) = &record.manager {
            return systemd::remove(record, unit, patience);
        }
        let step = || format!("remove cgroup {:?}", record.full_path());
        let Some(hierarchy) = Hierarchy::open(&record.mount).context(step)? else { return Ok(()) };
        if record.created == 1 && tree::remove_leaf(hierarchy.root(), &names).context(step)? {
            return Ok(());
        }
        match Self::open(record)? {
            Some(cgroup) => cgroup.remove(patience),
            // Somebody was killed on the way down or up: what is left of the levels above goes too.
            None => tree::remove_rest(hierarchy.root(), &names, record.created).context(step),
        }
    }

    /// Removes the cgroup, the ones that the container made in it, and the levels above that were made for it or
    /// for another container and that nobody uses any more. Processes that are about to be gone are waited for.
    ///
    /// A cgroup that was there before the container is left as it is.
    ///
    /// # Errors
    /// Where it still has processes when `patience` ends.
    pub fn remove(&self, patience: Duration) -> Result<()> {
        let names = self.record.names()?;
        tree::remove(self, &names, self.record.created, patience)
            .context(|| format!("remove cgroup {:?}", self.path))
    }

    /// The folder, for clone3(2) and for attaching programs.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Absolute path of the folder.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What finds the cgroup again.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Moves a process into the cgroup.
    ///
    /// # Errors
    /// ESRCH where the process is gone; EBUSY where the cgroup passes controllers on to cgroups inside it.
    pub fn add_process(&self, pid: u32) -> Result<()> {
        file::write(self.fd(), "cgroup.procs", &pid.to_string())
            .map_err(Error::from)
            .map_err(|error| self.explain_birth(error))
            .context(|| format!("move process {pid} into cgroup {:?}", self.path))
    }

    /// Says what an error of clone3(2) with CLONE_INTO_CGROUP means; others come back as they are.
    #[must_use]
    pub fn explain_birth(&self, error: Error) -> Error {
        let path = &self.path;
        let why = match error.errno() {
            libc::EBUSY => "it passes controllers on to cgroups inside it and can have no processes itself",
            libc::EOPNOTSUPP => "it is threaded, or below a threaded one, and can have no whole processes",
            libc::EAGAIN => {
                "the number of processes is limited (pids.max of a cgroup above, or RLIMIT_NPROC)"
            }
            libc::ENODEV => "it was removed in the meantime",
            _ => return error,
        };
        error.context(format!("cgroup {path:?}: {why}"))
    }

    /// Processes in the cgroup and in those inside it, as this process id namespace numbers them.
    ///
    /// # Errors
    /// Failures to read; cgroups that vanish meanwhile have no processes.
    pub fn pids(&self) -> Result<Vec<u32>> {
        let mut pids = Vec::new();
        tree::walk(
            self.fd(),
            |cgroup| match file::read(cgroup, "cgroup.procs") {
                Ok(text) => {
                    // 0 stands for a process outside of our namespace.
                    pids.extend(
                        text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid != 0),
                    );
                    Ok(())
                }
                // A threaded cgroup's processes are listed by the one above that is not.
                Err(error) if matches!(error.errno, libc::EOPNOTSUPP | libc::ENODEV | libc::ENOENT) => Ok(()),
                Err(error) => Err(error.into()),
            },
            |_, _| Ok(()),
        )
        .context(|| format!("list the processes of cgroup {:?}", self.path))?;
        Ok(pids)
    }
}

const NOT_MOUNTED: &str = "cgroup2 is not mounted; boot with systemd.unified_cgroup_hierarchy=1, \
                           or mount it with mount -t cgroup2 none /sys/fs/cgroup/unified";

/// Why there can be no cgroup where [`Hierarchy::find`] finds none.
pub fn no_hierarchy() -> Error {
    Error::other(NOT_MOUNTED)
}

/// What doing without a cgroup means: the text of a warning, where nothing depends on one.
///
/// `reason` is why the cgroup cannot be made; `None` means that cgroup2 is not mounted.
///
/// # Errors
/// Where a field asks for the cgroup; it is named, with the cure.
pub fn go_without(
    plan: &CgroupPlan,
    cgroups_path: &str,
    reason: Option<&Error>,
    rootless: bool,
) -> Result<String> {
    // Who may not make a cgroup has no devices to give away either; engines send the rules all the same.
    let device_rules = plan.device_rules && plan.devices.is_some() && !rootless;
    let field = match plan.writes.first() {
        Some(write) => Some(write.field.as_ref()),
        None if !cgroups_path.is_empty() => Some("linux.cgroupsPath"),
        None if device_rules => Some("linux.resources.devices"),
        None => None,
    };
    let reason = reason.cloned().unwrap_or_else(no_hierarchy);
    match field {
        Some(field) => Err(reason.context(format!("{field} needs a cgroup"))),
        None => Ok(format!("the container has no cgroup of its own: {reason}")),
    }
}
