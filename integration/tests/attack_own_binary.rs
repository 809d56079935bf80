//! The runtime's own binary, as a container reaches it: /proc/PID/exe of an init that is not a program of the
//! container yet, and an entrypoint that is the runtime itself (`#!/proc/self/exe`).
//!
//! CVE-2019-5736. See docs/attacks.md. The runtime is a copy in the scratch folder, so that an attack that
//! gets through spoils nothing else.

mod attack;

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use integration::{Bundle, Call, Container, Process, json, runtime_under_test, wait_for};
use nix::mount::MsFlags;

/// A copy of the runtime in a bundle's scratch folder.
struct Copy {
    path: PathBuf,
}

impl Copy {
    fn of(bundle: &Bundle) -> Copy {
        let path = bundle.scratch().join("runtime");
        fs::copy(runtime_under_test(), &path).unwrap();
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

    /// A call of the copy for a container.
    fn call(&self, container: &Container, command: &str) -> Call {
        Call::of(&self.path).args(["--root".as_ref(), container.state_root().as_os_str()]).args([command])
    }

    /// `create` or `run` by the copy.
    fn birth(&self, container: &Container, command: &str) -> Call {
        self.call(container, command)
            .args(["--bundle".as_ref(), container.bundle().path().as_os_str()])
            .args([container.id()])
    }
}

/// What opening a process's program for writing says; the test is root on the host, more than any container.
#[track_caller]
fn open_for_writing(process: Process) -> i32 {
    let path = process.path("exe");
    let error = OpenOptions::new().write(true).open(path).expect_err("the runtime's binary is open for writing");
    error.raw_os_error().unwrap()
}

#[test]
fn cve_2019_5736_the_binary_behind_a_created_container_is_read_only_even_for_the_host() {
    ours_only!();
    let bundle = Bundle::new().sleeping();
    let copy = Copy::of(&bundle);
    let container = bundle.container();
    let output = container.bundle().scratch_file("output");
    fs::create_dir(&output).unwrap();
    copy.birth(&container, "create").output_in(output.as_ref()).output().expect_ok();
    let init = container.init();
    assert_eq!(open_for_writing(init), libc::EROFS);
    let truncated = File::options().write(true).truncate(true).open(init.path("exe"));
    assert_eq!(truncated.unwrap_err().raw_os_error(), Some(libc::EROFS));
    // It runs from no file that could be reached by another way: every mapping of a file is of the same mount.
    let exe = fs::read(init.path("exe")).unwrap();
    assert_eq!(exe, fs::read(&copy.path).unwrap());
    // A mount that cannot be made writable again: it is attached nowhere.
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
    let remounted = nix::mount::mount(None::<&str>, &init.path("exe"), None::<&str>, flags, None::<&str>);
    assert!(remounted.is_err(), "the mount of the binary was changed");
    assert_eq!(open_for_writing(init), libc::EROFS);
    copy.call(&container, "start").args([container.id()]).output().expect_ok();
    container.delete_force().expect_ok();
    copy.assert_unchanged();
}

#[test]
fn cve_2019_5736_without_the_right_to_move_the_binary_is_a_sealed_copy() {
    ours_only!();
    let bundle = Bundle::new().sleeping();
    let copy = Copy::of(&bundle);
    let container = bundle.container();
    let output = container.bundle().scratch_file("output");
    fs::create_dir(&output).unwrap();
    let missing = "-sys_resource,-checkpoint_restore";
    Call::of("setpriv")
        .args(["--inh-caps", missing, "--bounding-set", missing, "--"])
        .args([&copy.path])
        .args(["--root".as_ref(), container.state_root().as_os_str()])
        .args(["create".as_ref(), "--bundle".as_ref(), container.bundle().path().as_os_str()])
        .args([container.id()])
        .output_in(output.as_ref())
        .output()
        .expect_ok();
    let init = container.init();
    let shown = fs::read_link(init.path("exe")).unwrap();
    assert!(shown.to_str().unwrap().starts_with("/memfd:"), "{}", shown.display());
    assert!([libc::ETXTBSY, libc::EPERM].contains(&open_for_writing(init)));
    let file = File::open(init.path("exe")).unwrap();
    let seals = rustix::fs::fcntl_get_seals(file.as_fd()).unwrap();
    use rustix::fs::SealFlags;
    let all = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    assert!(seals.contains(all), "{seals:?}");
    container.delete_force().expect_ok();
    copy.assert_unchanged();
}

/// A container whose processes try to write to the program of every process they see. It has every capability
/// that does not give it the host by itself, and says which errors it got.
fn attacker() -> Bundle {
    // With `>>` the shell opens for appending: no harm to files it may write, and the same checks.
    let script = "n=0; while [ $n -lt 20000 ]; do n=$((n+1)); \
                  for p in /proc/[0-9]*; do case $p in /proc/1|/proc/$$) continue;; esac; \
                  if (printf x >> $p/exe) 2>/tmp/error; then echo WRITTEN $p; \
                  else cat /tmp/error; fi; done; done";
    Bundle::new()
        .sh(&format!("trap 'exit 0' TERM; ({script}) > /tmp/log 2>/dev/null & while :; do sleep 1 & wait $!; done"))
        .capabilities(&["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_CHOWN", "CAP_FOWNER", "CAP_SETUID"])
}

#[test]
fn cve_2019_5736_a_neighbour_in_the_pid_namespace_cannot_write_to_the_runtime() {
    ours_only!();
    let attacker = attacker().container();
    attacker.run_detached().expect_ok();
    let log = attacker.bundle().rootfs().join("tmp/log");
    wait_for("the attacker's first attempts", || log.exists().then_some(()));
    let namespace = format!("/proc/{}/ns/pid", attacker.init_pid());

    // The victim is the runtime by its own entrypoint: it stays as long as its input is open.
    let victim = Bundle::new()
        .file("/entry", 0o755, b"#!/proc/self/exe --log=/fifo\n")
        .capabilities(&["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_CHOWN", "CAP_FOWNER", "CAP_SETUID"])
        .args(&["/entry", "list"])
        .join_namespace("pid", &namespace);
    let copy = Copy::of(&victim);
    let victim = victim.container();
    for _ in 0..30 {
        // Whatever it ends with: the runtime in the container has no use for these arguments.
        let output = copy.birth(&victim, "run").output();
        assert!(output.status.code().is_some(), "{output}");
    }
    // And one that waits before its program, in the same sight.
    let created = Bundle::new().sleeping().join_namespace("pid", &namespace).container();
    let folder = created.bundle().scratch_file("output");
    fs::create_dir(&folder).unwrap();
    copy.birth(&created, "create").output_in(folder.as_ref()).output().expect_ok();
    assert_eq!(open_for_writing(created.init()), libc::EROFS);
    // The attacker has met it: as a process it cannot trace, or as a file it cannot write.
    let text = wait_for("the attacker to meet a runtime", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        ["Read-only file system", "Permission denied", "Text file busy"]
            .iter()
            .any(|error| text.contains(error))
            .then_some(text)
    });
    assert!(!text.contains("WRITTEN"), "{text}");
    created.delete_force().expect_ok();
    attacker.delete_force().expect_ok();
    let text = fs::read_to_string(&log).unwrap();
    assert!(!text.contains("WRITTEN"), "{text}");
    copy.assert_unchanged();
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
        let container = bundle.container();
        copy.birth(&container, "run").output().expect_fail();
        copy.assert_unchanged();
        // The same without a script.
        let bundle = Bundle::new().args(&["/proc/self/exe", "--log", path, "kill", "x"]);
        let copy = Copy::of(&bundle);
        let container = bundle.container();
        copy.birth(&container, "run").output().expect_fail();
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
