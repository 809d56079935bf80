//! Attacks on `cp`: a container that exchanges names and links while files are copied, archives with names that lead
//! elsewhere, files that never end, and programs that are not to run. See docs/attacks.md.
//!
//! Every link of an attack leads to a canary in the test's own folder. Nothing is written into a container's root by a path
//! of the host: links of an image lead to the host's files there. The container makes its files itself, and what exchanges
//! names holds a folder that was opened in the container's root (openat2(2), RESOLVE_IN_ROOT).
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use integration::{Call, Output, Shim, is_root, requires, wait_for};
use rustix::fs::{Mode, OFlags, RenameFlags, ResolveFlags, openat2, renameat_with};

const ROOT: &str = "containers need root";
const ROUNDS: usize = 40;
/// More exchanges than fit in the rounds of the slowest machine.
const EXCHANGES: u64 = 100_000_000;
const SECRET: &str = "canary";

/// A container that runs, and a folder of the host that is to stay as it is.
struct Case {
    shim: Shim,
    host: PathBuf,
    canary: PathBuf,
    /// `/srv` of the container.
    srv: OwnedFd,
}

impl Case {
    fn new(words: &[&str]) -> Case {
        let shim = Shim::with_busybox();
        let words = if words.is_empty() { &["busybox", "sleep", "1000"][..] } else { words };
        let id = shim.detached(&[&["--name", "up"], words].concat());
        let (host, canary) = (shim.folder().join("host"), shim.folder().join("canary"));
        fs::create_dir(&host).unwrap();
        fs::create_dir(&canary).unwrap();
        fs::write(canary.join("file"), SECRET).unwrap();
        shim.stdout(&["exec", "up", "mkdir", "-p", "/srv"]);
        let root = File::open(shim.process(&id).path("root")).unwrap();
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let srv = openat2(&root, "srv", flags, Mode::empty(), inside).unwrap();
        Case { shim, host, canary, srv }
    }

    /// A line for a shell in the container; what it prints.
    #[track_caller]
    fn inside(&self, line: &str) -> String {
        self.shim.stdout(&["exec", "up", "sh", "-c", line])
    }

    fn cp(&self, words: &[&str]) -> Output {
        self.shim.call(&["cp"]).args(words).current_dir(&self.host).output()
    }

    /// Nothing was added to the canary, and nothing in it changed.
    #[track_caller]
    fn expect_untouched(&self) {
        let names: Vec<_> =
            fs::read_dir(&self.canary).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["file"]);
        assert_eq!(fs::read_to_string(self.canary.join("file")).unwrap(), SECRET);
    }

    /// Exchanges the folder `a` of `/srv` with a link `b` to the canary without pause, as long as `act` takes.
    fn exchanging(&self, act: impl FnOnce()) {
        let link = self.canary.display();
        self.inside(&format!("cd /srv && mkdir a && printf inside > a/file && ln -s '{link}' b"));
        let folder = self.srv.try_clone().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut count = 0;
            while count < EXCHANGES && !stopped.load(Ordering::Relaxed) {
                renameat_with(&folder, "a", &folder, "b", RenameFlags::EXCHANGE).unwrap();
                count += 1;
            }
            count
        });
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        stop.store(true, Ordering::Relaxed);
        assert!(thread.join().unwrap() > 100, "it was exchanged all the time");
        if let Err(panic) = acted {
            std::panic::resume_unwind(panic);
        }
    }
}

/// All texts of the files below a folder, without following links.
fn texts(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            all += &texts(&entry.path());
        } else if kind.is_file() {
            all += &fs::read_to_string(entry.path()).unwrap();
        }
    }
    all
}

#[test]
fn cve_2018_15664_exchanged_links_lead_no_copy_out_of_the_container() {
    requires!(is_root(), "{ROOT}");
    let case = Case::new(&[]);
    let mut copied = 0;
    case.exchanging(|| {
        for _ in 0..ROUNDS {
            let one = case.cp(&["up:/srv/a/file", "one"]);
            if one.code() == 0 {
                assert_eq!(fs::read_to_string(case.host.join("one")).unwrap(), "inside");
                copied += 1;
            }
            let _ = case.cp(&["up:/srv", "all"]);
            assert!(!texts(&case.host).contains(SECRET));
            fs::remove_dir_all(case.host.join("all")).unwrap_or_default();
            let archive = case.cp(&["up:/srv/a/.", "-"]);
            assert!(!archive.stdout.contains(SECRET));
        }
    });
    assert!(copied > 0, "now and then it is a folder");
    case.expect_untouched();
}

