//! The folders in which containers are remembered: one per container below the state root, 0700.
//!
//! A container's folder holds `state.json` (its [`Record`], replaced by rename so that a reader sees the old
//! one or the new one whole), the `config.json` it was made of, and the FIFOs of its [`super::Gate`]; nothing else. Whoever changes a container
//! holds an flock(2) on its folder; readers do not lock, because hooks call `state` while `create` holds the
//! lock. A crash leaves at worst a folder without a whole record: it is reported as stale, and
//! `delete --force` removes it. Everything below the root is reached by descriptor (openat(2)), without
//! following links.

use std::fs::{DirBuilder, File};
use std::io::{Read, Write};
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::{ContainerId, Record, gate, sweep};
use crate::error::{Call, Context, Error, Kind, Result};
use crate::kernel::mount;
use crate::spec;

/// The record's name, and the name it has while it is written.
const RECORD: &str = "state.json";
const NEW_RECORD: &str = "state.json.new";
/// The container's config.json as `create` read it: `exec` goes by that, whatever becomes of the bundle.
const CONFIG: &str = "config.json";
/// No record is as large; a longer file is not ours.
const RECORD_MAX_BYTES: u64 = 16 << 20;
/// How long an operation waits for another one on the same container.
pub const LOCK_WAIT: Duration = Duration::from_secs(10);

/// The state root.
#[derive(Debug)]
pub struct Store {
    dir: OwnedFd,
    path: PathBuf,
}

impl Store {
    /// Opens the state root; with `create` it is made, and its parents, where missing (0700).
    ///
    /// # Errors
    /// Kind `NotFound` without `create` where there is none; a root that is a link, or that others own or may
    /// write to.
    pub fn open(root: &Path, create: bool) -> Result<Self> {
        let refused = root.as_os_str().is_empty() || root.components().all(|part| part.as_os_str() == "/");
        if refused {
            return Err(Error::new(Kind::Usage, format!("--root {root:?} cannot hold containers")));
        }
        // Without a slash at the end, which would make the kernel follow a link all the same.
        let path: PathBuf = root.components().collect();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut opened = rustix::fs::open(&path, flags, Mode::empty());
        if create && matches!(opened, Err(Errno::NOENT)) {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .call("mkdir", || format!("{root:?}"))?;
            opened = rustix::fs::open(&path, flags, Mode::empty());
        }
        let dir = match opened {
            Err(Errno::NOENT) if !create => return Err(does_not_exist()),
            Err(Errno::NOTDIR | Errno::LOOP) if path.is_symlink() => {
                crate::bail!("state root {root:?} is a symbolic link")
            }
            opened => opened.call("open", || format!("{root:?}")).context(|| "state root")?,
        };
        let stat = rustix::fs::fstat(&dir).call("fstat", || format!("{root:?}"))?;
        let user = rustix::process::geteuid().as_raw();
        if stat.st_uid != user {
            crate::bail!("state root {root:?} belongs to user {}, not to {user}", stat.st_uid);
        }
        if stat.st_mode & 0o022 != 0 {
            let mode = stat.st_mode & 0o7777;
            crate::bail!("state root {root:?} has mode {mode:04o}: others may write to it");
        }
        Ok(Self { dir, path })
    }

