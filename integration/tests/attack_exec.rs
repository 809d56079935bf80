//! `exec` into a hostile container: what its processes try on the one that joins them, and everything that can happen
//! to the container, or to the runtime, in the middle. See docs/attacks.md.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

mod attack;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use attack::Canary;
use integration::{
    Bundle, Call, Container, Process, asleep, cgroup2_mount, kernel_has, requires, runtime_under_test,
    wait_for,
};
use rustix::process::Signal;

/// The smallest of the virtual machines has nothing but busybox.
const NO_PERL: &str = "no perl here, which the attacker is written in";

/// More than a moment, different in each round and the same in each run: up to 8 ms, about what an exec takes.
fn moment(round: u32) -> Duration {
    Duration::from_micros(u64::from(round.wrapping_mul(7919).wrapping_add(104_729) % 8_000))
}

/// Every process that comes is looked into in all the ways in which a runtime could be got at, again and again. What
/// is not the container's own program is caught; refusals are counted. On SIGTERM it tells.
const ATTACKER: &str = r#"
my ($denied, $caught, $met, %last) = (0, "", 0);
$SIG{TERM} = sub { print "denied $denied\nmet $met\ncaught [$caught]\n"; exit 0 };
# Whether what was just reached is not the container's own program: one that is still refused, or another file. A
# process that has ended meanwhile is neither.
sub is_runtime {
    my $exe = readlink("/proc/$_[0]/exe");
    return defined $exe ? $exe !~ m{/busybox$} : $!{EACCES};
}
$| = 1;
print "ready\n";
while (1) {
    opendir(my $proc, "/proc") or next;
    my @pids = grep { /^\d+$/ && $_ != 1 && $_ != $$ } readdir($proc);
    closedir($proc);
    for my $pid (@pids) {
        my $exe = readlink("/proc/$pid/exe");
        if (!defined $exe) { $denied++ if $!{EACCES}; }
        elsif ($exe !~ m{/busybox$}) { $caught .= " exe=$exe" }
        else { $met++; next }
        for my $link ("cwd", "root", "fd/0", "fd/3", "fd/4", "fd/5", "fd/6", "fd/7", "fd/8", "ns/mnt") {
            my $to = readlink("/proc/$pid/$link");
            $caught .= " $link=$to" if defined $to && is_runtime($pid);
        }
        if (open(my $file, "<", "/proc/$pid/environ")) {
            my $text = join "", <$file>;
            $caught .= " environ" if $text =~ /secret-of-the-caller/;
        }
        if (open(my $file, "+<", "/proc/$pid/mem")) {
            $caught .= " mem" if is_runtime($pid);
        }
        if (syscall(101, 16, $pid, 0, 0) == 0) { # PTRACE_ATTACH
            waitpid($pid, 0x40000000);
            $caught .= " ptrace" if is_runtime($pid);
            syscall(101, 17, $pid, 0, 0);
            kill("CONT", $pid); # the stop of the attachment may still be on its way
        }
    }
}
"#;

/// Runs `exec` in many rounds beside the attacker; what that says in the end.
fn hunted(bundle: Bundle) -> String {
    let bundle = bundle.host_programs().file("/attacker", 0o644, ATTACKER.as_bytes());
    let container = bundle.args(&["perl", "-MErrno", "/attacker"]).container();
    container.run_detached().expect_ok();
    container.wait_stdout("ready");
    for _ in 0..150 {
        let call =
            container.exec_call(&[], &["/bin/busybox", "true"]).env("CAISSON_SECRET", "secret-of-the-caller");
        // Who is traced may lose its signal or its status, but it must not have been the runtime.
        let output = call.output();
        assert!(!output.stderr.contains("panicked"), "{output}");
    }
    container.kill("TERM").expect_ok();
    container.wait_status("stopped");
    container.stdout()
}

#[test]
fn cve_2016_9962_processes_of_the_container_do_not_get_at_one_that_joins() {
    ours_only!();
    requires!(kernel_has("/usr/bin/perl"), "{NO_PERL}");
    let capabilities =
        ["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SETUID", "CAP_SETGID", "CAP_KILL", "CAP_FOWNER"];
    let said = hunted(Bundle::new().capabilities(&capabilities));
    assert!(said.contains("caught []"), "{said}");
    assert!(
        !said.contains("denied 0\n"),
        "no process was met before its program: the test shows nothing: {said}"
    );
}

