//! `config.json` for tests: a sensible default written by the `oci-spec` crate, which knows nothing of our own
//! parser, then edited as plain JSON, so that a test can also say what no typed writer would.

use oci_spec::runtime::Spec;
use serde_json::{Map, Value, json};

/// A configuration under construction. Pointers are JSON pointers (RFC 6901) such as `/linux/sysctl`.
#[derive(Clone, Debug)]
pub struct Config(pub Value);

impl Default for Config {
    /// What `runc spec` gives, without a terminal: /bin/true as root in new pid, network, ipc, uts, mount and
    /// cgroup namespaces, Docker's mounts, masked and read-only paths, few capabilities, no cgroup path.
    fn default() -> Self {
        let mut config = Config(serde_json::to_value(Spec::default()).expect("the default as JSON"));
        config.set("/ociVersion", json!("1.0.2"));
        config.set("/hostname", json!("caisson"));
        config.set("/root", json!({"path": "rootfs", "readonly": false}));
        config.set("/process/terminal", json!(false));
        config.args(&["true"]);
        config.set("/process/cwd", json!("/"));
        config.set(
            "/process/env",
            json!(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"]),
        );
        config.set("/process/noNewPrivileges", json!(true));
        config.capabilities(&["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
        config
    }
}

impl Config {
    /// The value there, if any.
    #[must_use]
    pub fn get(&self, pointer: &str) -> Option<&Value> {
        self.0.pointer(pointer)
    }

    /// Sets a value; objects on the way are made. In a list, an index replaces, `-` appends.
    #[track_caller]
    pub fn set(&mut self, pointer: &str, value: Value) {
        *self.slot(pointer) = value;
    }

    /// Appends to a list, which is made if missing.
    #[track_caller]
    pub fn push(&mut self, pointer: &str, value: Value) {
        let slot = self.slot(pointer);
        if slot.is_null() {
            *slot = json!([]);
        }
        slot.as_array_mut().unwrap_or_else(|| panic!("{pointer} is not a list")).push(value);
    }

    /// Takes a value out; panics when it was not there, since the test then tests something else.
    #[track_caller]
    pub fn remove(&mut self, pointer: &str) -> Value {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer begins with a slash");
        let key = unescape(key);
        let removed = match self.0.pointer_mut(parent) {
            Some(Value::Object(fields)) => fields.remove(&key),
            Some(Value::Array(items)) => {
                key.parse().ok().filter(|index| *index < items.len()).map(|index: usize| items.remove(index))
            }
            _ => None,
        };
        removed.unwrap_or_else(|| panic!("nothing at {pointer} to remove"))
    }

    /// Sets `process.args`.
    pub fn args(&mut self, args: &[&str]) {
        self.set("/process/args", json!(args));
    }

    /// Appends `KEY=value` to the environment.
    pub fn env(&mut self, key: &str, value: &str) {
        self.push("/process/env", json!(format!("{key}={value}")));
    }

    /// Sets all five capability sets to these.
    pub fn capabilities(&mut self, names: &[&str]) {
        for set in ["bounding", "effective", "inheritable", "permitted", "ambient"] {
            self.set(&format!("/process/capabilities/{set}"), json!(names));
        }
    }

    /// Appends a mount.
    pub fn mount(&mut self, destination: &str, kind: &str, source: &str, options: &[&str]) {
        let mount = json!({"destination": destination, "type": kind, "source": source, "options": options});
        self.push("/mounts", mount);
    }

    /// Appends a bind mount; give `bind` or `rbind` and more as options.
    pub fn bind(&mut self, source: &str, destination: &str, options: &[&str]) {
        self.mount(destination, "bind", source, options);
    }

    /// Takes out the mount at a destination.
    #[track_caller]
    pub fn remove_mount(&mut self, destination: &str) {
        self.remove_from("/mounts", "destination", destination);
    }

    /// Asks for a new namespace of a kind (`user`, `time`, …); one of that kind is replaced.
    pub fn new_namespace(&mut self, kind: &str) {
        self.drop_namespace(kind);
        self.push("/linux/namespaces", json!({"type": kind}));
    }

    /// Joins the namespace at a path; one of that kind is replaced.
    pub fn join_namespace(&mut self, kind: &str, path: &str) {
        self.drop_namespace(kind);
        self.push("/linux/namespaces", json!({"type": kind, "path": path}));
    }

    /// Stays in the host's namespace of a kind.
    #[track_caller]
    pub fn remove_namespace(&mut self, kind: &str) {
        self.remove_from("/linux/namespaces", "type", kind);
    }

    fn drop_namespace(&mut self, kind: &str) {
        if let Some(Value::Array(items)) = self.0.pointer_mut("/linux/namespaces") {
            items.retain(|item| item["type"] != kind);
        }
    }

    #[track_caller]
    fn remove_from(&mut self, list: &str, key: &str, value: &str) {
        let items = self.0.pointer_mut(list).and_then(Value::as_array_mut);
        let items = items.unwrap_or_else(|| panic!("{list} is not a list"));
        let before = items.len();
        items.retain(|item| item[key] != value);
        assert_ne!(items.len(), before, "{list} has nothing of {key} {value}");
    }

    /// The place a pointer names; missing objects on the way are made.
    #[track_caller]
    fn slot(&mut self, pointer: &str) -> &mut Value {
        assert!(pointer.starts_with('/'), "{pointer:?} is not a JSON pointer");
        let mut slot = &mut self.0;
        for key in pointer[1..].split('/').map(unescape) {
            if slot.is_null() {
                *slot = Value::Object(Map::new());
            }
            slot = match slot {
                Value::Object(fields) => fields.entry(key).or_insert(Value::Null),
                Value::Array(items) => {
                    if key == "-" {
                        items.push(Value::Null);
                    }
                    let index = if key == "-" { Ok(items.len() - 1) } else { key.parse::<usize>() };
                    let index = index.unwrap_or_else(|_| panic!("{pointer}: {key} is no index"));
                    items.get_mut(index).unwrap_or_else(|| panic!("{pointer}: no item {index}"))
                }
                _ => panic!("{pointer}: {key} stands below a plain value"),
            };
        }
        slot
    }
}

/// RFC 6901, section 4.
fn unescape(key: &str) -> String {
    key.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_makes_what_is_missing_on_the_way() {
        let mut config = Config(json!({"list": [{"a": 1}]}));
        config.set("/linux/resources/pids/limit", json!(5));
        config.set("/list/0/b", json!(2));
        config.set("/list/-", json!(3));
        config.push("/new/list", json!(4));
        config.set("/annotations/a~1b", json!("c"));
        assert_eq!(
            config.0,
            json!({"linux": {"resources": {"pids": {"limit": 5}}}, "list": [{"a": 1, "b": 2}, 3],
                   "new": {"list": [4]}, "annotations": {"a/b": "c"}})
        );
        assert_eq!(config.remove("/list/0"), json!({"a": 1, "b": 2}));
        assert_eq!(config.remove("/annotations/a~1b"), json!("c"));
    }

    #[test]
    #[should_panic(expected = "nothing at /x to remove")]
    fn removing_what_is_not_there_is_a_mistake_of_the_test() {
        Config(json!({})).remove("/x");
    }

    #[test]
    fn namespaces_are_replaced_by_kind() {
        let mut config = Config::default();
        config.join_namespace("network", "/proc/1/ns/net");
        config.remove_namespace("ipc");
        let kinds: Vec<_> = config.0["linux"]["namespaces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["type"].clone())
            .collect();
        assert_eq!(kinds, ["pid", "uts", "mount", "cgroup", "network"]);
    }
}
