//! The end of a container: its processes, its mounts, what its runtime knows, its folders and its name, in this order.
//!
//! Whoever removes says so in the state first (`removing`), so that the monitor, which may be about to remove the same
//! container (`--rm`), leaves it alone.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Signal, pidfd_send_signal};

use crate::container::process::ProcessId;
use crate::container::record::Container;
use crate::container::state::{State, Status};
use crate::container::store::Containers;
use crate::container::{self, ContainerId, root, sweep, volumes};
use crate::error::{Error, Kind, Result};
use crate::event;
use crate::network::endpoint;
use crate::store::gc;
use crate::store::image::ImageRecord;
use crate::stream::client;
use crate::stream::protocol::Frame;

/// How long a killed process may take to end: one in an uninterruptible sleep takes what it waits for.
const END_MAX: Duration = Duration::from_secs(30);
/// How long a monitor may take to see the end of what it looks after.
const MONITOR_MAX: Duration = Duration::from_secs(10);

/// Removes the container that a word means; a running one only `by_force`, which kills it. `with_volumes` has its volumes
/// without a name go too.
///
/// # Errors
/// No such container; one that runs, in Docker's words; the system's reason. What could not be removed whole is `dead`.
pub fn remove(containers: &Containers, word: &str, by_force: bool, with_volumes: bool) -> Result<()> {
    let id = containers.find(word)?;
    let _lock = containers.operation(&id)?;
    let found = containers.observe(&id)?.ok_or_else(|| container::missing(word))?;
    let name = &found.container.name;
    let is_running = found.state.status.has_process() || found.state.status == Status::Restarting;
    if is_running && !by_force {
        let reason = match found.state.status {
            Status::Paused => "container is paused and must be unpaused first".to_owned(),
            status => {
                let status = status.as_str();
                format!("container is {status}: stop the container before removing or force remove")
            }
        };
        return Err(Error::conflict(format!("cannot remove container \"/{name}\": {reason}")));
    }
    // What somebody has begun to remove, and was killed at, may be alive still.
    let lives = is_running || found.state.process.is_some_and(ProcessId::is_alive);
    containers.update_state(&id, false, |state| {
        state.status = Status::Removing;
        state.stopped_by_user = true;
    })?;
    let removed = (|| {
        if lives {
            end(containers, &id, &found.state)?;
        }
        wait_for_monitor(containers, &id)?;
        clear(containers, &found.container, with_volumes)
    })();
    removed.map_err(|error: Error| {
        let dead = |state: &mut State| {
            state.status = Status::Dead;
            state.error = error.to_string();
        };
        // It may be gone as far as anybody can see.
        let _ = containers.update_state(&id, true, dead);
        let kind = error.kind();
        Error::new(kind, format!("cannot remove container \"/{name}\": {error}"))
    })
}

/// Removes a container that was made just now and whose start failed; nothing of it runs.
///
/// # Errors
/// The system's reason.
pub fn discard(containers: &Containers, container: &Container) -> Result<()> {
    clear(containers, container, true)
}

