//! The program's terminal, shown on our own: input one way, output the other, and the size.

use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, OutputModes, Termios};

use super::output::{Output, Taker};
use crate::bail;
use crate::container;
use crate::error::{Call, Error, Result};
use crate::signals::Signals;

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
    /// Where what the program prints goes.
    output: Output,
    /// Whether the program may print any more.
    output_open: bool,
}

/// What poll(2) is to look at for a terminal; then, what it has found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sides {
    /// The program has printed, or its side is closed.
    pub(super) printed: bool,
    /// The program takes input.
    pub(super) takes: bool,
    /// There is input, or its end.
    pub(super) input: bool,
    /// Our standard output takes something, or nobody reads it any more.
    pub(super) room: bool,
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
            Err(Errno::NOTTY) => None,
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
        let output = Output::new();
        let terminal =
            Self { master, saved, pending: Vec::new(), stdin_open: true, output, output_open: true };
        terminal.resize();
        Ok(terminal)
    }

    /// Gives the program's terminal the size of ours; without one there is nothing to do.
    pub(super) fn resize(&self) {
        if let Ok(size) = rustix::termios::tcgetwinsize(rustix::stdio::stdin()) {
            let _ = rustix::termios::tcsetwinsize(&self.master, size);
        }
    }

    /// What there is to wait for. Nothing more is read of a side while the other has not taken what was read before.
    pub(super) fn wants(&self) -> Sides {
        Sides {
            printed: self.output_open && self.output.is_empty(),
            takes: !self.pending.is_empty(),
            input: self.stdin_open && self.pending.is_empty() && self.output_open,
            room: !self.output.is_empty(),
        }
    }

    /// Our side of the program's terminal.
    pub(super) fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    /// Our standard output, as it is to be polled.
    pub(super) fn stdout(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }

    /// Why some of what the program has printed was lost, if some was.
    pub(super) fn lost(&self) -> Option<&Error> {
        self.output.lost()
    }

    /// Passes on what `found` says there is. [`Taker::Gone`] where our own terminal has hung up, or nobody takes the
    /// output any more.
    pub(super) fn pass_on(&mut self, found: Sides) -> Taker {
        let mut taker = Taker::There;
        if found.input {
            taker = self.read_input();
        }
        if !self.pending.is_empty() && (found.takes || found.input) {
            self.write_input();
        }
        if found.room && self.output.write() == Taker::Gone {
            taker = Taker::Gone;
        }
        if found.printed && self.copy_output() == Copied::NoReader {
            taker = Taker::Gone;
        }
        taker
    }

    /// stdin → pending.
    fn read_input(&mut self) -> Taker {
        let mut buffer = vec![0; BUFFER_BYTES];
        match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            Ok(0) => {
                self.stdin_open = false;
                if self.saved.is_some() {
                    return Taker::Gone; // a raw terminal ends in no other way
                }
            }
            Ok(length) => self.pending.extend_from_slice(&buffer[..length]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // We are in the background of our terminal, or what stdin is cannot be read: it is no reason for the
            // program to end that it gets no input.
            Err(_) => self.stdin_open = false,
        }
        Taker::There
    }

    /// pending → program, as much as it takes.
    fn write_input(&mut self) {
        match rustix::io::write(&self.master, &self.pending) {
            Ok(length) => drop(self.pending.drain(..length)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.pending.clear(), // EIO: nobody reads any more
        }
    }

    /// program → stdout, as much as that takes.
    fn copy_output(&mut self) -> Copied {
        let mut buffer = vec![0; BUFFER_BYTES];
        let length = match rustix::io::read(&self.master, &mut buffer) {
            Err(Errno::AGAIN | Errno::INTR) => return Copied::Bytes(0),
            Ok(0) | Err(_) => {
                self.output_open = false; // EIO: nobody has the program's side open any more
                return Copied::End;
            }
            Ok(length) => length,
        };
        match self.output.give(&buffer[..length]) {
            Taker::There => Copied::Bytes(length),
            Taker::Gone => Copied::NoReader,
        }
    }

    /// What the program has written before it ended, for however long its reader takes; a signal that asks this
    /// process to end cuts that short.
    ///
    /// # Errors
    /// As poll(2) and read(2).
    pub(super) fn drain(&mut self, signals: &mut Signals) -> Result<()> {
        let mut drained = 0;
        loop {
            while !self.output.is_empty() {
                let mut fds = [
                    PollFd::new(self.output.as_fd(), PollFlags::POLLOUT),
                    PollFd::new(signals.as_fd(), PollFlags::POLLIN),
                ];
                container::poll(&mut fds, None)?;
                let room = fds[0].any().unwrap_or(false);
                if signals.next_to_end()?.is_some() || (room && self.output.write() == Taker::Gone) {
                    return Ok(());
                }
            }
            if drained >= DRAIN_BYTES || !self.output_open {
                return Ok(());
            }
            let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            if nix::poll::poll(&mut fds, PollTimeout::ZERO).call("poll", || "the terminal")? == 0 {
                return Ok(());
            }
            match self.copy_output() {
                Copied::Bytes(length) => drained += length,
                Copied::End => {}
                Copied::NoReader => return Ok(()),
            }
        }
    }
}

/// What came of copying the program's output.
#[derive(Debug, PartialEq, Eq)]
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
