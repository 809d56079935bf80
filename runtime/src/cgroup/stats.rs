//! What a cgroup uses, in the shape that `events` prints: runc's (its `types/events.go`), which engines decode.
//!
//! The names are cgroup v1's, in which they were first written down; the values come from cgroup v2's files
//! (cgroup-v2.rst) as runc takes them. As Go's encoder does, zeros are left out where runc leaves them out.
//! A controller that is not on for this cgroup has no files: its part stays empty.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use rustix::fs::Dir;
use serde::Serialize;

use super::{Cgroup, file};
use crate::error::{Context, Error, Result};

/// All that is known of one cgroup and those inside it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stats {
    cpu: Cpu,
    cpuset: Cpuset,
    memory: Memory,
    pids: Pids,
    blkio: Blkio,
    hugetlb: BTreeMap<String, Hugetlb>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Cpu {
    usage: CpuUsage,
    throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Pressure>,
}

/// Nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct CpuUsage {
    #[serde(skip_serializing_if = "is_zero")]
    total: u64,
    kernel: u64,
    user: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Throttling {
    #[serde(skip_serializing_if = "is_zero")]
    periods: u64,
    #[serde(skip_serializing_if = "is_zero")]
    throttled_periods: u64,
    /// Nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    throttled_time: u64,
}

/// Nothing of it is on cgroup v2; the keys are there all the same.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Cpuset {
    cpu_exclusive: u64,
    mem_hardwall: u64,
    mem_exclusive: u64,
    memory_migrate: u64,
    memory_spread_page: u64,
    memory_spread_slab: u64,
    memory_pressure: u64,
    sched_load_balance: u64,
    sched_relax_domain_level: i64,
}

/// Bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Memory {
    #[serde(skip_serializing_if = "is_zero")]
    cache: u64,
    usage: MemoryEntry,
    /// Memory and swap together, as cgroup v1 counts.
    swap: MemoryEntry,
    kernel: MemoryEntry,
    #[serde(rename = "kernelTCP")]
    kernel_tcp: MemoryEntry,
    /// memory.stat.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    raw: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Pressure>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
