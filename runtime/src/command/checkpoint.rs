//! `checkpoint`: writes the state of a container's processes to images.

use crate::cli::{self, Globals};
use crate::container::group::Files;
use crate::container::{self, checkpoint};
use crate::error::{Context, Error, Result};
use crate::report::Log;
use crate::signals::Signals;

/// Carries out `checkpoint`; the exit code is 0.
///
/// # Errors
/// Of [`checkpoint::checkpoint`], behind the name of the container.
pub fn execute(globals: &Globals, args: &cli::Checkpoint, log: &mut Log) -> Result<u8> {
    let step = || format!("checkpoint {:?}", args.id);
    let (store, entry) = container::find(&globals.state_root().path, &args.id).context(step)?;
    let mut signals = Signals::block().context(step)?;
    let mut warnings = Vec::new();
    let mut warn = |error: Error| warnings.push(error.to_string());
    let mut debug = |line: String| log.debug(|| line);
    checkpoint::checkpoint(&store, entry, args, &Files, &mut signals, &mut warn, &mut debug).context(step)?;
    warnings.into_iter().for_each(|warning| log.warning(warning));
    Ok(0)
}
