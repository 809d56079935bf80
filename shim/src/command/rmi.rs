//! `shim rmi`

use std::fmt::Write as _;

use crate::catalog::remove::{Gone, remove};
use crate::cli::flags::{Arity, Form, Given, switch};
use crate::cli::{Globals, Verb};
use crate::command::{containers, report, store};
use crate::container::users::Users;
use crate::error::{Kind, Result};
use crate::output;

pub(super) const VERB: Verb = Verb {
    names: &["image rm", "image remove", "rmi"],
    about: "Remove one or more images",
    form: Form {
        usage: "[OPTIONS] IMAGE [IMAGE...]",
        flags: &[&[
            switch("force", "Force removal of the image").short('f'),
            switch("no-prune", "Do not delete untagged parents (images have no parents here)"),
        ]],
        arity: Arity::AtLeast(1),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let by_force = given.is_on("force");
    let (store, users) = (store(globals)?, Users::read(&containers(globals)?)?);
    let mut errors = Vec::new();
    for word in given.words()? {
        match remove(&store, &users, word, by_force) {
            Ok(removal) => {
                let mut text = String::new();
                for gone in &removal.gone {
                    let _ = match gone {
                        Gone::Name(name) => writeln!(text, "Untagged: {name}"),
                        Gone::Content(digest) => writeln!(text, "Deleted: {digest}"),
                    };
                }
                output::print(&text)?;
                globals.debug(|| format!("{} bytes are free", removal.freed));
            }
            Err(error) => errors.push(error),
        }
    }
    // By force, what is not there is as it should be.
    let is_fine = by_force && errors.iter().all(|error| error.kind() == Kind::NotFound);
    let code = errors.iter().map(report).max().unwrap_or(0);
    Ok(if is_fine { 0 } else { code })
}
