//! Folders of the tests' own, under the system's folder for temporary files, gone with the value.
//!
//! Removal never crosses a mount: what is mounted below is taken off first, and where that fails nothing is
//! removed, since a bind mount may lead to the host's own files.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::mount::{MntFlags, umount2};

/// What every name of the tests on this host begins with: folders, container ids and, through those,
/// cgroups. `CAISSON_TEST_MARK` sets another, so that one run among several can be watched for leaks.
#[must_use]
pub fn mark() -> &'static str {
    static MARK: OnceLock<String> = OnceLock::new();
    MARK.get_or_init(|| {
        let named = std::env::var("CAISSON_TEST_MARK").unwrap_or_default();
        if named.is_empty() { "caisson-test-".to_owned() } else { named }
    })
}

/// A name no other test of any process uses at this time.
pub(crate) fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}{}-{}", mark(), std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A private folder (mode 0700).
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes a folder of a unique name.
    #[must_use]
    #[track_caller]
    pub fn new() -> Scratch {
        Scratch::below(&std::env::temp_dir())
    }

    /// The same in memory, where there is a place for it: for what would wait for a disk all the time, which others
    /// use too.
    #[must_use]
    #[track_caller]
    pub fn in_memory() -> Scratch {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Scratch::below(memory) } else { Scratch::new() }
    }

    #[track_caller]
    fn below(parent: &Path) -> Scratch {
        // The kernel reports resolved paths in mountinfo; so are ours, or mounts below would be missed.
        let parent = parent.canonicalize().expect("folder for temporary files");
        let path = parent.join(unique_name());
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.unwrap_or_else(|error| panic!("create {}: {error}", path.display()));
        Scratch { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for destination in mounts_below(&self.path).iter().rev() {
            let _ = umount2(destination, MntFlags::MNT_DETACH);
        }
        let left = mounts_below(&self.path);
        let removed = if left.is_empty() {
            fs::remove_dir_all(&self.path).map_err(|error| error.to_string())
        } else {
            Err(format!("still mounted: {left:?}"))
        };
        if let Err(error) = removed
            && !std::thread::panicking()
        {
            panic!("remove {}: {error}", self.path.display());
        }
    }
}

/// Where something is mounted in this mount namespace at or below a folder, in the order of mounting.
fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("read /proc/self/mountinfo");
    let entries = mounts.lines().filter_map(crate::MountEntry::parse);
    entries.map(|entry| entry.destination).filter(|path| path.starts_with(folder)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::mount::{MsFlags, mount};

    #[test]
    fn a_folder_is_removed_with_what_is_in_it() {
        let scratch = Scratch::new();
        let path = scratch.path().to_owned();
        fs::write(path.join("file"), "x").unwrap();
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn removal_does_not_follow_a_bind_mount() {
        if !crate::is_root() {
            crate::skip!("mounting needs root");
        }
        let precious = Scratch::new();
        fs::write(precious.path().join("file"), "x").unwrap();
        let scratch = Scratch::new();
        let inside = scratch.path().join("bind");
        fs::create_dir(&inside).unwrap();
        mount(Some(precious.path()), &inside, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
        assert!(precious.path().join("file").exists());
    }
}
