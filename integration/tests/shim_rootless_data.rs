//! Volumes, files in and out, figures and clean-up of an ordinary user, beside root's: the same command lines come to the
//! same, but for what is told.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;

use integration::engine::compare::without_ids;
use integration::{Call, ImageMaker, Ordinary, Output, Shim, UsersShim, is_root, json, requires};

const USER: Ordinary = Ordinary::NOBODYS;

/// A folder with files of several users, of all kinds that an ordinary user may have.
fn image() -> ImageMaker {
    let fill = |folder: &Path| {
        let data = folder.join("data");
        fs::create_dir_all(data.join("deep")).unwrap();
        for (name, owner, mode) in
            [("mine", 0, 0o600), ("web", 33, 0o640), ("suid", 1000, 0o4755), ("deep/big", 65535, 0o444)]
        {
            fs::write(data.join(name), format!("content of {name}\n")).unwrap();
            chown(data.join(name), Some(owner), Some(owner)).unwrap();
            fs::set_permissions(data.join(name), Permissions::from_mode(mode)).unwrap();
        }
        symlink("mine", data.join("link")).unwrap();
        fs::hard_link(data.join("web"), data.join("same")).unwrap();
        chown(&data, Some(33), Some(33)).unwrap();
        fs::create_dir(folder.join("gone")).unwrap();
    };
    let config = json!({"Env": ["PATH=/bin"], "Cmd": ["sleep", "600"], "Volumes": {"/anonymous": {}}});
    ImageMaker::busybox().layer_with_owners("data", fill).with("config", config).named("box")
}

/// What both are told, in this order; `FOLDER` is a folder of each one's own.
const LINES: &[&[&str]] = &[
    &["load", "-qi", "FOLDER/image.tar"],
    &["volume", "create", "--label", "a=1", "kept"],
    &[
        "run",
        "--rm",
        "-v",
        "kept:/data",
        "box",
        "sh",
        "-c",
        "cd /data; stat -c '%u:%g %a %h %F %n' . * deep/*; echo new >new",
    ],
    &[
        "run",
        "--rm",
        "-v",
        "kept:/data:ro",
        "-u",
        "33",
        "box",
        "sh",
        "-c",
        "cat /data/web /data/new; echo x >/data/x",
    ],
    &["run", "--rm", "--mount", "src=kept,dst=/d,volume-subpath=deep", "box", "ls", "/d"],
    &[
        "run",
        "--rm",
        "--mount",
        "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=750",
        "box",
        "stat",
        "-c",
        "%a",
        "/t",
    ],
    &["run", "-d", "--name", "web", "-v", "kept:/kept", "-v", "FOLDER/bound:/bound", "box"],
    &[
        "exec",
        "web",
        "sh",
        "-c",
        "echo changed >/data/mine; mkdir /made; echo x >/made/x; chown -R 33:33 /made; rmdir /gone; rm /data/suid",
    ],
    &["diff", "web"],
    &["cp", "FOLDER/bound/file", "web:/copied"],
    &["cp", "-a", "FOLDER/bound", "web:/made/"],
    &[
        "exec",
        "web",
        "sh",
        "-c",
        "stat -c '%u:%g %a %n' /copied /made/bound /made/bound/file; cat /copied; echo back >/bound/back",
    ],
    &["cp", "web:/data", "FOLDER/out"],
    &["cp", "web:/kept/web", "FOLDER/out-of-volume"],
    &["cp", "web:/nothing", "FOLDER/nothing"],
    &["cp", "FOLDER/bound/file", "web:/data/web/x"],
    &["export", "-o", "FOLDER/running.tar", "web"],
    &["commit", "-q", "-c", "LABEL made=1", "web", "again"],
    &[
        "run",
        "--rm",
        "again",
        "sh",
        "-c",
        "cat /data/mine; stat -c '%u:%g' /made/x /data/web; ls /gone /data/suid",
    ],
    &["run", "--rm", "--volumes-from", "web:ro", "box", "sh", "-c", "cat /kept/new; touch /kept/x"],
    &["stats", "--no-stream", "--format", "{{.Name}} {{.NetIO}}", "web"],
    &["top", "web", "-o", "comm"],
    &["update", "--restart", "on-failure:3", "web"],
    &["inspect", "--format", "{{json .HostConfig.RestartPolicy}} {{len .Mounts}} {{.State.Status}}", "web"],
    &["update", "--pids-limit", "-1", "web"],
    &["volume", "rm", "kept"],
    &["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}} {{.Size}} {{.Reclaimable}}"],
    &["ps", "-a", "--size", "--format", "{{.Names}} {{.LocalVolumes}} {{.Size}}"],
    &["stop", "-t", "0", "web"],
    &["diff", "web"],
    &["cp", "FOLDER/bound/file", "web:/data/stopped"],
    &["cp", "FOLDER/bound/file", "web:/kept/stopped"],
    &["cp", "web:/data/.", "FOLDER/out-stopped"],
    &["cp", "web:/kept", "FOLDER/out-kept"],
    &["export", "-o", "FOLDER/stopped.tar", "web"],
    &["commit", "-q", "web", "stopped"],
    &["start", "web"],
    &["exec", "web", "sh", "-c", "cat /data/stopped /kept/stopped; stat -c %u:%g /data/stopped"],
    &["rm", "-f", "web"],
    &["volume", "ls", "-q", "-f", "name=kept"],
    &["volume", "prune", "-f", "--filter", "label!=a"],
    &["volume", "prune", "-af"],
    &["system", "prune", "-af", "--volumes"],
    &["images", "-q"],
    &["system", "check"],
];

