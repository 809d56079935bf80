//! What `shim bundle` writes, beside what dockerd gives its runtime for the same image and flags.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::collections::BTreeMap;
use std::fs;

use integration::engine::{Client, Docker};
use integration::{ImageMaker, Shim, Value, skip};

/// In the place of the runtime: keeps what it is given.
const KEEPER: &str = "#!/bin/sh
for word; do
    [ \"$before\" != --bundle ] || cp \"$word/config.json\" /run/world/kept.json
    before=$word
done
exec /usr/local/sbin/real \"$@\"
";

/// Where they differ, and why (docs/shim.md, "bundle", has the same list).
const TOLD: [(&str, &str); 16] = [
    ("docker /hooks/", "docker's network is a later matter"),
    (
        "docker /linux/cgroupsPath ",
        "the runtime chooses by the container's id, as a bundle may be run more than once",
    ),
    ("docker /linux/resources/blockIO/weight 0", "it says nothing"),
    ("docker /linux/resources/cpu/shares 0", "it says nothing"),
    (
        "docker /linux/resources/devices[{\"access\":\"rw\",\"allow\":true,\"major\":42,\"minor\":-1",
        "-1 is all",
    ),
    (
        "shim /linux/resources/devices[{\"access\":\"rw\",\"allow\":true,\"major\":42,\"type\"",
        "nothing is all",
    ),
    ("docker /mounts[/etc/host", "a bundle has the image's"),
    ("docker /mounts[/etc/resolv.conf]", "a bundle has the image's"),
    ("docker /mounts[/data]/options[\"ro\"]", "of before docker 25: what is mounted below can be written to"),
    ("shim /mounts[/data]/options[\"rro\"]", "as docker since 25"),
    ("shim /linux/maskedPaths[\"/proc/interrupts\"]", "as docker since 28"),
    ("shim /linux/maskedPaths[\"/sys/devices/", "as docker since 24 and 28"),
    ("shim /linux/seccomp/defaultErrnoRet 1", "what it is where nothing stands there, as docker since 23"),
    (
        "shim /process/env[\"HOME=",
        "runtimes look it up otherwise, when the container may have changed the file",
    ),
    ("docker /ociVersion \"1.0.2-dev\"", "a version in the making"),
    ("shim /ociVersion \"1.0.2\"", "the one that was released"),
];

/// The values of a document by their pointers; lists of texts and of rules without an order are sorted.
fn values(document: &Value) -> BTreeMap<String, String> {
    fn walk(value: &Value, at: &str, found: &mut BTreeMap<String, String>) {
        match value {
            Value::Object(members) => {
                members.iter().for_each(|(name, value)| walk(value, &format!("{at}/{name}"), found))
            }
            Value::Array(items) => {
                for item in items {
                    // By what names an item, so that the order makes no difference.
                    let name = ["destination", "path", "type"].iter().find_map(|key| item.get(key)?.as_str());
                    match (item, name) {
                        (Value::Object(_), Some(name)) if !at.ends_with("/devices") => {
                            walk(item, &format!("{at}[{name}]"), found)
                        }
                        (item, _) => drop(found.insert(format!("{at}[{item}]"), String::new())),
                    }
                }
            }
            value => drop(found.insert(at.to_owned(), value.to_string())),
        }
    }
    let mut found = BTreeMap::new();
    walk(document, "", &mut found);
    found
}

#[test]
fn documents_are_those_of_docker_but_for_what_is_told() {
    if let Some(obstacle) = Docker::obstacle() {
        skip!("{obstacle}");
    }
    let docker = Docker::start();
    docker.world().sh("mv /usr/local/sbin/runtime /usr/local/sbin/real").output().expect_ok();
    docker.world().write("/usr/local/sbin/runtime", KEEPER);
    docker.world().sh("chmod 755 /usr/local/sbin/runtime").output().expect_ok();
    let shim = Shim::new();
    shim.load(&ImageMaker::busybox().named("box").docker_archive(&shim.folder().join("image.tar")));

    let plain: &[&str] = &["--hostname=box", "--network=none"];
    let shaped: &[&str] = &[
        "--hostname=box",
        "--network=none",
        "--user=user",
        "--group-add=7",
        "--workdir=/srv",
        "--env=A=1",
        "--tty",
        "--read-only",
        "--cap-add=SYS_TIME",
        "--cap-drop=mknod",
        "--ulimit=nofile=10:20",
        "--tmpfs=/t:size=1m",
        "--volume=/etc:/data:ro",
        "--shm-size=1m",
        "--sysctl=net.ipv4.ip_forward=1",
        "--device=/dev/null:/dev/nothing:r",
        "--oom-score-adj=10",
        "--security-opt=no-new-privileges",
        "--device-cgroup-rule=c 42:* rw",
        "--cgroupns=private",
    ];
    // The profile is the same for both, so that what becomes of it can be compared.
    let profile =
        concat!("--security-opt=seccomp=", env!("CARGO_MANIFEST_DIR"), "/../shim/data/seccomp.json");
    let mut found = Vec::new();
    for flags in [plain, shaped] {
        let flags = [&[profile], flags].concat();
        docker.cli(&[&["run", "--rm"], &flags[..], &["box", "true"]].concat()).expect_ok();
        let kept = fs::read_to_string(docker.world().folder().join("kept.json")).unwrap();
        let theirs = values(&serde_json::from_str(&kept).unwrap());
        let folder = shim.folder().join("bundle");
        let call = shim.call(&["bundle", "--copy"]).args(&flags).args(["box"]).args([&folder]).args(["true"]);
        call.output().expect_ok();
        let text = fs::read_to_string(folder.join("config.json")).unwrap();
        shim.call(&["bundle", "--rm"]).args([&folder]).output().expect_ok();
        let ours = values(&serde_json::from_str(&text).unwrap());
        for (side, these, those) in [("docker", &theirs, &ours), ("shim", &ours, &theirs)] {
            let only = these.iter().filter(|(pointer, value)| those.get(*pointer) != Some(value));
            found.extend(only.map(|(pointer, value)| format!("{side} {pointer} {value}")));
        }
    }
    // Where the root is, each says for itself; AppArmor's profile is loaded by docker alone.
    found.retain(|line| {
        !["/root/path ", "/process/apparmorProfile "].iter().any(|other| line.contains(other))
    });
    let is_told = |line: &&String| !TOLD.iter().any(|(told, _)| line.starts_with(told));
    let untold: Vec<&String> = found.iter().filter(is_told).collect();
    assert!(untold.is_empty(), "{untold:#?}");
    // What has become the same needs not be told any more.
    let gone: Vec<_> =
        TOLD.iter().filter(|(told, _)| !found.iter().any(|line| line.starts_with(told))).collect();
    assert!(gone.is_empty(), "{gone:?}");
}
