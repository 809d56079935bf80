//! `shim start`

use crate::cli::flags::{Arity, Form, Given, switch, value};
use crate::cli::{Globals, Verb};
use crate::command::attach::{self, DETACH_KEYS};
use crate::command::{FAILURE, containers, report};
use crate::container;
use crate::container::ContainerId;
use crate::container::record::Container;
use crate::container::state::Status;
use crate::container::store::Containers;
use crate::error::{Error, Kind, Result};
use crate::store::record::Lock;
use crate::stream::client::{self, Ended};
use crate::stream::keys::DetachKeys;
use crate::stream::protocol::{Attach, Frame, Start};
use crate::stream::session::{self, Wanted};
use crate::stream::terminal;
use crate::{monitor, output};

pub(super) const VERB: Verb = Verb {
    names: &["container start", "start"],
    about: "Start one or more stopped containers",
    form: Form {
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        flags: &[&[
            switch("attach", "Attach STDOUT/STDERR and forward signals").short('a'),
            value("checkpoint", "string", "Restore from this checkpoint").hidden(),
            value("checkpoint-dir", "string", "Use a custom checkpoint storage directory").hidden(),
            DETACH_KEYS,
            switch("interactive", "Attach container's STDIN").short('i'),
        ]],
        arity: Arity::AtLeast(1),
        flags_end_at_argument: false,
    },
    run,
};

fn run(globals: &Globals, given: &Given) -> Result<u8> {
    for flag in ["checkpoint", "checkpoint-dir"] {
        if given.last(flag).is_some() {
            return Err(Error::usage(format!(
                "--{flag} is not supported: the runtime's own `restore` does it"
            )));
        }
    }
    let (containers, words) = (containers(globals)?, given.words()?);
    if given.is_on("attach") || given.is_on("interactive") {
        let [word] = words[..] else {
            return Err(Error::usage("you cannot start and attach multiple containers at once"));
        };
        return attached(&containers, given, word);
    }
    let mut failed = Vec::new();
    for word in words {
        match start(&containers, word) {
            Ok(()) => output::print(&format!("{word}\n"))?,
            Err(error) => {
                let _ = report(&error);
                failed.push(word);
            }
        }
    }
    if failed.is_empty() {
        return Ok(0);
    }
    output::complain(&format!("failed to start containers: {}", failed.join(", ")));
    Ok(FAILURE)
}

/// A container that is to be started, and that nobody else starts or removes meanwhile.
struct Starting {
    id: ContainerId,
    container: Container,
    /// It runs.
    is_running: bool,
    lock: Lock,
}

fn begin(containers: &Containers, word: &str) -> Result<Starting> {
    let id = containers.find(word)?;
    let lock = containers.operation(&id)?;
    let starting = check(containers, id, lock)?;
    let removes = starting.container.host_config.auto_remove;
    if removes && containers.state(&starting.id)?.status == Status::Exited {
        // Its monitor is about to do that.
        return Err(going());
    }
    Ok(starting)
}

/// Can it be started?
fn check(containers: &Containers, id: ContainerId, lock: Lock) -> Result<Starting> {
    let found = containers.observe(&id)?.ok_or_else(|| container::missing(&id))?;
    let is_running = match found.state.status {
        Status::Running | Status::Restarting => true,
        Status::Paused => {
            return Err(Error::conflict("cannot start a paused container, try unpause instead"));
        }
        Status::Removing | Status::Dead => return Err(going()),
        Status::Created | Status::Exited => false,
    };
    if found.is_orphan {
        monitor::adopt(containers, &id)?;
    }
    Ok(Starting { id, container: found.container, is_running, lock })
}

fn going() -> Error {
    Error::conflict("container is marked for removal and cannot be started")
}

/// Starts a container; one that runs is fine.
fn start(containers: &Containers, word: &str) -> Result<()> {
    launch(containers, &begin(containers, word)?)
}

/// The same of one that the caller has locked for operations.
pub(super) fn start_locked(containers: &Containers, id: ContainerId, lock: Lock) -> Result<()> {
    launch(containers, &check(containers, id, lock)?)
}

fn launch(containers: &Containers, starting: &Starting) -> Result<()> {
    if starting.is_running {
        return Ok(());
    }
    let mut connection = monitor::launch(containers, &starting.id, Start::default())?;
    match client::read_frame(&mut connection)? {
        Frame::Failed(_, reason) => Err(Error::new(Kind::System, reason)),
        _ => Ok(()),
    }
}

/// `--attach`, `--interactive`: to the end of its program, whose status is the answer.
fn attached(containers: &Containers, given: &Given, word: &str) -> Result<u8> {
    let keys = DetachKeys::parse(given.text("detach-keys")?.unwrap_or_default())?;
    let Starting { id, container, is_running, lock } = begin(containers, word)?;
    let config = &container.config;
    let stdin = given.is_on("interactive") && config.open_stdin;
    let attach = Attach { stdin, stdout: true, stderr: true };
    let size = if config.tty { terminal::size() } else { None };
    let mut lock = Some(lock);
    let mut started = |_| drop(lock.take());
    let (connection, started): (_, Option<&mut dyn FnMut(i32)>) = if is_running {
        let mut connection = client::connect(&containers.state_folder(&id))?;
        client::attach(&mut connection, attach)?;
        started(0);
        (connection, None)
    } else {
        (monitor::launch(containers, &id, Start { attach, size, adopt: false })?, Some(&mut started))
    };
    let sig_proxy = given.is_on("attach") && !config.tty;
    let wanted = Wanted { attach, detach_keys: keys, sig_proxy, started };
    match session::follow(containers, &container, connection, wanted)? {
        Ended::Failed(_, reason) => {
            output::complain(&reason);
            Ok(FAILURE)
        }
        Ended::Detached => Ok(0),
        ended => Ok(attach::status(&ended)),
    }
}
