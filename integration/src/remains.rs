//! What there is on the host of a shim's containers: folders, names, mounts, processes, cgroups.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::shim::names_in;
use crate::{MountEntry, Shim, cgroup2_mount};

impl Shim {
    /// Ids of all containers that its events tell of, also of those that are gone.
    #[must_use]
    #[track_caller]
    pub fn ids_ever(&self) -> Vec<String> {
        let mut ids = BTreeSet::new();
        for name in ["events.json.1", "events.json"] {
            let text = fs::read_to_string(self.state().join(name)).unwrap_or_default();
            for line in text.lines() {
                let event: Value =
                    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                if event["Type"] != "container" {
                    continue;
                }
                ids.insert(event["id"].as_str().expect("an id").to_owned());
            }
        }
        ids.into_iter().collect()
    }

    /// Everything that is left of containers, one line each, once they are all removed: nothing, if all is well.
    #[must_use]
    #[track_caller]
    pub fn remains(&self) -> Vec<String> {
        let mut left = Vec::new();
        let (root, state) = (self.root(), self.state());
        let mut folders: Vec<PathBuf> =
            ["containers", "names", "ingest", "leases"].map(|name| root.join(name)).into();
        folders.push(state.join("containers"));
        folders.extend(names_in(&state.join("runtime")).iter().map(|name| state.join("runtime").join(name)));
        for folder in folders {
            left.extend(
                names_in(&folder).iter().map(|name| format!("folder {}", folder.join(name).display())),
            );
        }
        left.extend(mounts_in(self.folder()).iter().map(|path| format!("mount {}", path.display())));
        for process in self.processes() {
            // It may end at this moment.
            let line = fs::read(process.path("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            left.push(format!("process {} {line}", process.pid()));
        }
        left.extend(cgroups_of(&self.ids_ever()).iter().map(|path| format!("cgroup {}", path.display())));
        left
    }
}

/// Mounts in a folder.
pub(crate) fn mounts_in(folder: &Path) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("read mounts");
    let mounts = mounts.lines().filter_map(MountEntry::parse).map(|mount| mount.destination);
    mounts.filter(|path| path.starts_with(folder)).collect()
}

/// Cgroups whose name has one of these ids in it.
pub(crate) fn cgroups_of(ids: &[String]) -> Vec<PathBuf> {
    fn below(folder: &Path, ids: &[String], found: &mut Vec<PathBuf>) {
        let children = fs::read_dir(folder).into_iter().flatten().flatten();
        for child in children.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            let name = child.file_name().to_string_lossy().into_owned();
            if ids.iter().any(|id| name.contains(id.as_str())) {
                found.push(child.path());
            }
            below(&child.path(), ids, found);
        }
    }
    let mut found = Vec::new();
    if let (Some(mount), false) = (cgroup2_mount(), ids.is_empty()) {
        below(&mount, ids, &mut found);
    }
    found
}
