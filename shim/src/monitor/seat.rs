//! What a monitor has for as long as it lives: its lock, its socket, its folders. The keeper takes it, and every worker
//! that it forks has it too.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::container::ContainerId;
use crate::container::store::Containers;
use crate::error::{Context, Error, Kind, Result};
use crate::store::folder::make_private;

/// The lock of a start that is under way, in the state folder.
pub const START: &str = "start.lock";
/// How often is looked whether a lock is free.
const PAUSE: Duration = Duration::from_millis(2);

/// The container that is looked after, and what says that it is.
#[derive(Debug)]
pub struct Seat {
    /// All containers.
    pub containers: Containers,
    /// This one.
    pub id: ContainerId,
    /// Its state folder.
    pub folder: PathBuf,
    /// The same, open: the way to what has too long a path.
    pub opened: File,
    /// Held until keeper and worker have both ended.
    _lock: File,
    /// Where clients come.
    pub listener: UnixListener,
}

impl Seat {
    /// Takes the seat; None if somebody else still has it after `patience`.
    ///
    /// # Errors
    /// There is no such container; the system's reason.
    pub fn take(containers: Containers, id: ContainerId, patience: Duration) -> Result<Option<Seat>> {
        let folder = containers.state_folder(&id);
        let Some(lock) = lock(&folder, "monitor.lock", patience)? else { return Ok(None) };
        let opened = File::open(&folder).during(|| format!("open {folder:?}"))?;
        let listener = listen(&folder, &opened)?;
        Ok(Some(Seat { containers, id, folder, opened, _lock: lock, listener }))
    }

    /// Is there no such container any more?
    #[must_use]
    pub fn is_vacant(&self) -> bool {
        matches!(self.containers.get(&self.id), Ok(None))
    }

    /// Where the runtime writes the pid of the container's first process.
    #[must_use]
    pub fn pid_file(&self) -> PathBuf {
        self.folder.join("pid")
    }

    /// The pid that the runtime has written, if it has.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        fs::read_to_string(self.pid_file()).ok()?.trim().parse().ok().filter(|pid| *pid > 0)
    }

    /// The lock that a runtime has from its parent while it starts the container: whoever gets it knows that no start
    /// is under way any more. None if it takes longer than `patience`.
    ///
    /// # Errors
    /// The system's reason.
    pub fn lock_start(&self, patience: Duration) -> Result<Option<File>> {
        lock(&self.folder, START, patience)
    }

    /// Removes everything in the state folder, the lock last.
    pub fn clear(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_name() != "monitor.lock" {
                let _ = fs::remove_file(entry.path());
            }
        }
        let _ = fs::remove_file(self.folder.join("monitor.lock"));
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Takes a lock by a file in a folder that is made if need be. The one who had it may have removed both. None if it takes
/// longer than `patience`.
///
/// # Errors
/// The system's reason.
pub fn lock(folder: &Path, name: &str, patience: Duration) -> Result<Option<File>> {
    let end = Instant::now() + patience;
    let path = folder.join(name);
    let words = || format!("lock {path:?}");
    loop {
        make_private(folder)?;
        let open =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = match open {
            // The folder was removed meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && Instant::now() < end => continue,
            open => open.during(words)?,
        };
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() >= end => return Ok(None),
                Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
                Err(TryLockError::Error(error)) => return Err(error).during(words),
            }
        }
        let stat = file.metadata().during(words)?;
        if fs::metadata(&path).is_ok_and(|there| (there.dev(), there.ino()) == (stat.dev(), stat.ino())) {
            return Ok(Some(file));
        }
        if Instant::now() >= end {
            return Err(Error::new(Kind::Unavailable, "it is removed again and again")).during(words);
        }
    }
}

fn listen(folder: &Path, opened: &File) -> Result<UnixListener> {
    let path = folder.join("socket");
    let words = || format!("listen at {path:?}");
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).during(words),
        _ => {}
    }
    // A path of a socket has room for 107 bytes (unix(7)).
    let short = format!("/proc/self/fd/{}/socket", opened.as_fd().as_raw_fd());
    let listener = UnixListener::bind(short).during(words)?;
    listener.set_nonblocking(true).during(words)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;

    #[test]
    fn a_lock_is_ones_own_until_it_is_dropped_even_if_its_file_was_removed() {
        let scratch = Scratch::new();
        let folder = scratch.join("x");
        let first = lock(&folder, "lock", Duration::ZERO).unwrap().unwrap();
        assert!(lock(&folder, "lock", Duration::from_millis(5)).unwrap().is_none());
        let waiting = std::thread::spawn({
            let folder = folder.clone();
            move || lock(&folder, "lock", Duration::from_secs(60)).unwrap().unwrap()
        });
        std::thread::sleep(Duration::from_millis(20));
        fs::remove_dir_all(&folder).unwrap();
        drop(first);
        let second = waiting.join().unwrap();
        assert!(
            lock(&folder, "lock", Duration::from_millis(5)).unwrap().is_none(),
            "the second has the new one"
        );
        drop(second);
    }
}
