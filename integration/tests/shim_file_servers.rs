//! Volumes whose data is elsewhere: on a server of NFS or CIFS, or on a disk: the options `type`, `device` and `o` of
//! docker's driver `local`. The server of NFS is the kernel's own, without a daemon, in the machine of the tests
//! (`make test-vm T=shim_file_servers`).
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::path::{Path, PathBuf};

use integration::{Host, Running, Shim, is_root, requires, wait_for};

const ROOT: &str = "containers need root";
const MACHINE: &str = "not in the virtual machine (make test-vm), whose kernel may be a server";

fn is_machine() -> bool {
    std::env::var_os("CAISSON_TEST_MACHINE").is_some()
}

/// Flags of an export: any port, asynchronous, no check of what is above, and a number of its own.
const FLAGS: u32 = 0x2 | 0x10 | 0x400 | 0x2000;

/// The kernel as a server of NFS 4 for its own loopback, in a network namespace (nfsd(7)): what mountd(8) would answer is
/// written down before somebody asks. It ends with the value, when its file system is not mounted any more.
#[track_caller]
fn nfs_server(host: &Host, folder: &Path) -> Running {
    let (folder, for_ever) = (folder.display(), i32::MAX);
    let script = format!(
        r"mount -t nfsd nfsd /proc/fs/nfsd
        cd /proc/self/net/rpc
        echo 'nfsd 127.0.0.1 {for_ever} everybody' >auth.unix.ip/channel
        echo 'everybody {folder} {for_ever} {FLAGS} 65534 65534 0' >nfsd.export/channel
        echo 'everybody 1 \x00000000 {for_ever} {folder}' >nfsd.fh/channel
        cd /proc/fs/nfsd
        echo '-3 +4' >versions
        # Nobody who was here before comes back; ten seconds are the least that the kernel waits for them.
        echo 10 >nfsv4leasetime
        echo 10 >nfsv4gracetime
        echo 'tcp 2049' >portlist
        echo 2 >threads
        read -r _"
    );
    let words = ["--pdeathsig", "KILL", "unshare", "--mount", "sh", "-euc", &script];
    let server = host.call("setpriv").args(words).stdin_pipe().spawn();
    let listens = || host.sh("cat /proc/net/tcp").contains(":0801 00000000:0000 0A");
    wait_for("a server of NFS", || listens().then_some(()));
    server
}

fn data(shim: &Shim, name: &str) -> PathBuf {
    shim.root().join("volumes").join(name).join("_data")
}

/// File systems that are mounted on a volume.
fn mounts_on(path: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let lines = table.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    lines.filter(|words| Path::new(words[1]) == path).map(|words| words[2].to_owned()).collect()
}

#[track_caller]
fn create(shim: &Shim, name: &str, options: [&str; 3]) {
    let [kind, device, o] = options;
    shim.stdout(&["volume", "create", "-o", kind, "-o", device, "-o", o, name]);
}

#[test]
fn a_volume_of_nfs_is_mounted_for_the_first_container_and_gone_after_the_last() {
    requires!(is_root(), "{ROOT}");
    requires!(is_machine(), "{MACHINE}");
    let shim = Shim::networked();
    let exported = shim.folder().join("exported");
    fs::create_dir(&exported).unwrap();
    fs::write(exported.join("file"), "of the server\n").unwrap();
    // The server is found by its name, as docker does it.
    create(&shim, "remote", ["type=nfs", "device=:/", "o=addr=localhost,rw,nfsvers=4.2"]);
    let refused =
        shim.run(&["--rm", "--network", "none", "-v", "remote:/r", "busybox", "true"]).expect_code(125);
    let place = data(&shim, "remote");
    let words = format!(
        "failed to mount local volume: mount :/:{}, data: addr=localhost,nfsvers=4.2",
        place.display()
    );
    assert!(refused.stderr.contains(&words) && refused.stderr.contains("onnection refused"), "{refused}");
    assert!(mounts_on(&place).is_empty() && shim.container_ids().is_empty());

    let server = nfs_server(shim.host(), &exported);
    let words = ["--network", "none", "-v", "remote:/r", "busybox", "sleep", "600"];
    let (one, other) = (shim.detached(&words), shim.detached(&words));
    assert_eq!(mounts_on(&place), ["nfs4"]);
    assert_eq!(shim.stdout(&["exec", &one, "cat", "/r/file"]), "of the server\n");
    shim.stdout(&["exec", &one, "sh", "-c", "echo new >/r/new"]);
    assert_eq!(shim.stdout(&["exec", &other, "cat", "/r/new"]), "new\n");
    assert_eq!(fs::read_to_string(exported.join("new")).unwrap(), "new\n");
    shim.stdout(&["rm", "-f", &one]);
    assert_eq!(mounts_on(&place), ["nfs4"], "the other one has it");
    shim.stdout(&["stop", "-t", "0", &other]);
    assert!(mounts_on(&place).is_empty());
    shim.stdout(&["start", &other]);
    assert_eq!(shim.stdout(&["exec", &other, "cat", "/r/new"]), "new\n");
    shim.stdout(&["rm", "-f", &other]);
    // What is removed is the volume, and nothing of the server's.
    shim.stdout(&["volume", "rm", "remote"]);
    assert!(exported.join("file").exists());
    drop(server);
}

