//! Files of a cgroup to properties of its unit.
//!
//! One table for `create` and `update`, for typed fields and for `unified`: all of them are files in the plan.
//! What a property cannot say (hugetlb, rdma, a limit of 0) is left to the file alone.

use super::Property;
use crate::cgroup::dbus::Value;
use crate::plan::cgroup::{CgroupPlan, Otherwise, Write};

/// The kernel's own period, µs, where only a quota is given.
const PERIOD_USEC: u64 = 100_000;
/// systemd counts in whole percent of a CPU: 10 ms of each second.
const PERCENT_USEC: u64 = 10_000;
const SECOND_USEC: u64 = 1_000_000;
/// systemd's word for no limit (`infinity`).
const INFINITY: u64 = u64::MAX;
/// systemd's word for a weight that nobody has set.
const NOT_SET: u64 = u64::MAX;

/// Versions of systemd that brought a property, or a meaning of one.
const QUOTA_PERIOD_SINCE: u32 = 242;
const CPUSET_SINCE: u32 = 244;
const IDLE_SINCE: u32 = 252;
const SCOPE_OOM_POLICY_SINCE: u32 = 253;

/// The properties that say what the plan's files say, for a systemd of this version.
pub fn limits(plan: &CgroupPlan, version: u32) -> Vec<Property> {
    let idle = plan.writes.iter().rev().find(|write| write.file == "cpu.idle");
    let ends = version >= IDLE_SINCE && idle.is_some_and(|write| write.value == "0");
    let idle = version >= IDLE_SINCE && idle.is_some_and(|write| write.value == "1");
    let weighed = plan.writes.iter().any(|write| write.file == "cpu.weight");
    let mut properties = Vec::new();
    for write in &plan.writes {
        let value = write.value.trim();
        match write.file.as_ref() {
            // Weight 0 is idle to systemd, and its weight then is nothing that could be set beside it.
            "cpu.idle" if idle => number(&mut properties, "CPUWeight", 0),
            // The end of idleness is a weight; none is the usual one, in systemd as in the kernel.
            "cpu.idle" if ends && !weighed => number(&mut properties, "CPUWeight", NOT_SET),
            "cpu.weight" if !idle => ranged(&mut properties, "CPUWeight", value, 1, 10_000),
            "cpu.max" => cpu_max(&mut properties, value, version),
            "cpuset.cpus" if version >= CPUSET_SINCE => list(&mut properties, "AllowedCPUs", value),
            "cpuset.mems" if version >= CPUSET_SINCE => list(&mut properties, "AllowedMemoryNodes", value),
            "memory.max" => ranged(&mut properties, "MemoryMax", value, 1, INFINITY),
            "memory.high" => ranged(&mut properties, "MemoryHigh", value, 1, INFINITY),
            "memory.low" => ranged(&mut properties, "MemoryLow", value, 0, INFINITY),
            "memory.min" => ranged(&mut properties, "MemoryMin", value, 0, INFINITY),
            "memory.swap.max" => ranged(&mut properties, "MemorySwapMax", value, 0, INFINITY),
            "pids.max" => ranged(&mut properties, "TasksMax", value, 1, INFINITY),
            "io.weight" => io_weight(&mut properties, value),
            "io.bfq.weight" => bfq_weight(&mut properties, write),
            "io.max" => io_max(&mut properties, value),
            _ => {}
        }
    }
    properties
}

/// The properties that only a unit that is not there yet can be given.
pub fn at_start(plan: &CgroupPlan, version: u32) -> Vec<Property> {
    let group = plan.writes.iter().rev().find(|write| write.file == "memory.oom.group");
    let policy = match group.map(|write| write.value.trim()) {
        Some("0") => "continue",
        Some("1") => "kill",
        _ => return Vec::new(),
    };
    if version < SCOPE_OOM_POLICY_SINCE {
        return Vec::new();
    }
    vec![("OOMPolicy".into(), Value::text(policy))]
}

fn number(properties: &mut Vec<Property>, name: &'static str, number: u64) {
    properties.push((name.into(), Value::U64(number)));
}

/// A number or `max`, where systemd takes it.
fn ranged(properties: &mut Vec<Property>, name: &'static str, value: &str, least: u64, most: u64) {
    if let Some(value) = amount(value).filter(|value| (least..=most).contains(value)) {
        number(properties, name, value);
    }
}

