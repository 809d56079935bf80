//! `shim __complete`, by which the shells' scripts ask what may come next, and `shim completion`, which prints those.

use crate::catalog::summary;
use crate::cli::complete::{Names, complete};
use crate::cli::flags::{Arity, Form, Given};
use crate::cli::{Globals, Verb, shells};
use crate::command::{VERBS, containers, store};
use crate::container::end;
use crate::container::state::State;
use crate::container::volumes;
use crate::error::{Error, Result};
use crate::network::store::Networks;
use crate::output;

/// What shells call; people do not.
pub(super) const ASK: Verb = Verb {
    names: &["__complete"],
    about: "",
    form: Form { usage: "WORD...", flags: &[], arity: Arity::AtLeast(0), flags_end_at_argument: true },
    run: ask,
};

pub(super) const SCRIPT: Verb = Verb {
    names: &["completion"],
    about: "Generate the autocompletion script for a shell",
    form: Form { usage: "bash|zsh|fish", flags: &[], arity: Arity::Exactly(1), flags_end_at_argument: false },
    run: script,
};

fn ask(_: &Globals, given: &Given) -> Result<u8> {
    let words: Vec<String> = given.arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    output::print(&complete(&words, VERBS, &names).to_lines())?;
    Ok(0)
}

/// Names of this moment. A list that cannot be read is no list: nobody wants errors between the words of a line.
fn names(globals: &Globals, kind: Names) -> Vec<String> {
    match kind {
        Names::Images => images(globals).unwrap_or_default(),
        Names::Networks => networks(globals).unwrap_or_default(),
        Names::Volumes => {
            let volumes = containers(globals).and_then(|containers| volumes::open(&containers)?.names());
            volumes.unwrap_or_default()
        }
        Names::Variables => std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect(),
        Names::Containers => named(globals, |_| true).unwrap_or_default(),
        Names::Running => named(globals, end::is_up).unwrap_or_default(),
        Names::Stopped => named(globals, |state| !end::is_up(state)).unwrap_or_default(),
    }
}

/// Containers as they are recorded, which may be out of date: nobody wants to wait between the words of a line.
fn named(globals: &Globals, is_meant: impl Fn(&State) -> bool) -> Result<Vec<String>> {
    let containers = containers(globals)?;
    let mut names = Vec::new();
    for id in containers.ids()? {
        if containers.state(&id).is_ok_and(|state| is_meant(&state)) {
            names.extend(containers.get(&id).ok().flatten().map(|container| container.name));
        }
    }
    Ok(names)
}

fn networks(globals: &Globals) -> Result<Vec<String>> {
    let all = Networks::of(&containers(globals)?).list()?;
    Ok(all.into_iter().map(|network| network.name).collect())
}

fn images(globals: &Globals) -> Result<Vec<String>> {
    let images = store(globals)?.images.read()?;
    let tags = images.iter().flat_map(|(_, image)| summary::familiar(&image.tags));
    Ok(tags.collect())
}

fn script(_: &Globals, given: &Given) -> Result<u8> {
    let words = given.words()?;
    let shell = words.first().copied().unwrap_or_default();
    let script = shells::script(shell);
    let known = shells::SHELLS.join(", ");
    output::print(
        script.ok_or_else(|| Error::usage(format!("no completion for the shell {shell:?}: {known}")))?,
    )?;
    Ok(0)
}
