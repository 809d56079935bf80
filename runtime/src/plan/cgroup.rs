//! `linux.resources` to the files of a cgroup v2, and where that cgroup is.
//!
//! Pure: what files the kernel has, and which controllers, is found out when the plan is carried out. Only
//! values are judged here. config-linux.md "Control groups" gives the fields, which are cgroup v1's;
//! Documentation/admin-guide/cgroup-v2.rst the files. As in runc, a limit of 0 is one that was not given.

mod cpu;
mod io;
mod memory;
mod owner;
mod place;
#[cfg(test)]
mod tests;
mod unified;
mod update;

use std::borrow::Cow;

use sys::bpf::Instruction;

use super::devices;
use crate::error::{Error, Kind, Result};
use crate::spec::{HugepageLimit, Network, Pids, Rdma, Resources};
pub use owner::owner;
pub use place::Place;
pub use update::{Update, update};

type Text = Cow<'static, str>;

/// All that is done to the container's cgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CgroupPlan {
    /// Files to write, in this order.
    pub writes: Vec<Write>,
    /// The device program; `None` where everything is allowed.
    pub devices: Option<Vec<Instruction>>,
    /// Whether the configuration has device rules of its own.
    pub device_rules: bool,
    /// Limits that are refused where more is in use already.
    pub check_usage: Option<CheckUsage>,
    /// What is not done because it means nothing on cgroup v2.
    pub warnings: Vec<String>,
}

/// One file of the cgroup and what is written to it, in one write(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The controller that owns the file; empty for the cgroup core.
    pub controller: Text,
    /// Name of the file.
    pub file: Text,
    /// What is written.
    pub value: String,
    /// The configuration's field, for errors.
    pub field: Text,
    /// What follows where the kernel does not have the file.
    pub otherwise: Otherwise,
}

/// What follows where the kernel does not have a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Otherwise {
    /// The limit cannot be honoured: an error.
    Fail,
    /// Nothing: what was asked for holds without the file.
    Skip,
    /// Another file says the same.
    Write {
        /// Name of the other file.
        file: Text,
        /// What is written there.
        value: String,
    },
}

/// `memory.checkBeforeUpdate`: the limits, in bytes, that present usage must not exceed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckUsage {
    /// Against memory.current.
    pub memory: Option<u64>,
    /// Against memory.swap.current.
    pub swap: Option<u64>,
}

impl CgroupPlan {
    /// Controllers that the writes need, each with the first field that needs it.
    pub fn controllers(&self) -> Vec<(&str, &str)> {
        let mut controllers: Vec<(&str, &str)> = Vec::new();
        for write in &self.writes {
            if !write.controller.is_empty() && !controllers.iter().any(|(name, _)| *name == write.controller)
            {
                controllers.push((&write.controller, &write.field));
            }
        }
        controllers
    }

    /// Adds a file without which the limit cannot be honoured.
    fn write(
        &mut self,
        controller: &'static str,
        file: impl Into<Text>,
        value: impl Into<String>,
        field: impl Into<Text>,
    ) {
        self.write_or(controller, file, value, field, Otherwise::Fail);
    }

    fn write_or(
        &mut self,
        controller: &'static str,
        file: impl Into<Text>,
        value: impl Into<String>,
        field: impl Into<Text>,
        otherwise: Otherwise,
    ) {
        self.writes.push(Write {
            controller: controller.into(),
            file: file.into(),
            value: value.into(),
            field: field.into(),
            otherwise,
        });
    }
}

/// The plan for these resources; without any there are still the default devices.
///
/// # Errors
/// A value out of range, or a limit that cgroup v2 does not have; the field is named.
pub fn plan(resources: Option<&Resources>) -> Result<CgroupPlan> {
    let Some(resources) = resources else {
        return Ok(CgroupPlan { devices: devices::program(&[])?, ..CgroupPlan::default() });
    };
    let devices = devices::program(&resources.devices)?;
    Ok(CgroupPlan { devices, device_rules: !resources.devices.is_empty(), ..limits(resources)? })
}

