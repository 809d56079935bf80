//! The second of a monitor's two processes: one poll(2) loop over the container's streams, its first process, the
//! clients and what is due. What begins and ends a run is in `life`, taking over one that goes on in `adoption`.
//!
//! It may be killed at any moment. So it changes what is recorded before it lets go of what it was told by, and a child's
//! exit status is looked at, written down, and only then taken from the kernel.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::container;
use crate::container::record::Container;
use crate::error::{Context, Error, Kind, Result};
use crate::log::{Stream, Writer};
use crate::monitor::adoption::{self, Heir};
use crate::monitor::attendant::Attendant;
use crate::monitor::client::{self, Client, Heard};
use crate::monitor::control::{self, Order, Reaped, Told};
use crate::monitor::life::{Ended, Run, Starting};
use crate::monitor::policy::Backoff;
use crate::monitor::probe::Checks;
use crate::monitor::resolver::Resolver;
use crate::monitor::seat::Seat;
use crate::monitor::streams::Streams;
use crate::runtime::Runtime;
use crate::stream::protocol::{Frame, HEADER, STDERR, STDOUT, Start};

/// How much is read from a stream at once.
const CHUNK: usize = 32 << 10;
/// How much of what clients send for standard input is kept while the container does not read it.
const INPUT_MAX: usize = 64 << 10;
/// How often an output that has ended is looked at again: a terminal may be opened anew.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What a worker gets from the keeper.
#[derive(Debug)]
pub struct Inheritance {
    /// Where the keeper is told what to do.
    pub keeper: OwnedFd,
    /// Streams of a run that goes on.
    pub streams: Option<Streams>,
    /// Who has started the container, and has no answer yet.
    pub starter: Option<OwnedFd>,
    /// What he said.
    pub start: Start,
    /// Processes that ended when there was no worker.
    pub reaped: Vec<Reaped>,
    /// There was no worker before this one.
    pub is_first: bool,
}

/// What is going on.
#[derive(Debug)]
pub enum Phase {
    /// The runtime is at work.
    Starting(Starting),
    /// The container's program runs.
    Running(Run),
    /// The program has ended; what it has printed is not read to its end yet.
    Draining(Ended, Instant),
    /// It is started again at this moment.
    Waiting(Instant),
    /// All is done.
    Over,
}

/// The worker.
#[derive(Debug)]
pub struct Worker<'a> {
    pub(super) seat: &'a Seat,
    pub(super) container: Container,
    pub(super) runtime: Runtime,
    pub(super) phase: Phase,
    pub(super) backoff: Backoff,
    /// None where it cannot be opened.
    pub(super) log: Option<Writer>,
    pub(super) streams: Option<Streams>,
    /// Which outputs have ended.
    pub(super) ended: [bool; 2],
    /// When they are looked at again: a terminal may be opened anew, a FIFO without a name in the container may not.
    pub(super) look_again: Option<Instant>,
    pub(super) clients: Vec<Client>,
    pub(super) start: Start,
    /// For standard input.
    pub(super) input: Vec<u8>,
    pub(super) input_ends: bool,
    /// Somebody wants the container to end.
    pub(super) is_stopped: bool,
    /// This host, or the user's session, ends.
    pub(super) is_shutdown: bool,
    pub(super) reaped: Vec<Reaped>,
    /// Answers the container's questions for names.
    pub(super) names: Option<Resolver>,
    keeper: Option<OwnedFd>,
    signals: SignalFd,
    buffer: Vec<u8>,
}

/// What something that happened belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Signals,
    Keeper,
    Listener,
    Output(Stream),
    Input,
    Console,
    Launcher,
    Program,
    Memory,
    Check,
    Names,
    Attendant(usize),
    Client(usize),
}