#[test]
fn cve_2016_9962_nor_does_root_of_the_containers_user_namespace_with_every_right_in_it() {
    ours_only!();
    requires!(kernel_has("/usr/bin/perl"), "{NO_PERL}");
    let all: Vec<String> = (0..=40).map(|number| caps_name(number).to_owned()).collect();
    let names: Vec<&str> = all.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    assert!(names.contains(&"CAP_SYS_PTRACE"));
    let said = hunted(Bundle::new().user_namespace(500_000, 65_536).capabilities(&names));
    assert!(said.contains("caught []"), "{said}");
    assert!(
        !said.contains("denied 0\n"),
        "no process was met before its program: the test shows nothing: {said}"
    );
}

/// Looks for whatever process has the host for its root or working directory, or one of its folders open, as soon as
/// it can be seen. For who may look into every process (CAP_SYS_PTRACE), being not dumpable hides nothing.
const HUNTER: &str = r#"
my ($caught, $met) = ("", 0);
$SIG{TERM} = sub { print "met $met\ncaught [$caught]\n"; exit 0 };
$| = 1;
print "ready\n";
while (1) {
    opendir(my $proc, "/proc") or next;
    for my $pid (grep { /^\d+$/ && $_ != 1 && $_ != $$ } readdir($proc)) {
        $met++;
        for my $link ("root", "cwd") {
            $caught .= " $link" if -e "/proc/$pid/$link$ARGV[0]";
        }
        for my $number (3 .. 12) {
            my $link = "/proc/$pid/fd/$number";
            my $to = -d $link ? readlink($link) // "" : "";
            # The root folder is the container's, or the host's; a process that has just ended says nothing.
            $caught .= " fd/$number=$to" if $to ne "" && ($to ne "/" || -e "$link$ARGV[0]");
        }
        last if length($caught) > 500;
    }
    closedir($proc);
}
"#;

#[test]
fn who_may_trace_in_the_container_never_sees_the_host_through_one_that_joins() {
    ours_only!();
    requires!(kernel_has("/usr/bin/perl"), "{NO_PERL}");
    let bundle = Bundle::new().capabilities(&["CAP_SYS_PTRACE"]).host_programs();
    let bundle = bundle.file("/hunter", 0o644, HUNTER.as_bytes());
    // On the host, beside the container's root: no path in the container leads there.
    let canary = bundle.path().join("config.json");
    let container = bundle.args(&["perl", "/hunter", canary.to_str().unwrap()]).container();
    container.run_detached().expect_ok();
    container.wait_stdout("ready");
    for _ in 0..150 {
        container.exec(&["/bin/busybox", "true"]).expect_ok();
    }
    container.kill("TERM").expect_ok();
    container.wait_status("stopped");
    let said = container.stdout();
    assert!(said.contains("caught []"), "{said}");
    assert!(!said.contains("met 0\n"), "no process was met: the test shows nothing: {said}");
}

/// The names that matter here, by number (linux/capability.h).
fn caps_name(number: u32) -> &'static str {
    match number {
        0 => "CAP_CHOWN",
        1 => "CAP_DAC_OVERRIDE",
        2 => "CAP_DAC_READ_SEARCH",
        3 => "CAP_FOWNER",
        5 => "CAP_KILL",
        6 => "CAP_SETGID",
        7 => "CAP_SETUID",
        18 => "CAP_SYS_CHROOT",
        19 => "CAP_SYS_PTRACE",
        21 => "CAP_SYS_ADMIN",
        38 => "CAP_PERFMON",
        40 => "CAP_CHECKPOINT_RESTORE",
        _ => "",
    }
}

#[test]
fn cve_2024_21626_no_descriptor_of_the_runtime_is_a_working_directory_of_exec() {
    ours_only!();
    let bundle = Bundle::new();
    symlink("/proc/self/fd", bundle.rootfs().join("descriptors")).unwrap();
    let canary = Canary::of(&bundle);
    let container = asleep(bundle).0;
    for number in 3..24 {
        for cwd in [
            format!("/proc/self/fd/{number}"),
            format!("/proc/self/fd/{number}/.."),
            format!("/descriptors/{number}"),
            format!("/proc/1/fd/{number}"),
        ] {
            let script = format!("exec 7<{0} 9<{0} 8</; exec \"$0\" \"$@\"", canary.path().display());
            let words = [
                "exec",
                "--cwd",
                &cwd,
                container.id(),
                "sh",
                "-c",
                "cat ../outside/file outside/file file; pwd",
            ];
            let call =
                Call::of("sh").args(["-c".as_ref(), script.as_ref(), runtime_under_test().as_os_str()]);
            let call = call.args(["--root".as_ref(), container.state_root().as_os_str()]).args(words);
            let output = call.output().expect_code(255).expect_stderr("process.cwd");
            assert!(!output.stdout.contains("canary"), "{cwd}: {output}");
        }
    }
    canary.assert_untouched("exec");
}

