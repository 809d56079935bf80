//! `run` without `--detach`: signals, terminal and exit status of the program, until it ends.
//!
//! One poll(2) loop over init's pidfd, the signals and, with a terminal, both of its sides.

use crate::bail;
use crate::error::{Call, Result};
use crate::signals::Signals;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use rustix::process::{WaitId, WaitIdOptions};
use rustix::termios::{OptionalActions, OutputModes, Termios};
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

const BUFFER_BYTES: usize = 32 * 1024;
/// More than a terminal holds (pty(7), 64 KiB and a line): whoever outlives init may print without end.
const DRAIN_BYTES: usize = 1024 * 1024;

/// The runtime's side of the program's terminal.
#[derive(Debug)]
pub struct Terminal {
    master: OwnedFd,
    /// Settings of our own terminal to go back to; none where stdin is no terminal.
    saved: Option<Termios>,
    /// Read from stdin, not yet taken by the program.
    pending: Vec<u8>,
    stdin_open: bool,
}

impl Terminal {
    /// Receives the terminal that init has sent over `socket`, and makes our own one raw.
    ///
    /// # Errors
    /// Where no terminal came, or the failing call.
    pub fn receive(socket: BorrowedFd<'_>) -> Result<Self> {
        let master = receive_fd(socket)?;
        let saved = match rustix::termios::tcgetattr(rustix::stdio::stdin()) {
            Ok(saved) => Some(saved),
            Err(rustix::io::Errno::NOTTY) => None,
            Err(errno) => return Err(errno).call("ioctl", || "TCGETS, stdin"),
        };
        if let Some(saved) = &saved {
            let mut raw = saved.clone();
            raw.make_raw();
            // The program's terminal passes newlines on as they are; ours goes on making line ends of them.
            raw.output_modes |= saved.output_modes & OutputModes::OPOST;
            rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw)
                .call("ioctl", || "TCSETS, stdin")?;
        }
        let terminal = Self { master, saved, pending: Vec::new(), stdin_open: true };
        terminal.resize();
        Ok(terminal)
    }

    /// Gives the program's terminal the size of ours; without one there is nothing to do.
    fn resize(&self) {
        if let Ok(size) = rustix::termios::tcgetwinsize(rustix::stdio::stdin()) {
            let _ = rustix::termios::tcsetwinsize(&self.master, size);
        }
    }

    /// stdin → pending. `false` where our own terminal has hung up.
    fn read_input(&mut self) -> Result<bool> {
        let mut buffer = vec![0; BUFFER_BYTES];
        match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            Ok(0) => {
                self.stdin_open = false;
                return Ok(self.saved.is_none()); // a raw terminal ends in no other way
            }
            Err(rustix::io::Errno::IO) => self.stdin_open = false, // we are in its background
            Ok(length) => self.pending.extend_from_slice(&buffer[..length]),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).call("read", || "stdin"),
        }
        Ok(true)
    }

    /// pending → program, as much as it takes.
    fn write_input(&mut self) -> Result<()> {
        match rustix::io::write(&self.master, &self.pending) {
            Ok(length) => drop(self.pending.drain(..length)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::IO) => self.pending.clear(), // nobody reads any more
            Err(errno) => return Err(errno).call("write", || "the terminal"),
        }
        Ok(())
    }

    /// program → stdout.
    fn copy_output(&self) -> Result<Copied> {
        let mut buffer = vec![0; BUFFER_BYTES];
        let length = match rustix::io::read(&self.master, &mut buffer) {
            Ok(0) | Err(rustix::io::Errno::IO) => return Ok(Copied::End),
            Ok(length) => length,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(Copied::Bytes(0)),
            Err(errno) => return Err(errno).call("read", || "the terminal"),
        };
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            match rustix::io::write(rustix::stdio::stdout(), rest) {
                Ok(written) => rest = &rest[written..],
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    let mut fds = [PollFd::new(rustix::stdio::stdout(), PollFlags::POLLOUT)];
                    nix::poll::poll(&mut fds, PollTimeout::NONE).call("poll", || "stdout")?;
                }
                // A reader or a terminal that has gone away.
                Err(rustix::io::Errno::PIPE | rustix::io::Errno::IO) => return Ok(Copied::NoReader),
                Err(errno) => return Err(errno).call("write", || "stdout"),
            }
        }
        Ok(Copied::Bytes(length))
    }

    /// What the program has written before it ended.
    fn drain(&self) -> Result<()> {
        let mut drained = 0;
        while drained < DRAIN_BYTES {
            let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            let ready = nix::poll::poll(&mut fds, PollTimeout::ZERO).call("poll", || "the terminal")?;
            match if ready == 0 { Copied::End } else { self.copy_output()? } {
                Copied::Bytes(length) => drained += length,
                Copied::End | Copied::NoReader => break,
            }
        }
        Ok(())
    }
}

