//! An existing container: what is remembered of it, where in its life it is, and what can be done to it.
//!
//! `create` puts a [`Record`] into a [`Store`]; everything after that starts from there. Nothing here trusts
//! memory where the kernel can be asked: a process is found by pid and start time, a status is derived each
//! time. Governed by runtime.md of the specification.

pub mod delete;
pub mod document;
pub mod gate;
mod id;
pub mod notify;
mod process;
mod record;
pub mod signal;
pub mod start;
mod status;
mod store;
mod sweep;

use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollTimeout};
use serde::{Deserialize, Serialize};

pub use gate::Gate;
pub use id::ContainerId;
pub use process::{Pidfd, ProcessId};
pub use record::{Record, SeccompNotify, VERSION as RECORD_VERSION};
pub use status::Status;
pub use store::{Entry, LOCK_WAIT, Locked, Store};

use crate::error::{Call, Result};

/// A container's cgroup, as far as it takes to find and remove it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupRecord {
    /// Mount point of the cgroup2 file system.
    pub mount: String,
    /// Path below it, without a slash at either end.
    pub path: String,
    /// How many folders at the end of the path were made for the container.
    pub created: usize,
}

/// What the operations on a container need of cgroups. A cgroup that is gone is empty, and removed.
pub trait Cgroups {
    /// The processes in the cgroup and in those below it.
    ///
    /// # Errors
    /// Of reading `cgroup.procs`.
    fn pids(&self, cgroup: &CgroupRecord) -> Result<Vec<i32>>;

    /// Sends SIGKILL to all of them (cgroup-v2.rst "cgroup.kill"); does not wait.
    ///
    /// # Errors
    /// Of writing `cgroup.kill`.
    fn kill(&self, cgroup: &CgroupRecord) -> Result<()>;

    /// Removes the folders that were made for the container, waiting up to `limit` until nobody is in them.
    ///
    /// # Errors
    /// When it is still in use after that.
    fn remove(&self, cgroup: &CgroupRecord, limit: Duration) -> Result<()>;
}

/// Opens the store below `root`, and the container `id` in it.
///
/// # Errors
/// Kind `NotFound` with the phrase "container does not exist", also where there is no store at all.
pub fn find(root: &Path, id: &str) -> Result<(Store, Entry)> {
    let id = ContainerId::parse(id)?;
    let store = Store::open(root, false)?;
    let entry = store.entry(&id)?;
    Ok((store, entry))
}

/// poll(2) that signals do not cut short; `false` when `deadline` has come. Without one it waits for ever.
///
/// # Errors
/// Of poll(2).
pub(crate) fn poll(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> Result<bool> {
    loop {
        let timeout = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            None => PollTimeout::NONE,
            // Rounded up: a last fraction of a millisecond must not be spent spinning.
            Some(left) => i32::try_from(left.as_micros().div_ceil(1000))
                .ok()
                .and_then(|left_ms| PollTimeout::try_from(left_ms).ok())
                .unwrap_or(PollTimeout::MAX),
        };
        match nix::poll::poll(fds, timeout) {
            Ok(0) if deadline.is_some_and(|deadline| Instant::now() < deadline) => {}
            Ok(count) => return Ok(count > 0),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).call("poll", String::new),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    use nix::poll::PollFlags;

    /// A folder of a test's own, removed with the value.
    pub(crate) struct TempDir(PathBuf);

    impl TempDir {
        pub(crate) fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("caisson-store-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            // Fails where the name is taken: what is removed in the end was made here.
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }

        pub(crate) fn path(&self) -> &Path {
            &self.0
        }

        /// A store in a new folder inside.
        pub(crate) fn store(&self) -> Store {
            Store::open(&self.0.join("state"), true).unwrap()
        }
    }

    impl Drop for TempDir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    pub(crate) fn id(text: &str) -> ContainerId {
        ContainerId::parse(text).unwrap()
    }

    #[test]
    fn poll_keeps_its_deadline_and_sees_what_is_ready() {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
        let begun = Instant::now();
        assert!(!poll(&mut fds, Some(begun + Duration::from_millis(30))).unwrap());
        assert!(begun.elapsed() >= Duration::from_millis(30));
        drop(writer);
        assert!(poll(&mut fds, None).unwrap());
        // Long gone, and still it looks once.
        assert!(poll(&mut fds, Some(begun)).unwrap());
    }

    #[test]
    fn what_is_not_there_does_not_exist() {
        let dir = TempDir::new();
        for (root, id) in [(dir.path().join("none"), "web"), (dir.path().to_owned(), "web")] {
            std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700))
                .unwrap();
            let error = find(&root, id).unwrap_err();
            assert_eq!(error.to_string(), "container does not exist");
            assert_eq!(error.kind(), crate::error::Kind::NotFound);
        }
        let error = find(dir.path(), "../web").unwrap_err().to_string();
        assert_eq!(error, "invalid container ID format: \"../web\"");
    }
}
