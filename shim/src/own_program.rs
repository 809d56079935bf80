//! This program, executed anew with a hidden command, to look after something: a monitor, a proxy, the way out, a holder. Some are
//! on record before they begin, so that one that nobody knows of is never there.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::container::process::ProcessId;
use crate::container::store::Containers;
use crate::error::{Error, Result};

/// What is behind the last word when the process is on record.
const RECORDED: &[u8] = b"\n\n";

/// It, with nothing of the caller's environment and folder.
#[must_use]
pub fn command() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("shim").env_clear().current_dir("/");
    command
}

/// The global flags that lead it to the same containers.
#[must_use]
pub fn words(containers: &Containers) -> [OsString; 4] {
    ["--root".into(), containers.root().into(), "--state".into(), containers.state_root().into()]
}

/// Tells a process that was started, with a pipe as its standard input, what it needs to know, has it recorded, and lets it
/// begin. Where that fails it is gone.
///
/// # Errors
/// It has ended; those of recording it; the system's reason.
pub fn begin(
    child: &mut Child,
    told: &impl Serialize,
    record: impl FnOnce(ProcessId) -> Result<()>,
) -> Result<ProcessId> {
    let begun = (|| {
        let told = serde_json::to_vec(told).map_err(|error| Error::invalid(error.to_string()))?;
        let mut stdin = child.stdin.take().ok_or_else(|| Error::invalid("no standard input"))?;
        stdin.write_all(&told)?;
        let pid = i32::try_from(child.id()).unwrap_or_default();
        let process = ProcessId::of(pid).ok_or_else(|| Error::not_found("it has ended at once"))?;
        record(process)?;
        // Now that it is on record, it may begin; without this it ends.
        stdin.write_all(RECORDED)?;
        Ok(process)
    })();
    if begun.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    begun
}

/// What [`begin`] tells this process, of so many bytes at most. None if whoever has started it was killed before it was on
/// record.
///
/// # Errors
/// No JSON of this kind; the system's reason.
pub fn told<T: DeserializeOwned>(max: u64) -> Result<Option<T>> {
    let mut text = Vec::new();
    std::io::stdin().lock().take(max).read_to_end(&mut text)?;
    let Some(text) = text.strip_suffix(RECORDED) else { return Ok(None) };
    serde_json::from_slice(text).map(Some).map_err(|error| Error::invalid(error.to_string()))
}
