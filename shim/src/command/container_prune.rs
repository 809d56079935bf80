//! `shim container prune`

use crate::cli::flags::{Arity, Form, Given, list, switch};
use crate::cli::{Globals, Verb};
use crate::command::{containers, pruned, report};
use crate::container::prune::{self, Filter};
use crate::error::Result;
use crate::output;

pub(super) const VERB: Verb = Verb {
    names: &["container prune"],
    about: "Remove all stopped containers",
    form: Form {
        usage: "[OPTIONS]",
        flags: &[&[
            list("filter", "filter", "Provide filter values (e.g. \"until=<timestamp>\")")
                .checked(crate::catalog::filter::check),
            switch("force", "Do not prompt for confirmation").short('f'),
        ]],
        arity: Arity::Exactly(0),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let filter = Filter::parse(&given.texts("filter")?)?;
    if !given.is_on("force") && !pruned::confirmed("all stopped containers")? {
        return Ok(0);
    }
    let gone = prune::prune(&containers(globals)?, &filter)?;
    let mut text = String::new();
    pruned::section(&mut text, "Deleted Containers", &gone.ids);
    pruned::reclaimed(&mut text, gone.freed);
    output::print(&text)?;
    Ok(gone.errors.iter().map(report).max().unwrap_or(0))
}
