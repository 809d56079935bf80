//! `events`: prints what a container uses, and that it runs out of memory, one JSON object on each line.

use crate::cli::{self, Globals};
use crate::container;
use crate::container::events::{Event, Source};
use crate::error::{Context, Error, Result};
use crate::report::{Log, to_stdout};

/// Carries out `events`; the exit code is 0, once the container has ended.
///
/// # Errors
/// Of [`Source`], behind the name of the container.
pub fn execute(globals: &Globals, args: &cli::Events, _log: &mut Log) -> Result<u8> {
    let step = || format!("events {:?}", args.id);
    let (_store, entry) = container::find(&globals.state_root().path, &args.id).context(step)?;
    let source = Source::open(&entry).context(step)?;
    if args.stats {
        print(&source.stats().context(step)?)?;
    } else {
        source.follow(args.interval, print).context(step)?;
    }
    Ok(0)
}

fn print(event: &Event<'_>) -> Result<()> {
    let text = serde_json::to_string(event).map_err(|error| Error::other(format!("write JSON: {error}")))?;
    to_stdout(format!("{text}\n").as_bytes())
}
