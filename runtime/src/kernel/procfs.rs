//! procfs, through a handle that cannot be forged.
//!
//! What stands under `/proc` may be the work of an image or of another container: a tmpfs that swallows
//! the write of a label (CVE-2019-16884), or another procfs file mounted over the one that was meant, so
//! that the write of a label hits `sysrq-trigger` (CVE-2025-52881). So a file of procfs is only ever opened
//! through [`Procfs`]: a descriptor of a root that was verified to be procfs's own, from which no path
//! leaves that one mount and no magic link is followed. Nothing else in the runtime opens `/proc/…` by name.
//!
//! proc(5), fsopen(2), openat2(2), Documentation/filesystems/proc.rst (`subset=pid`).

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::bail;
use crate::error::{Call, Context, Result};

/// Inode of procfs's root (`PROC_ROOT_INO` of the kernel's <linux/proc_ns.h>): no other folder has it.
const ROOT_INODE: u64 = 1;

/// Inode of the first user namespace (`PROC_USER_INIT_INO` of the kernel's <linux/proc_ns.h>).
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// How often a lookup that raced with a rename or a mount is tried (openat2(2), EAGAIN).
const LOOKUPS: usize = 32;

/// How much of procfs a private instance has to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The folders of processes: `subset=pid`, where a stray write finds nothing of the host.
    Processes,
    /// `sys` and the rest too.
    Everything,
}

/// A verified root of procfs.
#[derive(Debug)]
pub struct Procfs {
    root: OwnedFd,
}

impl Procfs {
    /// The procfs at `/proc` of this mount namespace.
    ///
    /// # Errors
    /// `/proc` cannot be opened, or is not the root of a procfs.
    pub fn host() -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, "/proc", flags, Mode::empty()).call("open", || "\"/proc\"")?;
        Self::verified(root)
    }

    /// The same, verified once and kept: for the runtime itself, whose mount namespace stays what it is. Not for
    /// init, which closes what the runtime had open.
    ///
    /// # Errors
    /// Those of [`Procfs::host`].
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Procfs> = OnceLock::new();
        match SHARED.get() {
            Some(procfs) => Ok(procfs),
            None => Self::host().map(|procfs| SHARED.get_or_init(|| procfs)),
        }
    }

    /// A new procfs of the calling process's pid namespace that is attached nowhere, so that nothing can
    /// be mounted over its files. Where the kernel or the user namespace does not allow one (EPERM, EACCES,
    /// ENOSYS): [`Procfs::host`].
    ///
    /// # Errors
    /// The kernel's, and those of [`Procfs::host`].
    pub fn private(need: Need) -> Result<Self> {
        match detached(need) {
            Ok(root) => Self::verified(root),
            Err(error) if matches!(error.errno(), libc::EPERM | libc::EACCES | libc::ENOSYS) => Self::host(),
            Err(error) => Err(error),
        }
    }

    fn verified(root: OwnedFd) -> Result<Self> {
        let stat = rustix::fs::fstat(&root).call("fstat", || "\"/proc\"")?;
        if !is_procfs(root.as_fd(), "")? || stat.st_ino != ROOT_INODE {
            bail!("\"/proc\" is not the root of a procfs");
        }
        Ok(Self { root })
    }

    /// Sees that process ids mean here what they mean to this process.
    ///
    /// # Errors
    /// A procfs of another process id namespace, in which a number is some other process.
    pub fn check_process_ids(&self) -> Result<()> {
        let own = rustix::fs::readlinkat(&self.root, "self", Vec::with_capacity(16));
        let own = own.call("readlinkat", || "\"/proc/self\"")?;
        if own.to_str().ok().and_then(|own| own.parse().ok()) != Some(std::process::id()) {
            bail!("\"/proc\" is of another process id namespace; mount one of this namespace there");
        }
        Ok(())
    }

    /// Whether this process is in a user namespace, and not in the one that the kernel starts with.
    ///
    /// # Errors
    /// As fstatat(2).
    pub fn in_user_namespace(&self) -> Result<bool> {
        let own = rustix::fs::statat(&self.root, "self/ns/user", AtFlags::empty());
        Ok(own.call("fstatat", || "\"/proc/self/ns/user\"")?.st_ino != INITIAL_USER_NAMESPACE)
    }

    /// Opens `path`, relative to the root: `self/attr/exec`. Close-on-exec always.
    ///
    /// # Errors
    /// The kernel's; EXDEV where something is mounted on the way, ELOOP for a magic link, and a file that
    /// is not of procfs.
    pub fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        let mut flags = flags | OFlags::CLOEXEC;
        if !flags.contains(OFlags::PATH) {
            flags |= OFlags::NOCTTY; // together with O_PATH openat2 says EINVAL
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        let mut lookups = 1;
        let file = loop {
            match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) if lookups < LOOKUPS => lookups += 1,
                result => break result.call("openat2", || quoted(path))?,
            }
        };
        if !is_procfs(file.as_fd(), path)? {
            bail!("{} is not a file of procfs", quoted(path));
        }
        Ok(file)
    }

    /// The absolute path, without links, that this process knows an open folder or file by.
    ///
    /// # Errors
    /// As readlinkat(2).
    pub fn path_of(&self, fd: BorrowedFd<'_>) -> Result<PathBuf> {
        let link = self.open(&format!("self/fd/{}", fd.as_raw_fd()), OFlags::PATH | OFlags::NOFOLLOW)?;
        let path = rustix::fs::readlinkat(&link, "", Vec::with_capacity(256)).call("readlinkat", || "")?;
        Ok(PathBuf::from(OsString::from_vec(path.into_bytes())))
    }

    /// Writes `data` to `path` in one write(2), which is what most files of procfs take as one request.
    ///
    /// # Errors
    /// Those of [`Procfs::open`] and write(2); a write that was cut short.
    pub fn write(&self, path: &str, data: impl AsRef<[u8]>) -> Result<()> {
        let (file, data) = (self.open(path, OFlags::WRONLY)?, data.as_ref());
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, data));
        if written.call("write", || quoted(path))? != data.len() {
            bail!("write({}): only a part was taken", quoted(path));
        }
        Ok(())
    }

    /// The content of `path`, of at most `limit` bytes.
    ///
    /// # Errors
    /// Those of [`Procfs::open`] and read(2); a file that is larger.
    pub fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>> {
        let file = self.open(path, OFlags::RDONLY)?;
        let mut content = Vec::with_capacity(limit.min(4096));
        loop {
            if content.len() == content.capacity() {
                content.reserve(content.len().clamp(1, 1 << 16));
            }
            match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut content)) {
                Ok(0) => return Ok(content),
                Ok(_) if content.len() > limit => bail!("{} is larger than {limit} bytes", quoted(path)),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).call("read", || quoted(path)),
            }
        }
    }
}

