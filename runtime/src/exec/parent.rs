//! The runtime's side of `exec`: finds the container, clones into its cgroup, and hears how it went.
//!
//! The container is locked, shared with other `exec`s, from the look at its status to the clone, so that nobody
//! deletes or pauses it in between; after that whoever does so reaches the new process too. What fails leaves no
//! process behind.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use oci_spec::runtime::ContainerState;
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus};
use rustix::thread::CpuSet;
use sys::process::Clone;

use super::child::{self, Prepared};
use super::place::Place;
use super::process;
use crate::bail;
use crate::cli;
use crate::container::{
    self, Entry, LOCK_WAIT, Pidfd, Record, Shared, Status, Store, group, has_executed, notify,
};
use crate::create::channel::{Channel, ToInit, ToParent};
use crate::create::handover::{self, Inherited};
use crate::create::{intermediate, parent};
use crate::error::{Call, Context, Error, Kind, Result};
use crate::kernel::namespace;
use crate::kernel::procfs::Procfs;
use crate::kernel::scheduler;
use crate::plan::exec::ExecPlan;
use crate::plan::namespace::Namespace;
use crate::report::Log;
use crate::signals::Signals;
use crate::{plan, spec};

const STOPPED: &str = "cannot exec in a stopped container";
const PAUSED: &str = "cannot exec in a paused container (use --ignore-paused to override)";

/// How long the new process may be silent before it is asked whether somebody has paused the container.
const SILENCE: Duration = Duration::from_millis(200);

/// Much longer than it takes the init of a container to end that has been killed.
const LAST_BREATH: Duration = Duration::from_secs(1);

/// A container to which a process can be added.
#[derive(Debug)]
pub struct Container {
    store: Store,
    entry: Entry,
    host: &'static Procfs,
    ignore_paused: bool,
}

/// What the caller gives and gets.
#[derive(Debug)]
pub struct Request<'a> {
    /// Connected socket that the terminal goes to.
    pub console: Option<OwnedFd>,
    /// Connected socket that the process's pidfd goes to, and its path.
    pub pidfd_socket: Option<(UnixStream, &'a Path)>,
    /// Descriptors from 3 on that the program inherits.
    pub inherited: Inherited,
    /// `--cgroup`.
    pub cgroup: Option<&'a str>,
}

/// The new process, whose program runs.
#[derive(Debug)]
pub struct Born {
    /// Its process id, as the runtime sees it.
    pub pid: i32,
    /// Its descriptor.
    pub pidfd: OwnedFd,
}

impl Container {
    /// Opens the container, which has to be created or running.
    ///
    /// # Errors
    /// Kind `NotFound` "container does not exist"; kind `Status` with the phrases that engines know.
    pub fn find(root: &Path, id: &str, ignore_paused: bool) -> Result<Self> {
        // step 1: find the container, which must be created or running
        let (store, entry) = container::find(root, id)?;
        let container = Self { store, entry, host: Procfs::shared()?, ignore_paused };
        container.check(&container.entry.record()?)?;
        Ok(container)
    }

    fn check(&self, record: &Record) -> Result<()> {
        let refusal = match Status::of(&self.entry, record)? {
            Status::Created | Status::Running => return Ok(()),
            Status::Paused if self.ignore_paused => return Ok(()),
            Status::Paused => PAUSED.to_owned(),
            Status::Stopped => STOPPED.to_owned(),
            other => format!("cannot exec in a container in the {other} state"),
        };
        Err(Error::new(Kind::Status, refusal))
    }

    /// What the process is that the command line asks for.
    ///
    /// # Errors
    /// Kind `Spec`, each violation with its field; what the host does not have.
    pub fn plan(&self, args: &cli::Exec, log: &mut Log) -> Result<ExecPlan> {
        // step 2: read the container's configuration, decide on the process, plan
        let config = match self.entry.config() {
            Err(error) if error.errno() == libc::ENOENT => {
                // Or somebody is deleting it, and its process has ended before its files went.
                self.check(&self.entry.record()?)?;
                bail!("an older runtime has made the container, and kept no configuration for exec: {error}")
            }
            result => spec::parse(&result?)?,
        };
        let Some(own) = &config.process else { bail!("config.json: process: missing") };
        let document = process::asked(own, args)?;
        let mut warnings = spec::validate_process(&document)?;
        let facts = parent::facts(self.host)?;
        let plan = plan::exec::exec(&config, &document, self.entry.id().as_str(), facts, &mut warnings)?;
        warnings.into_iter().for_each(|warning| log.warning(warning));
        parent::check_labels(&plan.process)?;
        Ok(plan)
    }

