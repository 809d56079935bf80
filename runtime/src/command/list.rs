//! `list`: shows all containers under the root.

use crate::cli::{self, Globals, ListFormat};
use crate::container::{Store, document};
use crate::error::{Context, Kind, Result};
use crate::report::{Log, to_stdout};

/// Carries out `list`; the exit code is 0. A container that cannot be read is a warning.
///
/// # Errors
/// Where the root itself cannot be read; one that does not exist holds no containers.
pub fn execute(globals: &Globals, args: &cli::List, log: &mut Log) -> Result<u8> {
    let documents = match Store::open(&globals.state_root().path, false) {
        Ok(store) => document::list(&store, &mut |warning| log.warning(warning.to_string())),
        Err(error) if error.kind() == Kind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
    .context(|| "list")?;
    let text = match (args.quiet, args.format) {
        (true, _) => documents.iter().map(|document| format!("{}\n", document.id)).collect(),
        (false, ListFormat::Table) => document::table(&documents),
        (false, ListFormat::Json) => document::json(&documents)? + "\n",
    };
    to_stdout(text.as_bytes())?;
    Ok(0)
}
