//! One edit of a valid document each, and what is said about it.

use serde_json::{Value, json};

use super::*;

fn valid() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "root": { "path": "rootfs" },
        "hostname": "box",
        "process": {
            "args": ["sh"], "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 1, "hard": 2 }],
        },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": {
            "namespaces": [
                { "type": "mount" }, { "type": "pid" }, { "type": "uts" }, { "type": "ipc" },
                { "type": "network" }, { "type": "user" }, { "type": "time" },
            ],
            "uidMappings": [{ "containerID": 0, "hostID": 1000, "size": 10 }],
            "gidMappings": [{ "containerID": 0, "hostID": 1000, "size": 10 }],
        },
    })
}

fn verdict(document: &Value) -> Result<Vec<String>> {
    validate(&serde_json::from_value(document.clone()).unwrap())
}

/// Sets what a JSON pointer names; parents must be there.
fn edited(pointer: &str, value: Value) -> Value {
    let mut document = valid();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Array(list) if name == "-" => list.push(value),
        Value::Array(list) => list[name.parse::<usize>().unwrap()] = value,
        other => drop(other.as_object_mut().unwrap().insert(name.to_owned(), value)),
    }
    document
}

#[test]
fn the_document_that_is_edited_is_valid() {
    assert_eq!(verdict(&valid()).unwrap(), Vec::<String>::new());
}

#[test]
fn every_violation_names_its_field() {
    let table = [
        ("/ociVersion", json!(""), "ociVersion: is missing"),
        ("/ociVersion", json!("1.0"), "ociVersion: \"1.0\" is not a SemVer version"),
        ("/ociVersion", json!("1.01.0"), "ociVersion: \"1.01.0\" is not a SemVer version"),
        ("/ociVersion", json!("2.0.0"), "ociVersion: 2.0.0 is not supported, 1.0.0 to 1.3.0 are"),
        ("/root", Value::Null, "root: is missing"),
        ("/root/path", json!(""), "root.path: is empty"),
        ("/root/path", json!("a\0b"), "root.path: contains a NUL byte"),
        ("/process", Value::Null, "process: is missing"),
        ("/process/args", json!([]), "process.args: is empty"),
        ("/process/args/-", json!("a\0"), "process.args[1]: contains a NUL byte"),
        ("/process/cwd", json!("tmp"), "process.cwd: \"tmp\" is not an absolute path"),
        ("/process/env/-", json!("X"), "process.env[1]: \"X\" is not NAME=value"),
        ("/process/env/-", json!("=x"), "process.env[1]: \"=x\" is not NAME=value"),
        ("/process/user/uid", json!(4_294_967_295_u32), "process.user.uid: 4294967295 is not a valid id"),
        ("/process/user/umask", json!(0o1000), "process.user.umask: 01000 is larger than 0777"),
        ("/process/oomScoreAdj", json!(1001), "process.oomScoreAdj: 1001 is not between -1000 and 1000"),
        (
            "/process/rlimits/0/type",
            json!("NOFILE"),
            "process.rlimits[0].type: \"NOFILE\" is not a resource limit",
        ),
        ("/process/rlimits/0/soft", json!(3), "process.rlimits[0].soft: 3 is larger than the hard limit 2"),
        (
            "/process/rlimits/-",
            json!({ "type": "RLIMIT_NOFILE", "soft": 1, "hard": 1 }),
            "process.rlimits[1].type: \"RLIMIT_NOFILE\" is duplicated",
        ),
        (
            "/process/apparmorProfile",
            json!("a\nb"),
            "process.apparmorProfile: contains a NUL byte or a newline",
        ),
        (
            "/process/scheduler",
            json!({ "policy": "SCHED_FIFO", "nice": 3, "priority": 1 }),
            "process.scheduler.nice: does not go with SCHED_FIFO",
        ),
        (
            "/process/scheduler",
            json!({ "policy": "SCHED_DEADLINE", "runtime": 5, "deadline": 4 }),
            "process.scheduler: SCHED_DEADLINE needs 0 < runtime <= deadline <= period",
        ),
        (
            "/process/ioPriority",
            json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }),
            "process.ioPriority.priority: 8 is not between 0 and 7",
        ),
        (
            "/process/execCPUAffinity",
            json!({ "initial": "0-x" }),
            "process.execCPUAffinity.initial: \"0-x\" is not a list of CPUs",
        ),
        ("/hostname", json!("x".repeat(65)), "hostname: is longer than 64 bytes"),
        ("/mounts/0/destination", json!(""), "mounts[0].destination: is empty"),
        (
            "/mounts/0/uidMappings",
            json!([{ "containerID": 0, "hostID": 0, "size": 1 }]),
            "mounts[0].gidMappings: is required together with uidMappings",
        ),
        (
            "/hooks",
            json!({ "poststop": [{ "path": "x" }] }),
            "hooks.poststop[0].path: \"x\" is not an absolute path",
        ),
        (
            "/hooks",
            json!({ "prestart": [{ "path": "/x", "timeout": 0 }] }),
            "hooks.prestart[0].timeout: 0 is not greater than zero",
        ),
        (
            "/linux/namespaces/-",
            json!({ "type": "pid" }),
            "linux.namespaces[7].type: duplicated namespace \"pid\"",
        ),
        (
            "/linux/namespaces/-",
            json!({ "type": "disk" }),
            "linux.namespaces[7].type: unknown namespace type \"disk\"",
        ),
        (
            "/linux/namespaces/1",
            json!({ "type": "pid", "path": "ns" }),
            "linux.namespaces[1].path: \"ns\" is not an absolute path",
        ),
        ("/linux/uidMappings", json!([]), "linux.uidMappings: a new user namespace needs mappings"),
        ("/linux/uidMappings/0/size", json!(0), "linux.uidMappings[0].size: is 0"),
        (
            "/linux/gidMappings/-",
            json!({ "containerID": 9, "hostID": 5000, "size": 2 }),
            "linux.gidMappings[1].containerID: overlaps with an earlier range",
        ),
        (
            "/linux/timeOffsets",
            json!({ "tai": {} }),
            "linux.timeOffsets[\"tai\"]: is neither monotonic nor boottime",
        ),
        (
            "/linux/sysctl",
            json!({ "kernel.panic": "1" }),
            "linux.sysctl[\"kernel.panic\"]: sysctl \"kernel.panic\" is not in a separate kernel namespace",
        ),
        ("/linux/maskedPaths", json!(["x"]), "linux.maskedPaths[0]: \"x\" is not an absolute path"),
        ("/linux/rootfsPropagation", json!("both"), "linux.rootfsPropagation: unknown value \"both\""),
        (
            "/linux/devices",
            json!([{ "type": "x", "path": "/dev/x" }]),
            "linux.devices[0].type: unknown device type \"x\"",
        ),
        (
            "/linux/netDevices",
            json!({ "eth0": { "name": "a/b" } }),
            "linux.netDevices[\"eth0\"].name: \"a/b\" is not a name of a network device",
        ),
        (
            "/linux/intelRdt",
            json!({ "closID": ".." }),
            "linux.intelRdt.closID: \"..\" is not a name of a folder",
        ),
        (
            "/linux/intelRdt",
            json!({ "memBwSchema": "L3:" }),
            "linux.intelRdt.memBwSchema: does not start with MB:",
        ),
        (
            "/linux/memoryPolicy",
            json!({ "mode": "MPOL_BIND" }),
            "linux.memoryPolicy.nodes: MPOL_BIND needs nodes",
        ),
        (
            "/linux/personality",
            json!({ "domain": "BSD" }),
            "linux.personality.domain: \"BSD\" is neither LINUX nor LINUX32",
        ),
    ];
    for (pointer, value, message) in table {
        let error = verdict(&edited(pointer, value)).expect_err(message).to_string();
        assert_eq!(error, format!("config.json: {message}"));
    }
}

