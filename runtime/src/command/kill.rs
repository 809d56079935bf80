//! `kill`: sends a signal to a container.

use crate::cli::{self, Globals};
use crate::container::group::Files;
use crate::container::{self, signal};
use crate::error::{Context, Result};
use crate::report::Log;

/// Carries out `kill`; the exit code is 0.
///
/// # Errors
/// `unknown signal "X"`, "container not running", and what the store and the kernel refuse.
pub fn execute(globals: &Globals, args: &cli::Kill, _log: &mut Log) -> Result<u8> {
    kill(globals, args).context(|| format!("kill {:?}", args.id))?;
    Ok(0)
}

fn kill(globals: &Globals, args: &cli::Kill) -> Result<()> {
    let number = signal::parse(&args.signal)?;
    let (_store, entry) = container::find(&globals.state_root().path, &args.id)?;
    signal::kill(&entry, number, args.all, &Files)
}
