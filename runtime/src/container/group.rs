//! The cgroups of containers as the operations on them need them, over `crate::cgroup`.

use std::time::Duration;

use super::{CgroupRecord, Cgroups};
use crate::cgroup::{Before, Cgroup};
use crate::error::{Error, Result};
use crate::plan::cgroup::CgroupPlan;

/// Cgroups by the files of the cgroup2 file system.
#[derive(Debug, Clone, Copy)]
pub struct Files;

impl Cgroups for Files {
    fn pids(&self, cgroup: &CgroupRecord) -> Result<Vec<i32>> {
        let Some(opened) = Cgroup::open(cgroup)? else { return Ok(Vec::new()) };
        let number = |pid: u32| {
            i32::try_from(pid).map_err(|_| Error::other(format!("{}: {pid} is no process id", cgroup.path)))
        };
        opened.pids()?.into_iter().map(number).collect()
    }

    fn kill(&self, cgroup: &CgroupRecord) -> Result<()> {
        match Cgroup::open(cgroup)? {
            Some(opened) => opened.kill(),
            None => Ok(()),
        }
    }

    fn remove(&self, cgroup: &CgroupRecord, limit: Duration) -> Result<()> {
        Cgroup::delete(cgroup, limit)
    }

    fn freeze(&self, cgroup: &CgroupRecord, limit: Duration) -> Result<()> {
        open(cgroup)?.freeze(limit)
    }

    fn thaw(&self, cgroup: &CgroupRecord, limit: Duration) -> Result<()> {
        open(cgroup)?.thaw(limit)
    }

    fn change(&self, cgroup: &CgroupRecord, plan: &CgroupPlan) -> Result<Before> {
        open(cgroup)?.change(plan)
    }

    fn restore(&self, cgroup: &CgroupRecord, before: &Before, cause: &mut Error) {
        match open(cgroup) {
            Ok(opened) => opened.restore(before, cause),
            Err(failed) => cause.attach(&failed),
        }
    }
}

/// The cgroup of a container that lives.
///
/// # Errors
/// Where it is gone: whoever removed it has moved the processes elsewhere first.
pub fn open(cgroup: &CgroupRecord) -> Result<Cgroup> {
    match Cgroup::open(cgroup)? {
        Some(opened) => Ok(opened),
        None => Err(Error::other(format!(
            "its cgroup {:?} is gone: somebody else has moved the processes and removed it",
            cgroup.path
        ))),
    }
}