impl AsFd for Procfs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// Mounts a procfs without attaching it.
fn detached(need: Need) -> Result<OwnedFd> {
    let context = rustix::mount::fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC).call("fsopen", || "\"proc\"")?;
    if need == Need::Processes {
        match rustix::mount::fsconfig_set_string(context.as_fd(), "subset", "pid") {
            // Linux before 5.8 does not know it: then all of procfs, as private as the part would be.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno).call("fsconfig", || "\"proc\", \"subset\", \"pid\""),
        }
    }
    rustix::mount::fsconfig_create(context.as_fd()).call("fsconfig", || "\"proc\", FSCONFIG_CMD_CREATE")?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .call("fsmount", || "\"proc\"")
        .context(|| "make a private procfs")
}

fn is_procfs(file: BorrowedFd<'_>, path: &str) -> Result<bool> {
    let stat = rustix::fs::fstatfs(file).call("fstatfs", || quoted(path))?;
    Ok(stat.f_type == PROC_SUPER_MAGIC)
}

/// The path as a reader knows it.
fn quoted(path: &str) -> String {
    format!("{:?}", format!("/proc/{path}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use nix::mount::{MsFlags, mount};

    use super::*;
    use crate::kernel::throwaway::{alone, status_field};

    fn bind(source: &str, target: &str) {
        mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    }

    fn tmpfs(target: &str) {
        mount(Some("forged"), target, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    }

    fn own_status(procfs: &Procfs) -> String {
        String::from_utf8(procfs.read("thread-self/status", 1 << 16).unwrap()).unwrap()
    }

    #[test]
    fn the_host_s_procfs_is_read_and_written() {
        let host = Procfs::host().unwrap();
        assert!(own_status(&host).contains(&format!("\nTgid:\t{}\n", std::process::id())));
        std::thread::spawn(|| {
            Procfs::host().unwrap().write("thread-self/comm", "caisson-proc").unwrap();
            assert_eq!(status_field("Name"), "caisson-proc");
        })
        .join()
        .unwrap();
    }

    #[test]
    fn every_descriptor_is_close_on_exec_and_o_path_is_possible() {
        let host = Procfs::host().unwrap();
        let folder = host.open("self/ns", OFlags::PATH | OFlags::DIRECTORY).unwrap();
        let file = host.open("self/status", OFlags::RDONLY).unwrap();
        for fd in [host.as_fd(), folder.as_fd(), file.as_fd()] {
            assert!(rustix::io::fcntl_getfd(fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        }
    }

    #[test]
    fn no_path_leaves_procfs_and_no_magic_link_is_followed() {
        let host = Procfs::host().unwrap();
        let errno = |path: &str| host.open(path, OFlags::RDONLY).unwrap_err().errno();
        assert_eq!(errno("../etc/passwd"), libc::EXDEV);
        assert_eq!(errno("/etc/passwd"), libc::EXDEV);
        assert_eq!(errno("self/root/etc/passwd"), libc::ELOOP);
        assert_eq!(errno("self/cwd"), libc::ELOOP);
        assert_eq!(errno("self/exe"), libc::ELOOP);
        assert_eq!(errno("self/fd/0"), libc::ELOOP);
        assert_eq!(errno("self/ns/net"), libc::ELOOP);
        assert_eq!(errno("no-such-file"), libc::ENOENT);
    }

    #[test]
    fn a_file_beyond_its_limit_is_an_error() {
        let host = Procfs::host().unwrap();
        assert_eq!(
            host.read("self/status", 8).unwrap_err().to_string(),
            "\"/proc/self/status\" is larger than 8 bytes"
        );
        let length = own_status(&host).len();
        assert!(length > 100 && host.read("self/mountinfo", 16 << 20).unwrap().len() > 100);
    }

    #[test]
    fn a_private_procfs_is_of_this_pid_namespace_and_shows_what_is_needed() {
        if !alone(
            "kernel::procfs::tests::a_private_procfs_is_of_this_pid_namespace_and_shows_what_is_needed",
            &["--mount", "--pid", "--fork"],
        ) {
            return;
        }
        // The /proc in sight is still that of the namespace outside.
        let processes = Procfs::private(Need::Processes).unwrap();
        let process_id = std::process::id();
        assert!(own_status(&processes).contains(&format!("\nTgid:\t{process_id}\n")));
        assert_eq!(
            processes.open("sys/kernel/domainname", OFlags::RDONLY).unwrap_err().errno(),
            libc::ENOENT
        );
        assert_eq!(processes.open("sysrq-trigger", OFlags::PATH).unwrap_err().errno(), libc::ENOENT);
        let everything = Procfs::private(Need::Everything).unwrap();
        assert!(everything.open("sys/kernel/domainname", OFlags::RDONLY).is_ok());
    }

    #[test]
    fn a_forged_proc_is_refused_and_the_private_one_stands() {
        if !alone("kernel::procfs::tests::a_forged_proc_is_refused_and_the_private_one_stands", &["--mount"])
        {
            return;
        }
        let before = Procfs::host().unwrap();
        bind("/proc/self", "/proc"); // a folder of procfs, and not its root
        assert_eq!(Procfs::host().unwrap_err().to_string(), "\"/proc\" is not the root of a procfs");
        tmpfs("/proc");
        std::fs::create_dir_all("/proc/self/attr").unwrap();
        std::fs::write("/proc/self/attr/exec", "").unwrap();
        assert_eq!(Procfs::host().unwrap_err().to_string(), "\"/proc\" is not the root of a procfs");
        for procfs in
            [before, Procfs::private(Need::Processes).unwrap(), Procfs::private(Need::Everything).unwrap()]
        {
            assert!(own_status(&procfs).contains("\nTgid:"));
            procfs.write("thread-self/comm", "the real one").unwrap();
            assert_eq!(procfs.read("thread-self/comm", 64).unwrap(), b"the real one\n");
        }
        assert!(Path::new("/proc/self/attr/exec").metadata().unwrap().len() == 0);
    }

    #[test]
    fn files_and_folders_mounted_over_procfs_are_refused() {
        if !alone("kernel::procfs::tests::files_and_folders_mounted_over_procfs_are_refused", &["--mount"]) {
            return;
        }
        let process_id = std::process::id();
        let own = |file: &str| format!("/proc/{process_id}/{file}");
        bind("/proc/sys/kernel/domainname", &own("comm")); // procfs over procfs: the type alone tells nothing
        bind("/proc/sys", &own("attr"));
        tmpfs(&own("net"));
        let host = Procfs::host().unwrap();
        for path in ["self/comm", "self/attr/kernel/domainname", "self/net/dev"] {
            assert_eq!(host.write(path, "x").unwrap_err().errno(), libc::EXDEV, "{path}");
        }
        let private = Procfs::private(Need::Processes).unwrap();
        private.write("self/comm", "not misled").unwrap();
        assert_eq!(private.read("self/comm", 64).unwrap(), b"not misled\n");
        assert!(private.open("self/attr/current", OFlags::PATH).is_ok());
        assert_eq!(
            private.open("self/attr/kernel/domainname", OFlags::PATH).unwrap_err().errno(),
            libc::ENOENT
        );
    }

    #[test]
    fn without_the_right_to_mount_the_private_one_is_the_host_s() {
        if !alone("kernel::procfs::tests::without_the_right_to_mount_the_private_one_is_the_host_s", &[]) {
            return;
        }
        let nothing = rustix::thread::CapabilitySet::empty();
        let sets =
            rustix::thread::CapabilitySets { effective: nothing, permitted: nothing, inheritable: nothing };
        rustix::thread::set_capabilities(None, sets).unwrap();
        assert_eq!(detached(Need::Processes).unwrap_err().errno(), libc::EPERM);
        assert!(own_status(&Procfs::private(Need::Processes).unwrap()).contains("\nTgid:"));
    }
}
