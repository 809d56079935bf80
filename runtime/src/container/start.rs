//! `start` (runtime.md "Start"): opens the gate of a created container and learns how it went.

use std::os::fd::AsFd;
use std::time::Duration;

use oci_spec::runtime::ContainerState;

use super::delete::{self, destroy};
use super::gate::{Message, Release};
use super::{Cgroups, Entry, LOCK_WAIT, Pidfd, Record, Status, Store, death_before_exec, notify};
use crate::error::{Error, Kind, Result};
use crate::hooks;

/// Much longer than it takes an init to exit that has said why.
const LAST_BREATH: Duration = Duration::from_secs(1);

/// Runs the program of a created container, then its poststart hooks.
///
/// An error of the container's init comes out as it is. When a startContainer or poststart hook fails, the
/// container is stopped and destroyed, as runtime.md 1.3.0 "Lifecycle" steps 7 and 9 demand (up to 1.2 a
/// failed poststart hook was a warning); what goes wrong then is attached to the hook's error.
///
/// # Errors
/// Kind `Status` with the phrases engines know, where the container is not created.
pub fn start(store: &Store, entry: Entry, cgroups: &dyn Cgroups, warn: &mut dyn FnMut(Error)) -> Result<()> {
    // Before the lock: a container that is being created is refused at once, not after a wait.
    let record = entry.record()?;
    require_created(Status::of(&entry, &record)?)?;
    let locked = entry.lock(store, LOCK_WAIT)?;
    let record = locked.record()?;
    require_created(Status::of(&locked, &record)?)?;
    let Some(init) = record.init.map(|init| init.open()).transpose()?.flatten() else {
        return require_created(Status::Stopped);
    };

    let outcome = open_gate(&locked, &record, &init);
    // Unlocked before poststart: a hook that hangs must not keep `delete --force` out.
    let failure = match outcome {
        Ok(None) => {
            drop(locked);
            match poststart(&record) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            }
        }
        Ok(Some(hook_error)) => {
            drop(locked);
            hook_error
        }
        Err(error) => return Err(error),
    };
    Err(destroy_after(failure, store, &record, cgroups, warn))
}

/// Whether `start` may go on, in the words that engines know.
fn require_created(status: Status) -> Result<()> {
    let refusal = match status {
        Status::Created => return Ok(()),
        Status::Stopped => "cannot start a container that has stopped".to_owned(),
        Status::Running => "cannot start an already running container".to_owned(),
        other => format!("cannot start a container in the {other} state"),
    };
    Err(Error::new(Kind::Status, refusal))
}

/// Lets init go. `Some` is the failure of a startContainer hook.
fn open_gate(entry: &Entry, record: &Record, init: &Pidfd) -> Result<Option<Error>> {
    let mut release = Release::open(entry)?;
    release.go()?;
    let (mut passed, mut announced) = (false, false);
    loop {
        match release.message(init)? {
            None => {
                release.settle(init)?;
                return check_executed(record, init, announced).map(|()| None);
            }
            Some(Message::Executing) => announced = true,
            Some(Message::Error(error)) => {
                // It ends now; who asks after this `start` is to hear "stopped".
                init.wait(LAST_BREATH)?;
                return Err(error);
            }
            Some(Message::HookError(error)) => return Ok(Some(error)),
            // Asked for twice only when a `start` before this one has died; once is enough.
            Some(Message::SeccompFd(_)) if passed => {}
            Some(Message::SeccompFd(number)) => {
                let passing =
                    notify::pass_listener(record, ContainerState::Created, init.pid(), init.as_fd(), number);
                if let Err(error) = passing {
                    // Without its agent the program would hang at the first system call it is asked about.
                    init.send(libc::SIGKILL)?;
                    init.wait(LAST_BREATH)?;
                    return Err(error);
                }
                // Said before the filter was loaded, though perhaps to a `start` before this one.
                (passed, announced) = (true, true);
                release.taken()?;
            }
        }
    }
}

/// Whether init, which has let go of gate and report, has become the program.
///
/// Killed on its way, by a filter that forbids execve for instance, it has started none; its zombie tells the
/// two apart. Where its parent was quicker than we are, and has taken that away, its last word does: who had not
/// announced the program has run none. After the word, what is left to die of before execve is the filter.
///
/// # Errors
/// That it has died first, and of which signal.
fn check_executed(record: &Record, init: &Pidfd, announced: bool) -> Result<()> {
    let Some(id) = record.init else { return Ok(()) };
    let seen = id.dies_before_exec()?;
    let died = seen.unwrap_or_else(|| !announced || init.terminating_signal() == Some(libc::SIGSYS));
    if !died {
        return Ok(());
    }
    init.wait(LAST_BREATH)?;
    Err(death_before_exec(id.terminating_signal()?.or_else(|| init.terminating_signal())))
}

/// The poststart hooks: in the runtime's namespace, after the program has started.
fn poststart(record: &Record) -> Result<()> {
    if record.hooks.poststart.is_empty() {
        return Ok(());
    }
    let state = record.state(ContainerState::Running)?;
    hooks::run("poststart", &record.hooks.poststart, &state, &record.bundle)
}

/// Stops and destroys the container of a failed hook; `failure` stays the cause.
fn destroy_after(
    mut failure: Error,
    store: &Store,
    record: &Record,
    cgroups: &dyn Cgroups,
    warn: &mut dyn FnMut(Error),
) -> Error {
    let destroyed = store.entry(&record.id).and_then(|entry| {
        // Under the same name there may be another container by now: it is none of ours.
        delete::kill(record)?;
        let locked = entry.lock(store, LOCK_WAIT)?;
        if locked.record()?.init == record.init {
            destroy(store, locked, record, cgroups, warn)
        } else {
            Ok(())
        }
    });
    match destroyed {
        Err(error) if error.kind() != Kind::NotFound => failure.attach(&error),
        _ => {}
    }
    failure
}

#[cfg(test)]
#[path = "start_tests.rs"]
mod tests;
