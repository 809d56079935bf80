//! `linux.resources`: limits and devices, checked as Docker's daemon checks them. Pure.

use crate::bundle::defaults;
use crate::bundle::host::Host;
use crate::bundle::options::{Limits, Options};
use crate::bundle::spec::{BlockIo, Cpu, DeviceRule, Memory, Pids, Resources};
use crate::error::{Error, Result};

/// Docker's least limit of memory, in bytes.
const MEMORY_MIN: i64 = 6 << 20;
/// Nanoseconds of a second, and billionths of a processor.
const BILLION: i64 = 1_000_000_000;
/// Microseconds of a period where nobody says.
const PERIOD: i64 = 100_000;

/// Limits and rules of devices; None where there is none of both.
///
/// # Errors
/// A limit out of its range, in Docker's words.
pub fn resources(options: &Options, host: &Host) -> Result<Option<Resources>> {
    let resources =
        Resources { devices: device_rules(options, host), ..of_limits(&options.limits, host.cpus)? };
    let Resources { devices, memory, cpu, pids, block_io } = &resources;
    let has_none = devices.is_empty()
        && *memory == Memory::default()
        && *cpu == Cpu::default()
        && pids.is_none()
        && *block_io == BlockIo::default();
    Ok((!has_none).then_some(resources))
}

/// Limits alone, for a host with so many processors.
///
/// # Errors
/// As for [`resources`].
pub fn of_limits(limits: &Limits, cpus: u32) -> Result<Resources> {
    Ok(Resources {
        devices: Vec::new(),
        memory: memory(limits)?,
        cpu: cpu(limits, cpus)?,
        pids: limits.pids.map(|limit| Pids { limit: if limit <= 0 { -1 } else { limit } }),
        block_io: block_io(limits)?,
    })
}

/// In the order in which they count: Docker's, then the user's.
fn device_rules(options: &Options, host: &Host) -> Vec<DeviceRule> {
    // Nobody may make devices in a user namespace, and the rules would need a cgroup that is delegated.
    if host.user.is_some() {
        return options.device_rules.clone();
    }
    if options.privileged {
        return vec![DeviceRule {
            allow: true,
            kind: None,
            major: None,
            minor: None,
            access: "rwm".to_owned(),
        }];
    }
    let asked = options.devices.iter().map(|(device, access)| DeviceRule {
        allow: true,
        kind: Some(device.kind),
        major: Some(device.major),
        minor: Some(device.minor),
        access: access.clone(),
    });
    defaults::device_rules().into_iter().chain(asked).chain(options.device_rules.clone()).collect()
}

fn memory(limits: &Limits) -> Result<Memory> {
    let wrong = |words: &str| Err(Error::usage(words));
    let limit = limits.memory.filter(|limit| *limit != 0);
    let swap = limits.memory_swap.filter(|swap| *swap != 0);
    let reservation = limits.memory_reservation.filter(|reservation| *reservation != 0);
    if limit.is_some_and(|limit| limit < MEMORY_MIN) {
        return wrong("Minimum memory limit allowed is 6MB");
    }
    match (limit, swap) {
        (None, Some(swap)) if swap > 0 => {
            return wrong("You should always set the Memory limit when using Memoryswap limit, see usage");
        }
        (Some(limit), Some(swap)) if swap != -1 && swap < limit => {
            return wrong("Minimum memoryswap limit should be larger than memory limit, see usage");
        }
        _ => {}
    }
    match (limit, reservation) {
        (_, Some(reservation)) if reservation < MEMORY_MIN => {
            return wrong("Minimum memory reservation allowed is 6MB");
        }
        (Some(limit), Some(reservation)) if limit < reservation => {
            return wrong("Minimum memory limit can not be less than memory reservation limit, see usage");
        }
        _ => {}
    }
    // As much swap as memory, where nobody says.
    let swap = swap.or(limit.map(|limit| limit.saturating_mul(2)));
    Ok(Memory { limit, reservation, swap })
}

