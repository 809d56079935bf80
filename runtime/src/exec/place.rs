//! The cgroup that the new process is born in.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use sys::process::Clone;

use crate::bail;
use crate::cgroup::Cgroup;
use crate::error::{Context, Result};

/// Where the new process is born.
#[derive(Debug)]
pub struct Place<'a> {
    cgroup: Option<&'a Cgroup>,
    /// The one that `--cgroup` names.
    below: Option<OwnedFd>,
    init: i32,
}

impl<'a> Place<'a> {
    /// The container's cgroup, or the one below it that `--cgroup` asks for; `init` is the container's.
    ///
    /// # Errors
    /// Of [`Cgroup::sub_cgroup`].
    pub fn of(cgroup: Option<&'a Cgroup>, asked: Option<&str>, init: i32) -> Result<Self> {
        let below = match (asked, cgroup) {
            (None, _) => None,
            (Some(path), Some(cgroup)) => {
                Some(cgroup.sub_cgroup(path).context(|| format!("--cgroup {path:?}"))?)
            }
            (Some(path), None) => bail!("--cgroup {path:?}: the container has no cgroup of its own"),
        };
        Ok(Self { cgroup, below, init })
    }

    /// Clones by `make` into the place. A cgroup that passes controllers on can have no processes itself (no
    /// internal process constraint of cgroup-v2.rst): then the container has gone further down, and where its init
    /// is, there is room, as with runc.
    ///
    /// # Errors
    /// Of `make`; that init is in a cgroup which is not the container's.
    pub fn bear(&self, make: impl Fn(Option<BorrowedFd<'_>>) -> Result<Clone>) -> Result<Clone> {
        let Some(cgroup) = self.cgroup else { return make(None) };
        if let Some(below) = &self.below {
            return make(Some(below.as_fd())).map_err(|error| cgroup.explain_birth(error));
        }
        match make(Some(cgroup.fd())) {
            Err(error) if error.errno() == libc::EBUSY => match cgroup.of_member(self.init)? {
                Some(inner) => make(Some(inner.as_fd())).map_err(|error| cgroup.explain_birth(error)),
                None => Err(cgroup.explain_birth(error)),
            },
            result => result.map_err(|error| cgroup.explain_birth(error)),
        }
    }
}
