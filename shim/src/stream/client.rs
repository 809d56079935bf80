//! The client's side of a monitor's socket: what `attach`, `run` and `start --attach` do until the container has ended or
//! somebody leaves it.
//!
//! One poll(2) loop over the socket, our own standard streams and the signals, none of which is waited for alone: whoever
//! does not read our output, or a container that does not read its input, keeps neither signals nor detach keys from
//! anybody. Signals are blocked and read from a descriptor, so that no code runs at a moment of their choice.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::keys::DetachKeys;
use super::output::Output;
use super::protocol::{Attach, Decoder, Exit, Frame};
use super::terminal::{self, Raw};
use crate::error::{Context as _, Error, Kind, Result};
use crate::output;

/// How much is read at once, in bytes.
const CHUNK: usize = 64 << 10;
/// With so much that our reader, or the monitor, has not taken, we do not read more, in bytes.
const BACKLOG: usize = 128 << 10;
/// How often somebody has to ask a client that passes signals on to end before it does, as docker's.
const PATIENCE: u32 = 3;

/// How to follow a container.
#[derive(Default)]
pub struct Options<'a> {
    /// Which streams are ours too; the monitor knows it already.
    pub attach: Attach,
    /// The container has a terminal: ours becomes raw, and its size counts.
    pub tty: bool,
    /// By which keys somebody leaves.
    pub detach_keys: DetachKeys,
    /// What to do with signals that we get; without it, they end us.
    pub forward: Option<&'a mut dyn FnMut(i32)>,
    /// For the connection of `monitor::launch`, whose answer has not been read: what to do when the container's program
    /// runs, with its pid. Input and signals wait for that.
    pub started: Option<&'a mut dyn FnMut(i32)>,
    /// How to get another connection, attached again, when the monitor has ended without a word; None if there is nobody
    /// to connect to.
    pub again: Option<&'a mut dyn FnMut() -> Result<Option<UnixStream>>>,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The container's program has ended.
    Exit(Exit),
    /// It could not be started: docker's exit status for that, and why.
    Failed(u8, String),
    /// Somebody has typed the detach keys.
    Detached,
    /// A signal was to end us; this one. The container goes on.
    Signalled(i32),
    /// The monitor is gone without having said how the program ended; what is recorded counts.
    Lost,
}

/// Connects to the monitor of the container with this state folder.
///
/// # Errors
/// There is none; the system's reason.
pub fn connect(state_folder: &Path) -> Result<UnixStream> {
    // The path may be too long for an address (unix(7)); that of a descriptor is not.
    let folder = std::fs::File::open(state_folder).during(|| format!("open {state_folder:?}"))?;
    let path = format!("/proc/self/fd/{}/socket", folder.as_raw_fd());
    UnixStream::connect(path).during(|| format!("connect to {:?}", state_folder.join("socket")))
}

/// Attaches: what comes from now on is all that the container prints.
///
/// # Errors
/// The system's reason; a monitor that has ended.
pub fn attach(connection: &mut UnixStream, attach: Attach) -> Result<()> {
    let words = || "attach".to_owned();
    std::io::Write::write_all(connection, &Frame::Attach(attach).encode()).during(words)?;
    match read_frame(connection).during(words)? {
        Frame::Attached => Ok(()),
        other => Err(Error::invalid(format!("the monitor says {other:?}"))).during(words),
    }
}

/// Reads one frame and not a byte more.
///
/// # Errors
/// The connection has ended; what is no frame; the system's reason.
pub fn read_frame(connection: &mut UnixStream) -> Result<Frame> {
    use std::io::Read as _;
    let mut decoder = Decoder::default();
    let mut header = [0; super::protocol::HEADER];
    connection.read_exact(&mut header)?;
    decoder.push(&header);
    // A header that is none is refused here, before its length is believed.
    if let Some(frame) = decoder.next_frame()? {
        return Ok(frame);
    }
    let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
    let mut payload = vec![0; usize::try_from(length).unwrap_or_default()];
    connection.read_exact(&mut payload)?;
    decoder.push(&payload);
    decoder.next_frame()?.ok_or_else(|| Error::invalid("a part of a frame"))
}