impl<'a> Worker<'a> {
    /// A worker that has done nothing yet.
    ///
    /// # Errors
    /// A damaged record; the system's reason.
    pub fn new(seat: &'a Seat, inheritance: Inheritance) -> Result<Worker<'a>> {
        let mut heard = SigSet::empty();
        heard.add(Signal::SIGCHLD);
        heard.add(Signal::SIGTERM);
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&heard, flags)
            .map_err(|errno| Error::new(Kind::System, format!("signalfd: {}", errno.desc())))?;
        let this = Some(rustix::process::getpid());
        rustix::process::set_child_subreaper(this).during(|| "prctl".to_owned())?;
        let container = seat.containers.get(&seat.id)?.ok_or_else(|| container::missing(&seat.id))?;
        let runtime = seat.containers.runtime(&container);
        let mut clients: Vec<Client> = inheritance.starter.into_iter().map(Client::new).collect();
        clients.iter_mut().for_each(|starter| {
            starter.is_starter = true;
            starter.attach = inheritance.start.attach;
        });
        let mut worker = Worker {
            seat,
            container,
            runtime,
            phase: Phase::Over,
            backoff: Backoff::default(),
            log: None,
            streams: inheritance.streams,
            ended: [false; 2],
            look_again: None,
            clients,
            start: inheritance.start,
            input: Vec::new(),
            input_ends: false,
            is_stopped: false,
            is_shutdown: false,
            reaped: inheritance.reaped,
            names: None,
            keeper: Some(inheritance.keeper),
            signals,
            buffer: vec![0; HEADER + CHUNK],
        };
        if inheritance.is_first && !worker.start.adopt {
            // That a start is under way was recorded before there was a monitor.
            worker.launch_again(Ok(()), false);
        } else {
            // A keeper that has just come is nobody's parent: how a program has ended it does not know.
            let by_whom = if inheritance.is_first { Heir::Stranger } else { Heir::Kin };
            adoption::take_over(&mut worker, by_whom);
        }
        Ok(worker)
    }

    /// Works until all is done.
    ///
    /// # Errors
    /// The system's reason, where nothing else can be done than to begin anew.
    pub fn work(mut self) -> Result<()> {
        while !matches!(self.phase, Phase::Over) {
            for (source, flags) in self.wait()? {
                self.handle(source, flags);
            }
            self.due();
            self.part();
        }
        client::outlive(self.clients);
        Ok(())
    }

    /// What is waited for, in the order in which it has to be handled.
    fn sources(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let mut sources = vec![
            (Source::Signals, self.signals.as_fd(), PollFlags::IN),
            (Source::Listener, self.seat.listener.as_fd(), PollFlags::IN),
        ];
        sources.extend(self.keeper.iter().map(|keeper| (Source::Keeper, keeper.as_fd(), PollFlags::IN)));
        match &self.phase {
            Phase::Starting(starting) => {
                let console = starting.console.iter();
                sources.extend(console.map(|console| (Source::Console, console.as_fd(), PollFlags::IN)));
                sources.push((Source::Launcher, starting.launcher.pidfd(), PollFlags::IN));
            }
            Phase::Running(run) => {
                self.add_streams(&mut sources);
                // One that has ended says so all the time.
                let pidfd = run.pidfd.iter().filter(|_| run.unseen.is_none());
                sources.extend(pidfd.map(|pidfd| (Source::Program, pidfd.as_fd(), PollFlags::IN)));
                sources
                    .extend(run.memory.iter().map(|memory| (Source::Memory, memory.as_fd(), PollFlags::PRI)));
                let checks = run.checks.iter().flat_map(Checks::descriptors);
                sources.extend(checks.map(|fd| (Source::Check, fd, PollFlags::IN)));
                for (index, attendant) in run.attendants.iter().enumerate() {
                    let ended = attendant.process().map(|fd| (Source::Attendant(index), fd, PollFlags::IN));
                    sources.extend(ended);
                }
            }
            Phase::Draining(..) => self.add_streams(&mut sources),
            Phase::Waiting(_) | Phase::Over => {}
        }
        let names = self.names.iter().flat_map(Resolver::descriptors);
        sources.extend(names.map(|(fd, flags)| (Source::Names, fd, flags)));
        let takes_input = self.input.len() < INPUT_MAX;
        for (index, client) in self.clients.iter().enumerate() {
            sources.push((Source::Client(index), client.socket(), client.interest(takes_input)));
        }
        sources
    }

    fn add_streams<'b>(&'b self, sources: &mut Vec<(Source, BorrowedFd<'b>, PollFlags)>) {
        let Some(streams) = &self.streams else { return };
        if let (Some(stdin), false) = (streams.stdin(), self.input.is_empty()) {
            sources.push((Source::Input, stdin.as_fd(), PollFlags::OUT));
        }
        // What an attached client does not take stays in the container, until that has ended.
        let is_kept_back =
            matches!(self.phase, Phase::Running(_)) && self.clients.iter().any(Client::is_slow);
        if !is_kept_back {
            let open = |stream: &Stream| !self.ended[*stream as usize];
            let outputs = [Stream::Stdout, Stream::Stderr].into_iter().filter(open);
            let outputs = outputs.filter_map(|stream| Some((stream, streams.output(stream)?)));
            sources.extend(outputs.map(|(stream, fd)| (Source::Output(stream), fd.as_fd(), PollFlags::IN)));
        }
    }

