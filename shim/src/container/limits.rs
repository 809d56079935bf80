//! What this host cannot limit is left out, and the user is warned, as Docker does it. The facts come as data; pure but
//! for [`Controllers::read`].

use std::fs;
use std::path::Path;

use crate::bundle::options::Limits;

/// What the kernel can limit here: the controllers of cgroup v2 (cgroups(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)]
pub struct Controllers {
    /// Memory.
    pub memory: bool,
    /// Memory with swap.
    pub swap: bool,
    /// Processors' time.
    pub cpu: bool,
    /// Which processors.
    pub cpuset: bool,
    /// Processes.
    pub pids: bool,
    /// Block devices.
    pub io: bool,
}

impl Controllers {
    /// Those of this host; none where cgroup v2 is not mounted.
    #[must_use]
    pub fn read() -> Controllers {
        let found = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].into_iter().find_map(|folder| {
            Some((Path::new(folder), fs::read_to_string(Path::new(folder).join("cgroup.controllers")).ok()?))
        });
        let Some((folder, text)) = found else { return Controllers::default() };
        let has = |name: &str| text.split_whitespace().any(|word| word == name);
        Controllers {
            memory: has("memory"),
            swap: has("memory") && counts_swap(folder),
            cpu: has("cpu"),
            cpuset: has("cpuset"),
            pids: has("pids"),
            io: has("io"),
        }
    }
}

/// Swap is counted unless the kernel was told not to; a cgroup then lacks the file. Without a cgroup to look at, it is.
fn counts_swap(folder: &Path) -> bool {
    let children = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut limited = children.filter(|path| path.join("memory.max").exists());
    limited.next().is_none_or(|path| path.join("memory.swap.max").exists())
}

/// Takes out of the limits what cannot be had; the warnings.
#[must_use]
pub fn discard(limits: &mut Limits, can: Controllers) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |what: &str, rest: &str| {
        warnings.push(format!("Your kernel does not support {what} or the cgroup is not mounted. {rest}"));
    };
    let is_set = |limit: &mut Option<i64>| limit.is_some_and(|limit| limit != 0);
    if !can.memory {
        if is_set(&mut limits.memory) {
            warn("memory limit capabilities", "Limitation discarded.");
            (limits.memory, limits.memory_swap) = (None, None);
        }
        if is_set(&mut limits.memory_reservation) {
            warn("memory soft limit capabilities", "Limitation discarded.");
            limits.memory_reservation = None;
        }
        // Swap without a limit is what there is.
        limits.memory_swap = limits.memory_swap.filter(|swap| *swap != -1);
    } else if !can.swap && limits.memory.is_some() && limits.memory_swap != Some(-1) {
        if is_set(&mut limits.memory_swap) {
            warn("swap limit capabilities", "Memory limited without swap.");
        }
        limits.memory_swap = Some(-1);
    }
    if !can.pids
        && let Some(limit) = limits.pids.take()
        // Any number, where there is no limit.
        && limit > 0
    {
        warn("PIDs limit capabilities", "PIDs limit discarded.");
    }
    if !can.cpu {
        if limits.cpu_shares.is_some_and(|shares| shares != 0) {
            warn("CPU shares", "Shares discarded.");
            limits.cpu_shares = None;
        }
        let all = [&mut limits.cpu_period, &mut limits.cpu_quota, &mut limits.nano_cpus];
        if all.into_iter().any(is_set) {
            warn("CPU CFS scheduler", "CPU period/quota discarded.");
            (limits.cpu_period, limits.cpu_quota, limits.nano_cpus) = (None, None, None);
        }
    }
    let has_set = |list: &Option<String>| list.as_ref().is_some_and(|list| !list.is_empty());
    if !can.cpuset && (has_set(&limits.cpuset_cpus) || has_set(&limits.cpuset_mems)) {
        warn("cpuset", "Cpuset discarded.");
        (limits.cpuset_cpus, limits.cpuset_mems) = (None, None);
    }
    if !can.io {
        discard_block_io(limits, &mut warn);
    }
    warnings
}

fn discard_block_io(limits: &mut Limits, warn: &mut impl FnMut(&str, &str)) {
    if limits.blkio_weight.is_some_and(|weight| weight != 0) {
        warn("Block I/O weight", "Weight discarded.");
        limits.blkio_weight = None;
    }
    if !limits.blkio_weight_device.is_empty() {
        warn("Block I/O weight_device", "Weight-device discarded.");
        limits.blkio_weight_device.clear();
    }
    for (rates, what, discarded) in [
        (&mut limits.read_bps, "BPS Block I/O read limit", "Block I/O BPS read limit discarded."),
        (&mut limits.write_bps, "BPS Block I/O write limit", "Block I/O BPS write limit discarded."),
        (&mut limits.read_iops, "IOPS Block read limit", "Block I/O IOPS read limit discarded."),
        (&mut limits.write_iops, "IOPS Block write limit", "Block I/O IOPS write limit discarded."),
    ] {
        if !rates.is_empty() {
            warn(what, discarded);
            rates.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::spec::Throttle;

    fn all() -> Limits {
        let rate = vec![Throttle { major: 8, minor: 0, rate: 1 }];
        Limits {
            memory: Some(1 << 30),
            memory_swap: Some(2 << 30),
            memory_reservation: Some(1 << 20),
            nano_cpus: Some(1),
            cpu_shares: Some(2),
            pids: Some(10),
            cpuset_cpus: Some("0".into()),
            blkio_weight: Some(10),
            read_bps: rate.clone(),
            write_iops: rate,
            ..Limits::default()
        }
    }

    #[test]
    fn what_cannot_be_limited_is_left_out_and_told_once() {
        let mut limits = all();
        let warnings = discard(&mut limits, Controllers::default());
        assert_eq!(
            warnings[0],
            "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded."
        );
        assert_eq!(warnings.len(), 9, "{warnings:#?}");
        assert_eq!(format!("{limits:?}"), format!("{:?}", Limits::default()));
        assert!(discard(&mut limits, Controllers::default()).is_empty(), "nothing was asked for");
        let mut unlimited = Limits { pids: Some(-1), memory: Some(0), ..Limits::default() };
        assert!(discard(&mut unlimited, Controllers::default()).is_empty());
        let mut swap = Limits { memory_swap: Some(-1), ..Limits::default() };
        assert!(discard(&mut swap, Controllers::default()).is_empty());
        assert_eq!(swap, Limits::default());
        // As many processes as there can be: nothing that a controller would be needed for.
        for pids in [0, -1] {
            let mut limits = Limits { pids: Some(pids), ..Limits::default() };
            assert!(discard(&mut limits, Controllers::default()).is_empty());
            assert_eq!(limits, Limits::default());
        }
    }

    #[test]
    fn what_can_be_limited_stays() {
        let can = Controllers { memory: true, swap: true, cpu: true, cpuset: true, pids: true, io: true };
        let mut limits = all();
        assert!(discard(&mut limits, can).is_empty());
        assert_eq!(format!("{limits:?}"), format!("{:?}", all()));
        let warnings = discard(&mut limits, Controllers { swap: false, ..can });
        assert!(warnings[0].contains("swap limit capabilities") && limits.memory_swap == Some(-1));
    }
}
