//! `checkpoint` and `restore` of containers that reach outside: bind mounts, joined namespaces, terminals, connections,
//! file locks, and memory that goes over the network (runc, checkpoint.8.md and restore.8.md; criu(8)).
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::process::{Child, Command};

use integration::checkpoint::{COUNTING, CriuServer, counting, criu_lacks};
use integration::{Bundle, Call, ConsoleSocket, Container, Terminal, json, known_gap, skip, wait_for};
use rustix::process::Signal;

macro_rules! requires_criu {
    () => {
        if let Some(why) = criu_lacks() {
            skip!("{why}");
        }
    };
}

#[test]
fn bind_mounts_come_from_the_configuration_of_who_restores() {
    requires_criu!();
    let bundle = Bundle::new();
    for folder in ["old", "new"] {
        fs::create_dir(bundle.scratch().join(folder)).unwrap();
        fs::write(bundle.scratch().join(folder).join("file"), folder).unwrap();
        fs::write(bundle.scratch().join(format!("{folder}-file")), format!("file {folder}")).unwrap();
    }
    // /link leads to another folder, as /var/run does in most images.
    std::os::unix::fs::symlink("srv", bundle.rootfs().join("link")).unwrap();
    let (folder, file) = (bundle.scratch_file("old"), bundle.scratch_file("old-file"));
    let bundle =
        bundle.bind(&folder, "/link/folder", &["rbind", "ro"]).bind(&file, "/etc/hosts", &["bind", "ro"]);
    let container = counting(bundle);
    let read = |container: &Container, path: &str| fs::read_to_string(container.init().inside(path)).unwrap();
    assert_eq!(read(&container, "srv/folder/file"), "old");
    container.checkpoint(&[]).expect_ok();
    let count = container.count();

    let config = container.bundle().path().join("config.json");
    let (old, new) = (container.bundle().scratch_file("old"), container.bundle().scratch_file("new"));
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains(&old));
    fs::write(&config, text.replace(&old, &new)).unwrap();
    container.restore(&[]).expect_ok();
    container.wait_count(count);
    assert_eq!(read(&container, "srv/folder/file"), "new");
    assert_eq!(read(&container, "etc/hosts"), "file new");
    assert!(container.init().mount_at("/srv/folder").has("ro"));
    // What the host changes is seen: it is the host's folder, and no copy of it.
    fs::write(container.bundle().scratch().join("new/file"), "changed").unwrap();
    assert_eq!(read(&container, "srv/folder/file"), "changed");
    container.delete_force().expect_ok();
}

/// A process that keeps namespaces alive.
struct Keeper(Child);

impl Keeper {
    fn new(flags: &[&str]) -> Keeper {
        let child = Command::new("unshare").args(flags).args(["sleep", "600"]).spawn().unwrap();
        let keeper = Keeper(child);
        wait_for("the namespaces", || {
            let name = fs::read_to_string(format!("/proc/{}/comm", keeper.0.id())).unwrap();
            (name.trim() == "sleep").then_some(())
        });
        keeper
    }