struct MemoryEntry {
    limit: u64,
    #[serde(skip_serializing_if = "is_zero")]
    usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    max: u64,
    failcnt: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Pids {
    #[serde(skip_serializing_if = "is_zero")]
    current: u64,
    /// 0, and so left out, for no limit.
    #[serde(skip_serializing_if = "is_zero")]
    limit: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Blkio {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_service_bytes_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_serviced_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Pressure>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct BlkioEntry {
    #[serde(skip_serializing_if = "is_zero")]
    major: u64,
    #[serde(skip_serializing_if = "is_zero")]
    minor: u64,
    op: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    value: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Hugetlb {
    #[serde(skip_serializing_if = "is_zero")]
    usage: u64,
    failcnt: u64,
}

/// Pressure stall information (Documentation/accounting/psi.rst).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Pressure {
    some: PressureLine,
    full: PressureLine,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct PressureLine {
    avg10: f64,
    avg60: f64,
    avg300: f64,
    /// Microseconds.
    total: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Cgroup {
    /// What the cgroup uses now.
    ///
    /// # Errors
    /// ENODEV where the cgroup is gone, and what reading fails with.
    pub fn stats(&self) -> Result<Stats> {
        self.read_stats().context(|| format!("read the statistics of cgroup {:?}", self.path))
    }

    fn read_stats(&self) -> Result<Stats> {
        let fd = self.fd();
        let pressure = |name| Ok::<_, Error>(optional(fd, name)?.map(|text| Pressure::parse(&text)));
        Ok(Stats {
            cpu: Cpu { psi: pressure("cpu.pressure")?, ..Cpu::parse(&text(fd, "cpu.stat")?) },
            cpuset: Cpuset::default(),
            memory: Memory { psi: pressure("memory.pressure")?, ..Memory::read(fd)? },
            pids: Pids::read(fd)?,
            blkio: Blkio { psi: pressure("io.pressure")?, ..Blkio::parse(&text(fd, "io.stat")?) },
            hugetlb: hugetlb(fd)?,
        })
    }
}

/// A file's text; `None` where the controller or the kernel's part for it is not there.
fn optional(cgroup: BorrowedFd<'_>, name: &str) -> Result<Option<String>> {
    match file::read(cgroup, name) {
        Ok(text) => Ok(Some(text)),
        // EOPNOTSUPP: pressure that is not counted (psi=0).
        Err(error) if matches!(error.errno, libc::ENOENT | libc::EOPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A file's text; empty where it is not there.
fn text(cgroup: BorrowedFd<'_>, name: &str) -> Result<String> {
    Ok(optional(cgroup, name)?.unwrap_or_default())
}

/// A file with one number, `max` for none; `None` where it is not there.
fn single(cgroup: BorrowedFd<'_>, name: &str) -> Result<Option<u64>> {
    match optional(cgroup, name)?.as_deref().map(str::trim) {
        None => Ok(None),
        Some("max") => Ok(Some(u64::MAX)),
        Some(word) => match word.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Error::other(format!("{name:?} holds no number: {word:?}"))),
        },
    }
}

/// Lines of a name and a number.
fn pairs(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (name, value) = line.split_once(' ')?;
        Some((name, value.trim().parse().ok()?))
    })
}

impl Cpu {
    fn parse(text: &str) -> Self {
        let mut cpu = Self::default();
        for (name, value) in pairs(text) {
            let nanoseconds = value.saturating_mul(1000);
            match name {
                "usage_usec" => cpu.usage.total = nanoseconds,
                "user_usec" => cpu.usage.user = nanoseconds,
                "system_usec" => cpu.usage.kernel = nanoseconds,
                "nr_periods" => cpu.throttling.periods = value,
                "nr_throttled" => cpu.throttling.throttled_periods = value,
                "throttled_usec" => cpu.throttling.throttled_time = nanoseconds,
                _ => {}
            }
        }
        cpu
    }
}

impl Memory {
    fn read(cgroup: BorrowedFd<'_>) -> Result<Self> {
        let Some(usage) = MemoryEntry::read(cgroup, "memory")? else { return Ok(Self::default()) };
        let raw: BTreeMap<String, u64> =
            pairs(&text(cgroup, "memory.stat")?).map(|(name, value)| (name.to_owned(), value)).collect();
        let swap = MemoryEntry::read(cgroup, "memory.swap")?.unwrap_or_default();
        Ok(Self {
            cache: raw.get("file").copied().unwrap_or(0),
            usage,
            swap: swap.with_memory(usage),
            raw,
            ..Self::default()
        })
    }
}

impl MemoryEntry {
    /// `None` without the controller, or without accounting of swap.
    fn read(cgroup: BorrowedFd<'_>, prefix: &str) -> Result<Option<Self>> {
        let number = |suffix| single(cgroup, &format!("{prefix}.{suffix}"));
        let Some(usage) = number("current")? else { return Ok(None) };
        // The peak is known since Linux 5.19, that of swap since 6.5.
        let (limit, max) = (number("max")?.unwrap_or(0), number("peak")?.unwrap_or(0));
        Ok(Some(Self { limit, usage, max, failcnt: 0 }))
    }

    /// Of swap alone made that of memory and swap. Peaks do not add up, so there is none.
    fn with_memory(self, memory: Self) -> Self {
        Self {
            limit: self.limit.saturating_add(memory.limit),
            usage: self.usage.saturating_add(memory.usage),
            max: 0,
            failcnt: 0,
        }
    }
}

impl Pids {
    fn read(cgroup: BorrowedFd<'_>) -> Result<Self> {
        if let Some(current) = single(cgroup, "pids.current")? {
            let limit = single(cgroup, "pids.max")?.filter(|limit| *limit != u64::MAX);
            return Ok(Self { current, limit: limit.unwrap_or(0) });
        }
        // Without the controller: those that are in the cgroup itself.
        let list = match optional(cgroup, "cgroup.procs")? {
            Some(list) => list,
            None => text(cgroup, "cgroup.threads")?, // a threaded cgroup
        };
        Ok(Self { current: list.lines().count() as u64, limit: 0 })
    }
}

impl Blkio {
    /// io.stat: `8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0`.
    fn parse(text: &str) -> Self {
        let mut blkio = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let device = words.next().and_then(|word| word.split_once(':'));
            let Some((Ok(major), Ok(minor))) = device.map(|(major, minor)| (major.parse(), minor.parse()))
            else {
                continue;
            };
            for (name, value) in words.filter_map(|word| word.split_once('=')) {
                let Ok(value) = value.parse() else { continue };
                let (list, op) = match name {
                    "rbytes" => (&mut blkio.io_service_bytes_recursive, "Read"),
                    "wbytes" => (&mut blkio.io_service_bytes_recursive, "Write"),
                    "rios" => (&mut blkio.io_serviced_recursive, "Read"),
                    "wios" => (&mut blkio.io_serviced_recursive, "Write"),
                    _ => continue, // cgroup v1 knows no more, and so do not those who read this
                };
                list.push(BlkioEntry { major, minor, op, value });
            }
        }
        blkio
    }
}

/// By size of page, as the files are named: `2MB`.
fn hugetlb(cgroup: BorrowedFd<'_>) -> Result<BTreeMap<String, Hugetlb>> {
    let mut sizes = BTreeMap::new();
    let failed = |call, errno| Error::from(file::failed(call, "\".\"", errno));
    for entry in Dir::read_from(cgroup).map_err(|errno| failed("open", errno))? {
        let entry = entry.map_err(|errno| failed("getdents64", errno))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let size = name.strip_prefix("hugetlb.").and_then(|rest| rest.strip_suffix(".current"));
        if let Some(size) = size.filter(|size| !size.contains('.')) {
            let usage = single(cgroup, &name)?.unwrap_or(0);
            let events = text(cgroup, &format!("hugetlb.{size}.events"))?;
            let failcnt = pairs(&events).find(|(name, _)| *name == "max").map_or(0, |(_, count)| count);
            sizes.insert(size.to_owned(), Hugetlb { usage, failcnt });
        }
    }
    Ok(sizes)
}

impl Pressure {
    /// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same of `full`.
    fn parse(text: &str) -> Self {
        let mut pressure = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let target = match words.next() {
                Some("some") => &mut pressure.some,
                Some("full") => &mut pressure.full,
                _ => continue,
            };
            for (name, value) in words.filter_map(|word| word.split_once('=')) {
                match name {
                    "avg10" => target.avg10 = value.parse().unwrap_or(0.0),
                    "avg60" => target.avg60 = value.parse().unwrap_or(0.0),
                    "avg300" => target.avg300 = value.parse().unwrap_or(0.0),
                    "total" => target.total = value.parse().unwrap_or(0),
                    _ => {}
                }
            }
        }
        pressure
    }
}

#[cfg(test)]
#[path = "stats_tests.rs"]
mod tests;
