//! `ps`: shows the processes of a container.

use crate::cli::{self, Globals, ListFormat};
use crate::container::group::Files;
use crate::container::{self, ps};
use crate::error::{Context, Error, Result};
use crate::report::{Log, to_stdout};

/// Carries out `ps`; the exit code is 0.
///
/// # Errors
/// Of [`ps::pids`] and [`ps::table`], behind the name of the container.
pub fn execute(globals: &Globals, args: &cli::Ps, _log: &mut Log) -> Result<u8> {
    to_stdout(text(globals, args).context(|| format!("ps {:?}", args.id))?.as_bytes())?;
    Ok(0)
}

fn text(globals: &Globals, args: &cli::Ps) -> Result<String> {
    let (_store, entry) = container::find(&globals.state_root().path, &args.id)?;
    let pids = ps::pids(&entry, &Files)?;
    match args.format {
        ListFormat::Table => ps::table(&pids, &args.options),
        // As Go prints an empty slice.
        ListFormat::Json if pids.is_empty() => Ok("null\n".to_owned()),
        ListFormat::Json => match serde_json::to_string(&pids) {
            Ok(text) => Ok(text + "\n"),
            Err(error) => Err(Error::other(format!("write JSON: {error}"))),
        },
    }
}
