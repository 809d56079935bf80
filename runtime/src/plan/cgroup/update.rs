//! What `update` writes: what was given, together with what hangs on it.
//!
//! Some files take two fields at once (cpu.max, memory.swap.max), and one field changes another's file (idle).
//! There the values that the container has already, its record's, stand in for those that were not given. No
//! other file is written: what somebody else has changed in the meantime stays.

use std::collections::BTreeMap;

use super::{CgroupPlan, limits, memory};
use crate::error::Result;
use crate::spec::{BlockIo, Cpu, Memory, Pids, Rdma, Resources, ThrottleDevice, WeightDevice};

/// A change of a container's limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Files to write. Devices are none of `update`'s, as in runc.
    pub plan: CgroupPlan,
    /// What the container has afterwards, for its record.
    pub resources: Resources,
}

/// The change that `given` makes to a container that has `present`.
///
/// # Errors
/// As [`super::plan`]: values out of range, alone or together with those that are there.
pub fn update(present: Option<&Resources>, given: &Resources) -> Result<Update> {
    let resources = merge(present.cloned().unwrap_or_default(), given);
    let mut effective = given.clone();
    if let (Some(cpu), Some(merged)) = (&mut effective.cpu, &resources.cpu) {
        complete_cpu(cpu, merged);
    }
    let mut only_swap = false;
    if let (Some(memory), Some(merged)) = (&mut effective.memory, &resources.memory) {
        only_swap = number(memory.limit).is_none();
        complete_memory(memory, merged);
    }
    let mut plan = limits(&effective)?;
    if only_swap {
        plan.writes.retain(|write| write.field != memory::LIMIT);
        plan.check_usage.iter_mut().for_each(|check| check.memory = None);
    }
    Ok(Update { plan, resources })
}

/// As everywhere, a 0 is a number that was not given.
fn number<T: Copy + Default + PartialEq>(given: Option<T>) -> Option<T> {
    given.filter(|value| *value != T::default())
}

/// quota and period share a file; idle and shares exclude each other.
fn complete_cpu(cpu: &mut Cpu, merged: &Cpu) {
    if number(cpu.quota).is_some() || number(cpu.period).is_some() {
        (cpu.quota, cpu.period) = (merged.quota, merged.period);
    }
    if merged.idle == Some(1) {
        cpu.shares = None; // the kernel takes no weight meanwhile; it is written when idle ends
    } else if cpu.idle == Some(0) {
        cpu.shares = merged.shares; // the kernel has forgotten the weight
    }
}

/// swap includes memory, memory.swap.max does not.
fn complete_memory(memory: &mut Memory, merged: &Memory) {
    if number(memory.limit).is_some() || number(memory.swap).is_some() {
        (memory.limit, memory.swap) = (merged.limit, merged.swap);
    }
    memory.check_before_update = merged.check_before_update;
}

/// What the container has, with what is given in its place.
fn merge(mut present: Resources, given: &Resources) -> Resources {
    if let Some(cpu) = &given.cpu {
        merge_cpu(present.cpu.get_or_insert_default(), cpu);
    }
    if let Some(memory) = &given.memory {
        merge_memory(present.memory.get_or_insert_default(), memory);
    }
    if let Some(Pids { limit: Some(limit) }) = given.pids {
        present.pids = Some(Pids { limit: Some(limit) });
    }
    if let Some(block) = &given.block_io {
        merge_block(present.block_io.get_or_insert_default(), block);
    }
    for limit in &given.hugepage_limits {
        replace(&mut present.hugepage_limits, limit, |a, b| a.page_size == b.page_size);
    }
    merge_rdma(&mut present.rdma, &given.rdma);
    present.unified.extend(given.unified.clone());
    present
}

/// Takes over what is given.
fn take<T: Copy>(present: &mut Option<T>, given: Option<T>) {
    *present = given.or(*present);
}

