//! cgroup.events, cgroup.freeze and cgroup.kill: stopping, resuming and ending all processes at once.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal};

use super::{Cgroup, file, tree};
use crate::bail;
use crate::error::{Call, Context, Error, Result};
use crate::kernel::procfs::Procfs;

/// How long the fallback for cgroup.kill waits for the freezer in one round.
const FREEZE_ROUND: Duration = Duration::from_millis(200);
/// Rounds of the fallback; each kills all that did not fork away unseen.
const KILL_ROUNDS: usize = 10;

/// What cgroup.events says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Events {
    /// Whether the cgroup or one inside it has live processes.
    pub populated: bool,
    /// Whether all of them are stopped.
    pub frozen: bool,
}

impl Events {
    fn parse(text: &str) -> Self {
        let on = |key| text.lines().any(|line| line.split_once(' ') == Some((key, "1")));
        Self { populated: on("populated"), frozen: on("frozen") }
    }
}

/// cgroup.events, held open to hear of changes.
pub struct Watch(OwnedFd);

impl Watch {
    pub fn open(cgroup: &Cgroup) -> Result<Self> {
        Ok(Self(file::open(cgroup.fd(), "cgroup.events", OFlags::RDONLY)?))
    }

    pub fn events(&self) -> Result<Events> {
        match file::read_all(&self.0) {
            Ok(text) => Ok(Events::parse(&text)),
            Err(errno) => Err(file::failed("read", "\"cgroup.events\"", errno).into()),
        }
    }

    /// Waits until `done` holds; false where the deadline comes first.
    ///
    /// The kernel announces changes at most every 10 ms, so the first looks are taken without being told.
    pub fn wait(&self, deadline: Instant, done: impl Fn(Events) -> bool) -> Result<bool> {
        let mut pause = Duration::from_millis(1);
        loop {
            match self.events() {
                Ok(events) if done(events) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.errno() == libc::ENODEV => return Ok(done(GONE)),
                Err(error) => return Err(error),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLPRI)];
            let timeout = PollTimeout::try_from(pause.min(left).max(Duration::from_millis(1)))
                .unwrap_or(PollTimeout::MAX);
            match poll(&mut fds, timeout) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                failed => drop(failed.call("poll", || "\"cgroup.events\"")?),
            }
            pause = (pause * 2).min(Duration::from_millis(128));
        }
    }
}

/// What a removed cgroup would say.
const GONE: Events = Events { populated: false, frozen: false };

/// The moment `patience` from now; far away where it is beyond counting.
pub fn deadline(patience: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(patience).unwrap_or_else(|| now + Duration::from_secs(1 << 30))
}

impl Cgroup {
    /// Whether there are processes, and whether they are stopped.
    ///
    /// # Errors
    /// ENODEV where the cgroup was removed.
    pub fn events(&self) -> Result<Events> {
        Watch::open(self).and_then(|watch| watch.events()).context(|| format!("cgroup {:?}", self.path))
    }

    /// Waits until no process is left.
    ///
    /// # Errors
    /// Where there still is one when `patience` ends.
    pub fn wait_empty(&self, patience: Duration) -> Result<()> {
        let step = || format!("wait for the processes of cgroup {:?} to end", self.path);
        let watch = Watch::open(self).context(step)?;
        if watch.wait(deadline(patience), |events| !events.populated).context(step)? {
            return Ok(());
        }
        bail!(
            "cgroup {:?} still has processes after {patience:?}: {:?}",
            self.path,
            self.pids().unwrap_or_default()
        );
    }

