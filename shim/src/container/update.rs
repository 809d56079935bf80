//! `update`: other limits, and another restart policy, for a container that is there.
//!
//! In this order, under its lock of operations: what is asked for is checked whole; the runtime changes what is in force, if the
//! container runs, and refuses all or nothing; then the document for the next start, then the record.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::bundle::options::Limits;
use crate::bundle::resources;
use crate::bundle::spec::Resources;
use crate::container::create::{DOCUMENT, PLAIN_DOCUMENT};
use crate::container::host_config::{HostConfig, RestartPolicy};
use crate::container::limits::{self, Controllers};
use crate::container::state::Status;
use crate::container::store::Containers;
use crate::container::{self, ContainerId, attend, configure, document};
use crate::error::{Context, Error, Result};
use crate::event;
use crate::rootless;
use crate::store::record;

/// What is to be another.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Limits; what is none stays as it is.
    pub limits: Limits,
    /// The restart policy.
    pub restart: Option<RestartPolicy>,
}

/// Changes a container; warnings of what this host cannot limit. `cpus` is how many processors the host has.
///
/// # Errors
/// No such container; limits that contradict each other or those that there are, in Docker's words; what the runtime says.
pub fn update(containers: &Containers, id: &ContainerId, wanted: &Wanted, cpus: u32) -> Result<Vec<String>> {
    let cannot = || format!("Cannot update container {id}");
    let _lock = containers.operation(id)?;
    let found = attend::attend(containers, id)?.ok_or_else(|| container::missing(id))?;
    let (container, state) = (found.container, found.state);
    if matches!(state.status, Status::Removing | Status::Dead) {
        return Err(Error::conflict("Container is marked for removal and cannot be \"update\"."))
            .during(cannot);
    }
    if wanted.restart.is_some() && container.host_config.auto_remove {
        let reason = "Restart policy cannot be updated because AutoRemove is enabled for the container";
        return Err(Error::conflict(reason)).during(cannot);
    }
    let mut asked = wanted.limits.clone();
    // What contradicts itself does so too where it would be left out.
    let known = Some(container.host_config.memory);
    let limits = Limits { memory: asked.memory.or(known), ..asked.clone() };
    resources::of_limits(&limits, cpus).during(cannot)?;
    // What an ordinary user may limit, nobody has delegated to him.
    let controllers =
        if rootless::is_in_user_namespace() { Controllers::default() } else { Controllers::read() };
    let warnings =
        if asked == Limits::default() { Vec::new() } else { limits::discard(&mut asked, controllers) };
    let merged = merge(&container.host_config, &asked).during(cannot)?;
    let all = resources::of_limits(&merged, cpus).during(cannot)?;
    let changes = asked != Limits::default();
    if changes && state.status.has_process() {
        let file = containers.state_folder(id).join("resources.json");
        record::write_fast(&file, &all).during(cannot)?;
        let runtime = containers.runtime(&container);
        let words = ["update".as_ref(), "--resources".as_ref(), file.as_os_str(), id.as_str().as_ref()];
        let updated = runtime.call(&words);
        let _ = std::fs::remove_file(&file);
        updated.during(cannot)?;
    }
    if changes {
        // Where each start makes the document anew (devices by CDI), what it is made of first.
        for name in [PLAIN_DOCUMENT, DOCUMENT] {
            let path = containers.folder(id).join(name);
            if path.exists() {
                rewrite(&path, &all).during(cannot)?;
            }
        }
    }
    containers
        .update(id, |container| {
            if changes {
                tell(&mut container.host_config, &merged);
            }
            if let Some(restart) = &wanted.restart {
                container.host_config.restart_policy = restart.clone();
            }
        })
        .during(cannot)?;
    event::emit(containers.state_root(), "update", &container, &[]);
    Ok(warnings)
}

/// Without what nobody can change, which stays as it is.
fn tell(host_config: &mut HostConfig, limits: &Limits) {
    let mut told = HostConfig::default();
    configure::tell_limits(&mut told, limits);
    host_config.memory = told.memory;
    host_config.memory_reservation = told.memory_reservation;
    host_config.memory_swap = told.memory_swap;
    host_config.nano_cpus = told.nano_cpus;
    host_config.cpu_shares = told.cpu_shares;
    host_config.cpu_period = told.cpu_period;
    host_config.cpu_quota = told.cpu_quota;
    host_config.cpuset_cpus = told.cpuset_cpus;
    host_config.cpuset_mems = told.cpuset_mems;
    host_config.pids_limit = told.pids_limit;
    host_config.blkio_weight = told.blkio_weight;
}