#[test]
fn cve_2026_41568_exchanged_links_lead_no_copy_to_the_host() {
    requires!(is_root(), "{ROOT}");
    let case = Case::new(&[]);
    fs::create_dir_all(case.host.join("tree/a")).unwrap();
    fs::write(case.host.join("tree/a/new"), "new").unwrap();
    let archive = case.host.join("archive.tar");
    Call::of("tar")
        .args(["-C", "tree", "-cf", "archive.tar", "a"])
        .current_dir(&case.host)
        .output()
        .expect_ok();
    let archive = fs::read(archive).unwrap();
    let mut copied = 0;
    case.exchanging(|| {
        for _ in 0..ROUNDS {
            copied += u32::from(case.cp(&["tree/a/new", "up:/srv/a/new"]).code() == 0);
            let _ = case.cp(&["tree/.", "up:/srv"]);
            let call = case.shim.call(&["cp", "-", "up:/srv"]).stdin_bytes(archive.clone());
            let _ = call.output();
            case.expect_untouched();
        }
    });
    assert!(copied > 0, "now and then it is a folder");
}

#[test]
fn cve_2026_42306_links_and_processes_of_the_container_lead_nowhere() {
    requires!(is_root(), "{ROOT}");
    // Its first process makes another folder its root when it is told to, and sees the host's processes.
    let program = "mkdir -p /jail/bin /jail/srv /srv && cp /bin/busybox /jail/bin/ && \
        while [ ! -e /srv/go ]; do sleep 0.1; done; touch /jail/there; exec chroot /jail /bin/busybox sleep 1000";
    let case = Case::new(&["--pid", "host", "busybox", "sh", "-c", program]);
    case.inside("touch /srv/go");
    let id = case.shim.container_ids().remove(0);
    let there = || fs::symlink_metadata(case.shim.process(&id).path("root").join("there")).is_ok();
    wait_for("its jail", || there().then_some(()));
    // What it calls its root is not the container's.
    case.cp(&["up:/jail/bin/busybox", "box"]).expect_ok();
    fs::write(case.host.join("text"), "text").unwrap();
    case.cp(&["text", "up:/in-the-root"]).expect_ok();
    case.cp(&["up:/in-the-root", "again"]).expect_ok();
    let in_jail = case.shim.process(&id).path("root").join("in-the-root");
    assert!(fs::symlink_metadata(in_jail).is_err());
    let canary = case.canary.display().to_string();
    let links = [format!("/proc/1/root{canary}"), canary.clone(), format!("../../../../../../../..{canary}")];
    for (number, link) in links.iter().enumerate() {
        let name = case.host.join("link");
        symlink(link, &name).unwrap();
        let inside = format!("up:/link{number}");
        case.cp(&["link", &inside]).expect_ok();
        fs::remove_file(name).unwrap();
        for words in [
            [&format!("{inside}/file"), "out"],
            ["text", &format!("{inside}/file")],
            ["text", &format!("{inside}/")],
        ] {
            case.cp(&words).expect_code(1);
        }
        case.cp(&["-L", &inside, "out"]).expect_code(1);
        case.expect_untouched();
    }
    assert!(!case.host.join("out").exists());
}

#[test]
fn names_in_archives_lead_nowhere() {
    requires!(is_root(), "{ROOT}");
    let case = Case::new(&[]);
    let canary = case.canary.display().to_string();
    let made = case.host.join("made");
    fs::create_dir(&made).unwrap();
    fs::write(made.join("x"), "evil").unwrap();
    symlink(&canary, made.join("l")).unwrap();
    Call::of("mknod").args([made.join("disk").to_str().unwrap(), "b", "8", "0"]).output().expect_ok();
    let tar = |words: &[&str]| {
        let archive = case.host.join("archive.tar");
        let call =
            Call::of("tar").args(["-P", "-C"]).args([&made]).args(["-cf"]).args([&archive]).args(words);
        call.output().expect_ok();
        fs::read(archive).unwrap()
    };
    let up = format!("--transform=s,^x$,../../../../../../../..{canary}/x,");
    let absolute = format!("--transform=s,^x$,{canary}/x,");
    let extract = |bytes: &[u8]| case.shim.call(&["cp", "-", "up:/srv"]).stdin_bytes(bytes).output();
    extract(&tar(&[&up, "x"])).expect_code(1).expect_stderr("it leads out of the target");
    extract(&tar(&[&absolute, "x"])).expect_ok();
    assert_eq!(case.inside(&format!("cat '/srv{canary}/x'")), "evil", "below the target");
    // A link, and then something behind it: there is no such folder inside.
    extract(&tar(&["--transform=s,^x$,l/x,", "l", "x"])).expect_code(1);
    // One more name for what is outside.
    fs::hard_link(made.join("x"), made.join("y")).unwrap();
    let hard = format!("--transform=flags=h;s,^x$,../../../../../../../..{canary}/file,");
    extract(&tar(&[&hard, "x", "y"])).expect_code(1);
    let told = extract(&tar(&["disk"])).expect_ok();
    assert!(told.stderr.contains("WARNING: devices are left out: 1, the first of them \"disk\""), "{told}");
    fs::write(made.join(".wh.x"), "").unwrap();
    extract(&tar(&[".wh.x"])).expect_ok();
    let listed = case.inside("ls -A /srv");
    assert!(listed.contains(".wh.x\n") && !listed.contains("disk"), "a name like any other: {listed}");
    case.expect_untouched();
}

