//! `shim attach`

use crate::cli::flags::{Arity, Flag, Form, Given, switch, value};
use crate::cli::{Globals, Verb};
use crate::container;
use crate::container::state::Status;
use crate::error::{Error, Result};
use crate::stream::client::{self, Ended};
use crate::stream::keys::DetachKeys;
use crate::stream::protocol::Attach;
use crate::stream::session::{self, Wanted};
use crate::stream::terminal;

/// `--detach-keys`
pub(super) const DETACH_KEYS: Flag =
    value("detach-keys", "string", "Override the key sequence for detaching a container")
        .checked(keys_are_valid);

fn keys_are_valid(text: &str) -> std::result::Result<(), String> {
    DetachKeys::parse(text).map(drop).map_err(|error| error.to_string())
}

/// `--sig-proxy`
pub(super) const SIG_PROXY: Flag =
    switch("sig-proxy", "Proxy received signals to the process (default true)");

pub(super) const VERB: Verb = Verb {
    names: &["container attach", "attach"],
    about: "Attach local standard input, output, and error streams to a running container",
    form: Form {
        usage: "[OPTIONS] CONTAINER",
        flags: &[&[DETACH_KEYS, switch("no-stdin", "Do not attach STDIN"), SIG_PROXY]],
        arity: Arity::Exactly(1),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    let containers = super::containers(globals)?;
    let words = given.words()?;
    let word = words.first().copied().unwrap_or_default();
    let id = containers.find(word)?;
    let found = containers.observe(&id)?.ok_or_else(|| container::missing(word))?;
    let refused = match found.state.status {
        Status::Running => None,
        Status::Paused => Some("cannot attach to a paused container, unpause it first"),
        Status::Restarting => Some("cannot attach to a restarting container, wait until it is running"),
        _ => Some("cannot attach to a stopped container, start it first"),
    };
    if let Some(reason) = refused {
        return Err(Error::conflict(format!("You {reason}")));
    }
    let config = &found.container.config;
    let wants_stdin = !given.is_on("no-stdin");
    terminal::check(wants_stdin, config.tty)?;
    let attach = Attach { stdin: wants_stdin && config.open_stdin, stdout: true, stderr: true };
    let mut connection = client::connect(&containers.state_folder(&id))?;
    client::attach(&mut connection, attach)?;
    let wanted = Wanted {
        attach,
        detach_keys: DetachKeys::parse(given.text("detach-keys")?.unwrap_or_default())?,
        // As docker: at a terminal, keys are its signals.
        sig_proxy: given.switched("sig-proxy").unwrap_or(true) && !config.tty,
        started: None,
    };
    let ended = session::follow(&containers, &found.container, connection, wanted)?;
    Ok(status(&ended))
}

/// The exit status of a command that has followed a container: the program's own, or what a shell says of a command that
/// a signal has ended. One that was left is none of both, which docker calls a failure.
pub(super) fn status(ended: &Ended) -> u8 {
    let of = |code: i32| u8::try_from(code & 0xff).unwrap_or(u8::MAX);
    match ended {
        Ended::Exit(exit) => of(exit.code),
        Ended::Failed(code, _) => *code,
        Ended::Signalled(signal) => of(128 + signal),
        Ended::Detached | Ended::Lost => super::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::protocol::Exit;

    #[test]
    fn the_exit_status_is_the_programs() {
        let exit = |code| Ended::Exit(Exit { code, ..Exit::default() });
        for (ended, code) in [
            (exit(0), 0),
            (exit(137), 137),
            (Ended::Failed(127, String::new()), 127),
            (Ended::Signalled(15), 143),
            (Ended::Detached, 1),
        ] {
            assert_eq!(status(&ended), code);
        }
    }
}
