//! The runtime's own binary, as a container reaches it: /proc/PID/exe of an init that is not a program of the
//! container yet, and an entrypoint that is the runtime itself (`#!/proc/self/exe`).
//!
//! CVE-2019-5736. See docs/attacks.md. The runtime is a copy in the scratch folder, so that an attack that
//! gets through spoils nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

mod attack;

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use integration::{Bundle, Call, Process, json, runtime_under_test, wait_for};
use nix::mount::MsFlags;
use rustix::fs::SealFlags;

/// A copy of the runtime in a bundle's scratch folder.
struct Copy {
    path: PathBuf,
}

impl Copy {
    fn of(bundle: &Bundle) -> Copy {
        let path = bundle.scratch().join("runtime");
        copy_file(runtime_under_test(), &path);
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        Copy { path }
    }

    /// Panics unless the copy is byte for byte what the runtime is.
    #[track_caller]
    fn assert_unchanged(&self) {
        let same = fs::read(&self.path).unwrap() == fs::read(runtime_under_test()).unwrap();
        assert!(same, "the runtime's binary was changed");
        let mode = self.path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
    }
}

/// By another process: a child that some other test starts meanwhile would hold the copy open for writing.
fn copy_file(from: &Path, to: &Path) {
    Call::of("cp").args([from, to]).output().expect_ok();
}

/// The door of the published attack: the program of a process, kept open (for reading only) until nobody runs
/// it any more and opening it for writing is no longer refused for that (ETXTBSY).
struct Door(File);

impl Door {
    #[track_caller]
    fn of(process: Process) -> Door {
        Door(File::open(process.path("exe")).unwrap())
    }

    /// The errno of opening it for writing; the test is root on the host, more than any container.
    #[track_caller]
    fn open_for_writing(&self) -> i32 {
        let path = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        for truncate in [false, true] {
            let opened = OpenOptions::new().write(true).truncate(truncate).open(&path);
            if opened.is_ok() {
                return 0;
            }
        }
        OpenOptions::new().write(true).open(&path).unwrap_err().raw_os_error().unwrap()
    }
}

#[test]
fn cve_2019_5736_the_binary_behind_a_created_container_is_read_only_even_for_the_host() {
    ours_only!();
    let bundle = Bundle::new().sleeping();
    let copy = Copy::of(&bundle);
    let container = bundle.container().with_binary(&copy.path);
    container.create().expect_ok();
    let init = container.init();
    let door = Door::of(init);
    assert_ne!(door.open_for_writing(), 0, "while it runs");
    assert_eq!(fs::read(init.path("exe")).unwrap(), fs::read(&copy.path).unwrap());
    // Its mount cannot be made writable: it is attached nowhere.
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
    let remounted = nix::mount::mount(None::<&str>, &init.path("exe"), None::<&str>, flags, None::<&str>);
    assert!(remounted.is_err(), "the mount of the binary was changed");
    container.start().expect_ok();
    container.delete_force().expect_ok();
    assert_eq!(door.open_for_writing(), libc::EROFS, "when nobody runs it any more");
    copy.assert_unchanged();
}

#[test]
fn cve_2019_5736_the_test_itself_would_get_through_an_open_door() {
    ours_only!();
    // Against a plain program the same steps succeed: the test above does not pass for another reason.
    let bundle = Bundle::new();
    let busybox = bundle.scratch().join("busybox");
    copy_file(Path::new("/bin/busybox"), &busybox);
    let mut cat = Call::of(&busybox).args(["cat"]).stdin_pipe().spawn();
    let door = Door::of(Process::new(cat.pid()));
    assert_eq!(door.open_for_writing(), libc::ETXTBSY);
    drop(cat.stdin());
    cat.wait();
    assert_eq!(door.open_for_writing(), 0);
}

#[test]
fn cve_2019_5736_where_it_cannot_be_moved_the_binary_is_a_sealed_copy() {
    ours_only!();
    let bundle = Bundle::new().sleeping();
    let copy = Copy::of(&bundle);
    let container = bundle.container().with_binary(&copy.path);
    let output = container.bundle().scratch_file("output");
    fs::create_dir(&output).unwrap();
    // Opened before the mount namespace was made, the binary lies on a mount of another one, which the kernel
    // does not clone.
    let script = "exec 9< \"$0\"; exec unshare --mount --propagation unchanged /proc/self/fd/9 \"$@\"";
    let create = container.birth_by(&["sh", "-c", script], "create", &[]);
    create.output_in(output.as_ref()).output().expect_ok();
    let init = container.init();
    let shown = fs::read_link(init.path("exe")).unwrap();
    assert!(shown.to_str().unwrap().starts_with("/memfd:"), "{}", shown.display());
    let door = Door::of(init);
    assert_ne!(door.open_for_writing(), 0, "while it runs");
    let all = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    let seals = rustix::fs::fcntl_get_seals(&door.0).unwrap();
    assert!(seals.contains(all), "{seals:?}");
    container.delete_force().expect_ok();
    copy.assert_unchanged();
}

/// A container whose processes keep open the program of every process they see, and try to write to it.
///
/// It has the capabilities against which file modes do not help. CAP_SYS_PTRACE is not among them: who may
/// trace the host's processes has the host.
fn attacker() -> Bundle {
    // With `>>` nothing is truncated, and what is checked is the same.
    let script = "attack() { exec 3< $1/exe || return; i=0; while [ $i -lt 20 ]; do i=$((i+1)); \
                  (printf x >> /proc/self/fd/3) && echo WRITTEN $1; done; }; \
                  n=0; while [ $n -lt 20000 ]; do n=$((n+1)); \
                  for p in /proc/[0-9]*; do case $p in /proc/1|/proc/$$) continue;; esac; \
                  (attack $p); done; done";
    Bundle::new()
        .sh(&format!("trap 'exit 0' TERM; ({script}) > /tmp/log 2>&1 & while :; do sleep 1 & wait $!; done"))
        .capabilities(&["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_CHOWN", "CAP_FOWNER", "CAP_SETUID"])
}

