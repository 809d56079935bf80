//! The life of a container's program: begun by the runtime, recorded, ended, and begun again if its policy says so.

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Signal, pidfd_send_signal};

use crate::container::host_config::RestartPolicy;
use crate::container::process::{ProcessId, boot_id};
use crate::container::start::{Prepared, prepare};
use crate::container::state::{State, Status};
use crate::container::{self, remove, root, volumes};
use crate::error::{Error, Kind, Result};
use crate::event;
use crate::log::{Stream, Writer};
use crate::monitor::attendant::Attendant;
use crate::monitor::child::Child;
use crate::monitor::console::Console;
use crate::monitor::control::Order;
use crate::monitor::health::{self, Plan, UNHEALTHY};
use crate::monitor::oom::{MemoryEvents, cgroup_of};
use crate::monitor::policy;
use crate::monitor::probe::{self, Checks};
use crate::monitor::reserve;
use crate::monitor::resolver::Resolver;
use crate::monitor::streams::{Ends, Streams};
use crate::monitor::worker::{Output, Phase, Worker};
use crate::monitor::{CANNOT_START, NEVER_RAN};
use crate::network::endpoint;
use crate::runtime::{reason, start_status};
use crate::stream::protocol::{Exit, Frame};

/// How long output is waited for whose end somebody keeps away after the program's.
const DRAIN: Duration = Duration::from_secs(2);
/// How long the keeper may take to tell how a process has ended that is not the worker's child.
const TELLING: Duration = Duration::from_secs(2);
/// How long a start that is under way is waited for.
pub const START_MAX: Duration = Duration::from_secs(120);
/// How often a record is tried to be written that has to be, and the pause between.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);
/// How often is looked for it.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Exit status of a program whose end nobody has seen.
const UNSEEN: i32 = 137;

/// The runtime at work.
#[derive(Debug)]
pub struct Starting {
    /// The runtime.
    pub launcher: Child,
    /// Where it sends the terminal.
    pub console: Option<Console>,
    /// The policy starts it, nobody else.
    is_restart: bool,
    /// Held by the runtime too: as long as it is at work, nobody else takes the container over.
    _lock: fs::File,
    /// Namespaces that the runtime finds by this process.
    _prepared: Prepared,
}

/// A program that runs.
#[derive(Debug)]
pub struct Run {
    /// The container's first process.
    pub process: ProcessId,
    /// Readable when it has ended; None for one that has ended already.
    pub pidfd: Option<OwnedFd>,
    /// It is this worker's child.
    pub is_child: bool,
    /// When it began.
    pub began: Instant,
    /// Tells of processes that were killed for want of memory.
    pub memory: Option<MemoryEvents>,
    /// Health checks.
    pub checks: Option<Checks>,
    /// What has to be there beside it.
    pub attendants: Vec<Attendant>,
    /// It has ended, but how is not known yet.
    pub unseen: Option<Unseen>,
}

/// How long an exit status is looked for that somebody else has to tell.
#[derive(Clone, Copy, Debug)]
pub struct Unseen {
    /// When it is looked for again.
    pub look_again: Instant,
    /// When no more.
    until: Instant,
}

impl Unseen {
    fn now() -> Unseen {
        let now = Instant::now();
        Unseen { look_again: now, until: now + TELLING }
    }
}

/// A program that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Exit status.
    code: i32,
    /// How long it ran.
    ran: Duration,
    /// It is this worker's child, and not waited for yet.
    child: Option<i32>,
    /// The runtime has forgotten it, and ended what was left of it.
    is_deleted: bool,
}

