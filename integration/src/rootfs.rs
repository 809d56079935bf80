//! A root folder for containers: Debian's busybox-static, its applets as links, and the usual folders.
//!
//! The binary is copied, never hard-linked: a test may change the owner or the content of what it was given.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use crate::executable;

const BUSYBOX: &str = "/bin/busybox";

const FOLDERS: [&str; 13] =
    ["bin", "dev", "etc", "home", "lib", "mnt", "proc", "root", "run", "sys", "usr", "var", "srv"];

const FILES: [(&str, &str); 4] = [
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n"),
    ("etc/group", "root:x:0:\nuser:x:1000:\nextra:x:2000:user\n"),
    ("etc/hosts", "127.0.0.1 localhost\n"),
    ("etc/hostname", "from-the-image\n"),
];

/// Fills `root`, which must not exist yet.
pub(crate) fn populate(root: &Path) {
    fs::create_dir(root).expect("create the root folder");
    // As an image has it, whatever the umask of the tests.
    fs::set_permissions(root, Permissions::from_mode(0o755)).expect("chmod the root folder");
    for folder in FOLDERS {
        fs::create_dir(root.join(folder)).expect("create a folder of the root");
    }
    fs::create_dir(root.join("home/user")).expect("create a home");
    fs::create_dir(root.join("tmp")).expect("create tmp");
    fs::set_permissions(root.join("tmp"), Permissions::from_mode(0o1777)).expect("chmod tmp");
    for link in ["sbin", "usr/bin", "usr/sbin"] {
        symlink("/bin", root.join(link)).expect("link to bin");
    }
    for (path, text) in FILES {
        fs::write(root.join(path), text).expect("write a file of the root");
    }
    let bin = root.join("bin");
    let copied = executable::written(|| fs::copy(BUSYBOX, bin.join("busybox")));
    copied.expect("copy /bin/busybox (Debian's package busybox-static)");
    for applet in applets() {
        symlink("busybox", bin.join(applet)).expect("link an applet");
    }
}

fn applets() -> &'static [String] {
    static APPLETS: OnceLock<Vec<String>> = OnceLock::new();
    APPLETS.get_or_init(|| {
        let output = Command::new(BUSYBOX).arg("--list").output().expect("run busybox --list");
        let names = String::from_utf8(output.stdout).expect("names of applets are ASCII");
        names.lines().filter(|name| *name != "busybox").map(str::to_owned).collect()
    })
}
