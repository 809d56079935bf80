//! `shim commit`

use crate::cli::flags::{Arity, Form, Given, list, switch, value};
use crate::cli::{Globals, Verb};
use crate::command::{containers, store};
use crate::container::commit::{Description, commit};
use crate::error::{Error, Result};
use crate::output;
use crate::reference::Reference;

pub(super) const VERB: Verb = Verb {
    names: &["container commit", "commit"],
    about: "Create a new image from a container's changes",
    form: Form {
        usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
        flags: &[&[
            value("author", "string", "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")")
                .short('a'),
            list("change", "list", "Apply Dockerfile instruction to the created image").short('c'),
            value("message", "string", "Commit message").short('m'),
            switch("pause", "Pause container during commit (default true)").short('p'),
        ]],
        arity: Arity::Between(1, 2),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let words = given.words()?;
    let name = words.get(1).map(|name| Reference::parse(name)).transpose()?;
    if name.as_ref().is_some_and(|name| name.digest().is_some()) {
        return Err(Error::usage("cannot commit to digest reference"));
    }
    let what = Description {
        name,
        author: given.text("author")?.unwrap_or_default(),
        message: given.text("message")?.unwrap_or_default(),
        changes: given.texts("change")?.into_iter().flat_map(str::lines).collect(),
        pause: given.switched("pause").unwrap_or(true),
    };
    let (store, containers) = (store(globals)?, containers(globals)?);
    let id = containers.find(words.first().copied().unwrap_or_default())?;
    let image = commit(&store, &containers, &id, &what)?;
    output::print(&format!("{image}\n"))?;
    Ok(0)
}
