//! An existing container: what is remembered of it, where in its life it is, and what can be done to it.
//!
//! `create` puts a [`Record`] into a [`Store`]; everything after that starts from there. Nothing here trusts
//! memory where the kernel can be asked: a process is found by pid and start time, a status is derived each
//! time. Governed by runtime.md of the specification.

pub mod checkpoint;
pub mod delete;
pub mod document;
pub mod events;
pub mod external;
pub mod gate;
pub mod group;
mod id;
pub mod notify;
pub mod pause;
mod process;
pub mod ps;
mod record;
pub mod signal;
pub mod start;
mod status;
mod store;
mod sweep;
pub mod update;

use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollTimeout};

pub use crate::cgroup::Record as CgroupRecord;
pub use gate::Gate;
pub use id::ContainerId;
pub use process::{Pidfd, ProcessId, death_before_exec, has_executed};
pub use record::{Record, SeccompNotify, VERSION as RECORD_VERSION};
pub use status::Status;
pub use store::{Entry, LOCK_WAIT, Locked, Shared, Store};

use crate::cgroup::Before;
use crate::error::{Call, Error, Kind, Result};
use crate::plan::cgroup::CgroupPlan;

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

    /// Stops all processes in it (cgroup-v2.rst "cgroup.freeze"), waiting up to `limit` until they are.
    ///
    /// # Errors
    /// When one runs on after that, and all are let run again; when the cgroup is gone.
    fn freeze(&self, cgroup: &CgroupRecord, limit: Duration) -> Result<()>;

    /// Lets them run again, waiting up to `limit` until they do.
    ///
    /// # Errors
    /// When they are still stopped after that; when the cgroup is gone.
    fn thaw(&self, cgroup: &CgroupRecord, limit: Duration) -> Result<()>;

    /// Changes its limits; what was there before comes back, for [`Self::restore`].
    ///
    /// # Errors
    /// When the kernel refuses one of them, and nothing is changed then; when the cgroup is gone.
    fn change(&self, cgroup: &CgroupRecord, plan: &CgroupPlan) -> Result<Before>;

    /// Takes a change back because of `cause`, to which failures are attached.
    fn restore(&self, cgroup: &CgroupRecord, before: &Before, cause: &mut Error);
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

/// The container's cgroup, for those that can do nothing without.
///
/// # Errors
/// Where it has none, because none could be made.
fn own_cgroup(record: &Record) -> Result<&CgroupRecord> {
    record.cgroup.as_ref().ok_or_else(|| Error::other("the container has no cgroup of its own"))
}

/// Whether a container's init has ended, or is about to and has left its cgroup already.
fn has_ended(record: &Record) -> Result<bool> {
    record.init.map_or(Ok(true), |init| init.is_ending())
}

/// The result of an operation on what only a living container has; where that failed and the container has
/// ended meanwhile, its end is the cause, and said by `phrase`.
fn unless_ended<T>(record: &Record, phrase: &str, result: Result<T>) -> Result<T> {
    match result {
        Err(_) if has_ended(record)? => Err(Error::new(Kind::Status, phrase)),
        result => result,
    }
}

