//! The supervisor of a further program on a terminal (`exec --tty`): one small process, which has the terminal's master and
//! the program as its child, serves the command that started it, and stays when somebody leaves that by the detach keys.
//!
//! It speaks as a container's monitor does, so that the command's end is `stream::client`; but nobody can come back, as
//! with docker. When the command has gone, what the program prints is nobody's.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::child::Child;
use super::client::{self, Client, Heard};
use super::console::Console;
use super::streams::Streams;
use crate::container;
use crate::container::ContainerId;
use crate::container::exec::{failure, failure_status};
use crate::container::store::Containers;
use crate::error::{Context, Error, Kind, Result};
use crate::root::remove::forget;
use crate::runtime::Runtime;
use crate::store::folder::make_private;
use crate::stream::protocol::{Attach, Exit, Frame, PAYLOAD_MAX};

/// The hidden command.
pub const VERB: &str = "terminal-exec";

/// How much of what is typed is kept while the program does not read it, in bytes.
const INPUT_MAX: usize = 64 << 10;
/// How much is read from the terminal at once, in bytes.
const CHUNK: usize = 16 << 10;
/// How long the terminal may take to arrive once the program runs.
const ARRIVAL: Duration = Duration::from_secs(10);

/// Starts the program that `process`, a document in memory, tells of. What comes on the connection is [`Frame::Started`] or
/// [`Frame::Failed`]; from then on it is attached.
///
/// # Errors
/// The system's reason.
pub fn launch(containers: &Containers, id: &ContainerId, process: &File) -> Result<UnixStream> {
    let words = || "start a supervisor".to_owned();
    let (ours, theirs) = UnixStream::pair().during(words)?;
    let descriptors = [process.as_raw_fd(), theirs.as_raw_fd()];
    let numbers = descriptors.map(|fd| fd.to_string());
    super::spawn(containers, &[VERB, id.as_str(), &numbers[0], &numbers[1]], descriptors.to_vec())
        .during(words)?;
    Ok(ours)
}

/// What the hidden command does: runs the program and serves the caller until the program has ended.
///
/// # Errors
/// The system's reason; the caller is told it too, where it keeps the program from running.
pub fn run(containers: &Containers, id: &ContainerId, process: OwnedFd, caller: OwnedFd) -> Result<()> {
    let mut client = Client::new(caller);
    match begin(containers, id, &File::from(process)) {
        Ok((program, master)) => {
            client.attach = Attach { stdin: true, stdout: true, stderr: false };
            client.say(&Frame::Started(program.pid));
            Session { client, program, terminal: Streams::Terminal(master), input: Vec::new() }.work()
        }
        Err(error) => {
            let reason = error.to_string();
            client.leave(&Frame::Failed(failure_status(&reason), reason));
            client::outlive(vec![client]);
            Ok(())
        }
    }
}

/// Has the runtime start the program; it is our child then, as we are the nearest subreaper.
fn begin(containers: &Containers, id: &ContainerId, process: &File) -> Result<(Child, OwnedFd)> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).during(|| "prctl".to_owned())?;
    let container = containers.get(id)?.ok_or_else(|| container::missing(id))?;
    let folder = containers.state_folder(id).join(format!("exec-{}", ContainerId::random()?));
    make_private(&folder)?;
    let begun = start(&containers.runtime(&container), id, &folder, process);
    let removed = forget(&folder);
    begun.and_then(|begun| removed.map(|()| begun))
}

fn start(runtime: &Runtime, id: &ContainerId, folder: &Path, process: &File) -> Result<(Child, OwnedFd)> {
    let opened = File::open(folder).during(|| format!("open {folder:?}"))?;
    let console = Console::listen(folder, opened.as_fd())?;
    let (log, pid_file) = (folder.join("log"), folder.join("pid"));
    let mut command = runtime.command(Some(&log));
    let document = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), process.as_raw_fd()));
    command.args(["exec", "--detach", "--process"]).arg(document);
    command.arg("--console-socket").arg(&console.told).arg("--pid-file").arg(&pid_file).arg(id.as_str());
    sys::spawn::inherit_nothing(&mut command);
    let launcher = Child::spawn(&mut command)?;
    ready(&[(launcher.pidfd(), PollFlags::IN)], None)?;
    if launcher.reap() != Some(0) {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let reason = failure(&text).unwrap_or_else(|| "exec failed: the runtime does not say why".to_owned());
        return Err(Error::new(Kind::System, reason));
    }
    let mut pid = String::new();
    let words = || format!("read {pid_file:?}");
    File::open(&pid_file).during(words)?.take(16).read_to_string(&mut pid).during(words)?;
    let pid = pid.trim().parse().map_err(|_| Error::invalid("it has no pid")).during(words)?;
    let program = Child::of(pid)?;
    ready(&[(console.as_fd(), PollFlags::IN)], Timespec::try_from(ARRIVAL).ok())?;
    let master = console.receive()?.ok_or_else(|| Error::new(Kind::System, "no terminal has come"));
    match master {
        Ok(master) => Ok((program, master)),
        Err(error) => {
            program.kill();
            Err(error)
        }
    }
}

