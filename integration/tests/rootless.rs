//! Containers of an ordinary user: no privilege on the host, no user namespace around. (runc(8), `--rootless`;
//! user_namespaces(7); newuidmap(1).)
// Test code all of it: helpers panic where they stand, as the tests do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use integration::{
    Bundle, ConsoleSocket, Container, Ordinary, Process, cgroup2_mount, json, known_gap, requires, wait_for,
};

const USER: Ordinary = Ordinary::NOBODYS;

fn bundle() -> Bundle {
    USER.bundle(Bundle::new())
}

fn mapped() -> Bundle {
    USER.mapped_bundle(Bundle::new())
}

/// Runs a script in a container of the user's in the foreground.
#[track_caller]
fn printed(bundle: Bundle, script: &str) -> String {
    USER.container(bundle.sh(script)).run().expect_ok().stdout.trim_end().to_owned()
}

#[track_caller]
fn asleep(bundle: Bundle) -> Container {
    let container = USER.container(bundle.sh("echo here; exec sleep 600"));
    container.run_detached().expect_ok();
    container.wait_stdout("here");
    container
}

/// The text of a map with single blanks.
fn map(process: Process, name: &str) -> String {
    let text = process.read(name);
    let lines: Vec<String> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    lines.join(", ")
}

#[test]
fn what_spec_writes_for_the_user_runs() {
    known_gap!(Crun, "it maps all granted ids unasked");
    let container = USER.container(Bundle::new());
    let config = container.bundle().path().join("config.json");
    fs::remove_file(&config).unwrap();
    container
        .call("spec")
        .args(["--rootless", "--bundle"])
        .args([container.bundle().path()])
        .output()
        .expect_ok();
    let text = fs::read_to_string(&config).unwrap();
    let script = "id -u; cat /proc/self/uid_map; touch /dev/shm/x && echo made";
    let args = format!("\"sh\", \"-c\", {}", json!(script));
    // runc of Debian writes a version that crun does not know; ours writes the newest.
    fs::write(&config, text.replace("\"sh\"", &args).replace("\"terminal\": true", "\"terminal\": false"))
        .unwrap();
    let output = container.run().expect_ok();
    let words: Vec<&str> = output.stdout.split_whitespace().collect();
    assert_eq!(words, ["0", "0", &USER.id.to_string(), "1", "made"], "{output}");
}

#[test]
fn every_command_works_for_the_user() {
    let container = USER.container(bundle().sh("echo here; exec sleep 600"));
    container.create().expect_ok();
    assert_eq!(container.status(), "created");
    container.start().expect_ok();
    container.wait_stdout("here");
    let state = container.state_output().expect_ok().expect_no_stderr().json();
    assert_eq!(state["status"], "running");
    let init = container.init();
    assert!(init.status("Uid").split_whitespace().all(|id| id == USER.id.to_string()));
    assert_eq!(map(init, "uid_map"), format!("0 {} 1", USER.id));
    assert_eq!(map(init, "gid_map"), format!("0 {} 1", USER.id));
    assert_ne!(init.namespace("user"), Process::this().namespace("user"));
    let list = container.call("list").args(["--format", "json"]).output().expect_ok();
    assert_eq!(list.json()[0]["id"], container.id());
    // A user without a name is written by number.
    let owner = list.json()[0]["owner"].as_str().unwrap().to_owned();
    assert!(["ordinary".to_owned(), format!("#{}", USER.id)].contains(&owner), "{owner}");
    container.kill("KILL").expect_ok();
    container.wait_status("stopped");
    container.delete().expect_ok();
    container.state_output().expect_fail().expect_runc_phrase("does not exist");
}

#[test]
fn devices_links_and_mounts_are_there() {
    let inside = printed(
        bundle(),
        "echo lost >/dev/null && head -c 3 /dev/zero | wc -c; [ -c /dev/tty ] && echo tty; ls -d /sys/class /proc/1; \
         readlink /dev/stdout; stat -c %t:%T /dev/urandom; touch /written && echo written",
    );
    assert_eq!(inside, "3\ntty\n/proc/1\n/sys/class\n/proc/self/fd/1\n1:9\nwritten");
}

