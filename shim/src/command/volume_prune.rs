//! `shim volume prune`

use crate::cli::flags::{Arity, Form, Given, list, switch};
use crate::cli::{Globals, Verb};
use crate::command::{containers, pruned, report};
use crate::container::volumes;
use crate::error::{Error, Result};
use crate::output;
use crate::volume::filter::Filter;
use crate::volume::prune;

pub(super) const VERB: Verb = Verb {
    names: &["volume prune"],
    about: "Remove unused local volumes",
    form: Form {
        usage: "[OPTIONS]",
        flags: &[&[
            switch("all", "Remove all unused volumes, not just anonymous ones").short('a'),
            list("filter", "filter", "Provide filter values (e.g. \"label=<label>\")")
                .checked(crate::catalog::filter::check),
            switch("force", "Do not prompt for confirmation").short('f'),
        ]],
        arity: Arity::Exactly(0),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let filter = Filter::of_prune(&given.texts("filter")?)?;
    if given.is_on("all") && filter.all().is_some() {
        return Err(Error::usage("conflicting options: cannot specify both --all and --filter all=1"));
    }
    let all = given.is_on("all") || filter.all() == Some(true);
    let which = if all { "all" } else { "anonymous" };
    let what = format!("{which} local volumes not used by at least one container");
    if !given.is_on("force") && !pruned::confirmed(&what)? {
        return Ok(0);
    }
    let containers = containers(globals)?;
    let gone = prune::prune(&volumes::open(&containers)?, &containers, &filter, all)?;
    let mut text = String::new();
    pruned::section(&mut text, "Deleted Volumes", &gone.names);
    pruned::reclaimed(&mut text, gone.freed);
    output::print(&text)?;
    Ok(gone.errors.iter().map(report).max().unwrap_or(0))
}
