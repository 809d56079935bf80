//! What of a container is published, and by which process: `ports.json` in its folder of state. Plain data.
//!
//! It is there from before the first port is bound to after the last one is free, so that whoever comes after a kill finds
//! what there is to undo.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::container::ContainerId;
use crate::container::process::ProcessId;
use crate::container::store::Containers;
use crate::error::{Context, Error, Result};
use crate::firewall::Forward;
use crate::store::folder::names;
use crate::store::record::{self, Lock};

/// Its name.
const NAME: &str = "ports.json";

/// The document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Ports of the host, and where they lead.
    pub forwards: Vec<Forward>,
    /// Who holds them.
    pub proxy: Option<ProcessId>,
}

/// What is recorded of the container with this folder of state.
///
/// # Errors
/// A damaged record; the system's reason.
pub fn read(folder: &Path) -> Result<Option<Record>> {
    let path = folder.join(NAME);
    let words = || format!("read {path:?}");
    match fs::read(&path) {
        Ok(bytes) => {
            let read = serde_json::from_slice(&bytes).map_err(|error| Error::invalid(error.to_string()));
            read.map(Some).during(words)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).during(words),
    }
}

/// All containers of which something is on record, with that.
///
/// # Errors
/// A damaged record; the system's reason.
pub fn all(containers: &Containers) -> Result<Vec<(ContainerId, Record)>> {
    let mut found = Vec::new();
    for name in names(&containers.state_root().join("containers"))? {
        if let Ok(id) = ContainerId::parse(&name)
            && let Some(record) = read(&containers.state_folder(&id))?
        {
            found.push((id, record));
        }
    }
    Ok(found)
}

/// Records it. Whoever does has the container's start or end in hand.
///
/// # Errors
/// The system's reason.
pub fn write(folder: &Path, content: &Record) -> Result<()> {
    // It ends with the host's uptime.
    record::write_fast(&folder.join(NAME), content)
}

/// Keeps others from changing what is published of this container.
///
/// # Errors
/// The system's reason.
pub fn lock(folder: &Path) -> Result<Lock> {
    Lock::exclusive(&folder.join("ports.lock"))
}

/// The same where somebody has had that lock by now; nobody else can be at it otherwise.
///
/// # Errors
/// The system's reason.
pub fn lock_known(folder: &Path) -> Result<Option<Lock>> {
    Lock::known(&folder.join("ports.lock"))
}

/// Forgets it; what is not there is forgotten.
///
/// # Errors
/// The system's reason.
pub fn remove(folder: &Path) -> Result<()> {
    let path = folder.join(NAME);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).during(|| format!("remove {path:?}"))
        }
        _ => Ok(()),
    }
}