/// Waits; what of each has happened.
fn ready(wanted: &[(BorrowedFd, PollFlags)], patience: Option<Timespec>) -> Result<Vec<PollFlags>> {
    let mut waiting: Vec<PollFd> =
        wanted.iter().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
    loop {
        match poll(&mut waiting, patience.as_ref()) {
            Ok(_) => return Ok(waiting.iter().map(PollFd::revents).collect()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).during(|| "poll".to_owned()),
        }
    }
}

struct Session {
    client: Client,
    program: Child,
    terminal: Streams,
    input: Vec<u8>,
}

impl Session {
    fn work(mut self) -> Result<()> {
        let mut is_open = true;
        loop {
            let code = self.program.reap();
            if let Some(code) = code {
                // What it has printed last; what others go on printing there is not waited for.
                while is_open && !self.client.is_done() && self.print() == Some(true) {}
                self.client.leave(&Frame::Exit(Exit { code, ..Exit::default() }));
                client::outlive(vec![self.client]);
                return Ok(());
            }
            let Some(master) = self.terminal.stdin().map(OwnedFd::as_fd) else { return Ok(()) };
            let mut wanted = vec![(self.program.pidfd(), PollFlags::IN)];
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, is_open && !self.client.is_slow());
            flags.set(PollFlags::OUT, is_open && !self.input.is_empty());
            let has_terminal = !flags.is_empty();
            if has_terminal {
                wanted.push((master, flags));
            }
            let has_client = !self.client.is_done();
            if has_client {
                wanted.push((self.client.socket(), self.client.interest(self.input.len() < INPUT_MAX)));
            }
            let found = ready(&wanted, None)?;
            let happened = |index: usize| found.get(index).copied().unwrap_or(PollFlags::empty());
            let terminal = if has_terminal { happened(1) } else { PollFlags::empty() };
            let client =
                if has_client { happened(1 + usize::from(has_terminal)) } else { PollFlags::empty() };
            if terminal.contains(PollFlags::OUT) {
                self.type_in();
            }
            if terminal.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                is_open = self.print().is_some();
            }
            self.serve(client);
        }
    }

    /// Passes on once what was printed: whether there was anything; None when nobody has the terminal open any more.
    fn print(&mut self) -> Option<bool> {
        let mut bytes = [0; CHUNK];
        match rustix::io::read(self.terminal.stdin()?, &mut bytes) {
            Err(Errno::AGAIN | Errno::INTR) => Some(false),
            Ok(0) | Err(_) => None,
            Ok(count) => {
                self.client.say(&Frame::Stdout(bytes[..count.min(PAYLOAD_MAX)].to_vec()));
                Some(true)
            }
        }
    }

    /// Gives the program what it takes of what was typed.
    fn type_in(&mut self) {
        let Some(master) = self.terminal.stdin() else { return };
        match rustix::io::write(master, &self.input) {
            Ok(count) => drop(self.input.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.input.clear(),
        }
    }

    fn serve(&mut self, flags: PollFlags) {
        if flags.contains(PollFlags::OUT) {
            self.client.flush();
        }
        if !flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            return;
        }
        let (Heard::Frames(frames) | Heard::Last(frames)) = self.client.hear();
        for frame in frames {
            match frame {
                Frame::Stdin(bytes) => self.input.extend_from_slice(&bytes),
                Frame::Resize(rows, columns) => self.terminal.resize(rows, columns),
                // A terminal's input has no end.
                _ => {}
            }
        }
    }
}
