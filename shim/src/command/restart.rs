//! `shim restart`

use crate::cli::flags::{Arity, Form, Given};
use crate::cli::{Globals, Verb};
use crate::command::{containers, for_each, start, stop};
use crate::container;
use crate::container::end::{self, Stop};
use crate::container::process::ProcessId;
use crate::container::store::Containers;
use crate::error::Result;
use crate::event;

pub(super) const VERB: Verb = Verb {
    names: &["container restart", "restart"],
    about: "Restart one or more containers",
    form: Form {
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        flags: &[&stop::FLAGS],
        arity: Arity::AtLeast(1),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let (how, containers) = (stop::how(given)?, containers(globals)?);
    for_each(given, |word| restart(&containers, word, how))
}

fn restart(containers: &Containers, word: &str, how: Stop) -> Result<()> {
    let id = containers.find(word)?;
    let container = containers.get(&id)?.ok_or_else(|| container::missing(word))?;
    let goes_with_its_end = container.host_config.auto_remove;
    // This end is none: until the container is locked, nobody may take it for one. Whoever is killed here keeps it no longer.
    let own = ProcessId::own()?;
    let keep = |keeper| containers.update_state(&id, false, |state| state.kept_by = keeper);
    if goes_with_its_end {
        keep(Some(own))?;
    }
    let stopped = end::stop(containers, &id, how).and_then(|()| containers.operation(&id));
    let restored = if goes_with_its_end { keep(None) } else { Ok(()) };
    let lock = match (stopped, restored) {
        (Err(error), Err(clean_up)) => Err(error.and(&clean_up)),
        (stopped, restored) => stopped.and_then(|lock| restored.map(|()| lock)),
    }?;
    start::start_locked(containers, id, lock)?;
    event::emit(containers.state_root(), "restart", &container, &[]);
    Ok(())
}
