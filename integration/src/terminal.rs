//! Terminals: a pair for a program that runs on one, and the socket on which a detached container's arrives.

use std::fs::File;
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, OutputModes, Winsize, tcgetattr, tcgetwinsize, tcsetwinsize};

use crate::PATIENCE;

/// The master side of a pseudo terminal. What the other side prints is kept as it is read.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    printed: Vec<u8>,
}

impl Terminal {
    /// A new pair: the master, and the other end for [`crate::Call::on_terminal`].
    #[must_use]
    #[track_caller]
    pub fn pair() -> (Terminal, OwnedFd) {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("open /dev/ptmx");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let path = ptsname(&master, Vec::new()).expect("ptsname");
        let other = open(path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty());
        (Terminal::of(master), other.expect("open the other end"))
    }

    fn of(master: OwnedFd) -> Terminal {
        Terminal { master: File::from(master), printed: Vec::new() }
    }

    /// Types.
    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("write to the terminal");
    }

    /// Reads until `text` was printed; gives everything printed so far. Panics at the end, or after
    /// [`PATIENCE`].
    #[track_caller]
    pub fn read_until(&mut self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let so_far = self.shown();
            if so_far.contains(text) {
                return so_far;
            }
            // A program that prints for ever must not keep the test for ever.
            assert!(Instant::now() < end, "waited in vain for {text:?} on the terminal: {so_far:?}");
            assert!(self.read_more(end), "the terminal closed before it showed {text:?}: {so_far:?}");
        }
    }

    /// Reads until nobody has the other end open any more.
    #[track_caller]
    pub fn read_to_end(&mut self) -> String {
        let end = Instant::now() + PATIENCE;
        while self.read_more(end) {
            assert!(Instant::now() < end, "the terminal does not close: {:?}", self.shown());
        }
        self.shown()
    }

    /// False at the end, which a terminal reports as EIO.
    #[track_caller]
    fn read_more(&mut self, end: Instant) -> bool {
        let rest = end.saturating_duration_since(Instant::now());
        assert!(readable(&self.master, rest), "nothing more on the terminal after {:?}", self.shown());
        let mut bytes = [0; 4096];
        let count = self.master.read(&mut bytes).unwrap_or(0);
        self.printed.extend_from_slice(&bytes[..count]);
        count != 0
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.printed).into_owned()
    }

    /// Sets rows and columns, which signals SIGWINCH to the foreground of the terminal.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).expect("set the terminal's size");
    }

    /// Rows and columns.
    #[must_use]
    pub fn size(&self) -> (u16, u16) {
        let size = tcgetwinsize(&self.master).expect("get the terminal's size");
        (size.ws_row, size.ws_col)
    }

    /// Whether the terminal turns newlines into carriage return and newline (ONLCR).
    #[must_use]
    pub fn has_onlcr(&self) -> bool {
        let attributes = tcgetattr(&self.master).expect("get the terminal's attributes");
        attributes.output_modes.contains(OutputModes::ONLCR)
    }

    /// Whether the terminal shows what is typed (ECHO).
    #[must_use]
    pub fn has_echo(&self) -> bool {
        let attributes = tcgetattr(&self.master).expect("get the terminal's attributes");
        attributes.local_modes.contains(LocalModes::ECHO)
    }

    /// All attributes (termios(3)), for comparison.
    #[must_use]
    pub fn attributes(&self) -> String {
        format!("{:?}", tcgetattr(&self.master).expect("get the terminal's attributes"))
    }

    /// The descriptor, for more.
    #[must_use]
    pub fn master(&self) -> &File {
        &self.master
    }
}

/// What listens at `--console-socket`. It must outlive the call of the runtime.
#[derive(Debug)]
pub struct ConsoleSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ConsoleSocket {
    /// Listens at a path, for instance `bundle.scratch().join("console.sock")` (at most 107 bytes long).
    #[must_use]
    #[track_caller]
    pub fn listen(path: &Path) -> ConsoleSocket {
        let listener =
            UnixListener::bind(path).unwrap_or_else(|e| panic!("listen at {}: {e}", path.display()));
        ConsoleSocket { listener, path: path.to_owned() }
    }

    /// The path as text.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.to_str().expect("scratch paths are UTF-8")
    }

    /// Takes the connection and the terminal sent through it.
    #[must_use]
    #[track_caller]
    pub fn terminal(&self) -> Terminal {
        Terminal::of(self.receive().0)
    }

    /// The one descriptor sent, and the message it came with. Panics unless it is exactly one.
    #[must_use]
    #[track_caller]
    pub fn receive(&self) -> (OwnedFd, Vec<u8>) {
        assert!(readable(&self.listener, PATIENCE), "nobody connected to {}", self.path.display());
        let (stream, _) = self.listener.accept().expect("accept a connection");
        let end = Instant::now() + PATIENCE;
        assert!(readable(&stream, end - Instant::now()), "nothing came through {}", self.path.display());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = vec![0; 4096];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(&stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags);
        bytes.truncate(received.expect("receive from the socket").bytes);
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                descriptors.extend(more);
            }
        }
        assert_eq!(descriptors.len(), 1, "descriptors that came through {}", self.path.display());
        (descriptors.remove(0), bytes)
    }
}

fn readable(file: &impl AsFd, bound: Duration) -> bool {
    let bound = Timespec::try_from(bound).expect("a bound of seconds");
    poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&bound)).expect("poll") == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Call;

    #[test]
    fn a_program_runs_on_the_terminal() {
        let (mut terminal, other) = Terminal::pair();
        terminal.resize(33, 99);
        let running =
            Call::of("sh").args(["-c", "stty size </dev/tty; read x; echo got $x"]).on_terminal(other);
        let running = running.spawn();
        terminal.read_until("33 99");
        terminal.send("input\n");
        terminal.read_until("got input");
        running.wait().expect_ok();
        assert!(terminal.read_to_end().ends_with("got input\r\n"));
    }
}
