//! `create`: makes a container that waits for `start`.

use crate::bail;
use crate::cgroup::systemd;
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
    let mut bundle = Bundle::load(&args.bundle, &args.id, log)?;
    if globals.systemd_cgroup {
        bundle.use_systemd(&args.id)?;
    }
    let console = match (&args.console_socket, bundle.has_terminal()) {
        (Some(path), true) => Some(handover::connect_console(path)?),
        (None, false) => None,
        (None, true) => bail!("process.terminal: needs --console-socket, which receives the terminal"),
        (Some(_), false) => bail!("--console-socket: process.terminal is false"),
    };
    let mut signals = Signals::block()?;
    let state_root = globals.state_root();
    let request = request(globals, args, &bundle, &state_root, console, true);
    create(&request, &bundle, protection, &mut signals, log)
}

/// The request that the arguments make.
pub(super) fn request<'a>(
    globals: &Globals,
    args: &'a cli::Create,
    bundle: &Bundle,
    state_root: &'a cli::StateRoot,
    console: Option<std::os::fd::OwnedFd>,
    gate: bool,
) -> Request<'a> {
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
        rootless: globals.rootless.unwrap_or_else(|| is_rootless(globals, bundle)),
    }
}

/// `--rootless auto`, as runc decides: an ordinary user, or root of a user namespace. What such a root may do with
/// cgroups is not to be seen beforehand; but with systemd it is known whose systemd will answer.
fn is_rootless(globals: &Globals, bundle: &Bundle) -> bool {
    if !nix::unistd::geteuid().is_root() {
        return true;
    }
    let user_of_systemd = || systemd::user().is_ok_and(|user| user.is_some());
    bundle.is_made_in_user_namespace() && (!globals.systemd_cgroup || user_of_systemd())
}
