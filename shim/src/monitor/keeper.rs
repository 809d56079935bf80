//! The first of a monitor's two processes: it does nothing but wait, so that nothing is lost with the second.
//!
//! It has the lock, the socket, and a copy of every descriptor whose end the container would notice. It is a child
//! subreaper (prctl(2)): a container whose worker was killed becomes its child, so its exit status is known. A worker that
//! is killed is replaced by another one, which finds in the keeper's memory and on the disk how things stand.

use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{WaitOptions, wait};
use sys::process::Clone;

use crate::container::ContainerId;
use crate::container::store::Containers;
use crate::error::{Context, Error, Kind, Result};
use crate::monitor::CANNOT_START;
use crate::monitor::client::Client;
use crate::monitor::control::{self, Order, Reaped};
use crate::monitor::seat::Seat;
use crate::monitor::streams::Streams;
use crate::monitor::worker::{Inheritance, Worker};
use crate::stream::protocol::{Decoder, Frame, HEADER, PAYLOAD_MAX, Start};

/// How long the monitor of the former run may take to go.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a starter may take to say what it wants.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Workers that die this soon, one behind the other, do so for a reason that the next one has too.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// How many of those there may be.
const SHORT_LIVES_MAX: u32 = 20;
/// How many ends of processes are remembered for a worker to come.
const REMEMBERED: usize = 16;

/// Looks after a container until its last run is over. `starter` speaks the protocol of the socket, and begins.
///
/// # Errors
/// What kept it from beginning, which the starter is told too.
pub fn run(containers: Containers, id: ContainerId, starter: OwnedFd) -> Result<()> {
    let again = starter.try_clone().during(|| "dup".to_owned())?;
    match Keeper::begin(containers, id, starter) {
        Ok(None) => Ok(()),
        Ok(Some(mut keeper)) => {
            drop(again);
            keeper.keep()
        }
        Err(error) => {
            Client::new(again).say(&Frame::Failed(CANNOT_START, error.to_string()));
            Err(error)
        }
    }
}

/// What the keeper holds.
struct Keeper {
    seat: Seat,
    /// Its own end, and the one for workers.
    control: (OwnedFd, OwnedFd),
    signals: SignalFd,
    streams: Option<Streams>,
    starter: Option<OwnedFd>,
    start: Start,
    reaped: Vec<Reaped>,
}

/// What the keeper has seen of its worker.
enum Life {
    /// It has done everything.
    Done,
    /// It was killed.
    Cut,
}

impl Keeper {
    /// None if somebody else has taken over meanwhile.
    fn begin(containers: Containers, id: ContainerId, starter: OwnedFd) -> Result<Option<Keeper>> {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let failed = |call: &str, reason: &dyn std::fmt::Display| {
            Error::new(Kind::System, format!("{call}: {reason}"))
        };
        // Before the first child: its end must not be missed.
        SigSet::all().thread_block().map_err(|errno| failed("sigprocmask", &errno.desc()))?;
        sys::process::heed_children().map_err(|error| failed("sigaction", &error))?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .during(|| "prctl".to_owned())?;
        let mut children = SigSet::empty();
        children.add(Signal::SIGCHLD);
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals =
            SignalFd::with_flags(&children, flags).map_err(|errno| failed("signalfd", &errno.desc()))?;
        let (starter, start) = wanted(starter)?;
        // Somebody who has just taken over a container has done what this one was to do.
        let patience = if start.adopt { Duration::ZERO } else { PATIENCE };
        let Some(seat) = Seat::take(containers, id, patience)? else {
            if start.adopt {
                return Ok(None);
            }
            return Err(Error::conflict("the monitor of its former run does not end"));
        };
        let control = control::pair()?;
        let starter = Some(starter);
        Ok(Some(Keeper { seat, control, signals, streams: None, starter, start, reaped: Vec::new() }))
    }