    fn path(&self, kind: &str) -> String {
        format!("/proc/{}/ns/{kind}", self.0.id())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_joined_network_namespace_is_joined_again() {
    requires_criu!();
    let keeper = Keeper::new(&["--net"]);
    let container = counting(Bundle::new().join_namespace("network", &keeper.path("net")));
    let namespace = container.init().namespace("net");
    container.checkpoint(&[]).expect_ok();
    let count = container.count();
    container.restore(&[]).expect_ok();
    container.wait_count(count);
    assert_eq!(container.init().namespace("net"), namespace);
    container.delete_force().expect_ok();
    // Another one, as after a migration.
    let other = Keeper::new(&["--net"]);
    let config = container.bundle().path().join("config.json");
    let text = fs::read_to_string(&config).unwrap().replace(&keeper.path("net"), &other.path("net"));
    fs::write(&config, text).unwrap();
    container.restore(&[]).expect_ok();
    assert_ne!(container.init().namespace("net"), namespace);
    container.delete_force().expect_ok();
}

#[test]
fn joined_ipc_and_uts_namespaces_are_joined_again() {
    requires_criu!();
    let keeper = Keeper::new(&["--ipc", "--uts"]);
    let bundle = Bundle::new()
        .join_namespace("ipc", &keeper.path("ipc"))
        .join_namespace("uts", &keeper.path("uts"))
        .remove("/hostname")
        .remove_mount("/dev/mqueue");
    let container = counting(bundle);
    let namespaces = |container: &Container| ["ipc", "uts"].map(|kind| container.init().namespace(kind));
    let before = namespaces(&container);
    container.checkpoint(&[]).expect_ok();
    let count = container.count();
    container.restore(&[]).expect_ok();
    container.wait_count(count);
    assert_eq!(namespaces(&container), before);
    container.delete_force().expect_ok();
}

#[test]
fn a_terminal_goes_to_the_console_socket_of_who_restores() {
    requires_criu!();
    let script = "while read line; do n=$((n + 1)); echo heard $n $line; done";
    let bundle = Bundle::new().set("/process/terminal", json!(true)).sh(script);
    let listen = |bundle: &Bundle, name: &str| ConsoleSocket::listen(&bundle.scratch().join(name));
    let (first, second) = (listen(&bundle, "first"), listen(&bundle, "second"));
    let container = bundle.container();
    container.birth("run", &["--detach", "--console-socket", first.path()]).output().expect_ok();
    let mut terminal = first.terminal();
    terminal.send("one\n");
    terminal.read_until("heard 1 one");
    let onlcr = terminal.has_onlcr();
    container.checkpoint(&[]).expect_ok();

    container.restore(&["--console-socket", second.path()]).expect_ok();
    let mut terminal = second.terminal();
    terminal.send("two\n");
    // It remembers, and its terminal is as it was.
    terminal.read_until("heard 2 two");
    assert_eq!(terminal.has_onlcr(), onlcr);
    assert_eq!(container.init().descriptors()[0].1, "/dev/pts/0");
    container.delete_force().expect_ok();
}

#[test]
fn in_the_foreground_the_terminal_is_the_callers() {
    requires_criu!();
    let script = "while read line; do n=$((n + 1)); echo heard $n $line; [ $line != end ] || exit 9; done";
    let bundle = Bundle::new().set("/process/terminal", json!(true)).sh(script);
    let socket = ConsoleSocket::listen(&bundle.scratch().join("socket"));
    let container = bundle.container();
    container.birth("run", &["--detach", "--console-socket", socket.path()]).output().expect_ok();
    let mut terminal = socket.terminal();
    terminal.send("one\n");
    terminal.read_until("heard 1 one");
    container.checkpoint(&[]).expect_ok();
    let (mut terminal, other) = Terminal::pair();
    let restored = container.restore_call(&[]).on_terminal(other).spawn();
    container_runs(&container);
    terminal.send("two\n");
    terminal.read_until("heard 2 two");
    terminal.send("end\n");
    restored.wait().expect_code(9);
}

#[track_caller]
fn container_runs(container: &Container) {
    wait_for("running", || {
        let state = container.state_output();
        (state.status.success() && state.json()["status"] == "running").then_some(())
    });
}

#[test]
fn a_terminal_needs_somewhere_to_go() {
    requires_criu!();
    let container = Bundle::new().set("/process/terminal", json!(true)).container();
    container.restore(&[]).expect_fail().expect_stderr("--console-socket");
    let container = Bundle::new().container();
    container.restore(&["--console-socket", "/none"]).expect_fail().expect_stderr("terminal");
}

#[test]
fn a_shell_job_is_restored_on_another_terminal() {
    requires_criu!();
    let script = "while read line; do n=$((n + 1)); echo heard $n $line; [ $line != end ] || exit 9; done";
    let container = Bundle::new().sh(script).container();
    let (mut terminal, other) = Terminal::pair();
    let run = container.birth("run", &[]).on_terminal(other).spawn();
    container_runs(&container);
    terminal.send("one\n");
    terminal.read_until("heard 1 one");
    // Without the flag CRIU refuses, and nothing happens to the container.
    container.checkpoint(&[]).expect_fail().expect_stderr("dump.log");
    terminal.send("two\n");
    terminal.read_until("heard 2 two");
    container.checkpoint(&["--shell-job"]).expect_ok();
    run.wait().expect_code(137);
    let (mut terminal, other) = Terminal::pair();
    let restored = container.restore_call(&["--shell-job"]).on_terminal(other).spawn();
    container_runs(&container);
    terminal.send("three\n");
    terminal.read_until("heard 3 three");
    terminal.send("end\n");
    restored.wait().expect_code(9);
}

#[test]
fn established_connections_are_dumped_where_that_is_asked_for() {
    requires_criu!();
    // With something to read, since nc ends with its input.
    let script = "tail -f /dev/null | nc -l -p 7000 >/heard &
        until cat /proc/net/tcp /proc/net/tcp6 | grep -q ':1B58 .* 0A '; do usleep 10000; done
        (i=0; while :; do i=$((i + 1)); echo $i; echo $i >/count; usleep 100000; done) | nc 127.0.0.1 7000 &
        wait";
    let container = Bundle::new().sh(script).container();
    container.run_unheard().output().expect_ok();
    let heard = || {
        let text = fs::read_to_string(container.bundle().rootfs().join("heard")).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap_or(0)).collect::<Vec<u64>>()
    };
    wait_for("the connection", || (heard().len() > 2).then_some(()));
    let refused = container.checkpoint(&[]).expect_fail();
    assert_eq!(refused.stderr.lines().count(), 1, "{refused}");
    refused.expect_stderr("dump.log");
    let so_far = heard().len();
    wait_for("the connection to go on", || (heard().len() > so_far + 2).then_some(()));

    container.checkpoint(&["--tcp-established"]).expect_ok();
    let so_far = heard().len();
    container.restore(&["--tcp-established"]).expect_ok();
    wait_for("the connection to go on", || (heard().len() > so_far + 2).then_some(()));
    // Not a byte was lost or came twice.
    let heard = heard();
    assert!(heard.iter().zip(1..).all(|(number, wanted)| *number == wanted), "{heard:?}");
    container.delete_force().expect_ok();
}

#[test]
fn file_locks_are_dumped_where_that_is_asked_for() {
    requires_criu!();
    if Call::of("sh").args(["-c", "command -v flock"]).output().code() != 0 {
        skip!("no flock(1)");
    }
    let script = format!("exec 9>/lock; /usr/bin/flock 9 || exit 1; {COUNTING}");
    // Not the mounts below: whatever the host has there would be the container's to dump.
    let bundle = Bundle::new();
    fs::remove_dir(bundle.rootfs().join("lib")).unwrap();
    for link in ["lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{link}"), bundle.rootfs().join(link)).unwrap();
    }
    let container = bundle.bind("/usr", "/usr", &["bind", "ro"]).sh(&script).container();
    container.run_unheard().output().expect_ok();
    container.wait_count(2);
    let lock = container.bundle().rootfs().join("lock");
    let is_locked =
        || Call::of("flock").args(["-n".as_ref(), lock.as_os_str(), "true".as_ref()]).output().code() == 1;
    assert!(is_locked());
    container.checkpoint(&[]).expect_fail().expect_stderr("lock");
    container.wait_count(container.count());
    container.checkpoint(&["--file-locks"]).expect_ok();
    assert!(!is_locked());
    let count = container.count();
    container.restore(&["--file-locks"]).expect_ok();
    container.wait_count(count);
    assert!(is_locked());
    container.delete_force().expect_ok();
}

