//! `shim logout`

use crate::cli::flags::{Arity, Form, Given};
use crate::cli::{Globals, Verb};
use crate::command::login::server;
use crate::error::Result;
use crate::output;
use crate::registry::credentials::{ConfigFile, key_of};

pub(super) const VERB: Verb = Verb {
    names: &["logout"],
    about: "Log out from a registry",
    form: Form { usage: "[SERVER]", flags: &[], arity: Arity::AtMost(1), flags_end_at_argument: false },
    run,
};

fn run(_: &Globals, given: &Given) -> Result<u8> {
    let words = given.words()?;
    let server = server(words.first().copied())?;
    let shown = key_of(&server);
    let text = match ConfigFile::of_user()?.erase(&server)? {
        true => format!("Removing login credentials for {shown}\n"),
        false => format!("Not logged in to {shown}\n"),
    };
    output::print(&text)?;
    Ok(0)
}
