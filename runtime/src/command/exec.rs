//! `exec`: runs a further program in a container; in the foreground, stays until it ends.

use std::os::fd::AsFd;

use super::run::consoles;
use crate::cli::{self, Globals};
use crate::create::handover;
use crate::error::{Context, Result};
use crate::exec::{Container, Request, process};
use crate::foreground::{self, Terminal};
use crate::report::Log;
use crate::seal::Protection;
use crate::signals::Signals;

/// Carries out `exec`; the exit code is the program's, or 0 with `--detach`.
///
/// # Errors
/// Whatever keeps the program from running; no process is left of it then.
pub fn execute(globals: &Globals, args: &cli::Exec, protection: Protection, log: &mut Log) -> Result<u8> {
    exec(globals, args, protection, log).context(|| format!("{:?}", args.id)).context(|| "exec failed")
}

fn exec(globals: &Globals, args: &cli::Exec, protection: Protection, log: &mut Log) -> Result<u8> {
    let container = Container::find(&globals.state_root().path, &args.id, args.ignore_paused)?;
    let mut plan = container.plan(args, log)?;
    // step 3: connect the sockets that the terminal and the pidfd go to
    let (console, ours) = consoles(args.console_socket.as_deref(), args.detach, plan.process.terminal)?;
    if ours.is_some() {
        plan.process.take_terminal(foreground::own_size());
    }
    let pidfd_socket = args.pidfd_socket.as_deref();
    let connect = |path| handover::connect_pidfd(path).map(|socket| (socket, path));
    let request = Request {
        console,
        pidfd_socket: pidfd_socket.map(connect).transpose()?,
        inherited: handover::preserved(args.preserve_fds)?,
        cgroup: args.cgroup.as_deref().map(|path| process::text("--cgroup", path)).transpose()?,
    };
    let mut signals = Signals::block()?;
    let born = container.exec(&plan, request, &mut signals, log)?;
    // step 19: write the pid file
    if let Some(path) = &args.pid_file {
        handover::write_pid_file(path, born.pid).map_err(|error| born.undo(error))?;
    }
    log.flush(); // from here on stderr is the program's
    if args.detach {
        return Ok(0);
    }
    // Whoever lets go of it last has to wait for the kernel: here the program runs meanwhile, and in the new process,
    // which has closed its copy, it would not yet.
    drop(protection);
    // step 20: pass signals, input and output on until the program ends
    let terminal = ours.map(|socket| Terminal::receive(socket.as_fd())).transpose();
    let terminal = terminal.map_err(|error| born.undo(error))?;
    // step 21: its exit status is the runtime's
    foreground::supervise(born.pidfd.as_fd(), &mut signals, terminal, false, log)
        .map_err(|error| born.undo(error))
}