    /// Has a worker at work until one has done everything.
    fn keep(&mut self) -> Result<()> {
        let mut short_lives = 0;
        let mut is_first = true;
        loop {
            let born = Instant::now();
            let worker = match sys::process::clone3(0, None) {
                Ok(Clone::Child) => sys::process::exit_now(i32::from(self.work(is_first).is_err())),
                Ok(Clone::Parent { pid, pidfd: _ }) => pid,
                Err(error) => return Err(Error::new(Kind::System, error.to_string())),
            };
            is_first = false;
            match self.watch(worker)? {
                Life::Done => return Ok(()),
                // Removed while somebody wanted it taken over: what lies here is the last of it.
                Life::Cut if self.seat.is_vacant() => {
                    self.seat.clear();
                    return Ok(());
                }
                Life::Cut if born.elapsed() >= SHORT_LIFE => short_lives = 0,
                Life::Cut if short_lives >= SHORT_LIVES_MAX => {
                    // The container goes on, and the next command has it adopted.
                    return Err(Error::new(Kind::System, "its workers die one behind the other"));
                }
                Life::Cut => {
                    short_lives += 1;
                    std::thread::sleep(Duration::from_millis(u64::from(short_lives - 1) * 10));
                }
            }
        }
    }

    /// The worker's life, in the worker.
    fn work(&self, is_first: bool) -> Result<()> {
        let again = |fd: &OwnedFd| fd.try_clone().during(|| "dup".to_owned());
        let inheritance = Inheritance {
            keeper: again(&self.control.1)?,
            streams: self.streams.as_ref().map(Streams::try_clone).transpose()?,
            starter: self.starter.as_ref().map(again).transpose()?,
            start: self.start,
            reaped: self.reaped.clone(),
            is_first,
        };
        // Its own ends of the control sockets are the keeper's: as long as a worker has them open, none would see that
        // the keeper is gone.
        sys::fd::close_in_clone(self.control.0.as_fd());
        sys::fd::close_in_clone(self.control.1.as_fd());
        // And so with what is kept of the streams: standard input has to end when the worker and the keeper let go of it.
        for fd in self.streams.iter().flat_map(Streams::descriptors) {
            sys::fd::close_in_clone(fd);
        }
        Worker::new(&self.seat, inheritance)?.work()
    }

    /// Waits for the worker's end, takes its orders, and tells it what else has ended.
    fn watch(&mut self, worker: i32) -> Result<Life> {
        loop {
            let mut waiting =
                [PollFd::new(&self.signals, PollFlags::IN), PollFd::new(&self.control.0, PollFlags::IN)];
            match poll(&mut waiting, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno).during(|| "poll".to_owned()),
            }
            // Orders first: they were given before the worker's end.
            while let Some(order) = control::next_order(self.control.0.as_fd())? {
                self.obey(order);
            }
            while let Ok(Some(_)) = self.signals.read_signal() {}
            while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
                let code = super::exit_status(status.exit_status(), status.terminating_signal());
                let pid = pid.as_raw_nonzero().get();
                if pid == worker {
                    // What it said last is obeyed before another one begins.
                    while let Some(order) = control::next_order(self.control.0.as_fd())? {
                        self.obey(order);
                    }
                    return Ok(if code == 0 { Life::Done } else { Life::Cut });
                }
                self.remember(Reaped { pid, code });
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Hold(streams) => {
                self.streams = streams;
                // Of a former run.
                self.reaped.clear();
            }
            Order::EndStdin => self.streams.iter_mut().for_each(Streams::end_stdin),
            Order::ForgetStarter => self.starter = None,
        }
    }

    /// A process has become the keeper's child and ended: only the container's first one is of interest.
    fn remember(&mut self, reaped: Reaped) {
        control::tell(self.control.0.as_fd(), reaped);
        if self.seat.pid() == Some(reaped.pid) && self.reaped.len() < REMEMBERED {
            self.reaped.push(reaped);
        }
    }
}

/// The starter's first frame; what comes behind it stays where it is.
fn wanted(starter: OwnedFd) -> Result<(OwnedFd, Start)> {
    let words = || "starter".to_owned();
    let mut starter = UnixStream::from(starter);
    starter.set_read_timeout(Some(SILENCE_MAX)).during(words)?;
    let mut bytes = [0; HEADER];
    starter.read_exact(&mut bytes).during(words)?;
    let length = usize::try_from(u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]));
    let length = length.ok().filter(|length| *length <= PAYLOAD_MAX);
    let length = length.ok_or_else(|| Error::invalid("frame that is too long")).during(words)?;
    let mut payload = vec![0; length];
    starter.read_exact(&mut payload).during(words)?;
    let mut decoder = Decoder::default();
    decoder.push(&bytes);
    decoder.push(&payload);
    match decoder.next_frame().during(words)? {
        Some(Frame::Start(start)) => Ok((starter.into(), start)),
        _ => Err(Error::invalid("it does not begin with a start")).during(words),
    }
}
