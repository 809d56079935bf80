//! Attacks on containers' front: what images, containers and neighbours must not be able to do, each seen from outside.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use integration::{ImageMaker, Process, Shim, Value, is_root, json, requires, wait_for};

const ROOT: &str = "containers need root";

/// Loads busybox with another configuration and one more layer.
fn load(shim: &Shim, name: &str, config: &Value, fill: impl FnOnce(&Path)) {
    let maker = ImageMaker::busybox().with("config", config.clone()).layer("attack", fill);
    let archive = maker.named(name).docker_archive(&shim.folder().join("image"));
    shim.load(&archive);
    fs::remove_file(archive).unwrap();
}

/// A folder of the host that an image's links lead to; what is in it.
fn canary(shim: &Shim) -> (String, impl Fn() -> Vec<String> + use<>) {
    let folder = shim.folder().join("canary");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("hosts"), "the host's").unwrap();
    let path = folder.to_str().unwrap().to_owned();
    let look = move || {
        let mut found: Vec<String> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| format!("{:?} {:?}", entry.file_name(), fs::read_to_string(entry.path())))
            .collect();
        found.sort();
        found
    };
    (path, look)
}

#[test]
fn cve_2024_21626_no_descriptor_is_a_working_folder() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let id = shim.detached(&["--name", "box", "busybox", "sleep", "600"]);
    for number in [3, 5, 7, 9] {
        let folder = format!("/proc/self/fd/{number}");
        load(&shim, "folder", &json!({"Env": ["PATH=/bin"], "WorkingDir": folder}), |_| ());
        for output in [
            shim.run(&["--rm", "folder", "pwd"]),
            shim.run(&["--rm", "-w", &folder, "busybox", "pwd"]),
            shim.cli(&["exec", "-w", &folder, "box", "pwd"]),
            shim.run(&["--rm", "-w", "/proc/1/cwd", "busybox", "pwd"]),
        ] {
            assert!(output.expect_fail().stdout.is_empty());
        }
    }
    // Nor is there any that would be one.
    let script = "for fd in /proc/1/fd/* /proc/self/fd/*; do test ! -d $fd || echo $fd; done";
    for words in [&["exec", "box", "sh", "-c", script][..], &["run", "--rm", "busybox", "sh", "-c", script]] {
        shim.cli(words).expect_ok().expect_stdout("");
    }
    let numbers: Vec<u32> = shim.process(&id).descriptors().iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [0, 1, 2]);
}

#[test]
fn cve_2019_18837_links_of_an_image_lead_nowhere_on_the_host() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let (host, look) = canary(&shim);
    let before = look();
    let config = json!({"Env": ["PATH=/bin"]});
    load(&shim, "files", &config, |root| {
        fs::create_dir(root.join("etc")).unwrap();
        symlink(format!("{host}/hosts"), root.join("etc/hosts")).unwrap();
        symlink(format!("../../../../../../../..{host}/resolv.conf"), root.join("etc/resolv.conf")).unwrap();
        symlink(format!("{host}/hostname"), root.join("etc/hostname")).unwrap();
        fs::create_dir(root.join("sbin")).unwrap();
        symlink(format!("{host}/init"), root.join("sbin/docker-init")).unwrap();
    });
    load(&shim, "etc", &config, |root| symlink(&host, root.join("etc")).unwrap());
    load(&shim, "dev", &config, |root| symlink(&host, root.join("dev")).unwrap());
    load(&shim, "run", &config, |root| symlink(&host, root.join("away")).unwrap());
    for words in [
        &["files", "cat", "/etc/hosts"][..],
        &["--init", "files", "true"],
        &["etc", "cat", "/etc/hosts", "/etc/resolv.conf"],
        &["dev", "sh", "-c", "echo x >/dev/x"],
        &["-t", "dev", "true"],
        &["--tmpfs", "/away/tmpfs", "run", "true"],
        &["-w", "/away/folder", "run", "true"],
        &["-v", "/etc/os-release:/away/file", "run", "true"],
    ] {
        let output = shim.call(&["run", "--rm"]).args(words).output();
        assert!(!output.stdout.contains("the host's"), "{output}");
        assert_eq!(look(), before, "{output}");
    }
    // Proc on a link would be whatever the link leads to.
    load(&shim, "proc", &config, |root| symlink(&host, root.join("proc")).unwrap());
    shim.run(&["--rm", "proc", "true"]).expect_code(125).expect_stderr("/proc");
    assert_eq!(look(), before);
}

