//! Taking over a container whose worker, or whole monitor, was killed: what goes on is found, what has ended is recorded,
//! what was under way is brought to its end.
//!
//! Nothing is begun while a runtime of the one who was killed is still at work: it has the start's lock.

use std::fs;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use crate::container::process::{ProcessId, boot_id};
use crate::container::state::{State, Status};
use crate::error::{Context as _, Result};
use crate::event;
use crate::log::Writer;
use crate::monitor::CANNOT_START;
use crate::monitor::life::START_MAX;
use crate::monitor::oom::cgroup_of;
use crate::monitor::policy::Backoff;
use crate::monitor::resolver::Resolver;
use crate::monitor::streams::Streams;
use crate::monitor::worker::{Phase, Worker};
use crate::network::endpoint;
use crate::network::names::{self, Sockets};
use crate::stream::protocol::{Exit, Frame};

/// Who takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heir {
    /// A worker of the keeper that the former one had: the container has become the keeper's child.
    Kin,
    /// The first worker of another keeper.
    Stranger,
}

/// Takes the container over. Afterwards the worker is in the phase that the container is in.
pub fn take_over(worker: &mut Worker, heir: Heir) {
    if let Err(error) = try_to(worker, heir) {
        worker.cannot_start(CANNOT_START, &error.to_string(), false);
    }
}

fn try_to(worker: &mut Worker, heir: Heir) -> Result<()> {
    let (containers, id) = (&worker.seat.containers, &worker.seat.id);
    // Until no runtime is at work; then nobody else can begin one but this worker.
    drop(worker.seat.lock_start(START_MAX)?);
    let state = containers.state(id)?;
    worker.backoff = Backoff::resumed(state.restart_count);
    // Where it cannot be written any more, the container goes on all the same.
    worker.log = Writer::open(&worker.container, &containers.folder(id), &worker.seat.folder).ok();
    if worker.streams.is_none() && !worker.container.config.tty {
        worker.streams = Streams::find(&worker.seat.folder)?;
    }
    let (boot, own) = (boot_id()?, ProcessId::own()?);
    worker.record(|state| {
        state.boot.clone_from(&boot);
        state.monitor = Some(own);
    })?;
    match state {
        State { is_starting: true, .. } => started(worker, &state, heir),
        State { process: Some(process), .. } if state.status.has_process() => {
            goes_on(worker, process, since(&state), heir)
        }
        State { status: Status::Restarting, .. } => {
            worker.runtime.delete(worker.seat.id.as_str())?;
            endpoint::detach(&worker.seat.containers, &worker.container)?;
            worker.answer(&Frame::Started(0));
            worker.phase = Phase::Waiting(Instant::now() + worker.backoff.last());
            Ok(())
        }
        // Its end was recorded, and what follows from that was under way.
        state => {
            worker.runtime.delete(worker.seat.id.as_str())?;
            worker.finish(Exit { code: state.exit_code, oom: state.oom_killed, error: state.error });
            Ok(())
        }
    }
}

/// A program that was running: it goes on, or has ended meanwhile.
fn goes_on(worker: &mut Worker, process: ProcessId, since: Duration, heir: Heir) -> Result<()> {
    let pidfd = process.open()?;
    let is_alive = pidfd.is_some();
    if is_alive {
        // Without names it goes on all the same.
        worker.names = resolver(worker, process).unwrap_or_default();
    }
    worker.runs(process, pidfd, false, since);
    if !is_alive && heir == Heir::Stranger {
        // Its end is what there is to answer.
        worker.ends_unseen();
        return Ok(());
    }
    worker.answer(&Frame::Started(process.pid));
    if !is_alive {
        // The keeper may have told its end before.
        worker.program_ended();
    }
    Ok(())
}

/// The resolver that the former worker had: at the same ports, or else at others that the namespace is told of.
fn resolver(worker: &Worker, process: ProcessId) -> Result<Option<Resolver>> {
    let (containers, id) = (&worker.seat.containers, &worker.seat.id);
    let ports = containers.state(id)?.names;
    if ports == [0; 2] {
        return Ok(None);
    }
    let path = format!("/proc/{}/ns/net", process.pid);
    let netns = fs::File::open(&path).during(|| format!("open {path:?}"))?;
    if !process.is_alive() {
        return Ok(None);
    }
    let sockets = match Sockets::open(netns.as_fd(), ports) {
        Ok(sockets) => sockets,
        Err(_) => {
            let sockets = Sockets::open(netns.as_fd(), [0; 2])?;
            let ports = sockets.ports()?;
            names::lead(netns.as_fd(), ports)?;
            worker.record(|state| state.names = ports)?;
            sockets
        }
    };
    Ok(Some(Resolver::new(sockets, &worker.container.host_config.dns)))
}

/// A start was under way: the program runs, has run, or could not be started.
fn started(worker: &mut Worker, state: &State, heir: Heir) -> Result<()> {
    let is_restart = state.status == Status::Restarting;
    let id = worker.seat.id.as_str().to_owned();
    let told = worker.seat.pid().filter(|pid| worker.reaped.iter().any(|reaped| reaped.pid == *pid));
    let running = worker.runtime.state(&id).ok();
    let running = running.filter(|state| matches!(state.status.as_str(), "running" | "paused" | "stopped"));
    // A program that has ended is known by its pid alone, which the runtime has written.
    let pid = running.map(|state| state.pid).filter(|pid| *pid > 0).or(told).or_else(|| worker.seat.pid());
    if let Some(pid) = pid {
        let process = ProcessId::of(pid).unwrap_or(ProcessId { pid, start_time: 0 });
        worker.record_start(process, cgroup_of(pid))?;
        event::emit(worker.seat.containers.state_root(), "start", &worker.container, &[]);
        return goes_on(worker, process, Duration::ZERO, heir);
    }
    let log = fs::read_to_string(worker.seat.folder.join("log.json")).unwrap_or_default();
    if !log.trim().is_empty() {
        let reason = worker.reason(1);
        worker.cannot_start(crate::runtime::start_status(&reason), &reason, is_restart);
    } else if worker.start.adopt && !is_restart {
        // Whoever wanted it was told that it had failed.
        worker.cannot_start(CANNOT_START, "its monitor was killed while it was started", false);
    } else {
        let _ = worker.runtime.delete(&id);
        worker.streams = None;
        worker.launch_again(Ok(()), is_restart);
    }
    Ok(())
}

/// How long ago the run began, by the clock on the wall.
fn since(state: &State) -> Duration {
    let began: Option<jiff::Timestamp> = state.started_at.parse().ok();
    let since = began.map(|began| jiff::Timestamp::now().duration_since(began));
    since.and_then(|since| Duration::try_from(since).ok()).unwrap_or_default()
}