    /// Adds the process, and returns when its program runs.
    ///
    /// # Errors
    /// Whatever step fails, on either side of the clone; the process is gone then. A signal that asks this process
    /// to end is such a failure; the others wait in `signals`.
    pub fn exec(
        &self,
        plan: &ExecPlan,
        request: Request<'_>,
        signals: &mut Signals,
        log: &mut Log,
    ) -> Result<Born> {
        // step 4: lock the container, look again, open what the new process needs
        let lock = self.entry.share(&self.store, LOCK_WAIT)?;
        let record = self.entry.record()?;
        self.check(&record)?;
        let Some(init) = record.init.map(|init| init.open()).transpose()?.flatten() else {
            return Err(Error::new(Kind::Status, STOPPED));
        };
        let begin = || {
            let cgroup = record.cgroup.as_ref().map(group::open).transpose()?;
            let place = Place::of(cgroup.as_ref(), request.cgroup, init.pid())?;
            let mut prepared = self.prepare(plan, &record, init, request.console, request.inherited)?;
            prepared.announces = log.has_warnings();
            self.clone(plan, prepared, &place, (lock, &record), signals)
        };
        let (channel, born) = begin().map_err(|error| explain(error, &record))?;
        // step 7: hand over the pidfd
        let sent = match &request.pidfd_socket {
            Some((socket, path)) => handover::pass_pidfd(socket, path, born.pidfd.as_fd()),
            None => Ok(()),
        };
        let begun = sent.and_then(|()| self.converse(&record, &channel, &born, signals, log));
        match begun {
            Ok(()) => Ok(born),
            Err(error) => Err(explain(born.undo(error), &record)),
        }
    }

