//! What a container needs before its runtime can be called: its root mounted, and a document that leads to the namespaces
//! of others as they are now.
//!
//! Who has such a namespace is a process that may end at any moment, and its number may be another's then. So the
//! namespace is opened first, and only then is the process verified; from there on the descriptor counts, and what the
//! document names is that descriptor of this process.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cdi::{self, registry::Registry};
use crate::container::create::{DOCUMENT, PLAIN_DOCUMENT, check_shareable};
use crate::container::host_config::DeviceRequest;
use crate::container::record::Container;
use crate::container::state::Status;
use crate::container::store::Containers;
use crate::container::{self, ContainerId, document, modes, root, volumes};
use crate::error::{Context, Error, Result};
use crate::network::link;
use crate::network::names::Sockets;
use crate::network::{EndpointState, endpoint};
use crate::port::publish;
use crate::store::record;
use crate::{host, rootless};

/// A bundle that a runtime can be called with.
#[derive(Debug)]
pub struct Prepared {
    /// Its folder.
    pub bundle: PathBuf,
    /// Namespaces and parts of volumes that the document leads to through this process: they have to be open until the
    /// runtime is done.
    _held: Vec<OwnedFd>,
    /// What it has in its networks, by their names.
    pub networks: BTreeMap<String, EndpointState>,
    /// Where its questions for names come, until somebody takes them.
    pub names: Option<Sockets>,
}

/// Prepares a start. The caller keeps what this returns until the runtime has started the container.
///
/// # Errors
/// Another container whose namespaces it has does not run, in Docker's words; the system's reason. What was mounted is
/// taken away again then.
pub fn prepare(containers: &Containers, container: &Container) -> Result<Prepared> {
    let id = ContainerId::parse(&container.id)?;
    let prepared = (|| {
        // First what may be refused.
        link::check(containers, container)?;
        let mut joined = join(containers, container)?;
        root::attach(containers, container)?;
        if container.host_config.ipc_mode == "shareable" {
            root::attach_shm(containers, container)?;
        }
        let bundle = containers.folder(&id);
        let (mut networks, mut names) = (BTreeMap::new(), None);
        if let Some(attached) = endpoint::attach(containers, container)? {
            joined.push(("network", attached.netns));
            networks = attached.networks;
            names = Some(attached.names);
            publish::publish(containers, container, &networks)?;
        }
        let parts = volumes::attach(containers, container)?;
        let paths = joined.iter().map(|(kind, open)| (*kind, path_of(open))).collect::<Vec<_>>();
        let sources = parts.iter().map(|(place, open)| (place.as_str(), path_of(open))).collect::<Vec<_>>();
        if changes_at_start(container) {
            let mut document: Value = document::read(&bundle.join(PLAIN_DOCUMENT))?;
            add_devices(&mut document, container.host_config.device_requests.iter().flatten())?;
            add_variables(&mut document, link::environment(containers, container)?)?;
            record::write_fast(&bundle.join(DOCUMENT), &document)?;
        }
        if !paths.is_empty() || !sources.is_empty() {
            lead(&bundle.join(DOCUMENT), &paths, &sources)?;
        }
        let parts = parts.into_iter().map(|(_, open)| open);
        let held = joined.into_iter().map(|(_, open)| open).chain(parts).collect();
        Ok(Prepared { bundle, _held: held, networks, names })
    })();
    prepared.map_err(|error: Error| {
        let undone = [
            endpoint::detach(containers, container),
            root::detach(containers, &id),
            volumes::release(containers, container, false),
        ];
        undone.into_iter().filter_map(Result::err).fold(error, |error, clean_up| error.and(&clean_up))
    })
}

fn path_of(open: &OwnedFd) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), open.as_raw_fd())
}

/// Opens the namespaces that are others', with their kinds in the document.
fn join(containers: &Containers, container: &Container) -> Result<Vec<(&'static str, OwnedFd)>> {
    let config = &container.host_config;
    let mut found = Vec::new();
    for (kind, file, mode) in [
        ("network", "net", &config.network_mode),
        ("pid", "pid", &config.pid_mode),
        ("ipc", "ipc", &config.ipc_mode),
    ] {
        let Some(other) = modes::container(mode) else { continue };
        found.push((kind, open(containers, other, kind, file)?));
    }
    Ok(found)
}

