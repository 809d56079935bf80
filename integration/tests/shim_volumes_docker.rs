//! Volumes and mounts beside Docker: the same command lines, what they say, and what `inspect` tells of a container's
//! mounts afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::collections::BTreeMap;

use integration::engine::compare::{differences, said, values, with_sorted_mounts, without_ids};
use integration::engine::{Client, Docker};
use integration::{ImageMaker, Output, Shim, Value, json, skip};

/// Command lines that come to the same: exit status, output, words.
const LINES: &[&[&str]] = &[
    &["volume", "create", "data"],
    &["volume", "create", "--label", "later=1", "-o", "type=tmpfs", "-o", "device=x", "data"],
    &["volume", "create", "--label", "a=1", "--label", "b", "labelled"],
    &["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,uid=7", "memory"],
    &["volume", "create", "a"],
    &["volume", "create", "a/b"],
    &["volume", "create", "-o", "foo=1", "other"],
    &["volume", "create", "-o", "type=tmpfs", "other"],
    &["volume", "create", "-o", "device=tmpfs", "other"],
    &["volume", "create", "-o", "foo", "other"],
    &["volume", "ls"],
    &["volume", "ls", "-q"],
    &["volume", "ls", "-f", "label=a"],
    &["volume", "ls", "-f", "label=a=2"],
    &[
        "volume",
        "ls",
        "-f",
        "name=at",
        "--format",
        "{{.Name}} {{.Driver}} {{.Scope}} {{.Labels}} {{.Label \"a\"}}",
    ],
    &["volume", "ls", "-f", "driver=local", "-q"],
    &["volume", "ls", "-f", "driver=nothing"],
    &["volume", "ls", "-f", "dangling=true", "-q"],
    &["volume", "ls", "-f", "dangling=perhaps"],
    &["volume", "ls", "-f", "foo=1"],
    &[
        "volume",
        "inspect",
        "--format",
        "{{.Name}} {{.Driver}} {{.Labels}} {{.Options}} {{.Scope}}",
        "labelled",
        "memory",
    ],
    &["volume", "rm", "-f", "nothing"],
    &["create", "--name", "user", "-v", "data:/d", "made"],
    &["volume", "rm", "data", "labelled"],
    &["volume", "rm", "-f", "data"],
    &["volume", "ls", "-f", "dangling=false", "-f", "name=data", "-q"],
    &["rm", "-v", "user"],
    &["volume", "rm", "data"],
    &[
        "run",
        "--rm",
        "--network",
        "none",
        "-v",
        "named:/n",
        "-v",
        "/anonymous",
        "made",
        "sh",
        "-c",
        "echo a >/n/f; ls -d /anonymous",
    ],
    &["volume", "ls", "-q"],
    &["run", "--rm", "--network", "none", "-v", "named:/n:ro", "made", "sh", "-c", "cat /n/f; echo b >/n/f"],
    // What cannot be.
    &["create", "-v", "data:/d", "-v", "other:/d", "made"],
    &["create", "-v", "data:/d", "-v", "other:/d/", "made"],
    &["create", "-v", "data:/d", "--mount", "type=tmpfs,dst=/d", "made"],
    &["create", "-v", "data:/d", "--tmpfs", "/d", "made"],
    &["create", "-v", "/etc:/d", "-v", "/usr:/d", "made"],
    &["create", "-v", "/d", "-v", "data:/d", "made"],
    &["create", "-v", "a:/b:c:d", "made"],
    &["create", "-v", "C:\\x:/y", "made"],
    &["create", "-v", "/x:", "made"],
    &["create", "-v", "data:/x:foo", "made"],
    &["create", "-v", "data:/x:ro,rw", "made"],
    &["create", "-v", "data:/x:z,Z", "made"],
    &["create", "-v", "data:/x:rshared", "made"],
    &["create", "-v", "/etc:/x:nocopy", "made"],
    &["create", "-v", "data:/", "made"],
    &["create", "-v", "/etc:/", "made"],
    &["create", "-v", "data:relative", "made"],
    &["create", "-v", "a/b:/x", "made"],
    &["create", "--mount", "type=bind,src=/nothing,dst=/d", "made"],
    &["create", "--mount", "type=bind,src=relative,dst=/d", "made"],
    &["create", "--mount", "type=bind,dst=/d", "made"],
    &["create", "--mount", "type=volume,src=data", "made"],
    &["create", "--mount", "type=volume,src=data,dst=d", "made"],
    &["create", "--mount", "type=volume,src=data,dst=/", "made"],
    &["create", "--mount", "type=volume,src=a/b,dst=/d", "made"],
    &["create", "--mount", "type=volume,src=data,dst=/d,bind-propagation=shared", "made"],
    &["create", "--mount", "type=bind,src=/etc,dst=/d,volume-nocopy", "made"],
    &["create", "--mount", "type=bind,src=/etc,dst=/d,bind-propagation=foo", "made"],
    &["create", "--mount", "type=bind,src=/etc,dst=/d,readonly=perhaps", "made"],
    &["create", "--mount", "type=foo,src=data,dst=/d", "made"],
    &["create", "--mount", "type=tmpfs,src=data,dst=/d", "made"],
    &["create", "--mount", "type=tmpfs,dst=/d,tmpfs-size=much", "made"],
    &["create", "--mount", "type=tmpfs,dst=/d,tmpfs-mode=9", "made"],
    &["create", "--mount", "type=volume,dst=/d,volume-opt=foo=1,src=odd", "made"],
    &["create", "--mount", "type=volume,dst=/d,ro", "made"],
    &["create", "--mount", "foo", "made"],
    &["create", "--mount", "type=volume,src=data,dst=/d,foo=1", "made"],
    &["create", "--volumes-from", "nothing", "made"],
    &["create", "--volumes-from", "", "made"],
    &["create", "--volumes-from", "x:foo", "made"],
    &["create", "--tmpfs", "relative", "made"],
    &["create", "--tmpfs", "/", "made"],
];

