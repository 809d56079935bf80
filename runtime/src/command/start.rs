//! `start`: runs the program of a created container.

use crate::cli::{self, Globals};
use crate::container::group::Files;
use crate::container::{self, start};
use crate::error::{Context, Result};
use crate::report::Log;

/// Carries out `start`; the exit code is 0.
///
/// # Errors
/// Of [`start::start`], behind the name of the container.
pub fn execute(globals: &Globals, args: &cli::Start, log: &mut Log) -> Result<u8> {
    let (store, entry) = container::find(&globals.state_root().path, &args.id).context(|| title(&args.id))?;
    start::start(&store, entry, &Files, &mut |warning| log.warning(warning.to_string()))
        .context(|| title(&args.id))?;
    Ok(0)
}

fn title(id: &str) -> String {
    format!("start {id:?}")
}
