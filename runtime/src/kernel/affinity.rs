//! Runtime and init share one CPU while the container is made (sched_setaffinity(2)).
//!
//! They take turns more than they work side by side. Left alone, the scheduler puts the clone on an idle CPU,
//! and every message between the two wakes a sleeping CPU: in virtual machines that costs more than all of
//! the container's mounts (docs/benchmarks.md). The old mask is back before anybody else's program runs.

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// The CPUs that the runtime was allowed before it chose one.
#[derive(Debug, Clone)]
pub struct Affinity(CpuSet);

/// Binds this process, and what it clones, to the CPU it is on. `None` where that is not possible (more CPUs
/// than fit the mask): then nothing is changed.
pub fn stay_on_this_cpu() -> Option<Affinity> {
    let old = sched_getaffinity(None).ok()?;
    let mut one = CpuSet::new();
    one.set(sched_getcpu());
    sched_setaffinity(None, &one).ok()?;
    Some(Affinity(old))
}

impl Affinity {
    /// Gives this process its CPUs back; those that a cpuset does not allow any more stay out.
    pub fn restore(&self) {
        // It can only fail where a cpuset has taken all of the old CPUs away: then the cpuset's hold.
        let _ = sched_setaffinity(None, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cpu_and_back() {
        let before = sched_getaffinity(None).unwrap();
        let affinity = stay_on_this_cpu().unwrap();
        assert_eq!(sched_getaffinity(None).unwrap().count(), 1);
        affinity.restore();
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }
}
