//! When each step of a run was done. Parent and child write into memory they share. Without `--timings`
//! nothing is taken: the clock costs little, but the floor is to do nothing else.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::kernel;

/// Every step, in the order in which a run reaches it.
const STEPS: [&str; 27] = [
    "start",
    "mkdir, open cgroup",
    "clone3 until the child runs",
    "setsid",
    "unshare cgroup namespace",
    "propagation",
    "bind root, chdir",
    "proc",
    "tmpfs /dev",
    "devpts",
    "shm",
    "mqueue",
    "sysfs",
    "cgroup2",
    "devices",
    "umask",
    "symlinks",
    "read-only paths",
    "masked paths",
    "read-only root",
    "pivot_root",
    "umount2 old root, chdir",
    "sethostname, setrlimit",
    "bounding set",
    "setgroups, setresgid, setresuid",
    "capset, no_new_privs",
    "execve, program, exit, waitid",
];
/// The last step of the parent alone.
const LAST: &str = "rmdir cgroup";

/// The marks of one run at a time.
pub struct Marks {
    /// The time (ns) of each step, then of the last.
    times: Option<&'static [AtomicU64]>,
}

impl Marks {
    /// Takes no times.
    pub fn none() -> Self {
        Self { times: None }
    }

    /// Takes times.
    pub fn new() -> io::Result<Self> {
        kernel::shared_numbers(STEPS.len() + 1).map(|times| Self { times: Some(times) })
    }

    /// The step called `name` is done now.
    ///
    /// # Panics
    /// Where the table of steps lacks the name: a mistake in this program.
    pub fn set(&self, name: &str) {
        let Some(times) = self.times else { return };
        let now = kernel::now();
        let slot = STEPS.iter().chain([&LAST]).position(|step| *step == name);
        assert!(slot.is_some(), "the table of steps lacks \"{name}\"");
        if let Some(time) = slot.and_then(|slot| times.get(slot)) {
            time.store(now, Ordering::Release);
        }
    }

    /// What each step of the last run took (ns), in order, and the whole at the end.
    pub fn take(&self) -> Vec<(&'static str, u64)> {
        let Some(times) = self.times else { return Vec::new() };
        let times: Vec<u64> = times.iter().map(|time| time.load(Ordering::Acquire)).collect();
        let names = STEPS.iter().chain([&LAST]).skip(1);
        let took = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
        let whole = times.last().zip(times.first()).map_or(0, |(last, first)| last.saturating_sub(*first));
        names.copied().zip(took).chain([("the whole", whole)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_takes_the_time_since_the_one_before() {
        let marks = Marks::new().unwrap();
        for step in STEPS.iter().chain([&LAST]) {
            marks.set(step);
        }
        let taken = marks.take();
        assert_eq!(taken.len(), STEPS.len() + 1);
        let (whole, steps) = taken.split_last().unwrap();
        assert_eq!(whole.1, steps.iter().map(|(_, took)| took).sum::<u64>());
        assert_eq!(steps.last().unwrap().0, LAST);
        assert!(whole.1 > 0);
    }

    #[test]
    #[should_panic(expected = "the table of steps lacks")]
    fn an_unknown_step_is_a_mistake() {
        Marks::new().unwrap().set("tea");
    }
}
