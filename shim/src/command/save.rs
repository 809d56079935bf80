//! `shim save`

use crate::cli::flags::{Arity, Form, Given, value};
use crate::cli::{Globals, Verb};
use crate::command::{PLATFORM, platform, store};
use crate::error::Result;
use crate::output::archive;
use crate::save::save;

pub(super) const VERB: Verb = Verb {
    names: &["image save", "save"],
    about: "Save one or more images to a tar archive (streamed to STDOUT by default)",
    form: Form {
        usage: "[OPTIONS] IMAGE [IMAGE...]",
        flags: &[&[value("output", "string", "Write to a file, instead of STDOUT").short('o'), PLATFORM]],
        arity: Arity::AtLeast(1),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let platform = platform(given)?;
    let words = given.words()?;
    let store = store(globals)?;
    archive::write(given.path("output"), |out| save(&store, &words, platform.as_ref(), out))?;
    Ok(0)
}
