//! Kubernetes: containerd's CRI plugin with this runtime behind a runtime handler and systemd's driver, driven over
//! its socket as kubelet does (k8s.io/cri-api, runtime.v1).
//!
//! Needs containerd, CNI plugins and systemd on a machine of its own: `make test-vm FLAVOUR=engines`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

mod kubelet;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use integration::{Call, Flavour, Process, flavour, wait_for};
use kubelet::machine::{ADDRESSES, Container, HANDLER, Pod, resources, security, systemd_says, words};
use kubelet::messages::*;
use kubelet::stream::Stream;

/// Ends with 7 when it is asked to.
const POLITE: &str = "trap 'echo asked; exit 7' TERM; echo begun; while :; do sleep 1 & wait $!; done";

#[track_caller]
fn limit(container: &Container<'_>, file: &str) -> String {
    container.init().cgroup_file(file).trim_end().to_owned()
}

#[test]
fn a_pod_is_a_sandbox_whose_namespaces_two_containers_share() {
    let node = node!();
    let pod = Pod::run(&node);
    let (status, sandbox) = pod.status();
    let sandbox = sandbox.expect("the sandbox runs");
    assert_eq!((status.state(), status.runtime_handler.as_str()), (SandboxState::Ready, HANDLER));
    let address = status.network.expect("a network").ip;
    assert!(address.starts_with(ADDRESSES), "{address}");

    let script = "hostname; echo served >/tmp/page; exec httpd -f -p 80 -h /tmp";
    let server = pod.start(script, |_| ());
    let client = pod.start(
        "until wget -q -O - http://127.0.0.1/page 2>/dev/null; do sleep 1; done; ip -4 -o addr show eth0; exec sleep 600",
        |_| (),
    );
    client.wait_log("served\n");
    client.wait_log(&address);
    server.wait_log(&pod.config.hostname);

    let (first, second) = (server.init(), client.init());
    let host = Process::this();
    for kind in ["net", "ipc", "uts"] {
        assert_eq!(first.namespace(kind), sandbox.namespace(kind), "{kind}");
        assert_eq!(second.namespace(kind), sandbox.namespace(kind), "{kind}");
        assert_ne!(sandbox.namespace(kind), host.namespace(kind), "{kind}");
    }
    // (The sandbox has the host's cgroup namespace; containerd gives it none.)
    for kind in ["pid", "mnt", "cgroup"] {
        assert_ne!(first.namespace(kind), second.namespace(kind), "{kind}");
        assert_ne!(first.namespace(kind), host.namespace(kind), "{kind}");
    }
    for kind in ["pid", "mnt"] {
        assert_ne!(sandbox.namespace(kind), first.namespace(kind), "{kind}");
        assert_ne!(sandbox.namespace(kind), host.namespace(kind), "{kind}");
    }

    // Where kubelet wants them, by systemd's hand.
    for (id, process) in [(&pod.id, sandbox), (&server.id, first), (&client.id, second)] {
        let slice = format!("/kubepods.slice/kubepods-burstable.slice/{}", pod.slice);
        assert_eq!(process.cgroup(), format!("{slice}/cri-containerd-{id}.scope"));
        assert_eq!(systemd_says(&format!("cri-containerd-{id}.scope"), "Slice"), pod.slice);
    }
    let (scope, folder) = (format!("cri-containerd-{}.scope", server.id), first.cgroup_folder());
    server.stop(0);
    server.remove();
    assert!(!folder.exists());
    wait_for("the end of the scope", || (systemd_says(&scope, "LoadState") == "not-found").then_some(()));
    assert!(second.is_alive() && sandbox.is_alive());

    // What is stopped has no process and no network any more; what is removed is not known any more.
    let id = Id { id: pod.id.clone() };
    node.ask::<Empty>("StopPodSandbox", &id);
    assert!(!second.is_alive() && !sandbox.is_alive());
    assert_eq!(pod.status().0.state(), SandboxState::NotReady);
    node.ask::<Empty>("RemovePodSandbox", &id);
    let gone = node.call::<PodStatusResponse>("PodSandboxStatus", &id).expect_err("removed");
    assert_eq!(gone.status, 5, "{gone}");
}