    /// Sends SIGKILL to every process, also in the cgroups inside, frozen or not. Does not wait for the end.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn kill(&self) -> Result<()> {
        let step = || format!("kill the processes of cgroup {:?}", self.path);
        match file::write(self.fd(), "cgroup.kill", "1") {
            // Linux before 5.14, or a cgroup that was removed, in which nobody lives.
            Err(error) if error.errno == libc::ENOENT => match Watch::open(self) {
                Ok(_) => self.kill_each().context(step),
                Err(_) => Ok(()),
            },
            Err(error) if error.errno == libc::ENODEV => Ok(()),
            done => done.context(step),
        }
    }

    /// What cgroup.kill does, by signals. Frozen processes cannot fork away from the list.
    pub(super) fn kill_each(&self) -> Result<()> {
        let own = std::process::id();
        for _ in 0..KILL_ROUNDS {
            // One that does not stop in time is killed all the same, and looked for again.
            let frozen = self.freeze(FREEZE_ROUND);
            for pid in self.pids()? {
                let target = i32::try_from(pid).ok().and_then(Pid::from_raw);
                if let Some(target) = target.filter(|_| pid != own) {
                    let _ = rustix::process::kill_process(target, Signal::KILL); // gone already is as well
                }
            }
            file::write(self.fd(), "cgroup.freeze", "0")?;
            if frozen.is_ok() {
                return Ok(());
            }
        }
        bail!("not all of them could be stopped first");
    }

    /// Stops all processes, and waits until they are.
    ///
    /// # Errors
    /// Where one runs on when `patience` ends; they all run again then.
    pub fn freeze(&self, patience: Duration) -> Result<()> {
        let step = || format!("freeze cgroup {:?}", self.path);
        let watch = Watch::open(self).context(step)?;
        file::write(self.fd(), "cgroup.freeze", "1").context(step)?;
        let outcome = match self.wait_frozen(&watch, deadline(patience)) {
            Ok(true) => return Ok(()),
            Ok(false) => Err(Error::other(format!(
                "not all processes stopped within {patience:?}{}; all run on",
                self.holdouts()
            ))),
            Err(error) => Err(error),
        };
        let mut outcome = outcome.context(step);
        if let (Err(error), Err(cleanup)) = (&mut outcome, file::write(self.fd(), "cgroup.freeze", "0")) {
            error.attach(&cleanup.into());
        }
        outcome
    }

    /// Waits until this cgroup and all inside are frozen; false where the deadline comes first.
    ///
    /// The kernel calls a cgroup frozen as soon as the processes in it are, whatever those in the cgroups
    /// inside still do (`cgroup_update_frozen` looks at no descendants): these are asked one by one.
    fn wait_frozen(&self, watch: &Watch, deadline: Instant) -> Result<bool> {
        loop {
            if !watch.wait(deadline, |events| events.frozen)? {
                return Ok(false);
            }
            let mut all = true;
            tree::walk(
                self.fd(),
                |cgroup| match file::read(cgroup, "cgroup.events") {
                    Ok(text) => {
                        all &= Events::parse(&text).frozen;
                        Ok(())
                    }
                    Err(error) if matches!(error.errno, libc::ENODEV | libc::ENOENT) => Ok(()),
                    Err(error) => Err(error.into()),
                },
                |_, _| Ok(()),
            )?;
            if all || Instant::now() >= deadline {
                return Ok(all);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The processes that keep the cgroup from being frozen, as far as they can be told: one that is stopped
    /// sleeps (S); what the kernel cannot interrupt is in another state (proc_pid_status(5)).
    fn holdouts(&self) -> String {
        let mut text = String::new();
        for pid in self.pids().unwrap_or_default() {
            let status = Procfs::shared().and_then(|procfs| procfs.read(&format!("{pid}/status"), 1 << 16));
            let status = String::from_utf8_lossy(&status.unwrap_or_default()).into_owned();
            let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            if let (Some(name), Some(state)) = (field("Name:"), field("State:"))
                && !state.starts_with(['S', 'Z', 'X'])
            {
                text.push_str(&format!(", process {pid} {name:?} is in state {state}"));
            }
        }
        text
    }

    /// Lets all processes run again, and waits until they do.
    ///
    /// # Errors
    /// Where they are still stopped when `patience` ends, which a frozen cgroup above this one explains.
    pub fn thaw(&self, patience: Duration) -> Result<()> {
        let step = || format!("thaw cgroup {:?}", self.path);
        let watch = Watch::open(self).context(step)?;
        file::write(self.fd(), "cgroup.freeze", "0").context(step)?;
        if watch.wait(deadline(patience), |events| !events.frozen).context(step)? {
            return Ok(());
        }
        Err(Error::other(format!("still frozen after {patience:?}; a cgroup above it may be"))).context(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_by_name() {
        let events = |populated, frozen| Events { populated, frozen };
        assert_eq!(Events::parse("populated 1\nfrozen 0\n"), events(true, false));
        assert_eq!(Events::parse("frozen 1\nnew 1\npopulated 0\n"), events(false, true));
        assert_eq!(Events::parse("populated 1\n"), events(true, false)); // before Linux 5.2
        assert_eq!(Events::parse(""), events(false, false));
    }
}