    /// Waits until something happens or is due; what has happened.
    fn wait(&self) -> Result<Vec<(Source, PollFlags)>> {
        let sources = self.sources();
        let mut waiting: Vec<PollFd> =
            sources.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let rest = self.next_due().map(|due| due.saturating_duration_since(Instant::now()));
        // Half a millisecond more than needed is better than a round too early.
        let rest = rest.and_then(|rest| Timespec::try_from(rest + Duration::from_micros(500)).ok());
        match poll(&mut waiting, rest.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Vec::new()),
            Err(errno) => return Err(errno).during(|| "poll".to_owned()),
        }
        let happened = sources.iter().zip(&waiting).map(|((source, ..), waited)| (*source, waited.revents()));
        Ok(happened.filter(|(_, flags)| !flags.is_empty()).collect())
    }

    /// When something has to be done though nothing happens.
    fn next_due(&self) -> Option<Instant> {
        let names = self.names.as_ref().and_then(Resolver::due);
        let other = match &self.phase {
            Phase::Waiting(until) | Phase::Draining(_, until) => Some(*until),
            Phase::Running(run) => {
                let checks = run.checks.as_ref().map(Checks::due);
                let unseen = run.unseen.map(|unseen| unseen.look_again);
                let attendants = run.attendants.iter().filter_map(Attendant::due);
                self.look_again.into_iter().chain(unseen).chain(checks).chain(attendants).min()
            }
            Phase::Starting(_) | Phase::Over => None,
        };
        other.into_iter().chain(names).min()
    }

    /// Answers questions for names, as far as there are any.
    fn answer_names(&mut self) {
        if let Some(names) = &mut self.names {
            names.work(&self.seat.containers, &self.seat.id);
        }
    }

    fn handle(&mut self, source: Source, flags: PollFlags) {
        match source {
            Source::Signals => self.hear_signals(),
            Source::Keeper => self.hear_keeper(),
            Source::Listener => self.clients.extend(client::accept(&self.seat.listener, self.clients.len())),
            Source::Output(stream) => {
                self.read_output(stream);
                if matches!(self.phase, Phase::Draining(..)) && self.ended == [true; 2] {
                    self.drained();
                }
            }
            Source::Input => self.write_input(),
            Source::Console => self.receive_terminal(),
            Source::Launcher => self.launched(),
            Source::Program => self.program_ended(),
            Source::Memory => self.look_at_memory(),
            Source::Check => self.look_at_check(),
            Source::Names => self.answer_names(),
            Source::Attendant(index) => {
                if let Phase::Running(Run { attendants, .. }) = &mut self.phase {
                    attendants.get_mut(index).map(Attendant::ended).unwrap_or_default();
                }
            }
            Source::Client(index) => self.serve(index, flags),
        }
    }

    /// Does what is due.
    fn due(&mut self) {
        let now = Instant::now();
        if self.next_due().is_none_or(|due| due > now) {
            return;
        }
        if self.names.as_ref().and_then(Resolver::due).is_some_and(|due| due <= now) {
            self.answer_names();
        }
        if self.look_again.is_some_and(|again| again <= now) {
            self.look_again = None;
            self.ended = [false; 2];
        }
        self.look_at_attendants();
        match &self.phase {
            Phase::Waiting(_) => self.start_again(),
            Phase::Draining(..) => self.drained(),
            Phase::Running(run) if run.unseen.is_some_and(|unseen| unseen.look_again <= now) => {
                self.program_ended()
            }
            Phase::Running(_) => self.look_at_check(),
            Phase::Starting(_) | Phase::Over => {}
        }
    }

    /// Clients that have left, and have taken what was for them, are gone.
    fn part(&mut self) {
        self.clients.retain(|client| !client.is_done());
    }

    fn hear_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if i32::try_from(signal.ssi_signo) == Ok(Signal::SIGTERM as i32) {
                self.shut_down();
            }
        }
        self.reap_orphans();
    }

    fn hear_keeper(&mut self) {
        loop {
            match self.keeper.as_ref().map_or(Told::Gone, |keeper| control::next_told(keeper.as_fd())) {
                Told::Ended(reaped) => {
                    // Others that the container has left to the keeper are of no interest.
                    if matches!(&self.phase, Phase::Running(run) if run.process.pid == reaped.pid) {
                        self.reaped.push(reaped);
                        self.program_ended();
                    }
                }
                Told::Nothing => return,
                Told::Gone => {
                    self.keeper = None;
                    return;
                }
            }
        }
    }

    /// Gives the keeper an order, if there is one.
    pub(super) fn order(&self, order: &Order) {
        if let Some(keeper) = &self.keeper {
            control::order(keeper.as_fd(), order);
        }
    }

    /// Reads once from an output; whether there was anything.
    pub(super) fn read_output(&mut self, stream: Stream) -> Output {
        let Some(fd) = self.streams.as_ref().and_then(|streams| streams.output(stream)) else {
            self.ended[stream as usize] = true;
            return Output::Ended;
        };
        let room = &mut self.buffer[HEADER..];
        let taken = match &mut self.log {
            Some(log) => log.take(stream, fd.as_fd(), room),
            None => rustix::io::read(fd, room),
        };
        match taken {
            Err(Errno::AGAIN | Errno::INTR) => Output::Nothing,
            // A terminal that nobody has open any more (EIO).
            Ok(0) | Err(_) => {
                self.ended[stream as usize] = true;
                self.look_again = self.container.config.tty.then(|| Instant::now() + LOOK_AGAIN);
                Output::Ended
            }
            Ok(count) => {
                self.pass_on(stream, count);
                Output::Some
            }
        }
    }

    /// Gives what is in the buffer to all who are attached.
    fn pass_on(&mut self, stream: Stream, count: usize) {
        let Ok(length) = u32::try_from(count) else { return };
        self.buffer[0] = if stream == Stream::Stdout { STDOUT } else { STDERR };
        self.buffer[1..HEADER].copy_from_slice(&length.to_be_bytes());
        for client in &mut self.clients {
            let attach = client.attach;
            if if stream == Stream::Stdout { attach.stdout } else { attach.stderr } {
                client.say_bytes(&self.buffer[..HEADER + count]);
            }
        }
    }

    fn serve(&mut self, index: usize, flags: PollFlags) {
        let Some(client) = self.clients.get_mut(index) else { return };
        if flags.contains(PollFlags::OUT) {
            client.flush();
        }
        if !flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            return;
        }
        let writes = client.attach.stdin;
        let (frames, is_gone) = match client.hear() {
            Heard::Frames(frames) => (frames, false),
            Heard::Last(frames) => (frames, true),
        };
        for frame in frames {
            self.obey(index, frame);
        }
        if is_gone && writes {
            self.client_ends_input();
        }
    }

    fn obey(&mut self, index: usize, frame: Frame) {
        let Some(client) = self.clients.get_mut(index) else { return };
        match frame {
            Frame::Attach(attach) => {
                client.attach = attach;
                client.say(&Frame::Attached);
            }
            Frame::Stdin(bytes) if client.attach.stdin => {
                self.input.extend_from_slice(&bytes);
                self.write_input();
            }
            Frame::StdinEnd if client.attach.stdin => self.client_ends_input(),
            Frame::Resize(rows, columns) => {
                self.start.size = Some((rows, columns));
                self.streams.iter().for_each(|streams| streams.resize(rows, columns));
            }
            Frame::Stop => {
                client.waits = true;
                self.is_stopped = true;
                if matches!(self.phase, Phase::Waiting(_)) {
                    self.give_up_restart();
                }
            }
            Frame::Wait => client.waits = true,
            Frame::Ports => self.look_for_attendants(),
            // Of a client that is not attached, or that takes itself for a monitor.
            _ => {}
        }
    }

    /// A client has nothing more for standard input: that ends it only where the record says so, and never a terminal.
    fn client_ends_input(&mut self) {
        if self.container.config.stdin_once && !self.container.config.tty {
            self.input_ends = true;
            self.write_input();
        }
    }

    /// Gives the container what it takes of its standard input.
    fn write_input(&mut self) {
        let Some(streams) = &mut self.streams else { return self.input.clear() };
        while !self.input.is_empty() {
            let Some(stdin) = streams.stdin() else { return self.input.clear() };
            match rustix::io::write(stdin, &self.input) {
                Ok(count) => drop(self.input.drain(..count)),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => {
                    // Nobody reads it any more.
                    self.input = Vec::new();
                    self.input_ends = true;
                }
            }
        }
        if self.input_ends {
            streams.end_stdin();
            self.order(&Order::EndStdin);
        }
    }
}

/// What reading from an output came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Something was there.
    Some,
    /// Nothing by now.
    Nothing,
    /// Nobody can write to it any more.
    Ended,
}
