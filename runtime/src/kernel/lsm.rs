//! AppArmor profiles and SELinux labels.
//!
//! A label is a write to `/proc/thread-self/attr`, and a write that goes astray leaves the program
//! unconfined (CVE-2019-16884, CVE-2025-52881): it goes through [`Procfs`]. A label that is asked for on a
//! host without that module is an error, never ignored. apparmor(7), selinux(8), proc_pid_attr(5),
//! config.md `process.apparmorProfile` and `process.selinuxLabel`, config-linux.md `linux.mountLabel`.

use std::os::fd::BorrowedFd;

use rustix::fs::{FsWord, Mode, OFlags, XattrFlags};

use crate::bail;
use crate::error::{Call, Context, Result};
use crate::kernel::procfs::Procfs;

/// The profile that confines nothing; it is there without AppArmor too.
const UNCONFINED: &str = "unconfined";

const APPARMOR: &str = "thread-self/attr/apparmor/exec";
const EXEC: &str = "thread-self/attr/exec";

/// Whether the kernel enforces AppArmor profiles.
pub fn apparmor_enabled() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"))
}

/// Whether the kernel has SELinux switched on: its file system is mounted then.
pub fn selinux_enabled() -> bool {
    const MAGIC: FsWord = 0xf97c_ff8c_u32 as FsWord;
    rustix::fs::statfs("/sys/fs/selinux").is_ok_and(|stat| stat.f_type == MAGIC)
}

/// Whether `process.apparmorProfile` is to be applied.
///
/// # Errors
/// A profile is asked for, and AppArmor is not enabled.
pub fn check_apparmor(profile: &str) -> Result<bool> {
    if profile.is_empty() {
        return Ok(false);
    }
    let enabled = apparmor_enabled();
    if !enabled && profile != UNCONFINED {
        bail!("process.apparmorProfile: {profile:?} is asked for, but AppArmor is not enabled on this host");
    }
    Ok(enabled)
}

/// Whether the label in `field` is to be applied.
///
/// # Errors
/// A label is asked for, and SELinux is not enabled.
pub fn check_selinux(field: &str, label: &str) -> Result<bool> {
    if label.is_empty() {
        return Ok(false);
    }
    if !selinux_enabled() {
        bail!("{field}: {label:?} is asked for, but SELinux is not enabled on this host");
    }
    Ok(true)
}

/// Confines the program that the calling thread executes next.
///
/// # Errors
/// The profile is not loaded, or may not be changed to.
pub fn apply_apparmor(procfs: &Procfs, profile: &str) -> Result<()> {
    let applied = apparmor_file(procfs).and_then(|file| procfs.write(file, format!("exec {profile}")));
    match applied {
        // Without AppArmor nothing is confined: the file is not there, or no module takes the write.
        Err(error) if profile == UNCONFINED && matches!(error.errno(), libc::ENOENT | libc::EINVAL) => Ok(()),
        // The kernel's ENOENT is about the profile, and reads as if it were about a file.
        Err(error) if error.errno() == libc::ENOENT => {
            bail!("process.apparmorProfile: {profile:?} is not loaded")
        }
        result => result.context(|| format!("process.apparmorProfile {profile:?}")),
    }
}

/// AppArmor's own file since Linux 5.8, before it the one it shared.
fn apparmor_file(procfs: &Procfs) -> Result<&'static str> {
    match procfs.open(APPARMOR, OFlags::PATH) {
        Ok(_) => Ok(APPARMOR),
        Err(error) if error.errno() == libc::ENOENT => Ok(EXEC),
        Err(error) => Err(error),
    }
}

/// Labels the program that the calling thread executes next.
///
/// # Errors
/// EINVAL for a label that the policy does not know, EACCES or EPERM for one that may not be changed to.
pub fn apply_selinux(procfs: &Procfs, label: &str) -> Result<()> {
    procfs.write(EXEC, label).context(|| format!("process.selinuxLabel {label:?}"))
}

/// Labels the keyrings that the calling thread makes from now on until execve(2), so that the program may use them. In
/// front of each keyring that is the container's.
///
/// # Errors
/// As [`apply_selinux`].
pub fn label_keys(procfs: &Procfs, label: &str) -> Result<()> {
    procfs
        .write("thread-self/attr/keycreate", label)
        .context(|| format!("process.selinuxLabel {label:?}, for keys"))
}

