//! What a container has changed: told, exported, and made an image of.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use integration::{Call, Shim, is_root, json, requires, wait_for};

/// A container that was never started, with changes as its program would have made them.
fn changed(shim: &Shim, words: &[&str]) -> (String, PathBuf) {
    let id = shim.stdout(&[&["create"], words].concat()).trim_end().to_owned();
    let upper = shim.container_folder(&id).join("upper");
    fs::create_dir_all(upper.join("srv/deep")).unwrap();
    fs::write(upper.join("srv/deep/file"), "hello\n").unwrap();
    fs::set_permissions(upper.join("srv/deep/file"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("/etc/shadow", upper.join("srv/link")).unwrap();
    fs::create_dir_all(upper.join("bin")).unwrap();
    Call::of("mknod").args([upper.join("bin/wget").to_str().unwrap(), "c", "0", "0"]).output().expect_ok();
    // What the runtime makes to mount on is nobody's change.
    fs::create_dir_all(upper.join("dev/pts")).unwrap();
    fs::write(upper.join("dev/console"), "").unwrap();
    (id, upper)
}

#[test]
fn changes_are_told_as_docker_does() {
    requires!(is_root(), "overlays need root");
    let shim = Shim::with_busybox();
    let (id, upper) = changed(&shim, &["--name", "box", "busybox"]);
    let told = "C /bin\nD /bin/wget\nC /srv\nA /srv/deep\nA /srv/deep/file\nA /srv/link\n";
    assert_eq!(shim.stdout(&["diff", "box"]), told);
    fs::write(upper.join("srv/a\nb"), "").unwrap();
    let told = shim.stdout(&["container", "diff", &id[..12]]);
    assert!(told.contains("A /srv/a\\nb\n"), "{told}");
    shim.cli(&["diff", "nothing"]).expect_code(1).expect_stderr("No such container: nothing\n");
    let untouched = shim.stdout(&["create", "busybox"]).trim_end().to_owned();
    assert_eq!(shim.stdout(&["diff", &untouched]), "");
}

#[test]
fn all_files_are_exported_and_nothing_from_outside() {
    requires!(is_root(), "overlays need root");
    let shim = Shim::with_busybox();
    let (_, upper) = changed(&shim, &["--name", "box", "busybox"]);
    let outside = shim.folder().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    symlink(&outside, upper.join("out")).unwrap();
    let archive = shim.folder().join("export.tar");
    shim.cli(&["export".as_ref(), "-o".as_ref(), archive.as_os_str(), "box".as_ref()])
        .expect_ok()
        .expect_stdout("");
    assert_eq!(archive.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let tar = |words: &[&str]| {
        let call = Call::of("tar").args(words.iter().take(1)).args([&archive]).args(words.iter().skip(1));
        call.output().expect_ok().stdout
    };
    let listed = tar(&["-tf"]);
    let has = |path: &str| listed.lines().any(|line| line == path);
    assert!(has("bin/busybox") && has("srv/deep/file") && has("srv/link") && has("out"), "{listed}");
    assert!(!has("bin/wget") && !listed.contains("secret"), "{listed}");
    assert_eq!(tar(&["-xOf", "srv/deep/file"]), "hello\n");
    // And back.
    let imported = shim.cli(&["import".as_ref(), archive.as_os_str(), "again:1".as_ref()]).expect_ok();
    assert!(imported.stdout.starts_with("sha256:"), "{imported}");
    let streamed = shim.cli(&["container", "export", "box"]).expect_ok();
    assert!(streamed.stdout.starts_with("bin/"), "it is an archive");
    shim.cli(&["export", "nothing"]).expect_code(1).expect_stderr("No such container: nothing\n");
    // Nothing of it stays mounted.
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(shim.folder().to_str().unwrap()), "{mounts}");
}

#[test]
fn a_container_becomes_an_image_whose_layer_is_always_the_same() {
    requires!(is_root(), "overlays need root");
    let shim = Shim::with_busybox();
    let words =
        ["--name", "box", "-e", "A=1", "-l", "team=blue", "--workdir", "/srv", "busybox", "cat", "deep/file"];
    changed(&shim, &words);
    let commit = |more: &[&str]| shim.stdout(&[&["commit"], more].concat()).trim_end().to_owned();
    let changes = ["-c", "ENV B=2", "--change", "CMD [\"sh\", \"-c\", \"cat deep/file\"]", "-c", "EXPOSE 80"];
    let id = commit(&[&["-a", "Me <me@here>", "-m", "why"], &changes[..], &["box", "mine:1"]].concat());
    let told = shim.cli(&["image", "inspect", "mine:1"]).expect_ok().json()[0].clone();
    assert_eq!((&told["Id"], &told["RepoTags"]), (&json!(id), &json!(["mine:1"])));
    assert_eq!((&told["Author"], &told["Comment"]), (&json!("Me <me@here>"), &json!("why")));
    let config = &told["Config"];
    assert_eq!(config["Cmd"], json!(["sh", "-c", "cat deep/file"]));
    assert_eq!((&config["WorkingDir"], &config["Labels"]), (&json!("/srv"), &json!({"team": "blue"})));
    assert_eq!(config["ExposedPorts"], json!({"80/tcp": {}}));
    let env = config["Env"].as_array().unwrap();
    assert!(env.contains(&json!("A=1")) && env.contains(&json!("B=2")), "{config}");
    let layers = |name: &str| shim.stdout(&["image", "inspect", "-f", "{{json .RootFS.Layers}}", name]);
    let again = commit(&["--pause=false", "box"]);
    assert_ne!(again, id);
    assert_eq!(layers(&again), layers("mine:1"));
    // The layer says what has gone, and is whole.
    let history =
        shim.stdout(&["history", "--no-trunc", "--format", "{{.CreatedBy}} {{.Comment}}", "mine:1"]);
    assert_eq!(history.lines().next(), Some("cat deep/file why"), "{history}");
    shim.cli(&["system", "check", "--quiet"]).expect_ok().expect_stdout("");
    let upper = shim.stdout(&["image", "inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", "mine:1"]);
    let upper = PathBuf::from(upper.trim_end());
    assert_eq!(fs::read_to_string(upper.join("srv/deep/file")).unwrap(), "hello\n");
    assert!(!upper.join("dev").exists());
    // It goes where images go.
    let archive = shim.folder().join("saved.tar");
    shim.cli(&["save".as_ref(), "-o".as_ref(), archive.as_os_str(), "mine:1".as_ref()]).expect_ok();
    let other = Shim::in_memory();
    other.load(&archive);
    assert_eq!(other.stdout(&["images", "-q", "--no-trunc", "mine:1"]), format!("{id}\n"));

    for (words, told) in [
        (&["commit", "nothing"][..], "No such container: nothing\n"),
        (&["commit", "box", "UP"], "must be lowercase"),
        (&["commit", "-c", "RUN x", "box"], "run is not a valid change command\n"),
    ] {
        shim.cli(words).expect_code(1).expect_stderr(told);
    }
}

#[test]
fn what_a_program_has_done_is_told_and_kept() {
    requires!(is_root(), "containers of root");
    let shim = Shim::with_busybox();
    let script = "echo hi >/srv/file; rm /bin/wget; mkdir -p /new/deep; mv /new /renamed; chmod 700 /tmp; ln -s /nowhere /link; \
        echo ready; sleep 1000";
    shim.detached(&["--name", "box", "busybox", "sh", "-c", script]);
    wait_for("the program", || shim.cli(&["logs", "box"]).stdout.contains("ready").then_some(()));
    // While it runs, and the same when it has ended.
    let told = "C /bin\nD /bin/wget\nA /link\nA /renamed\nA /renamed/deep\nC /srv\nA /srv/file\nC /tmp\n";
    assert_eq!(shim.stdout(&["diff", "box"]), told);
    let archive = shim.folder().join("running.tar");
    shim.cli(&["export".as_ref(), "-o".as_ref(), archive.as_os_str(), "box".as_ref()])
        .expect_ok()
        .expect_no_stderr();
    shim.stdout(&["commit", "box", "mine:1"]);
    assert_eq!(shim.stdout(&["inspect", "-f", "{{.State.Status}}", "box"]), "running\n");
    shim.stdout(&["kill", "box"]);
    assert_eq!(shim.stdout(&["diff", "box"]), told);
    shim.stdout(&["commit", "box", "mine:2"]);
    let layers = |name: &str| shim.stdout(&["image", "inspect", "-f", "{{json .RootFS.Layers}}", name]);
    assert_eq!(layers("mine:1"), layers("mine:2"));
    // What was kept is there, and what has gone is not.
    let inside = "cat /srv/file; test -e /bin/wget || echo gone; stat -c %a /tmp; ls /renamed; readlink /link; ls /dev/pts /etc";
    let output = shim.run(&["--rm", "mine:2", "sh", "-c", inside]).expect_ok();
    assert!(output.stdout.starts_with("hi\ngone\n700\ndeep\n/nowhere\n"), "{output}");
    // An image whose container stands cannot be committed once it is gone.
    shim.cli(&["rmi", "-f", "mine:1", "mine:2", "busybox"]).expect_ok();
    shim.cli(&["commit", "box"]).expect_code(1).expect_stderr("pull or load busybox again\n");
}