#[test]
fn an_open_file_without_a_name_is_dumped() {
    requires_criu!();
    let script = format!("exec 8>/gone; rm /gone; echo kept >&8; {COUNTING}");
    let container = counting_of(&script);
    container.checkpoint(&["--link-remap"]).expect_ok();
    let count = container.count();
    container.restore(&[]).expect_ok();
    container.wait_count(count);
    let descriptors = container.init().descriptors();
    assert!(
        descriptors.iter().any(|(_, path)| path.starts_with("/gone") || path.contains("(deleted)")),
        "{descriptors:?}"
    );
    container.delete_force().expect_ok();
}

fn counting_of(script: &str) -> Container {
    let container = Bundle::new().sh(script).container();
    container.run_unheard().output().expect_ok();
    container.wait_count(2);
    container
}

/// Waits until somebody listens at a port of the host's loopback.
#[track_caller]
fn wait_port(port: u16) {
    wait_for("the port", || {
        let text = fs::read_to_string("/proc/net/tcp").unwrap();
        text.lines().any(|line| line.contains(&format!(":{port:04X} 00000000:0000 0A"))).then_some(())
    });
}

#[test]
fn memory_goes_to_a_page_server() {
    requires_criu!();
    let container = counting(Bundle::new());
    let images = container.images();
    fs::create_dir(&images).unwrap();
    let path = images.to_str().unwrap();
    let mut server = CriuServer::start(&[
        "page-server",
        "--images-dir",
        path,
        "--address",
        "127.0.0.1",
        "--port",
        "27001",
    ]);
    wait_port(27001);
    container.checkpoint(&["--page-server", "127.0.0.1:27001"]).expect_ok();
    server.wait();
    let count = container.count();
    container.restore(&[]).expect_ok();
    container.wait_count(count);
    container.delete_force().expect_ok();
}

