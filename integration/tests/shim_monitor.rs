//! Who looks after a container: it outlives its caller, and the container outlives it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

mod monitored;

use std::fs;
use std::time::Duration;

use integration::{ImageMaker, Process, Shim, is_root, json, requires, wait_for};
use monitored::{
    Client, ROOT, actions, ended, events, keeper, kill, logged, monitors, printed, signal, wait_for_state,
    worker,
};
use rustix::process::Signal;

/// Prints numbers until it is told to stop by the file `stop`, then ends with 9.
const COUNTING: &str =
    "i=0; while [ ! -e /stop ]; do i=$((i+1)); echo line $i; sleep 0.02; done; echo end; exit 9";

/// Has [`COUNTING`] end.
#[track_caller]
fn stop_counting(process: Process) {
    fs::write(process.inside("stop"), "").unwrap();
}

/// Are all numbers there that [`COUNTING`] has printed, each once?
#[track_caller]
fn expect_all_lines(printed: &str) {
    let lines: Vec<&str> = printed.lines().collect();
    let (last, numbers) = lines.split_last().unwrap();
    let wanted: Vec<String> = (1..=numbers.len()).map(|number| format!("line {number}")).collect();
    assert!(numbers == wanted && *last == "end", "{printed}");
}

#[test]
fn a_container_runs_without_its_caller_and_its_end_is_recorded() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let program = "echo out; echo err >&2; until [ -e /stop ]; do sleep 0.02; done; exit 3";
    let id = shim.detached(&["busybox", "sh", "-c", program]);
    let state = shim.recorded_state(&id);
    assert_eq!((&state["status"], &state["exit_code"]), (&json!("running"), &json!(0)), "{state}");
    let process = shim.process(&id);
    assert!(process.is_alive());
    for monitor in [worker(&shim, &id), keeper(&shim, &id)] {
        assert_eq!(monitor.status("Threads"), "1");
        // Neither a terminal nor the caller's signals reach it; its session is the keeper's.
        let stat = monitor.read("stat");
        let session = stat.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap();
        assert_eq!(session, keeper(&shim, &id).pid().to_string());
        assert!(monitor.environ().iter().all(|entry| entry.starts_with("PATH=")
            || entry.starts_with("HOME=")
            || entry.starts_with("XDG_RUNTIME_DIR=")
            || entry.starts_with("DBUS_SESSION_BUS_ADDRESS=")));
        assert_eq!(fs::read_link(monitor.path("cwd")).unwrap().to_str(), Some("/"));
    }
    let folder = shim.state().join("containers").join(&id);
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("socket")), 0o700);
    // Whoever shares the network namespace could connect to a socket with an abstract name (CVE-2020-15257).
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    let named: Vec<&str> = sockets.lines().filter(|line| line.contains(&id[..12])).collect();
    assert!(named.len() < 2 && named.iter().all(|line| !line.contains('@')), "{named:?}");
    stop_counting(process);
    let state = ended(&shim, &id);
    assert_eq!(state["exit_code"], 3, "{state}");
    assert!(state["finished_at"].as_str() > state["started_at"].as_str(), "{state}");
    assert!(!folder.exists(), "what ends with a run is gone with it");
    let mut lines = logged(&shim, &id);
    lines.sort();
    let line = |stream: &str, text: &str| (stream.to_owned(), text.to_owned());
    assert_eq!(lines, [line("stderr", "err\n"), line("stdout", "out\n")]);
    assert_eq!(actions(&shim, &id), ["create", "start", "die"]);
    assert_eq!(events(&shim, &id)[2]["Actor"]["Attributes"]["exitCode"], "3");
}

