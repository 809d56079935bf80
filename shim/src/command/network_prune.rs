//! `shim network prune`

use crate::catalog::filter;
use crate::cli::flags::{Arity, Form, Given, list, switch};
use crate::cli::{Globals, Verb};
use crate::command::{containers, network_rm, pruned, report};
use crate::container::store::Containers;
use crate::error::{Error, Kind, Result};
use crate::event;
use crate::network::filter::{Filter, is_custom};
use crate::network::store::Networks;
use crate::output;

pub(super) const VERB: Verb = Verb {
    names: &["network prune"],
    about: "Remove all unused networks",
    form: Form {
        usage: "[OPTIONS]",
        flags: &[&[
            list("filter", "filter", "Provide filter values (e.g. \"until=<timestamp>\")")
                .checked(filter::check),
            switch("force", "Do not prompt for confirmation").short('f'),
        ]],
        arity: Arity::Exactly(0),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let filter = Filter::parse(&given.texts("filter")?, true)?;
    if !given.is_on("force") && !pruned::confirmed("all custom networks not used by at least one container")?
    {
        return Ok(0);
    }
    let (names, errors) = prune(&containers(globals)?, &filter)?;
    let mut text = String::new();
    pruned::section(&mut text, "Deleted Networks", &names);
    output::print(&text)?;
    Ok(errors.iter().map(report).max().unwrap_or(0))
}

/// Removes the networks that are meant and that no container is in or will be in when it starts; their names, and what
/// kept others.
///
/// # Errors
/// The system's reason for what cannot be looked at.
pub(super) fn prune(containers: &Containers, filter: &Filter) -> Result<(Vec<String>, Vec<Error>)> {
    let (mut names, mut errors) = (Vec::new(), Vec::new());
    let mut wanted = std::collections::BTreeSet::new();
    for id in containers.ids()? {
        let endpoints = containers.get(&id)?.map(|container| container.endpoints).unwrap_or_default();
        let runs = containers.may_run(&id)?;
        wanted.extend(endpoints.into_values().filter(|_| runs).map(|config| config.network_id));
    }
    for network in Networks::of(containers).list()? {
        if !is_custom(&network) || wanted.contains(&network.id) || !filter.fits(&network, false) {
            continue;
        }
        match network_rm::remove(containers, &network) {
            Ok(()) => names.push(network.name),
            // Somebody is in it, or was quicker.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Conflict) => {}
            Err(error) => errors.push(error),
        }
    }
    event::prune(containers.state_root(), "network", 0);
    Ok((names, errors))
}
