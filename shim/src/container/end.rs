//! A container's end as the user wants it: `stop`, `kill`, and `wait` for it.
//!
//! Signals go to the process of the record, by a descriptor that is verified to be of it. Whether the container has ended,
//! its monitor says when everything that follows from the end is done, or what is recorded where there is no monitor.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::container::record::Container;
use crate::container::state::{State, Status};
use crate::container::store::{Containers, Found};
use crate::container::{self, ContainerId, attend, signal};
use crate::error::{Context, Error, Kind, Result};
use crate::event;
use crate::stream::client;
use crate::stream::protocol::{Decoder, Exit, Frame};

/// Seconds between a stop signal and SIGKILL where nobody says otherwise, as in Docker.
const PATIENCE: i64 = 10;
/// How long a killed program may take to end.
const KILLED: Duration = Duration::from_secs(30);
/// How long a killed one is waited for before its process is looked up again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long to wait before a monitor that has gone is looked for again.
const PAUSE: Duration = Duration::from_millis(50);

/// How somebody wants a container to stop.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stop {
    /// Which signal first; else the container's own, else SIGTERM.
    pub signal: Option<i32>,
    /// Seconds until SIGKILL; below 0 it never comes. Else the container's own, else 10.
    pub timeout: Option<i64>,
}

/// Does its program run, if only in a moment?
#[must_use]
pub fn is_up(state: &State) -> bool {
    state.status.has_process() || state.status == Status::Restarting
}

/// Stops a container; one that does not run is fine.
///
/// # Errors
/// No such container; one that does not even end by SIGKILL; the system's reason.
pub fn stop(containers: &Containers, id: &ContainerId, how: Stop) -> Result<()> {
    let found = there(containers, id)?;
    if !is_up(&found.state) {
        return Ok(());
    }
    let config = &found.container.config;
    let signal = how.signal.unwrap_or_else(|| own_signal(&found.container));
    let seconds = how.timeout.or(config.stop_timeout).unwrap_or(PATIENCE);
    let mut end = End::wanted(containers, id)?;
    send(containers, &found, signal)?;
    let patience = u64::try_from(seconds).ok().map(Duration::from_secs);
    if end.wait(patience)?.is_none() {
        // It may have been started anew or resumed meanwhile.
        send(containers, &there(containers, id)?, signal::KILL)?;
        end.wait(Some(KILLED))?.ok_or_else(|| still_there(id))?;
    }
    event::emit(containers.state_root(), "stop", &found.container, &[]);
    Ok(())
}

/// Sends a signal to a container's program. After SIGKILL, waits until the container has ended.
///
/// # Errors
/// No such container; one that does not run, in Docker's words; the system's reason.
pub fn kill(containers: &Containers, id: &ContainerId, signal: i32) -> Result<()> {
    let found = there(containers, id)?;
    if !is_up(&found.state) {
        return Err(Error::conflict(format!("container {id} is not running")));
    }
    // Whoever is sent what ends it is not started again, as in Docker.
    if signal != signal::KILL && signal != own_signal(&found.container) {
        return send(containers, &found, signal);
    }
    let mut end = End::wanted(containers, id)?;
    send(containers, &found, signal)?;
    if signal != signal::KILL {
        return Ok(());
    }
    let until = Instant::now() + KILLED;
    while end.wait(Some(LOOK_AGAIN))?.is_none() {
        if Instant::now() >= until {
            return Err(still_there(id));
        }
        // Somebody may have started it anew between the look and the signal: then that is what runs.
        send(containers, &there(containers, id)?, signal)?;
    }
    Ok(())
}

/// Waits until a container does not run; its exit status.
///
/// # Errors
/// No such container; the system's reason.
pub fn wait(containers: &Containers, id: &ContainerId) -> Result<i32> {
    let found = there(containers, id)?;
    if !is_up(&found.state) {
        return Ok(found.state.exit_code);
    }
    let mut end = End { containers, id, request: Frame::Wait, connection: None, decoder: Decoder::default() };
    loop {
        if let Some(exit) = end.wait(None)? {
            return Ok(exit.code);
        }
    }
}

fn still_there(id: &ContainerId) -> Error {
    Error::new(
        Kind::System,
        format!("container {id} has been killed, and its end has not come: it may be waiting for a device"),
    )
}

fn there(containers: &Containers, id: &ContainerId) -> Result<Found> {
    attend::attend(containers, id)?.ok_or_else(|| container::missing(id))
}

