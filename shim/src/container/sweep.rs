//! What is in nobody's way and of no use: names, mounts and records of the host's uptime whose containers are gone or do
//! not run. Commands pass it over; `system check` tells of it, and mends it. What a killed command has left of a container
//! that it was making or removing, the next one that does so takes away.

use std::path::PathBuf;

use crate::container::store::Containers;
use crate::container::{ContainerId, root};
use crate::error::{Error, Kind, Result};
use crate::port::publish;
use crate::root::remove::forget;
use crate::runtime::{self, Runtime};
use crate::store::folder::names;
use crate::store::lease::Leases;
use crate::store::leftover;

/// One such thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leftover {
    /// A name that leads to no container.
    Name(String),
    /// A container whose name leads elsewhere, or nowhere.
    Nameless(String),
    /// A folder of a container without a record.
    Recordless(String),
    /// A root that is mounted, of a container that does not run.
    Mount(String),
    /// A folder in the state folder, of a container that is gone.
    State(String),
    /// What a runtime knows of a container that is gone: the runtime's records, and the id.
    Runtime(PathBuf, String),
}

impl Leftover {
    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Leftover::Name(name) => format!("name {name:?} is of no container"),
            Leftover::Nameless(id) => format!("container {id}: its name does not lead to it"),
            Leftover::Recordless(id) => format!("container {id}: it has no record"),
            Leftover::Mount(id) => format!("container {id}: its root is mounted, and it does not run"),
            Leftover::State(id) => format!("state of container {id}, which is gone"),
            Leftover::Runtime(_, id) => format!("the runtime knows container {id}, which is gone"),
        }
    }

    /// Is it more than useless: is something wrong for whoever uses the container?
    #[must_use]
    pub fn is_problem(&self) -> bool {
        matches!(self, Leftover::Nameless(_) | Leftover::Recordless(_))
    }
}

/// Takes away what commands that were killed have left of containers in the making, and of such as they were removing.
/// Where there is nothing, as nearly always, it costs next to nothing.
///
/// # Errors
/// The system's reason.
pub fn after_crash(containers: &Containers) -> Result<()> {
    if !leftover::is_any_of_the_dead(containers.root())? {
        return Ok(());
    }
    {
        let (_gate, _claims) = Leases::open(containers.root())?.close()?;
        leftover::sweep(containers.root(), false)?;
    }
    containers.sweep_names()?;
    for leftover in of_the_gone(containers)? {
        mend(containers, &leftover)?;
    }
    Ok(())
}

/// What there is of it.
///
/// # Errors
/// A damaged record, or the system's reason.
pub fn find(containers: &Containers) -> Result<Vec<Leftover>> {
    let mut found = Vec::new();
    for id in containers.ids()? {
        let Some(seen) = containers.observe(&id)? else {
            found.push(Leftover::Recordless(id.to_string()));
            continue;
        };
        let is_known = containers.find(&seen.container.name).is_ok_and(|known| known == id);
        if !is_known {
            found.push(Leftover::Nameless(id.to_string()));
        }
        if is_useless_mount(containers, &id)? {
            found.push(Leftover::Mount(id.to_string()));
        }
    }
    for name in names(&containers.root().join("names"))? {
        // One that is being written, or was left so; it goes with the next one of that name.
        if !name.starts_with(".new-") && containers.of_name(&name)?.is_none() {
            found.push(Leftover::Name(name));
        }
    }
    found.extend(of_the_gone(containers)?);
    Ok(found)
}

/// What ends with the host's uptime, of containers that are gone.
fn of_the_gone(containers: &Containers) -> Result<Vec<Leftover>> {
    let mut found = Vec::new();
    let is_gone = |id: &str| -> Result<bool> {
        Ok(ContainerId::parse(id).is_ok_and(|id| !containers.folder(&id).exists()))
    };
    for id in names(&containers.state_root().join("containers"))? {
        if is_gone(&id)? && !containers.is_supervised(&ContainerId::parse(&id)?)? {
            found.push(Leftover::State(id));
        }
    }
    for runtime in names(&containers.state_root().join("runtime"))? {
        let records = containers.state_root().join("runtime").join(runtime);
        for id in names(&records)? {
            if is_gone(&id)? {
                found.push(Leftover::Runtime(records.clone(), id));
            }
        }
    }
    Ok(found)
}

/// Takes it away, or puts it right; false if it is gone, or in use by now.
///
/// # Errors
/// The system's reason.
pub fn mend(containers: &Containers, leftover: &Leftover) -> Result<bool> {
    match leftover {
        Leftover::Name(name) => containers.forget_name(name),
        Leftover::Nameless(id) => containers.restore_name(&ContainerId::parse(id)?),
        Leftover::Recordless(id) => {
            let id = ContainerId::parse(id)?;
            if containers.get(&id)?.is_some() {
                return Ok(false);
            }
            root::detach(containers, &id)?;
            containers.remove(&id).map(|()| true)
        }
        Leftover::Mount(id) => {
            let id = ContainerId::parse(id)?;
            match containers.try_operation(&id) {
                Err(error) if error.kind() == Kind::NotFound => return Ok(false),
                Err(error) => return Err(error),
                Ok(None) => return Ok(false),
                Ok(Some(_lock)) if is_useless_mount(containers, &id)? => root::detach(containers, &id)?,
                Ok(Some(_)) => return Ok(false),
            }
            Ok(true)
        }
        Leftover::State(id) => {
            let id = ContainerId::parse(id)?;
            if containers.folder(&id).exists() || containers.is_supervised(&id)? {
                return Ok(false);
            }
            // What is led to it and held for it is known by this folder alone.
            publish::unpublish(containers, &id)?;
            forget(&containers.state_folder(&id)).map(|()| true)
        }
        Leftover::Runtime(records, id) => {
            if containers.folder(&ContainerId::parse(id)?).exists() || !records.join(id).exists() {
                return Ok(false);
            }
            let name = records.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| Error::invalid(format!("{records:?} is of no runtime")))?;
            Runtime::new(&runtime::find(Some(name))?, records).delete(id).map(|()| true)
        }
    }
}

/// Is a root mounted that nobody needs mounted: its container does not run, and nobody looks after it?
fn is_useless_mount(containers: &Containers, id: &ContainerId) -> Result<bool> {
    let Some(found) = containers.observe(id)? else { return Ok(false) };
    let is_running = found.state.status.has_process() || containers.is_supervised(id)?;
    Ok(!is_running && root::is_attached(containers, id)?)
}
