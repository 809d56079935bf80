//! memory.

use super::{CgroupPlan, CheckUsage, Otherwise, limit, only_v1, wrong};
use crate::error::Result;
use crate::spec::Memory;

pub const LIMIT: &str = "linux.resources.memory.limit";
const SWAP: &str = "linux.resources.memory.swap";
const RESERVATION: &str = "linux.resources.memory.reservation";

pub fn plan(plan: &mut CgroupPlan, memory: &Memory) -> Result<()> {
    if memory.swappiness.is_some() {
        return Err(only_v1("linux.resources.memory.swappiness"));
    }
    if memory.disable_oom_killer == Some(true) {
        return Err(only_v1("linux.resources.memory.disableOOMKiller"));
    }
    for (value, field) in [(memory.kernel, "kernel"), (memory.kernel_tcp, "kernelTCP")] {
        if value.is_some_and(|value| value > 0) {
            let warning =
                format!("linux.resources.memory.{field}: cgroup v2 counts it in the limit of memory");
            plan.warnings.push(warning);
        }
    }
    if memory.use_hierarchy == Some(false) {
        plan.warnings
            .push("linux.resources.memory.useHierarchy: cgroup v2 is always hierarchical".to_owned());
    }
    let hard = memory.limit.filter(|limit| *limit != 0);
    let swap = swap(hard, memory.swap.filter(|swap| *swap != 0))?;
    if let Some(value) = &swap {
        // Without swap accounting nothing limits swap: no limit holds by itself. No swap at all is what
        // engines ask for by default, and runc and crun let it pass where there is nothing to account.
        let otherwise = if matches!(value.as_str(), "max" | "0") { Otherwise::Skip } else { Otherwise::Fail };
        plan.write_or("memory", "memory.swap.max", value.clone(), SWAP, otherwise);
    }
    if let Some(value) = hard {
        plan.write("memory", "memory.max", limit(LIMIT, value)?, LIMIT);
    }
    if let Some(value) = memory.reservation.filter(|value| *value != 0) {
        plan.write("memory", "memory.low", limit(RESERVATION, value)?, RESERVATION);
    }
    if memory.check_before_update == Some(true) {
        plan.check_usage = Some(CheckUsage {
            memory: hard.and_then(|limit| u64::try_from(limit).ok()),
            swap: swap.and_then(|value| value.parse().ok()),
        });
    }
    Ok(())
}

/// memory.swap.max, which is swap alone, from a limit of memory and swap together.
fn swap(hard: Option<i64>, swap: Option<i64>) -> Result<Option<String>> {
    match (hard, swap) {
        // As on cgroup v1, memory without a limit leaves swap without one.
        (_, Some(-1)) | (Some(-1), None) => Ok(Some("max".to_owned())),
        (_, None) => Ok(None),
        (_, Some(swap)) if swap < -1 => limit(SWAP, swap).map(Some),
        (Some(hard @ 1..), Some(swap)) if swap >= hard => Ok(Some((swap - hard).to_string())),
        (Some(hard @ 1..), Some(swap)) => {
            Err(wrong(SWAP, format_args!("{swap} is below {LIMIT}, {hard}, which it includes")))
        }
        (_, Some(swap)) => Err(wrong(SWAP, format_args!("{swap} includes memory, but {LIMIT} is not set"))),
    }
}