impl Worker<'_> {
    /// Notes that a start is under way: whoever comes after a monitor that was killed has to know.
    fn record_launch(&self, mut change: impl FnMut(&mut State)) -> Result<()> {
        let (boot, own) = (boot_id()?, ProcessId::own()?);
        self.record(|state| {
            state.is_starting = true;
            state.monitor = Some(own);
            state.boot.clone_from(&boot);
            change(state);
        })
    }

    /// Starts the container again, as its policy wants it.
    pub(super) fn start_again(&mut self) {
        let mut is_wanted = true;
        let recorded = self.record_launch(|state| {
            is_wanted = !state.stopped_by_user && state.status != Status::Removing;
            state.is_starting = is_wanted;
        });
        if self.is_shutdown || self.is_stopped || !is_wanted {
            return self.give_up_restart();
        }
        self.launch_again(recorded, true);
    }

    /// Has the runtime start the container, if that could be noted.
    pub(super) fn launch_again(&mut self, noted: Result<()>, is_restart: bool) {
        if let Err(error) = noted.and_then(|()| self.launch(is_restart)) {
            self.cannot_start(CANNOT_START, &error.to_string(), is_restart);
        }
    }

    /// The container stays as it is: ended.
    pub(super) fn give_up_restart(&mut self) {
        let state = self.seat.containers.state(&self.seat.id).unwrap_or_default();
        let exit = Exit { code: state.exit_code, oom: state.oom_killed, error: state.error };
        self.finish(exit);
    }

    /// Has the runtime start the container.
    fn launch(&mut self, is_restart: bool) -> Result<()> {
        let (containers, id) = (&self.seat.containers, &self.seat.id);
        let lock = self.seat.lock_start(START_MAX)?;
        let lock = lock.ok_or_else(|| Error::conflict("another start of it does not end"))?;
        // Its name, policy or networks may have changed since the last run, and from here on nobody changes the last.
        self.container = containers.get(id)?.ok_or_else(|| container::missing(id))?;
        // What was left of a run that nobody has ended properly would be in the way.
        for name in ["pid", "log.json"] {
            let _ = fs::remove_file(self.seat.folder.join(name));
        }
        let mut prepared = prepare(containers, &self.container)?;
        let sockets = prepared.names.take();
        self.names = sockets.map(|sockets| Resolver::new(sockets, &self.container.host_config.dns));
        // The former one first: what it has not written is the new one's to write.
        self.log = None;
        self.log = Some(Writer::open(&self.container, &containers.folder(id), &self.seat.folder)?);
        reserve::make(&containers.folder(id));
        let log = self.seat.folder.join("log.json");
        let mut command = self.runtime.command(Some(&log));
        command.args(["run", "--detach", "--bundle"]).arg(&prepared.bundle);
        command.arg("--pid-file").arg(self.seat.pid_file());
        let console = if self.container.config.tty {
            let console = Console::listen(&self.seat.folder, self.seat.opened.as_fd())?;
            command.arg("--console-socket").arg(&console.told);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            Some(console)
        } else {
            let (streams, ends) = Streams::make(&self.seat.folder, self.container.config.open_stdin)?;
            let Ends { stdin, stdout, stderr } = ends;
            command.stdin(stdin).stdout(stdout).stderr(stderr);
            self.hold(streams)?;
            None
        };
        command.arg(id.as_str());
        sys::spawn::inherit_descriptors(&mut command, vec![lock.as_raw_fd()]);
        let launcher = Child::spawn(&mut command)?;
        self.phase =
            Phase::Starting(Starting { launcher, console, is_restart, _lock: lock, _prepared: prepared });
        Ok(())
    }

    /// Takes streams, which the keeper keeps open too.
    fn hold(&mut self, streams: Streams) -> Result<()> {
        self.order(&Order::Hold(Some(streams.try_clone()?)));
        if let Some((rows, columns)) = self.start.size {
            streams.resize(rows, columns);
        }
        self.streams = Some(streams);
        self.ended = [false; 2];
        self.look_again = None;
        self.input_ends = false;
        Ok(())
    }

    /// The runtime may have sent the terminal.
    pub(super) fn receive_terminal(&mut self) {
        let Phase::Starting(Starting { console, .. }) = &mut self.phase else { return };
        let received = console.as_ref().map_or(Ok(None), Console::receive);
        match received {
            Ok(Some(master)) => {
                *console = None;
                let _ = self.hold(Streams::Terminal(master));
            }
            Ok(None) => {}
            // The runtime says why it could not send it.
            Err(_) => *console = None,
        }
    }

    /// The runtime has ended, with the container's program running or without.
    pub(super) fn launched(&mut self) {
        self.receive_terminal();
        let Phase::Starting(Starting { launcher, is_restart, .. }) = &self.phase else { return };
        let (Some(code), is_restart) = (launcher.reap(), *is_restart) else { return };
        let child = match self.seat.pid().map(Child::of) {
            Some(Ok(child)) if code == 0 => child,
            _ => {
                let reason = self.reason(code);
                return self.cannot_start(start_status(&reason), &reason, is_restart);
            }
        };
        let pid = child.pid;
        // One that has ended by now has no start time any more that anybody would ask for.
        let process = ProcessId::of(pid).unwrap_or(ProcessId { pid, start_time: 0 });
        if let Err(error) = self.record_start(process, cgroup_of(pid)) {
            return self.cannot_start(CANNOT_START, &error.to_string(), is_restart);
        }
        self.runs(process, Some(child.into_pidfd()), true, Duration::ZERO);
        event::emit(self.seat.containers.state_root(), "start", &self.container, &[]);
        self.answer(&Frame::Started(pid));
        if let (true, Phase::Running(Run { pidfd: Some(pidfd), .. })) = (self.is_stopped, &self.phase) {
            // Asked for while there was nobody whom a signal could have reached.
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
    }

    /// Why the runtime has failed.
    pub(super) fn reason(&self, code: i32) -> String {
        #[derive(serde::Deserialize)]
        struct Line {
            level: String,
            msg: String,
        }
        let log = fs::read_to_string(self.seat.folder.join("log.json")).unwrap_or_default();
        let lines = log.lines().rev().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let mut errors = lines.filter(|line| matches!(line.level.as_str(), "error" | "fatal"));
        match errors.next() {
            Some(line) => line.msg,
            // Crun's log is not always JSON.
            None if !log.trim().is_empty() => reason(&log),
            None => format!("the runtime has ended with status {code}"),
        }
    }

    /// Notes that the program runs.
    pub(super) fn record_start(&mut self, process: ProcessId, cgroup: Option<String>) -> Result<()> {
        let plan = self.plan();
        let monitor = ProcessId::own()?;
        let boot = boot_id()?;
        self.record(|state| {
            *state = State {
                // Somebody removes it: it will be killed.
                status: if state.status == Status::Removing { Status::Removing } else { Status::Running },
                process: Some(process),
                monitor: Some(monitor),
                boot: boot.clone(),
                cgroup: cgroup.clone(),
                started_at: jiff::Timestamp::now().to_string(),
                finished_at: std::mem::take(&mut state.finished_at),
                restart_count: state.restart_count,
                stopped_by_user: state.stopped_by_user,
                health: plan.is_some().then(|| health::begun(state.health.take())),
                networks: std::mem::take(&mut state.networks),
                names: state.names,
                ports: std::mem::take(&mut state.ports),
                ..State::default()
            };
        })
    }

    /// The health check that the record asks for.
    fn plan(&self) -> Option<Plan> {
        let config = &self.container.config;
        Plan::of(config.healthcheck.as_ref(), config.shell.as_deref())
    }

    /// The program runs, and has for a while.
    pub(super) fn runs(
        &mut self,
        process: ProcessId,
        pidfd: Option<OwnedFd>,
        is_child: bool,
        since: Duration,
    ) {
        let state = self.seat.containers.state(&self.seat.id).unwrap_or_default();
        let checks = self.plan().map(|plan| {
            let wait = probe::first_wait(&plan, &state.health.clone().unwrap_or_default());
            Checks::new(plan, wait)
        });
        let now = Instant::now();
        self.phase = Phase::Running(Run {
            process,
            unseen: pidfd.is_none().then(Unseen::now),
            pidfd,
            is_child,
            began: now.checked_sub(since).unwrap_or(now),
            memory: state.cgroup.as_deref().and_then(MemoryEvents::open),
            checks,
            attendants: Attendant::all(&self.seat.containers, &self.seat.id, &self.container),
        });
    }

    /// What has to be there beside it has ended, or is to be started again.
    pub(super) fn look_at_attendants(&mut self) {
        if let Phase::Running(Run { attendants, .. }) = &mut self.phase {
            // Those that are not needed any more are let go.
            attendants.retain_mut(|attendant| attendant.mend(&self.seat.containers, &self.container));
        }
    }

    /// A command has put the container into a network or taken it out, and so published ports of it, or taken them back.
    pub(super) fn look_for_attendants(&mut self) {
        if let Phase::Running(run) = &mut self.phase {
            run.attendants = Attendant::all(&self.seat.containers, &self.seat.id, &self.container);
        }
    }

    /// Answers the starter, who is a client like others from then on.
    pub(super) fn answer(&mut self, frame: &Frame) {
        let attached = self.clients.iter_mut().filter(|client| client.is_starter);
        attached.for_each(|starter| {
            starter.is_starter = false;
            starter.say(frame);
        });
        self.order(&Order::ForgetStarter);
    }

    /// The container does not run, and will not.
    pub(super) fn cannot_start(&mut self, code: u8, reason: &str, is_restart: bool) {
        let _ = self.runtime.delete(self.seat.id.as_str());
        self.streams = None;
        let recorded = self.record(|state| {
            state.process = None;
            state.is_starting = false;
            reason.clone_into(&mut state.error);
            state.exit_code = match code {
                // `run` tells it apart from what programs say; here it is docker's number for what never ran.
                CANNOT_START if state.exit_code == 0 => NEVER_RAN,
                CANNOT_START => state.exit_code,
                code => code.into(),
            };
            if is_restart && state.status != Status::Removing {
                state.status = Status::Exited;
            }
        });
        let error = match recorded {
            Ok(()) => reason.to_owned(),
            Err(error) => format!("{reason} (and: {error})"),
        };
        self.finish(Exit { code: code.into(), oom: false, error });
    }

    /// The program has ended, and nobody can tell how.
    pub(super) fn ends_unseen(&mut self) {
        if let Phase::Running(run) = &mut self.phase {
            let now = Instant::now();
            run.unseen = Some(Unseen { look_again: now, until: now });
        }
        self.program_ended();
    }

    /// The program's first process has ended, if that is certain.
    pub(super) fn program_ended(&mut self) {
        let Phase::Running(run) = &mut self.phase else { return };
        let told = self.reaped.iter().find(|reaped| reaped.pid == run.process.pid);
        let code = match (&run.pidfd, told) {
            (Some(pidfd), _) if run.is_child => super::child::status(pidfd.as_fd()),
            (_, Some(told)) => Some(told.code),
            (Some(pidfd), None) => {
                sys::exit_code(pidfd.as_fd()).ok().flatten().map(super::exit_status_of_wait)
            }
            (None, None) => None,
        };
        let unseen = run.unseen.get_or_insert_with(Unseen::now);
        let code = match code {
            Some(code) => code,
            None if unseen.until <= Instant::now() => UNSEEN,
            None => {
                unseen.look_again = Instant::now() + LOOK_AGAIN;
                return;
            }
        };
        let child = run.is_child.then_some(run.process.pid);
        let ended = Ended { code, ran: run.began.elapsed(), child, is_deleted: false };
        self.look_at_memory();
        self.read_the_rest(ended);
    }

    /// Reads what the program has printed; what keeps an output open that long is ended.
    fn read_the_rest(&mut self, mut ended: Ended) {
        if !self.read_all() {
            ended.is_deleted = self.runtime.delete(self.seat.id.as_str()).is_ok();
            if !self.read_all() {
                // Somebody outside the container has it: a process that it has left the host's pid namespace.
                self.phase = Phase::Draining(ended, Instant::now() + DRAIN);
                return;
            }
        }
        self.ended(ended);
    }

    /// Reads what is there to read now; whether all outputs have ended.
    fn read_all(&mut self) -> bool {
        let end = Instant::now() + DRAIN;
        let mut have_ended = true;
        for stream in [Stream::Stdout, Stream::Stderr] {
            have_ended &= loop {
                match self.read_output(stream) {
                    Output::Some if Instant::now() < end => {}
                    Output::Ended => break true,
                    Output::Some | Output::Nothing => break false,
                }
            };
        }
        have_ended
    }

    /// More was printed by who keeps an output open, or the time for that is over.
    pub(super) fn drained(&mut self) {
        if let Phase::Draining(ended, _) = self.phase {
            self.ended(ended);
        }
    }

    /// Tells an event of it, by the name that it has now.
    fn tell(&self, action: &str, attributes: &[(&str, &str)]) {
        let now = self.seat.containers.get(&self.seat.id).ok().flatten();
        let container = now.as_ref().unwrap_or(&self.container);
        event::emit(self.seat.containers.state_root(), action, container, attributes);
    }

    /// `update` may have given it another one since it was started.
    fn restart_policy(&self) -> RestartPolicy {
        let now = self.seat.containers.get(&self.seat.id).ok().flatten();
        now.as_ref().unwrap_or(&self.container).host_config.restart_policy.clone()
    }

    /// Records the end, and decides what comes now.
    fn ended(&mut self, ended: Ended) {
        let lost = self.log.as_mut().and_then(|log| {
            log.flush();
            log.lost()
        });
        let is_final = self.is_stopped || self.is_shutdown;
        let (policy, mut backoff) = (self.restart_policy(), self.backoff);
        let mut wait = None;
        let mut exit = Exit { code: ended.code, ..Exit::default() };
        let recorded = self.record(|state| {
            backoff = self.backoff;
            wait = backoff.after(
                &policy,
                policy::Ended {
                    exit_code: ended.code,
                    ran: ended.ran,
                    stopped_by_user: state.stopped_by_user || is_final || state.status == Status::Removing,
                    restart_count: state.restart_count,
                },
            );
            state.status = match (state.status, wait) {
                (Status::Removing, _) => Status::Removing,
                (_, Some(_)) => Status::Restarting,
                (_, None) => Status::Exited,
            };
            state.restart_count += u32::from(wait.is_some());
            state.process = None;
            state.cgroup = None;
            state.exit_code = ended.code;
            state.finished_at = jiff::Timestamp::now().to_string();
            state.health.iter_mut().for_each(|health| UNHEALTHY.clone_into(&mut health.status));
            exit.oom = state.oom_killed;
            state.error = lost.clone().unwrap_or_default();
        });
        if let Err(error) = recorded {
            exit.error = error.to_string();
        }
        self.backoff = backoff;
        let (code, seconds) = (ended.code.to_string(), ended.ran.as_secs().to_string());
        let attributes = [("execDuration", seconds.as_str()), ("exitCode", code.as_str())];
        self.tell("die", &attributes);
        // Recorded: its status is not needed any more, nor what leads to it.
        if let Some(child) = ended.child.and_then(|pid| Child::of(pid).ok()) {
            let _ = child.reap();
        }
        let _ = fs::remove_file(self.seat.pid_file());
        if !ended.is_deleted
            && let Err(error) = self.runtime.delete(self.seat.id.as_str())
            && exit.error.is_empty()
        {
            exit.error = error.to_string();
        }
        self.names = None;
        // A run that follows has addresses of its own; at the last end that is done with all the rest.
        if wait.is_some()
            && let Err(error) = endpoint::detach(&self.seat.containers, &self.container)
            && exit.error.is_empty()
        {
            exit.error = error.to_string();
        }
        if let Err(error) = volumes::release(&self.seat.containers, &self.container, true)
            && exit.error.is_empty()
        {
            exit.error = error.to_string();
        }
        self.reaped.clear();
        self.streams = None;
        self.input.clear();
        self.order(&Order::Hold(None));
        match wait {
            Some(wait) => {
                // Who is attached sees this run, as with Docker; who waits, waits for the last one.
                let attached = self.clients.iter_mut().filter(|client| client.is_attached());
                attached.for_each(|client| client.leave(&Frame::Exit(exit.clone())));
                self.phase = Phase::Waiting(Instant::now() + wait);
            }
            None => self.finish(exit),
        }
    }

    /// Leaves everything in order: nothing mounted, nobody supervised, nothing in the state folder.
    pub(super) fn finish(&mut self, mut exit: Exit) {
        if self.start.adopt {
            // Whoever had it taken over may have the lock that its removal needs.
            self.answer(&Frame::Started(0));
        }
        let (containers, id) = (&self.seat.containers, &self.seat.id);
        self.phase = Phase::Over;
        self.names = None;
        let lasting = !self.container.host_config.auto_remove;
        let mut put = |done: Result<()>| {
            if let Err(error) = done
                && exit.error.is_empty()
            {
                exit.error = error.to_string();
            }
        };
        put(endpoint::detach(containers, &self.container));
        put(root::detach(containers, id));
        put(volumes::release(containers, &self.container, false));
        // A starter has the container's lock, and removes what he could not start.
        let has_starter = self.clients.iter().any(|client| client.is_starter && !client.is_done());
        // As it is recorded by now: `restart` keeps it for a while.
        let is_passing = remove::goes_with_its_end(containers, id).unwrap_or_default();
        let is_removed = is_passing && !has_starter && {
            let removed = remove::auto(containers, &self.container);
            let goes = matches!(removed, Ok(true));
            put(removed.map(|_| ()));
            goes
        };
        if !is_removed {
            let own = ProcessId::own().ok();
            put(self.record_lasting(lasting, |state| {
                let starter = state.monitor.filter(|_| state.is_starting);
                if starter.is_some_and(|starter| Some(starter) != own && starter.is_alive()) {
                    // Somebody has begun to start it again, and waits for our end.
                    return;
                }
                if state.status == Status::Restarting {
                    state.status = Status::Exited;
                }
                state.is_starting = false;
                state.monitor = None;
            }));
        }
        self.seat.clear();
        for client in &mut self.clients {
            if client.is_starter {
                let code = u8::try_from(exit.code).unwrap_or(CANNOT_START);
                client.leave(&Frame::Failed(code, exit.error.clone()));
            } else {
                client.leave(&Frame::Exit(exit.clone()));
            }
        }
    }

    /// Changes what is recorded.
    pub(super) fn record(&self, change: impl FnMut(&mut State)) -> Result<()> {
        self.record_lasting(false, change)
    }

    /// On a full disk there is a reserve for it; another reason may be gone in a moment.
    fn record_lasting(&self, lasting: bool, mut change: impl FnMut(&mut State)) -> Result<()> {
        let (containers, id) = (&self.seat.containers, &self.seat.id);
        let mut attempt = 0;
        loop {
            match containers.update_state(id, lasting, &mut change) {
                Err(error) if error.kind() != Kind::NotFound && attempt < ATTEMPTS => {
                    reserve::spend(&containers.folder(id));
                    if attempt > 0 {
                        std::thread::sleep(PAUSE);
                    }
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    /// Has the kernel killed something for want of memory?
    pub(super) fn look_at_memory(&mut self) {
        let Phase::Running(Run { memory: Some(memory), .. }) = &mut self.phase else { return };
        if memory.has_killed() {
            let _ = self.record(|state| state.oom_killed = true);
            self.tell("oom", &[]);
        }
    }

    /// A health check has come further, or the next one is due.
    pub(super) fn look_at_check(&mut self) {
        let Phase::Running(Run { checks: Some(checks), began, .. }) = &mut self.phase else { return };
        let (containers, id) = (&self.seat.containers, &self.seat.id);
        let outcome = if checks.is_busy() {
            checks.go_on()
        } else if checks.due() <= Instant::now() {
            let state = containers.state(id).unwrap_or_default();
            if state.status == Status::Paused {
                checks.put_off(checks.plan.wait(&state.health.unwrap_or_default(), began.elapsed()));
                return;
            }
            checks.begin(&self.runtime, id.as_str(), &self.seat.folder)
        } else {
            None
        };
        let Some(outcome) = outcome else { return };
        let since = outcome.began.saturating_duration_since(*began);
        let (mut change, mut wait) = (None, Duration::ZERO);
        let plan = checks.plan.clone();
        let ran = began.elapsed();
        let _ = containers.update_state(id, false, |state| {
            let health = state.health.get_or_insert_with(|| health::begun(None));
            change = plan.note(health, outcome.check, since);
            wait = plan.wait(health, ran);
        });
        checks.put_off(wait);
        if let Some(status) = change {
            let action = format!("health_status: {status}");
            self.tell(&action, &[]);
        }
    }

    /// Somebody ends the monitor: the container is ended as `stop` does it, but whether it is to run is as it was.
    pub(super) fn shut_down(&mut self) {
        self.is_shutdown = true;
        match &self.phase {
            Phase::Waiting(_) => self.give_up_restart(),
            Phase::Running(_) => {
                let word = self.container.config.stop_signal.as_deref().unwrap_or("SIGTERM");
                let _ = self.runtime.kill(self.seat.id.as_str(), word);
            }
            _ => {}
        }
    }

    /// Takes from the kernel what has come to the worker as a subreaper and ended. What is waited for by name stays, and
    /// while the runtime is at work everything does: the container's first process may be among it.
    pub(super) fn reap_orphans(&self) {
        use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
        let known = match &self.phase {
            Phase::Starting(_) => return,
            Phase::Running(Run { checks: Some(checks), .. }) if checks.is_launching() => return,
            Phase::Running(run) => [Some(run.process.pid), run.checks.as_ref().and_then(Checks::pid)],
            Phase::Draining(ended, _) => [ended.child, None],
            Phase::Waiting(_) | Phase::Over => [None, None],
        };
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while let Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) = waitid(Id::All, look) {
            if known.contains(&Some(pid.as_raw())) {
                return;
            }
            let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
        }
    }
}
