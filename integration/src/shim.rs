//! The shim under test, with folders of its own.
//!
//! `SHIM_UNDER_TEST` names the binary (an absolute path); otherwise it is the `shim` that cargo put beside the test
//! executable. It is not built from here: `cargo build -p shim` comes first.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::under_test::program;
use crate::{Call, Output, Scratch};

/// The path of the shim under test. Panics when there is none.
#[must_use]
pub fn shim_under_test() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| program("SHIM_UNDER_TEST", "shim"))
}

/// A shim whose images are nobody else's. All of it is gone with the value.
#[derive(Debug)]
pub struct Shim {
    scratch: Scratch,
}

impl Shim {
    /// One without images.
    #[must_use]
    #[track_caller]
    pub fn new() -> Shim {
        Shim { scratch: Scratch::new() }
    }

    /// The same in memory: syncfs(2) waits for all that anybody writes to a disk.
    #[must_use]
    #[track_caller]
    pub fn in_memory() -> Shim {
        Shim { scratch: Scratch::in_memory() }
    }

    /// A folder for whatever a test needs beside the shim's own.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// What `--root` says: images, layers.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.scratch.path().join("root")
    }

    /// What `--state` says: what ends with the host's uptime.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.scratch.path().join("state")
    }

    /// A call of its command line: the global flags for its folders, then these words.
    #[must_use]
    pub fn call<S: AsRef<OsStr>>(&self, args: &[S]) -> Call {
        let folders = ["--root".into(), self.root(), "--state".into(), self.state()];
        Call::of(shim_under_test()).args(folders).shown_as("shim").args(args)
    }

    /// A command, run to its end.
    #[track_caller]
    pub fn cli<S: AsRef<OsStr>>(&self, args: &[S]) -> Output {
        self.call(args).output()
    }

    /// What a command prints that has to succeed without complaints.
    #[track_caller]
    pub fn stdout<S: AsRef<OsStr>>(&self, args: &[S]) -> String {
        self.cli(args).expect_ok().expect_no_stderr().stdout
    }

    /// Loads an archive.
    #[track_caller]
    pub fn load(&self, archive: &Path) {
        self.cli(&["load".as_ref(), "--input".as_ref(), archive.as_os_str()]).expect_ok();
    }
}

impl Default for Shim {
    fn default() -> Self {
        Shim::new()
    }
}
