//! `shim image prune`

use crate::catalog::filter::{self, Filter};
use crate::catalog::remove::prune;
use crate::cli::flags::{Arity, Form, Given, list, switch};
use crate::cli::{Globals, Verb};
use crate::command::{containers, pruned, store};
use crate::container::users::Users;
use crate::error::Result;
use crate::output;

pub(super) const VERB: Verb = Verb {
    names: &["image prune"],
    about: "Remove unused images",
    form: Form {
        usage: "[OPTIONS]",
        flags: &[&[
            switch("all", "Remove all images, not just dangling ones").short('a'),
            list(
                "filter",
                "filter",
                "Provide filter values (e.g. \"until=<timestamp>\", \"label=<key>=<value>\")",
            )
            .checked(filter::check),
            switch("force", "Do not prompt for confirmation").short('f'),
        ]],
        arity: Arity::Exactly(0),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let filter = Filter::of_prune(&given.texts("filter")?)?;
    let with_tags = given.is_on("all") || filter.dangling() == Some(false);
    if !given.is_on("force")
        && !pruned::confirmed(if with_tags { "all images" } else { "all dangling images" })?
    {
        return Ok(0);
    }
    let removal = prune(&store(globals)?, &Users::read(&containers(globals)?)?, &filter, with_tags)?;
    let mut text = String::new();
    pruned::section(&mut text, "Deleted Images", &pruned::of_images(&removal.gone));
    pruned::reclaimed(&mut text, removal.freed);
    output::print(&text)?;
    Ok(0)
}
