//! Images and bundles of an ordinary user: no privilege on the host, no user namespace around.
// Test code all of it: helpers panic where they stand, as the tests do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use integration::registry::docker::{self, Demands};
use integration::{
    Call, ImageMaker, Layout, Ordinary, Registry, Scratch, UsersShim, is_root, json, requires,
    shim_under_test, wait_for,
};
use rustix::process::{Pid, Signal, kill_process};

const USER: Ordinary = Ordinary::NOBODYS;

/// Busybox, and a file of user 1000.
fn image() -> ImageMaker {
    let config = json!({"Env": ["PATH=/bin"], "Cmd": ["sh", "-c", "id -u; id -G; stat -c '%u:%g %a' /owned; touch /x && echo made"], "User": "user"});
    let owned = |folder: &Path| {
        fs::write(folder.join("owned"), "").unwrap();
        std::os::unix::fs::chown(folder.join("owned"), Some(1000), Some(1000)).unwrap();
        fs::set_permissions(folder.join("owned"), Permissions::from_mode(0o4750)).unwrap();
    };
    ImageMaker::busybox().layer_with_owners("owned", owned).with("config", config).named("box")
}

/// A shim of this user's, with that image as `image.tar` in his folder.
fn shim_of(user: Ordinary) -> UsersShim {
    let shim = UsersShim::of(user);
    let _ = image().docker_archive(&shim.path("image.tar"));
    shim
}

fn shim() -> UsersShim {
    shim_of(USER)
}