/// Locks a container that has a status that `fits`, and gives its record.
///
/// # Errors
/// Kind `Status` with `phrase` where it has another one.
fn lock_in(
    store: &Store,
    entry: Entry,
    fits: impl Fn(Status) -> bool,
    phrase: &str,
) -> Result<(Locked, Record)> {
    let check = |entry: &Entry, record: &Record| match Status::of(entry, record)? {
        status if fits(status) => Ok(()),
        _ => Err(Error::new(Kind::Status, phrase)),
    };
    // Before the lock: one that is being created is refused at once, not after a wait.
    check(&entry, &entry.record()?)?;
    let locked = entry.lock(store, LOCK_WAIT)?;
    let record = locked.record()?;
    check(&locked, &record)?;
    Ok((locked, record))
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
    use std::cell::RefCell;
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

    /// Cgroups as a test wants them; what is asked of them is noted.
    #[derive(Default)]
    pub(crate) struct Group {
        pub(crate) calls: RefCell<Vec<String>>,
        /// Who is in it; nobody after `kill`.
        pub(crate) members: RefCell<Vec<i32>>,
        /// Who joins it, one after each look at the members.
        pub(crate) unborn: RefCell<Vec<i32>>,
        /// Who is killed just before all are stopped.
        pub(crate) victim: Option<ProcessId>,
        /// Fails every call.
        pub(crate) broken: bool,
    }

    impl Group {
        fn note(&self, call: String) -> Result<()> {
            self.calls.borrow_mut().push(call);
            if self.broken { Err(crate::error::Error::other("the cgroup is broken")) } else { Ok(()) }
        }
    }

    impl Cgroups for Group {
        fn freeze(&self, _: &CgroupRecord, limit: Duration) -> Result<()> {
            if let Some(victim) = self.victim {
                let victim = victim.open()?.unwrap();
                victim.send(libc::SIGKILL)?;
                assert!(victim.wait(Duration::from_secs(10))?);
            }
            self.note(format!("freeze {}", limit.as_secs()))
        }

        fn thaw(&self, _: &CgroupRecord, limit: Duration) -> Result<()> {
            self.note(format!("thaw {}", limit.as_secs()))
        }

        fn change(&self, _: &CgroupRecord, plan: &CgroupPlan) -> Result<Before> {
            let lines: Vec<_> =
                plan.writes.iter().map(|write| format!("{}={}", write.file, write.value)).collect();
            self.note(format!("change {}", lines.join(" ")))?;
            Ok(Before::default())
        }

        fn restore(&self, _: &CgroupRecord, _: &Before, cause: &mut Error) {
            if let Err(failed) = self.note("restore".into()) {
                cause.attach(&failed);
            }
        }

        fn pids(&self, _: &CgroupRecord) -> Result<Vec<i32>> {
            self.note("pids".into())?;
            let members = self.members.borrow().clone();
            self.members.borrow_mut().extend(self.unborn.borrow_mut().pop());
            Ok(members)
        }

        fn kill(&self, _: &CgroupRecord) -> Result<()> {
            self.note("kill".into())?;
            for pid in self.members.borrow_mut().drain(..) {
                Pidfd::open(pid)?.map(|pidfd| pidfd.send(libc::SIGKILL)).transpose()?;
            }
            Ok(())
        }

        fn remove(&self, _: &CgroupRecord, limit: Duration) -> Result<()> {
            self.note(format!("remove {}", limit.as_secs()))?;
            if self.members.borrow().is_empty() {
                Ok(())
            } else {
                Err(sys::Error::new("rmdir", "", libc::EBUSY).into())
            }
        }
    }

    pub(crate) fn cgroup(mount: &Path) -> CgroupRecord {
        CgroupRecord {
            mount: mount.to_str().unwrap().into(),
            path: "web".into(),
            created: 1,
            manager: crate::cgroup::Manager::Files,
        }
    }

    /// A process in init's place, killed and reaped with the value.
    pub(crate) struct Init(std::process::Child);

    impl Init {
        /// Runs a bash script in the container's folder: one process, which needs no helper to read a byte.
        pub(crate) fn bash(entry: &Entry, script: &str) -> Self {
            let child =
                std::process::Command::new("bash").args(["-c", script]).current_dir(entry.path()).spawn();
            Self(child.unwrap())
        }

        /// The same behind the gate: `script` runs once it has opened.
        pub(crate) fn behind_gate(entry: &Entry, script: &str) -> Self {
            drop(Gate::create(entry).unwrap());
            let wait =
                "exec 3<>gate 4<>report; byte=; until [ \"$byte\" = G ]; do read -r -N1 -u3 byte; done;";
            let init = Self::bash(entry, &format!("{wait} {script}"));
            let deadline = Instant::now() + Duration::from_secs(10);
            while !gate::has_reader(entry).unwrap() {
                assert!(Instant::now() < deadline, "bash has not opened the gate");
                std::thread::sleep(Duration::from_millis(1));
            }
            init
        }

        pub(crate) fn id(&self) -> ProcessId {
            ProcessId::of(self.0.id().cast_signed()).unwrap()
        }

        /// Waits for its end: its exit status, or 128 and the signal.
        pub(crate) fn end(&mut self) -> i32 {
            let status = self.0.wait().unwrap();
            let signal = std::os::unix::process::ExitStatusExt::signal(&status);
            signal.map_or_else(|| status.code().unwrap(), |signal| 128 + signal)
        }
    }

    impl Drop for Init {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
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