fn mode(path: &std::path::Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    path.symlink_metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn both_processes_have_little_memory_of_their_own() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    // Several, so that what is the same in all of them counts for none.
    let ids: Vec<String> = (0..3)
        .map(|_| {
            shim.detached(&[
                "busybox",
                "sh",
                "-c",
                "i=0; while [ $i -lt 500 ]; do i=$((i+1)); echo $i; done; sleep 1000",
            ])
        })
        .collect();
    for id in &ids {
        wait_for("all lines", || printed(&shim, id).ends_with("500\n").then_some(()));
        let private = |process: Process| -> u64 {
            let rollup = process.read("smaps_rollup");
            let lines = rollup.lines().filter(|line| line.starts_with("Private_"));
            lines.map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()).sum()
        };
        let sum = private(worker(&shim, id)) + private(keeper(&shim, id));
        assert!(sum > 0 && sum <= 1536, "{sum} KiB");
    }
}

#[test]
fn the_container_goes_on_whoever_of_its_monitor_is_killed() {
    requires!(is_root(), "{ROOT}");
    for victim in ["worker", "keeper", "both"] {
        let shim = Shim::with_busybox();
        let id = shim.detached(&["busybox", "sh", "-c", COUNTING]);
        let process = shim.process(&id);
        wait_for("the first line", || printed(&shim, &id).contains("line 1\n").then_some(()));
        let (keeper, worker) = (keeper(&shim, &id), worker(&shim, &id));
        if victim != "worker" {
            kill(keeper);
        }
        if victim != "keeper" {
            kill(worker);
        }
        if victim == "both" {
            wait_for("nobody", || monitors(&shim).is_empty().then_some(()));
            // What it prints meanwhile waits in the FIFO.
            std::thread::sleep(Duration::from_millis(100));
            assert_eq!(shim.stdout(&["ps", "--quiet", "--no-trunc"]), format!("{id}\n"));
        }
        let before = printed(&shim, &id).lines().count();
        wait_for("more lines", || (printed(&shim, &id).lines().count() > before + 3).then_some(()));
        assert!(process.is_alive(), "{victim}");
        stop_counting(process);
        let state = ended(&shim, &id);
        assert_eq!(state["exit_code"], 9, "{victim}: {state}");
        expect_all_lines(&printed(&shim, &id));
        assert_eq!(actions(&shim, &id), ["create", "start", "die"], "{victim}");
        wait_for("the end of the monitor", || monitors(&shim).is_empty().then_some(()));
    }
}

#[test]
fn what_nobody_has_seen_end_is_put_right_by_whoever_looks() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let unseen = |flags: &[&str]| {
        let id = shim
            .detached(&[flags, &["busybox", "sh", "-c", "until [ -e /stop ]; do sleep 0.02; done"]].concat());
        let (keeper, worker, process) = (keeper(&shim, &id), worker(&shim, &id), shim.process(&id));
        kill(keeper);
        kill(worker);
        stop_counting(process);
        wait_for("its end", || (!process.is_alive()).then_some(()));
        assert_eq!(shim.recorded_state(&id)["status"], "running", "nobody has recorded it");
        id
    };
    let id = unseen(&[]);
    assert_eq!(shim.stdout(&["ps", "--all", "--format", "{{.State}}"]), "exited\n");
    let state = ended(&shim, &id);
    assert_eq!(state["exit_code"], 137, "{state}");
    assert_eq!(actions(&shim, &id), ["create", "start", "die"]);
    shim.stdout(&["rm", &id]);
    // Those that go with their end do so now; also if the one who looks wants to remove them.
    let id = unseen(&["--rm"]);
    shim.stdout(&["ps"]);
    wait_for("its removal", || shim.container_ids().is_empty().then_some(()));
    wait_for("word of it", || (actions(&shim, &id) == ["create", "start", "die", "destroy"]).then_some(()));
    let id = unseen(&["--rm"]);
    shim.stdout(&["rm", "--force", &id]);
    assert!(shim.container_ids().is_empty());
}