#[test]
fn an_ordinary_users_containers_run_in_namespaces_that_they_share() {
    requires!(is_root(), "becoming another user needs root");
    let shim = shim();
    shim.give_runtime();
    let archive = shim.path("image.tar");
    shim.call(&["load", "-qi", archive.to_str().unwrap()]).output().expect_ok();
    shim.call(&["ps", "-a"]).output().expect_ok().expect_no_stderr();
    let script =
        "id -u; stat -c %u:%g /owned; cat /proc/self/uid_map; touch /x && echo made; cat /etc/hostname";
    let words = ["run", "--rm", "-u", "root", "-h", "named", "box", "sh", "-c", script];
    let output = shim.call(&words).output().expect_ok().expect_no_stderr();
    let lines: Vec<String> =
        output.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let own = format!("0 {} 1", USER.id);
    let granted = format!("1 {} 65536", USER.subordinate);
    assert_eq!(lines, ["0", "1000:1000", &own, &granted, "made", "named"], "{output}");
    let id = shim.call(&["run", "-d", "--name", "web", "box", "sleep", "600"]).output().expect_ok().stdout;
    let id = id.trim_end();
    // Its files, and its mount, are nobody else's.
    assert_eq!(fs::metadata(shim.path("root/containers").join(id)).unwrap().uid(), USER.id);
    assert!(!fs::read_to_string("/proc/self/mounts").unwrap().contains(id));
    let listed = shim.call(&["ps", "--format", "{{.Names}} {{.State}}"]).output().expect_ok();
    assert_eq!(listed.stdout, "web running\n");
    shim.call(&["exec", "-u", "root", "web", "id", "-u"]).output().expect_ok().expect_stdout("0\n");
    // Without a cgroup there are its processes all the same.
    let top = shim.call(&["top", "web", "-o", "pid,comm"]).output().expect_ok().stdout;
    assert!(top.starts_with("PID ") && top.lines().count() == 2 && top.ends_with(" sleep\n"), "{top}");
    let relative = ["run", "--rm", "-u", "root", "-v", ".:/here", "box", "ls", "/here/image.tar"];
    let output = shim.call(&relative).current_dir(shim.folder()).output();
    output.expect_ok().expect_stdout("/here/image.tar\n");
    let refused = shim.call(&["rm", "web"]).output().expect_code(1);
    refused.expect_stderr("container is running: stop the container before removing or force remove");
    let limited = shim.call(&["run", "--rm", "-m", "64m", "box", "true"]).output().expect_ok();
    limited.expect_stderr("WARNING: Your kernel does not support memory limit capabilities");
    let joined = ["run", "--rm", "--network", "container:web", "--pid", "container:web", "box", "true"];
    shim.call(&joined).output().expect_ok().expect_no_stderr();
    shim.call(&["rm", "-f", "web"]).output().expect_ok().expect_stdout("web\n");
    assert_eq!(fs::read_dir(shim.path("root/containers")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(shim.path("state/containers")).unwrap().count(), 0);
    shim.call(&["rmi", "box"]).output().expect_ok();
    assert_eq!(fs::read_dir(shim.path("root/layers")).unwrap().count(), 0);
}

/// Whoever looks first takes over what is to go on, and that may be a command which makes no namespaces otherwise.
#[test]
fn what_goes_on_after_everything_was_killed_is_in_namespaces_again() {
    requires!(is_root(), "becoming another user needs root");
    let shim = shim();
    shim.give_runtime();
    let archive = shim.path("image.tar");
    shim.call(&["load", "-qi", archive.to_str().unwrap()]).output().expect_ok();
    let words = ["run", "-d", "--restart", "always", "--name", "web", "box", "sleep", "600"];
    shim.call(&words).output().expect_ok();
    let program = || {
        let told = shim.call(&["inspect", "-f", "{{.State.Pid}}", "web"]).output().expect_ok();
        told.stdout.trim_end().parse::<i32>().unwrap()
    };
    let first = program();
    shim.kill_all();
    let _ = kill_process(Pid::from_raw(first).unwrap(), Signal::KILL);
    wait_for("the end of all", || (!Path::new(&format!("/proc/{first}")).exists()).then_some(()));
    // The first two find it, the later ones wait for its restart.
    let second = wait_for("the next run", || {
        shim.call(&["ps", "-a"]).output().expect_ok().expect_no_stderr();
        Some(program()).filter(|pid| *pid != 0 && *pid != first)
    });
    let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
    assert_ne!(of(&second.to_string()), of("self"));
    for pid in shim.processes() {
        assert_eq!(of(&pid.to_string()), of(&second.to_string()));
    }
    shim.call(&["rm", "-f", "web"]).output().expect_ok();
}

#[test]
fn an_ordinary_users_volumes_have_files_of_his_containers_users() {
    requires!(is_root(), "becoming another user needs root");
    let shim = shim();
    shim.give_runtime();
    let archive = shim.path("data.tar");
    let data = |folder: &Path| {
        fs::create_dir(folder.join("data")).unwrap();
        fs::create_dir(folder.join("data/part")).unwrap();
        fs::write(folder.join("data/part/file"), "of the image\n").unwrap();
        for path in ["data", "data/part", "data/part/file"] {
            std::os::unix::fs::chown(folder.join(path), Some(1000), Some(1000)).unwrap();
        }
    };
    let config = json!({"Env": ["PATH=/bin"], "Volumes": {"/anonymous": {}}});
    let maker = ImageMaker::busybox().layer_with_owners("data", data).with("config", config).named("data");
    let _ = maker.docker_archive(&archive);
    shim.call(&["load", "-qi", archive.to_str().unwrap()]).output().expect_ok();
    shim.call(&["volume", "create", "kept"]).output().expect_ok().expect_stdout("kept\n");
    let script = "stat -c %u:%g /data/part/file; echo new > /data/new";
    let words = ["run", "--rm", "-u", "1000", "-v", "kept:/data", "data", "sh", "-c", script];
    shim.call(&words).output().expect_ok().expect_stdout("1000:1000\n");
    let inside = fs::metadata(shim.path("root/volumes/kept/_data/new")).unwrap();
    assert!(inside.uid() >= USER.subordinate, "{}", inside.uid());
    let words = ["run", "--rm", "--mount", "src=kept,dst=/p,volume-subpath=part", "data", "cat", "/p/file"];
    shim.call(&words).output().expect_ok().expect_stdout("of the image\n");
    let words = ["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=mode=750", "memory"];
    shim.call(&words).output().expect_ok();
    let words = ["run", "--rm", "-v", "memory:/m", "data", "stat", "-c", "%a", "/m"];
    shim.call(&words).output().expect_ok().expect_stdout("750\n");
    shim.call(&["volume", "rm", "kept", "memory"]).output().expect_ok().expect_stdout("kept\nmemory\n");
    shim.call(&["volume", "ls", "-q"]).output().expect_ok().expect_stdout("");
    assert_eq!(fs::read_dir(shim.path("root/volumes")).unwrap().count(), 0);
}

#[test]
fn an_ordinary_users_image_is_loaded_bundled_run_and_removed() {
    requires!(is_root(), "becoming another user needs root");
    let shim = shim();
    let archive = shim.path("image.tar");
    shim.call(&["load", "-qi", archive.to_str().unwrap()])
        .output()
        .expect_ok()
        .expect_stdout("Loaded image: box:latest\n");
    assert!(shim.call(&["images"]).output().expect_ok().stdout.contains("box"));
    let folder = shim.path("made");
    let words = ["bundle", "-u", "root", "box", folder.to_str().unwrap()];
    shim.call(&words).output().expect_ok().expect_no_stderr();
    // Owners inside are ids outside, which nobody else has.
    let stat = fs::metadata(folder.join("rootfs/owned")).unwrap();
    assert_eq!(
        (stat.uid(), stat.gid(), stat.mode() & 0o7777),
        (USER.subordinate + 999, USER.subordinate + 999, 0o4750)
    );
    assert_eq!(fs::metadata(folder.join("rootfs/bin")).unwrap().uid(), USER.id);
    let wanted = "0\n0\n1000:1000 4750\nmade\n";
    shim.run("made", "root").output().expect_ok().expect_stdout(wanted);
    if Path::new("/usr/bin/crun").exists() {
        shim.run_on_crun("made").output().expect_ok().expect_stdout(wanted);
    }
    shim.call(&["bundle", "--rm", folder.to_str().unwrap()]).output().expect_ok();
    assert!(!folder.exists());
    let checked = shim.call(&["system", "check"]).output().expect_ok();
    assert!(checked.stdout.contains("nothing is wrong"), "{checked}");
    // As the image's own user; an overlay would be gone with the command.
    let folder = shim.path("again");
    let words = ["bundle", "--copy=false", "box", folder.to_str().unwrap()];
    shim.call(&words).output().expect_code(1).expect_stderr("would be gone with this command");
    shim.call(&["bundle", "box", folder.to_str().unwrap()]).output().expect_ok();
    let output = shim.run("again", "user").output();
    assert!(output.stdout.starts_with("1000\n1000 2000\n1000:1000 4750\n"), "{output}");
    shim.call(&["bundle", "--rm", folder.to_str().unwrap()]).output().expect_ok();
    shim.call(&["rmi", "box"]).output().expect_ok();
    assert_eq!(fs::read_dir(shim.path("root/layers")).unwrap().count(), 0);
}

#[test]
fn an_ordinary_user_pulls_by_his_own_password() {
    requires!(is_root(), "becoming another user needs root");
    requires!(docker::is_installed(), "no docker-registry");
    let scratch = Scratch::new();
    image().oci_layout(&scratch.path().join("layout"));
    let layout = Layout::open(&scratch.path().join("layout"));
    let registry = Registry::start(Demands { password: true, ..Demands::default() });
    registry.put(&layout, "box", "1");
    let name = format!("{}/box:1", registry.host());
    let shim = shim();
    let denied = shim.call(&["pull", &name]).output().expect_code(1);
    denied.expect_stderr("pull access denied").expect_stderr("no basic auth credentials");
    // His file, as docker writes it.
    let login = ["login", "-u", "user", "--password-stdin", &registry.host()];
    shim.call(&login).stdin_bytes("pass word").output().expect_ok();
    let config = shim.path("home/.docker/config.json");
    let stat = fs::metadata(&config).unwrap();
    assert_eq!((stat.uid(), stat.mode() & 0o777), (USER.id, 0o600));

    let output = shim.call(&["pull", &name]).output().expect_ok().expect_no_stderr();
    assert_eq!(output.stdout.matches(": Pull complete\n").count(), layout.layers.len(), "{output}");
    assert!(!output.stdout.contains("pass word"), "{output}");
    let listed = shim.call(&["images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]);
    listed.output().expect_ok().expect_stdout(&format!("{name} {}\n", layout.config));
    let checked = shim.call(&["system", "check"]).output().expect_ok();
    assert!(checked.stdout.contains("nothing is wrong"), "{checked}");
    let folder = shim.path("made");
    shim.call(&["bundle", "-u", "root", &name, folder.to_str().unwrap()])
        .output()
        .expect_ok()
        .expect_no_stderr();
    let stat = fs::metadata(folder.join("rootfs/owned")).unwrap();
    assert_eq!(
        (stat.uid(), stat.gid(), stat.mode() & 0o7777),
        (USER.subordinate + 999, USER.subordinate + 999, 0o4750)
    );
    shim.run("made", "pulled").output().expect_ok().expect_stdout("0\n0\n1000:1000 4750\nmade\n");

    // Somebody else, with and without the knowledge where that file is.
    let other = shim_of(Ordinary { id: USER.id + 1, subordinate: USER.subordinate + 100_000 });
    other.call(&["pull", &name]).output().expect_code(1).expect_stderr("no basic auth credentials");
    let curious = other.call(&["pull", &name]).env("DOCKER_CONFIG", shim.path("home/.docker")).output();
    curious.expect_code(1).expect_stderr("config.json\": Permission denied");
    assert_eq!(other.call(&["images", "-q"]).output().expect_ok().stdout, "");

    shim.call(&["bundle", "--rm", folder.to_str().unwrap()]).output().expect_ok();
    shim.call(&["rmi", &name]).output().expect_ok();
    assert_eq!(fs::read_dir(shim.path("root/layers")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(shim.path("root/content/sha256")).unwrap().count(), 0);
}

#[test]
fn who_was_granted_no_ids_has_everything_as_his_own() {
    requires!(is_root(), "becoming another user needs root");
    // Ids are granted to somebody else.
    let shim = shim();
    for name in ["etc-subuid", "etc-subgid"] {
        fs::write(shim.path(name), "somebody:1:1\n").unwrap();
    }
    let archive = shim.path("image.tar");
    shim.call(&["load", "-qi", archive.to_str().unwrap()]).output().expect_ok();
    let folder = shim.path("made");
    let refused = shim.call(&["bundle", "box", folder.to_str().unwrap()]).output();
    refused
        .expect_code(1)
        .expect_stderr("user 1000 has no id outside: /etc/subuid and /etc/subgid grant you too few");
    assert!(!folder.exists());
    shim.call(&["bundle", "-u0", "box", folder.to_str().unwrap()]).output().expect_ok();
    assert_eq!(fs::metadata(folder.join("rootfs/owned")).unwrap().uid(), USER.id);
    shim.run("made", "alone").output().expect_ok().expect_stdout("0\n0\n0:0 4750\nmade\n");
    shim.call(&["bundle", "--rm", folder.to_str().unwrap()]).output().expect_ok();
}

#[test]
fn root_of_a_user_namespace_mounts_an_overlay_there() {
    requires!(is_root(), "becoming root of a user namespace with a mount namespace is root's here");
    let folder = integration::Scratch::new();
    let low = |folder: &Path| {
        fs::create_dir_all(folder.join("opaque/old")).unwrap();
        fs::write(folder.join("gone"), "").unwrap();
    };
    let high = |folder: &Path| {
        fs::create_dir(folder.join("opaque")).unwrap();
        fs::write(folder.join("opaque/.wh..wh..opq"), "").unwrap();
        fs::write(folder.join(".wh.gone"), "").unwrap();
    };
    let maker = ImageMaker::busybox().layer("low", low).layer("high", high).named("box");
    let _ = maker.docker_archive(&folder.path().join("image.tar"));
    let script = "cd \"$1\"; shim() { \"$0\" --root \"$PWD/root\" --state \"$PWD/state\" \"$@\"; }
        shim load -qi image.tar && shim bundle box made
        grep -c ' overlay .*,userxattr' /proc/self/mounts; ls made/rootfs/opaque; test -e made/rootfs/gone || echo gone
        touch made/rootfs/new && shim bundle --rm made && grep -c \"^caisson-[0-9a-f]* $PWD/\" /proc/self/mounts; ls made 2>&1";
    let call = Call::of("unshare").args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
    let output = call.args([shim_under_test(), folder.path()]).output();
    let wanted =
        "Loaded image: box:latest\n1\ngone\n0\nls: cannot access 'made': No such file or directory\n";
    assert_eq!(output.stdout, wanted, "{output}");
}
