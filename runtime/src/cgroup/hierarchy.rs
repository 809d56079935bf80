//! Where the cgroup2 file system is mounted, and where the runtime itself is in it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::{file, tree};
use crate::bail;
use crate::error::{Context, Result};
use crate::kernel::procfs::Procfs;

/// CGROUP2_SUPER_MAGIC of statfs(2).
const CGROUP2: u64 = 0x6367_7270;
/// The inode of the first cgroup of all; what a cgroup namespace or a bind mount shows has another.
const ROOT_INODE: u64 = 1;
/// Unified hosts have it at the first, hybrid ones at the second place.
const USUAL: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// More than the mounts of a busy host need.
const MAX_PROC: usize = 16 << 20;

/// The mount of the cgroup2 hierarchy.
#[derive(Debug)]
pub struct Hierarchy {
    path: String,
    root: OwnedFd,
}

impl Hierarchy {
    /// Finds the mount; `None` where the host has none. /proc/self/mountinfo, which is long on a busy host,
    /// is only read where the usual places do not answer.
    ///
    /// # Errors
    /// Failures to look.
    pub fn find() -> Result<Option<Self>> {
        for path in USUAL {
            if let Some((hierarchy, inode)) = open(path)?
                && inode == ROOT_INODE
            {
                return Ok(Some(hierarchy));
            }
        }
        let mounts = read_proc("self/mountinfo").context(|| "find the cgroup2 mount")?;
        for path in mount_points(&mounts) {
            if let Some((hierarchy, _)) = open(&path)? {
                return Ok(Some(hierarchy));
            }
        }
        Ok(None)
    }

    /// Opens the mount that a record names; `None` where the path is gone.
    ///
    /// # Errors
    /// Where something else is there.
    pub(super) fn open(path: &str) -> Result<Option<Self>> {
        match open(path)? {
            Some((hierarchy, _)) => Ok(Some(hierarchy)),
            None if rustix::fs::stat(path).is_err_and(|errno| errno == Errno::NOENT) => Ok(None),
            None => bail!("{path:?} is not a cgroup2 mount"),
        }
    }

    /// Absolute path of the mount.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether there is a cgroup `names` below the root.
    ///
    /// # Errors
    /// Failures to look.
    pub fn has(&self, names: &[String]) -> Result<bool> {
        let path = names.join("/");
        tree::has(self.root(), &path).context(|| format!("look for cgroup {path:?} below {:?}", self.path))
    }

    /// Absolute path of the cgroup that this process is in.
    ///
    /// # Errors
    /// Where it is not below this mount.
    pub fn own_folder(&self) -> Result<String> {
        let own = own_cgroup()?;
        if own.split('/').any(|name| name == "..") {
            bail!("the runtime's own cgroup {own:?} is outside of {:?}", self.path);
        }
        Ok(format!("{}/{}", self.path, own.trim_start_matches('/')))
    }

    /// The root cgroup's folder, for looking things up below it.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// Opens the folder of a cgroup by its path.
///
/// # Errors
/// As open(2), and where something else is there.
pub fn open_folder(path: &str) -> Result<OwnedFd> {
    match open(path)? {
        Some((folder, _)) => Ok(folder.root),
        None => bail!("{path:?} is no cgroup"),
    }
}

/// The folder and its inode, where it is on a cgroup2 file system.
fn open(path: &str) -> Result<Option<(Hierarchy, u64)>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let root = match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        Ok(root) => root,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => return Ok(None),
        Err(errno) => return Err(file::failed("open", format!("{path:?}"), errno).into()),
    };
    let system =
        rustix::fs::fstatfs(&root).map_err(|errno| file::failed("fstatfs", format!("{path:?}"), errno))?;
    if u64::try_from(system.f_type) != Ok(CGROUP2) {
        return Ok(None);
    }
    let inode =
        rustix::fs::fstat(&root).map_err(|errno| file::failed("fstat", format!("{path:?}"), errno))?.st_ino;
    Ok(Some((Hierarchy { path: path.to_owned(), root }, inode)))
}

/// Mount points of cgroup2 that show the hierarchy from the root that /proc/self/cgroup counts from
/// (proc_pid_mountinfo(5)).
fn mount_points(mountinfo: &str) -> impl Iterator<Item = String> + '_ {
    mountinfo.lines().filter_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (system.starts_with("cgroup2 ") && root == "/").then(|| unescape(point))
    })
}

/// Undoes the octal escapes of blanks and backslashes.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..3).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()).filter(|_| byte == b'\\') {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &after[3..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The runtime's own cgroup v2, as /proc/self/cgroup words it: `/` or `/user.slice/…`.
///
/// # Errors
/// Where /proc does not tell.
pub fn own_cgroup() -> Result<String> {
    read_cgroup("self/cgroup").context(|| "find the runtime's own cgroup")
}

/// The cgroup v2 of a process that is ours to wait for, so that its number means no other.
///
/// # Errors
/// Where /proc does not tell.
pub(super) fn cgroup_of(pid: i32) -> Result<String> {
    read_cgroup(&format!("{pid}/cgroup")).context(|| format!("find the cgroup of process {pid}"))
}

fn read_cgroup(file: &str) -> Result<String> {
    let text = read_proc(file)?;
    match text.lines().find_map(|line| line.strip_prefix("0::")) {
        Some(path) => Ok(path.strip_suffix(" (deleted)").unwrap_or(path).to_owned()),
        None => bail!("/proc/{file} has no line that begins with \"0::\""),
    }
}

fn read_proc(path: &str) -> Result<String> {
    let text = Procfs::shared()?.read(path, MAX_PROC)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_read_by_its_fields() {
        let text = "\
            31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
            40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
            41 31 0:38 /docker/x /mnt/part rw shared:5 - cgroup2 cgroup2 rw\n\
            42 31 0:38 / /mnt/a\\040b\\134 rw shared:5 master:1 - cgroup2 none rw,nsdelegate\n\
            43 31 0:38 / /run/cgroup2 rw - cgroup2 none rw\n\
            44 31 0:39 / /cgroup2 rw - ext4 /dev/sda rw\n\
            short\n";
        assert_eq!(mount_points(text).collect::<Vec<_>>(), ["/mnt/a b\\", "/run/cgroup2"]);
    }

    #[test]
    fn escapes_at_the_end_are_plain_text() {
        assert_eq!(unescape("a\\04"), "a\\04");
        assert_eq!(unescape("\\"), "\\");
        assert_eq!(unescape("\\999"), "\\999");
    }

    #[test]
    fn other_file_systems_are_not_taken_for_a_hierarchy() {
        assert!(open("/proc").unwrap().is_none());
        assert!(Hierarchy::open("/nowhere/at/all").unwrap().is_none());
        assert_eq!(Hierarchy::open("/proc").unwrap_err().to_string(), "\"/proc\" is not a cgroup2 mount");
    }

    #[test]
    fn the_own_cgroup_is_absolute() {
        assert!(own_cgroup().unwrap().starts_with('/'));
    }
}
