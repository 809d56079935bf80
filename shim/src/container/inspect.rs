//! All that is known of a container, as `docker inspect` shows it: Docker's keys in Docker's order. Rendering only.

use crate::container::record::{Container, MountPoint};
use crate::container::state::{State, Status};
use crate::container::store::{Containers, Found};
use crate::container::{ContainerId, network_settings, size};
use crate::error::Result;
use crate::network::link;
use crate::output::document;
use crate::output::value::Value;
use crate::store::Store;

/// Members of `HostConfig` that Docker's own structure has a second time, as `Resources`.
const RESOURCES: [&str; 31] = [
    "CpuShares",
    "Memory",
    "NanoCpus",
    "CgroupParent",
    "BlkioWeight",
    "BlkioWeightDevice",
    "BlkioDeviceReadBps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteIOps",
    "CpuPeriod",
    "CpuQuota",
    "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
    "CpusetCpus",
    "CpusetMems",
    "Devices",
    "DeviceCgroupRules",
    "DeviceRequests",
    "KernelMemory",
    "KernelMemoryTCP",
    "MemoryReservation",
    "MemorySwap",
    "MemorySwappiness",
    "OomKillDisable",
    "PidsLimit",
    "Ulimits",
    "CpuCount",
    "CpuPercent",
    "IOMaximumIOps",
    "IOMaximumBandwidth",
];

/// The container as Docker shows it. `sizes` has the files of it counted.
///
/// # Errors
/// Those of reading the image's record of layers, or of counting.
pub fn inspect(store: &Store, containers: &Containers, found: &Found, sizes: bool) -> Result<Value> {
    let (container, state) = (&found.container, &found.state);
    let id = ContainerId::parse(&container.id)?;
    let folder = containers.folder(&id);
    let file = |name: &str| Value::Text(folder.join(name).to_string_lossy().into_owned());
    let log = match container.host_config.log_config.kind.as_str() {
        "json-file" => file(&format!("{}-json.log", container.id)),
        _ => "".into(),
    };
    let mut members = vec![
        ("Id", container.id.as_str().into()),
        ("Created", container.created.as_str().into()),
        ("Path", container.path.as_str().into()),
        ("Args", container.args.clone().into()),
        ("State", told_state(state)),
        ("Image", container.image.to_string().into()),
        ("ResolvConfPath", file("resolv.conf")),
        ("HostnamePath", file("hostname")),
        ("HostsPath", file("hosts")),
        ("LogPath", log),
        ("Name", format!("/{}", container.name).into()),
        ("RestartCount", i64::from(state.restart_count).into()),
        ("Driver", "overlay2".into()),
        ("Platform", "linux".into()),
        ("MountLabel", container.mount_label.as_str().into()),
        ("ProcessLabel", container.process_label.as_str().into()),
        ("AppArmorProfile", container.app_armor_profile.as_str().into()),
        ("ExecIDs", Value::NoList),
        ("HostConfig", host_config(container, link::told(containers, container))),
        ("GraphDriver", graph_driver(store, container, &folder)),
    ];
    if sizes {
        let own = size::of_files(&folder.join(size::UPPER))?;
        let mut all = own;
        for layer in &container.layers {
            all = all.saturating_add(store.layers.get(layer)?.map_or(0, |layer| layer.size));
        }
        members.extend([("SizeRw", own.into()), ("SizeRootFs", all.into())]);
    } else {
        let nothing = || Value::Aside(Box::new(Value::Null));
        members.extend([("SizeRw", nothing()), ("SizeRootFs", nothing())]);
    }
    members.extend([
        ("Mounts", document::value(&container.mounts.iter().map(MountPoint::told).collect::<Vec<_>>())),
        ("Config", document::value(&container.config)),
        ("NetworkSettings", network_settings::told(container, state)),
    ]);
    Ok(Value::Object("container", members))
}

fn told_state(state: &State) -> Value {
    let is = |status: Status| Value::Bool(state.status == status);
    let restarts = state.status == Status::Restarting;
    let pid = state.process.filter(|_| state.status.has_process()).map_or(0, |process| process.pid);
    let health = match &state.health {
        Some(health) => document::value(health),
        None => Value::Aside(Box::new(Value::Null)),
    };
    Value::Object(
        "State",
        vec![
            ("Status", state.status.as_str().into()),
            // Docker's words for what stands still, or will go on in a moment.
            ("Running", (state.status.has_process() || restarts).into()),
            ("Paused", is(Status::Paused)),
            ("Restarting", restarts.into()),
            ("OOMKilled", state.oom_killed.into()),
            ("Dead", is(Status::Dead)),
            ("Pid", i64::from(pid).into()),
            ("ExitCode", i64::from(state.exit_code).into()),
            ("Error", state.error.as_str().into()),
            ("StartedAt", state.started_at.as_str().into()),
            ("FinishedAt", state.finished_at.as_str().into()),
            ("Health", health),
        ],
    )
}

