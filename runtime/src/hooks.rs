//! Runs hooks (config.md "POSIX-platform Hooks"): programs of the host's administrator at points of the life
//! cycle.
//!
//! A hook gets exactly the arguments and the environment it lists, nothing inherited (CVE-2025-23266), the
//! state on stdin, no descriptor beyond 0, 1, 2, and no signal blocked, though the runtime may block them all
//! and may hold descriptors that the program is to inherit. It is the
//! first of a process group of its own, which dies as a whole when the time is over. What it prints is kept,
//! up to a bound, for the error message. The same runner serves the runtime and a container's init; it needs
//! neither /proc nor /dev.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use oci_spec::runtime::State;
use rustix::pipe::PipeFlags;
use rustix::process::PidfdFlags;

use crate::container::poll;
use crate::error::{Call, Context, Error, Result};
use crate::signals::Signals;
use crate::spec::Hook;

/// How much of a hook's output is kept, and how much of that an error shows, in bytes.
const KEPT_BYTES: usize = 64 << 10;
const SHOWN_BYTES: usize = 1 << 10;

/// Runs the hooks of one kind in order, up to the first that fails.
///
/// `kind` is the name in config.json; `cwd` is where they start: the bundle, for hooks in the runtime's
/// namespace.
///
/// # Errors
/// Read `hook poststart[0] "/path": exit status 1: "what it printed"`.
pub fn run(kind: &str, hooks: &[Hook], state: &State, cwd: &Path) -> Result<()> {
    run_list(kind, hooks, state, cwd, None)
}

/// As [`run`], in a process that reads its signals: one that asks it to end ends the hook first.
///
/// # Errors
/// As [`run`]; "interrupted by SIGTERM".
pub fn run_until_told(
    kind: &str,
    hooks: &[Hook],
    state: &State,
    cwd: &Path,
    signals: &mut Signals,
) -> Result<()> {
    run_list(kind, hooks, state, cwd, Some(signals))
}

fn run_list(
    kind: &str,
    hooks: &[Hook],
    state: &State,
    cwd: &Path,
    mut signals: Option<&mut Signals>,
) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    let stdin = document(state)?;
    for (position, hook) in hooks.iter().enumerate() {
        run_one(hook, &stdin, cwd, signals.as_deref_mut()).context(|| title(kind, position, hook))?;
    }
    Ok(())
}

/// Runs every hook of one kind; failures go to `warn`.
pub fn run_all(kind: &str, hooks: &[Hook], state: &State, cwd: &Path, warn: &mut dyn FnMut(Error)) {
    let stdin = match document(state) {
        Ok(stdin) => stdin,
        Err(error) => return warn(error),
    };
    for (position, hook) in hooks.iter().enumerate() {
        if let Err(error) = run_one(hook, &stdin, cwd, None).context(|| title(kind, position, hook)) {
            warn(error);
        }
    }
}

/// Runs a program of the host that is no hook as if it were one: without input, output kept for the error.
///
/// # Errors
/// As [`run_until_told`], without a name.
pub fn run_program(program: &Hook, signals: &mut Signals) -> Result<()> {
    run_one(program, &[], Path::new("/"), Some(signals))
}

fn title(kind: &str, position: usize, hook: &Hook) -> String {
    format!("hook {kind}[{position}] {:?}", hook.path)
}

fn document(state: &State) -> Result<Vec<u8>> {
    serde_json::to_vec(state).map_err(|error| Error::other(format!("state for hooks: {error}")))
}

/// One hook from start to end.
fn run_one(hook: &Hook, stdin: &[u8], cwd: &Path, signals: Option<&mut Signals>) -> Result<()> {
    let mut command = command(hook, cwd)?;
    let (mut input, output) = connect(&mut command, stdin)?;
    let mut child = command.spawn().call("execve", || format!("{:?}", hook.path))?;
    // Our copies of the hook's ends: while they are open the output has no end.
    drop(command);
    let deadline = hook.timeout.map(|seconds| {
        let seconds = u64::try_from(seconds).unwrap_or(0);
        Instant::now().checked_add(Duration::from_secs(seconds))
    });
    let mut printed = Vec::new();
    let watched = watch(&child, &mut input, &output, &mut printed, deadline.flatten(), signals);
    if !matches!(watched, Ok(true)) {
        kill_group(&mut child);
    }
    let status = child.wait().call("waitid", || format!("{:?}", hook.path))?;
    if !watched? {
        crate::bail!("timed out after {} s{}", hook.timeout.unwrap_or(0), shown(&printed));
    }
    judge(status, &printed)
}

/// The program with its arguments, its environment and nothing else.
fn command(hook: &Hook, cwd: &Path) -> Result<Command> {
    if !hook.path.starts_with('/') {
        crate::bail!("the path is not absolute");
    }
    let mut command = Command::new(&hook.path);
    if let Some((name, rest)) = hook.args.split_first() {
        command.arg0(name).args(rest);
    }
    command.env_clear().current_dir(cwd).process_group(0);
    sys::spawn::inherit_nothing(&mut command);
    for (position, entry) in hook.env.iter().enumerate() {
        match entry.split_once('=') {
            Some((name, value)) if !name.is_empty() => command.env(name, value),
            _ => crate::bail!("env[{position}]: {entry:?} is not of the form name=value"),
        };
    }
    Ok(command)
}