    /// Refuses a folder to have the root in that is somebody else's, who could exchange what is below it. One that
    /// is not there is nobody's.
    ///
    /// # Errors
    /// Whose it is.
    pub fn check_owner(folder: &Path) -> Result<()> {
        let owner = match rustix::fs::stat(folder) {
            Ok(stat) => stat.st_uid,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno).call("stat", || format!("{folder:?}")),
        };
        let user = rustix::process::geteuid().as_raw();
        if owner != user {
            crate::bail!("{folder:?} belongs to user {owner}, not to {user}");
        }
        Ok(())
    }

    /// Gives the root the sticky bit, which keeps it from being cleaned away below $XDG_RUNTIME_DIR.
    pub fn keep_from_cleaning(&self) -> Result<()> {
        let at = || format!("{:?}", self.path);
        let mode = rustix::fs::fstat(&self.dir).call("fstat", at)?.st_mode & 0o7777;
        if mode & 0o1000 != 0 {
            return Ok(());
        }
        rustix::fs::fchmod(&self.dir, Mode::from_raw_mode(mode | 0o1000)).call("fchmod", at)
    }

    /// Makes the folder of a new container and locks it.
    ///
    /// # Errors
    /// Kind `Exists` where the id is taken.
    pub fn create(&self, id: &ContainerId) -> Result<Locked> {
        loop {
            let path = self.path.join(id.as_str());
            match rustix::fs::mkdirat(&self.dir, id.as_str(), Mode::RWXU) {
                Err(Errno::EXIST) => {
                    let phrase = "container with given ID already exists";
                    return Err(Error::new(Kind::Exists, phrase));
                }
                result => result.call("mkdir", || format!("{path:?}"))?,
            }
            // `delete --force` of a stale folder may have been faster than our lock: then once more.
            match self.entry(id).and_then(|entry| entry.lock(self, LOCK_WAIT)) {
                Err(error) if error.kind() == Kind::NotFound => {}
                result => return result,
            }
        }
    }

    /// Opens the folder of a container, without locking it.
    ///
    /// # Errors
    /// Kind `NotFound` with the phrase "container does not exist".
    pub fn entry(&self, id: &ContainerId) -> Result<Entry> {
        let path = self.path.join(id.as_str());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.dir, id.as_str(), flags, Mode::empty()) {
            Ok(dir) => Ok(Entry { dir: Rc::new(dir), id: id.clone(), path }),
            Err(Errno::NOENT) => Err(does_not_exist()),
            Err(errno) => Err(errno).call("open", || format!("{path:?}")),
        }
    }

    /// The ids of all folders, sorted. What is no folder or has no valid name is not a container.
    pub fn ids(&self) -> Result<Vec<ContainerId>> {
        let at = || format!("{:?}", self.path);
        let mut ids = Vec::new();
        for item in Dir::read_from(&self.dir).call("open", at)? {
            let item = item.call("getdents64", at)?;
            let folder = matches!(item.file_type(), FileType::Directory | FileType::Unknown);
            if let (true, Ok(name)) = (folder, item.file_name().to_str())
                && let Ok(id) = ContainerId::parse(name)
            {
                ids.push(id);
            }
        }
        ids.sort();
        Ok(ids)
    }
}

/// A folder without a record that has changed more recently is taken for one that is just being made.
const YOUTH_SECONDS: i64 = 2;

fn seconds_since(time: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(time)
}

/// Not of the kind that `delete --force` is content with: it waits, and takes away what comes to be.
fn busy() -> Error {
    Error::other("container does not exist yet, or not any more: another process is making or deleting it")
}

fn does_not_exist() -> Error {
    Error::new(Kind::NotFound, "container does not exist")
}

/// The open folder of a container.
#[derive(Debug)]
pub struct Entry {
    dir: Rc<OwnedFd>,
    id: ContainerId,
    path: PathBuf,
}

impl Entry {
    /// The container's id.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// For a fresh clone of this process that never returns to it, as the first thing it does: closes its copy of the
    /// folder. If this process is killed, nobody else keeps the container locked then, also not a clone that somebody
    /// has stopped.
    pub fn close_in_clone(&self) {
        sys::fd::close_in_clone(self.dir.as_fd());
    }

    /// The folder's path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The record as it is now.
    ///
    /// # Errors
    /// Kind `NotFound` when the container has just been deleted; kind `Status` for a record of another
    /// version; kind `Other` for a stale folder, which only `delete --force` can do something about.
    pub fn record(&self) -> Result<Record> {
        match self.read_record()? {
            Some(record) => Ok(record),
            None => self.without_record(),
        }
    }

