//! `shim run`: `create`, `start`, and what the program prints and is told.

use crate::cli::create_flags::{CREATE_FLAGS, CREATE_REFUSED, DETACH};
use crate::cli::flags::{Arity, Form, Given};
use crate::cli::spec_flags::SPEC_FLAGS;
use crate::cli::{Globals, USAGE, Verb};
use crate::command::attach::{self, DETACH_KEYS, SIG_PROXY};
use crate::command::{FAILURE, containers, create, report};
use crate::container::create::Created;
use crate::container::record::Container;
use crate::container::store::Containers;
use crate::container::{ContainerId, remove};
use crate::error::{Error, Kind, Result};
use crate::monitor;
use crate::output;
use crate::stream::client::{self, Ended};
use crate::stream::keys::DetachKeys;
use crate::stream::protocol::{Attach, Frame, Start};
use crate::stream::session::{self, Wanted};
use crate::stream::terminal;

pub(super) const VERB: Verb = Verb {
    names: &["container run", "run"],
    about: "Create and run a new container from an image",
    form: Form {
        usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        flags: &[&SPEC_FLAGS, &CREATE_FLAGS, &[DETACH, DETACH_KEYS, SIG_PROXY], &CREATE_REFUSED],
        arity: Arity::AtLeast(1),
        flags_end_at_argument: true,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let detached = given.is_on("detach");
    let reads = given.is_on("interactive") || given.texts("attach")?.iter().any(|text| is_stdin(text));
    if !detached && let Err(error) = terminal::check(reads, given.is_on("tty")) {
        // Docker's status for this alone.
        return Ok(report(&error).max(FAILURE));
    }
    made_and_run(globals, given, detached).or_else(|error| {
        let code = report(&error);
        // 125 says that it was we who failed, and not the program.
        Ok(if matches!(error.kind(), Kind::Interrupted | Kind::Unread) { code } else { USAGE })
    })
}

fn is_stdin(stream: &str) -> bool {
    stream.eq_ignore_ascii_case("stdin")
}

fn made_and_run(globals: &Globals, given: &Given, detached: bool) -> Result<u8> {
    if detached && given.last("attach").is_some() {
        return Err(Error::usage("conflicting options: cannot specify both --attach and --detach"));
    }
    let keys = DetachKeys::parse(given.text("detach-keys")?.unwrap_or_default())?;
    // Before anything runs: what a program finds at its start is the size that it is drawn by.
    let size = if given.is_on("tty") && !detached { terminal::size() } else { None };
    let Created { container, operation: mut lock, .. } = create::made(globals, given, detached, Some(size))?;
    let (containers, config) = (containers(globals)?, &container.config);
    let attach =
        Attach { stdin: config.attach_stdin, stdout: config.attach_stdout, stderr: config.attach_stderr };
    if !attach.stdout && !attach.stderr {
        output::print(&format!("{}\n", container.id))?;
    }
    let id = ContainerId::parse(&container.id)?;
    let begun = monitor::launch(&containers, &id, Start { attach, size, adopt: false });
    let mut connection = begun.map_err(|error| given_up(&containers, &container, error))?;
    if detached {
        return match client::read_frame(&mut connection)? {
            Frame::Failed(code, reason) => Ok(failed(&containers, &container, code, &reason)),
            _ => Ok(0),
        };
    }
    // Whoever removes or renames it waits until it runs.
    let mut started = |_| drop(lock.take());
    let wanted = Wanted {
        attach,
        detach_keys: keys,
        sig_proxy: given.switched("sig-proxy").unwrap_or(true),
        started: Some(&mut started),
    };
    match session::follow(&containers, &container, connection, wanted)? {
        Ended::Failed(code, reason) => Ok(failed(&containers, &container, code, &reason)),
        // Who leaves by the keys has no failure.
        Ended::Detached => Ok(0),
        ended => Ok(attach::status(&ended)),
    }
}

/// Tells why it could not be started; the exit status.
fn failed(containers: &Containers, container: &Container, code: u8, reason: &str) -> u8 {
    let error = given_up(containers, container, Error::new(Kind::System, reason));
    output::complain(&error.to_string());
    code
}

/// Takes away what `--rm` wants away, when nothing of it has run.
fn given_up(containers: &Containers, container: &Container, error: Error) -> Error {
    if !container.host_config.auto_remove {
        return error;
    }
    match remove::discard(containers, container) {
        Ok(()) => error,
        Err(clean_up) => error.and(&clean_up),
    }
}
