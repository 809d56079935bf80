//! CPU scheduler, I/O priority, NUMA policy, execution domain and CPU affinity of the calling thread.
//!
//! sched_setattr(2), ioprio_set(2), set_mempolicy(2), personality(2), sched_setaffinity(2).

use nix::sys::personality::Persona;
use sys::sched::SchedAttr;

use super::procfs::Procfs;
use crate::error::{Call, Context, Result};
use crate::plan::scheduler::{IoPriority, MemoryPolicy};

/// Sets policy and parameters of `process.scheduler`.
///
/// # Errors
/// EPERM without CAP_SYS_NICE; EBUSY where SCHED_DEADLINE asks for more than there is.
pub fn set_scheduler(attr: &SchedAttr) -> Result<()> {
    sys::sched::set_attr(attr).context(|| "process.scheduler")
}

/// Sets class and level of `process.ioPriority`.
///
/// # Errors
/// EPERM for the real-time class without CAP_SYS_ADMIN or CAP_SYS_NICE.
pub fn set_io_priority(priority: IoPriority) -> Result<()> {
    sys::sched::set_io_priority(priority.class, priority.level).context(|| "process.ioPriority")
}

/// Sets the policy of `linux.memoryPolicy`.
///
/// # Errors
/// EINVAL for nodes that are not there or a mode this kernel does not have; ENOSYS without NUMA.
pub fn set_memory_policy(policy: &MemoryPolicy) -> Result<()> {
    sys::numa::set_mempolicy(policy.mode, &policy.nodes).context(|| "linux.memoryPolicy")
}

/// Sets the domain of `linux.personality`; no bug emulation flag is left.
///
/// # Errors
/// Those of personality(2).
pub fn set_personality(domain: i32) -> Result<()> {
    nix::sys::personality::set(Persona::from_bits_retain(domain))
        .call("personality", || format!("{domain:#x}"))
        .map(|_| ())
        .context(|| "linux.personality")
}

/// Sets `process.oomScoreAdj` of process `pid`, where one is given.
///
/// # Errors
/// EACCES for less than there is, without CAP_SYS_RESOURCE on the host.
pub fn set_oom_score(host: &Procfs, pid: i32, adjustment: Option<i64>) -> Result<()> {
    let Some(adjustment) = adjustment else { return Ok(()) };
    host.write(&format!("{pid}/oom_score_adj"), adjustment.to_string()).context(|| "process.oomScoreAdj")
}

/// Lets this thread run on `cpus` only (as [`list`](crate::plan::scheduler::list) has them); `field` is where
/// they stand.
///
/// # Errors
/// EINVAL where the thread's cgroup allows it none of them.
pub fn set_affinity(cpus: &[u64], field: &str) -> Result<()> {
    sys::sched::set_affinity(cpus).context(|| field.to_owned())
}

