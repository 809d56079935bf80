//! `shim container prune`

use std::fmt::Write as _;

use crate::cli::flags::{Arity, Form, Given, list, switch};
use crate::cli::{Globals, Verb};
use crate::command::{containers, image_prune, report};
use crate::container::prune::{self, Filter};
use crate::error::Result;
use crate::output::{self, human};

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
    if !given.is_on("force") && !image_prune::confirmed("all stopped containers")? {
        return Ok(0);
    }
    let pruned = prune::prune(&containers(globals)?, &filter)?;
    let mut text = String::new();
    if !pruned.ids.is_empty() {
        text.push_str("Deleted Containers:\n");
        for id in &pruned.ids {
            let _ = writeln!(text, "{id}");
        }
        text.push('\n');
    }
    let _ = writeln!(text, "Total reclaimed space: {}", human::size_with(pruned.freed, 4));
    output::print(&text)?;
    Ok(pruned.errors.iter().map(report).max().unwrap_or(0))
}
