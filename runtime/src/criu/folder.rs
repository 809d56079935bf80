//! The folders of images and logs: made where they are missing (0700), opened once, used by descriptor.

use std::fs::{DirBuilder, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use crate::bail;
use crate::error::{Call, Result};
use crate::kernel::procfs::Procfs;

/// An open folder.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    /// Absolute, without links, for messages.
    path: PathBuf,
}

impl Folder {
    /// Opens the folder.
    ///
    /// # Errors
    /// As open(2).
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).call("open", || format!("{path:?}"))?;
        let path = Procfs::shared()?.path_of(fd.as_fd())?;
        Ok(Self { fd, path })
    }

    /// Opens the folder, making it and those above it where they are missing (0700).
    ///
    /// # Errors
    /// As mkdir(2) and open(2).
    pub fn make(path: &Path) -> Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).call("mkdir", || format!("{path:?}"))?;
        Self::open(path)
    }

    /// Sees that `path`, relative to this folder, leads to one.
    ///
    /// # Errors
    /// As openat(2).
    pub fn check_folder(&self, path: &Path) -> Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.fd, path, flags, Mode::empty());
        opened.map(drop).call("open", || format!("{:?}", self.path.join(path)))
    }

    /// The absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number by which CRIU finds the folder among what this process has open.
    pub fn number(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Opens a file, which may not be a link.
    ///
    /// # Errors
    /// As openat(2).
    pub fn open_file(&self, name: &str, flags: OFlags) -> Result<OwnedFd> {
        rustix::fs::openat(&self.fd, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
            .call("open", || format!("{:?}", self.path.join(name)))
    }

    /// The content of a file of at most `limit` bytes.
    ///
    /// # Errors
    /// As openat(2) and read(2); a file that is larger.
    pub fn read(&self, name: &str, limit: usize) -> Result<Vec<u8>> {
        let file = File::from(self.open_file(name, OFlags::RDONLY | OFlags::NONBLOCK)?);
        let mut bytes = Vec::new();
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        file.take(most).read_to_end(&mut bytes).call("read", || format!("{:?}", self.path.join(name)))?;
        if bytes.len() > limit {
            bail!("{:?} is larger than {limit} bytes", self.path.join(name));
        }
        Ok(bytes)
    }

    /// Lets everybody find what they know by name in this folder, and read the files whose names begin so.
    ///
    /// # Errors
    /// As getdents(2), openat(2) and fchmod(2).
    pub fn publish(&self, prefix: &str) -> Result<()> {
        let at = || format!("{:?}", self.path);
        self.permit(self.fd.as_fd(), Mode::XOTH, at)?;
        for entry in rustix::fs::Dir::read_from(&self.fd).call("getdents64", at)? {
            let entry = entry.call("getdents64", at)?;
            if let Ok(name) = entry.file_name().to_str()
                && name.starts_with(prefix)
                && entry.file_type() == FileType::RegularFile
            {
                let file = self.open_file(name, OFlags::RDONLY | OFlags::NONBLOCK)?;
                self.permit(file.as_fd(), Mode::ROTH, || format!("{:?}", self.path.join(name)))?;
            }
        }
        Ok(())
    }

    fn permit(&self, fd: BorrowedFd<'_>, more: Mode, at: impl Fn() -> String + Copy) -> Result<()> {
        let mode = Mode::from_raw_mode(rustix::fs::fstat(fd).call("fstat", at)?.st_mode);
        if !mode.contains(more) {
            rustix::fs::fchmod(fd, mode | more).call("fchmod", at)?;
        }
        Ok(())
    }

    /// Writes a new file (0600) in the place of whatever stands there.
    ///
    /// # Errors
    /// As unlinkat(2), openat(2) and write(2).
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let at = || format!("{:?}", self.path.join(name));
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(errno) => return Err(errno).call("unlink", at),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR).call("open", at)?;
        File::from(file).write_all(content).call("write", at)
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::container::tests::TempDir;

    #[test]
    fn what_is_missing_is_made_for_nobody_else() {
        let dir = TempDir::new();
        let path = dir.path().join("a/b");
        assert_eq!(Folder::open(&path).unwrap_err().errno(), libc::ENOENT);
        let folder = Folder::make(&path).unwrap();
        assert_eq!(folder.path(), path.canonicalize().unwrap());
        for path in [&path, path.parent().unwrap()] {
            assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
        }
        Folder::make(&path).unwrap();
        std::fs::write(path.join("file"), "").unwrap();
        assert_eq!(Folder::make(&path.join("file/x")).unwrap_err().errno(), libc::ENOTDIR);
        folder.check_folder(Path::new("../b")).unwrap();
        assert_eq!(folder.check_folder(Path::new("file")).unwrap_err().errno(), libc::ENOTDIR);
    }

    #[test]
    fn only_what_is_named_is_published() {
        let dir = TempDir::new();
        let folder = Folder::make(&dir.path().join("images")).unwrap();
        for name in ["timens-0.img", "core-1.img", "precious"] {
            folder.write(name, b"").unwrap();
        }
        std::os::unix::fs::symlink("precious", folder.path().join("timens-1.img")).unwrap();
        folder.publish("timens-").unwrap();
        let mode = |name| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("."), 0o701);
        assert_eq!(["timens-0.img", "core-1.img", "precious"].map(mode), [0o604, 0o600, 0o600]);
    }

    #[test]
    fn a_link_is_neither_read_nor_written_through() {
        let dir = TempDir::new();
        let folder = Folder::open(dir.path()).unwrap();
        std::fs::write(dir.path().join("precious"), "precious").unwrap();
        std::os::unix::fs::symlink("precious", dir.path().join("link")).unwrap();
        assert_eq!(folder.read("link", 100).unwrap_err().errno(), libc::ELOOP);
        folder.write("link", b"new").unwrap();
        assert_eq!(folder.read("link", 3).unwrap(), b"new");
        assert_eq!(folder.read("precious", 8).unwrap(), b"precious");
        assert!(folder.read("precious", 7).unwrap_err().to_string().ends_with("is larger than 7 bytes"));
    }
}