#[test]
fn a_container_ends_by_itself_when_it_is_asked_or_when_its_time_is_over() {
    let node = node!();
    let pod = Pod::run(&node);
    let done = pod.create("echo out; echo err >&2; exit 0", |_| ());
    assert_eq!(done.status().state(), ContainerState::Created);
    done.start();
    let status = done.ended();
    assert_eq!((status.exit_code, status.reason.as_str()), (0, "Completed"));
    let log = done.log();
    assert!(log.contains("out\n") && log.contains("err\n"), "{log}");

    let failed = pod.start("exit 9", |_| ()).ended();
    assert_eq!((failed.exit_code, failed.reason.as_str()), (9, "Error"));

    let polite = pod.start(POLITE, |_| ());
    polite.wait_log("begun\n");
    assert_eq!(polite.status().state(), ContainerState::Running);
    assert_eq!(polite.stop(120).exit_code, 7);
    assert!(polite.log().ends_with("asked\n"));

    let deaf = pod.start("trap '' TERM; echo begun; while :; do sleep 1; done", |_| ());
    deaf.wait_log("begun\n");
    assert_eq!(deaf.stop(1).exit_code, 137);
    // Once more is no error, and neither is removing twice.
    deaf.stop(1);
    deaf.remove();
    deaf.remove();

    // A program that is not there: the reason that kubelet shows.
    let missing = pod.create("", |config| config.command = words(&["no-such-program"]));
    let refused = node.call::<Empty>("StartContainer", &missing.request()).expect_err("no such program");
    let phrase = "exec: \"no-such-program\": executable file not found in $PATH";
    assert!(refused.message.contains(phrase), "{refused}");
    let status = missing.status();
    assert_eq!((status.state(), status.reason.as_str()), (ContainerState::Exited, "StartError"));
    assert_eq!(status.exit_code, 128);
    assert!(status.message.contains(phrase), "{status:?}");
}

#[test]
fn programs_are_run_beside_a_containers_own() {
    let node = node!();
    let pod = Pod::run(&node);
    let container =
        pod.start("exec sleep 600", |config| security(config).run_as_user = Some(Int64Value { value: 1000 }));
    let init = container.init();
    // As probes are run: status, output and errors.
    let answer =
        container.exec("echo out; echo err >&2; id -u; cat /proc/1/cmdline; cat /proc/self/cgroup; exit 5");
    assert_eq!(answer.exit_code, 5, "{answer:?}");
    let out = String::from_utf8(answer.stdout).unwrap();
    assert_eq!(out, "out\n1000\nsleep\u{0}600\u{0}0::/\n");
    assert_eq!(answer.stderr, b"err\n");
    assert_eq!(
        node.ask::<ExecSyncResponse>("ExecSync", &container.exec_request("kill -9 $$", 0)).exit_code,
        137
    );
    let missing =
        ExecSync { container_id: container.id.clone(), cmd: words(&["no-such-program"]), timeout: 0 };
    let refused = node.call::<ExecSyncResponse>("ExecSync", &missing).expect_err("no such program");
    assert!(
        refused.message.contains("exec: \"no-such-program\": executable file not found in $PATH"),
        "{refused}"
    );
    // One that takes longer than it may is killed.
    let late = node.call::<ExecSyncResponse>("ExecSync", &container.exec_request("exec sleep 611", 3));
    let late = late.expect_err("the time is over");
    assert!(late.message.contains("timeout 3s exceeded"), "{late}");
    wait_for("the end of the late one", || {
        (fs::read_to_string(init.cgroup_folder().join("cgroup.procs")).unwrap().lines().count() == 1)
            .then_some(())
    });

    // As kubectl exec -it does it.
    let exec = Exec {
        container_id: container.id.clone(),
        cmd: words(&["sh"]),
        tty: true,
        stdin: true,
        stdout: true,
        stderr: false,
    };
    let mut talk = Stream::open(&node.ask::<ExecResponse>("Exec", &exec).url);
    talk.resize(77, 31);
    talk.send("test -t 0 && echo on a ter''minal; until [ \"$(stty size)\" = '31 77' ]; do sleep 1; done; echo siz''ed\n");
    talk.read_until("on a terminal");
    talk.read_until("sized");
    talk.send("exit 4\n");
    talk.read_to_end();
    let end = talk.end.expect("a status");
    assert!(end.contains("\"Failure\"") && end.contains("\"4\""), "{end}");
    // And with pipes, to the end of a program that ends well.
    let exec = Exec { cmd: words(&["echo", "piped"]), tty: false, stdin: false, stderr: true, ..exec };
    let mut talk = Stream::open(&node.ask::<ExecResponse>("Exec", &exec).url);
    talk.read_to_end();
    assert_eq!(talk.output, "piped\n");
    assert!(talk.end.unwrap().contains("\"Success\""));
}

