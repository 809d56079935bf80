//! Health checks carried out: one process at a time in the container, by the runtime's `exec`. What its result means
//! says `health`.
//!
//! The runtime starts it detached, so it becomes the worker's child and can be ended when it takes too long.

use std::fs;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::container::state::{Check, Health};
use crate::error::{Context, Result};
use crate::monitor::child::Child;
use crate::monitor::health::{NO_STATUS, OUTPUT_MAX, Plan, shown};
use crate::monitor::streams::null;
use crate::runtime::Runtime;

/// The checks of one run.
#[derive(Debug)]
pub struct Checks {
    /// What and when.
    pub plan: Plan,
    due: Instant,
    running: Option<Probe>,
}

/// A check under way.
#[derive(Debug)]
struct Probe {
    began: Instant,
    start: String,
    /// The runtime, until the process is there.
    launcher: Option<Child>,
    process: Option<Child>,
    pid_file: PathBuf,
    output: Option<OwnedFd>,
    printed: Vec<u8>,
}

/// A result, and when its check began.
#[derive(Debug)]
pub struct Outcome {
    /// For the record.
    pub check: Check,
    /// On the clock that only goes forward.
    pub began: Instant,
}

impl Checks {
    /// The first one is due after `wait`.
    #[must_use]
    pub fn new(plan: Plan, wait: Duration) -> Checks {
        Checks { plan, due: Instant::now() + wait, running: None }
    }

    /// When something has to be done: the next check, or the end of one that takes too long.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.running.as_ref().map_or(self.due, |probe| probe.began + self.plan.timeout)
    }

    /// Is a check under way?
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.running.is_some()
    }

    /// Is the runtime at work, whose process will be ours in a moment?
    #[must_use]
    pub fn is_launching(&self) -> bool {
        self.running.as_ref().is_some_and(|probe| probe.launcher.is_some())
    }

    /// The pid of the check's process.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        Some(self.running.as_ref()?.process.as_ref()?.pid)
    }

    /// What tells that it goes on.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let probe = self.running.iter();
        probe.flat_map(|probe| {
            let child = probe.launcher.as_ref().or(probe.process.as_ref()).map(Child::pidfd);
            child.into_iter().chain(probe.output.as_ref().map(OwnedFd::as_fd))
        })
    }

    /// The next check is due after `wait`.
    pub fn put_off(&mut self, wait: Duration) {
        self.due = Instant::now() + wait;
    }

    /// Begins a check; the result of one that cannot be begun.
    pub fn begin(&mut self, runtime: &Runtime, id: &str, folder: &Path) -> Option<Outcome> {
        let (began, start) = (Instant::now(), jiff::Timestamp::now().to_string());
        match launch(runtime, id, folder, &self.plan.command) {
            Ok((launcher, output, pid_file)) => {
                self.running = Some(Probe {
                    began,
                    start,
                    launcher: Some(launcher),
                    process: None,
                    pid_file,
                    output: Some(output),
                    printed: Vec::new(),
                });
                None
            }
            Err(error) => Some(Outcome { check: check(start, NO_STATUS, error.to_string()), began }),
        }
    }

    /// Goes on with the check under way; its result, if it has come.
    pub fn go_on(&mut self) -> Option<Outcome> {
        let timeout = self.plan.timeout;
        let probe = self.running.as_mut()?;
        probe.read();
        let (code, output) = match probe.step() {
            Some(result) => result,
            None if probe.began.elapsed() >= timeout => {
                probe.end();
                (NO_STATUS, format!("Health check exceeded timeout ({})", go_duration(timeout)))
            }
            None => return None,
        };
        let probe = self.running.take()?;
        Some(Outcome { check: check(probe.start.clone(), code, output), began: probe.began })
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.pid_file);
    }
}