/// A folder of the caller's with what the lines take from it.
fn prepare(folder: &Path, owner: u32) {
    let _ = image().docker_archive(&folder.join("image.tar"));
    let bound = folder.join("bound");
    fs::create_dir(&bound).unwrap();
    fs::write(bound.join("file"), "of the host\n").unwrap();
    for path in [&bound, &bound.join("file")] {
        chown(path, Some(owner), Some(owner)).unwrap();
    }
}

/// What an archive or a folder has in it, with owners where those are inside.
fn listed(path: &Path, owners: bool) -> String {
    let call = if path.extension().is_some() {
        Call::of("tar").args(["--numeric-owner", "-tvf"]).args([path])
    } else if owners {
        Call::of("find").args([path]).args(["-printf", "%P %y %m %U:%G %l\n"])
    } else {
        Call::of("find").args([path]).args(["-printf", "%P %y %m %l\n"])
    };
    let listed = call.output().expect_ok().stdout;
    // Times are of the moment.
    let without_times = |line: &str| match path.extension() {
        Some(_) => line
            .split_whitespace()
            .enumerate()
            .filter(|(index, _)| !matches!(index, 3 | 4))
            .map(|(_, word)| word)
            .collect::<Vec<_>>()
            .join(" "),
        None => line.to_owned(),
    };
    let mut lines: Vec<String> = listed.lines().map(without_times).collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn what_an_ordinary_user_does_with_data_comes_to_the_same_as_roots() {
    requires!(is_root(), "becoming another user needs root");
    let (root, user) = (Shim::new(), UsersShim::of(USER));
    user.give_runtime();
    prepare(root.folder(), 0);
    prepare(user.folder(), USER.id);
    let mut different = Vec::new();
    for words in LINES {
        let of = |folder: &Path| -> Vec<String> {
            words.iter().map(|word| word.replace("FOLDER", folder.to_str().unwrap())).collect()
        };
        let told = |output: &Output, folder: &Path| {
            let plain = |text: &str| without_ids(&text.replace(folder.to_str().unwrap(), "FOLDER"));
            (output.code(), plain(&output.stdout), plain(&output.stderr))
        };
        let words_of_user = of(user.folder());
        let words_of_user: Vec<&str> = words_of_user.iter().map(String::as_str).collect();
        let theirs = root.cli(&of(root.folder()));
        let ours = user.call(&words_of_user).output();
        if told(&ours, user.folder()) != told(&theirs, root.folder()) {
            different.push(format!("{words:?}\nuser: {ours}\nroot: {theirs}"));
        }
    }
    for name in ["running.tar", "stopped.tar", "out", "out-stopped", "out-kept", "out-of-volume"] {
        // What is copied out is the caller's, as docker has it.
        let (ours, theirs) =
            (listed(&user.folder().join(name), false), listed(&root.folder().join(name), false));
        if ours != theirs || ours.is_empty() {
            different.push(format!("{name}\nuser: {ours}\nroot: {theirs}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n\n"));
}