/// Lets this thread run on all CPUs that its cgroup allows: the kernel leaves out those that it does not, and those
/// that are not there. The caller's own restriction, as of a service with `CPUAffinity=` or of a pinned thread, would
/// otherwise stay for good (Linux 6.2 and newer).
///
/// # Errors
/// EPERM where a system call filter forbids it.
pub fn reset_affinity() -> Result<()> {
    const ALL: [u64; 128] = [u64::MAX; 128]; // as many as a kernel can be built for
    set_affinity(&ALL, "let go of the caller's CPU affinity")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::kernel::throwaway::{alone, status_field};
    use crate::plan::scheduler;
    use crate::spec;

    /// Numbers 40 and 41 of proc_pid_stat(5) counted from 1: static priority and policy; then nice (19).
    fn stat() -> [String; 3] {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').map(str::to_owned).collect();
        [fields[37].clone(), fields[38].clone(), fields[16].clone()]
    }

    #[test]
    fn scheduler_and_nice_are_set() {
        if !alone("kernel::scheduler::tests::scheduler_and_nice_are_set", &[]) {
            return;
        }
        let set = |policy: &str, nice, priority| {
            let policy = policy.to_owned();
            let document = spec::Scheduler { policy, nice, priority, ..spec::Scheduler::default() };
            set_scheduler(&scheduler::scheduler(&document).unwrap()).unwrap();
        };
        set("SCHED_BATCH", Some(7), None);
        assert_eq!(stat(), ["0", "3", "7"]);
        set("SCHED_OTHER", Some(-5), None);
        assert_eq!(stat(), ["0", "0", "-5"]);
        set("SCHED_FIFO", None, Some(42));
        assert_eq!(stat()[..2], ["42", "1"]);
        set("SCHED_RR", None, Some(1));
        assert_eq!(stat()[..2], ["1", "2"]);
        set("SCHED_IDLE", None, None);
        assert_eq!(stat()[..2], ["0", "5"]);
    }

    #[test]
    fn deadlines_are_set() {
        if !alone("kernel::scheduler::tests::deadlines_are_set", &[]) {
            return;
        }
        let document = spec::Scheduler {
            policy: "SCHED_DEADLINE".to_owned(),
            runtime: Some(1_000_000),
            deadline: Some(50_000_000),
            period: Some(100_000_000),
            flags: vec!["SCHED_FLAG_RESET_ON_FORK".to_owned()],
            ..spec::Scheduler::default()
        };
        set_scheduler(&scheduler::scheduler(&document).unwrap()).unwrap();
        assert_eq!(stat()[1], "6");
        // /proc/PID/sched has what is left of the times; chrt(1) asks sched_getattr(2) for those that were set.
        let own = nix::unistd::gettid().to_string();
        let chrt = Command::new("chrt").args(["--pid", &own]).output().unwrap();
        let told = String::from_utf8(chrt.stdout).unwrap();
        assert!(told.contains("SCHED_DEADLINE|SCHED_RESET_ON_FORK\n"), "{told}");
        assert!(told.contains(": 1000000/50000000/100000000\n"), "{told}");
    }

    #[test]
    fn a_right_that_is_missing_is_named_with_its_field() {
        if !alone(
            "kernel::scheduler::tests::a_right_that_is_missing_is_named_with_its_field",
            &["--user", "--map-root-user"],
        ) {
            return;
        }
        let fifo = SchedAttr { policy: 1, priority: 1, ..SchedAttr::default() };
        assert_eq!(
            set_scheduler(&fifo).unwrap_err().to_string(),
            "process.scheduler: sched_setattr(policy 1): operation not permitted (EPERM)"
        );
        assert_eq!(
            set_io_priority(IoPriority { class: 1, level: 0 }).unwrap_err().to_string(),
            "process.ioPriority: ioprio_set(class 1, level 0): operation not permitted (EPERM)"
        );
    }

    #[test]
    fn io_priority_is_set() {
        if !alone("kernel::scheduler::tests::io_priority_is_set", &[]) {
            return;
        }
        let shown = || {
            let output = Command::new("ionice").output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        set_io_priority(IoPriority { class: 1, level: 3 }).unwrap();
        assert_eq!(shown(), "realtime: prio 3\n");
        set_io_priority(IoPriority { class: 3, level: 4 }).unwrap();
        assert_eq!(shown(), "idle\n");
    }

    #[test]
    fn memory_policy_is_set() {
        if !alone("kernel::scheduler::tests::memory_policy_is_set", &[]) {
            return;
        }
        let document =
            spec::MemoryPolicy { mode: "MPOL_BIND".to_owned(), nodes: "0".to_owned(), flags: Vec::new() };
        match set_memory_policy(&scheduler::memory_policy(&document).unwrap()) {
            Err(error) if error.errno() == libc::ENOSYS => {
                eprintln!("left out: this kernel has no NUMA");
                return;
            }
            result => result.unwrap(),
        }
        // numa(7): each mapping without a policy of its own shows the thread's.
        let maps = std::fs::read_to_string("/proc/thread-self/numa_maps").unwrap();
        assert!(maps.lines().any(|line| line.contains(" bind:0 ")), "{maps}");
        let error = set_memory_policy(&MemoryPolicy { mode: 2, nodes: vec![0, 1 << 63] }).unwrap_err();
        assert_eq!(
            error.to_string(),
            "linux.memoryPolicy: set_mempolicy(mode 0x2): invalid argument (EINVAL)"
        );
    }

    #[test]
    fn personality_is_set() {
        if !alone("kernel::scheduler::tests::personality_is_set", &[]) {
            return;
        }
        set_personality(8).unwrap();
        assert_eq!(std::fs::read_to_string("/proc/thread-self/personality").unwrap().trim(), "00000008");
        let output = Command::new("uname").arg("-m").output().unwrap();
        let machine = String::from_utf8(output.stdout).unwrap();
        assert_ne!(machine.trim(), std::env::consts::ARCH, "uname(2) shows the 32-bit name");
        set_personality(0).unwrap();
        assert_eq!(std::fs::read_to_string("/proc/thread-self/personality").unwrap().trim(), "00000000");
    }

    #[test]
    fn affinity_is_set() {
        if !alone("kernel::scheduler::tests::affinity_is_set", &[]) {
            return;
        }
        let allowed = status_field("Cpus_allowed_list");
        let last = allowed.rsplit([',', '-']).next().unwrap().to_owned();
        set_affinity(&scheduler::list("x", &last, 8191).unwrap(), "x").unwrap();
        assert_eq!(status_field("Cpus_allowed_list"), last);
        reset_affinity().unwrap();
        assert_eq!(status_field("Cpus_allowed_list"), allowed);
        // A CPU far beyond the present ones, and beyond glibc's 1024, goes unused beside one that is there.
        set_affinity(&scheduler::list("x", &format!("{last},5000"), 8191).unwrap(), "x").unwrap();
        assert_eq!(status_field("Cpus_allowed_list"), last);
        let error =
            set_affinity(&scheduler::list("x", "5000", 8191).unwrap(), "process.execCPUAffinity.final");
        assert_eq!(
            error.unwrap_err().to_string(),
            "process.execCPUAffinity.final: sched_setaffinity(): invalid argument (EINVAL)"
        );
    }
}