#[test]
fn cve_2024_40635_a_user_that_is_no_number_of_the_kernel_is_nobody() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let users = ["4294967296", "4294967295", "2147483648", "-1", "0:4294967296", "18446744073709551616"];
    let passwd: String = users.iter().map(|user| format!("{user}:x:0:0::/:/bin/sh\n")).collect();
    for user in users {
        load(&shim, "user", &json!({"Env": ["PATH=/bin"], "User": user}), |root| {
            fs::create_dir(root.join("etc")).unwrap();
            fs::write(root.join("etc/passwd"), &passwd).unwrap();
        });
        shim.run(&["--rm", "user", "id"]).expect_code(125).expect_stderr("must be in range 0-2147483647");
        shim.run(&["--rm", "-u", user, "busybox", "id"]).expect_code(125);
    }
    // CVE-2024-9676, CVE-2026-47262: neither waited for nor read to the end.
    load(&shim, "pipe", &json!({"Env": ["PATH=/bin"], "User": "bob"}), |root| {
        fs::create_dir(root.join("etc")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("etc/passwd"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
    });
    shim.run(&["--rm", "pipe", "id"]).expect_code(125).expect_stderr("not a file");
    load(&shim, "long", &json!({"Env": ["PATH=/bin"], "User": "bob"}), |root| {
        fs::create_dir(root.join("etc")).unwrap();
        fs::write(root.join("etc/passwd"), vec![b'\n'; 5 << 20]).unwrap();
    });
    shim.run(&["--rm", "long", "id"]).expect_code(125).expect_stderr("it is longer than");
}

#[test]
fn cve_2026_53488_nothing_that_an_image_says_is_in_charge() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let config = json!({
        "Env": ["PATH=/bin", "LD_PRELOAD=/evil.so", "CAISSON_RUNTIME=/evil", "DOCKER_HOST=tcp://evil"],
        "Volumes": {"/../../../etc": {}},
        "StopSignal": "NONSENSE",
        "Labels": {
            "containerd.io/restart.policy": "always",
            "containerd.io/restart.loguri": "binary:///bin/evil",
            "io.containerd.runtime": "/bin/evil",
            "io.podman.annotations.privileged": "TRUE",
            "com.docker.runtime": "/bin/evil",
            "restart": "always",
            "run.oci.handler": "krun",
            "run.oci.hooks.stderr": "/evil",
            "org.systemd.property.ExecStop": "'/bin/evil'",
        },
        "HostConfig": {"Privileged": true, "NetworkMode": "host", "Binds": ["/:/host"]},
        "Privileged": true,
    });
    load(&shim, "labels", &config, |_| ());
    let id = shim.detached(&["--name", "box", "labels", "sleep", "600"]);
    let told = shim.inspect("box");
    assert_eq!(told["Config"]["Labels"]["run.oci.handler"], "krun", "they are only told");
    let host_config = &told["HostConfig"];
    assert_eq!(host_config["RestartPolicy"]["Name"], "no");
    assert_eq!(host_config["Privileged"], false);
    assert_eq!(host_config["NetworkMode"], "none");
    // A volume of its own at a place inside, and nothing of the host's.
    let mounts = told["Mounts"].as_array().unwrap();
    assert_eq!((mounts.len(), &mounts[0]["Destination"]), (1, &json!("/etc")));
    assert!(mounts[0]["Source"].as_str().unwrap().starts_with(shim.root().to_str().unwrap()), "{told}");
    let inside = shim.cli(&["exec", "box", "ls", "/etc"]).expect_ok().stdout;
    assert_eq!(inside, "group\nhostname\nhosts\npasswd\nresolv.conf\n");
    // What engines and runtimes take for orders is in the document's annotations: there are none of the image's.
    let document = shim.document(&id).to_string();
    for word in ["evil", "krun", "loguri", "HostConfig"] {
        let found = document.replace("LD_PRELOAD=/evil.so", "").replace("CAISSON_RUNTIME=/evil", "");
        let found = found.replace("DOCKER_HOST=tcp://evil", "");
        assert!(!found.contains(word), "{word}: {found}");
    }
    let process = shim.process(&id);
    shim.cli(&["stop", "--time", "1", "box"]).expect_ok();
    assert!(!process.is_alive());
    assert_eq!(shim.recorded_state(&id)["status"], "exited");
    for place in ["/proc", "/proc/self/fd"] {
        load(&shim, "labels", &json!({"Env": ["PATH=/bin"], "Volumes": {place: {}}}), |_| ());
        shim.run(&["labels", "true"]).expect_code(125).expect_stderr("of the image: no volume may be there");
    }
}

#[test]
fn cve_2020_15257_and_2024_25621_sockets_and_folders_are_the_users_own() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let host = ["--network", "host", "busybox", "sleep", "600"];
    let id = shim.detached(&[&["--name", "box"][..], &host].concat());
    for folder in [
        shim.root(),
        shim.state(),
        shim.root().join("containers"),
        shim.container_folder(&id),
        shim.state().join("containers"),
        shim.state().join("containers").join(&id),
        shim.state().join("runtime"),
    ] {
        let mode = fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700, "{}", folder.display());
    }
    // Each socket of a monitor has a name in that folder: none can be reached by its name alone.
    let monitors: Vec<Process> = shim.processes();
    assert!(!monitors.is_empty());
    let sockets: Vec<String> = monitors
        .iter()
        .flat_map(|process| process.descriptors())
        .filter_map(|(_, target)| Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    assert!(!sockets.is_empty());
    let table = fs::read_to_string("/proc/net/unix").unwrap();
    for line in table.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if fields.get(6).is_some_and(|inode| sockets.iter().any(|known| known == inode)) {
            assert!(!fields.get(7).is_some_and(|name| name.starts_with('@')), "{line}");
        }
    }
    // Another user finds nothing there.
    let socket = shim.state().join("containers").join(&id).join("socket");
    assert!(fs::metadata(&socket).is_ok_and(|data| data.uid() == 0));
}