    /// The record, `None` where there is none.
    fn read_record(&self) -> Result<Option<Record>> {
        let path = self.path.join(RECORD);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(&self.dir, RECORD, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno).call("open", || format!("{path:?}")),
        };
        let mut bytes = Vec::with_capacity(4096);
        file.take(RECORD_MAX_BYTES).read_to_end(&mut bytes).call("read", || format!("{path:?}"))?;
        let record = match Record::parse(&bytes, &path) {
            Ok(record) if record.id == self.id => return Ok(Some(record)),
            Ok(record) => {
                Error::other(format!("{} is of container {:?}", path.display(), record.id.as_str()))
            }
            Err(error) if error.kind() == Kind::Status => return Err(error),
            Err(error) => error,
        };
        Err(record.context("container is stale (delete --force removes it)"))
    }

    /// Why there was no record a moment ago: deleted this moment, just being made, or left by a crash.
    fn without_record(&self) -> Result<Record> {
        if self.stat()?.st_nlink == 0 {
            return Err(does_not_exist());
        }
        // By a descriptor of its own: flock(2) on ours would turn a lock we hold into another.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let lock = rustix::fs::openat(&self.dir, ".", flags, Mode::empty()).and_then(|dir| {
            rustix::fs::flock(&dir, FlockOperation::NonBlockingLockShared)?;
            rustix::fs::flock(&dir, FlockOperation::Unlock)
        });
        if lock == Err(Errno::AGAIN) {
            return Err(busy());
        }
        // Whoever was at it may have come to the end of it between our look and the lock.
        if let Some(record) = self.read_record()? {
            return Ok(record);
        }
        match self.stat()? {
            stat if stat.st_nlink == 0 => Err(does_not_exist()),
            // Between mkdir(2) and the lock.
            stat if seconds_since(stat.st_mtime) < YOUTH_SECONDS => Err(busy()),
            _ => Err(self.stale()),
        }
    }

    fn stat(&self) -> Result<rustix::fs::Stat> {
        rustix::fs::fstat(&self.dir).call("fstat", || format!("{:?}", self.path))
    }

    fn stale(&self) -> Error {
        Error::other(format!(
            "container is stale (delete --force removes it): {} has no {RECORD}",
            self.path.display()
        ))
    }

    /// Locks the container against other changes, waiting up to `limit`.
    ///
    /// # Errors
    /// Kind `NotFound` when the container was deleted meanwhile (another of its name may exist by now); a
    /// message that names the creator when the time is over.
    pub fn lock(self, store: &Store, limit: Duration) -> Result<Locked> {
        self.flock(FlockOperation::NonBlockingLockExclusive, limit)?;
        let locked = Locked(self);
        if locked.is_current(store)? { Ok(locked) } else { Err(does_not_exist()) }
    }

    /// Keeps others from changing the container, waiting up to `limit`, but not from doing the same.
    ///
    /// # Errors
    /// As [`Entry::lock`].
    pub fn share(&self, store: &Store, limit: Duration) -> Result<Shared<'_>> {
        self.flock(FlockOperation::NonBlockingLockShared, limit)?;
        let shared = Shared(self);
        if self.is_current(store)? { Ok(shared) } else { Err(does_not_exist()) }
    }

    fn flock(&self, operation: FlockOperation, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        let mut pause = Duration::from_millis(1);
        loop {
            match rustix::fs::flock(&self.dir, operation) {
                Ok(()) => return Ok(()),
                Err(Errno::AGAIN) if Instant::now() < deadline => {
                    sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(50));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(self.held(limit)),
                Err(errno) => return Err(errno).call("flock", || format!("{:?}", self.path)),
            }
        }
    }

    /// Whether the folder is still the one of that name.
    fn is_current(&self, store: &Store) -> Result<bool> {
        let at = || format!("{:?}", self.path);
        let ours = rustix::fs::fstat(&self.dir).call("fstat", at)?;
        match rustix::fs::statat(&store.dir, self.id.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) => Ok(named.st_dev == ours.st_dev && named.st_ino == ours.st_ino),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno).call("fstatat", at),
        }
    }

    /// The config.json that the container was made of.
    ///
    /// # Errors
    /// As open(2) and read(2): ENOENT for a container that an older runtime has made.
    pub fn config(&self) -> Result<Vec<u8>> {
        let path = self.path.join(CONFIG);
        let at = || format!("{path:?}");
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(rustix::fs::openat(&self.dir, CONFIG, flags, Mode::empty()).call("open", at)?);
        let mut bytes = Vec::with_capacity(32 << 10);
        file.take(spec::LARGEST).read_to_end(&mut bytes).call("read", at)?;
        Ok(bytes)
    }

    /// The error of a lock that was not to be had.
    fn held(&self, limit: Duration) -> Error {
        let creator = match self.record() {
            Ok(record) if record.creating => format!("process {}, which creates it", record.creator.pid),
            _ => "another process".to_owned(),
        };
        Error::other(format!("container is locked by {creator}; gave up after {} s", limit.as_secs()))
    }
}

/// Where the root file system is mounted for CRIU while it restores the container.
const CRIU_ROOT: &str = "criu-root";

impl Entry {
    /// Mounts `tree` in the container's folder for CRIU, which wants its root to be a mount point; returns where.
    ///
    /// # Errors
    /// As mkdirat(2) and move_mount(2).
    pub fn hold_root(&self, tree: BorrowedFd<'_>) -> Result<PathBuf> {
        let path = self.path.join(CRIU_ROOT);
        let at = || format!("{path:?}");
        rustix::fs::mkdirat(&self.dir, CRIU_ROOT, Mode::RWXU).call("mkdir", at)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = rustix::fs::openat(&self.dir, CRIU_ROOT, flags, Mode::empty()).call("open", at)?;
        mount::attach(tree, target.as_fd()).context(at)?;
        Ok(path)
    }