#[test]
fn a_terminal_works() {
    let container =
        bundle().set("/process/terminal", json!(true)).sh("tty; stat -c %u $(tty); exec sleep 600");
    let container = USER.container(container);
    let socket = ConsoleSocket::listen(&container.bundle().scratch().join("console"));
    fs::set_permissions(socket.path(), Permissions::from_mode(0o666)).unwrap();
    container.create_with(&["--console-socket", socket.path()]).expect_ok();
    let mut terminal = socket.terminal();
    container.start().expect_ok();
    let text = terminal.read_until("\n0");
    assert!(text.contains("/dev/pts/0"), "{text}");
}

#[test]
fn granted_ids_are_mapped_by_newuidmap() {
    known_gap!(Runc, "it sets no groups for an ordinary user, whatever the namespace allows");
    let user = json!({"uid": 7, "gid": 8, "additionalGids": [9, 10]});
    let bundle = mapped().set("/process/user", user);
    let container = asleep(bundle);
    let init = container.init();
    let (own, first) = (USER.id, USER.subordinate);
    let all = format!("0 {own} 1, 1 {first} 65536");
    assert_eq!([map(init, "uid_map"), map(init, "gid_map")], [all.clone(), all]);
    assert!(init.status("Uid").starts_with(&(first + 6).to_string()), "{}", init.status("Uid"));
    assert!(init.status("Gid").starts_with(&(first + 7).to_string()));
    let groups: Vec<String> = init.status("Groups").split_whitespace().map(str::to_owned).collect();
    assert_eq!(groups, [(first + 8).to_string(), (first + 9).to_string()]);
    // What the user does not own is killed all the same: the namespace is his.
    container.kill("KILL").expect_ok();
    container.wait_status("stopped");
    container.delete().expect_ok();
}

#[test]
fn files_of_others_inside_belong_to_granted_ids() {
    let container = USER
        .container(mapped().capabilities(&["CAP_CHOWN"]).sh("touch /tmp/a && chown 5:6 /tmp/a && echo done"));
    assert_eq!(container.run().expect_ok().stdout, "done\n");
    let made = fs::metadata(container.bundle().rootfs().join("tmp/a")).unwrap();
    assert_eq!((made.uid(), made.gid()), (USER.subordinate + 4, USER.subordinate + 5));
}

#[test]
fn root_inside_need_not_be_the_user() {
    known_gap!(Runc, Crun, "they open the sources as the container's root");
    let all = json!([{"containerID": 0, "hostID": USER.subordinate, "size": 65_536}]);
    let bundle = bundle().set("/linux/uidMappings", all.clone()).set("/linux/gidMappings", all);
    let hidden = bundle.scratch().join("hidden");
    fs::create_dir(&hidden).unwrap();
    fs::write(hidden.join("file"), "content").unwrap();
    fs::set_permissions(&hidden, Permissions::from_mode(0o700)).unwrap();
    let source = hidden.join("file").to_str().unwrap().to_owned();
    let container =
        USER.container(bundle.bind(&source, "/run/file", &["bind", "ro"]).sh("cat /run/file; id -u"));
    // The user opens it, who may; the root of the container could not have.
    fs::set_permissions(container.bundle().rootfs(), Permissions::from_mode(0o777)).unwrap();
    for folder in ["dev", "proc", "sys", "run"] {
        let path = container.bundle().rootfs().join(folder);
        fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
    }
    assert_eq!(container.run().expect_ok().stdout, "content0\n");
}