fn amount(value: &str) -> Option<u64> {
    if value == "max" { Some(INFINITY) } else { value.parse().ok() }
}

/// `quota [period]`, µs.
fn cpu_max(properties: &mut Vec<Property>, value: &str, version: u32) {
    let mut words = value.split_whitespace();
    let (Some(quota), period) = (words.next().and_then(amount), words.next()) else { return };
    let period = match period.map(str::parse::<u64>) {
        None => None,
        Some(Ok(period @ 1..)) => Some(period),
        Some(_) => return,
    };
    if let Some(period) = period
        && version >= QUOTA_PERIOD_SINCE
    {
        number(properties, "CPUQuotaPeriodUSec", period);
    }
    let per_second = match quota {
        0 => return,
        INFINITY => INFINITY,
        quota => {
            // Rounded up, so that the exact value in the file fits below.
            let usec = quota.saturating_mul(SECOND_USEC) / period.unwrap_or(PERIOD_USEC);
            usec.div_ceil(PERCENT_USEC).max(1).saturating_mul(PERCENT_USEC)
        }
    };
    number(properties, "CPUQuotaPerSecUSec", per_second);
}

/// A list such as `0-3,7` as a mask of bits, the lowest first.
fn list(properties: &mut Vec<Property>, name: &'static str, value: &str) {
    if let Some(mask) = mask(value) {
        properties.push((name.into(), Value::bytes(mask)));
    }
}

/// No machine has more CPUs or nodes; a mask of them has a kilobyte.
const MAX_BIT: usize = 8192;

fn mask(list: &str) -> Option<Vec<u8>> {
    let mut mask = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.trim().parse::<usize>().ok()?, last.trim().parse::<usize>().ok()?);
        if first > last || last >= MAX_BIT {
            return None;
        }
        if mask.len() <= last / 8 {
            mask.resize(last / 8 + 1, 0);
        }
        (first..=last).for_each(|bit| mask[bit / 8] |= 1 << (bit % 8));
    }
    (!mask.is_empty()).then_some(mask)
}

/// `[default] weight`, or `major:minor weight`.
fn io_weight(properties: &mut Vec<Property>, value: &str) {
    let words: Vec<&str> = value.split_whitespace().collect();
    match words.as_slice() {
        [weight] | ["default", weight] => ranged(properties, "IOWeight", weight, 1, 10_000),
        [device, weight] => {
            if let (Some(path), Some(weight @ 1..=10_000)) = (path(device), amount(weight)) {
                pair(properties, "IODeviceWeight", path, weight);
            }
        }
        _ => {}
    }
}

/// BFQ's own scale is another; the plan has io.weight's value beside it where the field was `blockIO`.
fn bfq_weight(properties: &mut Vec<Property>, write: &Write) {
    if let Otherwise::Write { file, value } = &write.otherwise
        && file == "io.weight"
    {
        io_weight(properties, value);
    }
}

/// `major:minor rbps=… wbps=… riops=… wiops=…`.
fn io_max(properties: &mut Vec<Property>, value: &str) {
    let mut words = value.split_whitespace();
    let Some(path) = words.next().and_then(path) else { return };
    for word in words {
        let Some((key, value)) = word.split_once('=') else { continue };
        let name = match key {
            "rbps" => "IOReadBandwidthMax",
            "wbps" => "IOWriteBandwidthMax",
            "riops" => "IOReadIOPSMax",
            "wiops" => "IOWriteIOPSMax",
            _ => continue,
        };
        if let Some(rate) = amount(value).filter(|rate| *rate > 0) {
            pair(properties, name, path.clone(), rate);
        }
    }
}

/// The path by which systemd finds a block device of that number.
fn path(device: &str) -> Option<String> {
    let (major, minor) = device.split_once(':')?;
    let (major, minor) = (major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?);
    Some(format!("/dev/block/{major}:{minor}"))
}

fn pair(properties: &mut Vec<Property>, name: &'static str, path: String, number: u64) {
    let entry = Value::Struct(vec![Value::Text(path), Value::U64(number)]);
    properties.push((name.into(), Value::Array("(st)".to_owned(), vec![entry])));
}