#[test]
fn memory_is_fetched_when_it_is_used() {
    requires_criu!();
    if fs::metadata("/proc/sys/vm/unprivileged_userfaultfd").is_err() {
        skip!("no userfaultfd in this kernel");
    }
    let container = counting(Bundle::new());
    // runc wants the descriptor to be for writing only.
    let told = container.bundle().scratch_file("told");
    let by = format!("exec 7>{told}; exec \"$0\" \"$@\"");
    let flags = ["--lazy-pages", "--page-server", "127.0.0.1:27002", "--status-fd", "7"];
    let mut dump = container.checkpoint_call(&flags).through(&["sh", "-c", &by]).spawn();
    wait_for("the word that pages can be asked for", || {
        dump.expect_alive();
        (fs::read(&told).is_ok_and(|told| told == [0])).then_some(())
    });
    let count = container.count();
    let (images, logs) = (container.images(), container.bundle().scratch().join("fetch"));
    fs::create_dir(&logs).unwrap();
    let (images, logs) = (images.to_str().unwrap(), logs.to_str().unwrap());
    let mut fetcher = CriuServer::start(&[
        "lazy-pages",
        "--page-server",
        "--address",
        "127.0.0.1",
        "--port",
        "27002",
        "--images-dir",
        images,
        "--work-dir",
        logs,
    ]);
    wait_for("the daemon", || fs::exists(format!("{logs}/lazy-pages.socket")).unwrap().then_some(()));
    // Under another name: the first is still being dumped.
    let second = container.sibling();
    let restore =
        second.birth("restore", &["--lazy-pages", "--detach", "--image-path", images, "--work-path", logs]);
    restore.output().expect_ok();
    container.wait_count(count);
    fetcher.wait();
    dump.wait().expect_ok();
    container.state_output().expect_fail().expect_stderr("does not exist");
    assert_eq!(second.status(), "running");
    second.delete_force().expect_ok();
}

#[test]
fn who_fetches_no_memory_leaves_the_container_running() {
    requires_criu!();
    known_gap!(Runc, "its end is not that of CRIU");
    let container = counting(Bundle::new());
    let dump = container.checkpoint_call(&["--lazy-pages", "--page-server", "127.0.0.1:27003"]).spawn();
    wait_port(27003);
    dump.signal(Signal::TERM);
    dump.wait().expect_fail().expect_stderr("interrupted by SIGTERM");
    assert_eq!(container.status(), "running");
    container.wait_count(container.count());
    container.delete_force().expect_ok();
}