fn open(containers: &Containers, other: &str, kind: &str, file: &str) -> Result<OwnedFd> {
    let found = containers.observe(&ContainerId::parse(other)?)?.ok_or_else(|| container::missing(other))?;
    if kind == "ipc" {
        check_shareable(&found.container)?;
    }
    if found.state.status == Status::Restarting {
        let reason = format!("Container {other} is restarting, wait until the container is running");
        return Err(Error::conflict(reason));
    }
    let stands = || {
        let what = if kind == "network" {
            "network".to_owned()
        } else {
            format!("{} namespace", kind.to_uppercase())
        };
        Error::conflict(format!("cannot join {what} of a non running container: {other}"))
    };
    let process = found.state.process.filter(|_| found.state.status.has_process()).ok_or_else(stands)?;
    let path = format!("/proc/{}/ns/{file}", process.pid);
    let open = match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(stands()),
        open => open.during(|| format!("open {path:?}"))?,
    };
    // Alive after it was opened: so it was of this process and no later one.
    if process.is_alive() { Ok(open.into()) } else { Err(stands()) }
}

/// Has the document lead to namespaces of others, by their kinds, and to what is mounted, by its places.
fn lead(path: &Path, to: &[(&str, String)], sources: &[(&str, String)]) -> Result<()> {
    let words = || format!("read {path:?}");
    let wrong = |reason: String| Error::invalid(reason);
    let mut document: Value = document::read(path)?;
    let namespaces = document.pointer_mut("/linux/namespaces").and_then(Value::as_array_mut);
    let namespaces = namespaces.ok_or_else(|| wrong("no linux.namespaces".into())).during(words)?;
    for (kind, place) in to {
        let entry = namespaces.iter_mut().find(|entry| entry["type"] == *kind);
        let entry = entry.ok_or_else(|| wrong(format!("no namespace of the kind {kind}"))).during(words)?;
        entry["path"] = Value::String(place.clone());
    }
    let no_mount = |place: &str| wrong(format!("no mount at {place:?}"));
    for (place, source) in sources {
        let mounts = document.pointer_mut("/mounts").and_then(Value::as_array_mut);
        let entry = mounts.and_then(|mounts| mounts.iter_mut().find(|entry| entry["destination"] == *place));
        entry.ok_or_else(|| no_mount(place)).during(words)?["source"] = Value::String(source.clone());
    }
    record::write_fast(path, &document)
}

/// Is the document another at each start: by descriptions of devices, or by what others are that it is linked to?
#[must_use]
pub fn changes_at_start(container: &Container) -> bool {
    container.host_config.device_requests.is_some() || !link::of(container).is_empty()
}

/// Adds variables to those of the program, whose own ones stay.
fn add_variables(document: &mut Value, variables: Vec<(String, String)>) -> Result<()> {
    if variables.is_empty() {
        return Ok(());
    }
    let env = document.pointer_mut("/process/env").and_then(Value::as_array_mut);
    let env = env.ok_or_else(|| Error::invalid("no process.env")).during(|| PLAIN_DOCUMENT.into())?;
    for (name, value) in variables {
        let is_own = |known: &Value| {
            known.as_str().and_then(|known| known.split_once('=')).is_some_and(|(known, _)| known == name)
        };
        if !env.iter().any(is_own) {
            env.push(Value::String(format!("{name}={value}")));
        }
    }
    Ok(())
}

/// Does what descriptions say of the devices that were asked for, as they are now.
fn add_devices<'a>(document: &mut Value, requests: impl Iterator<Item = &'a DeviceRequest>) -> Result<()> {
    let registry = Registry::read(&cdi::registry::FOLDERS.map(Path::new));
    let lookup = |path: &str| {
        let none = || Error::not_found(format!("CDI device injection failed: {path:?} is not a device node"));
        host::device(Path::new(path))?.ok_or_else(none)
    };
    for request in requests {
        let edits = registry.edits(&request.names()?).map_err(|error| match request.is_by_name() {
            true => error,
            // As docker tells it of `--gpus`, and why.
            false => request.no_driver().and(&error),
        })?;
        for edits in &edits {
            cdi::edit::apply(document, edits, &lookup, rootless::is_in_user_namespace())?;
        }
    }
    Ok(())
}
