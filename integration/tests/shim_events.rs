//! What happens is told to whoever asks, then and later.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;

use integration::{Shim, Value, is_root, requires, wait_for};

const ROOT: &str = "containers need root";

/// Actions of all events so far that these filters mean.
#[track_caller]
fn told(shim: &Shim, words: &[&str]) -> Vec<String> {
    let until = ["events", "--since", "1", "--until", "0s", "--format", "{{.Type}} {{.Action}}"];
    let text = shim.stdout(&[&until[..], words].concat());
    text.lines().map(str::to_owned).collect()
}

#[test]
fn events_of_containers_and_images_are_told_and_filtered() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let id = shim.stdout(&["create", "--name", "one", "-l", "team=blue", "busybox", "sh", "-c", "exit 3"]);
    let id = id.trim_end();
    shim.cli(&["start", "-a", "one"]).expect_code(3);
    shim.stdout(&["tag", "busybox", "other:1"]);
    shim.stdout(&["rename", "one", "two"]);
    shim.stdout(&["rm", "two"]);
    shim.cli(&["rmi", "other:1"]).expect_ok();
    let archive = shim.folder().join("archive.tar");
    shim.cli(&["save".as_ref(), "-o".as_ref(), archive.as_os_str(), "busybox".as_ref()]).expect_ok();
    shim.cli(&["rmi", "busybox"]).expect_ok();
    let all = told(&shim, &[]);
    let expected = [
        "image load",
        "container create",
        "container attach",
        "container start",
        "container die",
        "image tag",
        "container rename",
        "container destroy",
        "image untag",
        "image save",
        "image untag",
        "image delete",
    ];
    assert_eq!(all, expected);
    assert_eq!(told(&shim, &["--filter", "type=image", "-f", "event=tag"]), ["image tag"]);
    assert_eq!(told(&shim, &["-f", "container=two"]), ["container rename", "container destroy"]);
    assert_eq!(told(&shim, &["-f", "label=team=blue", "-f", "event=die"]), ["container die"]);
    assert_eq!(told(&shim, &["-f", "label=team=red"]), [""; 0]);
    assert_eq!(told(&shim, &["-f", "image=busybox", "-f", "event=start"]), ["container start"]);
    // Docker's line, and docker's JSON.
    let line = shim.stdout(&["events", "--since", "1h", "--until", "0s", "-f", "event=die"]);
    let (time, rest) = line.split_once(' ').unwrap();
    assert!(time.len() >= 30 && time.as_bytes()[10] == b'T' && time.as_bytes()[19] == b'.', "{line}");
    // How long it ran is in it too, in seconds.
    let (begin, end) =
        (format!("container die {id} (execDuration="), ", exitCode=3, image=busybox, name=one, team=blue)\n");
    assert!(rest.starts_with(&begin) && rest.ends_with(end), "{line}");
    let json = ["events", "--since", "1h", "--until", "0s", "--format", "json", "-f", "event=tag"];
    let event: Value = serde_json::from_str(&shim.stdout(&json)).unwrap();
    assert_eq!(event["Actor"]["Attributes"]["name"], "other:1");
    assert!(event["id"].as_str().unwrap().starts_with("sha256:") && event["status"] == "tag", "{event}");
    // Before and behind a moment.
    let at = event["timeNano"].as_i64().unwrap();
    let moment = |nano: i64| format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
    let format = ["--format", "{{.Action}}"];
    let since =
        shim.stdout(&[&["events", "--since", &moment(at + 1), "--until", "0s"], &format[..]].concat());
    assert!(since.starts_with("rename\n"), "{since}");
    let until = shim.stdout(&[&["events", "--since", "1", "--until", &moment(at)], &format[..]].concat());
    assert!(until.ends_with("die\ntag\n"), "{until}");
    // Nobody has asked for what was.
    assert_eq!(shim.stdout(&["events", "--until", "0s"]), "");
    for (words, code, reason) in [
        (&["--filter", "foo=bar"][..], 1, "invalid filter 'foo'"),
        (&["--since", "2", "--until", "1"], 1, "cannot be after `until` time (1)"),
        (&["--since", "yesterday"], 1, "failed to parse"),
        (&["--format", "{{"], 64, "Error parsing format: "),
    ] {
        shim.call(&["events"]).args(words).output().expect_code(code).expect_stderr(reason);
    }
}

#[test]
fn events_are_told_as_they_come_also_through_the_rotation() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let folder = shim.folder().join("told");
    fs::create_dir(&folder).unwrap();
    let words =
        ["system", "events", "-f", "type=container", "--format", "{{.Action}} {{.Actor.Attributes.name}}"];
    let follows = shim.call(&words).output_in(&folder).spawn();
    let told = || fs::read_to_string(folder.join("stdout")).unwrap();
    // It follows from the moment when it watches.
    let watches = || fs::read_dir(format!("/proc/{}/fd", follows.pid())).into_iter().flatten().flatten();
    wait_for("the watch", || {
        let leads = |link: fs::DirEntry| fs::read_link(link.path()).ok();
        watches().filter_map(leads).any(|to| to.to_string_lossy().contains("events.json")).then_some(())
    });
    shim.stdout(&["create", "--name", "one", "busybox", "true"]);
    wait_for("the first event", || (told() == "create one\n").then_some(()));
    fs::rename(shim.state().join("events.json"), shim.state().join("events.json.1")).unwrap();
    shim.stdout(&["rm", "one"]);
    shim.stdout(&["create", "--name", "two", "busybox", "true"]);
    wait_for("the others", || (told() == "create one\ndestroy one\ncreate two\n").then_some(()));
    follows.signal(rustix::process::Signal::INT);
    assert_eq!(follows.wait().code(), 130);
    // What was put aside is told too, and an end in the future is waited for.
    let all = ["events", "--since", "1", "--until", "-1s", "-f", "type=container", "--format", "{{.Action}}"];
    assert_eq!(shim.stdout(&all), "create\ndestroy\ncreate\n");
}