#[test]
fn cve_2021_3602_the_callers_environment_stays_with_him() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let secret = "hunter2-of-the-caller";
    let run = |words: &[&str]| shim.call(&["run"]).args(words).env("SECRET", secret).output().expect_ok();
    let output = run(&["--rm", "busybox", "sh", "-c", "env; cat /proc/*/environ 2>/dev/null"]);
    assert!(!output.stdout.contains(secret), "{output}");
    run(&["--rm", "-e", "SECRET", "busybox", "sh", "-c", "echo $SECRET"])
        .expect_stdout(&format!("{secret}\n"));
    // Given on, it is the container's, and in nobody's command line or environment outside.
    let id = run(&["--detach", "-e", "SECRET", "busybox", "sleep", "600"]).stdout.trim_end().to_owned();
    let monitors = shim.processes();
    assert!(!monitors.is_empty());
    for process in monitors {
        let all = [process.read("cmdline"), process.read("environ")].concat();
        assert!(!all.contains(secret), "{all}");
    }
    assert!(shim.process(&id).read("environ").contains(secret));
    let exec = shim.call(&["exec", &id, "env"]).env("OTHER", secret).output().expect_ok();
    assert!(!exec.stdout.contains("OTHER"), "{exec}");
}

#[test]
fn what_a_container_has_put_in_the_way_of_exec_leads_nowhere() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let (host, look) = canary(&shim);
    let before = look();
    fs::write(Path::new(&host).join("passwd"), "bob:x:0:0::/:/bin/sh\n").unwrap();
    let id = shim.detached(&["--name", "box", "busybox", "sleep", "600"]);
    let put = |script: &str| drop(shim.cli(&["exec", "box", "sh", "-c", script]).expect_ok());
    put(&format!("rm -f /etc/passwd; ln -s {host}/passwd /etc/passwd; ln -s {host} /away"));
    shim.cli(&["exec", "-u", "bob", "box", "id"]).expect_fail().expect_stderr("bob");
    shim.cli(&["exec", "-w", "/away", "box", "pwd"]).expect_fail();
    put("rm /etc/passwd; mkfifo /etc/passwd");
    shim.cli(&["exec", "-u", "bob", "box", "id"]).expect_fail();
    put("rm /etc/passwd; ln -s /proc/self/environ /etc/passwd");
    shim.cli(&["exec", "-u", "bob", "box", "id"]).expect_fail();
    // A program of the container is no help to ours: it is not looked for there.
    put(
        "mkdir -p /usr/bin; for x in runtime shim ps tar; do printf '#!/bin/sh\\ntouch /ran' >/usr/bin/$x; chmod 755 /usr/bin/$x; done",
    );
    for words in [&["top", "box"][..], &["diff", "box"], &["export", "-o", "/dev/null", "box"]] {
        shim.cli(words).expect_ok();
    }
    put("test ! -e /ran");
    fs::remove_file(Path::new(&host).join("passwd")).unwrap();
    assert_eq!(look(), before);
    assert!(shim.process(&id).is_alive());
}

#[test]
fn a_later_process_with_a_recorded_number_is_left_alone() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let mut other = integration::Call::of("sleep").args(["600"]).spawn();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    for words in [
        &["stop", "box"][..],
        &["kill", "box"],
        &["restart", "box"],
        &["pause", "box"],
        &["rm", "--force", "box"],
    ] {
        let id = shim.stdout(&["create", "--name", "box", "busybox", "sleep", "600"]).trim_end().to_owned();
        let path = shim.container_folder(&id).join("state.json");
        let mut state = shim.recorded_state(&id);
        state["status"] = json!("running");
        state["boot"] = json!(boot.trim());
        state["process"] = json!({"pid": other.pid(), "start_time": 1});
        fs::write(&path, state.to_string()).unwrap();
        let output = shim.cli(words);
        other.expect_alive();
        assert!(!output.stderr.contains("panicked"), "{output}");
        if words[0] != "rm" {
            wait_for("the end of a container that is none", || {
                let state = shim.inspect("box");
                (state["State"]["Pid"] != other.pid()).then_some(())
            });
            shim.cli(&["rm", "--force", "box"]).expect_ok();
        }
        other.expect_alive();
    }
}
