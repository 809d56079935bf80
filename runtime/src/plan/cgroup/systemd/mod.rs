//! What systemd is asked for: a transient scope, its name, its place, its properties
//! (org.freedesktop.systemd1(5), systemd.scope(5), systemd.resource-control(5)).
//!
//! Pure. The limits come from the same [`CgroupPlan`] whose files are written afterwards: systemd has to know
//! them, since it writes its own values again when it reloads, and the files are exact where systemd rounds
//! or has no property at all.

mod annotation;
mod gvariant;
mod limits;
#[cfg(test)]
mod tests;
mod unit;

use std::borrow::Cow;

use super::CgroupPlan;
use crate::cgroup::dbus::Value;
use crate::error::Result;
use crate::plan::devices;
use crate::spec::Spec;
pub use limits::limits;
pub use unit::Unit;

/// A property of a unit.
pub type Property = (Cow<'static, str>, Value);

/// The scope of one container.
#[derive(Debug, Clone, PartialEq)]
pub struct ScopePlan {
    /// Its name and its slice.
    pub unit: Unit,
    description: String,
    annotations: Vec<Property>,
    devices: Vec<Property>,
}

/// The scope for container `id`; `user` says that a user's own manager makes it.
///
/// # Errors
/// Kind `Spec`: a `linux.cgroupsPath` that is not `slice:prefix:name`, a slice or an annotation that systemd
/// cannot have.
pub fn plan(spec: &Spec, id: &str, user: bool) -> Result<ScopePlan> {
    let rules = spec.linux.resources.as_ref().map_or(&[][..], |resources| &resources.devices);
    Ok(ScopePlan {
        unit: Unit::parse(&spec.linux.cgroups_path, id, user)?,
        description: format!("caisson container {id}"),
        annotations: annotation::properties(&spec.annotations)?,
        devices: device_properties(&devices::allow_list(rules)?),
    })
}

impl ScopePlan {
    /// All properties of the scope around process `pid`, for a systemd of this version.
    ///
    /// Of a property that is given twice systemd takes the last: annotations are stronger than what every
    /// container gets, and limits stronger than annotations, as in runc.
    pub fn properties(&self, pid: u32, limits: &CgroupPlan, version: u32) -> Vec<Property> {
        let pids = Value::Array("u".to_owned(), vec![Value::U32(pid)]);
        let yes = || Value::Bool(true);
        let mut properties: Vec<Property> = vec![
            ("Description".into(), Value::text(self.description.clone())),
            ("Slice".into(), Value::text(self.unit.slice.clone())),
            // The cgroups inside are the container's: systemd makes and changes none there.
            ("Delegate".into(), yes()),
            ("PIDs".into(), pids),
            ("MemoryAccounting".into(), yes()),
            ("CPUAccounting".into(), yes()),
            ("IOAccounting".into(), yes()),
            ("TasksAccounting".into(), yes()),
            // A shutdown stops containers through their engine, in its order.
            ("DefaultDependencies".into(), Value::Bool(false)),
            // A scope that failed (its container ran out of memory) is forgotten too.
            ("CollectMode".into(), Value::text("inactive-or-failed")),
        ];
        properties.extend(self.annotations.iter().cloned());
        properties.extend(self.devices.iter().cloned());
        properties.extend(limits::limits(limits, version));
        properties.extend(limits::at_start(limits, version));
        properties
    }
}

/// `DevicePolicy` and `DeviceAllow`: the list is emptied before it is filled.
fn device_properties(list: &devices::AllowList) -> Vec<Property> {
    const ENTRY: &str = "(ss)";
    let allow = |entries: Vec<Value>| Value::Array(ENTRY.to_owned(), entries);
    let empty = ("DeviceAllow".into(), allow(Vec::new()));
    match list {
        devices::AllowList::Everything => vec![("DevicePolicy".into(), Value::text("auto")), empty],
        devices::AllowList::Only(entries) => {
            let entries = entries
                .iter()
                .map(|entry| Value::Struct(vec![Value::text(entry.specifier()), Value::text(entry.access())]))
                .collect();
            vec![
                ("DevicePolicy".into(), Value::text("strict")),
                empty,
                ("DeviceAllow".into(), allow(entries)),
            ]
        }
    }
}
