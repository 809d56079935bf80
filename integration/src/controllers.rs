//! Controllers of cgroup v2 that a test lets the runtime switch on.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cgroup2_mount;

/// The runtime switches controllers on in the root of the hierarchy and leaves them on. Here they go off again
/// when the value goes, those that were off; one test at a time.
#[derive(Debug)]
pub struct Controllers {
    file: PathBuf,
    before: String,
    _alone: MutexGuard<'static, ()>,
}

impl Controllers {
    /// Remembers what is on now.
    #[must_use]
    #[track_caller]
    pub fn keep() -> Controllers {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let file = cgroup2_mount().expect("a mount of cgroup v2").join("cgroup.subtree_control");
        let before = fs::read_to_string(&file).expect("read the root's cgroup.subtree_control");
        Controllers { file, before, _alone: alone }
    }
}

impl Drop for Controllers {
    fn drop(&mut self) {
        let now = fs::read_to_string(&self.file).unwrap_or_default();
        for controller in now.split_whitespace() {
            if !self.before.split_whitespace().any(|word| word == controller) {
                // Where another program uses it by now, it stays on.
                let _ = fs::write(&self.file, format!("-{controller}"));
            }
        }
    }
}
