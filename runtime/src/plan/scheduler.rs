//! CPU scheduler, I/O priority, NUMA policy, execution domain and CPU affinity: names to numbers.
//!
//! What the kernel would take and ignore is an error here, such as a nice value for SCHED_FIFO. A zero is
//! the same as an absent field, as writers of the document make no difference. config.md `process.scheduler`,
//! `process.ioPriority`, `process.execCPUAffinity`; config-linux.md `linux.memoryPolicy`,
//! `linux.personality`; sched(7), ioprio_set(2), set_mempolicy(2), personality(2).

use std::fmt::Display;

use sys::sched::SchedAttr;

use crate::error::{Error, Kind, Result};
use crate::spec;

/// An I/O scheduling class with its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoPriority {
    /// 1 real-time, 2 best effort, 3 idle.
    pub class: u16,
    /// 0 (first) to 7.
    pub level: u16,
}

/// A NUMA memory policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// MPOL mode and its flags.
    pub mode: i32,
    /// Bit `n % 64` of word `n / 64` is node n.
    pub nodes: Vec<u64>,
}

/// CPUs of a process that `exec` adds; bit `n % 64` of word `n / 64` is CPU n.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecAffinity {
    /// Before it is moved into the container's cgroup.
    pub initial: Option<Vec<u64>>,
    /// After that.
    pub after: Option<Vec<u64>>,
}

/// Highest CPU that a Linux kernel can be built for (CONFIG_NR_CPUS).
const LAST_CPU: u64 = 8191;
/// Highest NUMA node that a Linux kernel can be built for (CONFIG_NODES_SHIFT).
const LAST_NODE: u64 = 1023;

// <linux/sched.h>
const OTHER: u32 = 0;
const FIFO: u32 = 1;
const RR: u32 = 2;
const BATCH: u32 = 3;
const ISO: u32 = 4;
const IDLE: u32 = 5;
const DEADLINE: u32 = 6;

const POLICIES: [(&str, u32); 7] = [
    ("SCHED_OTHER", OTHER),
    ("SCHED_FIFO", FIFO),
    ("SCHED_RR", RR),
    ("SCHED_BATCH", BATCH),
    ("SCHED_ISO", ISO),
    ("SCHED_IDLE", IDLE),
    ("SCHED_DEADLINE", DEADLINE),
];

const RECLAIM: u64 = 0x02;
const DL_OVERRUN: u64 = 0x04;
const KEEP_PARAMS: u64 = 0x10;

const FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", RECLAIM),
    ("SCHED_FLAG_DL_OVERRUN", DL_OVERRUN),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", KEEP_PARAMS),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

/// The shortest runtime the kernel accepts, in nanoseconds (DL_SCALE, sched(7)).
const SHORTEST_RUNTIME: u64 = 1024;

fn wrong<T>(field: &str, reason: impl Display) -> Result<T> {
    Err(Error::new(Kind::Spec, format!("{field}: {reason}")))
}

