//! `shim system check`

use std::fmt::Write as _;

use crate::check::{check, repair};
use crate::cli::flags::{Arity, Form, Given, switch};
use crate::cli::{Globals, Verb};
use crate::command::{FAILURE, store};
use crate::error::Result;
use crate::output;
use crate::rootless;

pub(super) const VERB: Verb = Verb {
    names: &["system check"],
    about: "Verify everything that is kept, and repair it",
    form: Form {
        usage: "[OPTIONS]",
        flags: &[&[
            switch("quiet", "Only show what is wrong").short('q'),
            switch(
                "repair",
                "Repair what is broken: unpack again, or remove it so that a pull brings it again",
            ),
        ]],
        arity: Arity::Exactly(0),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let (store, who) = (store(globals)?, rootless::who()?);
    let report = check(&store, who)?;
    let mut text = String::new();
    for problem in &report.problems {
        let _ = writeln!(text, "{}", problem.words);
    }
    let is_talkative = !given.is_on("quiet");
    if is_talkative {
        for leftover in &report.leftovers {
            let _ = writeln!(text, "{leftover}");
        }
    }
    let mut left = report.problems.len();
    if given.is_on("repair") {
        let repaired = repair(&store, &report, who)?;
        for line in &repaired.done {
            let _ = writeln!(text, "repair: {line}");
        }
        for line in &repaired.left {
            let _ = writeln!(text, "not repaired: {line}");
        }
        left = repaired.left.len();
    }
    if is_talkative {
        let told = match report.problems.len() {
            0 => "nothing is wrong".to_owned(),
            1 => "1 problem".to_owned(),
            number => format!("{number} problems"),
        };
        let (images, layers, content) = (report.images, report.layers, report.content);
        let _ = writeln!(text, "{images} images, {layers} layers, {content} parts of content: {told}");
    }
    output::print(&text)?;
    Ok(if left == 0 { 0 } else { FAILURE })
}