#[test]
fn what_a_monitor_left_that_was_killed_at_its_last_step_goes_with_the_next_look() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let id = shim.detached(&["busybox", "true"]);
    ended(&shim, &id);
    wait_for("the end of the monitor", || monitors(&shim).is_empty().then_some(()));
    // The end is recorded, and what belongs to the run is there still.
    let folder = shim.state().join("containers").join(&id);
    fs::create_dir_all(folder.join("exec-1")).unwrap();
    for name in ["monitor.lock", "stdout", "pid"] {
        fs::write(folder.join(name), "").unwrap();
    }
    // Somebody who has the lock looks after it.
    let lock = fs::File::open(folder.join("monitor.lock")).unwrap();
    lock.lock().unwrap();
    shim.stdout(&["ps", "--all"]);
    assert!(folder.join("stdout").exists());
    drop(lock);
    assert!(shim.stdout(&["ps", "--all"]).contains("Exited (0)"));
    assert!(!folder.exists());
    assert_eq!(shim.stdout(&["start", &id]), format!("{id}\n"), "nothing is in the way of another run");
}

#[test]
fn a_terminal_outlives_the_worker() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let id = shim.detached(&["--tty", "busybox", "sh", "-c", COUNTING]);
    let process = shim.process(&id);
    wait_for("the first line", || printed(&shim, &id).contains("line 1\r\n").then_some(()));
    kill(worker(&shim, &id));
    stop_counting(process);
    assert_eq!(ended(&shim, &id)["exit_code"], 9, "it got no SIGHUP");
    expect_all_lines(&printed(&shim, &id).replace('\r', ""));
}

#[test]
fn who_is_killed_at_any_moment_leaves_nothing_untold() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    for round in 0..16_u64 {
        let words = ["run", "--detach", "busybox", "sh", "-c", "echo one; sleep 0.05; exit 5"];
        let mut caller = shim.call(&words).spawn();
        // A full period of a linear congruence: another moment each time, and the same in each run of the test.
        std::thread::sleep(Duration::from_millis((round * 37 + 11) % 160));
        let found = monitors(&shim);
        for monitor in found.iter().skip(usize::from(round % 4 == 0)) {
            signal(*monitor, Signal::KILL);
        }
        while caller.is_running() {
            std::thread::sleep(Duration::from_millis(2));
        }
        let output = caller.wait();
        assert!(output.code() == 0 || !output.stderr.is_empty(), "{output}");
    }
    // Whoever looks sees containers that have ended, or never began; nobody has to do more than look.
    wait_for("the end of all", || {
        let listed = shim.stdout(&["ps", "--all", "--format", "{{.State}}"]);
        listed.lines().all(|state| state == "exited" || state == "created").then_some(())
    });
    wait_for("the end of all monitors", || monitors(&shim).is_empty().then_some(()));
    // One that was about to die of its signal still seemed to look after its container.
    shim.stdout(&["ps", "--all"]);
    wait_for("the end of those that took over", || monitors(&shim).is_empty().then_some(()));
    for id in shim.container_ids() {
        let state = shim.recorded_state(&id);
        assert!(state.get("process").is_none() && state.get("monitor").is_none(), "{state}");
        assert!([json!(5), json!(137), json!(0), json!(128)].contains(&state["exit_code"]), "{state}");
        assert!(!shim.state().join("containers").join(&id).exists(), "{state}");
    }
    let runtime = shim.state().join("runtime/runtime");
    assert_eq!(fs::read_dir(runtime).unwrap().count(), 0, "the runtime knows none of them");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(shim.root().to_str().unwrap()), "{mounts}");
}