#[test]
fn what_needs_a_namespace_says_so() {
    let without = |kind: &str, pointer: &str, value: Value| {
        let mut document = edited(pointer, value);
        let list = document.pointer_mut("/linux/namespaces").unwrap().as_array_mut().unwrap();
        list.retain(|namespace| namespace["type"] != kind);
        verdict(&document).expect_err(kind).to_string()
    };
    for (kind, pointer, value, message) in [
        ("uts", "/hostname", json!("x"), "hostname: needs a uts namespace"),
        ("mount", "/linux/readonlyPaths", json!(["/x"]), "linux.readonlyPaths: needs a mount namespace"),
        ("network", "/linux/netDevices", json!({ "e": {} }), "linux.netDevices: needs a network namespace"),
        (
            "time",
            "/linux/timeOffsets",
            json!({ "boottime": {} }),
            "linux.timeOffsets: needs a new time namespace",
        ),
        ("user", "/linux/gidMappings", json!([]), "linux.uidMappings: needs a user namespace"),
        (
            "ipc",
            "/linux/sysctl",
            json!({ "kernel.shmmax": "1" }),
            "linux.sysctl[\"kernel.shmmax\"]: sysctl \"kernel.shmmax\" is not allowed in the host's ipc namespace",
        ),
    ] {
        assert_eq!(without(kind, pointer, value), format!("config.json: {message}"));
    }
}

#[test]
fn all_violations_come_at_once() {
    let mut document = edited("/process/cwd", json!("x"));
    document["root"]["path"] = json!("");
    let error = verdict(&document).unwrap_err().to_string();
    assert_eq!(error, "config.json: root.path: is empty; process.cwd: \"x\" is not an absolute path");
}

#[test]
fn what_is_tolerated_is_a_warning() {
    let warnings = verdict(&edited("/mounts/0/destination", json!("proc"))).unwrap();
    assert_eq!(warnings, ["mounts[0].destination: \"proc\" is not absolute and is taken from the root"]);
    assert!(verdict(&edited("/ociVersion", json!("1.0.0-rc5"))).is_ok());
    assert!(verdict(&edited("/ociVersion", json!("1.9.0"))).is_ok());
}
