//! `shim system prune`

use std::fmt::Write as _;

use crate::catalog::filter as image_filter;
use crate::catalog::remove;
use crate::cli::flags::{Arity, Form, Given, list, switch};
use crate::cli::{Globals, Verb};
use crate::command::pruned::{self, section};
use crate::command::{containers, network_prune, report, store};
use crate::container::users::Users;
use crate::container::{prune, volumes};
use crate::error::{Error, Result};
use crate::network::filter::Filter as NetworkFilter;
use crate::output;
use crate::volume::filter::Filter as VolumeFilter;
use crate::volume::prune as volume_prune;

pub(super) const VERB: Verb = Verb {
    names: &["system prune"],
    about: "Remove unused data",
    form: Form {
        usage: "[OPTIONS]",
        flags: &[&[
            switch("all", "Remove all unused images not just dangling ones").short('a'),
            list("filter", "filter", "Provide filter values (e.g. \"label=<key>=<value>\")")
                .checked(image_filter::check),
            switch("force", "Do not prompt for confirmation").short('f'),
            switch("volumes", "Prune anonymous volumes"),
        ]],
        arity: Arity::Exactly(0),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let (all, with_volumes) = (given.is_on("all"), given.is_on("volumes"));
    let texts = given.texts("filter")?;
    let is_until =
        |text: &&str| text.split('=').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("until"));
    if with_volumes && texts.iter().any(is_until) {
        return Err(Error::usage("ERROR: The \"until\" filter is not supported with \"--volumes\""));
    }
    // All of them before anything goes: what one does not know, nobody is asked to confirm.
    let of_containers = prune::Filter::parse(&texts)?;
    let of_networks = NetworkFilter::parse(&texts, true)?;
    let of_volumes = if with_volumes { Some(VolumeFilter::of_prune(&texts)?) } else { None };
    let of_images = image_filter::Filter::of_prune(&texts)?;
    if !given.is_on("force") && !pruned::asked(&question(all, with_volumes, &texts))? {
        return Ok(0);
    }
    let (store, containers) = (store(globals)?, containers(globals)?);
    let (mut text, mut freed, mut errors) = (String::new(), 0_u64, Vec::new());
    let gone = prune::prune(&containers, &of_containers)?;
    section(&mut text, "Deleted Containers", &gone.ids);
    freed += gone.freed;
    errors.extend(gone.errors);
    let (names, more) = network_prune::prune(&containers, &of_networks)?;
    section(&mut text, "Deleted Networks", &names);
    errors.extend(more);
    if let Some(filter) = &of_volumes {
        let gone = volume_prune::prune(&volumes::open(&containers)?, &containers, filter, false)?;
        section(&mut text, "Deleted Volumes", &gone.names);
        freed += gone.freed;
        errors.extend(gone.errors);
    }
    let removal = remove::prune(&store, &Users::read(&containers)?, &of_images, all)?;
    section(&mut text, "Deleted Images", &pruned::of_images(&removal.gone));
    freed += removal.freed;
    pruned::reclaimed(&mut text, freed);
    output::print(&text)?;
    Ok(errors.iter().map(report).max().unwrap_or(0))
}

/// Docker's, without the build cache, of which there is none.
fn question(all: bool, with_volumes: bool, filters: &[&str]) -> String {
    let mut text = "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n"
        .to_owned();
    if with_volumes {
        text.push_str("  - all anonymous volumes not used by at least one container\n");
    }
    text.push_str(if all {
        "  - all images without at least one container associated to them\n"
    } else {
        "  - all dangling images\n"
    });
    if !filters.is_empty() {
        let mut filters = filters.to_vec();
        filters.sort_unstable();
        text.push_str("\n  Items to be pruned will be filtered with:\n");
        for filter in filters {
            let _ = writeln!(text, "  - {filter}");
        }
    }
    text + "\nAre you sure you want to continue? [y/N] "
}