/// What containers are made with whose mounts are told the same.
const MOUNTS: &[&[&str]] = &[
    &["-v", "data:/d"],
    &["-v", "data:/d/../e/:ro"],
    &["-v", "data:/d:z"],
    &["-v", "data:/d:Z"],
    &["-v", "data:/d:nocopy"],
    &["-v", "data:/d:ro,z,nocopy"],
    &["-v", "data:/d:rw"],
    &["-v", "/d"],
    &["-v", "/etc:/d"],
    &["-v", "/etc/:/d/:ro"],
    &["-v", "/etc:/d:rslave"],
    &["-v", "/etc:/d:ro,z,private"],
    &["-v", "/etc/hostname:/d:consistent"],
    &["-v", "/usr/../etc:/d"],
    &["--mount", "type=volume,src=data,dst=/d"],
    &["--mount", "type=volume,src=data,dst=/d,readonly,volume-nocopy"],
    &["--mount", "dst=/d"],
    &["--mount", "type=volume,src=fresh,dst=/d,volume-label=a=1,volume-driver=local"],
    &["--mount", "type=volume,src=strange,dst=/d,volume-opt=type=tmpfs,volume-opt=device=tmpfs"],
    &["--mount", "type=bind,src=/etc,dst=/d"],
    &["--mount", "type=bind,src=/etc,dst=/d/,ro,bind-propagation=rslave"],
    &["--mount", "type=bind,src=/etc,dst=/d,bind-nonrecursive=true"],
    &["--mount", "type=bind,src=/etc,dst=/d,consistency=cached"],
    &["--mount", "type=tmpfs,dst=/d"],
    &["--mount", "type=tmpfs,dst=/d,tmpfs-size=1m,tmpfs-mode=1770"],
    &["--tmpfs", "/d"],
    &["--tmpfs", "/d/:size=1m,uid=7"],
    &["--volumes-from", "source"],
    &["--volumes-from", "source:ro"],
    &["--volumes-from", "source:rw", "-v", "data:/d"],
    &["--volumes-from", "source", "--volumes-from", "second"],
    &["-v", "data:/v"],
    &["--tmpfs", "/v"],
    &["-v", "data:/a", "-v", "/etc:/b", "--mount", "type=tmpfs,dst=/c", "-v", "/f"],
];

#[test]
fn volumes_and_mounts_are_dockers() {
    if let Some(obstacle) = Docker::obstacle() {
        skip!("{obstacle}");
    }
    let (docker, shim) = (Docker::start(), Shim::in_memory());
    let config = json!({"Env": ["PATH=/bin"], "Cmd": ["true"], "Volumes": {"/v": {}}});
    let maker = ImageMaker::busybox().with("config", config).named("made:latest");
    let archive = maker.docker_archive(&docker.world().folder().join("made.tar"));
    docker.cli(&["load", "--input", "/run/world/made.tar"]).expect_ok();
    shim.load(&archive);
    let own = shim.root().join("volumes").to_str().unwrap().to_owned();
    let there = |text: &str| without_ids(&text.replace(&own, "/var/lib/docker/volumes"));

    let mut wrong = Vec::new();
    for words in LINES {
        let (theirs, ours) = (docker.cli(words), shim.cli(words));
        let told = |output: &Output| (output.code(), there(&output.stdout), there(&said(output)));
        if told(&ours) != told(&theirs) {
            wrong.push(format!("{words:?}\n{ours}\n{theirs}"));
        }
    }

    for words in [
        &["create", "--name", "source", "-v", "data:/d", "-v", "/etc:/e:ro", "-v", "/f", "made"][..],
        &["create", "--name", "second", "-v", "other:/d", "-v", "/h", "made"],
    ] {
        docker.cli(words).expect_ok();
        shim.cli(words).expect_ok();
    }
    let mut count = 0;
    for flags in MOUNTS {
        let words = [&["create", "--name", "told"], *flags, &["made"]].concat();
        let (theirs, ours) = (docker.cli(&words), shim.cli(&words));
        assert_eq!((ours.code(), theirs.code()), (0, 0), "{words:?}\n{ours}\n{theirs}");
        let told = |output: Output| -> BTreeMap<String, String> {
            let mut document = with_sorted_mounts(output.expect_ok().json()[0].clone());
            // Likewise.
            if let Some(binds) = document.pointer_mut("/HostConfig/Binds").and_then(Value::as_array_mut) {
                binds.sort_by_key(Value::to_string);
            }
            let parts = json!({"Mounts": document["Mounts"], "Binds": document["HostConfig"]["Binds"],
                "Asked": document["HostConfig"]["Mounts"], "Tmpfs": document["HostConfig"]["Tmpfs"],
                "VolumesFrom": document["HostConfig"]["VolumesFrom"], "Volumes": document["Config"]["Volumes"]});
            values(&parts).into_iter().map(|(at, value)| (at, there(&value))).collect()
        };
        let (theirs, ours) = (told(docker.cli(&["inspect", "told"])), told(shim.cli(&["inspect", "told"])));
        count += theirs.len();
        let different = differences(&theirs, &ours, &[]);
        if !different.is_empty() {
            wrong.push(format!("{flags:?}\n{different:#?}"));
        }
        for output in [docker.cli(&["rm", "-v", "told"]), shim.cli(&["rm", "-v", "told"])] {
            output.expect_ok();
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(count > 200, "much is told: {count}");
}
