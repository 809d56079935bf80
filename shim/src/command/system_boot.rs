//! `shim system boot`

use crate::cli::flags::{Arity, Form, Given};
use crate::cli::{Globals, Verb};
use crate::command::FAILURE;
use crate::container::process::boot_id;
use crate::container::record::Container;
use crate::container::store::{Containers, Found};
use crate::container::{ContainerId, boot, remove};
use crate::error::{Context as _, Error, Kind, Result};
use crate::monitor;
use crate::output;
use crate::stream::client;
use crate::stream::protocol::{Frame, Start};

pub(super) const VERB: Verb = Verb {
    names: &["system boot"],
    about: "Start the containers whose restart policy asks for it, after the host has started",
    form: Form { usage: "", flags: &[], arity: Arity::Exactly(0), flags_end_at_argument: false },
    run,
};

/// A container that cannot be started is told, and the others are started all the same.
fn run(globals: &Globals, _: &Given) -> Result<u8> {
    let containers = super::containers(globals)?;
    let boot = boot_id()?;
    let mut code = 0;
    let mut tell = |error: Error| {
        output::complain(&error.to_string());
        code = FAILURE;
    };
    let mut wanted = Vec::new();
    for id in containers.ids()? {
        match settle(&containers, &id, &boot) {
            Ok(Some(found)) if is_wanted(&found, &boot) => wanted.push(found.container),
            Ok(_) => {}
            Err(error) => tell(error),
        }
    }
    boot::sort(&mut wanted);
    for container in wanted {
        match start(&containers, &container, &boot) {
            Ok(true) => output::print(&format!("{}\n", container.name))?,
            Ok(false) => {}
            Err(error) => tell(error),
        }
    }
    Ok(code)
}

fn is_wanted(found: &Found, boot: &str) -> bool {
    boot::is_wanted(&found.container.host_config.restart_policy, &found.state, boot)
}

/// Puts right what is recorded of a container; None where it is there no more.
fn settle(containers: &Containers, id: &ContainerId, boot: &str) -> Result<Option<Found>> {
    let words = || format!("container {id}");
    let Some(found) = containers.observe(id).during(words)? else { return Ok(None) };
    if found.is_orphan {
        monitor::adopt(containers, id).during(words)?;
        return containers.observe(id).during(words);
    }
    // Of `--rm`, and the host went down before it could be removed.
    let has_run = found.state.boot != boot && !found.state.boot.is_empty();
    if has_run && found.container.host_config.auto_remove && !found.state.status.has_process() {
        return match remove::remove(containers, id.as_str(), false, true) {
            Err(error) if error.kind() != Kind::NotFound => Err(error).during(words),
            _ => Ok(None),
        };
    }
    Ok(Some(found))
}

/// Starts a container, unless somebody else has done so meanwhile.
fn start(containers: &Containers, container: &Container, boot: &str) -> Result<bool> {
    let words = || format!("start container {}", container.name);
    let id = ContainerId::parse(&container.id)?;
    let _lock = match containers.operation(&id) {
        Err(error) if error.kind() == Kind::NotFound => return Ok(false),
        lock => lock.during(words)?,
    };
    match containers.observe(&id).during(words)? {
        Some(found) if is_wanted(&found, boot) => {}
        _ => return Ok(false),
    }
    let mut connection = monitor::launch(containers, &id, Start::default()).during(words)?;
    match client::read_frame(&mut connection).during(words)? {
        Frame::Started(_) => Ok(true),
        Frame::Failed(_, reason) => Err(Error::new(Kind::System, reason)).during(words),
        other => Err(Error::invalid(format!("the monitor says {other:?}"))).during(words),
    }
}
