//! The cgroups of containers as the operations on them need them, over `crate::cgroup`.

use std::time::Duration;

use super::{CgroupRecord, Cgroups};
use crate::cgroup::Cgroup;
use crate::error::{Error, Result};

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
}
