//! Containers on one line each: what is shown of them, which ones, and how.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

mod recorded;

use integration::{Output, json};
use recorded::{Recorded, now};

/// One container in each state.
fn all_states() -> Recorded {
    let mut all = Recorded::new();
    let none = json!({});
    all.add(1, "made", &json!({"Created": now(-600)}), &none);
    let labels = json!({"Image": "box:2", "Labels": {"team": "blue", "com.example.some-note": "x"}});
    all.add_running(2, "web", &json!({"Created": now(-500), "Config": labels}), &none);
    let mounts = json!([{"Type": "bind", "Source": "/srv/some/long/path", "Destination": "/data"}]);
    let record = json!({"Created": now(-400), "Mounts": mounts, "HostConfig": {"NetworkMode": "host"}});
    all.add_running(3, "db", &record, &json!({"status": "paused"}));
    let healthy = json!({"health": {"Status": "healthy"}});
    all.add_running(4, "checked", &json!({"Created": now(-300)}), &healthy);
    let ended =
        json!({"status": "exited", "exit_code": 3, "started_at": now(-250), "finished_at": now(-125)});
    all.add(5, "done", &json!({"Created": now(-200), "Path": "true", "Args": []}), &ended);
    all
}

fn names(output: Output) -> String {
    output.expect_ok().stdout.lines().collect::<Vec<_>>().join(" ")
}

#[test]
fn containers_are_listed_as_docker_does_the_latest_first() {
    let all = all_states();
    let listed = all.shim.stdout(&["ps", "--all"]);
    let expected = [
        "CONTAINER ID   IMAGE     COMMAND                  CREATED         STATUS                        PORTS     NAMES",
        "000501234567   box:1     \"true\"                   3 minutes ago   Exited (3) 2 minutes ago                done",
        "000401234567   box:1     \"sh -c 'echo hello; …\"   5 minutes ago   Up About a minute (healthy)             checked",
        "000301234567   box:1     \"sh -c 'echo hello; …\"   6 minutes ago   Up About a minute (Paused)              db",
        "000201234567   box:2     \"sh -c 'echo hello; …\"   8 minutes ago   Up About a minute                       web",
        "000101234567   box:1     \"sh -c 'echo hello; …\"   10 minutes ago   Created                                 made",
    ];
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = listed.lines().map(squeezed).collect();
    assert_eq!(lines, expected.map(squeezed), "{listed}");

    assert_eq!(names(all.shim.cli(&["ps", "--format", "{{.Names}}"])), "checked db web");
    assert_eq!(names(all.shim.cli(&["container", "ls", "-q"])), "000401234567 000301234567 000201234567");
    assert_eq!(names(all.shim.cli(&["ps", "-l", "--format={{.Names}}"])), "done");
    assert_eq!(names(all.shim.cli(&["container", "list", "-n2", "--format={{.Names}}"])), "done checked");
    let full = format!("0005{}", "0123456789ab".repeat(5));
    assert_eq!(names(all.shim.cli(&["container", "ps", "-lq", "--no-trunc"])), full);
    let sizes = all.shim.stdout(&["ps", "-s", "--format", "table {{.Names}}\t{{.Size}}"]);
    assert_eq!(sizes.lines().nth(1), Some("checked   0B (virtual 0B)"), "{sizes}");
}