#[test]
fn pids_are_the_pods_another_containers_or_the_hosts() {
    let node = node!();
    let shared = |mode: NamespaceMode, target: &str| NamespaceOption {
        pid: mode.into(),
        target_id: target.to_owned(),
        ..NamespaceOption::default()
    };
    let pod = Pod::with(&node, |config| {
        let linux = config.linux.get_or_insert_default();
        let options = shared(NamespaceMode::Pod, "");
        linux.security_context.get_or_insert_default().namespace_options = Some(options);
    });
    let (_, sandbox) = pod.status();
    let together = |config: &mut _| security(config).namespace_options = Some(shared(NamespaceMode::Pod, ""));
    let first = pod.start("exec sleep 601", together);
    let second = pod.start("ps -o pid,args; exec sleep 602", together);
    second.wait_log("sleep 601");
    // The pod's first process is the one that reaps.
    assert!(second.log().contains("    1 /pause -P"), "{}", second.log());
    for container in [&first, &second] {
        assert_eq!(container.init().namespace("pid"), sandbox.unwrap().namespace("pid"));
    }
    // One that is not the first of its namespace ends alone, with all that is in its cgroup.
    let busy = pod.start("sleep 603 & sleep 604", together);
    let folder = busy.init().cgroup_folder();
    assert_eq!(busy.stop(0).exit_code, 137);
    assert!(!folder.exists());
    assert!(first.init().is_alive());

    // An ephemeral container that looks at another (kubectl debug --target).
    let pod = Pod::run(&node);
    let target = pod.start("exec sleep 605", |_| ());
    let debugger = pod.start("ps -o pid,args; exec sleep 606", |config| {
        security(config).namespace_options = Some(shared(NamespaceMode::Target, &target.id));
    });
    debugger.wait_log("    1 sleep 605");
    assert_eq!(debugger.init().namespace("pid"), target.init().namespace("pid"));

    // A pod of the host: no network or pids of its own.
    let host = NamespaceOption {
        network: NamespaceMode::Node.into(),
        pid: NamespaceMode::Node.into(),
        ipc: NamespaceMode::Node.into(),
        ..NamespaceOption::default()
    };
    let pod = Pod::with(&node, |config| {
        config.hostname.clear();
        let linux = config.linux.get_or_insert_default();
        linux.security_context.get_or_insert_default().namespace_options = Some(host.clone());
    });
    let container = pod.start("exec sleep 607", |config| security(config).namespace_options = Some(host));
    for kind in ["net", "pid", "ipc", "uts"] {
        assert_eq!(container.init().namespace(kind), Process::this().namespace(kind), "{kind}");
    }
}

/// Whether a process has an inotify(7) watch of this file (proc_pid_fdinfo(5)).
fn watches(process: Process, file: &Path) -> bool {
    let watch = format!("ino:{:x} ", fs::metadata(file).unwrap().ino());
    let descriptors = fs::read_dir(process.path("fdinfo")).unwrap();
    descriptors
        .filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok())
        .any(|info| info.lines().any(|line| line.starts_with("inotify ") && line.contains(&watch)))
}