#[test]
fn cve_2019_5736_a_neighbour_in_the_pid_namespace_cannot_write_to_the_runtime() {
    ours_only!();
    let attacker = attacker().container();
    attacker.run_detached().expect_ok();
    let log = attacker.bundle().rootfs().join("tmp/log");
    let seen = |text: &str| fs::read_to_string(&log).unwrap_or_default().contains(text);
    wait_for("the attacker's first attempts", || log.exists().then_some(()));
    let namespace = format!("/proc/{}/ns/pid", attacker.init_pid());

    // The victim waits before its program, in sight of the attacker: no process of a container may open it.
    let created = Bundle::new().sleeping().join_namespace("pid", &namespace);
    let copy = Copy::of(&created);
    let created = created.container().with_binary(&copy.path);
    created.create().expect_ok();
    wait_for("the attacker to meet the created container", || seen("ermission denied").then_some(()));

    // The victim's program is the runtime itself: now it is a process like any other of the container, which
    // stays where it is because nobody takes what it prints.
    let capabilities = ["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_CHOWN", "CAP_FOWNER", "CAP_SETUID"];
    let victim = Bundle::new()
        .capabilities(&capabilities)
        .args(&["/proc/self/exe", "features"])
        .join_namespace("pid", &namespace);
    let fifo = victim.scratch_file("fifo");
    nix::unistd::mkfifo(fifo.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
    let mut full = OpenOptions::new().read(true).write(true).custom_flags(nonblock).open(&fifo).unwrap();
    while full.write(&[0; 4096]).is_ok() {}
    let other = Copy::of(&victim);
    let victim = victim.container().with_binary(&other.path);
    let script = format!("exec \"$@\" >{fifo}");
    let run = victim.birth_by(&["sh", "-c", &script, "sh"], "run", &[]).spawn();
    wait_for("the attacker to meet the runtime as a program", || seen("Text file busy").then_some(()));
    while full.read(&mut [0; 4096]).is_ok() {}
    run.wait().expect_ok();
    drop(full);
    // And many that come and go, so that one is kept open beyond its end.
    let short = Bundle::new()
        .file("/entry", 0o755, b"#!/proc/self/exe\n")
        .capabilities(&capabilities)
        .args(&["/entry"])
        .join_namespace("pid", &namespace);
    let third = Copy::of(&short);
    let short = short.container().with_binary(&third.path);
    for _ in 0..3000 {
        short.run().expect_fail();
        if seen("Read-only file system") {
            break;
        }
    }
    created.delete_force().expect_ok();
    attacker.delete_force().expect_ok();
    let text = fs::read_to_string(&log).unwrap();
    assert!(!text.contains("WRITTEN"), "{text}");
    assert!(text.contains("Read-only file system"), "the attacker has not kept any runtime open: {text}");
    for copy in [copy, other, third] {
        copy.assert_unchanged();
    }
}

#[test]
fn cve_2019_5736_an_entrypoint_that_is_the_runtime_cannot_write_to_itself() {
    ours_only!();
    // The image makes the runtime its own program, and lets it append its log to the binary it runs from.
    for path in ["/proc/self/exe", "/proc/1/exe"] {
        let bundle = Bundle::new()
            .file("/entry", 0o755, format!("#!/proc/self/exe --log={path}\n").as_bytes())
            .args(&["/entry", "list"]);
        let copy = Copy::of(&bundle);
        let container = bundle.container().with_binary(&copy.path);
        container.run().expect_fail();
        copy.assert_unchanged();
        // The same without a script.
        let bundle = Bundle::new().args(&["/proc/self/exe", "--log", path, "kill", "x"]);
        let copy = Copy::of(&bundle);
        let container = bundle.container().with_binary(&copy.path);
        container.run().expect_fail();
        copy.assert_unchanged();
    }
}

#[test]
fn cve_2019_5736_a_library_of_the_image_is_not_loaded_into_the_runtime() {
    ours_only!();
    // The published exploit has the re-executed runtime load a library of the image: ours is static.
    assert!(!has_interpreter(&fs::read(runtime_under_test()).unwrap()), "the runtime is not a static binary");
    let output = Bundle::new()
        .args(&["/proc/self/exe", "--version"])
        .set("/process/env", json!(["PATH=/bin", "LD_PRELOAD=/evil.so", "LD_LIBRARY_PATH=/"]))
        .file("/evil.so", 0o755, b"not a library")
        .run();
    output.expect_ok().expect_no_stderr();
}

/// Whether a 64-bit ELF file asks for a dynamic loader (elf(5), PT_INTERP).
fn has_interpreter(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let half = |at: usize| usize::from(u16::from_le_bytes(elf[at..at + 2].try_into().unwrap()));
    let start = usize::try_from(u64::from_le_bytes(elf[32..40].try_into().unwrap())).unwrap();
    let (size, count) = (half(54), half(56));
    assert!(elf.starts_with(b"\x7fELF\x02") && count > 0);
    (0..count).any(|index| {
        let at = start + index * size;
        u32::from_le_bytes(elf[at..at + 4].try_into().unwrap()) == PT_INTERP
    })
}