/// Labels the root folder of a new file system, for one that takes no option `context` (config-linux.md
/// "Mount label").
///
/// # Errors
/// As fsetxattr(2), with the field.
pub fn label_root(tree: BorrowedFd<'_>, label: &str) -> Result<()> {
    // fsetxattr(2) does not take the descriptor of fsmount(2), which is an O_PATH one.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let step = || format!("linux.mountLabel {label:?}");
    let root = rustix::fs::openat(tree, ".", flags, Mode::empty()).call("openat", || "").context(step)?;
    rustix::fs::fsetxattr(&root, "security.selinux", label.as_bytes(), XattrFlags::empty())
        .call("fsetxattr", || "\"security.selinux\"")
        .context(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::procfs::Need;
    use crate::kernel::throwaway::alone;

    const LABEL: &str = "system_u:system_r:container_t:s0:c1,c2";

    #[test]
    fn what_the_host_does_not_have_is_an_error_that_names_the_field() {
        assert!(!check_apparmor("").unwrap());
        assert!(!check_selinux("process.selinuxLabel", "").unwrap());
        assert_eq!(check_apparmor(UNCONFINED).unwrap(), apparmor_enabled());
        if apparmor_enabled() {
            assert!(check_apparmor("no-such-profile").unwrap());
        } else {
            assert_eq!(
                check_apparmor("docker-default").unwrap_err().to_string(),
                "process.apparmorProfile: \"docker-default\" is asked for, but AppArmor is not enabled on this host"
            );
        }
        if selinux_enabled() {
            assert!(check_selinux("linux.mountLabel", LABEL).unwrap());
        } else {
            assert_eq!(
                check_selinux("linux.mountLabel", LABEL).unwrap_err().to_string(),
                format!("linux.mountLabel: {LABEL:?} is asked for, but SELinux is not enabled on this host")
            );
        }
    }

    #[test]
    fn a_label_that_no_module_takes_is_an_error() {
        if !alone("kernel::lsm::tests::a_label_that_no_module_takes_is_an_error", &["--mount"]) {
            return;
        }
        let procfs = Procfs::private(Need::Processes).unwrap();
        apply_apparmor(&procfs, UNCONFINED).unwrap();
        let error = apply_selinux(&procfs, "no label").unwrap_err();
        assert!(error.to_string().starts_with("process.selinuxLabel \"no label\": write("), "{error}");
        assert!(label_keys(&procfs, "no label").is_err());
        let error = apply_apparmor(&procfs, "no-such-profile").unwrap_err();
        assert!(error.to_string().starts_with("process.apparmorProfile"), "{error}");
    }

    /// CVE-2025-52881: a harmless or a dangerous file of procfs in the place of `attr`.
    #[test]
    fn a_forged_attr_swallows_no_label() {
        if !alone("kernel::lsm::tests::a_forged_attr_swallows_no_label", &["--mount"]) {
            return;
        }
        let process_id = std::process::id();
        let bind = |source: &str, target: &str| {
            let flags = nix::mount::MsFlags::MS_BIND;
            nix::mount::mount(Some(source), target, None::<&str>, flags, None::<&str>).unwrap();
        };
        let forged = format!("/proc/{process_id}/task/{process_id}");
        for file in ["exec", "keycreate"] {
            bind("/proc/sys/kernel/domainname", &format!("{forged}/attr/{file}"));
        }
        // The test's thread has a folder of its own beside the process's.
        let thread = std::fs::read_link("/proc/thread-self").unwrap();
        if thread.to_str() != Some(&forged["/proc/".len()..]) {
            for file in ["exec", "keycreate"] {
                bind("/proc/sys/kernel/domainname", &format!("/proc/{}/attr/{file}", thread.display()));
            }
        }
        let before = std::fs::read("/proc/sys/kernel/domainname").unwrap();
        let host = Procfs::host().unwrap();
        assert_eq!(apply_selinux(&host, LABEL).unwrap_err().errno(), libc::EXDEV);
        assert_eq!(label_keys(&host, LABEL).unwrap_err().errno(), libc::EXDEV);
        let private = Procfs::private(Need::Processes).unwrap();
        let real = apply_selinux(&private, "no label").unwrap_err().errno();
        assert_ne!(real, libc::EXDEV, "the private procfs reaches the real file");
        assert_eq!(std::fs::read("/proc/sys/kernel/domainname").unwrap(), before);
    }
}