fn merge_cpu(present: &mut Cpu, given: &Cpu) {
    take(&mut present.shares, number(given.shares));
    take(&mut present.quota, number(given.quota));
    take(&mut present.period, number(given.period));
    take(&mut present.burst, given.burst);
    take(&mut present.idle, given.idle);
    for (present, given) in [(&mut present.cpus, &given.cpus), (&mut present.mems, &given.mems)] {
        if !given.trim().is_empty() {
            present.clone_from(given);
        }
    }
}

fn merge_memory(present: &mut Memory, given: &Memory) {
    let limit = number(given.limit);
    take(&mut present.limit, limit);
    take(&mut present.reservation, number(given.reservation));
    // As on cgroup v1, memory without a limit leaves swap without one.
    take(&mut present.swap, number(given.swap).or(limit.filter(|limit| *limit == -1)));
    take(&mut present.check_before_update, given.check_before_update);
}

fn merge_block(present: &mut BlockIo, given: &BlockIo) {
    take(&mut present.weight, number(given.weight));
    for device in &given.weight_device {
        let same = |a: &WeightDevice, b: &WeightDevice| (a.major, a.minor) == (b.major, b.minor);
        replace(&mut present.weight_device, device, same);
    }
    for (present, given) in [
        (&mut present.throttle_read_bps_device, &given.throttle_read_bps_device),
        (&mut present.throttle_write_bps_device, &given.throttle_write_bps_device),
        (&mut present.throttle_read_iops_device, &given.throttle_read_iops_device),
        (&mut present.throttle_write_iops_device, &given.throttle_write_iops_device),
    ] {
        for device in given {
            let same = |a: &ThrottleDevice, b: &ThrottleDevice| (a.major, a.minor) == (b.major, b.minor);
            replace(present, device, same);
        }
    }
}

fn merge_rdma(present: &mut BTreeMap<String, Rdma>, given: &BTreeMap<String, Rdma>) {
    for (device, limit) in given {
        let entry = present.entry(device.clone()).or_default();
        take(&mut entry.hca_handles, limit.hca_handles);
        take(&mut entry.hca_objects, limit.hca_objects);
    }
}

