//! cpu and cpuset.

use super::{CgroupPlan, Otherwise, only_v1, wrong};
use crate::error::Result;
use crate::spec::Cpu;

pub fn plan(plan: &mut CgroupPlan, cpu: &Cpu) -> Result<()> {
    if cpu.realtime_runtime.is_some_and(|runtime| runtime != 0) {
        return Err(only_v1("linux.resources.cpu.realtimeRuntime"));
    }
    if cpu.realtime_period.is_some_and(|period| period != 0) {
        return Err(only_v1("linux.resources.cpu.realtimePeriod"));
    }
    // The kernel refuses a weight while the cgroup is idle: idle goes off before it and on after it.
    if cpu.idle == Some(0) {
        idle(plan, 0)?;
    }
    if let Some(shares) = cpu.shares.filter(|shares| *shares != 0) {
        plan.write("cpu", "cpu.weight", weight(shares).to_string(), "linux.resources.cpu.shares");
    }
    if let Some(value) = cpu.idle.filter(|idle| *idle != 0) {
        idle(plan, value)?;
    }
    bandwidth(plan, cpu);
    for (file, value, field) in [
        ("cpuset.cpus", &cpu.cpus, "linux.resources.cpu.cpus"),
        ("cpuset.mems", &cpu.mems, "linux.resources.cpu.mems"),
    ] {
        match value.trim() {
            "" => {}
            list => plan.write("cpuset", file, list, field),
        }
    }
    Ok(())
}

fn idle(plan: &mut CgroupPlan, value: i64) -> Result<()> {
    const FIELD: &str = "linux.resources.cpu.idle";
    match value {
        // Before Linux 5.15 nothing is ever idle.
        0 => plan.write_or("cpu", "cpu.idle", "0", FIELD, Otherwise::Skip),
        1 => plan.write("cpu", "cpu.idle", "1", FIELD),
        other => return Err(wrong(FIELD, format_args!("{other} is neither 0 nor 1"))),
    }
    Ok(())
}

/// cpu.max and cpu.max.burst, in this order: a burst may not exceed the quota.
fn bandwidth(plan: &mut CgroupPlan, cpu: &Cpu) {
    let quota = cpu.quota.filter(|quota| *quota != 0);
    let period = cpu.period.filter(|period| *period != 0);
    if quota.is_some() || period.is_some() {
        let mut value = match quota {
            Some(quota @ 1..) => quota.to_string(),
            _ => "max".to_owned(),
        };
        // Without a period the kernel keeps the one it has, 100000 in a new cgroup.
        if let Some(period) = period {
            value.push_str(&format!(" {period}"));
        }
        let field = if quota.is_some() { "linux.resources.cpu.quota" } else { "linux.resources.cpu.period" };
        plan.write("cpu", "cpu.max", value, field);
    }
    if let Some(burst) = cpu.burst {
        // Before Linux 5.14 there is never a burst.
        let otherwise = if burst == 0 { Otherwise::Skip } else { Otherwise::Fail };
        plan.write_or("cpu", "cpu.max.burst", burst.to_string(), "linux.resources.cpu.burst", otherwise);
    }
}

/// cgroup v1's shares (2 to 262144, normally 1024) as cgroup v2's weight (1 to 10000, normally 100).
///
/// The curve of runc 1.3.2 and crun 1.24 meets both ends and the middle:
/// 10^((l² + 125 l) / 612 − 7 / 34) where l is log2(shares), rounded up.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
pub fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let l = (shares as f64).log2();
            let weight = 10_f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0);
            // Whole numbers come out of powf a hair too large or too small.
            (weight - 1e-9).ceil() as u64 // 2 to 10000 here
        }
    }
}