/// Passes on input, output and signals until the container has ended or is left. The connection is attached, or the one
/// of `monitor::launch` (see [`Options::started`]).
///
/// # Errors
/// [`Kind::Unread`] where nobody reads our output any more; a monitor that cannot be understood; the system's reason.
pub fn follow(connection: UnixStream, options: Options) -> Result<Ended> {
    let signals = block_signals(options.forward.is_some())?;
    let raw = if options.tty && options.attach.stdin { Raw::enter()? } else { None };
    connection.set_nonblocking(true).during(|| "connection".to_owned())?;
    let mut session = Session {
        stdin_is_open: options.attach.stdin,
        is_running: options.started.is_none(),
        early: Vec::new(),
        options,
        connection,
        signals,
        raw,
        decoder: Decoder::default(),
        for_monitor: Vec::new(),
        stdout: Output::new(std::io::stdout(), "standard output"),
        stderr: Output::new(std::io::stderr(), "standard error"),
        asked_to_end: 0,
        ended: None,
        buffer: vec![0; CHUNK],
    };
    if session.is_running {
        session.redraw();
    }
    session.tell_size();
    session.run()
}

/// Blocks what is to be passed on, or would end us with a raw terminal.
fn block_signals(forward: bool) -> Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in
        [Signal::SIGWINCH, Signal::SIGCONT, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM]
    {
        set.add(signal);
    }
    if forward {
        set = SigSet::all();
        for own in [
            // Faults of our own; what says nothing to a container; what keeps a job in the background from the terminal.
            Signal::SIGSEGV,
            Signal::SIGBUS,
            Signal::SIGFPE,
            Signal::SIGILL,
            Signal::SIGTRAP,
            Signal::SIGABRT,
            Signal::SIGSYS,
            Signal::SIGCHLD,
            Signal::SIGPIPE,
            Signal::SIGURG,
            Signal::SIGTTIN,
            Signal::SIGTTOU,
        ] {
            set.remove(own);
        }
    }
    let failed = |errno: nix::errno::Errno| Error::new(Kind::System, errno.desc());
    set.thread_block().map_err(failed).during(|| "sigprocmask".to_owned())?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(failed)
        .during(|| "signalfd".to_owned())
}

struct Session<'a> {
    options: Options<'a>,
    connection: UnixStream,
    signals: SignalFd,
    raw: Option<Raw>,
    decoder: Decoder,
    /// What the monitor has not taken yet.
    for_monitor: Vec<u8>,
    stdin_is_open: bool,
    is_running: bool,
    /// Signals for a program that does not run yet.
    early: Vec<i32>,
    stdout: Output<std::io::Stdout>,
    stderr: Output<std::io::Stderr>,
    asked_to_end: u32,
    ended: Option<Ended>,
    buffer: Vec<u8>,
}

/// What poll(2) has found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Signals,
    Monitor,
    Stdin,
    Stdout,
    Stderr,
}