/// The plan for all but the devices.
fn limits(resources: &Resources) -> Result<CgroupPlan> {
    let mut plan = CgroupPlan::default();
    if let Some(cpu) = &resources.cpu {
        cpu::plan(&mut plan, cpu)?;
    }
    if let Some(Pids { limit: Some(limit) }) = resources.pids {
        pids(&mut plan, limit)?;
    }
    if let Some(block) = &resources.block_io {
        io::plan(&mut plan, block)?;
    }
    for (position, limit) in resources.hugepage_limits.iter().enumerate() {
        hugetlb(&mut plan, position, limit)?;
    }
    for (device, limit) in &resources.rdma {
        rdma(&mut plan, device, limit)?;
    }
    if let Some(network) = &resources.network {
        refuse_network(network)?;
    }
    // After all that can be refused: a limit below what is in use kills, which nothing undoes.
    if let Some(memory) = &resources.memory {
        memory::plan(&mut plan, memory)?;
    }
    // Last: what is named as the kernel names it has the last word.
    unified::plan(&mut plan, &resources.unified)?;
    Ok(plan)
}

/// An error of the configuration.
fn wrong(field: &str, why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Spec, format!("{field}: {why}"))
}

/// An error of a field that only cgroup v1 has.
fn only_v1(field: &str) -> Error {
    wrong(field, "cgroup v2 has no such limit")
}

/// `max` for -1, the number where it is one.
fn limit(field: &str, value: i64) -> Result<String> {
    match value {
        -1 => Ok("max".to_owned()),
        0.. => Ok(value.to_string()),
        _ => Err(wrong(field, format_args!("{value} is neither a number from 0 on nor -1 for no limit"))),
    }
}

fn pids(plan: &mut CgroupPlan, value: i64) -> Result<()> {
    const FIELD: &str = "linux.resources.pids.limit";
    // Not even the container's own init would be born below 0, and it counts: 1 denies any further one.
    let value = limit(FIELD, if value == 0 { 1 } else { value })?;
    plan.write("pids", "pids.max", value, FIELD);
    Ok(())
}

fn hugetlb(plan: &mut CgroupPlan, position: usize, limit: &HugepageLimit) -> Result<()> {
    let field = format!("linux.resources.hugepageLimits[{position}]");
    let size = limit.page_size.as_str();
    let digits = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit)).unwrap_or_default();
    if digits.is_empty() || digits.starts_with('0') || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong(
            &format!("{field}.pageSize"),
            format_args!("{size:?} is not a size such as \"2MB\""),
        ));
    }
    let value = limit.limit.to_string();
    plan.write("hugetlb", format!("hugetlb.{size}.max"), value.clone(), field.clone());
    // Reservations are counted apart since Linux 5.7; before, there was nothing to limit.
    plan.write_or("hugetlb", format!("hugetlb.{size}.rsvd.max"), value, field, Otherwise::Skip);
    Ok(())
}

fn rdma(plan: &mut CgroupPlan, device: &str, limit: &Rdma) -> Result<()> {
    let field = format!("linux.resources.rdma.{device}");
    if device.is_empty() || device.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(wrong("linux.resources.rdma", format_args!("{device:?} is not the name of a device")));
    }
    let mut value = device.to_owned();
    for (name, limit) in [("hca_handle", limit.hca_handles), ("hca_object", limit.hca_objects)] {
        if let Some(limit) = limit {
            value.push_str(&format!(" {name}={limit}"));
        }
    }
    if value.len() == device.len() {
        return Err(wrong(&field, "neither hcaHandles nor hcaObjects is given"));
    }
    plan.write("rdma", "rdma.max", value, field);
    Ok(())
}

fn refuse_network(network: &Network) -> Result<()> {
    if network.class_id.is_some_and(|class| class != 0) {
        return Err(only_v1("linux.resources.network.classID"));
    }
    if !network.priorities.is_empty() {
        return Err(only_v1("linux.resources.network.priorities"));
    }
    Ok(())
}