#[test]
fn a_flood_is_logged_whole_and_a_client_that_does_not_read_has_it_wait() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let flood = "until [ -e /go ]; do sleep 0.02; done; seq 1 200000; touch /done; exit 4";
    let log = ["--log-opt", "max-size=100m"];
    let id = shim.detached(&[&log[..], &["busybox", "sh", "-c", flood]].concat());
    let process = shim.process(&id);
    let client = Client::attached(&shim, &id, r#"{"stdout":true}"#);
    fs::write(process.inside("go"), "").unwrap();
    // It prints 1.3 MB; the socket, the FIFO and the monitor hold less than that.
    std::thread::sleep(Duration::from_millis(500));
    assert!(process.is_alive() && !process.inside("done").exists(), "it waits for its reader");
    let (output, exit) = client.hear_all();
    assert_eq!(exit.unwrap()["code"], 4);
    let wanted: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    assert!(output == wanted.as_bytes(), "the client has it all");
    assert_eq!(ended(&shim, &id)["exit_code"], 4);
    assert!(printed(&shim, &id) == wanted, "the log has it all");
}

#[test]
fn who_never_reads_gets_the_rest_after_the_monitor_has_gone() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let id =
        shim.detached(&["busybox", "sh", "-c", "until [ -e /go ]; do sleep 0.02; done; seq 1 60000; exit 4"]);
    let client = Client::attached(&shim, &id, r#"{"stdout":true}"#);
    fs::write(shim.process(&id).inside("go"), "").unwrap();
    assert_eq!(ended(&shim, &id)["exit_code"], 4, "its end does not wait for the client");
    let (output, exit) = client.hear_all();
    let wanted: String = (1..=60_000).map(|number| format!("{number}\n")).collect();
    assert!(output == wanted.as_bytes() && exit.unwrap()["code"] == 4);
}

#[test]
fn a_program_may_close_its_streams() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let id = shim.detached(&[
        "busybox",
        "sh",
        "-c",
        "exec <&- >&- 2>&-; until [ -e /stop ]; do sleep 0.02; done; exit 4",
    ]);
    let process = shim.process(&id);
    std::thread::sleep(Duration::from_millis(300));
    let before = worker(&shim, &id).ticks();
    std::thread::sleep(Duration::from_millis(600));
    // Hundredths of a second: one that asks again and again has them all.
    assert!(worker(&shim, &id).ticks() - before < 20, "the monitor is idle");
    stop_counting(process);
    assert_eq!(ended(&shim, &id)["exit_code"], 4);
}

#[test]
fn who_keeps_an_output_open_does_not_keep_the_container() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    // In the host's pid namespace nothing ends with its first process.
    let id = shim.detached(&["--pid=host", "busybox", "sh", "-c", "sleep 3333 & echo $!; exit 3"]);
    assert_eq!(ended(&shim, &id)["exit_code"], 3);
    let left = Process::new(printed(&shim, &id).trim().parse().unwrap());
    wait_for("the end of what it left", || (!left.is_alive()).then_some(()));
}

#[test]
fn standard_input_ends_where_the_record_says_so() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let output = shim.call(&["run", "--rm", "-i", "busybox", "sh", "-c", "cat; exit 6"]);
    let text: String = (0..20_000).map(|number| format!("{number}\n")).collect();
    output.stdin_bytes(text.clone()).output().expect_code(6).expect_stdout(&text);
    // Kept open: what one client has sent and closed, another one goes on with.
    let id = shim.detached(&["-i", "busybox", "sh", "-c", "read a; read b; echo $a $b"]);
    for word in ["one\n", "two\n"] {
        let mut client = Client::attached(&shim, &id, r#"{"stdin":true}"#);
        client.say(2, word.as_bytes());
        client.say(3, b"");
    }
    ended(&shim, &id);
    assert_eq!(printed(&shim, &id), "one two\n");
}

