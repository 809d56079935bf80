//! What is in use by commands that are under way, so that no garbage collection takes it.
//!
//! Nothing is counted: what is garbage is found by looking at all images, containers and leases, under a lock that
//! keeps new claims out. A lease is a file in `leases/` that lists digests and that its command has locked; when the
//! command ends, however it ends, the lock is gone and with it the claim. A crash therefore leaves neither too high
//! nor too low a count behind.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::error::{Context, Result};
use crate::store::folder::make_private;
use crate::store::record::{self, Lock};

/// The leases of a store.
#[derive(Clone, Debug)]
pub struct Leases {
    folder: PathBuf,
    /// Held shared for the moment of a claim, exclusively by who collects garbage.
    gate: PathBuf,
}

impl Leases {
    /// The leases below this folder, made if it is not there.
    ///
    /// # Errors
    /// The system's reason.
    pub fn open(root: &Path) -> Result<Leases> {
        let folder = root.join("leases");
        make_private(&folder)?;
        Ok(Leases { folder, gate: root.join("gc.lock") })
    }

    /// A lease of nothing yet.
    ///
    /// # Errors
    /// The system's reason.
    pub fn begin(&self) -> Result<Lease> {
        let _gate = Lock::shared(&self.gate)?;
        let path = self.folder.join(record::unique_name());
        let words = || format!("lease {path:?}");
        // A process with this id may have left one when the host went down; nobody alive has this name.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).during(words),
            _ => {}
        }
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path).during(words)?;
        file.lock().during(words)?;
        Ok(Lease { file, path, gate: self.gate.clone() })
    }

    /// Keeps the gate open: nobody collects garbage until the lock is dropped.
    ///
    /// # Errors
    /// The system's reason.
    pub fn keep_open(&self) -> Result<Lock> {
        Lock::shared(&self.gate)
    }

    /// Keeps new claims out until the lock is dropped, and tells what is claimed. Leases of commands that are gone
    /// are removed.
    ///
    /// # Errors
    /// The system's reason.
    pub fn close(&self) -> Result<(Lock, BTreeSet<Digest>)> {
        let gate = Lock::exclusive(&self.gate)?;
        let mut claimed = BTreeSet::new();
        for entry in fs::read_dir(&self.folder).during(|| format!("read {:?}", self.folder))? {
            let path = entry.during(|| format!("read {:?}", self.folder))?.path();
            let words = || format!("lease {path:?}");
            let file = match File::open(&path) {
                // Its command has just ended.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                open => open.during(words)?,
            };
            match file.try_lock() {
                // It may end, and take its file with it, at any of these calls.
                Ok(()) => match fs::remove_file(&path) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    result => result.during(words)?,
                },
                Err(TryLockError::WouldBlock) => {
                    let text = std::io::read_to_string(file).during(words)?;
                    for line in text.lines() {
                        claimed.insert(Digest::parse(line).during(words)?);
                    }
                }
                Err(TryLockError::Error(error)) => return Err(error).during(words),
            }
        }
        Ok((gate, claimed))
    }
}

/// What one command claims, until it is dropped.
#[derive(Debug)]
pub struct Lease {
    file: File,
    path: PathBuf,
    gate: PathBuf,
}

impl Lease {
    /// Claims content or layers (by chain id), whether they are there yet or not. What is there when this returns
    /// stays there.
    ///
    /// # Errors
    /// The system's reason.
    pub fn claim(&mut self, digests: &[&Digest]) -> Result<()> {
        let _gate = Lock::shared(&self.gate)?;
        let text: String = digests.iter().map(|digest| format!("{digest}\n")).collect();
        self.file.write_all(text.as_bytes()).during(|| format!("lease {:?}", self.path))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // What cannot be removed now, the next collection removes: its lock ends here.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;

    #[test]
    fn leases_may_end_while_they_are_read() {
        let scratch = Scratch::new();
        let leases = Leases::open(scratch.path()).unwrap();
        let digest = Digest::of(b"x");
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..300 {
                        leases.begin().unwrap().claim(&[&digest]).unwrap();
                    }
                });
            }
            for _ in 0..300 {
                let (gate, claimed) = leases.close().unwrap();
                assert!(claimed.iter().all(|claimed| *claimed == digest));
                drop(gate);
                std::thread::yield_now();
            }
        });
    }

    #[test]
    fn a_claim_holds_until_its_command_ends() {
        let scratch = Scratch::new();
        let leases = Leases::open(scratch.path()).unwrap();
        let digest = |number: u8| Digest::of(&[number]);
        let (mut one, mut two) = (leases.begin().unwrap(), leases.begin().unwrap());
        one.claim(&[&digest(1), &digest(2)]).unwrap();
        two.claim(&[&digest(2), &digest(3)]).unwrap();
        assert_eq!(leases.close().unwrap().1, BTreeSet::from([digest(1), digest(2), digest(3)]));
        drop(one);
        assert_eq!(leases.close().unwrap().1, BTreeSet::from([digest(2), digest(3)]));
        // As after a kill: the file is there, the lock is not.
        fs::write(scratch.join("leases/1-1"), format!("{}\n", digest(9))).unwrap();
        assert_eq!(leases.close().unwrap().1, BTreeSet::from([digest(2), digest(3)]));
        assert_eq!(fs::read_dir(scratch.join("leases")).unwrap().count(), 1);
    }

    #[test]
    fn nobody_claims_anything_while_garbage_is_collected() {
        let scratch = Scratch::new();
        let leases = Leases::open(scratch.path()).unwrap();
        let mut lease = leases.begin().unwrap();
        let digest = Digest::of(b"x");
        let (gate, claimed) = leases.close().unwrap();
        assert!(claimed.is_empty());
        let collected = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                lease.claim(&[&digest]).unwrap();
                assert!(collected.load(std::sync::atomic::Ordering::SeqCst), "the claim waited");
            });
            std::thread::sleep(std::time::Duration::from_millis(50));
            collected.store(true, std::sync::atomic::Ordering::SeqCst);
            drop(gate);
        });
        assert_eq!(leases.close().unwrap().1, BTreeSet::from([digest]));
    }
}