fn number<T: Copy>(names: &[(&str, T)], name: &str) -> Option<T> {
    names.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// `process.scheduler` for sched_setattr(2).
///
/// # Errors
/// Kind `Spec`: unknown names, values out of range, values that the policy has no use for.
pub fn scheduler(document: &spec::Scheduler) -> Result<SchedAttr> {
    let name = document.policy.as_str();
    let Some(policy) = number(&POLICIES, name) else {
        return wrong("process.scheduler.policy", format_args!("{name:?} is not a scheduling policy"));
    };
    if policy == ISO {
        return wrong("process.scheduler.policy", "SCHED_ISO does not exist in Linux");
    }
    let mut flags = 0;
    for (index, flag) in document.flags.iter().enumerate() {
        let field = format!("process.scheduler.flags[{index}]");
        match number(&FLAGS, flag) {
            None => return wrong(&field, format_args!("{flag:?} is not a flag of sched_setattr")),
            Some(RECLAIM | DL_OVERRUN) if policy != DEADLINE => {
                return wrong(&field, format_args!("{flag} is only for SCHED_DEADLINE"));
            }
            Some(bit) => flags |= bit,
        }
    }
    let attr = SchedAttr {
        policy,
        flags,
        nice: nice(document, policy)?,
        priority: priority(document, policy)?,
        runtime: document.runtime.unwrap_or(0),
        deadline: document.deadline.unwrap_or(0),
        period: document.period.unwrap_or(0),
    };
    check_times(&attr, name)?;
    let without = SchedAttr { policy, flags, ..SchedAttr::default() };
    if flags & KEEP_PARAMS != 0 && attr != without {
        return wrong(
            "process.scheduler.flags",
            "SCHED_FLAG_KEEP_PARAMS makes the kernel ignore the parameters",
        );
    }
    Ok(attr)
}

fn nice(document: &spec::Scheduler, policy: u32) -> Result<i32> {
    let (field, nice) = ("process.scheduler.nice", document.nice.unwrap_or(0));
    if nice != 0 && !matches!(policy, OTHER | BATCH) {
        return wrong(field, format_args!("{} has no nice value", document.policy));
    }
    if !(-20..=19).contains(&nice) {
        return wrong(field, format_args!("{nice} is not between -20 and 19"));
    }
    Ok(nice)
}

fn priority(document: &spec::Scheduler, policy: u32) -> Result<u32> {
    let (field, priority) = ("process.scheduler.priority", document.priority.unwrap_or(0));
    let realtime = matches!(policy, FIFO | RR);
    let keeps = document.flags.iter().any(|flag| flag == "SCHED_FLAG_KEEP_PARAMS");
    match u32::try_from(priority) {
        Ok(0) if !realtime || keeps => Ok(0),
        Ok(_) if !realtime => wrong(field, format_args!("{} has no static priority", document.policy)),
        Ok(priority @ 1..=99) => Ok(priority),
        _ => wrong(field, format_args!("{priority} is not between 1 and 99")),
    }
}

fn check_times(attr: &SchedAttr, policy: &str) -> Result<()> {
    let times = [("runtime", attr.runtime), ("deadline", attr.deadline), ("period", attr.period)];
    if attr.policy != DEADLINE {
        return match times.iter().find(|(_, nanoseconds)| *nanoseconds != 0) {
            Some((name, _)) => {
                wrong(&format!("process.scheduler.{name}"), format_args!("is not for {policy}"))
            }
            None => Ok(()),
        };
    }
    if attr.flags & KEEP_PARAMS != 0 {
        return Ok(());
    }
    let runtime = attr.runtime;
    if runtime < SHORTEST_RUNTIME {
        return wrong(
            "process.scheduler.runtime",
            format_args!("{runtime} ns is less than the kernel's {SHORTEST_RUNTIME} ns"),
        );
    }
    // A period of 0 is as long as the deadline.
    if runtime > attr.deadline || (attr.period != 0 && attr.deadline > attr.period) {
        return wrong("process.scheduler", "SCHED_DEADLINE wants runtime <= deadline <= period");
    }
    Ok(())
}

/// `process.ioPriority` for ioprio_set(2).
///
/// # Errors
/// Kind `Spec`: an unknown class, a level that is not 0 to 7.
pub fn io_priority(document: &spec::IoPriority) -> Result<IoPriority> {
    let classes = [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];
    let Some(class) = number(&classes, &document.class) else {
        let reason = format!("{:?} is not an I/O scheduling class", document.class);
        return wrong("process.ioPriority.class", reason);
    };
    match u16::try_from(document.priority) {
        Ok(level @ 0..=7) => Ok(IoPriority { class, level }),
        _ => {
            wrong("process.ioPriority.priority", format_args!("{} is not between 0 and 7", document.priority))
        }
    }
}

/// `linux.memoryPolicy` for set_mempolicy(2).
///
/// # Errors
/// Kind `Spec`: unknown names, nodes or flags that do not go with the mode.
pub fn memory_policy(document: &spec::MemoryPolicy) -> Result<MemoryPolicy> {
    // <linux/mempolicy.h>
    const DEFAULT: i32 = 0;
    const PREFERRED: i32 = 1;
    const BIND: i32 = 2;
    const LOCAL: i32 = 4;
    const PREFERRED_MANY: i32 = 5;
    const NUMA_BALANCING: i32 = 1 << 13;
    const RELATIVE: i32 = 1 << 14;
    const STATIC: i32 = 1 << 15;
    let modes = [
        ("MPOL_DEFAULT", DEFAULT),
        ("MPOL_PREFERRED", PREFERRED),
        ("MPOL_BIND", BIND),
        ("MPOL_INTERLEAVE", 3),
        ("MPOL_LOCAL", LOCAL),
        ("MPOL_PREFERRED_MANY", PREFERRED_MANY),
        ("MPOL_WEIGHTED_INTERLEAVE", 6),
    ];
    let names = [
        ("MPOL_F_NUMA_BALANCING", NUMA_BALANCING),
        ("MPOL_F_RELATIVE_NODES", RELATIVE),
        ("MPOL_F_STATIC_NODES", STATIC),
    ];
    let name = document.mode.as_str();
    let Some(mode) = number(&modes, name) else {
        return wrong("linux.memoryPolicy.mode", format_args!("{name:?} is not a memory policy"));
    };
    let nodes = list("linux.memoryPolicy.nodes", &document.nodes, LAST_NODE)?;
    let none = nodes.is_empty();
    match mode {
        DEFAULT | LOCAL if !none => {
            return wrong("linux.memoryPolicy.nodes", format_args!("{name} takes none"));
        }
        DEFAULT | LOCAL | PREFERRED => {}
        _ if none => return wrong("linux.memoryPolicy.nodes", format_args!("{name} needs some")),
        _ => {}
    }
    let mut flags = 0;
    for (index, flag) in document.flags.iter().enumerate() {
        let field = format!("linux.memoryPolicy.flags[{index}]");
        match number(&names, flag) {
            None => return wrong(&field, format_args!("{flag:?} is not a flag of set_mempolicy")),
            Some(NUMA_BALANCING) if !matches!(mode, BIND | PREFERRED_MANY) => {
                return wrong(&field, format_args!("{flag} does not go with {name}"));
            }
            Some(STATIC | RELATIVE) if none => {
                return wrong(&field, format_args!("{flag} does not go without nodes"));
            }
            Some(bit) => flags |= bit,
        }
    }
    if flags & STATIC != 0 && flags & RELATIVE != 0 {
        let reason = "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other";
        return wrong("linux.memoryPolicy.flags", reason);
    }
    Ok(MemoryPolicy { mode: mode | flags, nodes })
}

/// `linux.personality` for personality(2).
///
/// # Errors
/// Kind `Spec`: an unknown domain; any flag, as the specification has none.
pub fn personality(document: &spec::Personality) -> Result<i32> {
    if let Some(flag) = document.flags.first() {
        return wrong("linux.personality.flags[0]", format_args!("{flag:?}: the specification has no flags"));
    }
    // <linux/personality.h>
    match number(&[("LINUX", 0x0000), ("LINUX32", 0x0008)], &document.domain) {
        Some(domain) => Ok(domain),
        None => {
            let reason = format!("{:?} is neither LINUX nor LINUX32", document.domain);
            wrong("linux.personality.domain", reason)
        }
    }
}

/// `process.execCPUAffinity` for sched_setaffinity(2).
///
/// # Errors
/// Kind `Spec`: a list that is none.
pub fn exec_affinity(document: &spec::ExecCpuAffinity) -> Result<ExecAffinity> {
    let cpus = |field: &str, text: &str| -> Result<Option<Vec<u64>>> {
        let cpus = list(field, text, LAST_CPU)?;
        Ok((!cpus.is_empty()).then_some(cpus))
    };
    Ok(ExecAffinity {
        initial: cpus("process.execCPUAffinity.initial", &document.initial)?,
        after: cpus("process.execCPUAffinity.final", &document.after)?,
    })
}

/// A list as cpuset(7) has it (`0-3, 7`), as bits: bit `n % 64` of word `n / 64` is number n. Empty text is
/// no bit at all. `most` is the highest number there can be.
///
/// # Errors
/// Kind `Spec`, naming `field`.
pub fn list(field: &str, text: &str, most: u64) -> Result<Vec<u64>> {
    let mut bits = Vec::new();
    if text.trim().is_empty() {
        return Ok(bits);
    }
    for item in text.split(',').map(str::trim) {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (Some(first), Some(last)) = (decimal(first), decimal(last)) else {
            return wrong(field, format_args!("{text:?}: {item:?} is neither a number nor a range"));
        };
        if first > last {
            return wrong(field, format_args!("{text:?}: the range {item:?} runs backwards"));
        }
        if last > most {
            return wrong(field, format_args!("{text:?}: {last} is above {most}, the highest there can be"));
        }
        for number in first..=last {
            let word = usize::try_from(number / 64).unwrap_or(usize::MAX);
            if bits.len() <= word {
                bits.resize(word + 1, 0);
            }
            bits[word] |= 1 << (number % 64);
        }
    }
    Ok(bits)
}

/// Digits only: `parse` alone would take a sign.
fn decimal(text: &str) -> Option<u64> {
    let text = text.trim();
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<T: std::fmt::Debug>(result: Result<T>) -> String {
        result.unwrap_err().to_string()
    }

    fn policy(name: &str) -> spec::Scheduler {
        spec::Scheduler { policy: name.to_owned(), ..spec::Scheduler::default() }
    }

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn policies_become_attributes() {
        let nice = spec::Scheduler { nice: Some(-20), priority: Some(0), ..policy("SCHED_BATCH") };
        let expected = SchedAttr { policy: 3, nice: -20, ..SchedAttr::default() };
        assert_eq!(scheduler(&nice).unwrap(), expected);
        let fifo = spec::Scheduler { priority: Some(99), nice: Some(0), ..policy("SCHED_FIFO") };
        let expected = SchedAttr { policy: 1, priority: 99, ..SchedAttr::default() };
        assert_eq!(scheduler(&fifo).unwrap(), expected);
        let deadline = spec::Scheduler {
            runtime: Some(10_000),
            deadline: Some(20_000),
            period: Some(30_000),
            flags: strings(&["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN"]),
            ..policy("SCHED_DEADLINE")
        };
        let expected = SchedAttr {
            policy: 6,
            flags: 5,
            runtime: 10_000,
            deadline: 20_000,
            period: 30_000,
            ..SchedAttr::default()
        };
        assert_eq!(scheduler(&deadline).unwrap(), expected);
        assert_eq!(scheduler(&policy("SCHED_IDLE")).unwrap().policy, 5);
        let keep = spec::Scheduler { flags: strings(&["SCHED_FLAG_KEEP_PARAMS"]), ..policy("SCHED_RR") };
        assert_eq!(scheduler(&keep).unwrap().flags, 0x10);
    }

    #[test]
    fn what_the_kernel_would_ignore_is_an_error() {
        let error = |change: &dyn Fn(&mut spec::Scheduler), name: &str| {
            let mut document = policy(name);
            change(&mut document);
            text(scheduler(&document))
        };
        assert_eq!(
            error(&|s| s.nice = Some(1), "SCHED_FIFO"),
            "process.scheduler.nice: SCHED_FIFO has no nice value"
        );
        assert_eq!(
            error(&|s| s.nice = Some(1), "SCHED_IDLE"),
            "process.scheduler.nice: SCHED_IDLE has no nice value"
        );
        assert_eq!(
            error(&|s| s.priority = Some(1), "SCHED_OTHER"),
            "process.scheduler.priority: SCHED_OTHER has no static priority"
        );
        assert_eq!(
            error(&|s| s.period = Some(1), "SCHED_RR").split(':').nth(1).unwrap(),
            " 0 is not between 1 and 99"
        );
        assert_eq!(
            error(&|s| s.period = Some(1), "SCHED_OTHER"),
            "process.scheduler.period: is not for SCHED_OTHER"
        );
        assert_eq!(
            error(&|s| s.flags = strings(&["SCHED_FLAG_RECLAIM"]), "SCHED_OTHER"),
            "process.scheduler.flags[0]: SCHED_FLAG_RECLAIM is only for SCHED_DEADLINE"
        );
        let keep = |s: &mut spec::Scheduler| {
            s.flags = strings(&["SCHED_FLAG_KEEP_PARAMS"]);
            s.nice = Some(5);
        };
        assert_eq!(
            error(&keep, "SCHED_OTHER"),
            "process.scheduler.flags: SCHED_FLAG_KEEP_PARAMS makes the kernel ignore the parameters"
        );
    }

    #[test]
    fn values_out_of_range_and_unknown_names_are_errors() {
        let error = |change: &dyn Fn(&mut spec::Scheduler), name: &str| {
            let mut document = policy(name);
            change(&mut document);
            text(scheduler(&document))
        };
        let same = |_: &mut spec::Scheduler| {};
        assert_eq!(error(&same, ""), "process.scheduler.policy: \"\" is not a scheduling policy");
        assert_eq!(error(&same, "SCHED_ISO"), "process.scheduler.policy: SCHED_ISO does not exist in Linux");
        assert_eq!(
            error(&|s| s.flags = strings(&["SCHED_FLAG_X"]), "SCHED_OTHER"),
            "process.scheduler.flags[0]: \"SCHED_FLAG_X\" is not a flag of sched_setattr"
        );
        assert_eq!(
            error(&|s| s.nice = Some(20), "SCHED_OTHER"),
            "process.scheduler.nice: 20 is not between -20 and 19"
        );
        for priority in [0, 100, -1] {
            assert_eq!(
                error(&|s| s.priority = Some(priority), "SCHED_RR"),
                format!("process.scheduler.priority: {priority} is not between 1 and 99")
            );
        }
        let times = |runtime, deadline, period| {
            error(
                &|s| (s.runtime, s.deadline, s.period) = (Some(runtime), Some(deadline), Some(period)),
                "SCHED_DEADLINE",
            )
        };
        assert_eq!(
            times(1023, 2000, 0),
            "process.scheduler.runtime: 1023 ns is less than the kernel's 1024 ns"
        );
        let order = "process.scheduler: SCHED_DEADLINE wants runtime <= deadline <= period";
        assert_eq!(times(3000, 2000, 0), order);
        assert_eq!(times(2000, 3000, 2500), order);
    }

    #[test]
    fn io_priorities() {
        let document = |class: &str, priority| spec::IoPriority { class: class.to_owned(), priority };
        let parsed = io_priority(&document("IOPRIO_CLASS_IDLE", 4)).unwrap();
        assert_eq!(parsed, IoPriority { class: 3, level: 4 });
        assert_eq!(io_priority(&document("IOPRIO_CLASS_RT", 0)).unwrap(), IoPriority { class: 1, level: 0 });
        assert_eq!(
            text(io_priority(&document("IOPRIO_CLASS_NONE", 0))),
            "process.ioPriority.class: \"IOPRIO_CLASS_NONE\" is not an I/O scheduling class"
        );
        for level in [-1, 8, 65536 + 3] {
            assert_eq!(
                text(io_priority(&document("IOPRIO_CLASS_BE", level))),
                format!("process.ioPriority.priority: {level} is not between 0 and 7")
            );
        }
    }

    #[test]
    fn memory_policies() {
        let parse = |mode: &str, nodes: &str, flags: &[&str]| {
            let (mode, nodes) = (mode.to_owned(), nodes.to_owned());
            memory_policy(&spec::MemoryPolicy { mode, nodes, flags: strings(flags) })
        };
        let policy = |mode, nodes: &[u64]| MemoryPolicy { mode, nodes: nodes.to_vec() };
        assert_eq!(parse("MPOL_DEFAULT", "", &[]).unwrap(), policy(0, &[]));
        assert_eq!(parse("MPOL_PREFERRED", "", &[]).unwrap(), policy(1, &[]));
        let flags = ["MPOL_F_STATIC_NODES", "MPOL_F_NUMA_BALANCING"];
        assert_eq!(parse("MPOL_BIND", "0-1,3", &flags).unwrap(), policy(2 | 1 << 15 | 1 << 13, &[0b1011]));
        let relative = ["MPOL_F_RELATIVE_NODES"];
        assert_eq!(parse("MPOL_WEIGHTED_INTERLEAVE", "64", &relative).unwrap(), policy(6 | 1 << 14, &[0, 1]));
        for (mode, nodes, flags, error) in [
            ("MPOL_X", "", &[][..], "mode: \"MPOL_X\" is not a memory policy"),
            ("MPOL_LOCAL", "0", &[], "nodes: MPOL_LOCAL takes none"),
            ("MPOL_DEFAULT", "0", &[], "nodes: MPOL_DEFAULT takes none"),
            ("MPOL_INTERLEAVE", " ", &[], "nodes: MPOL_INTERLEAVE needs some"),
            ("MPOL_BIND", "1024", &[], "nodes: \"1024\": 1024 is above 1023, the highest there can be"),
            ("MPOL_BIND", "0", &["MPOL_F_X"], "flags[0]: \"MPOL_F_X\" is not a flag of set_mempolicy"),
            (
                "MPOL_INTERLEAVE",
                "0",
                &["MPOL_F_NUMA_BALANCING"],
                "flags[0]: MPOL_F_NUMA_BALANCING does not go with MPOL_INTERLEAVE",
            ),
            (
                "MPOL_DEFAULT",
                "",
                &["MPOL_F_STATIC_NODES"],
                "flags[0]: MPOL_F_STATIC_NODES does not go without nodes",
            ),
            (
                "MPOL_BIND",
                "0",
                &["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"],
                "flags: MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other",
            ),
        ] {
            assert_eq!(text(parse(mode, nodes, flags)), format!("linux.memoryPolicy.{error}"));
        }
    }

    #[test]
    fn personalities() {
        let parse = |domain: &str, flags: &[&str]| {
            personality(&spec::Personality { domain: domain.to_owned(), flags: strings(flags) })
        };
        assert_eq!(parse("LINUX", &[]).unwrap(), 0);
        assert_eq!(parse("LINUX32", &[]).unwrap(), 8);
        assert_eq!(text(parse("BSD", &[])), "linux.personality.domain: \"BSD\" is neither LINUX nor LINUX32");
        assert_eq!(
            text(parse("LINUX", &["ADDR_NO_RANDOMIZE"])),
            "linux.personality.flags[0]: \"ADDR_NO_RANDOMIZE\": the specification has no flags"
        );
    }

    #[test]
    fn lists_of_cpus() {
        let parse = |text: &str| list("x", text, LAST_CPU);
        assert_eq!(parse("").unwrap(), [0; 0]);
        assert_eq!(parse("0").unwrap(), [1]);
        assert_eq!(parse(" 0-3 , 7 ,63,64\n").unwrap(), [0x8000_0000_0000_008f, 1]);
        assert_eq!(parse("8191").unwrap().len(), 128);
        for wrong in [",", "1,", "-1", "1-", "a", "+1", "0x1", "1-2-3", "18446744073709551616", "--"] {
            assert!(text(parse(wrong)).contains("is neither a number nor a range"), "{wrong}");
        }
        assert_eq!(text(parse("3-1")), "x: \"3-1\": the range \"3-1\" runs backwards");
        assert_eq!(text(parse("0-8192")), "x: \"0-8192\": 8192 is above 8191, the highest there can be");
        let affinity = spec::ExecCpuAffinity { initial: String::new(), after: "1".to_owned() };
        assert_eq!(exec_affinity(&affinity).unwrap(), ExecAffinity { initial: None, after: Some(vec![2]) });
    }
}
