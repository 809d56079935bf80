//! The runtime's own binary cannot be reached for writing from inside a container (CVE-2019-5736).
//!
//! A container's init is a clone of this process: its /proc/PID/exe, and a `#!/proc/self/exe` script run by
//! it, lead to the file this program was started from. Before anything is cloned, the process is therefore
//! moved onto the same file on a detached read-only mount, which no mount namespace holds and nobody can
//! make writable again. That costs a fraction of starting a sealed copy (docs/benchmarks.md), which is what
//! happens where the kernel does not permit the move: without CONFIG_CHECKPOINT_RESTORE, or rootless.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{Mode, OFlags};

use crate::error::{Call, Context, Error, Result};
use crate::kernel::mount::{clone_path, set_attributes};
use crate::plan::mount::{Attributes, RDONLY};

const OWN: &str = "/proc/self/exe";

/// What remains of protecting the own binary: the detached mount, to be let go of where nobody waits for it.
/// The kernel takes it apart then, after a grace period of RCU that whoever closes it has to wait for. The
/// program's file itself is held by the process.
#[derive(Debug)]
pub struct Protection(#[allow(dead_code)] Option<OwnedFd>); // held, not read

/// Protects the own binary; every command that clones calls it first.
///
/// # Errors
/// Where neither way is open. There is no going on without.
pub fn protect_own_binary() -> Result<Protection> {
    let moved = move_to_readonly_mount();
    if moved.is_err() && !is_sealed()? {
        return Err(start_sealed_copy()).context(|| "protect the own binary");
    }
    // Nobody else's business either, until execve says otherwise (PR_SET_DUMPABLE of prctl(2)).
    if nix::unistd::geteuid().is_root() {
        nix::sys::prctl::set_dumpable(false).call("prctl", || "PR_SET_DUMPABLE")?;
    }
    Ok(Protection(moved.ok()))
}

fn move_to_readonly_mount() -> Result<OwnedFd> {
    let mount = clone_path(OWN, false)?;
    set_attributes(mount.as_fd(), Attributes { set: RDONLY, clear: 0 }, false)?;
    let path = format!("/proc/self/fd/{}", mount.as_raw_fd());
    let file: OwnedFd = rustix::fs::open(path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .call("open", || format!("{path:?}"))?;
    sys::exe::exchange(file.as_fd())?;
    Ok(mount)
}

fn is_sealed() -> Result<bool> {
    let own = File::open(OWN).call("open", || format!("{OWN:?}"))?;
    Ok(sys::exe::is_sealed(own.as_fd()))
}

/// Starts this program again from a sealed copy; only returns on failure.
fn start_sealed_copy() -> Error {
    let copy = File::open(OWN)
        .call("open", || format!("{OWN:?}"))
        .and_then(|mut own| Ok(sys::exe::sealed_copy(c"runtime", &mut own)?));
    let copy = match copy {
        Ok(copy) => copy,
        Err(error) => return error,
    };
    let c_strings =
        |strings: Vec<Vec<u8>>| strings.into_iter().filter_map(|bytes| CString::new(bytes).ok()).collect();
    let args: Vec<CString> = c_strings(std::env::args_os().map(OsStringExt::into_vec).collect());
    let env: Vec<CString> = c_strings(
        std::env::vars_os().map(|(name, value)| [name.into_vec(), value.into_vec()].join(&b'=')).collect(),
    );
    match nix::unistd::execveat(&copy, c"", &args, &env, nix::fcntl::AtFlags::AT_EMPTY_PATH) {
        Ok(never) => match never {},
        Err(errno) => sys::Error::new("execveat", "the sealed copy", errno as i32).into(),
    }
}