#[test]
fn who_cannot_reach_a_server_of_cifs_is_told_without_the_password() {
    requires!(is_root(), "{ROOT}");
    requires!(is_machine(), "{MACHINE}");
    let shim = Shim::networked();
    create(
        &shim,
        "share",
        ["type=cifs", "device=//localhost/share", "o=username=me,password=hushhush,vers=3.0"],
    );
    let refused =
        shim.run(&["--rm", "--network", "none", "-v", "share:/s", "busybox", "true"]).expect_code(125);
    let place = data(&shim, "share");
    let words = format!(
        "failed to mount local volume: mount //localhost/share:{}, data: username=me,password=********,vers=3.0: ",
        place.display()
    );
    assert!(refused.stderr.contains(&words), "{refused}");
    // As far as the server: neither its name nor the options were what was refused.
    assert!(
        refused.stderr.contains("onnection refused") || refused.stderr.contains("Host is down"),
        "{refused}"
    );
    assert!(!refused.to_string().contains("hushhush"), "{refused}");
    // Who has a name that nobody knows is told that.
    create(
        &shim,
        "nobodys",
        ["type=cifs", "device=//nobody.invalid/share", "o=username=me,password=hushhush"],
    );
    let refused =
        shim.run(&["--rm", "--network", "none", "-v", "nobodys:/s", "busybox", "true"]).expect_code(125);
    assert!(refused.stderr.contains("error resolving passed in network volume address"), "{refused}");
    assert!(!refused.to_string().contains("hushhush"), "{refused}");
}

#[test]
fn a_disk_is_mounted_with_its_own_file_system() {
    requires!(is_root(), "{ROOT}");
    let Ok(disk) = std::env::var("CAISSON_TEST_DISK") else {
        integration::skip!("CAISSON_TEST_DISK names no disk")
    };
    requires!(is_machine(), "{MACHINE}");
    let shim = Shim::with_busybox();
    integration::Call::of("mke2fs").args(["-F", &disk]).output().expect_ok();
    let device = format!("device={disk}");
    create(&shim, "disk", ["type=ext4", &device, "o=noatime"]);
    let run = |words: &[&str]| shim.run(&[&["--rm", "-v"], words].concat());
    run(&["disk:/d", "busybox", "sh", "-c", "echo kept >/d/file"]).expect_ok();
    assert!(
        mounts_on(&data(&shim, "disk")).is_empty()
            && fs::read_dir(data(&shim, "disk")).unwrap().next().is_none()
    );
    assert_eq!(run(&["disk:/d", "busybox", "cat", "/d/file"]).expect_ok().stdout, "kept\n");
    create(&shim, "read-only", ["type=ext4", &device, "o=ro"]);
    let output = run(&["read-only:/d", "busybox", "sh", "-c", "cat /d/file; touch /d/new"]).expect_fail();
    assert!(output.stdout == "kept\n" && output.stderr.contains("Read-only file system"), "{output}");
    create(&shim, "other", ["type=xfs", &device, "o=ro"]);
    let refused = run(&["other:/d", "busybox", "true"]).expect_code(125);
    let words = format!(
        "failed to mount local volume: mount {disk}:{}, flags: 0x1: ",
        data(&shim, "other").display()
    );
    assert!(refused.stderr.contains(&words), "{refused}");
}