#[test]
fn what_never_ends_and_what_never_comes_does_not_hold_a_copy_up() {
    requires!(is_root(), "{ROOT}");
    let program = "mkfifo /srv/pipe; while :; do head -c 65536 /dev/zero >> /srv/grows; [ $(stat -c %s /srv/grows) -gt 67108864 ] && rm /srv/grows; done";
    let case = Case::new(&["busybox", "sh", "-c", &format!("mkdir -p /srv; {program}")]);
    wait_for("the files", || case.inside("ls /srv").contains("grows\npipe\n").then_some(()));
    case.inside("truncate -s 4398046511104 /srv/huge");
    case.cp(&["up:/srv", "all"]).expect_ok();
    let stat = fs::metadata(case.host.join("all/huge")).unwrap();
    assert!(stat.len() == 1 << 42 && stat.blocks() < 100, "{} blocks", stat.blocks());
    case.cp(&["up:/srv/pipe", "pipe"]).expect_ok();
    // An archive of it ends too.
    case.inside("rm /srv/huge");
    let archive = case.shim.call(&["cp", "up:/srv", "-"]).output_in(case.shim.folder()).output();
    assert!(archive.code() <= 1, "{}", archive.stderr);
}

#[test]
fn cve_2019_14271_no_program_of_the_container_runs() {
    requires!(is_root(), "{ROOT}");
    let case = Case::new(&[]);
    case.inside(
        "mkdir -p /usr/bin /lib; for name in /usr/bin/xz /usr/bin/tar /usr/bin/unpigz /usr/bin/zstd /lib/libnss_files.so.2; do \
         rm -f $name; printf '#!/bin/sh\\necho ran >> /ran\\n' > $name; chmod 755 $name; done",
    );
    fs::write(case.host.join("file"), "text").unwrap();
    for (flag, works) in [("-cf", true), ("-czf", true), ("-cJf", false)] {
        Call::of("tar").args([flag, "archive", "file"]).current_dir(&case.host).output().expect_ok();
        let bytes = fs::read(case.host.join("archive")).unwrap();
        let output = case.shim.call(&["cp", "-", "up:/srv"]).stdin_bytes(bytes).output();
        assert_eq!(output.code() == 0, works, "{output}");
    }
    case.cp(&["up:/etc", "etc"]).expect_ok();
    assert!(!case.inside("ls /").contains("ran\n") && !Path::new("/ran").exists());
}

#[test]
fn a_copy_that_is_killed_leaves_the_old_file() {
    requires!(is_root(), "{ROOT}");
    let case = Case::new(&[]);
    case.inside("printf old > /srv/file");
    fs::write(case.host.join("file"), vec![b'n'; 1 << 20]).unwrap();
    Call::of("tar").args(["-cf", "archive", "file"]).current_dir(&case.host).output().expect_ok();
    let bytes = fs::read(case.host.join("archive")).unwrap();
    let mut running = case.shim.call(&["cp", "-", "up:/srv"]).stdin_pipe().spawn();
    let mut stdin = running.stdin();
    std::io::Write::write_all(&mut stdin, &bytes[..1 << 19]).unwrap();
    // All of it is read but what a pipe holds, and the file has begun.
    std::io::Write::write_all(&mut stdin, &bytes[1 << 19..(1 << 19) + (1 << 18)]).unwrap();
    running.signal(rustix::process::Signal::KILL);
    drop(stdin);
    assert_eq!(running.wait().code(), 137);
    assert_eq!(case.inside("ls -A /srv; cat /srv/file"), "file\nold", "nothing is left beside it");
}
