//! `run`: makes a container and starts it at once; in the foreground, stays until its program ends.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use oci_spec::runtime::ContainerState;

use super::create::request;
use crate::bail;
use crate::cli::{self, Globals};
use crate::container::group::Files;
use crate::container::{Entry, LOCK_WAIT, Locked, Record, Store, delete};
use crate::create::handover;
use crate::create::parent::{Born, Bundle, create};
use crate::error::{Call, Context, Error, Kind, Result};
use crate::foreground::{self, Terminal};
use crate::hooks;
use crate::report::Log;
use crate::seal::Protection;
use crate::signals::Signals;

/// Carries out `run`; the exit code is the program's, or 0 with `--detach`.
///
/// # Errors
/// Whatever keeps the container from running; nothing is left of it then.
pub fn execute(globals: &Globals, args: &cli::Run, protection: Protection, log: &mut Log) -> Result<u8> {
    run(globals, args, protection, log).context(|| format!("run {:?}", args.create.id))
}

fn run(globals: &Globals, args: &cli::Run, protection: Protection, log: &mut Log) -> Result<u8> {
    let mut bundle = Bundle::load(&args.create.bundle, &args.create.id, log)?;
    if globals.systemd_cgroup {
        bundle.use_systemd(&args.create.id)?;
    }
    let (console, ours) =
        consoles(args.create.console_socket.as_deref(), args.detach, bundle.has_terminal())?;
    if ours.is_some() {
        bundle.take_terminal(foreground::own_size());
    }
    let mut signals = Signals::block()?;
    let own_pid_namespace = bundle.has_own_pid_namespace();
    let reap_others = !args.detach && !args.no_subreaper && !own_pid_namespace;
    if reap_others {
        let this = Some(rustix::process::getpid());
        rustix::process::set_child_subreaper(this).call("prctl", || "PR_SET_CHILD_SUBREAPER")?;
    }
    let state_root = globals.state_root();
    let request = request(globals, &args.create, &bundle, &state_root, console, false);
    let born = create(&request, &bundle, protection, &mut signals, log)?;
    let born = poststart(born, log)?;
    log.flush(); // from here on stderr is the program's
    if args.detach {
        return Ok(0);
    }
    attend(born, ours, &mut signals, Attendance { reap_others, keep: args.keep }, log)
}

/// How a program in the foreground is attended to.
pub(super) struct Attendance {
    /// Whether processes that the container leaves behind are ours to reap.
    pub reap_others: bool,
    /// Whether the container stays when its program has ended.
    pub keep: bool,
}

/// Stays until the program ends, whose exit code it returns; `ours` is where its terminal comes from, if it has one.
///
/// # Errors
/// A terminal that does not come, for want of which the container is undone; a failure to attend to the program.
pub(super) fn attend(
    born: Born,
    ours: Option<UnixStream>,
    signals: &mut Signals,
    how: Attendance,
    log: &mut Log,
) -> Result<u8> {
    let terminal = ours.map(|socket| Terminal::receive(socket.as_fd())).transpose();
    let Born { store, locked, record, pidfd } = born;
    let terminal = match terminal {
        Ok(terminal) => terminal,
        Err(error) => return Err(undo(error, &store, locked, &record, log)),
    };
    let entry = locked.unlock(); // others may kill and delete it while it runs
    let ended = foreground::supervise(pidfd.as_fd(), signals, terminal, how.reap_others, log);
    if how.keep {
        return ended;
    }
    // Also where nobody can attend to it any more: its caller would not know of it.
    let removed = remove_ended(&store, entry, &record, log);
    match (ended, removed) {
        (Err(mut error), Err(failed)) => {
            error.attach(&failed);
            Err(error)
        }
        (ended, removed) => ended.and_then(|code| removed.map(|()| code)),
    }
}

/// Where the container's side sends its terminal, and our end of that where the terminal comes to us.
///
/// # Errors
/// Combinations in which nobody has the terminal, or two do.
pub(super) fn consoles(
    console_socket: Option<&Path>,
    detach: bool,
    terminal: bool,
) -> Result<(Option<OwnedFd>, Option<UnixStream>)> {
    match (console_socket, terminal) {
        (None, false) => Ok((None, None)),
        (Some(_), false) => bail!("--console-socket: process.terminal is false"),
        (Some(path), true) if detach => Ok((Some(handover::connect_console(path)?), None)),
        (Some(_), true) => bail!("--console-socket: needs --detach; in the foreground the terminal is ours"),
        (None, true) if detach => {
            bail!("process.terminal: with --detach it needs --console-socket, which receives the terminal")
        }
        (None, true) => {
            let (theirs, ours) = UnixStream::pair().call("socketpair", || "")?;
            Ok((Some(theirs.into()), Some(ours)))
        }
    }
}

/// The poststart hooks; a failure stops and destroys the container (runtime.md "Lifecycle" step 9).
pub(super) fn poststart(born: Born, log: &mut Log) -> Result<Born> {
    let hooks = &born.record.hooks.poststart;
    if hooks.is_empty() {
        return Ok(born);
    }
    let ran = born
        .record
        .state(ContainerState::Running)
        .and_then(|state| hooks::run("poststart", hooks, &state, &born.record.bundle));
    match ran {
        Ok(()) => Ok(born),
        Err(error) => {
            let Born { store, locked, record, .. } = born;
            Err(undo(error, &store, locked, &record, log))
        }
    }
}

/// Stops and removes the container because of `error`, which is given back with what failed meanwhile.
fn undo(mut error: Error, store: &Store, locked: Locked, record: &Record, log: &mut Log) -> Error {
    let mut warn = |error: Error| log.warning(error.to_string());
    if let Err(failed) = delete::destroy(store, locked, record, &Files, &mut warn) {
        error.attach(&failed);
    }
    error
}

/// Takes the container away, unless somebody else already has: its folder is open, so that none of the same
/// name can be taken for it. Nothing of the record that matters here changes after the birth.
fn remove_ended(store: &Store, entry: Entry, record: &Record, log: &mut Log) -> Result<()> {
    let locked = match entry.lock(store, LOCK_WAIT) {
        Err(error) if error.kind() == Kind::NotFound => return Ok(()),
        result => result?,
    };
    let mut warn = |error: Error| log.warning(error.to_string());
    delete::destroy(store, locked, record, &Files, &mut warn)
}
