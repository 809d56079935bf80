//! Labels of SELinux on what containers are to use: `z` and `Z`.
//!
//! The tree is walked by descriptors and no link is followed, since what is in it may be a container's.

use std::ffi::CString;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{self, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use crate::bundle::process::clean;
use crate::error::{Context, Error, Result};
use crate::unpack::c_string;

const ATTRIBUTE: &str = "security.selinux";
/// Folders in folders; each is open meanwhile, and 1024 descriptors are what is usual.
const DEPTH_MAX: usize = 400;
/// Folders of the host's that are more than one container's, as Docker refuses them; those of `/usr` are `/bin` and its like
/// by their other names.
const HOSTS: [&str; 29] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/etc/passwd",
    "/etc/pki",
    "/etc/shadow",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/sbin",
    "/var",
    "/var/lib",
    "/var/log",
    "/mnt",
];

/// Does the host have SELinux?
#[must_use]
pub fn is_enabled() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// Gives a file, or a folder with all in it, the label of a container's mounts: of this container's alone, or for all
/// (`is_shared`).
///
/// # Errors
/// A folder of the host's, in Docker's words; the system's reason.
pub fn relabel(path: &str, label: &str, is_shared: bool) -> Result<()> {
    let words = || format!("relabel {path:?}");
    let top = open(path).during(words)?;
    // By the way that it was named, and by the one that its links lead.
    let real = fs::readlink(own_path(&top), Vec::new()).during(words)?.into_string().unwrap_or_default();
    let home = std::env::var("HOME").unwrap_or_default();
    let is_hosts = |path: &str| HOSTS.contains(&path) || path == clean(&home);
    if is_hosts(&clean(path)) || is_hosts(&real) {
        return Err(Error::invalid(format!("SELinux relabeling of {path} is not allowed")));
    }
    let label = if is_shared { without_categories(label) } else { label.to_owned() };
    set_all(&top, ATTRIBUTE, &label).during(words)
}

fn open(path: &str) -> Result<OwnedFd> {
    fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).during(|| "open".into())
}

/// The file itself, whatever has its name by now.
fn own_path(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Gives a file of ours this label.
///
/// # Errors
/// The system's reason.
pub fn set_label(path: &Path, label: &str) -> Result<()> {
    let path = path.to_str().ok_or_else(|| Error::invalid("it is not UTF-8"))?;
    set_all(&open(path)?, ATTRIBUTE, label)
}

/// `USER:ROLE:TYPE:LEVEL` with the lowest level, which no two containers differ in.
fn without_categories(label: &str) -> String {
    let parts: Vec<&str> = label.splitn(4, ':').collect();
    match parts[..] {
        [user, role, kind, _] => format!("{user}:{role}:{kind}:s0"),
        _ => label.to_owned(),
    }
}

fn set_all(top: &OwnedFd, attribute: &str, value: &str) -> Result<()> {
    let own = own_path(top);
    set(&c_string(own.clone())?, attribute, value, |path| {
        fs::setxattr(path, attribute, value.as_bytes(), XattrFlags::empty())
    })?;
    if FileType::from_raw_mode(fs::fstat(top).during(|| "fstat".into())?.st_mode) == FileType::Directory {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = fs::open(own.as_str(), flags, Mode::empty()).during(|| "open".into())?;
        below(&folder, attribute, value, 0)?;
    }
    Ok(())
}

fn below(folder: &OwnedFd, attribute: &str, value: &str, depth: usize) -> Result<()> {
    if depth > DEPTH_MAX {
        return Err(Error::invalid(format!("more than {DEPTH_MAX} folders in one another")));
    }
    for entry in fs::Dir::read_from(folder).during(|| "getdents".into())? {
        let entry = entry.during(|| "getdents".into())?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        // The folder by its descriptor, the last part not followed.
        let prefix = format!("/proc/self/fd/{}/", folder.as_raw_fd());
        let path = c_string([prefix.as_bytes(), name.to_bytes()].concat())?;
        set(&path, attribute, value, |path| {
            fs::lsetxattr(path, attribute, value.as_bytes(), XattrFlags::empty())
        })
        .during(|| format!("{name:?}"))?;
        let flags =
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match fs::openat(folder, name, flags, Mode::empty()) {
            Ok(inner) => below(&inner, attribute, value, depth + 1).during(|| format!("{name:?}"))?,
            Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => {}
            Err(errno) => return Err(errno).during(|| format!("open {name:?}")),
        }
    }
    Ok(())
}

/// What has gone meanwhile needs no label, and some file systems have none.
fn set(
    path: &CString,
    attribute: &str,
    value: &str,
    set: impl Fn(&CString) -> rustix::io::Result<()>,
) -> Result<()> {
    match set(path) {
        Ok(()) | Err(Errno::NOENT | Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(errno).during(|| format!("setxattr {attribute}={value}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;

    #[test]
    fn a_shared_label_has_no_categories() {
        assert_eq!(
            without_categories("system_u:object_r:container_file_t:s0:c1,c2"),
            "system_u:object_r:container_file_t:s0"
        );
        assert_eq!(without_categories("odd"), "odd");
    }

    #[test]
    fn the_hosts_folders_are_refused() {
        let scratch = Scratch::new();
        let link = scratch.join("link");
        std::os::unix::fs::symlink("/etc", &link).unwrap();
        let home = std::env::var("HOME").unwrap();
        for path in ["/", "/etc/", "//usr", "/var/lib", "/bin", &home, link.to_str().unwrap()] {
            let error = relabel(path, "a:b:c:s0", true).unwrap_err().to_string();
            assert_eq!(error, format!("SELinux relabeling of {path} is not allowed"));
        }
    }

    #[test]
    fn everything_below_gets_it_and_nothing_that_a_link_leads_to() {
        let scratch = Scratch::new();
        let outside = scratch.join("outside");
        std::fs::create_dir_all(scratch.join("tree/deep")).unwrap();
        std::fs::write(scratch.join("tree/deep/file"), "").unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, scratch.join("tree/link")).unwrap();
        let tree = scratch.join("tree");
        // Not the real one, which only a host with SELinux takes.
        let attribute = "trusted.caisson-label";
        let result = set_all(&open(tree.to_str().unwrap()).unwrap(), attribute, "label");
        let has = |path: &std::path::Path| {
            let mut value = [0; 16];
            fs::lgetxattr(path, attribute, &mut value[..]).is_ok_and(|length| &value[..length] == b"label")
        };
        match result {
            Ok(()) if has(&tree) => {
                assert!(has(&tree.join("deep/file")) && has(&tree.join("link")) && !has(&outside));
            }
            // A file system without attributes, or a caller without the right to them.
            other => eprintln!("left out: {other:?}"),
        }
    }
}
