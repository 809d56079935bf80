//! memory.events: hears of processes that the kernel has killed for want of memory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;

use super::{Cgroup, file};
use crate::error::Result;

/// memory.events, held open. The kernel announces a change to poll(2) as POLLPRI, until the file is read.
#[derive(Debug)]
pub struct OomWatch {
    file: OwnedFd,
    kills: u64,
}

impl OomWatch {
    /// Watches from now on; `None` where the cgroup has no memory controller.
    ///
    /// # Errors
    /// Of reading the file.
    pub fn open(cgroup: &Cgroup) -> Result<Option<Self>> {
        let file = match file::open(cgroup.fd(), "memory.events", OFlags::RDONLY) {
            Ok(file) => file,
            Err(error) if matches!(error.errno, libc::ENOENT | libc::ENODEV) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut watch = Self { file, kills: 0 };
        Ok(watch.kills()?.map(|kills| Self { kills, ..watch }))
    }

    /// Whether processes of the cgroup, or of one inside it, were killed since this was asked last; `None`
    /// where the cgroup is gone.
    ///
    /// # Errors
    /// Of reading the file.
    pub fn has_killed(&mut self) -> Result<Option<bool>> {
        let Some(now) = self.kills()? else { return Ok(None) };
        let before = std::mem::replace(&mut self.kills, now);
        Ok(Some(now > before))
    }

    fn kills(&mut self) -> Result<Option<u64>> {
        match file::read_all(&self.file) {
            Ok(text) => Ok(Some(kills(&text))),
            Err(rustix::io::Errno::NODEV) => Ok(None),
            Err(errno) => Err(file::failed("read", "\"memory.events\"", errno).into()),
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn kills(events: &str) -> u64 {
    let line = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted_by_their_own_line() {
        assert_eq!(kills("low 0\nhigh 1\nmax 22\noom 4\noom_kill 3\noom_group_kill 9\n"), 3);
        assert_eq!(kills(""), 0);
    }
}
