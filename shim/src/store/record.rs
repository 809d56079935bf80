//! Small JSON files that are whole at any moment, and locks between processes.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Context, Error, Kind, Result};

/// What is short for a record, in bytes.
const SHORT: usize = 16 << 10;

/// A name that nobody else uses at this moment, in whatever process.
#[must_use]
pub fn unique_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Writes a record so that a reader, or whoever comes after a crash, sees the old one or the new one. Whoever writes a
/// record holds a lock that keeps others from writing the same one.
///
/// # Errors
/// The system's reason; the old record stays.
pub fn write<T: Serialize>(path: &Path, record: &T) -> Result<()> {
    let words = || format!("write {path:?}");
    let bytes =
        serde_json::to_vec(record).map_err(|error| Error::invalid(error.to_string())).during(words)?;
    write_bytes(path, &bytes).during(words)
}

/// As [`write`], for bytes.
///
/// # Errors
/// As there.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, bytes, true)
}

/// As [`write`], without waiting for the disk: a crash of the host may take the record, or leave an empty one.
///
/// # Errors
/// As there.
pub fn write_fast<T: Serialize>(path: &Path, record: &T) -> Result<()> {
    let words = || format!("write {path:?}");
    let bytes =
        serde_json::to_vec(record).map_err(|error| Error::invalid(error.to_string())).during(words)?;
    write_bytes_fast(path, &bytes).during(words)
}

/// As [`write_fast`], for bytes.
///
/// # Errors
/// As there.
pub fn write_bytes_fast(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, bytes, false)
}

fn replace(path: &Path, bytes: &[u8], lasting: bool) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = folder.join(format!(".new-{name}"));
    // One that was killed has left it here, and only here: the next one takes it away.
    let _ = fs::remove_file(&new);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        if lasting {
            // Or a crash of the host could leave the name with nothing behind it.
            file.sync_all()?;
        }
        fs::rename(&new, path)?;
        if lasting { File::open(folder)?.sync_all() } else { Ok(()) }
    })();
    written.map_err(|error: std::io::Error| {
        let _ = fs::remove_file(&new);
        error.into()
    })
}

/// Reads a record; None if there is none.
///
/// # Errors
/// One that is not of this form, or the system's reason.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let words = || format!("read {path:?}");
    match contents(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| Error::invalid(error.to_string()))
            .during(words),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).during(words),
    }
}

/// All of a file; a short one, as most records are, by one read(2): whoever lists containers reads hundreds.
fn contents(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = vec![0; SHORT];
    let count = file.read(&mut bytes)?;
    bytes.truncate(count);
    if count == SHORT {
        file.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// A lock between processes, which ends with this value or the process, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until nobody else has the lock in any way.
    ///
    /// # Errors
    /// The system's reason.
    pub fn exclusive(path: &Path) -> Result<Lock> {
        Lock::take(path, File::lock)
    }

    /// The same where there is such a lock; its file is not made.
    ///
    /// # Errors
    /// The system's reason.
    pub fn known(path: &Path) -> Result<Option<Lock>> {
        match Lock::take_open(path, File::lock, open_known) {
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            taken => taken.map(Some),
        }
    }

    /// Waits until nobody has the lock exclusively.
    ///
    /// # Errors
    /// The system's reason.
    pub fn shared(path: &Path) -> Result<Lock> {
        Lock::take(path, File::lock_shared)
    }

    /// Takes the lock if nobody else has it in any way; None otherwise.
    ///
    /// # Errors
    /// The system's reason.
    pub fn try_exclusive(path: &Path) -> Result<Option<Lock>> {
        let words = || format!("lock {path:?}");
        let file = open_lock(path).during(words)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).during(words),
        }
    }

    fn take(path: &Path, lock: impl Fn(&File) -> std::io::Result<()>) -> Result<Lock> {
        Lock::take_open(path, lock, open_lock)
    }

    fn take_open(
        path: &Path,
        lock: impl Fn(&File) -> std::io::Result<()>,
        open: impl Fn(&Path) -> std::io::Result<File>,
    ) -> Result<Lock> {
        let words = || format!("lock {path:?}");
        let file = open(path).during(words)?;
        loop {
            match lock(&file) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                result => return result.map(|()| Lock { _file: file }).during(words),
            }
        }
    }
}

fn open_known(path: &Path) -> std::io::Result<File> {
    File::open(path)
}

fn open_lock(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;

    #[test]
    fn a_record_is_read_as_it_was_written_and_replaced_whole() {
        let scratch = Scratch::new();
        let path = scratch.join("record.json");
        assert_eq!(read::<Vec<u32>>(&path).unwrap(), None);
        write(&path, &vec![1, 2]).unwrap();
        write(&path, &vec![3]).unwrap();
        assert_eq!(read::<Vec<u32>>(&path).unwrap(), Some(vec![3]));
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1, "nothing is left beside it");
        fs::write(&path, "[").unwrap();
        assert!(read::<Vec<u32>>(&path).unwrap_err().to_string().contains("record.json"));
        assert!(write(&scratch.join("no/folder"), &1).unwrap_err().to_string().contains("No such file"));
    }

    #[test]
    fn an_exclusive_lock_keeps_others_out_until_it_is_dropped() {
        let scratch = Scratch::new();
        let path = scratch.join("lock");
        let counter = std::sync::Mutex::new(0_u32);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _lock = Lock::exclusive(&path).unwrap();
                        let mut counter = counter.try_lock().expect("nobody else is here");
                        *counter += 1;
                        std::thread::yield_now();
                    }
                });
            }
        });
        assert_eq!(*counter.lock().unwrap(), 400);
        let (one, two) = (Lock::shared(&path).unwrap(), Lock::shared(&path).unwrap());
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        drop((one, two));
        assert!(Lock::try_exclusive(&path).unwrap().is_some());
        assert!(Lock::known(&path).unwrap().is_some());
        let other = scratch.join("other");
        assert!(Lock::known(&other).unwrap().is_none() && !other.exists());
    }
}