/// The entry in the place of the one that is `same`, or at the end.
fn replace<T: Clone>(list: &mut Vec<T>, given: &T, same: impl Fn(&T, &T) -> bool) {
    match list.iter_mut().find(|entry| same(entry, given)) {
        Some(entry) => *entry = given.clone(),
        None => list.push(given.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(json: &str) -> Resources {
        serde_json::from_str(json).unwrap()
    }

    fn changed(present: &str, given: &str) -> Update {
        update(Some(&resources(present)), &resources(given)).unwrap()
    }

    /// The writes as `file=value`.
    fn lines(update: &Update) -> Vec<String> {
        update.plan.writes.iter().map(|write| format!("{}={}", write.file, write.value)).collect()
    }

    #[test]
    fn only_what_is_given_is_written_with_what_hangs_on_it() {
        let cases: &[(&str, &str, &[&str])] = &[
            ("{}", "{}", &[]),
            (r#"{"cpu":{"shares":512},"pids":{"limit":5}}"#, "{}", &[]),
            (r#"{"cpu":{"shares":512}}"#, r#"{"pids":{"limit":7}}"#, &["pids.max=7"]),
            ("{}", r#"{"pids":{"limit":-1}}"#, &["pids.max=max"]),
            // The same value again: somebody else may have changed the file.
            (r#"{"pids":{"limit":7}}"#, r#"{"pids":{"limit":7}}"#, &["pids.max=7"]),
            (r#"{"cpu":{"quota":50000}}"#, r#"{"cpu":{"period":20000}}"#, &["cpu.max=50000 20000"]),
            (r#"{"cpu":{"period":20000}}"#, r#"{"cpu":{"quota":5000}}"#, &["cpu.max=5000 20000"]),
            (r#"{"cpu":{"quota":9,"period":20000}}"#, r#"{"cpu":{"quota":-1}}"#, &["cpu.max=max 20000"]),
            ("{}", r#"{"cpu":{"quota":5000}}"#, &["cpu.max=5000"]),
            (
                r#"{"cpu":{"quota":5000}}"#,
                r#"{"cpu":{"shares":1024,"quota":0,"period":0}}"#,
                &["cpu.weight=100"],
            ),
            (r#"{"cpu":{"quota":5000}}"#, r#"{"cpu":{"cpus":"0-1"}}"#, &["cpuset.cpus=0-1"]),
            (r#"{"cpu":{"shares":1024}}"#, r#"{"cpu":{"idle":1}}"#, &["cpu.idle=1"]),
            (r#"{"cpu":{"idle":1}}"#, r#"{"cpu":{"shares":1024}}"#, &[]),
            (
                r#"{"cpu":{"idle":1,"shares":1024}}"#,
                r#"{"cpu":{"idle":0}}"#,
                &["cpu.idle=0", "cpu.weight=100"],
            ),
            (
                r#"{"memory":{"limit":8192,"swap":12288}}"#,
                r#"{"memory":{"limit":4096}}"#,
                &["memory.swap.max=8192", "memory.max=4096"],
            ),
            (r#"{"memory":{"limit":8192}}"#, r#"{"memory":{"swap":12288}}"#, &["memory.swap.max=4096"]),
            (r#"{"memory":{"limit":8192}}"#, r#"{"memory":{"limit":4096}}"#, &["memory.max=4096"]),
            (r#"{"memory":{"limit":8192}}"#, r#"{"memory":{"reservation":4096}}"#, &["memory.low=4096"]),
            (
                r#"{"memory":{"limit":8192,"swap":12288}}"#,
                r#"{"memory":{"limit":-1}}"#,
                &["memory.swap.max=max", "memory.max=max"],
            ),
            (r#"{"memory":{"limit":8192}}"#, r#"{"memory":{"limit":0,"swap":0,"reservation":0}}"#, &[]),
            (
                r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1}]}}"#,
                r#"{"blockIO":{"throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":2}]}}"#,
                &["io.max=8:0 wbps=2"],
            ),
            // The one that kills is written after those that may be refused, but what is named as the kernel
            // names it has the last word.
            (
                "{}",
                r#"{"memory":{"limit":4096},"blockIO":{"weight":10},"pids":{"limit":1},"unified":{"memory.high":"1"}}"#,
                &["pids.max=1", "io.bfq.weight=10", "memory.max=4096", "memory.high=1"],
            ),
        ];
        for (present, given, wanted) in cases {
            assert_eq!(lines(&changed(present, given)), *wanted, "{present} {given}");
        }
        assert_eq!(lines(&update(None, &resources(r#"{"pids":{"limit":7}}"#)).unwrap()), ["pids.max=7"]);
    }

    #[test]
    fn the_record_gets_what_is_given_in_the_place_of_what_was_there() {
        let device = |rate: u64| format!(r#"{{"major":8,"minor":0,"rate":{rate}}}"#);
        let (slow, fast) = (device(1), device(2));
        let cases = [
            (r#"{"pids":{"limit":5}}"#, r#"{"pids":{}}"#, r#"{"pids":{"limit":5}}"#),
            (r#"{"pids":{"limit":5}}"#, r#"{"pids":{"limit":0}}"#, r#"{"pids":{"limit":0}}"#),
            (
                r#"{"cpu":{"shares":2,"quota":3,"cpus":"0","burst":7}}"#,
                r#"{"cpu":{"shares":0,"quota":4,"cpus":" ","mems":"1","burst":0}}"#,
                r#"{"cpu":{"shares":2,"quota":4,"cpus":"0","mems":"1","burst":0}}"#,
            ),
            (
                r#"{"memory":{"limit":8192,"swap":12288,"checkBeforeUpdate":true}}"#,
                r#"{"memory":{"limit":-1}}"#,
                r#"{"memory":{"limit":-1,"swap":-1,"checkBeforeUpdate":true}}"#,
            ),
            (
                &format!(r#"{{"blockIO":{{"weight":10,"throttleReadBpsDevice":[{slow}]}}}}"#),
                &format!(
                    r#"{{"blockIO":{{"throttleReadBpsDevice":[{fast}],"throttleWriteBpsDevice":[{slow}]}}}}"#
                ),
                &format!(
                    r#"{{"blockIO":{{"weight":10,"throttleReadBpsDevice":[{fast}],"throttleWriteBpsDevice":[{slow}]}}}}"#
                ),
            ),
            (
                r#"{"hugepageLimits":[{"pageSize":"2MB","limit":1}]}"#,
                r#"{"hugepageLimits":[{"pageSize":"1GB","limit":2},{"pageSize":"2MB","limit":3}]}"#,
                r#"{"hugepageLimits":[{"pageSize":"2MB","limit":3},{"pageSize":"1GB","limit":2}]}"#,
            ),
            (
                r#"{"rdma":{"a":{"hcaHandles":1}},"unified":{"memory.high":"1","pids.max":"2"}}"#,
                r#"{"rdma":{"a":{"hcaObjects":2}},"unified":{"memory.high":"3"}}"#,
                r#"{"rdma":{"a":{"hcaHandles":1,"hcaObjects":2}},"unified":{"memory.high":"3","pids.max":"2"}}"#,
            ),
        ];
        for (present, given, wanted) in cases {
            assert_eq!(changed(present, given).resources, resources(wanted), "{present} {given}");
        }
    }

    #[test]
    fn devices_are_left_as_they_are() {
        let devices = r#"{"devices":[{"allow":false}]}"#;
        let update = changed("{}", devices);
        assert_eq!((update.plan, update.resources), (CgroupPlan::default(), Resources::default()));
    }

    #[test]
    fn usage_is_checked_against_the_limits_that_change() {
        let check = |present, given| changed(present, given).plan.check_usage.map(|c| (c.memory, c.swap));
        let checked = r#"{"memory":{"limit":8192,"swap":12288,"checkBeforeUpdate":true}}"#;
        assert_eq!(check(checked, r#"{"memory":{"limit":4096}}"#), Some((Some(4096), Some(8192))));
        assert_eq!(check(checked, r#"{"memory":{"swap":9000}}"#), Some((None, Some(808))));
        assert_eq!(check(checked, r#"{"memory":{"reservation":9000}}"#), Some((None, None)));
        assert_eq!(check(checked, r#"{"memory":{"limit":1,"checkBeforeUpdate":false}}"#), None);
        assert_eq!(check(checked, r#"{"pids":{"limit":1}}"#), None);
        let asked = r#"{"memory":{"limit":4096,"checkBeforeUpdate":true}}"#;
        assert_eq!(check("{}", asked), Some((Some(4096), None)));
    }

    #[test]
    fn limits_that_do_not_go_together_are_named_with_the_present_one() {
        let refused =
            |present, given| update(Some(&resources(present)), &resources(given)).unwrap_err().to_string();
        assert_eq!(
            refused(r#"{"memory":{"limit":4096,"swap":8192}}"#, r#"{"memory":{"limit":16384}}"#),
            "linux.resources.memory.swap: 8192 is below linux.resources.memory.limit, 16384, which it includes"
        );
        assert_eq!(
            refused("{}", r#"{"memory":{"swap":8192}}"#),
            "linux.resources.memory.swap: 8192 includes memory, but linux.resources.memory.limit is not set"
        );
        assert_eq!(
            refused("{}", r#"{"cpu":{"realtimePeriod":1}}"#),
            "linux.resources.cpu.realtimePeriod: cgroup v2 has no such limit"
        );
    }

    #[test]
    fn what_a_record_keeps_reads_back_without_devices() {
        let text = r#"{"devices":[{"allow":false}],"memory":{"limit":1,"swap":2},"cpu":{"cpus":"0","idle":1},
            "pids":{"limit":3},"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":10}]},
            "hugepageLimits":[{"pageSize":"2MB","limit":18446744073709551615}],"network":{"classID":1},
            "rdma":{"a":{"hcaHandles":1}},"unified":{"memory.high":"3"}}"#;
        let mut kept = resources(text);
        let written = serde_json::to_string(&kept).unwrap();
        kept.devices.clear();
        assert_eq!(resources(&written), kept, "{written}");
        assert_eq!(serde_json::to_string(&Resources::default()).unwrap(), "{}");
    }
}