    /// Makes the new process, through a process in between where this one's rights do not reach the pid namespace.
    fn clone(
        &self,
        plan: &ExecPlan,
        mut prepared: Prepared,
        place: &Place<'_>,
        (lock, record): (Shared<'_>, &Record),
        signals: &mut Signals,
    ) -> Result<(Channel, Born)> {
        let (channel, end) = Channel::pair()?;
        let affinity = Affinity::set(plan)?;
        // step 5: join the pid namespace, for children only, or leave that to a process in between
        let way = Way::of(&prepared)?;
        if way == Way::Inside && prepared.join & Namespace::Cgroup.flag() != 0 {
            let namespace = namespace::of_process(prepared.host, prepared.init.pid(), "cgroup")?;
            prepared.cgroup_namespace = Some(namespace);
        }
        // step 6: clone into the cgroup, or have systemd bring the clone there; let go of the container
        let (born, placed) = match way {
            Way::Straight => {
                let newborn = place.bear(|cgroup| Ok(sys::process::clone3(0, cgroup)?))?;
                match newborn.clone {
                    Clone::Child => {
                        lock.close_in_clone();
                        child::run(plan, &prepared, &end, newborn.placed)
                    }
                    Clone::Parent { pid, pidfd } => (Born { pid, pidfd }, newborn.placed),
                }
            }
            Way::Outside => {
                let newborn = place.bear(|cgroup| Ok(sys::process::clone3(0, cgroup)?))?;
                let between = match newborn.clone {
                    Clone::Child => {
                        lock.close_in_clone();
                        child::run_outside(plan, &prepared, &end, newborn.placed)
                    }
                    Clone::Parent { pid, pidfd } => Born { pid, pidfd },
                };
                drop(end);
                if !newborn.placed {
                    bring(&between, place, &channel, signals)?;
                }
                // It is in the container's cgroup, where somebody may stop it.
                drop(lock);
                self.wait(record, &channel, signals).map_err(|error| between.undo(error))?;
                let made = intermediate::made_by(between.pid, &channel)?;
                (Born { pid: made.pid, pidfd: made.pidfd }, true)
            }
            Way::Inside => match sys::process::clone3(0, None)? {
                Clone::Child => {
                    lock.close_in_clone();
                    child::run_between(plan, &prepared, &end, place)
                }
                Clone::Parent { pid, .. } => {
                    drop(end);
                    let made = intermediate::made_by(pid, &channel)?;
                    (Born { pid: made.pid, pidfd: made.pidfd }, made.placed)
                }
            },
        };
        affinity.restore();
        if !placed {
            bring(&born, place, &channel, signals)?;
        }
        Ok((channel, born))
    }

    fn prepare(
        &self,
        plan: &ExecPlan,
        record: &Record,
        init: Pidfd,
        console: Option<OwnedFd>,
        inherited: Inherited,
    ) -> Result<Prepared> {
        // CRIU restores clocks by a time namespace that nobody has asked for.
        let clocks = record.restored && namespace::own(self.host, "time").is_ok();
        let kinds = plan.namespaces.own().chain(clocks.then_some(Namespace::Time));
        let join = namespace::apart(self.host, init.pid(), kinds)?;
        let whole = plan.namespaces.is_new(Namespace::Mount);
        let root = if whole { None } else { Some(namespace::root_of(self.host, init.pid())?) };
        // A number was used above. As long as init is not waited for, it is init's.
        if !init.send(0)? {
            return Err(Error::new(Kind::Status, STOPPED));
        }
        Ok(Prepared {
            id: self.entry.id().as_str().to_owned(),
            init,
            join,
            cgroup_namespace: None,
            root,
            console,
            inherited,
            announces: false,
            keeps_keyring: record.keeps_keyring,
            host: self.host,
        })
    }

    /// Answers the new process until it has become its program.
    fn converse(
        &self,
        record: &Record,
        channel: &Channel,
        born: &Born,
        signals: &mut Signals,
        log: &mut Log,
    ) -> Result<()> {
        loop {
            // step 8: wait until the program runs; take over the listener of its filter
            self.wait(record, channel, signals)?;
            match channel.receive::<ToParent>()? {
                Some(ToParent::SeccompListener(number)) => {
                    let status = ContainerState::Running;
                    notify::pass_listener(record, status, born.pid, born.pidfd.as_fd(), number)?;
                    channel.send(&ToInit::Continue)?;
                }
                Some(ToParent::Warning(text)) => log.warning(text),
                Some(ToParent::Ready) => {
                    log.flush(); // as soon as it goes on, stderr is the program's
                    channel.send(&ToInit::Go)?;
                }
                Some(ToParent::Failed(error)) => return Err(error),
                Some(other) => bail!("the new process sent {other:?} out of turn"),
                // Its end of the channel closes when it executes the program, and when it dies.
                None if has_executed(born.pid)? => return Ok(()),
                None => return Err(born.death(record)?),
            }
        }
    }

    /// Waits for the next word, or for a signal that asks the runtime to end. Where the container is paused in
    /// the middle, which stops the new process too, that is an error, unless the caller wants to wait for it.
    fn wait(&self, record: &Record, channel: &Channel, signals: &mut Signals) -> Result<()> {
        loop {
            let mut fds = [
                PollFd::new(channel.as_fd(), PollFlags::POLLIN),
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            ];
            let deadline = (!self.ignore_paused).then(|| Instant::now() + SILENCE);
            let heard = container::poll(&mut fds, deadline)?;
            if fds[0].any().unwrap_or(false) {
                return Ok(());
            }
            if let Some(signal) = signals.next_to_end()? {
                bail!("interrupted by {signal}");
            }
            if !heard && Status::of(&self.entry, record)? == Status::Paused {
                return Err(Error::new(Kind::Status, PAUSED));
            }
        }
    }
}

/// A failure to reach a container that has ended meanwhile says just that.
fn explain(error: Error, record: &Record) -> Error {
    if has_ended(record) { Error::new(Kind::Status, STOPPED) } else { error }
}

fn has_ended(record: &Record) -> bool {
    !matches!(record.init.map(|init| init.is_ending()), Some(Ok(false)))
}

/// Has a process that was born elsewhere brought to its place, and tells it.
fn bring(born: &Born, place: &Place<'_>, channel: &Channel, signals: &mut Signals) -> Result<()> {
    let brought = place.bring(born.pid, signals).and_then(|()| channel.send(&ToInit::Placed));
    brought.map_err(|error| born.undo(error))
}

/// How the new process comes into the container's pid namespace, from where on the container's processes see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It is born there. What it has of the host until it has joined the rest is out of their reach: they are in a
    /// user namespace of their own, or see every process of the host anyway.
    Straight,
    /// A process in between joins all namespaces, and it is born then, with nothing of the host: whoever may trace
    /// in the container (CAP_SYS_PTRACE) has as many rights over the new process as over its neighbours.
    Outside,
    /// The same, for a caller whose rights reach the pid namespace only from inside the container's user namespace.
    Inside,
}