#[test]
fn nonsense_on_the_socket_ends_that_conversation_alone() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let id = shim.detached(&["busybox", "sh", "-c", COUNTING]);
    let monitor = worker(&shim, &id).pid();
    for nonsense in [
        &[2, 0xff, 0xff, 0xff, 0xff][..],
        &[0; 64],
        b"GET / HTTP/1.1\r\n\r\n",
        &[1, 0, 0, 0, 2, b'[', b'['],
        &[4, 0, 0, 0, 1, 0],
    ] {
        use std::io::Write as _;
        let mut client = Client::connect(&shim, &id);
        let _ = client.0.write_all(nonsense);
        assert_eq!(client.hear(), None, "{nonsense:?}");
    }
    // A client that says a monitor's words, or input without being attached, is not listened to.
    let mut client = Client::connect(&shim, &id);
    for kind in [65, 69, 2] {
        client.say(kind, b"{}");
    }
    client.say(1, br#"{"stdout":true}"#);
    assert_eq!(client.hear().unwrap().0, 70);
    assert_eq!(client.hear().unwrap().0, 65);
    stop_counting(shim.process(&id));
    assert_eq!(ended(&shim, &id)["exit_code"], 9);
    assert_eq!(shim.recorded_state(&id)["restart_count"], 0);
    expect_all_lines(&printed(&shim, &id));
    assert!(!Process::new(monitor).is_alive());
}

#[test]
fn folders_may_have_long_paths() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let state = shim.folder().join("s".repeat(100)).join("t".repeat(100));
    let call = |words: &[&str]| {
        let folders = ["--root".into(), shim.root(), "--state".into(), state.clone()];
        integration::Call::of(integration::shim_under_test()).args(folders).args(words).output().expect_ok()
    };
    let output = call(&["run", "--rm", "--network", "none", "busybox", "echo", "hello"]);
    assert_eq!(output.stdout, "hello\n");
    let output = call(&["run", "--rm", "--network", "none", "--tty", "busybox", "echo", "hello"]);
    assert_eq!(output.stdout, "hello\r\n");
}

#[test]
fn a_full_disk_costs_lines_and_not_the_container() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::in_memory();
    // Everything that lasts on a small disk of its own, which goes with the shim's folder.
    fs::create_dir(shim.root()).unwrap();
    let (none, options) = (nix::mount::MsFlags::empty(), Some("size=8m,mode=0700"));
    nix::mount::mount(Some("small"), &shim.root(), Some("tmpfs"), none, options).unwrap();
    shim.load(&ImageMaker::busybox().named("busybox").docker_archive(&shim.folder().join("image")));
    let program = "seq 1 200000; echo last; exit 7";
    let id = shim.detached(&["--log-opt", "max-size=100m", "busybox", "sh", "-c", program]);
    let state = ended(&shim, &id);
    assert_eq!(state["exit_code"], 7, "{state}");
    let told = state["error"].as_str().unwrap();
    let words = " lines of output are missing in the log: No space left on device";
    let told = told.strip_suffix(words).unwrap_or(if told.is_empty() { "0" } else { told });
    let mut lines: usize = told.parse().unwrap_or_else(|_| panic!("{state}"));
    for (stream, text) in logged(&shim, &id) {
        // Where there was a little room again, the log tells it itself.
        let missing = text.strip_prefix('[').filter(|_| stream == "stderr");
        lines += missing.map_or(1, |text| text.split(' ').next().unwrap().parse().unwrap());
    }
    assert_eq!(lines, 200_001, "every line is there, or told to be missing");
    let log = fs::read_to_string(shim.container_folder(&id).join(format!("{id}-json.log"))).unwrap();
    assert!(log.starts_with("{\"log\":\"1\\n\"") && !log.contains("\"last\\n\""), "some are lost");
    shim.cli(&["rm", &id]).expect_ok();
}

#[test]
fn a_monitor_that_is_asked_to_end_ends_its_container() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let waiting = "trap 'exit 8' TERM; while :; do sleep 0.02; done";
    let id = shim.detached(&["--restart=always", "busybox", "sh", "-c", waiting]);
    wait_for_state(&shim, &id, "its start", |state| state["status"] == "running");
    signal(worker(&shim, &id), Signal::TERM);
    let state = ended(&shim, &id);
    assert_eq!((&state["exit_code"], &state["stopped_by_user"]), (&json!(8), &json!(false)), "{state}");
}