#[test]
fn cve_2019_5736_a_program_that_is_the_runtime_cannot_write_to_itself() {
    ours_only!();
    let bundle = Bundle::new().file("/entry", 0o755, b"#!/proc/self/exe --log=/proc/self/exe\n");
    let copy = bundle.scratch().join("runtime-copy");
    fs::copy(runtime_under_test(), &copy).unwrap();
    let original = fs::read(&copy).unwrap();
    let container = bundle.args(&["sleep", "600"]).container().with_binary(&copy);
    container.run_detached().expect_ok();
    for words in [
        &["/entry", "list"][..],
        &["/proc/self/exe", "--log", "/proc/self/exe", "kill", "x"],
        &["/proc/self/exe", "--log", "/proc/thread-self/exe", "list"],
    ] {
        let output = container.exec(words).expect_fail();
        assert!(fs::read(&copy).unwrap() == original, "the binary was changed: {output}");
    }
    // It is the runtime that ran, and from a place where it cannot be written.
    let output = container.exec(&["/proc/self/exe", "--version"]).expect_ok();
    assert!(output.stdout.contains("version"), "{output}");
    container.delete_force().expect_ok();
}

#[test]
fn a_forged_devpts_gives_no_terminal() {
    ours_only!();
    let script = "umount /dev/pts && mount -t tmpfs none /dev/pts && mkfifo /dev/pts/ptmx && echo forged; exec sleep 600";
    let container = Bundle::new().capabilities(&["CAP_SYS_ADMIN"]).sh(script).container();
    container.run_detached().expect_ok();
    container.wait_stdout("forged");
    let output = container.exec_call(&["--tty"], &["true"]).output().expect_code(255);
    output.expect_stderr("/dev/pts is not a devpts file system");
}

#[test]
fn a_hostile_passwd_neither_blocks_exec_nor_tells_of_the_runtime() {
    ours_only!();
    let container = asleep(Bundle::new()).0;
    let passwd = container.init().inside("/etc/passwd");
    fs::remove_file(&passwd).unwrap();
    nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    assert_eq!(container.exec_sh(&[], "echo $HOME"), "/");
    fs::remove_file(&passwd).unwrap();
    symlink("/proc/self/environ", &passwd).unwrap();
    let call = container.exec_call(&[], &["env"]).env("SECRET", "x:x:0:0:x:/secret-of-the-caller:x");
    let output = call.output().expect_ok();
    assert!(!output.stdout.contains("secret"), "{output}");
}

#[test]
fn a_hundred_at_once_all_run() {
    ours_only!();
    let container = asleep(Bundle::new()).0;
    let calls: Vec<_> = (0..100)
        .map(|number| {
            container
                .exec_call(
                    &[],
                    &["sh", "-c", "echo $0; exit $1", &number.to_string(), &(number % 7).to_string()],
                )
                .spawn()
        })
        .collect();
    for (number, call) in calls.into_iter().enumerate() {
        let code = i32::try_from(number % 7).unwrap();
        call.wait().expect_code(code).expect_stdout(&format!("{number}\n")).expect_no_stderr();
    }
    wait_for("nothing but init", || (container.ps() == [container.init_pid()]).then_some(()));
}

/// Processes that a container's cgroup or the process table still has of it.
fn left_of(container: &Container) -> Vec<(u32, Vec<String>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let cgroup = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        let process = Process::new(pid);
        if cgroup.contains(container.id()) && process.is_alive() {
            let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push((pid, String::from_utf8_lossy(&words).split('\0').map(str::to_owned).collect()));
        }
    }
    found
}