impl Probe {
    /// Takes what was printed; what is too much is read and forgotten.
    fn read(&mut self) {
        let mut bytes = [0; 4096];
        while let Some(output) = &self.output {
            match rustix::io::read(output, &mut bytes) {
                Ok(count) if count > 0 => {
                    let room = (OUTPUT_MAX + 1).saturating_sub(self.printed.len());
                    self.printed.extend_from_slice(&bytes[..count.min(room)]);
                    // A flood has its turn again when the others have had theirs.
                    if count < bytes.len() || room == 0 {
                        return;
                    }
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return,
                _ => self.output = None,
            }
        }
    }

    /// From the runtime to the process to its end: exit status and output, when that has come.
    fn step(&mut self) -> Option<(i32, String)> {
        if let Some(launcher) = &self.launcher {
            let code = launcher.reap()?;
            self.launcher = None;
            self.read();
            let pid = fs::read_to_string(&self.pid_file).ok().and_then(|pid| pid.trim().parse().ok());
            let process = pid.filter(|_| code == 0).and_then(|pid| Child::of(pid).ok());
            if process.is_none() {
                let printed = String::from_utf8_lossy(&self.printed).into_owned();
                return Some((NO_STATUS, crate::runtime::reason(&printed)));
            }
            self.process = process;
        }
        let code = self.process.as_ref()?.reap()?;
        self.read();
        Some((code, shown(std::mem::take(&mut self.printed))))
    }

    /// Ends what takes too long.
    fn end(&mut self) {
        self.launcher.iter().chain(&self.process).for_each(Child::kill);
    }
}

fn check(start: String, exit_code: i32, output: String) -> Check {
    Check { start, end: jiff::Timestamp::now().to_string(), exit_code, output }
}

fn launch(runtime: &Runtime, id: &str, folder: &Path, words: &[String]) -> Result<(Child, OwnedFd, PathBuf)> {
    let pid_file = folder.join("check");
    let _ = fs::remove_file(&pid_file);
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).during(|| "pipe".to_owned())?;
    // Ours alone does not block; the check writes as programs do.
    rustix::fs::fcntl_setfl(&reader, OFlags::NONBLOCK).during(|| "fcntl".to_owned())?;
    let mut command = runtime.command(None);
    command.args(["exec", "--detach", "--pid-file"]).arg(&pid_file).arg(id).args(words);
    let again = writer.try_clone().during(|| "dup".to_owned())?;
    command.stdin(Stdio::from(null(OFlags::RDONLY)?)).stdout(writer).stderr(again);
    sys::spawn::inherit_nothing(&mut command);
    Ok((Child::spawn(&mut command)?, reader, pid_file))
}

/// The status of a container whose checks begin.
#[must_use]
pub fn first_wait(plan: &Plan, health: &Health) -> Duration {
    plan.wait(health, Duration::ZERO)
}

/// As Go shows a duration: `30s`, `1m30s`, `500ms`, `1.5s`.
fn go_duration(duration: Duration) -> String {
    let fraction = |number: f64, unit: &str| {
        let text = format!("{number:.9}");
        format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    let nanoseconds = duration.subsec_nanos();
    match duration.as_secs() {
        0 if nanoseconds == 0 => "0s".to_owned(),
        0 if nanoseconds < 1000 => format!("{nanoseconds}ns"),
        0 if nanoseconds < 1_000_000 => fraction(f64::from(nanoseconds) / 1e3, "µs"),
        0 => fraction(f64::from(nanoseconds) / 1e6, "ms"),
        whole => {
            let (hours, minutes) = (whole / 3600, whole / 60 % 60);
            let seconds = Duration::new(whole % 60, nanoseconds).as_secs_f64();
            let hours_shown = if hours > 0 { format!("{hours}h") } else { String::new() };
            let minutes_shown = if whole >= 60 { format!("{minutes}m") } else { String::new() };
            format!("{hours_shown}{minutes_shown}{}", fraction(seconds, "s"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_as_go_shows_them() {
        for (milliseconds, shown) in [
            (0, "0s"),
            (1, "1ms"),
            (500, "500ms"),
            (1000, "1s"),
            (1500, "1.5s"),
            (30_000, "30s"),
            (60_000, "1m0s"),
            (90_500, "1m30.5s"),
            (3_600_000, "1h0m0s"),
            (5_400_000, "1h30m0s"),
        ] {
            assert_eq!(go_duration(Duration::from_millis(milliseconds)), shown);
        }
        assert_eq!(go_duration(Duration::from_nanos(7)), "7ns");
        assert_eq!(go_duration(Duration::from_nanos(1_500)), "1.5µs");
    }
}
