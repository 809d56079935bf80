//! The device program on the cgroup. Kernels ask all programs from the root down; each can only deny.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use sys::bpf::{self, Instruction};

use super::Cgroup;
use crate::error::{Context, Error, Result};

/// Loads a device program.
///
/// # Errors
/// EPERM without the privilege (CAP_BPF in the first user namespace).
pub fn load(program: &[Instruction]) -> Result<OwnedFd> {
    bpf::load_cgroup_device(program).context(|| "load the device program")
}

/// What doing without a device program means: the text of a warning where nobody without root's privileges
/// could load one. Such a container reaches no more devices than its user does.
///
/// # Errors
/// The error itself otherwise, with the field.
pub fn go_without(error: Error, rootless: bool) -> Result<String> {
    if rootless && matches!(error.errno(), libc::EPERM | libc::EACCES) {
        return Ok(format!("linux.resources.devices is left to the user's own permissions: {error}"));
    }
    Err(error.context("linux.resources.devices"))
}

impl Cgroup {
    /// Puts a program on the cgroup, beside those that are there.
    ///
    /// # Errors
    /// EPERM without the privilege.
    pub fn attach_devices(&self, program: BorrowedFd<'_>) -> Result<()> {
        bpf::attach(self.fd(), program, None)
            .context(|| format!("attach the device program to cgroup {:?}", self.path))
    }

    /// Puts a program in the place of those on the cgroup. At no moment is more allowed than one of them
    /// allows.
    ///
    /// # Errors
    /// EPERM without the privilege.
    pub fn replace_devices(&self, program: BorrowedFd<'_>) -> Result<()> {
        let step = || format!("replace the device program of cgroup {:?}", self.path);
        let old = self.attached().context(step)?;
        match old.split_first() {
            None => bpf::attach(self.fd(), program, None).context(step),
            Some((first, others)) => {
                bpf::attach(self.fd(), program, Some(first.as_fd())).context(step)?;
                self.detach(others).context(step)
            }
        }
    }

    /// Takes all programs off the cgroup; those of the cgroups above stay in force.
    ///
    /// # Errors
    /// EPERM without the privilege.
    pub fn detach_devices(&self) -> Result<()> {
        let step = || format!("detach the device programs of cgroup {:?}", self.path);
        let old = self.attached().context(step)?;
        self.detach(&old).context(step)
    }

    /// The programs on this very cgroup.
    pub(super) fn attached(&self) -> sys::Result<Vec<OwnedFd>> {
        bpf::query(self.fd())?.into_iter().map(bpf::program).collect()
    }

    fn detach(&self, programs: &[OwnedFd]) -> sys::Result<()> {
        programs.iter().try_for_each(|program| bpf::detach(self.fd(), program.as_fd()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_no_privilege_goes_without() {
        let denied: Error = sys::Error::new("bpf", "BPF_PROG_LOAD", libc::EPERM).into();
        assert_eq!(
            go_without(denied.clone(), true).unwrap(),
            "linux.resources.devices is left to the user's own permissions: \
             bpf(BPF_PROG_LOAD): operation not permitted (EPERM)"
        );
        assert_eq!(go_without(denied.clone(), false).unwrap_err(), denied.context("linux.resources.devices"));
        let broken: Error = sys::Error::new("bpf", "BPF_PROG_LOAD", libc::EINVAL).into();
        go_without(broken, true).unwrap_err();
    }
}