impl Way {
    fn of(prepared: &Prepared) -> Result<Self> {
        let pids = prepared.join & Namespace::Pid.flag();
        match (pids, prepared.join & Namespace::User.flag()) {
            (0, _) => Ok(Self::Straight),
            (_, 0) => Ok(Self::Outside),
            (flag, _) => match sys::process::setns(prepared.init.as_fd(), flag) {
                Err(error) if error.errno == libc::EPERM => Ok(Self::Inside),
                result => result.context(|| "join the container's pid namespace").map(|()| Self::Straight),
            },
        }
    }
}

/// The runtime's own CPUs, while they are those of `process.execCPUAffinity.initial`, which the clone inherits:
/// from its first moment on it runs nowhere else.
struct Affinity(Option<CpuSet>);

impl Affinity {
    fn set(plan: &ExecPlan) -> Result<Self> {
        let Some(cpus) = &plan.affinity.initial else { return Ok(Self(None)) };
        let own = rustix::thread::sched_getaffinity(None).ok();
        scheduler::set_affinity(cpus, "process.execCPUAffinity.initial")?;
        Ok(Self(own))
    }

    /// The runtime only waits from here on: where it cannot go back, nothing is lost.
    fn restore(self) {
        if let Some(own) = self.0 {
            let _ = rustix::thread::sched_setaffinity(None, &own);
        }
    }
}

impl Born {
    /// Why it has ended without having executed the program: mostly, because the container has. Who kills that
    /// kills the new process with it. A pid namespace's init does not end before all others are waited for: this one
    /// is, here.
    fn death(&self, record: &Record) -> Result<Error> {
        let signal = self.ended()?.and_then(|status| status.terminating_signal());
        // Killed at the same time, init may be just before its own end.
        if signal == Some(libc::SIGKILL)
            && let Some(init) = record.init.map(|init| init.open()).transpose()?.flatten()
        {
            init.wait(LAST_BREATH)?;
        }
        if has_ended(record) {
            return Ok(Error::new(Kind::Status, STOPPED));
        }
        Ok(Error::other(match signal {
            Some(signal) => {
                format!("the new process was killed by signal {signal} before it ran the program")
            }
            None => "the new process ended before it ran the program".to_owned(),
        }))
    }

    fn ended(&self) -> Result<Option<WaitIdStatus>> {
        let waited = || rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
        rustix::io::retry_on_intr(waited).call("waitid", || "the new process")
    }

    /// Ends the process because of `error`, which is given back with what failed meanwhile.
    pub fn undo(&self, mut error: Error) -> Error {
        let killed = match sys::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL) {
            Err(failed) if failed.errno != libc::ESRCH => Err(failed.into()),
            _ => self.ended().map(drop),
        };
        match killed {
            // It was waited for already.
            Err(failed) if failed.errno() == libc::ECHILD => {}
            Err(failed) => error.attach(&failed),
            Ok(()) => {}
        }
        error
    }
}