fn cpu(limits: &Limits, cpus: u32) -> Result<Cpu> {
    let wrong = |words: &str| Err(Error::usage(words));
    let nano = limits.nano_cpus.filter(|nano| *nano != 0);
    let period = limits.cpu_period.filter(|period| *period != 0);
    let quota = limits.cpu_quota.filter(|quota| *quota != 0);
    if nano.is_some() && period.is_some() {
        return wrong("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    }
    if nano.is_some() && quota.is_some() {
        return wrong("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    }
    if nano.is_some_and(|nano| nano < BILLION / 100 || nano > i64::from(cpus) * BILLION) {
        return wrong(&format!(
            "Range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        ));
    }
    if period.is_some_and(|period| !(1000..=1_000_000).contains(&period)) {
        return wrong("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
    }
    if quota.is_some_and(|quota| (0..1000).contains(&quota)) {
        return wrong("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    for (name, list) in [("cpus", &limits.cpuset_cpus), ("mems", &limits.cpuset_mems)] {
        if let Some(list) = list.as_deref().filter(|list| !is_list(list)) {
            return wrong(&format!("Invalid value {list} for cpuset {name}"));
        }
    }
    let (period, quota) = match nano {
        Some(nano) => (Some(PERIOD), Some(nano / (BILLION / PERIOD))),
        None => (period, quota),
    };
    let set = |list: &Option<String>| list.clone().filter(|list| !list.is_empty());
    Ok(Cpu {
        shares: limits.cpu_shares.filter(|shares| *shares != 0),
        quota,
        period: period.and_then(|period| u64::try_from(period).ok()),
        cpus: set(&limits.cpuset_cpus),
        mems: set(&limits.cpuset_mems),
    })
}

/// Numbers and ranges of them: `0-3,7`; nothing is a list too.
fn is_list(list: &str) -> bool {
    let number = |text: &str| -> Option<u32> {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    };
    list.is_empty()
        || list.split(',').all(|part| match part.split_once('-') {
            Some((first, last)) => matches!((number(first), number(last)), (Some(a), Some(b)) if a <= b),
            None => number(part).is_some(),
        })
}

fn block_io(limits: &Limits) -> Result<BlockIo> {
    let weight = limits.blkio_weight.filter(|weight| *weight != 0);
    if weight.is_some_and(|weight| !(10..=1000).contains(&weight)) {
        return Err(Error::usage("Range of blkio weight is from 10 to 1000"));
    }
    let devices = &limits.blkio_weight_device;
    if devices.iter().any(|device| device.weight != 0 && !(10..=1000).contains(&device.weight)) {
        return Err(Error::usage("Range of blkio weight is from 10 to 1000"));
    }
    Ok(BlockIo {
        weight,
        weight_device: devices.clone(),
        throttle_read_bps_device: limits.read_bps.clone(),
        throttle_write_bps_device: limits.write_bps.clone(),
        throttle_read_iops_device: limits.read_iops.clone(),
        throttle_write_iops_device: limits.write_iops.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(limits: Limits) -> String {
        let options = Options { limits, ..Options::default() };
        resources(&options, &Host { cpus: 2, ..Host::plain() }).unwrap_err().to_string()
    }

    fn given(limits: Limits) -> Resources {
        let options = Options { limits, ..Options::default() };
        resources(&options, &Host { cpus: 2, ..Host::plain() }).unwrap().unwrap()
    }

    #[test]
    fn memory_is_limited_as_docker_does() {
        let none = Limits::default;
        let mib = 1 << 20;
        let memory = |limits| given(limits).memory;
        let of = |limit, reservation, swap| Memory { limit, reservation, swap };
        let limits = Limits { memory: Some(64 * mib), ..none() };
        assert_eq!(memory(limits.clone()), of(Some(64 * mib), None, Some(128 * mib)));
        let swap = Limits { memory_swap: Some(-1), ..limits.clone() };
        assert_eq!(memory(swap), of(Some(64 * mib), None, Some(-1)));
        let soft = Limits { memory_reservation: Some(8 * mib), ..none() };
        assert_eq!(memory(soft), of(None, Some(8 * mib), None));
        for (limits, words) in [
            (Limits { memory: Some(mib), ..none() }, "limit allowed is 6MB"),
            (Limits { memory_swap: Some(mib), ..none() }, "always set the Memory limit"),
            (Limits { memory_swap: Some(mib), ..limits.clone() }, "should be larger than memory limit"),
            (Limits { memory_reservation: Some(1), ..none() }, "reservation allowed is 6MB"),
            (
                Limits { memory_reservation: Some(65 * mib), ..limits },
                "can not be less than memory reservation",
            ),
        ] {
            assert!(refused(limits).contains(words), "{words}");
        }
    }

    #[test]
    fn processors_are_limited_as_docker_does() {
        let none = Limits::default;
        let cpu = given(Limits { nano_cpus: Some(1_500_000_000), cpu_shares: Some(512), ..none() }).cpu;
        assert_eq!((cpu.period, cpu.quota, cpu.shares), (Some(100_000), Some(150_000), Some(512)));
        let cpu = given(Limits { cpu_quota: Some(-1), cpuset_cpus: Some("0-1,7".into()), ..none() }).cpu;
        assert_eq!((cpu.period, cpu.quota, cpu.cpus.as_deref()), (None, Some(-1), Some("0-1,7")));
        for (limits, words) in [
            (Limits { nano_cpus: Some(1), ..none() }, "from 0.01 to 2.00"),
            (Limits { nano_cpus: Some(2_000_000_001), ..none() }, "there are only 2 CPUs"),
            (Limits { nano_cpus: Some(BILLION), cpu_quota: Some(5000), ..none() }, "Nano CPUs and CPU Quota"),
            (
                Limits { nano_cpus: Some(BILLION), cpu_period: Some(5000), ..none() },
                "Nano CPUs and CPU Period",
            ),
            (Limits { cpu_period: Some(999), ..none() }, "cfs period"),
            (Limits { cpu_quota: Some(999), ..none() }, "cfs quota"),
            (Limits { cpuset_cpus: Some("3-1".into()), ..none() }, "Invalid value 3-1 for cpuset cpus"),
            (Limits { cpuset_mems: Some("a".into()), ..none() }, "Invalid value a for cpuset mems"),
            (Limits { blkio_weight: Some(9), ..none() }, "Range of blkio weight"),
        ] {
            assert!(refused(limits).contains(words), "{words}");
        }
    }

    #[test]
    fn rules_of_devices_are_dockers_then_the_users() {
        let rule =
            DeviceRule { allow: true, kind: Some('c'), major: Some(42), minor: None, access: "rmw".into() };
        let options = Options { device_rules: vec![rule.clone()], ..Options::default() };
        let rules = |options: &Options| resources(options, &Host::plain()).unwrap().unwrap().devices;
        assert_eq!((rules(&options).len(), rules(&options).last()), (9, Some(&rule)));
        let first = &rules(&options)[0];
        assert_eq!((first.allow, first.kind, first.access.as_str()), (false, None, "rwm"));
        let privileged = rules(&Options { privileged: true, ..options });
        assert_eq!((privileged.len(), privileged[0].allow), (1, true));
        assert_eq!(given(Limits { pids: Some(0), ..Limits::default() }).pids, Some(Pids { limit: -1 }));
    }
}