#[test]
fn every_field_can_be_asked_for() {
    let all = all_states();
    let format = "{{.Image}}|{{.State}}|{{.Networks}}|{{.Labels}}|{{.Label \"team\"}}|{{.Mounts}}|{{.LocalVolumes}}|{{.Ports}}|{{.Size}}";
    let expected = "box:1|running|none||||0||0B (virtual 0B)\nbox:1|paused|host|||/srv/some/long…|0||0B (virtual 0B)\n\
        box:2|running|none|com.example.some-note=x,team=blue|blue||0||0B (virtual 0B)\n";
    assert_eq!(all.shim.stdout(&["ps", "--format", format]), expected);
    let table =
        all.shim.stdout(&["ps", "--format", "table {{.Names}}\\t{{.Label \"com.example.some-note\"}}"]);
    assert_eq!(table, "NAMES     some note\nchecked   \ndb        \nweb       x\n");
    let json = all.shim.stdout(&["ps", "-l", "-a", "--format", "json"]);
    let keys: Vec<&str> = json.split('"').filter(|part| part.starts_with(char::is_uppercase)).collect();
    let expected = "Command CreatedAt ID Image Labels LocalVolumes Mounts Names Networks Ports RunningFor Size State Status Exited (3) 2 minutes ago";
    assert_eq!(keys.join(" "), expected, "{json}");
    let made = all
        .shim
        .call(&["ps", "-l", "--no-trunc", "--format", "{{.CreatedAt}} {{.Command}}"])
        .env("TZ", "UTC");
    let made = made.output().expect_ok().stdout;
    assert!(made.ends_with(" +0000 UTC \"true\"\n"), "{made}");
    let raw = all.shim.stdout(&["ps", "-l", "--format", "raw"]);
    assert!(raw.starts_with("container_id: 000501234567\nimage: box:1\n"), "{raw}");
    let both =
        all.shim.cli(&["ps", "-lq", "--format", "{{.Names}}"]).expect_ok().expect_stdout("000501234567\n");
    assert_eq!(both.stderr, "WARNING: Ignoring custom format, because both --format and --quiet are set.\n");
}

#[test]
fn filters_choose() {
    let all = all_states();
    for (filters, listed) in [
        (&["status=exited"][..], "done"),
        (&["status=exited", "status=created"], "done made"),
        (&["status=running"], "checked web"),
        (&["exited=3"], ""),
        (&["health=healthy"], "checked"),
        (&["health=none"], "db web"),
        (&["name=e"], "checked web"),
        (&["name=^/we"], "web"),
        (&["id=0003"], "db"),
        (&["label=team"], "web"),
        (&["label=team=red"], ""),
        (&["before=web"], ""),
        (&["since=web"], "checked db"),
        (&["before=checked", "since=web"], "db"),
        (&["volume=/data"], "db"),
        (&["network=host"], "db"),
        (&["ancestor=nothing"], ""),
        (&["is-task=true"], ""),
        (&["status=paused", "name=db"], "db"),
    ] {
        let mut words = vec!["ps", "--format", "{{.Names}}"];
        filters.iter().for_each(|filter| words.extend(["--filter", filter]));
        assert_eq!(names(all.shim.cli(&words)), listed, "{filters:?}");
    }
    assert_eq!(names(all.shim.cli(&["ps", "-aq", "-f", "exited=3"])), "000501234567");
    let wrong = "invalid filter 'status=[gone]'\n";
    assert_eq!(all.shim.cli(&["ps", "-f", "status=gone"]).expect_code(1).stderr, wrong);
    all.shim.cli(&["ps", "-f", "since=gone"]).expect_code(1).expect_stderr("No such container: gone\n");
    let last = "invalid argument \"x\" for \"-n, --last\" flag: parsing \"x\": invalid syntax";
    all.shim.cli(&["ps", "-n", "x"]).expect_code(125).expect_stderr(last);
}

#[test]
fn a_container_that_cannot_be_read_is_told_behind_the_others() {
    let mut all = Recorded::new();
    all.add(1, "whole", &json!({}), &json!({}));
    let id = all.add(2, "broken", &json!({}), &json!({}));
    std::fs::write(all.folder(&id).join("container.json"), "{").unwrap();
    let output =
        all.shim.cli(&["ps", "-a", "--format", "{{.Names}}"]).expect_code(1).expect_stdout("whole\n");
    output.expect_stderr(&format!("container {id}: read "));
}

#[test]
fn what_a_record_says_of_processes_is_believed_only_as_far_as_the_kernel_agrees() {
    let mut all = Recorded::new();
    let process = json!({"pid": std::process::id(), "start_time": 1});
    let state = json!({"status": "running", "boot": "another", "process": process, "started_at": now(-60)});
    let id = all.add(1, "lost", &json!({}), &state);
    // The host went down in between.
    assert_eq!(names(all.shim.cli(&["ps", "-q"])), "");
    let status = all.shim.stdout(&["ps", "-a", "--format", "{{.Status}}"]);
    assert!(status.starts_with("Exited (255) "), "{status}");
    assert_eq!(all.shim.recorded_state(&id)["status"], "exited");
}