#[test]
fn ids_that_were_not_granted_are_refused_in_newuidmaps_words() {
    known_gap!(Runc, Crun, "they do not say what the program said");
    let all = json!([{"containerID": 0, "hostID": USER.id, "size": 1},
                     {"containerID": 1, "hostID": USER.subordinate, "size": 65_537}]);
    let container = USER.container(mapped().set("/linux/uidMappings", all.clone()));
    let refused = container.create().expect_fail();
    assert!(container.stderr().contains("linux.uidMappings: newuidmap "), "{}", container.stderr());
    assert!(container.stderr().contains("not allowed"), "{}", container.stderr());
    drop(refused);
    container.state_output().expect_fail();
    let container = USER.container(mapped().set("/linux/gidMappings", all));
    container.run().expect_fail().expect_stderr("linux.gidMappings: newgidmap ");
}

#[test]
fn without_newuidmap_the_error_says_what_is_missing() {
    known_gap!(Runc, Crun, "they look at other places");
    let hide = "mount --bind /dev/null /usr/bin/newuidmap";
    let container = USER.container_from(mapped(), hide, "exec \"$@\"");
    let failed = container.run().expect_fail();
    failed
        .expect_stderr("linux.uidMappings: newuidmap is not in $PATH (Debian has it in the package uidmap)");
    container.state_output().expect_fail();
}

#[test]
fn who_maps_only_himself_gives_up_setgroups() {
    assert_eq!(printed(bundle(), "cat /proc/self/setgroups"), "deny");
    let groups = bundle().set("/process/user/additionalGids", json!([0]));
    known_gap!(Crun, "it leaves them out");
    let refused = USER.container(groups).run().expect_fail();
    refused.expect_stderr("cannot set any additional groups in a rootless container");
}

#[test]
fn without_a_user_namespace_the_error_says_so() {
    known_gap!(Crun, "it makes one unasked");
    let bundle = bundle().remove_namespace("user").remove("/linux/uidMappings").remove("/linux/gidMappings");
    let container = USER.container(bundle);
    container.run().expect_fail().expect_stderr("rootless container requires user namespaces");
    container.state_output().expect_fail();
}

#[test]
fn an_owner_that_is_not_mapped_is_no_owner_of_a_mount() {
    known_gap!(Crun, "it leaves the option out");
    let bundle = bundle().remove_mount("/dev/pts").mount(
        "/dev/pts",
        "devpts",
        "devpts",
        &["nosuid", "noexec", "newinstance", "gid=5"],
    );
    let refused = USER.container(bundle).run().expect_fail();
    refused.expect_stderr("cannot specify gid="); // runc words the rest in two ways
}

/// The options of all mounts at and below /sys but the one that masks, as a container prints its mountinfo.
fn options_below_sys(mountinfo: &str) -> Vec<(&str, Vec<&str>)> {
    let fields = mountinfo.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let below = fields.filter(|fields| fields[4] == "/sys" || fields[4].starts_with("/sys/"));
    let below = below.filter(|fields| fields[4] != "/sys/firmware");
    below.map(|fields| (fields[4], fields[5].split(',').collect())).collect()
}

#[test]
fn sysfs_is_the_hosts_where_the_network_is() {
    known_gap!(Runc, "it refuses");
    let with_sysfs = |options: &[&str]| {
        bundle().remove_mount("/sys/fs/cgroup").remove_mount("/sys").mount("/sys", "sysfs", "sysfs", options)
    };
    assert_eq!(printed(with_sysfs(&["ro"]).new_namespace("network"), "ls /sys/class/net"), "lo");
    let options = ["ro", "nosuid", "noexec", "nodev"];
    let script = "cat /proc/self/mountinfo; ls /sys/class/net >&2; mkdir /sys/fs/cgroup/made";
    let output = USER.container(with_sysfs(&options).sh(script)).run().expect_fail();
    let shown: Vec<&str> = output.stderr.lines().filter(|line| !line.starts_with("warning: ")).collect();
    let mut hosts: Vec<String> = fs::read_dir("/sys/class/net")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    hosts.sort();
    assert_eq!(shown[..hosts.len()], hosts, "{output}");
    let below = options_below_sys(&output.stdout);
    assert_eq!(below[0].0, "/sys", "{output}");
    known_gap!(Crun, "1.8.1 leaves what is mounted below /sys as it is");
    for (mount, has) in &below {
        assert!(options.iter().all(|option| has.contains(option)), "{mount}: {has:?}");
    }
    // Not asked for, and read-only all the same, with a word about it.
    let output =
        USER.container(with_sysfs(&["rw", "nosuid"]).sh("cat /proc/self/mountinfo")).run().expect_ok();
    assert!(options_below_sys(&output.stdout).iter().all(|(_, has)| has.contains(&"ro")), "{output}");
    output.expect_stderr("warning: mounts[").expect_stderr("at \"/sys\": read-only, as it shows the host's");
}

