//! The end of containers: `rm`, `--rm`, `container prune`, whoever else is at it, and what `system check` puts right.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;

use integration::{Shim, is_root, json, requires, wait_for};

const ROOT: &str = "containers need root";

fn ids(shim: &Shim) -> Vec<String> {
    shim.container_ids()
}

fn is_mounted(shim: &Shim) -> bool {
    fs::read_to_string("/proc/self/mounts").unwrap().contains(shim.root().to_str().unwrap())
}

#[test]
fn force_ends_what_runs_with_everything_of_it() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    for words in [
        &["busybox", "sleep", "600"][..],
        // What ignores requests, what is started again, and what shares processes with the host.
        &["busybox", "sh", "-c", "trap '' TERM INT; while :; do sleep 1; done"],
        &["--restart", "always", "busybox", "sleep", "600"],
        &["--restart", "always", "busybox", "false"],
        &["--pid", "host", "busybox", "sh", "-c", "sleep 600 & sleep 600"],
        &["--ipc", "shareable", "--rm", "busybox", "sleep", "600"],
        &["-t", "busybox", "sleep", "600"],
    ] {
        let id = shim.detached(words);
        shim.cli(&["rm", "--force", &id]).expect_ok().expect_stdout(&format!("{id}\n"));
        assert!(ids(&shim).is_empty() && !is_mounted(&shim), "{words:?}");
        let left = |folder: &str| fs::read_dir(shim.state().join(folder)).into_iter().flatten().count();
        assert_eq!(left("containers"), 0, "{words:?}");
        wait_for("the end of its monitor", || shim.processes().is_empty().then_some(()));
    }
}

#[test]
fn what_is_to_be_removed_at_its_end_is_gone_when_run_returns() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    for _ in 0..5 {
        shim.run(&["--rm", "--name", "same", "busybox", "true"]).expect_ok();
        assert!(ids(&shim).is_empty() && !is_mounted(&shim));
    }
    let id = shim.detached(&["--rm", "busybox", "true"]);
    wait_for("its removal", || ids(&shim).is_empty().then_some(()));
    wait_for("the end of its state", || (!shim.state().join("containers").join(&id).exists()).then_some(()));
}

#[test]
fn removals_and_starts_at_the_same_time_agree() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    for round in 0..4 {
        let id = shim.detached(&["--name", "box", "--rm", "busybox", "sleep", "0.05"]);
        // Its own end, two removals and a start.
        let calls =
            [&["rm", "-f", "box"][..], &["rm", "-f", &id], &["start", "box"], &["rename", "box", "other"]];
        let running: Vec<_> = calls.iter().map(|call| shim.call(call).spawn()).collect();
        for call in running {
            let output = call.wait();
            assert!(output.code() <= 1, "round {round}: {output}");
        }
        wait_for("the end of all of it", || {
            let _ = shim.cli(&["rm", "-f", &id]);
            ids(&shim).is_empty().then_some(())
        });
        assert!(!is_mounted(&shim), "round {round}");
        assert_eq!(fs::read_dir(shim.root().join("names")).unwrap().count(), 0, "round {round}");
    }
}

#[test]
fn prune_takes_what_does_not_run() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let running = shim.detached(&["busybox", "sleep", "600"]);
    let write = "head -c 100000 /dev/zero >/file";
    let made = |words: &[&str]| {
        shim.run(words).expect_ok();
        ids(&shim).into_iter().find(|id| shim.record(id)["Name"] == words[1]).unwrap()
    };
    let blue = made(&["--name", "blue", "-l", "team=blue", "busybox", "sh", "-c", write]);
    let plain = made(&["--name", "plain", "busybox", "true"]);
    let asked = shim.call(&["container", "prune"]).stdin_bytes("n\n").output().expect_ok();
    let question =
        "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] ";
    assert_eq!(asked.stdout, question);
    let old = shim.stdout(&["container", "prune", "-f", "--filter", "until=24h"]);
    assert_eq!(old, "Total reclaimed space: 0B\n");
    let pruned = shim.stdout(&["container", "prune", "-f", "--filter", "label=team=blue"]);
    assert_eq!(pruned, format!("Deleted Containers:\n{blue}\n\nTotal reclaimed space: 100kB\n"));
    shim.cli(&["container", "prune", "--filter", "x"]).expect_code(125).expect_stderr("bad format of filter");
    shim.cli(&["container", "prune", "-f", "--filter", "x=y"])
        .expect_code(1)
        .expect_stderr("invalid filter 'x'");
    let pruned = shim.call(&["container", "prune"]).stdin_bytes("y\n").output().expect_ok().stdout;
    assert!(pruned.contains(&format!("Deleted Containers:\n{plain}\n")), "{pruned}");
    assert_eq!(ids(&shim), [running]);
    let usage = shim.stdout(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}"]);
    assert_eq!(usage, "Images 1 1\nContainers 1 1\nLocal Volumes 0 0\nBuild Cache 0 0\n");
}

