//! What a description says is done to the document that a runtime gets (SPEC.md, "OCI Edits"). What has to be known of the
//! host's devices is asked for; nothing else is looked up.

use serde_json::{Map, Value, json};

use crate::bundle::spec::Device;
use crate::cdi::spec::{ContainerEdits, DeviceNode, IntelRdt};
use crate::error::{Error, Result};

/// How somebody gets at a device node of the host's by its path.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Result<Device>;

/// Does it. `is_user` says that the container is an ordinary user's: nobody may make devices in a user namespace, so the
/// host's own are shown.
///
/// # Errors
/// A device node that is not there; a document that is none.
pub fn apply(document: &mut Value, edits: &ContainerEdits, lookup: Lookup, is_user: bool) -> Result<()> {
    for text in &edits.env {
        let name = text.split('=').next().unwrap_or(text);
        let env = list(document, &["process", "env"])?;
        env.retain(|known| known.as_str().is_none_or(|known| known.split('=').next() != Some(name)));
        env.push(json!(text));
    }
    for node in &edits.device_nodes {
        add_node(document, node, lookup, is_user)?;
    }
    for device in &edits.net_devices {
        let name = if device.name.is_empty() { &device.host_interface_name } else { &device.name };
        let devices = object(document, &["linux", "netDevices"])?;
        devices.insert(device.host_interface_name.clone(), json!({ "name": name }));
    }
    for mount in &edits.mounts {
        let kind = if mount.kind.is_empty() { "bind" } else { &mount.kind };
        let mut options = mount.options.clone();
        if kind == "bind" && !options.iter().any(|option| option == "bind" || option == "rbind") {
            options.push("bind".to_owned());
        }
        add_mount(document, &mount.container_path, kind, &mount.host_path, &options)?;
    }
    for hook in &edits.hooks {
        let mut value = json!({ "path": hook.path });
        for (key, words) in [("args", &hook.args), ("env", &hook.env)] {
            if !words.is_empty() {
                value[key] = json!(words);
            }
        }
        if let Some(timeout) = hook.timeout {
            value["timeout"] = json!(timeout);
        }
        list(document, &["hooks", &hook.hook_name])?.push(value);
    }
    for gid in &edits.additional_gids {
        let groups = list(document, &["process", "user", "additionalGids"])?;
        if *gid != 0 && !groups.contains(&json!(gid)) {
            groups.push(json!(gid));
        }
    }
    if let Some(rdt) = &edits.intel_rdt {
        *object(document, &["linux", "intelRdt"])? = intel_rdt(rdt);
    }
    Ok(())
}

fn intel_rdt(rdt: &IntelRdt) -> Map<String, Value> {
    let texts = [
        ("closID", &rdt.clos_id),
        ("l3CacheSchema", &rdt.l3_cache_schema),
        ("memBwSchema", &rdt.mem_bw_schema),
    ];
    let switches = [
        ("enableMonitoring", rdt.enable_monitoring),
        ("enableCMT", rdt.enable_cmt),
        ("enableMBM", rdt.enable_mbm),
    ];
    let mut map = Map::new();
    map.extend(
        texts.iter().filter(|(_, text)| !text.is_empty()).map(|(key, text)| ((*key).to_owned(), json!(text))),
    );
    map.extend(switches.iter().filter(|(_, on)| *on).map(|(key, on)| ((*key).to_owned(), json!(on))));
    if !rdt.schemata.is_empty() {
        map.insert("schemata".to_owned(), json!(rdt.schemata));
    }
    map
}

