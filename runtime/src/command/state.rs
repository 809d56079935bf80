//! `state`: prints where a container is in its life.

use crate::cli::{self, Globals};
use crate::container;
use crate::container::document::Document;
use crate::error::{Context, Result};
use crate::report::{Log, to_stdout};

/// Carries out `state`; the exit code is 0. Callers read stdout and stderr as one: nothing but the document.
///
/// # Errors
/// Kind `NotFound`, or what the store and the kernel refuse.
pub fn execute(globals: &Globals, args: &cli::State, _log: &mut Log) -> Result<u8> {
    let text = read(globals, &args.id).context(|| format!("state {:?}", args.id))?;
    to_stdout(text.as_bytes())?;
    Ok(0)
}

fn read(globals: &Globals, id: &str) -> Result<String> {
    let (_store, entry) = container::find(&globals.state_root().path, id)?;
    Document::of(&entry)?.to_json()
}