#[test]
fn an_image_in_use_is_not_removed_from_what_runs() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let id = shim.detached(&["busybox", "sleep", "600"]);
    let image = shim.record(&id)["Image"].as_str().unwrap()["sha256:".len()..].to_owned();
    let refused = shim.cli(&["rmi", "--force", &image]).expect_code(1);
    let (short, container) = (&image[..12], &id[..12]);
    let words = format!(
        "conflict: unable to delete {short} (cannot be forced) - image is being used by running container {container}\n"
    );
    assert_eq!(refused.stderr, words);
    shim.cli(&["rmi", "--force", "busybox"]).expect_ok().expect_stdout("Untagged: busybox:latest\n");
    assert_eq!(shim.stdout(&["images", "--format", "{{.Repository}}"]), "<none>\n");
}

#[test]
fn what_crashes_leave_is_in_nobodys_way_told_and_put_right() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let id =
        shim.cli(&["create", "--name", "box", "busybox", "true"]).expect_ok().stdout.trim_end().to_owned();
    let gone = "0".repeat(64);
    fs::write(shim.root().join("names/ghost"), &gone).unwrap();
    fs::create_dir_all(shim.state().join("containers").join(&gone)).unwrap();
    fs::remove_file(shim.root().join("names/box")).unwrap();
    // A root that stays mounted: as after `run` that was killed between its two halves.
    shim.cli(&["start", "-a", &id]).expect_ok();
    let rootfs = shim.container_folder(&id).join("rootfs");
    integration::Call::of("mount")
        .args(["-t", "tmpfs", &format!("caisson-{id}")])
        .args([&rootfs])
        .output()
        .expect_ok();
    let told = shim.cli(&["system", "check"]).expect_code(1).stdout;
    for words in [
        format!("container {id}: its name does not lead to it\n"),
        format!("container {id}: its root is mounted, and it does not run\n"),
        "name \"ghost\" is of no container\n".to_owned(),
        format!("state of container {gone}, which is gone\n"),
    ] {
        assert!(told.contains(&words), "{words}: {told}");
    }
    // Nobody minds.
    shim.cli(&["create", "--name", "ghost", "busybox"]).expect_ok();
    let repaired = shim.cli(&["system", "check", "--repair"]).expect_ok().stdout;
    assert!(
        repaired.contains(&format!("put right: container {id}: its name does not lead to it\n")),
        "{repaired}"
    );
    let told = shim.stdout(&["system", "check"]);
    assert!(told.ends_with("nothing is wrong\n"), "{told}");
    assert!(!is_mounted(&shim) && shim.root().join("names/box").exists());
    shim.cli(&["rm", "box", "ghost"]).expect_ok();
    // A record that cannot be read keeps garbage from being collected.
    let id = shim.cli(&["create", "busybox"]).expect_ok().stdout.trim_end().to_owned();
    let record = shim.container_folder(&id).join("container.json");
    let whole = fs::read(&record).unwrap();
    fs::write(&record, "{").unwrap();
    shim.cli(&["system", "check"]).expect_code(1);
    shim.cli(&["image", "prune", "-af"]).expect_code(1).expect_stderr("container.json");
    fs::write(&record, whole).unwrap();
    assert_eq!(shim.recorded_state(&id)["status"], json!("created"));
}

#[test]
fn callers_that_are_killed_leave_nothing_that_does_not_agree() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let kill = |mut running: integration::Running, after_ms: u64| {
        std::thread::sleep(std::time::Duration::from_millis(after_ms));
        if running.is_running() {
            running.signal(rustix::process::Signal::KILL);
        }
        drop(running.wait());
    };
    for round in 0..16 {
        let life = if round % 2 == 0 { &["--rm"][..] } else { &["--restart", "always"] };
        kill(shim.call(&["run"]).args(life).args(["busybox", "sleep", "0.05"]).spawn(), round * 7 % 60);
        if round % 3 == 0 {
            for id in ids(&shim) {
                kill(shim.call(&["rm", "--force", &id]).spawn(), round % 8);
            }
        }
    }
    // Whatever there is, is known, and goes.
    for id in ids(&shim) {
        let listed = shim.stdout(&["ps", "--all", "--quiet", "--no-trunc"]);
        assert!(listed.contains(&id) || !ids(&shim).contains(&id), "{id}: {listed}");
        let removed = shim.cli(&["rm", "--force", &id]);
        removed.expect_ok();
    }
    wait_for("the end of all", || (ids(&shim).is_empty() && shim.processes().is_empty()).then_some(()));
    assert!(!is_mounted(&shim));
    let repaired = shim.cli(&["system", "check", "--repair"]).expect_ok().stdout;
    assert!(shim.stdout(&["system", "check"]).ends_with("nothing is wrong\n"), "{repaired}");
    for folder in ["names", "containers", "ingest"] {
        assert_eq!(fs::read_dir(shim.root().join(folder)).unwrap().count(), 0, "{folder}: {repaired}");
    }
    for folder in ["containers", "runtime/runtime"] {
        let left = fs::read_dir(shim.state().join(folder)).into_iter().flatten().count();
        assert_eq!(left, 0, "{folder}: {repaired}");
    }
}