#[test]
fn limits_are_set_changed_counted_and_enforced() {
    let node = node!();
    let pod = Pod::run(&node);
    let container = pod.start("while :; do :; done", |config| {
        let limits = resources(config);
        limits.cpu_period = 100_000;
        limits.cpu_quota = 50_000;
        limits.cpu_shares = 512;
        limits.memory_limit_in_bytes = 64 << 20;
        limits.oom_score_adj = 999;
        limits.unified.insert("pids.max".to_owned(), "77".to_owned());
    });
    let scope = format!("cri-containerd-{}.scope", container.id);
    let files = |names: [&str; 4]| names.map(|name| limit(&container, name));
    // 1024 shares are a weight of 100 since runc 1.4, and were 39 before.
    let weights = if flavour() == Flavour::Runc { ["20", "39"] } else { ["59", "100"] };
    let names = ["cpu.max", "cpu.weight", "memory.max", "pids.max"];
    assert_eq!(files(names), ["50000 100000", weights[0], "67108864", "77"]);
    assert_eq!(container.init().read("oom_score_adj"), "999\n");
    let said = |names: [&str; 4]| names.map(|name| systemd_says(&scope, name));
    let properties = ["CPUQuotaPerSecUSec", "CPUWeight", "MemoryMax", "TasksMax"];
    assert_eq!(said(properties), ["500ms", weights[0], "67108864", "77"]);

    // As for a pod that is resized in place, or pinned by the CPU manager.
    let change = Resources {
        cpu_period: 100_000,
        cpu_quota: 150_000,
        cpu_shares: 1024,
        memory_limit_in_bytes: 96 << 20,
        cpuset_cpus: "1".to_owned(),
        ..Resources::default()
    };
    let request = UpdateResources { container_id: container.id.clone(), linux: Some(change) };
    node.ask::<Empty>("UpdateContainerResources", &request);
    assert_eq!(files(names), ["150000 100000", weights[1], "100663296", "77"]);
    assert_eq!(said(properties), ["1.500000s", weights[1], "100663296", "77"]);
    assert_eq!(limit(&container, "cpuset.cpus"), "1");
    assert_eq!(systemd_says(&scope, "AllowedCPUs"), "1");
    // systemd, told to read its files again, keeps them.
    Call::of("systemctl").args(["daemon-reload"]).output().expect_ok();
    assert_eq!(files(names), ["150000 100000", weights[1], "100663296", "77"]);

    let stats =
        || node.ask::<StatsResponse>("ContainerStats", &container.request()).stats.expect("statistics");
    let used = |stats: &Stats| stats.cpu.as_ref().unwrap().usage_core_nano_seconds.as_ref().unwrap().value;
    let first = stats();
    assert!(first.memory.as_ref().unwrap().usage_bytes.as_ref().unwrap().value > 0, "{first:?}");
    wait_for("time used", || (used(&stats()) > used(&first)).then_some(()));
    let said: u64 =
        limit(&container, "cpu.stat").lines().next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    assert!(used(&stats()) >= used(&first) && said * 1000 >= used(&first));

    // More memory than there is. One of its processes ends, so that there is time to say why: where the last one ends,
    // systemd may remove the scope before the shim has looked at it. And not before the shim is told of it: it looks
    // at no kill from before.
    let script = "until [ -e /tmp/go ]; do sleep 1; done
        dd if=/dev/zero of=/dev/null bs=64M count=1; echo survived; exec sleep 600";
    let greedy = pod.start(script, |config| resources(config).memory_limit_in_bytes = 16 << 20);
    let init = greedy.init();
    wait_for("the shim to watch the memory", || {
        watches(init.parent(), &init.cgroup_folder().join("memory.events")).then_some(())
    });
    assert_eq!(greedy.exec("touch /tmp/go").exit_code, 0);
    greedy.wait_log("survived\n");
    wait_for("the reason", || (greedy.status().reason == "OOMKilled").then_some(()));
    let status = greedy.stop(0);
    assert_eq!((status.exit_code, status.reason.as_str()), (137, "OOMKilled"), "{status:?}");
}

