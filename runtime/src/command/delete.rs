//! `delete`: removes a container.

use crate::cli::{self, Globals};
use crate::container::group::Files;
use crate::container::{self, delete};
use crate::error::{Context, Kind, Result};
use crate::report::Log;

/// Carries out `delete`; the exit code is 0, with `--force` also where there is no such container.
///
/// # Errors
/// Of [`delete::delete`], behind the name of the container.
pub fn execute(globals: &Globals, args: &cli::Delete, log: &mut Log) -> Result<u8> {
    match delete(globals, args, log).context(|| format!("delete {:?}", args.id)) {
        Err(error) if args.force && error.kind() == Kind::NotFound => Ok(0),
        result => result.map(|()| 0),
    }
}

fn delete(globals: &Globals, args: &cli::Delete, log: &mut Log) -> Result<()> {
    let (store, entry) = container::find(&globals.state_root().path, &args.id)?;
    delete::delete(&store, entry, args.force, &Files, &mut |warning| log.warning(warning.to_string()))
}
