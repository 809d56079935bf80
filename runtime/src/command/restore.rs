//! `restore`: makes a container from images; in the foreground, stays until its program ends.

use super::run::{Attendance, attend, consoles, poststart};
use crate::cli::{self, Globals};
use crate::create::parent::Bundle;
use crate::create::restore::{Request, restore};
use crate::error::{Call, Context, Result};
use crate::report::Log;
use crate::seal::Protection;
use crate::signals::Signals;

/// Carries out `restore`; the exit code is the program's, or 0 with `--detach`.
///
/// # Errors
/// Whatever keeps the container from running; nothing is left of it then.
pub fn execute(globals: &Globals, args: &cli::Restore, protection: Protection, log: &mut Log) -> Result<u8> {
    bring_back(globals, args, protection, log).context(|| format!("restore {:?}", args.id))
}

fn bring_back(globals: &Globals, args: &cli::Restore, protection: Protection, log: &mut Log) -> Result<u8> {
    drop(protection); // of what it protects there is no copy but this process
    let mut bundle = Bundle::load(&args.bundle, &args.id, log)?;
    if globals.systemd_cgroup {
        bundle.use_systemd(&args.id)?;
    }
    let (console, ours) = consoles(args.console_socket.as_deref(), args.detach, bundle.has_terminal())?;
    let mut signals = Signals::block()?;
    let reap_others = !args.detach && !args.no_subreaper && !bundle.has_own_pid_namespace();
    if reap_others {
        let this = Some(rustix::process::getpid());
        rustix::process::set_child_subreaper(this).call("prctl", || "PR_SET_CHILD_SUBREAPER")?;
    }
    let state_root = globals.state_root();
    let request = Request { state_root: &state_root, args, console };
    let born = poststart(restore(&request, &bundle, &mut signals, log)?, log)?;
    drop(request); // the other end of our own socket
    log.flush(); // from here on stderr is the program's
    if args.detach {
        return Ok(0);
    }
    attend(born, ours, &mut signals, Attendance { reap_others, keep: false }, log)
}
