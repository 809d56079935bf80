//! `unified`: files named as the kernel names them.

use std::collections::BTreeMap;

use super::{CgroupPlan, Otherwise, Write, wrong};
use crate::error::Result;

/// Whether a file that can be written limits something. The others move, stop and kill processes, which the
/// container's life hangs on, or do something at once and keep nothing (cgroup-v2.rst).
fn is_limit(name: &str, controller: &str) -> bool {
    match controller {
        "cgroup" => name.starts_with("cgroup.max."),
        _ => !name.ends_with(".pressure") && !matches!(name, "memory.reclaim" | "memory.peak"),
    }
}

pub fn plan(plan: &mut CgroupPlan, unified: &BTreeMap<String, String>) -> Result<()> {
    for (name, value) in unified {
        let field = format!("linux.resources.unified[{name:?}]");
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let controller = match name.split_once('.') {
            Some((controller, rest))
                if !controller.is_empty() && !rest.is_empty() && name.chars().all(plain) =>
            {
                controller
            }
            _ => {
                return Err(wrong(
                    &field,
                    "this is not the name of a cgroup v2 file, such as \"memory.high\"",
                ));
            }
        };
        if !is_limit(name, controller) {
            return Err(wrong(&field, "this file is not a limit"));
        }
        // Files such as io.max take one line with each write. An empty value resets, as by `echo`.
        let lines = value.lines().map(str::trim).filter(|line| !line.is_empty());
        let lines: Vec<&str> = if value.trim().is_empty() { vec!["\n"] } else { lines.collect() };
        for line in lines {
            plan.writes.push(Write {
                controller: if controller == "cgroup" { "".into() } else { controller.to_owned().into() },
                file: name.clone().into(),
                value: line.to_owned(),
                field: field.clone().into(),
                otherwise: Otherwise::Fail,
            });
        }
    }
    Ok(())
}