    /// Takes what [`Self::hold_root`] has mounted away again, if it is there.
    ///
    /// # Errors
    /// As umount2(2) and unlinkat(2).
    pub fn release_root(&self) -> Result<()> {
        let path = self.path.join(CRIU_ROOT);
        let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        match rustix::mount::unmount(&path, flags) {
            // INVAL: nothing is mounted there.
            Ok(()) | Err(Errno::NOENT | Errno::INVAL) => {}
            Err(errno) => return Err(errno).call("umount2", || format!("{path:?}, MNT_DETACH")),
        }
        match rustix::fs::unlinkat(&self.dir, CRIU_ROOT, AtFlags::REMOVEDIR) {
            // Somebody's file of that name is for the sweep.
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            Err(errno) => Err(errno).call("rmdir", || format!("{path:?}")),
        }
    }
}

impl AsFd for Entry {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// A container that no other process changes until this value is dropped.
///
/// A cloned child shares the lock: it must close the descriptor ([`Entry::close_in_clone`]) before it does anything
/// else. Dropping this value unlocks for the child too.
#[derive(Debug)]
pub struct Locked(Entry);

impl Locked {
    /// The record as it is, and stays until this value is dropped; errors as [`Entry::record`].
    pub fn record(&self) -> Result<Record> {
        self.read_record()?.ok_or_else(|| self.stale())
    }

    /// Keeps the config.json that the container is made of.
    ///
    /// # Errors
    /// As open(2) and write(2); EEXIST where there is one.
    pub fn keep_config(&self, bytes: &[u8]) -> Result<()> {
        let path = self.path.join(CONFIG);
        let at = || format!("{path:?}");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, CONFIG, flags, Mode::RUSR | Mode::WUSR).call("open", at)?;
        File::from(file).write_all(bytes).call("write", at)
    }

    /// Lets others change the container; the folder stays open.
    pub fn unlock(self) -> Entry {
        let Entry { dir, id, path } = &self.0;
        Entry { dir: Rc::clone(dir), id: id.clone(), path: path.clone() }
    }

    /// Replaces the record in one step.
    pub fn write(&self, record: &Record) -> Result<()> {
        let bytes = record.to_bytes()?;
        let path = self.path.join(NEW_RECORD);
        let at = || format!("{path:?}");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            rustix::fs::openat(&self.dir, NEW_RECORD, flags, Mode::RUSR | Mode::WUSR).call("open", at)?;
        // Not synced: containers do not outlive the kernel, and an empty file after a crash is just stale.
        File::from(file).write_all(&bytes).call("write", at)?;
        rustix::fs::renameat(&self.dir, NEW_RECORD, &self.dir, RECORD)
            .call("rename", || format!("{path:?}, {RECORD:?}"))
    }

    /// Removes the folder with all that is in it.
    ///
    /// What belongs there goes first, the record last of that: after a crash in between, either the record is
    /// still there or the folder is stale, and `delete --force` removes it. What does not belong there costs a
    /// look only when it is there.
    ///
    /// # Errors
    /// The call that failed, on which name; a mount point inside is one.
    pub fn remove(self, store: &Store) -> Result<()> {
        for name in [gate::GATE, gate::REPORT, CONFIG, RECORD] {
            match rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()) {
                // Somebody's folder of that name: the sweep below is for it.
                Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => {}
                Err(errno) => return Err(errno).call("unlink", || format!("{:?}", self.path.join(name))),
            }
        }
        if self.remove_folder(store)? {
            return Ok(());
        }
        self.release_root()?;
        sweep::clear(self.dir.as_fd(), &self.path)?;
        if self.remove_folder(store)? {
            return Ok(());
        }
        Err(sys::Error::new("rmdir", format!("{:?}", self.path), libc::ENOTEMPTY).into())
    }

    /// Removes the empty folder; `false` when it is not empty.
    fn remove_folder(&self, store: &Store) -> Result<bool> {
        match rustix::fs::unlinkat(&store.dir, self.id.as_str(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(errno) => Err(errno).call("rmdir", || format!("{:?}", self.path)),
        }
    }
}

/// A container that no other process changes until this value is dropped, though others may hold it so too. As
/// with [`Locked`], a cloned child has to close the descriptor.
#[derive(Debug)]
pub struct Shared<'a>(&'a Entry);

impl Deref for Shared<'_> {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        self.0
    }
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.0.dir, FlockOperation::Unlock); // as for `Locked`
    }
}

impl Deref for Locked {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.0
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing alone unlocks only when no child has a copy of the descriptor. It cannot fail on one that is
        // open and locked.
        let _ = rustix::fs::flock(&self.0.dir, FlockOperation::Unlock);
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