#[test]
fn a_security_context_is_what_the_process_has() {
    let node = node!();
    let pod = Pod::run(&node);
    let status =
        "grep -E '^(Uid|Gid|Groups|CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -s '\\t ' ' '";
    let usual = pod.printed(status, |_| ());
    for line in ["Uid: 0 0 0 0", "CapEff: 00000000a80425fb", "NoNewPrivs: 0", "Seccomp: 0"] {
        assert!(usual.contains(line), "{usual}");
    }
    let restricted = pod.printed(&format!("{status}; touch /file 2>&1 || true"), |security| {
        security.run_as_user = Some(Int64Value { value: 1000 });
        security.run_as_group = Some(Int64Value { value: 1000 });
        security.supplemental_groups = vec![4444];
        security.readonly_rootfs = true;
        security.no_new_privs = true;
        security.capabilities =
            Some(Capability { drop_capabilities: vec!["ALL".to_owned()], ..Capability::default() });
        security.seccomp =
            Some(SecurityProfile { profile_type: ProfileType::RuntimeDefault.into(), ..Default::default() });
    });
    for line in [
        "Uid: 1000 1000 1000 1000",
        "Gid: 1000 1000 1000 1000",
        "CapEff: 0000000000000000",
        "CapBnd: 0000000000000000",
        "NoNewPrivs: 1",
        "Seccomp: 2",
        "/file: Read-only file system",
    ] {
        assert!(restricted.contains(line), "{restricted}");
    }
    assert!(
        restricted.lines().any(|line| line.starts_with("Groups:") && line.contains("4444")),
        "{restricted}"
    );

    let added = pod.printed(status, |security| {
        security.capabilities = Some(Capability {
            add_capabilities: vec!["NET_ADMIN".to_owned()],
            drop_capabilities: vec!["ALL".to_owned()],
        });
    });
    assert!(added.contains("CapEff: 0000000000001000"), "{added}");

    // What kubelet asks to be hidden, and to be read only.
    let hidden =
        pod.printed("wc -c </proc/kallsyms; touch /proc/sys/kernel/hostname 2>&1 || true", |security| {
            security.masked_paths = vec!["/proc/kallsyms".to_owned()];
            security.readonly_paths = vec!["/proc/sys".to_owned()];
        });
    assert!(hidden.starts_with("0\n") && hidden.contains("Read-only file system"), "{hidden}");

    let privileged = Pod::with(&node, |config| {
        config.linux.get_or_insert_default().security_context.get_or_insert_default().privileged = true;
    });
    let all = privileged.printed(
        &format!("{status}; ls /dev/vda; mount -t tmpfs tmpfs /mnt && echo mounted; mkdir /sys/fs/cgroup/made && echo made"),
        |security| security.privileged = true,
    );
    let mask = Process::this().status("CapBnd");
    for line in [&format!("CapEff: {mask}"), "Seccomp: 0", "/dev/vda", "mounted", "made"] {
        assert!(all.contains(line), "{all}");
    }
}

#[test]
fn volumes_are_read_only_where_kubelet_asks_for_it() {
    let node = node!();
    let pod = Pod::run(&node);
    let folder = integration::Scratch::new();
    fs::write(folder.path().join("file"), "from the host\n").unwrap();
    let host_path = folder.path().to_str().unwrap().to_owned();
    let run = |readonly: bool| {
        let container = pod.start("cat /data/file; echo back >/data/made; exit 0", |config| {
            let mount = Mount { container_path: "/data".to_owned(), host_path: host_path.clone(), readonly };
            config.mounts = vec![mount];
        });
        container.ended();
        container.log()
    };
    let log = run(true);
    assert!(log.contains("from the host\n") && log.contains("Read-only file system"), "{log}");
    assert!(!folder.path().join("made").exists());
    run(false);
    assert_eq!(fs::read_to_string(folder.path().join("made")).unwrap(), "back\n");
}

#[test]
fn pods_outlive_a_containerd_that_was_killed() {
    let node = node!(alone);
    let pod = Pod::run(&node);
    let container = pod.start(POLITE, |_| ());
    container.wait_log("begun\n");
    let init = container.init();
    node.murder();
    assert!(init.is_alive());
    assert_eq!(container.status().state(), ContainerState::Running);
    assert_eq!(container.init().pid(), init.pid());
    assert_eq!(pod.status().0.state(), SandboxState::Ready);
    assert_eq!(container.stop(120).exit_code, 7);
    let next = pod.start("exit 3", |_| ()).ended();
    assert_eq!(next.exit_code, 3);
}