/// Removes a container whose program has ended, for its monitor (`--rm`), unless somebody else is removing it; whether it
/// goes. It stays if somebody has it for a start: who does so waits for the monitor's end.
///
/// # Errors
/// The system's reason.
pub fn auto(containers: &Containers, container: &Container) -> Result<bool> {
    let id = ContainerId::parse(&container.id)?;
    let lock = loop {
        match containers.try_operation(&id) {
            Ok(Some(lock)) => break lock,
            Ok(None) => {}
            Err(error) if error.kind() == Kind::NotFound => return Ok(true),
            Err(error) => return Err(error),
        }
        let state = containers.state(&id)?;
        if state.status == Status::Removing {
            return Ok(true);
        }
        if state.is_starting || !goes_with_its_end(containers, &id)? {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let _lock = lock;
    // `restart` may have kept it before we had the lock.
    if !goes_with_its_end(containers, &id)? {
        return Ok(false);
    }
    clear(containers, container, true)?;
    Ok(true)
}

/// Does a container go when its program ends (`--rm`)? Not if somebody is about to start it again; one that is gone has gone.
///
/// # Errors
/// A damaged record, or the system's reason.
pub fn goes_with_its_end(containers: &Containers, id: &ContainerId) -> Result<bool> {
    let Some(container) = containers.get(id)? else { return Ok(true) };
    Ok(container.host_config.auto_remove && !is_kept(&containers.state(id)?))
}

fn is_kept(state: &State) -> bool {
    state.kept_by.is_some_and(ProcessId::is_alive)
}

/// Removes a container that should have gone: with its end, which its monitor did not live to see, or by a caller who was
/// killed in the middle of it; whether it is gone. Whoever is at it is left alone.
///
/// # Errors
/// The system's reason.
pub fn left_over(containers: &Containers, id: &ContainerId) -> Result<bool> {
    let Some(_lock) = containers.try_operation(id)? else { return Ok(false) };
    // Looked at again, now that nobody starts or removes it.
    let (Some(container), state) = (containers.get(id)?, containers.state(id)?) else { return Ok(true) };
    if !goes(containers, id, &container, &state)? {
        return Ok(false);
    }
    if state.process.is_some_and(ProcessId::is_alive) {
        end(containers, id, &state)?;
    }
    wait_for_monitor(containers, id)?;
    clear(containers, &container, container.host_config.auto_remove)?;
    Ok(true)
}

/// Should it have gone by now?
///
/// # Errors
/// The system's reason.
pub fn goes(containers: &Containers, id: &ContainerId, container: &Container, state: &State) -> Result<bool> {
    Ok(match state.status {
        Status::Removing => true,
        Status::Exited => {
            container.host_config.auto_remove && !is_kept(state) && !containers.is_supervised(id)?
        }
        _ => false,
    })
}

/// Kills its first process and waits for the end.
fn end(containers: &Containers, id: &ContainerId, state: &State) -> Result<()> {
    // One that waits to be started again has none; its monitor is told.
    let _ = ask_to_stop(&containers.state_folder(id));
    let current = containers.state(id)?.process;
    for process in [state.process, current].into_iter().flatten() {
        kill(process)?;
    }
    Ok(())
}

/// Says to the monitor that the container is not to be started again.
fn ask_to_stop(folder: &Path) -> Result<()> {
    let mut socket = client::connect(folder)?;
    socket.set_write_timeout(Some(MONITOR_MAX))?;
    Ok(socket.write_all(&Frame::Stop.encode())?)
}

fn kill(process: ProcessId) -> Result<()> {
    let Some(pidfd) = process.open()? else { return Ok(()) };
    match pidfd_send_signal(&pidfd, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(errno) => return Err(Error::from(errno)),
    }
    let words = || Error::new(Kind::System, format!("process {} was killed and does not end", process.pid));
    wait_until(END_MAX, || Ok(!process.is_alive()))?.then_some(()).ok_or_else(words)
}

/// Its last words may be under way; one that stands still for other reasons finds that the container is gone.
fn wait_for_monitor(containers: &Containers, id: &ContainerId) -> Result<()> {
    wait_until(MONITOR_MAX, || Ok(!containers.is_supervised(id)?)).map(drop)
}

/// Asks again and again; false if that is not so after this time.
fn wait_until(bound: Duration, mut is_so: impl FnMut() -> Result<bool>) -> Result<bool> {
    let end = Instant::now() + bound;
    let mut pause = Duration::from_micros(200);
    loop {
        if is_so()? {
            return Ok(true);
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// Takes everything away; its processes have ended, or are the runtime's to end.
fn clear(containers: &Containers, container: &Container, with_volumes: bool) -> Result<()> {
    let id = ContainerId::parse(&container.id)?;
    if containers.runtime_root(&container.runtime_path).join(id.as_str()).exists() {
        containers.runtime(container).delete(id.as_str())?;
    }
    endpoint::detach(containers, container)?;
    root::detach(containers, &id)?;
    volumes::release(containers, container, false)?;
    // While it is still there: who is killed in between goes on with it later.
    if with_volumes {
        volumes::remove(containers, container)?;
    }
    containers.remove(&id)?;
    event::emit(containers.state_root(), "destroy", container, &[]);
    sweep::after_crash(containers)?;
    // Its layers may be nobody's by now: the image may have gone while it stood.
    if ImageRecord::open(containers.root()).read()?.get(&container.image).is_none() {
        gc::collect(containers.root(), || containers.held())?;
    }
    Ok(())
}
