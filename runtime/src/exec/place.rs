//! The cgroup that the new process is born in, or brought to.

use std::os::fd::{AsFd, BorrowedFd};

use sys::process::Clone;

use crate::bail;
use crate::cgroup::{Cgroup, Lower};
use crate::error::{Context, Error, Result};
use crate::signals::Signals;

/// Where the new process is born.
#[derive(Debug)]
pub struct Place<'a> {
    cgroup: Option<&'a Cgroup>,
    /// The one that `--cgroup` names.
    below: Option<Lower>,
    init: i32,
}

/// A process that was cloned, on either side of that.
#[derive(Debug)]
pub struct Newborn {
    /// Which side this is.
    pub clone: Clone,
    /// Whether it is in the place; otherwise it waits to be [brought](Place::bring) there.
    pub placed: bool,
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

    /// Clones by `make` into the place; where the kernel denies that to this caller and systemd can be asked, to
    /// where the caller is.
    ///
    /// # Errors
    /// Of `make`; that init is in a cgroup which is not the container's.
    pub fn bear(&self, make: impl Fn(Option<BorrowedFd<'_>>) -> Result<Clone>) -> Result<Newborn> {
        let Some(cgroup) = self.cgroup else { return Ok(Newborn { clone: make(None)?, placed: true }) };
        match self.bear_inside(cgroup, &make) {
            Err(error) if is_denied(&error) && cgroup.has_manager() => {
                Ok(Newborn { clone: make(None)?, placed: false })
            }
            result => result
                .map(|clone| Newborn { clone, placed: true })
                .map_err(|error| cgroup.explain_birth(error)),
        }
    }

    /// A cgroup that passes controllers on can have no processes itself (no internal process constraint of
    /// cgroup-v2.rst): then the container has gone further down, and where its init is, there is room, as with runc.
    fn bear_inside(
        &self,
        cgroup: &Cgroup,
        make: impl Fn(Option<BorrowedFd<'_>>) -> Result<Clone>,
    ) -> Result<Clone> {
        if let Some(below) = &self.below {
            return make(Some(below.fd.as_fd()));
        }
        match make(Some(cgroup.fd())) {
            Err(error) if error.errno() == libc::EBUSY => match cgroup.of_member(self.init)? {
                Some(inner) => make(Some(inner.fd.as_fd())),
                None => Err(error),
            },
            result => result,
        }
    }

    /// Has systemd bring process `pid`, which was born elsewhere and waits, to the place.
    ///
    /// # Errors
    /// What systemd says.
    pub fn bring(&self, pid: i32, signals: &mut Signals) -> Result<()> {
        let Some(cgroup) = self.cgroup else { bail!("the container has no cgroup of its own") };
        let below = self.below.as_ref().map_or("", |below| &below.path);
        let mut brought = cgroup.fetch(pid, below, signals);
        // Why it is refused is not asked: where init is, there is room in any case.
        if brought.is_err()
            && self.below.is_none()
            && let Ok(Some(inner)) = cgroup.of_member(self.init)
        {
            brought = cgroup.fetch(pid, &inner.path, signals);
        }
        brought.context(|| {
            format!(
                "the kernel lets this caller start no process in cgroup {:?}, and systemd moves none there",
                cgroup.path()
            )
        })
    }
}

fn is_denied(error: &Error) -> bool {
    matches!(error.errno(), libc::EACCES | libc::EPERM)
}