#[test]
fn a_proc_that_is_covered_keeps_procfs_from_being_mounted() {
    known_gap!(Runc, Crun, "they name the call alone");
    let cover = "mount -t tmpfs none /proc/tty";
    let container = USER.container_from(bundle(), cover, "exec \"$@\"");
    container.run().expect_fail().expect_stderr("as the masked paths of an outer container do");
}

#[test]
fn an_oom_score_may_be_raised_and_not_lowered() {
    assert_eq!(
        printed(bundle().set("/process/oomScoreAdj", json!(321)), "cat /proc/self/oom_score_adj"),
        "321"
    );
    let lowered = bundle().set("/process/oomScoreAdj", json!(-700));
    let refused = USER.container(lowered).run().expect_fail();
    known_gap!(Runc, Crun, "they name the file alone, or do without");
    refused.expect_stderr("process.oomScoreAdj");
}

#[test]
fn a_bind_source_that_the_user_cannot_reach_is_an_error() {
    known_gap!(Runc, Crun, "they name the call alone");
    let bundle = bundle();
    let hidden = integration::Scratch::new(); // root's, 0700
    fs::set_permissions(hidden.path(), Permissions::from_mode(0o700)).unwrap();
    fs::write(hidden.path().join("file"), "secret").unwrap();
    let source = hidden.path().join("file").to_str().unwrap().to_owned();
    let container = USER.container(bundle.bind(&source, "/mnt/file", &["bind"]));
    let index = container.bundle().config().get("/mounts").unwrap().as_array().unwrap().len() - 1;
    let refused = container.run().expect_fail();
    refused.expect_stderr(&format!(
        "mounts[{index}] at \"/mnt/file\": open_tree(\"{source}\"): permission denied"
    ));
}

#[test]
fn hooks_run_as_the_user() {
    let bundle = bundle();
    let output = bundle.scratch_file("hooked");
    let hook = |name: &str| {
        json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("echo {name} $(id -u) >>{output}")],
        "env": ["PATH=/usr/bin:/bin"]}])
    };
    let bundle =
        bundle.set("/hooks/createRuntime", hook("runtime")).set("/hooks/createContainer", hook("container"));
    let container = USER.container(bundle.set("/hooks/poststop", hook("poststop")));
    container.run().expect_ok();
    let seen = fs::read_to_string(container.bundle().scratch_file("hooked")).unwrap();
    let own = USER.id;
    // createContainer hooks are in the container's user namespace.
    assert_eq!(seen, format!("runtime {own}\ncontainer 0\npoststop {own}\n"));
}