impl Session<'_> {
    fn run(mut self) -> Result<Ended> {
        loop {
            // What was printed before the end comes before the end.
            if self.stdout.waiting() + self.stderr.waiting() == 0
                && let Some(ended) = self.ended.take()
            {
                return Ok(ended);
            }
            for (source, flags) in self.wait()? {
                match source {
                    Source::Signals => self.take_signals()?,
                    Source::Monitor => self.talk(flags)?,
                    Source::Stdin => self.read_stdin()?,
                    Source::Stdout => self.stdout.write()?,
                    Source::Stderr => self.stderr.write()?,
                }
                // Who leaves does not wait for anything.
                if let Some(Ended::Detached | Ended::Signalled(_)) = self.ended {
                    return Ok(self.ended.unwrap_or(Ended::Detached));
                }
            }
        }
    }

    fn wait(&self) -> Result<Vec<(Source, PollFlags)>> {
        let stdin = std::io::stdin();
        let mut sources: Vec<(Source, BorrowedFd, PollFlags)> =
            vec![(Source::Signals, self.signals.as_fd(), PollFlags::IN)];
        if self.ended.is_none() {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, self.stdout.waiting() + self.stderr.waiting() < BACKLOG);
            flags.set(PollFlags::OUT, !self.for_monitor.is_empty());
            if !flags.is_empty() {
                sources.push((Source::Monitor, self.connection.as_fd(), flags));
            }
            if self.stdin_is_open && self.is_running && self.for_monitor.len() < BACKLOG {
                sources.push((Source::Stdin, stdin.as_fd(), PollFlags::IN));
            }
        }
        if self.stdout.waiting() > 0 {
            sources.push((Source::Stdout, self.stdout.fd(), PollFlags::OUT));
        }
        if self.stderr.waiting() > 0 {
            sources.push((Source::Stderr, self.stderr.fd(), PollFlags::OUT));
        }
        let mut waiting: Vec<PollFd> =
            sources.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        match poll(&mut waiting, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).during(|| "poll".to_owned()),
        }
        let happened = sources.iter().zip(&waiting).map(|((source, ..), waited)| (*source, waited.revents()));
        Ok(happened.filter(|(_, flags)| !flags.is_empty()).collect())
    }

    fn take_signals(&mut self) -> Result<()> {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let number = i32::try_from(info.ssi_signo).unwrap_or_default();
            let is = |signal: Signal| number == signal as i32;
            if is(Signal::SIGWINCH) {
                // Nothing to a program without a terminal; some take it for a request to end.
                self.tell_size();
                continue;
            }
            if is(Signal::SIGCONT) {
                // Who stopped us had the terminal in between.
                if let Some(raw) = &self.raw {
                    raw.again().during(|| "terminal".to_owned())?;
                }
                self.tell_size();
            }
            match &mut self.options.forward {
                Some(forward) => {
                    if self.is_running {
                        forward(number);
                    } else {
                        self.early.push(number);
                    }
                    if is(Signal::SIGINT) || is(Signal::SIGTERM) {
                        self.asked_to_end += 1;
                    }
                    if self.asked_to_end == PATIENCE {
                        output::complain("got 3 SIGTERM/SIGINTs, forcefully exiting");
                        self.ended = Some(Ended::Signalled(number));
                    }
                }
                None if is(Signal::SIGCONT) => {}
                None => self.ended = Some(Ended::Signalled(number)),
            }
        }
        Ok(())
    }

    /// The container's terminal gets the size of ours.
    fn tell_size(&mut self) {
        if let (true, Some((rows, columns))) = (self.options.tty, terminal::size()) {
            self.for_monitor.extend(Frame::Resize(rows, columns).encode());
        }
    }

    /// A program that shows a picture draws it again when its terminal changes: it gets another size for a moment.
    fn redraw(&mut self) {
        if let (true, Some((rows, columns))) = (self.options.tty, terminal::size()) {
            let other = Frame::Resize(rows.saturating_add(1), columns.saturating_add(1));
            self.for_monitor.extend(other.encode());
        }
    }

    fn read_stdin(&mut self) -> Result<()> {
        let count = match rustix::io::read(std::io::stdin(), &mut self.buffer) {
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            // A terminal that is gone (EIO) is an end too.
            Err(Errno::IO) => 0,
            Err(errno) => return Err(errno).during(|| "read standard input".to_owned()),
        };
        if count == 0 {
            self.stdin_is_open = false;
            self.for_monitor.extend(Frame::StdinEnd.encode());
            return Ok(());
        }
        let typed = &self.buffer[..count];
        // Only at a terminal does anybody type: what comes out of a pipe is data.
        if self.raw.is_some() {
            let mut passed = Vec::new();
            let leaves = self.options.detach_keys.pass(typed, &mut passed);
            if !passed.is_empty() {
                self.for_monitor.extend(Frame::Stdin(passed).encode());
            }
            if leaves {
                // What was typed before it is still for the container.
                let _ = self.send();
                self.ended = Some(Ended::Detached);
            }
        } else {
            self.for_monitor.extend(Frame::Stdin(typed.to_vec()).encode());
        }
        Ok(())
    }

    fn talk(&mut self, flags: PollFlags) -> Result<()> {
        if flags.contains(PollFlags::OUT) {
            self.send()?;
        }
        if !flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            return Ok(());
        }
        match rustix::io::read(&self.connection, &mut self.buffer) {
            Ok(0) | Err(Errno::CONNRESET) => return self.connect_again(),
            Ok(count) => self.decoder.push(&self.buffer[..count]),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(errno) => return Err(errno).during(|| "read from the monitor".to_owned()),
        }
        while let Some(frame) = self.decoder.next_frame()? {
            match frame {
                Frame::Stdout(bytes) => self.stdout.push(&bytes),
                Frame::Stderr(bytes) => self.stderr.push(&bytes),
                Frame::Started(pid) => {
                    if let Some(started) = &mut self.options.started {
                        started(pid);
                    }
                    self.is_running = true;
                    if let Some(forward) = &mut self.options.forward {
                        self.early.drain(..).for_each(forward);
                    }
                }
                Frame::Exit(exit) => self.ended = Some(Ended::Exit(exit)),
                Frame::Failed(code, reason) => self.ended = Some(Ended::Failed(code, reason)),
                Frame::Attached => {}
                other => return Err(Error::invalid(format!("the monitor says {other:?}"))),
            }
        }
        Ok(())
    }

    /// Sends what the monitor takes.
    fn send(&mut self) -> Result<()> {
        use rustix::net::{SendFlags, send};
        match send(&self.connection, &self.for_monitor, SendFlags::NOSIGNAL) {
            Ok(count) => drop(self.for_monitor.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // It has ended; what it said before can be read still.
            Err(Errno::PIPE | Errno::CONNRESET) => self.for_monitor.clear(),
            Err(errno) => return Err(errno).during(|| "write to the monitor".to_owned()),
        }
        Ok(())
    }

    /// The monitor has ended without a word: killed, as nothing else makes it. Another one may have its place by now.
    fn connect_again(&mut self) -> Result<()> {
        self.decoder = Decoder::default();
        self.for_monitor.clear();
        let connection = match (&self.ended, &mut self.options.again) {
            (None, Some(again)) => again()?,
            _ => None,
        };
        match connection {
            Some(connection) => {
                connection.set_nonblocking(true).during(|| "connection".to_owned())?;
                self.connection = connection;
                self.tell_size();
                if self.options.attach.stdin && !self.stdin_is_open {
                    self.for_monitor.extend(Frame::StdinEnd.encode());
                }
            }
            None => drop(self.ended.get_or_insert(Ended::Lost)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn a_frame_is_read_and_not_a_byte_more() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let exit = Frame::Exit(Exit { code: 3, oom: false, error: String::new() });
        let frames = [Frame::Started(7), Frame::Attached, exit, Frame::Stdout(vec![1; 70])];
        for frame in &frames {
            theirs.write_all(&frame.encode()).unwrap();
        }
        theirs.write_all(b"rest").unwrap();
        for frame in frames {
            assert_eq!(read_frame(&mut ours).unwrap(), frame);
        }
        drop(theirs);
        let mut rest = String::new();
        ours.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "rest");
        assert_eq!(read_frame(&mut ours).unwrap_err().kind(), Kind::Invalid);
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(&[65, 0xff, 0xff, 0xff, 0xff]).unwrap();
        assert!(read_frame(&mut ours).unwrap_err().to_string().contains("are the most"));
    }

    #[test]
    fn attaching_says_what_is_wanted_and_waits_for_the_answer() {
        let wanted = Attach { stdin: false, stdout: true, stderr: true };
        for (answer, is_fine) in [(Frame::Attached, true), (Frame::Started(1), false)] {
            let (mut ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(&answer.encode()).unwrap();
            assert_eq!(attach(&mut ours, wanted).is_ok(), is_fine);
            assert_eq!(read_frame(&mut theirs).unwrap(), Frame::Attach(wanted));
        }
    }

    #[test]
    fn a_socket_is_found_however_long_its_path_is() {
        let scratch = crate::store::scratch::Scratch::new();
        let folder = scratch.join(&"x".repeat(120));
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(connect(&folder).unwrap_err().kind(), Kind::NotFound);
        let open = std::fs::File::open(&folder).unwrap();
        let path = format!("/proc/self/fd/{}/socket", open.as_raw_fd());
        let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
        connect(&folder).unwrap();
        listener.accept().unwrap();
    }
}
