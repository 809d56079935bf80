//! Threads that wait in vfork(2) while their cgroup is frozen.
//!
//! Such a thread counts as frozen (`wait_for_vfork_done` in the kernel's kernel/fork.c), but nobody can stop it by
//! ptrace(2) before the child has executed a program or ended, and the child is frozen too. Who freezes processes
//! in order to stop them one by one therefore needs a moment at which none waits so. Shells and posix_spawn(3) use
//! vfork; mostly they wait for less than a millisecond.

use std::time::{Duration, Instant};

use super::{Cgroup, file, freezer, tree};
use crate::bail;
use crate::error::{Context, Result};
use crate::kernel::procfs::Procfs;

/// How often it is looked whether those that waited still do.
const LOOK: Duration = Duration::from_micros(200);
/// More than any line of proc_pid_stat(5), in bytes.
const STAT_LIMIT: usize = 1 << 14;

impl Cgroup {
    /// Stops all processes at a moment at which no thread waits in vfork(2).
    ///
    /// # Errors
    /// Where there is no such moment before `patience` ends; all run on then.
    pub fn freeze_outside_vfork(&self, patience: Duration) -> Result<()> {
        let deadline = freezer::deadline(patience);
        loop {
            self.freeze(patience)?;
            let mut waiting = match self.vfork_waiters() {
                Ok(none) if none.is_empty() => return Ok(()),
                Ok(waiting) => waiting,
                Err(mut error) => {
                    if let Err(failed) = self.thaw(patience) {
                        error.attach(&failed);
                    }
                    return Err(error);
                }
            };
            self.thaw(patience)?;
            // As soon as they have come out: the next time may be near.
            while let Some(last) = waiting.last() {
                if Instant::now() >= deadline {
                    bail!("process {last} waits in vfork(2), after {patience:?} still or again");
                }
                if waits(*last)? {
                    std::thread::sleep(LOOK);
                } else {
                    waiting.pop();
                }
            }
        }
    }

    /// The threads of this frozen cgroup, and of those inside, that wait in vfork(2).
    ///
    /// # Errors
    /// Failures to read; cgroups and threads that vanish meanwhile wait for nothing.
    pub fn vfork_waiters(&self) -> Result<Vec<u32>> {
        let mut threads = Vec::new();
        tree::walk(
            self.fd(),
            |cgroup| match file::read(cgroup, "cgroup.threads") {
                Ok(text) => {
                    threads.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
                    Ok(())
                }
                // Of a type that takes no processes.
                Err(error) if matches!(error.errno, libc::EOPNOTSUPP | libc::ENODEV | libc::ENOENT) => Ok(()),
                Err(error) => Err(error.into()),
            },
            |_, _| Ok(()),
        )
        .context(|| format!("list the threads of cgroup {:?}", self.path))?;
        let mut waiting = Vec::new();
        // 0 stands for a process outside of our namespace.
        for thread in threads.into_iter().filter(|thread| *thread != 0) {
            if waits(thread)? {
                waiting.push(thread);
            }
        }
        Ok(waiting)
    }
}

/// Whether the thread sleeps and nothing but its child wakes it. What is frozen elsewhere sleeps interruptibly
/// (S), or is stopped (T).
fn waits(thread: u32) -> Result<bool> {
    match Procfs::shared()?.read(&format!("{thread}/stat"), STAT_LIMIT) {
        Ok(stat) => Ok(state(&stat) == Some(b'D')),
        Err(error) if matches!(error.errno(), libc::ENOENT | libc::ESRCH) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Field 3 of proc_pid_stat(5). The name before it may have anything in it, parentheses too.
fn state(stat: &[u8]) -> Option<u8> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    stat.get(name_end + 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_stands_after_whatever_name() {
        assert_eq!(state(b"42 (sh) D 1 42"), Some(b'D'));
        assert_eq!(state(b"42 (a) D (b) S 1 42"), Some(b'S'));
        assert_eq!(state(b"42 (sh)"), None);
        assert_eq!(state(b""), None);
    }
}
