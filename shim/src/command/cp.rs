//! `shim cp`

use std::io::IsTerminal as _;

use crate::cli::flags::{Arity, Form, Given, switch};
use crate::cli::{Globals, Verb};
use crate::command::containers;
use crate::copy::path::{Argument, argument};
use crate::copy::{self, Notes, Options};
use crate::error::{Error, Result};
use crate::output::{self, archive, human};

pub(super) const VERB: Verb = Verb {
    names: &["container cp", "cp"],
    about: "Copy files/folders between a container and the local filesystem",
    form: Form {
        usage: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-",
        flags: &[&[
            switch("archive", "Archive mode (copy all uid/gid information)").short('a'),
            switch("follow-link", "Always follow symbol link in SRC_PATH").short('L'),
            switch("quiet", "Suppress what is said of the copy's size: it is said on terminals only")
                .short('q'),
        ]],
        arity: Arity::Exactly(2),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let options = Options { archive: given.is_on("archive"), follow: given.is_on("follow-link") };
    let [from, to] = &given.arguments[..] else { return Err(Error::usage("two paths are wanted")) };
    for (text, what) in [(from, "source"), (to, "destination")] {
        if text.is_empty() {
            return Err(Error::usage(format!("{what} can not be empty")));
        }
    }
    let containers = || containers(globals);
    let (notes, to) = match (argument(from)?, argument(to)?) {
        (Argument::Container(word, path), Argument::Host(to)) => {
            (copy::out(&containers()?, word, path, to, options)?, String::from_utf8_lossy(to).into_owned())
        }
        (Argument::Container(word, path), Argument::Stream) => {
            if std::io::stdout().is_terminal() {
                return Err(Error::usage("cowardly refusing to write an archive to a terminal: redirect it"));
            }
            let containers = containers()?;
            let notes = archive::write(None, |out| copy::pack(&containers, word, path, out, options))?;
            return Ok(tell(&notes));
        }
        (Argument::Host(from), Argument::Container(word, path)) => {
            let notes = copy::into(&containers()?, word, from, path, options)?;
            (notes, to.to_string_lossy().into_owned())
        }
        (Argument::Stream, Argument::Container(word, path)) => {
            if std::io::stdin().is_terminal() {
                return Err(Error::usage("cowardly refusing to read an archive from a terminal"));
            }
            (copy::unpack(&containers()?, word, std::io::stdin(), path)?, to.to_string_lossy().into_owned())
        }
        (Argument::Container(..), Argument::Container(..)) => {
            return Err(Error::usage("copying between containers is not supported"));
        }
        _ => return Err(Error::usage("must specify at least one container source")),
    };
    let is_quiet = given.switched("quiet").unwrap_or_else(|| !std::io::stderr().is_terminal());
    if !is_quiet {
        output::complain(&format!("Successfully copied {} to {to}", human::size(notes.size)));
    }
    Ok(tell(&notes))
}

/// Tells what could not be copied as it was; the exit status.
fn tell(notes: &Notes) -> u8 {
    for (paths, what) in [
        (&notes.devices, "devices are left out"),
        (&notes.sockets, "sockets are left out"),
        (&notes.lost, "attributes have no place there"),
        (&notes.shorter, "files became shorter while they were read"),
    ] {
        if let Some(first) = paths.first() {
            let count = paths.len();
            output::complain(&format!("WARNING: {what}: {count}, the first of them {first:?}"));
        }
    }
    u8::from(!notes.shorter.is_empty())
}