fn host_config(container: &Container, links: Option<Vec<String>>) -> Value {
    let links = links.map_or(Value::NoList, Into::into);
    let mut value = document::value(&container.host_config).with("Links", links);
    if let Value::Object(_, members) = &mut value {
        let resources = members.iter().filter(|(name, _)| RESOURCES.contains(name)).cloned().collect();
        members.push(("Resources", Value::Aside(Box::new(Value::Object("Resources", resources)))));
    }
    value
}

/// Where its files are: those it has written, above those of its image from the highest layer down.
fn graph_driver(store: &Store, container: &Container, folder: &std::path::Path) -> Value {
    let text = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    let lower: Vec<String> = container.layers.iter().rev().map(|id| text(store.layers.tree(id))).collect();
    let data = vec![
        ("ID".to_owned(), container.id.as_str().into()),
        ("LowerDir".to_owned(), lower.join(":").into()),
        ("MergedDir".to_owned(), text(folder.join("rootfs")).into()),
        ("UpperDir".to_owned(), text(folder.join(size::UPPER)).into()),
        ("WorkDir".to_owned(), text(folder.join("work")).into()),
    ];
    Value::Object("GraphDriver", vec![("Data", Value::Dictionary(data)), ("Name", "overlay2".into())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::host_config::HostConfig;
    use crate::container::listing::tests::container;
    use crate::container::state::Health;
    use crate::output::template::Template;
    use crate::store::folder::Folders;
    use crate::store::scratch::Scratch;

    fn inspected(container: Container, state: State) -> Value {
        let scratch = Scratch::new();
        let folders = Folders::open(Some(&scratch.join("root")), Some(&scratch.join("state"))).unwrap();
        let containers = Containers::open(&folders).unwrap();
        let found = Found { container, state, is_orphan: false };
        inspect(&Store::open(folders).unwrap(), &containers, &found, false).unwrap()
    }

    #[test]
    fn keys_are_dockers_in_dockers_order() {
        let Value::Object(_, members) = inspected(container("web"), State::default()) else { panic!() };
        let shown = members.iter().filter(|(_, value)| !matches!(value, Value::Aside(_)));
        let keys: Vec<&str> = shown.map(|(key, _)| *key).collect();
        let dockers = "Id Created Path Args State Image ResolvConfPath HostnamePath HostsPath LogPath Name RestartCount Driver \
            Platform MountLabel ProcessLabel AppArmorProfile ExecIDs HostConfig GraphDriver Mounts Config NetworkSettings";
        assert_eq!(keys.join(" "), dockers);
    }

    #[test]
    fn templates_find_what_json_does_not_show() {
        let mut container = container("web");
        container.host_config =
            HostConfig { memory: 512 << 20, network_mode: "none".to_owned(), ..HostConfig::default() };
        let mut state = State { status: Status::Paused, ..State::default() };
        let render = |state: &State, template: &str| {
            Template::parse(template).unwrap().render(&inspected(container.clone(), state.clone())).unwrap()
        };
        let resources = render(&state, "{{json .HostConfig.Resources}}");
        assert!(
            resources.starts_with("{\"CpuShares\":0,\"Memory\":536870912,\"NanoCpus\":0,"),
            "{resources}"
        );
        let health = "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}";
        assert_eq!(render(&state, health), "none");
        assert!(!render(&state, "{{json .}}").contains("Resources"));
        state.health = Some(Health { status: "healthy".to_owned(), ..Health::default() });
        assert_eq!(render(&state, health), "healthy");
        assert_eq!(
            render(&state, "{{.State.Status}} {{.State.Running}} {{.State.Paused}}"),
            "paused true true"
        );
        let addresses = "{{range .NetworkSettings.Networks}}[{{.IPAddress}}]{{end}}";
        assert_eq!(render(&state, addresses), "[]");
        assert_eq!(
            render(&state, "{{range $name, $of := .NetworkSettings.Networks}}{{$name}}{{end}}"),
            "none"
        );
        assert_eq!(render(&state, "{{range .HostConfig.Binds}}x{{end}}{{len .Mounts}}"), "0");
    }
}