/// The limits that there are, and those that are asked for.
fn merge(now: &HostConfig, asked: &Limits) -> Result<Limits> {
    let some = |value: i64| Some(value).filter(|value| *value != 0);
    let given = |value: Option<i64>| value.filter(|value| *value != 0);
    let conflict = |words: &str| Err(Error::conflict(words));
    if let Some(memory) = given(asked.memory)
        && given(asked.memory_swap).is_none()
        && now.memory_swap != -1
        && memory > now.memory_swap
    {
        return conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        );
    }
    if given(asked.nano_cpus).is_some() {
        if now.cpu_period > 0 {
            return conflict(
                "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
            );
        }
        if now.cpu_quota > 0 {
            return conflict(
                "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set",
            );
        }
    }
    if now.nano_cpus > 0 {
        if given(asked.cpu_period).is_some() {
            return conflict(
                "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
            );
        }
        if given(asked.cpu_quota).is_some() {
            return conflict(
                "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
            );
        }
    }
    let list = |asked: &Option<String>, now: &str| {
        asked
            .clone()
            .filter(|list| !list.is_empty())
            .or_else(|| Some(now.to_owned()))
            .filter(|list| !list.is_empty())
    };
    let shares = asked.cpu_shares.filter(|shares| *shares != 0);
    let weight = asked.blkio_weight.filter(|weight| *weight != 0);
    Ok(Limits {
        memory: given(asked.memory).or(some(now.memory)),
        memory_swap: given(asked.memory_swap).or(some(now.memory_swap)),
        memory_reservation: given(asked.memory_reservation).or(some(now.memory_reservation)),
        nano_cpus: given(asked.nano_cpus).or(some(now.nano_cpus)),
        cpu_shares: shares.or(u64::try_from(now.cpu_shares).ok().filter(|shares| *shares != 0)),
        cpu_period: given(asked.cpu_period).or(some(now.cpu_period)),
        cpu_quota: given(asked.cpu_quota).or(some(now.cpu_quota)),
        cpuset_cpus: list(&asked.cpuset_cpus, &now.cpuset_cpus),
        cpuset_mems: list(&asked.cpuset_mems, &now.cpuset_mems),
        pids: given(asked.pids).or(now.pids_limit),
        blkio_weight: weight.or(Some(now.blkio_weight).filter(|weight| *weight != 0)),
        ..Limits::default()
    })
}

/// Puts limits into a document; its devices, and limits of single devices, stay.
fn rewrite(path: &Path, resources: &Resources) -> Result<()> {
    let words = || format!("read {path:?}");
    let wrong = |reason: String| Error::invalid(reason);
    let mut document: Value = document::read(path)?;
    let linux = document.get_mut("linux").and_then(Value::as_object_mut);
    let linux = linux.ok_or_else(|| wrong("no linux".into())).during(words)?;
    let there = linux.entry("resources").or_insert_with(|| json!({}));
    let there =
        there.as_object_mut().ok_or_else(|| wrong("linux.resources is no object".into())).during(words)?;
    let new = serde_json::to_value(resources).map_err(|error| wrong(error.to_string()))?;
    overlay(there, new.as_object().cloned().unwrap_or_default());
    record::write(path, &document)
}

/// Members of `new`, and of objects in it, in the place of those that are there.
fn overlay(there: &mut Map<String, Value>, new: Map<String, Value>) {
    for (name, value) in new {
        match (there.get_mut(&name), value) {
            (Some(Value::Object(inner)), Value::Object(value)) => overlay(inner, value),
            (_, value) => drop(there.insert(name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_merged_as_docker_does() {
        let now = HostConfig {
            memory: 10 << 20,
            memory_swap: 20 << 20,
            pids_limit: Some(5),
            ..HostConfig::default()
        };
        let told = |now: &HostConfig, asked: Limits| merge(now, &asked).map_err(|error| error.to_string());
        let merged =
            told(&now, Limits { memory: Some(15 << 20), cpu_shares: Some(7), ..Limits::default() }).unwrap();
        assert_eq!(
            (merged.memory, merged.memory_swap, merged.pids),
            (Some(15 << 20), Some(20 << 20), Some(5))
        );
        assert_eq!(merged.cpu_shares, Some(7));
        let more = Limits { memory: Some(30 << 20), ..Limits::default() };
        assert!(
            told(&now, more.clone())
                .unwrap_err()
                .starts_with("Memory limit should be smaller than already set")
        );
        assert!(
            told(&HostConfig::default(), more.clone()).is_err(),
            "as docker, there is none to be smaller than"
        );
        let unlimited = HostConfig { memory_swap: -1, ..HostConfig::default() };
        assert!(told(&unlimited, more.clone()).is_ok());
        assert!(told(&now, Limits { memory_swap: Some(-1), ..more }).is_ok());
        let quota = HostConfig { cpu_quota: 5000, ..HostConfig::default() };
        let cpus = Limits { nano_cpus: Some(1_000_000_000), ..Limits::default() };
        assert!(told(&quota, cpus.clone()).unwrap_err().contains("CPU Quota has already been set"));
        let nano = HostConfig { nano_cpus: 1, ..HostConfig::default() };
        let period = Limits { cpu_period: Some(10_000), ..Limits::default() };
        assert!(told(&nano, period).unwrap_err().contains("as NanoCPUs has already been set"));
        assert_eq!(told(&nano, cpus).unwrap().nano_cpus, Some(1_000_000_000));
    }

    #[test]
    fn what_is_not_changed_stays_in_the_document() {
        let mut there =
            json!({"devices": [1], "blockIO": {"weight": 10, "throttle": [2]}, "pids": {"limit": 3}});
        let new = json!({"blockIO": {"weight": 20}, "memory": {"limit": 7}});
        overlay(there.as_object_mut().unwrap(), new.as_object().cloned().unwrap());
        let expected = json!({"devices": [1], "blockIO": {"weight": 20, "throttle": [2]}, "pids": {"limit": 3}, "memory": {"limit": 7}});
        assert_eq!(there, expected);
    }
}