#[test]
fn joined_namespaces_of_an_own_container_are_entered_untraceably() {
    known_gap!(Crun, "it joins the others without the rights that the user namespace gives");
    let pause = asleep(mapped());
    let mut bundle = mapped().remove("/hostname");
    let kinds = [("user", "user"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"), ("cgroup", "cgroup")];
    for (kind, file) in kinds {
        bundle = bundle.join_namespace(kind, &format!("/proc/{}/ns/{file}", pause.init_pid()));
    }
    let bundle = bundle.set("/process/oomScoreAdj", json!(111)).sh("echo here; exec sleep 600");
    let container = USER.container(bundle);
    container.create().expect_ok();
    let init = container.init();
    for (_, file) in kinds {
        assert_eq!(init.namespace(file), pause.init().namespace(file), "{file}");
    }
    assert_ne!(init.namespace("mnt"), pause.init().namespace("mnt"));
    assert_eq!(init.read("oom_score_adj"), "111\n");
    // Files of a process that cannot be traced are root's (proc(5)), until its program runs.
    assert_eq!(fs::metadata(init.path("status")).unwrap().uid(), 0);
    let pid = pause.init_pid().to_string();
    let look = |file: &str| {
        let path = init.path(file);
        let enter = ["nsenter", "--target", &pid, "--user", "--preserve-credentials", "readlink"];
        USER.call(&container, &enter).args([path]).output()
    };
    if integration::flavour() == integration::Flavour::Ours {
        look("root").expect_code(1);
        look("fd/0").expect_code(1);
    }
    container.start().expect_ok();
    container.wait_stdout("here");
    assert_eq!(fs::metadata(init.path("status")).unwrap().uid(), USER.id);
    // The same look at the program shows that the look itself works.
    look("fd/0").expect_ok();
}

#[test]
fn a_user_namespace_alone_is_joined() {
    known_gap!(Runc, "1.1.5 wants mappings all the same");
    let pause = asleep(bundle());
    let path = format!("/proc/{}/ns/user", pause.init_pid());
    let bundle = bundle().remove("/linux/uidMappings").remove("/linux/gidMappings");
    let container = asleep(bundle.join_namespace("user", &path));
    assert_eq!(container.init().namespace("user"), pause.init().namespace("user"));
    assert_ne!(container.init().namespace("pid"), pause.init().namespace("pid"));
}

#[test]
fn mappings_of_a_joined_user_namespace_are_what_it_has() {
    known_gap!(Runc, Crun, "these versions look at neither");
    let pause = asleep(bundle());
    let path = format!("/proc/{}/ns/user", pause.init_pid());
    asleep(bundle().join_namespace("user", &path));
    let refused = USER.container(mapped().join_namespace("user", &path)).run().expect_fail();
    refused.expect_stderr(
        "linux.uidMappings: user namespaces enabled, but both namespace path and non-matching",
    );
}

#[test]
fn the_clone_is_the_last_thing_that_a_failed_create_leaves() {
    let container = USER.container(bundle().args(&["/no/such/program"]));
    container.run().expect_fail().expect_runc_phrase("no such file or directory");
    container.state_output().expect_fail();
    wait_for("the state folder to be empty", || {
        fs::read_dir(container.state_root()).unwrap().next().is_none().then_some(())
    });
}

#[test]
fn the_user_executes_in_his_container() {
    let container = asleep(bundle());
    let exec = |args: &[&str]| container.call("exec").args([container.id()]).args(args).output();
    exec(&["sh", "-c", "id -u; cat /proc/self/setgroups; cat /proc/1/cmdline | head -c 5"])
        .expect_ok()
        .expect_stdout("0\ndeny\nsleep");
    assert_eq!(exec(&["sh", "-c", "exit 7"]).code(), 7);
    let groups = ["--additional-gids", "0", container.id(), "true"];
    let refused = container.call("exec").args(groups).output().expect_fail();
    if integration::flavour() != integration::Flavour::Crun {
        refused.expect_stderr("cannot set any additional groups in a rootless container");
    }
}

#[test]
fn the_user_executes_as_a_granted_id() {
    known_gap!(Crun, "1.8.1 cannot become another user there");
    let container = asleep(mapped());
    let run = [
        "--user",
        "7:8",
        container.id(),
        "sh",
        "-c",
        "id -u; id -g; echo x >/dev/shm/f; stat -c %u /dev/shm/f",
    ];
    container.call("exec").args(run).output().expect_ok().expect_stdout("7\n8\n7\n");
    // What belongs to a granted id is killed by the user too.
    let detached = ["--detach", "--user", "9:9", container.id(), "sleep", "500"];
    let output = container.bundle().scratch_file("exec");
    fs::create_dir(&output).unwrap();
    container.call("exec").args(detached).output_in(output.as_ref()).output().expect_ok();
    container.kill("KILL").expect_ok();
    container.wait_status("stopped");
    container.delete().expect_ok();
}

#[test]
fn the_user_executes_in_a_created_container() {
    known_gap!(Crun, "it refuses");
    let container = USER.container(bundle());
    container.create().expect_ok();
    container
        .call("exec")
        .args([container.id(), "echo", "early"])
        .output()
        .expect_ok()
        .expect_stdout("early\n");
}

#[test]
fn the_user_executes_in_a_container_of_joined_namespaces() {
    known_gap!(Crun, "it joins the others without the rights that the user namespace gives");
    let pause = asleep(mapped());
    let bundle = mapped().join_namespace("user", &format!("/proc/{}/ns/user", pause.init_pid()));
    let container = asleep(bundle);
    let exec = container.call("exec").args(["--user", "5:5", container.id(), "id", "-u"]).output();
    exec.expect_ok().expect_stdout("5\n");
}

#[test]
fn a_source_with_mounts_below_is_bound_with_them() {
    known_gap!(Runc, Crun, "they name the call alone");
    let below = |options: &[&str]| {
        let bundle = bundle();
        let source = bundle.scratch_file("source");
        fs::create_dir_all(format!("{source}/below")).unwrap();
        let cover = format!("mount -t tmpfs none {source}/below");
        let script = "mount | grep -c /mnt/source/below";
        USER.container_from(bundle.bind(&source, "/mnt/source", options).sh(script), &cover, "exec \"$@\"")
            .run()
    };
    below(&["rbind"]).expect_ok().expect_stdout("1\n");
    below(&["bind"]).expect_fail().expect_stderr("rbind takes it along");
}

#[test]
fn flags_from_outside_stay() {
    known_gap!(Runc, Crun, "they name the call alone");
    let of_a_read_only_mount = |options: &[&str]| {
        let bundle = bundle();
        let source = bundle.scratch_file("source");
        fs::create_dir(&source).unwrap();
        let mount = format!("mount -t tmpfs -o ro,nosuid,nodev,noexec none {source}");
        let script = "touch /mnt/source/x 2>&1; true";
        USER.container_from(bundle.bind(&source, "/mnt/source", options).sh(script), &mount, "exec \"$@\"")
            .run()
    };
    for options in [&["rbind"][..], &["rbind", "ro"], &["rbind", "nosuid"]] {
        let output = of_a_read_only_mount(options).expect_ok();
        assert!(output.stdout.contains("Read-only file system"), "{output}");
    }
    for option in ["rw", "exec", "suid", "dev"] {
        of_a_read_only_mount(&["rbind", option]).expect_fail().expect_stderr("cannot be cleared");
    }
}

#[test]
fn what_exec_added_ends_with_the_pid_namespace_where_there_is_no_cgroup() {
    let container = asleep(bundle());
    let added = container.exec_detached(&[], &["sleep", "500"]);
    container.delete_force().expect_ok();
    wait_for("the end of the added process", || (!added.is_alive()).then_some(()));
}

#[test]
fn what_exec_added_outlives_a_container_without_a_cgroup_and_a_pid_namespace() {
    requires!(cgroup2_mount().is_none_or(|mount| mount.ends_with("unified")), "the user may have a cgroup");
    // As with runc and crun (docs/differences.md): nothing is left by which it could be told from others of the user.
    let shared = bundle().remove_namespace("pid").remove_mount("/proc");
    let shared = shared.mount("/proc", "none", "/proc", &["rbind", "nosuid", "noexec", "nodev"]);
    let container = asleep(shared.remove("/linux/maskedPaths").remove("/linux/readonlyPaths"));
    let added = container.exec_detached(&[], &["sleep", "500"]);
    container.delete_force().expect_ok();
    assert!(added.is_alive());
    let pid = rustix::process::Pid::from_raw(added.pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    wait_for("the end of the added process", || (!added.is_alive()).then_some(()));
}