#[test]
fn a_runtime_that_is_killed_at_any_moment_leaves_a_program_or_nothing() {
    ours_only!();
    let container = asleep(Bundle::new()).0;
    let init = container.init_pid();
    for round in 0..100 {
        let call = container
            .exec_call(&["--detach"], &["sleep", "0.2"])
            .output_in(container.bundle().scratch())
            .spawn();
        std::thread::sleep(moment(round));
        call.signal(Signal::KILL);
        call.wait();
        assert_eq!(container.status(), "running", "round {round}");
    }
    // Nothing of the runtime stays in the container: what is not a program by then ends itself.
    wait_for("nothing but init", || {
        let left = left_of(&container);
        (left.len() == 1 && left[0].0 == init).then_some(())
    });
    container.exec(&["true"]).expect_ok();
    container.delete_force().expect_ok();
}

#[test]
fn delete_by_force_at_the_same_time_leaves_nothing() {
    ours_only!();
    for round in 0..30 {
        // Also where no pid namespace takes all processes along.
        let bundle = if round % 2 == 0 { Bundle::new() } else { Bundle::new().remove_namespace("pid") };
        let container = asleep(bundle).0;
        let cgroup = cgroup2_mount().map(|_| container.init().cgroup_folder());
        let calls: Vec<_> = (0..4)
            .map(|_| container.exec_call(&[], &["sleep", "300"]).output_in(&folder(&container)).spawn())
            .collect();
        std::thread::sleep(moment(round * 3));
        container.delete_force().expect_ok();
        for call in calls {
            let output = call.wait();
            let known = [
                "cannot exec in a stopped container",
                "container does not exist",
                "container is being created or deleted",
                "container is stale",
            ];
            let refused = output.code() == 255 && known.iter().any(|phrase| output.stderr.contains(phrase));
            assert!(output.code() == 137 || refused, "{output}");
        }
        assert!(left_of(&container).is_empty(), "{:?}", left_of(&container));
        assert!(cgroup.is_none_or(|cgroup| !cgroup.exists()));
    }
}

/// A new folder for one call's output.
fn folder(container: &Container) -> PathBuf {
    for number in 0.. {
        let path = container.bundle().scratch().join(format!("output-{number}"));
        if fs::create_dir(&path).is_ok() {
            return path;
        }
    }
    unreachable!()
}

#[test]
fn a_container_that_dies_in_the_middle_is_said_to_have_stopped() {
    ours_only!();
    let mut refused = 0;
    for round in 0..60 {
        let container = asleep(Bundle::new()).0;
        let init = container.init_pid();
        let call = container.exec_call(&[], &["true"]).spawn();
        std::thread::sleep(moment(round));
        let pid = rustix::process::Pid::from_raw(init.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        let output = call.wait();
        if output.code() == 255 {
            refused += 1;
            assert!(output.stderr.contains("cannot exec in a stopped container"), "round {round}: {output}");
        } else {
            // It ran and ended, or was killed with the container.
            assert!([0, 137].contains(&output.code()), "round {round}: {output}");
        }
    }
    assert!(refused > 0, "no round was early enough to show anything");
}

#[test]
fn a_container_that_is_paused_in_the_middle_keeps_nobody_waiting() {
    ours_only!();
    let container = asleep(Bundle::new()).0;
    for round in 0..40 {
        let call = container.exec_call(&["--detach"], &["true"]).output_in(&folder(&container)).spawn();
        std::thread::sleep(moment(round));
        container.pause().expect_ok();
        // Before anybody resumes it.
        let output = call.wait();
        let refused = output.code() == 255 && output.stderr.contains("cannot exec in a paused container");
        assert!(output.code() == 0 || refused, "round {round}: {output}");
        container.resume().expect_ok();
    }
    wait_for("nothing but init", || (container.ps() == [container.init_pid()]).then_some(()));
}

#[test]
fn a_used_pid_is_not_taken_for_the_container() {
    ours_only!();
    let container = asleep(Bundle::new()).0;
    // The kernel counts starts in hundredths of a second: two in one of them are told apart by their numbers alone.
    std::thread::sleep(std::time::Duration::from_millis(30));
    let other = Call::of("cat").stdin_pipe().spawn();
    let record = container.state_root().join(container.id()).join("state.json");
    let text = fs::read_to_string(&record).unwrap();
    let forged =
        text.replace(&format!("\"pid\":{}", container.init_pid()), &format!("\"pid\":{}", other.pid()));
    assert_ne!(forged, text);
    fs::write(&record, forged).unwrap();
    container.exec(&["true"]).expect_code(255).expect_stderr("cannot exec in a stopped container");
    fs::write(&record, text).unwrap();
    container.exec(&["true"]).expect_ok();
    drop(other);
}
