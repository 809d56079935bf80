//! `pause`: stops all processes of a container.

use crate::cli::{self, Globals};
use crate::container::group::Files;
use crate::container::{self, pause};
use crate::error::{Context, Result};
use crate::report::Log;

/// Carries out `pause`; the exit code is 0.
///
/// # Errors
/// Of [`pause::pause`], behind the name of the container.
pub fn execute(globals: &Globals, args: &cli::Pause, _log: &mut Log) -> Result<u8> {
    let step = || format!("pause {:?}", args.id);
    let (store, entry) = container::find(&globals.state_root().path, &args.id).context(step)?;
    pause::pause(&store, entry, &Files).context(step)?;
    Ok(0)
}