/// What is still to be written into a hook's stdin.
struct Input<'a> {
    /// The hook's end, kept so that a hook that does not read its stdin costs us no SIGPIPE.
    _read_end: OwnedFd,
    /// `None` once everything has been written.
    write_end: Option<File>,
    rest: &'a [u8],
}

impl Input<'_> {
    /// Writes what goes in without waiting; the pipe is closed after the last byte.
    fn feed(&mut self) -> Result<()> {
        let Some(pipe) = &mut self.write_end else { return Ok(()) };
        while !self.rest.is_empty() {
            match pipe.write(self.rest) {
                Ok(length) => self.rest = &self.rest[length..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).call("write", || "the hook's stdin"),
            }
        }
        self.write_end = None;
        Ok(())
    }
}

/// Gives the command its stdin, already fed with what a pipe holds, and one pipe for all that it prints.
fn connect<'a>(command: &mut Command, stdin: &'a [u8]) -> Result<(Input<'a>, File)> {
    let new = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).call("pipe2", String::new);
    let (read_end, write_end) = new()?;
    let (output, output_end) = new()?;
    for ours in [&write_end, &output] {
        rustix::fs::fcntl_setfl(ours, rustix::fs::OFlags::NONBLOCK).call("fcntl", || "F_SETFL")?;
    }
    let copy = |fd: &OwnedFd| fd.try_clone().call("dup", String::new);
    command.stdin(Stdio::from(copy(&read_end)?));
    command.stdout(Stdio::from(copy(&output_end)?));
    command.stderr(Stdio::from(output_end));
    let mut input = Input { _read_end: read_end, write_end: Some(File::from(write_end)), rest: stdin };
    input.feed()?;
    Ok((input, File::from(output)))
}

/// Feeds and listens until the hook ends; `false` when the time is over.
///
/// The end is the end of the process, not that of its output: a hook may leave a daemon behind.
fn watch(
    child: &Child,
    input: &mut Input<'_>,
    output: &File,
    printed: &mut Vec<u8>,
    deadline: Option<Instant>,
    mut signals: Option<&mut Signals>,
) -> Result<bool> {
    let raw = rustix::process::Pid::from_child(child);
    let pidfd = rustix::process::pidfd_open(raw, PidfdFlags::empty())
        .call("pidfd_open", || raw.as_raw_nonzero().to_string())?;
    let mut listening = true;
    loop {
        let (mut ended, mut can_read, mut can_write) = (false, false, false);
        let mut fds = vec![PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        if listening {
            fds.push(PollFd::new(output.as_fd(), PollFlags::POLLIN));
        }
        if let Some(pipe) = &input.write_end {
            fds.push(PollFd::new(pipe.as_fd(), PollFlags::POLLOUT));
        }
        if let Some(signals) = &signals {
            fds.push(PollFd::new(signals.as_fd(), PollFlags::POLLIN));
        }
        if !poll(&mut fds, deadline)? {
            return Ok(false);
        }
        for (position, fd) in fds.iter().enumerate() {
            let happened = fd.any().unwrap_or(true);
            match position {
                0 => ended = happened,
                1 if listening => can_read = happened,
                // The signals' descriptor may stand here too; feeding a full pipe does no harm.
                _ => can_write |= happened,
            }
        }
        drop(fds);
        if let Some(signal) = signals.as_deref_mut().map(Signals::next_to_end).transpose()?.flatten() {
            crate::bail!("interrupted by {signal}");
        }
        if can_read || ended {
            listening = listen(output, printed)?;
        }
        if ended {
            return Ok(true);
        }
        if can_write {
            input.feed()?;
        }
        // A hook that never stops printing or reading must not outrun the clock.
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(false);
        }
    }
}

/// Reads what is there, but no more than one buffer's worth in a row; `false` at the end.
fn listen(mut output: &File, printed: &mut Vec<u8>) -> Result<bool> {
    let mut buffer = [0_u8; 4096];
    for _ in 0..KEPT_BYTES / buffer.len() {
        match output.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(length) => printed.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).call("read", || "the hook's output"),
        }
        // The end says more than the beginning.
        printed.drain(..printed.len().saturating_sub(KEPT_BYTES));
    }
    Ok(true)
}

/// Kills the hook and whom it started. The hook is not yet reaped, so its group is still its own.
fn kill_group(child: &mut Child) {
    // Both may find nobody: then there is nobody to kill.
    let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
    let _ = child.kill();
}

fn judge(status: ExitStatus, printed: &[u8]) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(name) => format!("killed by {name}"),
            Err(_) => format!("killed by signal {signal}"),
        },
        (None, None) => status.to_string(),
    };
    Err(Error::other(format!("{how}{}", shown(printed))))
}

/// The end of what the hook printed, quoted, on one line.
fn shown(printed: &[u8]) -> String {
    let text = String::from_utf8_lossy(&printed[printed.len().saturating_sub(SHOWN_BYTES)..]);
    match text.trim() {
        "" => String::new(),
        text => format!(": {text:?}"),
    }
}

#[cfg(test)]
#[path = "hooks_tests.rs"]
mod tests;
