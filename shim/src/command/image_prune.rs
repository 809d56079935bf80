//! `shim image prune`

use std::fmt::Write as _;

use crate::catalog::filter::{self, Filter};
use crate::catalog::remove::{Gone, prune};
use crate::cli::flags::{Arity, Form, Given, list, switch};
use crate::cli::{Globals, Verb};
use crate::command::{containers, store};
use crate::container::users::Users;
use crate::error::{Context, Result};
use crate::output::{self, human};

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
    if !given.is_on("force") && !confirmed(if with_tags { "all images" } else { "all dangling images" })? {
        return Ok(0);
    }
    let removal = prune(&store(globals)?, &Users::read(&containers(globals)?)?, &filter, with_tags)?;
    let mut text = String::new();
    if !removal.gone.is_empty() {
        text.push_str("Deleted Images:\n");
        for gone in &removal.gone {
            let _ = match gone {
                Gone::Name(name) => writeln!(text, "untagged: {name}"),
                Gone::Content(digest) => writeln!(text, "deleted: {digest}"),
            };
        }
        text.push('\n');
    }
    let _ = writeln!(text, "Total reclaimed space: {}", human::size_with(removal.freed, 4));
    output::print(&text)?;
    Ok(0)
}

/// Asks on standard output, and takes nothing but yes for it.
pub(super) fn confirmed(what: &str) -> Result<bool> {
    asked(&format!("WARNING! This will remove {what}.\nAre you sure you want to continue? [y/N] "))
}

/// The same with words of one's own.
pub(super) fn asked(question: &str) -> Result<bool> {
    output::print(question)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).during(|| "read standard input".into())?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