fn add_node(document: &mut Value, node: &DeviceNode, lookup: Lookup, is_user: bool) -> Result<()> {
    let host_path = if node.host_path.is_empty() { &node.path } else { &node.host_path };
    if is_user {
        let writable =
            if node.permissions.is_empty() || node.permissions.contains('w') { "rw" } else { "ro" };
        let options = ["bind", writable, "nosuid", "noexec"].map(str::to_owned);
        return add_mount(document, &node.path, "bind", host_path, &options);
    }
    let is_told = !node.kind.is_empty() && (node.kind == "p" || node.major != 0 || node.minor != 0);
    let (kind, major, minor, mode) = if is_told {
        (node.kind.clone(), node.major, node.minor, None)
    } else {
        let found = lookup(host_path)?;
        (found.kind.to_string(), found.major, found.minor, Some(found.file_mode))
    };
    let mut value = json!({ "path": node.path, "type": kind, "major": major, "minor": minor });
    let own = |name: &str| {
        let id = document.pointer(&format!("/process/user/{name}")).and_then(Value::as_u64);
        id.filter(|id| *id != 0)
    };
    for (key, number) in [
        ("fileMode", node.file_mode.or(mode).map(u64::from)),
        ("uid", node.uid.map(u64::from).or_else(|| own("uid"))),
        ("gid", node.gid.map(u64::from).or_else(|| own("gid"))),
    ] {
        if let Some(number) = number {
            value[key] = json!(number);
        }
    }
    let devices = list(document, &["linux", "devices"])?;
    devices.retain(|known| known["path"] != node.path.as_str());
    devices.push(value);
    if kind != "p" {
        let access = if node.permissions.is_empty() { "rwm" } else { &node.permissions };
        let rule = json!({ "allow": true, "type": kind, "major": major, "minor": minor, "access": access });
        list(document, &["linux", "resources", "devices"])?.push(rule);
    }
    Ok(())
}

/// In the place of what is there, and where what lies deeper comes later.
fn add_mount(document: &mut Value, place: &str, kind: &str, source: &str, options: &[String]) -> Result<()> {
    let mounts = list(document, &["mounts"])?;
    mounts.retain(|known| known["destination"] != place);
    mounts.push(json!({ "destination": place, "type": kind, "source": source, "options": options }));
    let depth = |mount: &Value| {
        let parts = mount["destination"].as_str().unwrap_or_default().split('/');
        parts.filter(|part| !part.is_empty()).count()
    };
    mounts.sort_by_key(depth);
    Ok(())
}

fn member<'a>(document: &'a mut Value, way: &[&str], empty: &Value) -> Result<&'a mut Value> {
    let mut at = document;
    for (number, key) in way.iter().enumerate() {
        let wrong = || Error::invalid(format!("/{} of the document is no object", way[..number].join("/")));
        let object = at.as_object_mut().ok_or_else(wrong)?;
        let new = || if number + 1 == way.len() { empty.clone() } else { json!({}) };
        at = object.entry(*key).or_insert_with(new);
        if at.is_null() {
            *at = new();
        }
    }
    Ok(at)
}

fn list<'a>(document: &'a mut Value, way: &[&str]) -> Result<&'a mut Vec<Value>> {
    let wrong = || Error::invalid(format!("/{} of the document is no list", way.join("/")));
    member(document, way, &json!([]))?.as_array_mut().ok_or_else(wrong)
}

