//! config.md "Process".

use super::super::{IoPriority, Process, Rlimit, Scheduler};
use super::{Findings, is_number_list};

/// Names of getrlimit(2).
const RLIMITS: [&str; 16] = [
    "RLIMIT_AS",
    "RLIMIT_CORE",
    "RLIMIT_CPU",
    "RLIMIT_DATA",
    "RLIMIT_FSIZE",
    "RLIMIT_LOCKS",
    "RLIMIT_MEMLOCK",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_NOFILE",
    "RLIMIT_NPROC",
    "RLIMIT_RSS",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
    "RLIMIT_SIGPENDING",
    "RLIMIT_STACK",
];

/// Policies of sched(7); the specification lists SCHED_ISO too, which no Linux has.
const POLICIES: [&str; 7] =
    ["SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", "SCHED_DEADLINE"];

/// Flags of sched_setattr(2).
const SCHEDULER_FLAGS: [&str; 7] = [
    "SCHED_FLAG_RESET_ON_FORK",
    "SCHED_FLAG_RECLAIM",
    "SCHED_FLAG_DL_OVERRUN",
    "SCHED_FLAG_KEEP_POLICY",
    "SCHED_FLAG_KEEP_PARAMS",
    "SCHED_FLAG_UTIL_CLAMP_MIN",
    "SCHED_FLAG_UTIL_CLAMP_MAX",
];

/// Most supplementary groups (credentials(7), NGROUPS_MAX).
const GROUPS: usize = 65_536;

pub(super) fn check(process: &Process, findings: &mut Findings) {
    if process.args.is_empty() {
        findings.error("process.args", "is empty");
    }
    findings.texts("process.args", &process.args);
    findings.absolute("process.cwd", &process.cwd);
    findings.environment("process.env", &process.env);
    findings.label("process.apparmorProfile", &process.apparmor_profile);
    findings.label("process.selinuxLabel", &process.selinux_label);
    // Without a terminal its size MUST be ignored. The kernel has 16 bits for each side.
    if let Some(size) = process.console_size.filter(|_| process.terminal)
        && (size.height > u64::from(u16::MAX) || size.width > u64::from(u16::MAX))
    {
        findings.error(
            "process.consoleSize",
            format_args!("{}x{} is larger than 65535", size.height, size.width),
        );
    }
    if let Some(score) = process.oom_score_adj
        && !(-1000..=1000).contains(&score)
    {
        findings.error("process.oomScoreAdj", format_args!("{score} is not between -1000 and 1000"));
    }
    user(process, findings);
    rlimits(&process.rlimits, findings);
    // Capabilities are never an error: what cannot be granted is the plan's to warn of.
    if let Some(priority) = &process.io_priority {
        io_priority(priority, findings);
    }
    if let Some(scheduler) = &process.scheduler {
        self::scheduler(scheduler, findings);
    }
    if let Some(affinity) = &process.exec_cpu_affinity {
        for (field, list) in [("initial", &affinity.initial), ("final", &affinity.after)] {
            if !is_number_list(list) {
                findings.error(
                    format_args!("process.execCPUAffinity.{field}"),
                    format_args!("{list:?} is not a list of CPUs"),
                );
            }
        }
    }
}

fn user(process: &Process, findings: &mut Findings) {
    let user = &process.user;
    // -1 means "leave it" to the kernel: the program would keep root's id.
    let mut id = |field: std::fmt::Arguments<'_>, id: u32| {
        if id == u32::MAX {
            findings.error(field, format_args!("{id} is not a valid id"));
        }
    };
    id(format_args!("process.user.uid"), user.uid);
    id(format_args!("process.user.gid"), user.gid);
    for (i, gid) in user.additional_gids.iter().enumerate() {
        id(format_args!("process.user.additionalGids[{i}]"), *gid);
    }
    let groups = user.additional_gids.len();
    if groups > GROUPS {
        findings
            .error("process.user.additionalGids", format_args!("{groups} groups, the kernel takes {GROUPS}"));
    }
    if let Some(umask) = user.umask
        && umask > 0o777
    {
        findings.error("process.user.umask", format_args!("0{umask:o} is larger than 0777"));
    }
}

fn rlimits(list: &[Rlimit], findings: &mut Findings) {
    for (i, limit) in list.iter().enumerate() {
        let kind = &limit.kind;
        if !RLIMITS.contains(&kind.as_str()) {
            findings.error(
                format_args!("process.rlimits[{i}].type"),
                format_args!("{kind:?} is not a resource limit"),
            );
        } else if list[..i].iter().any(|earlier| earlier.kind == *kind) {
            findings.error(format_args!("process.rlimits[{i}].type"), format_args!("{kind:?} is duplicated"));
        }
        let (soft, hard) = (limit.soft, limit.hard);
        if soft > hard {
            findings.error(
                format_args!("process.rlimits[{i}].soft"),
                format_args!("{soft} is larger than the hard limit {hard}"),
            );
        }
    }
}

fn io_priority(priority: &IoPriority, findings: &mut Findings) {
    let class = &priority.class;
    if !["IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"].contains(&class.as_str()) {
        findings.error(
            "process.ioPriority.class",
            format_args!("{class:?} is none of IOPRIO_CLASS_RT, IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE"),
        );
    }
    let level = priority.priority;
    if !(0..=7).contains(&level) {
        findings.error("process.ioPriority.priority", format_args!("{level} is not between 0 and 7"));
    }
}

/// A zero is the same as an absent field, as in Go's types.
fn scheduler(scheduler: &Scheduler, findings: &mut Findings) {
    let policy = scheduler.policy.as_str();
    if !POLICIES.contains(&policy) {
        findings
            .error("process.scheduler.policy", format_args!("{policy:?} is none of {}", POLICIES.join(", ")));
        return;
    }
    let nice = scheduler.nice.unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        findings.error("process.scheduler.nice", format_args!("{nice} is not between -20 and 19"));
    } else if nice != 0 && !["SCHED_OTHER", "SCHED_BATCH"].contains(&policy) {
        findings.error("process.scheduler.nice", format_args!("does not go with {policy}"));
    }
    let priority = scheduler.priority.unwrap_or(0);
    let realtime = ["SCHED_FIFO", "SCHED_RR"].contains(&policy);
    if realtime && !(1..=99).contains(&priority) {
        findings.error("process.scheduler.priority", format_args!("{priority} is not between 1 and 99"));
    } else if !realtime && priority != 0 {
        findings.error("process.scheduler.priority", format_args!("does not go with {policy}"));
    }
    for (i, flag) in scheduler.flags.iter().enumerate() {
        if !SCHEDULER_FLAGS.contains(&flag.as_str()) {
            findings.error(
                format_args!("process.scheduler.flags[{i}]"),
                format_args!("{flag:?} is not a flag of sched_setattr"),
            );
        }
    }
    let deadline = policy == "SCHED_DEADLINE";
    let times = [
        ("runtime", scheduler.runtime.unwrap_or(0)),
        ("deadline", scheduler.deadline.unwrap_or(0)),
        ("period", scheduler.period.unwrap_or(0)),
    ];
    for (field, value) in times {
        if value != 0 && !deadline {
            findings
                .error(format_args!("process.scheduler.{field}"), format_args!("does not go with {policy}"));
        }
    }
    // sched(7): runtime ≤ deadline ≤ period, where a period of 0 is the deadline's length.
    let [(_, runtime), (_, limit), (_, period)] = times;
    if deadline && (runtime == 0 || runtime > limit || (period != 0 && limit > period)) {
        findings.error("process.scheduler", "SCHED_DEADLINE needs 0 < runtime <= deadline <= period");
    }
}
