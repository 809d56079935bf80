//! The supervisor: a small monitor for each container that runs, which outlives the command that started it.
//!
//! [`launch`] executes this program anew as `shim monitor`: nothing is forked with threads. It becomes two processes, each
//! with a single thread. The `keeper` has the lock that says "supervised", the socket, and a copy of every descriptor that
//! must not be closed; the `worker`, which it forks, does the work: `streams` and the `console`, `client`s, the `life` of
//! the program, restarts (`policy`), health checks (`health`, `probe`), want of memory (`oom`). A worker that is killed is
//! replaced (`adoption`); when both are killed, the container goes on, and the next command calls [`adopt`].
//!
//! What is recorded is written by the worker alone while it lives. Nothing that comes from the container, from its image
//! or over the socket decides about a path or a right here.

mod adoption;
mod attendant;
mod child;
mod client;
mod console;
mod control;
mod health;
mod keeper;
mod life;
pub mod oom;
mod policy;
mod probe;
mod reserve;
mod resolver;
mod seat;
mod streams;
pub mod terminal_exec;
mod worker;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use crate::container::ContainerId;
use crate::container::process::{ProcessId, boot_id};
use crate::container::store::Containers;
use crate::error::{Context, Error, Kind, Result};
use crate::own_program;
use crate::stream::protocol::{Frame, Start};

/// The hidden command.
pub const VERB: &str = "monitor";
/// Docker's exit status for what fails before the program is there.
pub const CANNOT_START: u8 = 125;
/// What the record of a container says that could not be started so; docker's.
const NEVER_RAN: i32 = 128;
/// How long taking over a container may take.
const ADOPTION: Duration = Duration::from_secs(30);
/// What a monitor knows of its caller's environment: where programs are, and how the user's own systemd is reached.
/// Anything else would be kept, and shown by /proc, for as long as the container runs.
const ENVIRONMENT: [&str; 4] = ["PATH", "HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"];

/// Starts a container with a monitor. What comes on the connection is first [`Frame::Started`] or [`Frame::Failed`]; from
/// then on it is a client's, attached as `start` says. The caller holds the container's lock of operations.
///
/// # Errors
/// The system's reason.
pub fn launch(containers: &Containers, id: &ContainerId, start: Start) -> Result<UnixStream> {
    if !start.adopt {
        // Before anything can be killed: until the monitor says so itself, a start is under way that is this process's.
        let (boot, own) = (boot_id()?, ProcessId::own()?);
        containers.update_state(id, false, |state| {
            state.is_starting = true;
            state.monitor = Some(own);
            state.boot = boot;
            state.stopped_by_user = false;
            state.restart_count = 0;
            state.error.clear();
        })?;
    }
    let words = || "start a monitor".to_owned();
    let (mut ours, theirs) = UnixStream::pair().during(words)?;
    let descriptor = theirs.as_raw_fd();
    spawn(containers, &[VERB, id.as_str(), &descriptor.to_string()], vec![descriptor]).during(words)?;
    drop(theirs);
    ours.write_all(&Frame::Start(start).encode()).during(words)?;
    Ok(ours)
}

/// Executes this program anew, with a hidden command, in a session of its own; it gets these descriptors.
fn spawn(containers: &Containers, words: &[&str], descriptors: Vec<RawFd>) -> Result<()> {
    let mut command = own_program::command();
    command.args(own_program::words(containers)).args(words);
    command.envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    sys::spawn::inherit_only(&mut command, descriptors, false);
    sys::spawn::lead_session(&mut command);
    command.spawn()?;
    Ok(())
}

/// Has a monitor take over a container that nobody looks after, and waits until what is recorded of it is right again.
///
/// # Errors
/// The system's reason; a monitor that cannot do it.
pub fn adopt(containers: &Containers, id: &ContainerId) -> Result<()> {
    let words = || format!("take over container {id}");
    let mut connection = launch(containers, id, Start { adopt: true, ..Start::default() }).during(words)?;
    connection.set_read_timeout(Some(ADOPTION)).during(words)?;
    // One byte is enough: the first frame comes when all is in order. Its end means that somebody else is at it, or
    // has been.
    match connection.read(&mut [0]) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(error).during(words),
    }
}

/// Keeps a container's monitor from starting it again, after a start that is under way: who changes what a start goes by
/// would change it half-way otherwise. None where it has no monitor. The caller has the container's lock of operations,
/// and has seen to it that nobody is to take it over ([`Containers::observe`]).
///
/// # Errors
/// A start that does not end; the system's reason.
pub fn hold_start(containers: &Containers, id: &ContainerId) -> Result<Option<File>> {
    let folder = containers.state_folder(id);
    // Where it is not there, only a command can start the container.
    if !folder.exists() {
        return Ok(None);
    }
    let late = || Error::new(Kind::Unavailable, format!("container {id}: a start of it does not end"));
    seat::lock(&folder, seat::START, life::START_MAX)?.ok_or_else(late).map(Some)
}

/// What the hidden command does: looks after a container until its last run is over.
///
/// # Errors
/// What kept it from beginning.
pub fn run(containers: Containers, id: ContainerId, starter: OwnedFd) -> Result<()> {
    keeper::run(containers, id, starter)
}

/// Takes the descriptor that [`launch`] has handed down.
///
/// # Errors
/// There is none of this number.
pub fn inherited(number: &str) -> Result<OwnedFd> {
    let wrong = || Error::usage(format!("{number:?} is no descriptor"));
    let fd: i32 = number.parse().ok().filter(|fd| *fd > 2).ok_or_else(wrong)?;
    std::fs::symlink_metadata(format!("/proc/self/fd/{fd}")).map_err(|_| wrong())?;
    Ok(sys::fd::adopt(fd))
}

/// As a shell has it: 0 to 255, or 128 and the number of a signal.
fn exit_status(code: Option<i32>, signal: Option<i32>) -> i32 {
    code.or_else(|| signal.map(|signal| 128 + signal)).unwrap_or(255)
}

/// The same of a status as wait(2) has it.
fn exit_status_of_wait(status: i32) -> i32 {
    let status = ExitStatus::from_raw(status);
    exit_status(status.code(), status.signal())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_status_is_as_a_shell_has_it() {
        assert_eq!((exit_status(Some(7), None), exit_status(None, Some(9))), (7, 137));
        assert_eq!((exit_status_of_wait(3 << 8), exit_status_of_wait(15)), (3, 143));
    }
}
