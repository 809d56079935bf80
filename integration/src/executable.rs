//! Files that will be executed, in a process of many threads.
//!
//! execve(2) refuses a file that somebody has open for writing (ETXTBSY). A thread that starts a program
//! copies all descriptors into the new process, where they live until that executes its own program: also
//! those of files that other threads are just writing. So no program is started while one is written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

static STARTS: RwLock<()> = RwLock::new(());

/// Runs `write`, which opens and closes files for writing, while nobody starts a program.
pub(crate) fn written<T>(write: impl FnOnce() -> T) -> T {
    // A panic elsewhere leaves nothing half done that matters here.
    let _nobody = STARTS.write().unwrap_or_else(PoisonError::into_inner);
    write()
}

/// Writes a script that can be executed.
#[track_caller]
pub fn write_program(path: &Path, text: &str) {
    written(|| {
        fs::write(path, text).expect("write a program");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod a program");
    });
}

/// Runs `start`, which returns when the new process executes its program, while nobody writes one.
pub(crate) fn started<T>(start: impl FnOnce() -> T) -> T {
    let _others_too = STARTS.read().unwrap_or_else(PoisonError::into_inner);
    start()
}