/// Sends a signal to the process of the record; nobody gets it if that has ended. What stands still goes on if the signal
/// is to end it.
fn send(containers: &Containers, found: &Found, signal: i32) -> Result<()> {
    let (container, state) = (&found.container, &found.state);
    let Some(pidfd) = state.process.map(|process| process.open()).transpose()?.flatten() else {
        return Ok(());
    };
    if let Err(error) = sys::pidfd_send_signal(pidfd.as_fd(), signal)
        && error.errno != Errno::SRCH.raw_os_error()
    {
        let is_denied = error.errno == Errno::PERM.raw_os_error();
        return Err(Error::new(if is_denied { Kind::Denied } else { Kind::System }, error.to_string()));
    }
    let attributes = [("signal", signal.to_string())];
    let attributes = attributes.each_ref().map(|(name, value)| (*name, value.as_str()));
    event::emit(containers.state_root(), "kill", container, &attributes);
    let ends = signal == signal::KILL || own_signal(container) == signal;
    if state.status == Status::Paused && ends {
        // The signal waits for that, unless it is SIGKILL.
        go_on(containers, found)?;
    }
    Ok(())
}

/// Has a container that stands still go on. It may have ended, or go on, by now.
fn go_on(containers: &Containers, found: &Found) -> Result<()> {
    let (id, runtime) = (&found.container.id, containers.runtime(&found.container));
    if let Err(error) = runtime.resume(id)
        && runtime.state(id).is_ok_and(|state| state.status == "paused")
    {
        return Err(error);
    }
    let noted = containers.update_state(&ContainerId::parse(id)?, false, |state| {
        if state.status == Status::Paused && state.process == found.state.process {
            state.status = Status::Running;
        }
    });
    match noted {
        // It goes with its end.
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        noted => noted,
    }
}

/// The container's own stop signal. An image's that means nothing is as good as none.
fn own_signal(container: &Container) -> i32 {
    container.config.stop_signal.as_deref().and_then(|text| signal::number(text).ok()).unwrap_or(signal::TERM)
}

/// An end that is waited for.
struct End<'a> {
    containers: &'a Containers,
    id: &'a ContainerId,
    request: Frame,
    connection: Option<UnixStream>,
    decoder: Decoder,
}

impl<'a> End<'a> {
    /// The user wants it: from now on no policy starts the container again. To be said before any signal.
    fn wanted(containers: &'a Containers, id: &'a ContainerId) -> Result<End<'a>> {
        containers.update_state(id, false, |state| state.stopped_by_user = true)?;
        let mut end =
            End { containers, id, request: Frame::Stop, connection: None, decoder: Decoder::default() };
        end.connect();
        Ok(end)
    }

    /// Asks the monitor, if there is one that listens.
    fn connect(&mut self) {
        self.decoder = Decoder::default();
        let connected = client::connect(&self.containers.state_folder(self.id));
        self.connection =
            connected.ok().filter(|mut connection| connection.write_all(&self.request.encode()).is_ok());
    }

    /// Waits for the end, at most so long; how it ended.
    fn wait(&mut self, patience: Option<Duration>) -> Result<Option<Exit>> {
        let until = patience.map(|patience| Instant::now() + patience);
        loop {
            if self.connection.is_none() {
                if let Some(exit) = self.recorded()? {
                    return Ok(Some(exit));
                }
                self.connect();
            }
            let rest = until.map(|until| until.saturating_duration_since(Instant::now()));
            match &mut self.connection {
                Some(connection) => {
                    if !readable(connection, rest)? {
                        return Ok(None);
                    }
                    if let Some(exit) = self.hear()? {
                        return Ok(Some(exit));
                    }
                }
                None if rest == Some(Duration::ZERO) => return Ok(None),
                None => std::thread::sleep(rest.unwrap_or(PAUSE).min(PAUSE)),
            }
        }
    }

    /// What is recorded, if that is an end. Where nobody looked after the container, somebody does from now on.
    fn recorded(&self) -> Result<Option<Exit>> {
        let state = match attend::attend(self.containers, self.id)? {
            Some(found) if is_up(&found.state) => return Ok(None),
            Some(found) => found.state,
            // Removed by its end.
            None => State::default(),
        };
        Ok(Some(Exit { code: state.exit_code, oom: state.oom_killed, error: state.error }))
    }

    /// Takes what the monitor says. One that is gone is asked no more.
    fn hear(&mut self) -> Result<Option<Exit>> {
        let Some(connection) = &mut self.connection else { return Ok(None) };
        let mut buffer = [0; 4096];
        match connection.read(&mut buffer) {
            Ok(0) => self.connection = None,
            Ok(count) => self.decoder.push(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => self.connection = None,
            Err(error) => return Err(error).during(|| format!("container {}: its monitor", self.id)),
        }
        while let Some(frame) = self.decoder.next_frame()? {
            if let Frame::Exit(exit) = frame {
                return Ok(Some(exit));
            }
        }
        Ok(None)
    }
}

/// Is there anything to read before the time is over?
fn readable(connection: &UnixStream, rest: Option<Duration>) -> Result<bool> {
    let rest = rest.map(Timespec::try_from).transpose().map_err(|_| Error::usage("such a long time"))?;
    loop {
        match poll(&mut [PollFd::new(connection, PollFlags::IN)], rest.as_ref()) {
            // The time begins anew: nobody sends so many signals that it matters.
            Err(Errno::INTR) => {}
            count => return Ok(count.during(|| "poll".into())? > 0),
        }
    }
}
