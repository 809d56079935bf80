//! `resume`: lets the processes of a paused container run again.

use crate::cli::{self, Globals};
use crate::container::group::Files;
use crate::container::{self, pause};
use crate::error::{Context, Result};
use crate::report::Log;

/// Carries out `resume`; the exit code is 0.
///
/// # Errors
/// Of [`pause::resume`], behind the name of the container.
pub fn execute(globals: &Globals, args: &cli::Resume, _log: &mut Log) -> Result<u8> {
    let step = || format!("resume {:?}", args.id);
    let (store, entry) = container::find(&globals.state_root().path, &args.id).context(step)?;
    pause::resume(&store, entry, &Files).context(step)?;
    Ok(0)
}
