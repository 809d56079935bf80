//! Following a container to its end: what `attach`, `run` and `start --attach` have in common beyond the connection.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::client::{self, Ended, Options};
use super::keys::DetachKeys;
use super::protocol::{Attach, Exit};
use crate::container::ContainerId;
use crate::container::record::Container;
use crate::container::store::Containers;
use crate::error::Result;
use crate::event;
use crate::output;

/// How often another monitor is looked for, with a pause before each time but the first: its keeper has it back at once.
const ATTEMPTS: u32 = 100;
/// How long the pause is.
const PAUSE: Duration = Duration::from_millis(50);
/// What docker says when somebody has typed the detach keys.
pub const LEFT: &str = "read escape sequence";

/// What is to be passed on.
#[derive(Default)]
pub struct Wanted<'a> {
    /// Which streams; the monitor knows it already.
    pub attach: Attach,
    /// By which keys somebody leaves.
    pub detach_keys: DetachKeys,
    /// Signals are passed on to the container.
    pub sig_proxy: bool,
    /// See [`Options::started`].
    pub started: Option<&'a mut dyn FnMut(i32)>,
}

/// Follows a container over a connection of `monitor::launch`, whose answer has not been read, or one that is attached.
/// A monitor that is killed meanwhile is replaced, and so is the connection. That somebody has left by the detach keys is
/// told on standard error.
///
/// # Errors
/// As [`client::follow`].
pub fn follow(
    containers: &Containers,
    container: &Container,
    connection: UnixStream,
    wanted: Wanted,
) -> Result<Ended> {
    let id = ContainerId::parse(&container.id)?;
    let runtime = containers.runtime(container);
    // Whoever has ended meanwhile gets no signal any more; all else the runtime has told.
    let mut forward = |signal: i32| drop(runtime.kill(id.as_str(), &signal.to_string()));
    let (attach, mut begun) = (wanted.attach, wanted.started);
    let is_starter = begun.is_some();
    let mut started = |pid: i32| begun.iter_mut().for_each(|started| started(pid));
    let mut again = || attach_again(containers, &id, attach);
    let options = Options {
        attach,
        tty: container.config.tty,
        detach_keys: wanted.detach_keys,
        forward: if wanted.sig_proxy { Some(&mut forward) } else { None },
        started: if is_starter { Some(&mut started) } else { None },
        again: Some(&mut again),
    };
    event::emit(containers.state_root(), "attach", container, &[]);
    let ended = client::follow(connection, options)?;
    if ended == Ended::Detached {
        event::emit(containers.state_root(), "detach", container, &[]);
        output::complain(LEFT);
    }
    if ended == Ended::Lost {
        // Whoever is removed leaves nothing to ask.
        let state =
            containers.observe(&id)?.map(|found| found.state).filter(|state| !state.status.has_process());
        return Ok(state.map_or(Ended::Lost, |state| {
            Ended::Exit(Exit { code: state.exit_code, oom: state.oom_killed, error: state.error })
        }));
    }
    Ok(ended)
}

/// A connection to the monitor that took the place of a killed one, while the container's program runs.
fn attach_again(containers: &Containers, id: &ContainerId, attach: Attach) -> Result<Option<UnixStream>> {
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        match containers.observe(id)? {
            Some(found) if found.state.status.has_process() => {}
            _ => return Ok(None),
        }
        let connected = client::connect(&containers.state_folder(id)).and_then(|mut connection| {
            client::attach(&mut connection, attach)?;
            Ok(connection)
        });
        if let Ok(connection) = connected {
            return Ok(Some(connection));
        }
    }
    Ok(None)
}