fn object<'a>(document: &'a mut Value, way: &[&str]) -> Result<&'a mut Map<String, Value>> {
    let wrong = || Error::invalid(format!("/{} of the document is no object", way.join("/")));
    member(document, way, &json!({}))?.as_object_mut().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        json!({
            "process": {"user": {"uid": 7, "gid": 0}, "env": ["PATH=/bin", "A=old"]},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts"},
            ],
            "linux": {"devices": [{"path": "/dev/x", "type": "c", "major": 9, "minor": 9}]},
        })
    }

    fn applied(edits: &Value, is_user: bool) -> Result<Value> {
        let edits: ContainerEdits = serde_json::from_value(edits.clone()).unwrap();
        let lookup = |path: &str| match path {
            "/dev/null" => {
                let path = path.to_owned();
                Ok(Device { kind: 'c', path, major: 1, minor: 3, file_mode: 0o666, uid: 0, gid: 0 })
            }
            path => Err(Error::not_found(format!("{path:?}: no such device"))),
        };
        let mut document = document();
        apply(&mut document, &edits, &lookup, is_user)?;
        Ok(document)
    }

    #[test]
    fn everything_that_a_description_says_is_done() {
        let edits = json!({
            "env": ["A=new", "B=1"],
            "deviceNodes": [
                {"path": "/dev/x", "hostPath": "/dev/null", "permissions": "rw", "gid": 5},
                {"path": "/dev/y", "type": "b", "major": 8, "minor": 1, "fileMode": 384, "uid": 0},
                {"path": "/dev/fifo", "type": "p"},
            ],
            "netDevices": [{"hostInterfaceName": "eth7", "name": "eth0"}],
            "mounts": [
                {"hostPath": "/usr/lib/deep", "containerPath": "/usr/lib/deep", "options": ["ro", "nosuid"]},
                {"hostPath": "/opt", "containerPath": "/opt", "options": ["rbind"]},
                {"hostPath": "tmpfs", "containerPath": "/dev/pts", "type": "tmpfs"},
            ],
            "hooks": [{"hookName": "createContainer", "path": "/bin/hook", "args": ["hook"], "env": ["X=1"], "timeout": 3}],
            "additionalGids": [44, 0, 44],
            "intelRdt": {"closID": "c", "l3CacheSchema": "L3:0=f", "enableCMT": true},
        });
        let document = applied(&edits, false).unwrap();
        assert_eq!(document["process"]["env"], json!(["PATH=/bin", "A=new", "B=1"]));
        assert_eq!(
            document["linux"]["devices"],
            json!([
                {"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 7, "gid": 5},
                {"path": "/dev/y", "type": "b", "major": 8, "minor": 1, "fileMode": 384, "uid": 0},
                {"path": "/dev/fifo", "type": "p", "major": 0, "minor": 0, "uid": 7},
            ])
        );
        assert_eq!(
            document["linux"]["resources"]["devices"],
            json!([
                {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw"},
                {"allow": true, "type": "b", "major": 8, "minor": 1, "access": "rwm"},
            ])
        );
        let places: Vec<&str> = document["mounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|mount| mount["destination"].as_str().unwrap())
            .collect();
        assert_eq!(places, ["/proc", "/dev", "/opt", "/dev/pts", "/usr/lib/deep"]);
        assert_eq!(document["mounts"][3]["type"], "tmpfs");
        assert_eq!(document["mounts"][4]["options"], json!(["ro", "nosuid", "bind"]));
        assert_eq!(
            document["hooks"],
            json!({"createContainer": [{"path": "/bin/hook", "args": ["hook"], "env": ["X=1"], "timeout": 3}]})
        );
        assert_eq!(document["process"]["user"]["additionalGids"], json!([44]));
        assert_eq!(document["linux"]["netDevices"], json!({"eth7": {"name": "eth0"}}));
        assert_eq!(
            document["linux"]["intelRdt"],
            json!({"closID": "c", "l3CacheSchema": "L3:0=f", "enableCMT": true})
        );
    }

    #[test]
    fn an_ordinary_user_sees_the_hosts_own_nodes() {
        let edits = json!({"deviceNodes": [{"path": "/dev/x", "hostPath": "/dev/null", "permissions": "r"}]});
        let document = applied(&edits, true).unwrap();
        let mount = json!({"destination": "/dev/x", "type": "bind", "source": "/dev/null",
            "options": ["bind", "ro", "nosuid", "noexec"]});
        assert!(document["mounts"].as_array().unwrap().contains(&mount));
        assert!(document["linux"].get("resources").is_none());
    }

    #[test]
    fn a_node_that_is_not_there_is_told() {
        let error = applied(&json!({"deviceNodes": [{"path": "/dev/none"}]}), false).unwrap_err();
        assert_eq!(error.to_string(), "\"/dev/none\": no such device");
    }
}
