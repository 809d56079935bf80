//! `create`: makes a container that waits for `start`.

use crate::bail;
use crate::cli::{self, Globals};
use crate::create::handover;
use crate::create::parent::{Born, Bundle, Request, create};
use crate::error::{Context, Result};
use crate::report::Log;
use crate::seal::Protection;
use crate::signals::Signals;

/// Carries out `create`; the exit code is 0.
///
/// # Errors
/// Whatever keeps the container from being made; nothing is left of it then.
pub fn execute(globals: &Globals, args: &cli::Create, protection: Protection, log: &mut Log) -> Result<u8> {
    make(globals, args, protection, log).context(|| format!("create {:?}", args.id))?;
    Ok(0)
}

fn make(globals: &Globals, args: &cli::Create, protection: Protection, log: &mut Log) -> Result<Born> {
    let bundle = Bundle::load(&args.bundle, &args.id, log)?;
    let console = match (&args.console_socket, bundle.has_terminal()) {
        (Some(path), true) => Some(handover::connect_console(path)?),
        (None, false) => None,
        (None, true) => bail!("process.terminal: needs --console-socket, which receives the terminal"),
        (Some(_), false) => bail!("--console-socket: process.terminal is false"),
    };
    let mut signals = Signals::block()?;
    let state_root = globals.state_root();
    let request = request(globals, args, &state_root, console, true, log);
    create(&request, &bundle, protection, &mut signals, log)
}

/// The request that the arguments make.
pub(super) fn request<'a>(
    globals: &Globals,
    args: &'a cli::Create,
    state_root: &'a cli::StateRoot,
    console: Option<std::os::fd::OwnedFd>,
    gate: bool,
    log: &mut Log,
) -> Request<'a> {
    if globals.systemd_cgroup {
        log.warning(
            "--systemd-cgroup: systemd's driver is not part of this build; the cgroup is made by its files",
        );
    }
    Request {
        state_root,
        id: &args.id,
        bundle: &args.bundle,
        console,
        pidfd_socket: args.pidfd_socket.as_deref(),
        pid_file: args.pid_file.as_deref(),
        no_pivot: args.no_pivot,
        no_new_keyring: args.no_new_keyring,
        preserve_fds: args.preserve_fds,
        gate,
        rootless: globals.rootless.unwrap_or_else(|| !nix::unistd::geteuid().is_root()),
    }
}