/// What came of copying the program's output.
enum Copied {
    /// So much was copied.
    Bytes(usize),
    /// Nobody has the program's side open any more.
    End,
    /// Nobody takes the output any more.
    NoReader,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, saved);
        }
    }
}

/// Rows and columns of our own terminal, where stdin is one that has a size.
#[must_use]
pub fn own_size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdin()).ok()?;
    (size.ws_row != 0 || size.ws_col != 0).then_some((size.ws_row, size.ws_col))
}

fn receive_fd(socket: BorrowedFd<'_>) -> Result<OwnedFd> {
    let mut name = [0_u8; 64];
    let mut buffer = [IoSliceMut::new(&mut name)];
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut buffer, Some(&mut space), flags)
        .call("recvmsg", || "the terminal")?;
    for control in message.cmsgs().call("recvmsg", || "the terminal")? {
        if let ControlMessageOwned::ScmRights(fds) = control
            && let Some(fd) = fds.first()
        {
            return Ok(sys::fd::adopt(*fd));
        }
    }
    bail!("init sent no terminal")
}

/// Waits for the program and returns its exit status as a shell has it: 128+n for a signal.
///
/// Signals that come meanwhile go to the program. `reap_others` is for a container without a pid namespace
/// of its own, whose orphans come to us.
///
/// # Errors
/// The failing call.
pub fn supervise(
    init: BorrowedFd<'_>,
    signals: &mut Signals,
    terminal: Option<Terminal>,
    reap_others: bool,
) -> Result<u8> {
    let mut terminal = terminal;
    let mut output_open = true;
    loop {
        let events = wait(init, signals, terminal.as_ref(), output_open)?;
        if events.signals {
            forward(init, signals, terminal.as_ref())?;
        }
        if let Some(side) = &mut terminal {
            let mut hung_up = events.input && !side.read_input()?;
            if !side.pending.is_empty() && (events.writable || events.input) {
                side.write_input()?;
            }
            if events.output {
                match side.copy_output()? {
                    Copied::Bytes(_) => {}
                    Copied::End => output_open = false,
                    Copied::NoReader => hung_up = true,
                }
            }
            if hung_up {
                // The program learns it as it would on our terminal: SIGHUP, and no more input or output.
                terminal = None;
            }
        }
        if events.ended {
            if let Some(terminal) = &terminal {
                terminal.drain()?;
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
    input: bool,
    output: bool,
    writable: bool,
}

fn wait(
    init: BorrowedFd<'_>,
    signals: &Signals,
    terminal: Option<&Terminal>,
    output_open: bool,
) -> Result<Events> {
    let mut fds = vec![PollFd::new(init, PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    if let Some(terminal) = terminal {
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::POLLIN, output_open);
        wanted.set(PollFlags::POLLOUT, !terminal.pending.is_empty());
        if output_open {
            fds.push(PollFd::new(terminal.master.as_fd(), wanted));
        }
        // Nothing more is read while the program has not taken what was read before.
        if terminal.stdin_open && terminal.pending.is_empty() && output_open {
            fds.push(PollFd::new(rustix::stdio::stdin(), PollFlags::POLLIN));
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
    let readable = PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR;
    Ok(Events {
        ended: !seen(0).is_empty(),
        signals: !seen(1).is_empty(),
        output: seen(2).intersects(readable),
        writable: seen(2).contains(PollFlags::POLLOUT),
        input: seen(3).intersects(readable),
    })
}

fn forward(init: BorrowedFd<'_>, signals: &mut Signals, terminal: Option<&Terminal>) -> Result<()> {
    while let Some(signal) = signals.take()? {
        match (signal, terminal) {
            (libc::SIGCHLD | libc::SIGURG | libc::SIGPIPE | libc::SIGTTOU | libc::SIGTTIN, _) => {}
            (libc::SIGWINCH, Some(terminal)) => terminal.resize(),
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
