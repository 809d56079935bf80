//! Limits and ownership: what stands in the cgroup's files.

use rustix::fs::{AtFlags, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::{Cgroup, file};
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::plan::cgroup::{CgroupPlan, CheckUsage, Otherwise, Write};

/// The kernel's list of files that a delegate may own, since Linux 4.15.
const DELEGATE: &str = "/sys/kernel/cgroup/delegate";
/// The list where the kernel gives none (config-linux.md "Cgroup ownership").
const DELEGATE_ALWAYS: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

impl Cgroup {
    /// Writes the plan's limits, for `create` and `update` alike. Controllers must be there already; devices
    /// are not touched.
    ///
    /// # Errors
    /// The first limit that the kernel does not take, with the configuration's field.
    pub fn apply(&self, plan: &CgroupPlan) -> Result<()> {
        if let Some(check) = plan.check_usage {
            self.check_usage(check)?;
        }
        let step = |write: &Write, error: Error| {
            error.context(format!("cgroup {:?}", self.path)).context(&write.field)
        };
        let mut refused = Vec::new();
        for write in &plan.writes {
            match self.write_limit(write) {
                Ok(()) => {}
                // A burst may not exceed the quota, and the kernel judges each by the other that is there: once
                // more when all is there.
                Err(error) if error.errno() == libc::EINVAL => refused.push(write),
                Err(error) => return Err(step(write, error)),
            }
        }
        refused.into_iter().try_for_each(|write| self.write_limit(write).map_err(|error| step(write, error)))
    }

    fn write_limit(&self, write: &Write) -> Result<()> {
        let put = || file::write(self.fd(), &write.file, &write.value);
        let written = put().or_else(|error| {
            if error.errno != libc::ENOENT {
                return Err(error);
            }
            // Somebody else may be switching the controller on: the kernel says that it is on before its files are
            // there. Changing nothing here waits for that change to end, since both take the same lock.
            let _ = file::write(self.fd(), "cgroup.subtree_control", "\n");
            put()
        });
        let missing = match written {
            Ok(()) => return Ok(()),
            Err(error) if error.errno == libc::ENOENT => error,
            Err(error) => return Err(error.into()),
        };
        match &write.otherwise {
            Otherwise::Fail => Err(Error::from(missing).context("this kernel has no such limit")),
            Otherwise::Skip => Ok(()),
            Otherwise::Write { file, value } => Ok(file::write(self.fd(), file, value)?),
        }
    }

    /// `memory.checkBeforeUpdate`.
    pub(super) fn check_usage(&self, check: CheckUsage) -> Result<()> {
        let limits = [
            (check.memory, "memory.current", "linux.resources.memory.limit"),
            (check.swap, "memory.swap.current", "linux.resources.memory.swap"),
        ];
        for (limit, name, field) in limits {
            let Some(limit) = limit else { continue };
            let usage = match file::read(self.fd(), name) {
                Ok(text) => text.trim().parse::<u64>().unwrap_or(0),
                // Without swap accounting none is used.
                Err(error) if error.errno == libc::ENOENT && name == "memory.swap.current" => 0,
                Err(error) => return Err(Error::from(error).context(field)),
            };
            if usage > limit {
                bail!("{field}: {limit} bytes would be below the present usage of {usage} bytes ({name})");
            }
        }
        Ok(())
    }

    /// Gives the cgroup to a user of the host, so that they can divide it further but not change its limits:
    /// the folder, and the files that the kernel lists for delegation. The group stays.
    ///
    /// # Errors
    /// EPERM without the privilege to give files away.
    pub fn chown_delegate(&self, uid: u32) -> Result<()> {
        let list = match rustix::fs::open(DELEGATE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(list) => file::read_all(&list),
            Err(errno) => Err(errno),
        };
        self.give(uid, list.as_deref().unwrap_or(DELEGATE_ALWAYS))
    }

    /// Gives the folder and those of `files` (one per line) that it has to `uid`.
    pub(super) fn give(&self, uid: u32, files: &str) -> Result<()> {
        let step = || format!("give cgroup {:?} to user {uid}", self.path);
        let owner = Some(Uid::from_raw(uid));
        rustix::fs::fchown(self.fd(), owner, None)
            .map_err(|errno| file::failed("fchown", "", errno))
            .context(step)?;
        for name in files.lines().filter(|name| !name.is_empty() && !name.contains('/')) {
            match rustix::fs::chownat(self.fd(), name, owner, None, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(()) | Err(Errno::NOENT) => {} // not every cgroup has every file
                Err(errno) => return Err(file::failed("fchownat", format!("{name:?}"), errno)).context(step),
            }
        }
        Ok(())
    }
}
