//! `run` and `exec` in the foreground: signals, terminal and exit status of the program, until it ends.
//!
//! One poll(2) loop over init's pidfd, the signals and, with a terminal, both of its sides. Nothing in it waits for
//! anything else: whoever does not take the program's output keeps neither signals nor the end from anybody.

mod output;
mod terminal;

use crate::bail;
use crate::error::{Call, Result};
use crate::report::Log;
use crate::signals::Signals;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use output::Taker;
use rustix::process::{WaitId, WaitIdOptions};
use std::os::fd::{AsFd, BorrowedFd};
use terminal::Sides;

pub use terminal::{Terminal, own_size};

/// Waits for the program and returns its exit status as a shell has it: 128+n for a signal.
///
/// Signals that come meanwhile go to the program. `reap_others` is for a container without a pid namespace
/// of its own, whose orphans come to us. Output that nobody could take is lost, with a warning; where a reader is only
/// slow, it gets what the program has printed, also after the program's end, until a signal asks this process to end.
///
/// # Errors
/// The failing call; the program may run on.
pub fn supervise(
    init: BorrowedFd<'_>,
    signals: &mut Signals,
    terminal: Option<Terminal>,
    reap_others: bool,
    log: &mut Log,
) -> Result<u8> {
    let mut terminal = terminal;
    loop {
        let events = wait(init, signals, terminal.as_ref())?;
        if events.signals {
            forward(init, signals, terminal.as_ref())?;
        }
        if let Some(side) = &mut terminal
            && side.pass_on(events.sides) == Taker::Gone
        {
            // The program learns it as it would on our terminal: SIGHUP, and no more input or output.
            terminal = None;
        }
        if events.ended {
            if let Some(terminal) = &mut terminal {
                terminal.drain(signals)?;
                if let Some(error) = terminal.lost() {
                    log.warning(format!("output of the program was lost: {error}"));
                }
            }
            let status = exit_status(init)?;
            if reap_others {
                reap_orphans();
            }
            return Ok(status);
        }
        if reap_others && events.signals {
            reap_orphans_except(init);
        }
    }
}

/// What poll(2) found.
#[derive(Default)]
struct Events {
    ended: bool,
    signals: bool,
    sides: Sides,
}

fn wait(init: BorrowedFd<'_>, signals: &Signals, terminal: Option<&Terminal>) -> Result<Events> {
    let mut fds = vec![PollFd::new(init, PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    let wants = terminal.map(Terminal::wants).unwrap_or_default();
    let (mut master, mut stdin, mut stdout) = (usize::MAX, usize::MAX, usize::MAX);
    if let Some(terminal) = terminal {
        // What is of no interest is left out: that its other side was closed would be told again and again.
        if wants.printed || wants.takes {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, wants.printed);
            flags.set(PollFlags::POLLOUT, wants.takes);
            master = fds.len();
            fds.push(PollFd::new(terminal.master(), flags));
        }
        if wants.input {
            stdin = fds.len();
            fds.push(PollFd::new(rustix::stdio::stdin(), PollFlags::POLLIN));
        }
        if wants.room {
            stdout = fds.len();
            fds.push(PollFd::new(terminal.stdout(), PollFlags::POLLOUT));
        }
    }
    loop {
        match nix::poll::poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).call("poll", String::new),
        }
    }
    let seen = |index: usize| fds.get(index).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
    let closed = PollFlags::POLLHUP | PollFlags::POLLERR;
    let sides = Sides {
        printed: wants.printed && seen(master).intersects(PollFlags::POLLIN | closed),
        takes: wants.takes && seen(master).intersects(PollFlags::POLLOUT | closed),
        input: seen(stdin).intersects(PollFlags::POLLIN | closed),
        room: seen(stdout).intersects(PollFlags::POLLOUT | closed),
    };
    Ok(Events { ended: !seen(0).is_empty(), signals: !seen(1).is_empty(), sides })
}

fn forward(init: BorrowedFd<'_>, signals: &mut Signals, terminal: Option<&Terminal>) -> Result<()> {
    while let Some(signal) = signals.take()? {
        match (signal, terminal) {
            (libc::SIGCHLD | libc::SIGURG | libc::SIGPIPE | libc::SIGTTOU | libc::SIGTTIN, _) => {}
            // It says that our own terminal has another size: nothing to a program that is not shown on that.
            (libc::SIGWINCH, terminal) => terminal.into_iter().for_each(Terminal::resize),
            (signal, _) => match sys::pidfd_send_signal(init, signal) {
                Err(error) if error.errno == libc::ESRCH => {}
                result => result?,
            },
        }
    }
    Ok(())
}

fn exit_status(init: BorrowedFd<'_>) -> Result<u8> {
    let status = loop {
        match rustix::process::waitid(WaitId::PidFd(init), WaitIdOptions::EXITED) {
            Err(rustix::io::Errno::INTR) => {}
            result => break result.call("waitid", || "the container's init")?,
        }
    };
    let Some(status) = status else { bail!("waitid: init has not ended") };
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    };
    Ok(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}

/// Reaps what has ended, init included only by its descriptor.
fn reap_orphans() {
    while let Ok(Some(_)) =
        rustix::process::waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    {}
}

/// As [`reap_orphans`], leaving init's status for [`exit_status`].
fn reap_orphans_except(init: BorrowedFd<'_>) {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    // Looked at first: what had ended while init had not is no init, which may end at any time.
    while let Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) = waitid(Id::All, look) {
        if !matches!(rustix::process::waitid(WaitId::PidFd(init), ended), Ok(None)) {
            return;
        }
        let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
    }
}
