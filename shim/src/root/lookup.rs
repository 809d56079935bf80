//! Files of an image, by descriptors from its root (openat2(2), RESOLVE_IN_ROOT): links lead where they would lead
//! inside, never out, and only plain files of bounded length are read.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{self, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};

/// Longest /etc/passwd or /etc/group that is read, in bytes (CVE-2026-47262).
const ACCOUNTS_MAX: u64 = 4 << 20;

/// A file of the image that lists accounts; empty where there is none.
///
/// # Errors
/// Anything but a plain file of less than 4 MiB in UTF-8: nobody is looked up in a part of it.
pub fn read_accounts(root: BorrowedFd, path: &str) -> Result<String> {
    read_from(root, path, inside()).during(|| format!("{path} of the image"))
}

/// The same of a container that runs, where it may be a mount of the user's own (`-v /etc/passwd:/etc/passwd`).
///
/// # Errors
/// As [`read_accounts`].
pub fn read_accounts_of_running(root: BorrowedFd, path: &str) -> Result<String> {
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    read_from(root, path, inside).during(|| format!("{path} of the container"))
}

fn read_from(root: BorrowedFd, path: &str, inside: ResolveFlags) -> Result<String> {
    // A FIFO would wait for a writer (CVE-2024-9676), and opening a device may do something.
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = match fs::openat2(root, path, flags, Mode::empty(), inside) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
        found => found?,
    };
    let kind = fs::FileType::from_raw_mode(fs::fstat(&found)?.st_mode);
    if kind != fs::FileType::RegularFile {
        return Err(Error::invalid("not a file"));
    }
    // The same file, whatever has its name by now.
    let by = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&found));
    let file = File::open(by)?;
    let mut bytes = Vec::new();
    file.take(ACCOUNTS_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > ACCOUNTS_MAX {
        return Err(Error::invalid(format!("it is longer than {ACCOUNTS_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| Error::invalid("it is not UTF-8"))
}

/// Makes the folders of an absolute, clean path that are not there, each 0755 and root's.
///
/// # Errors
/// Something that is no folder in their way.
pub fn make_folders(root: BorrowedFd, path: &str) -> Result<()> {
    let words = || format!("working directory {path:?}");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at: OwnedFd = root.try_clone_to_owned().during(words)?;
    let mut way = String::from(".");
    for part in path.split('/').filter(|part| !part.is_empty()) {
        way.push('/');
        way.push_str(part);
        at = match fs::openat2(root, &*way, flags, Mode::empty(), inside()) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => {
                // A link that leads nowhere is in the way too: mkdirat(2) does not follow it.
                fs::mkdirat(at.as_fd(), part, Mode::from_raw_mode(0o755)).during(words)?;
                fs::openat2(root, &*way, flags, Mode::empty(), inside()).during(words)?
            }
            Err(errno) => return Err(errno).during(words),
        };
    }
    Ok(())
}

fn inside() -> ResolveFlags {
    ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_plain_files_of_the_image_are_read() {
        let scratch = Scratch::new();
        let root = scratch.join("root");
        std::fs::create_dir_all(root.join("etc")).unwrap();
        let open = File::open(&root).unwrap();
        let read = |path: &str| read_accounts(open.as_fd(), path).map_err(|error| error.to_string());
        assert_eq!(read("/etc/passwd"), Ok(String::new()));
        std::fs::write(root.join("etc/real"), "inside").unwrap();
        std::fs::write(scratch.join("real"), "outside").unwrap();
        symlink("/../etc/real", root.join("etc/passwd")).unwrap();
        assert_eq!(read("/etc/passwd"), Ok("inside".into()));
        symlink(scratch.join("real"), root.join("etc/group")).unwrap();
        assert_eq!(read("/etc/group"), Ok(String::new()), "there is no such file inside");
        rustix::fs::mknodat(&open, "etc/fifo", fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert_eq!(read("/etc/fifo").unwrap_err(), "/etc/fifo of the image: not a file");
        assert!(read("/etc").unwrap_err().ends_with("not a file"));
        File::create(root.join("etc/huge")).unwrap().set_len(1 << 30).unwrap();
        assert!(read("/etc/huge").unwrap_err().ends_with("it is longer than 4194304 bytes"));
        std::fs::write(root.join("etc/bytes"), b"\xff").unwrap();
        assert!(read("/etc/bytes").unwrap_err().ends_with("not UTF-8"));
    }

    #[test]
    fn folders_are_made_inside_and_nowhere_else() {
        let scratch = Scratch::new();
        let (root, outside) = (scratch.join("root"), scratch.join("outside"));
        std::fs::create_dir_all(root.join("srv")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        symlink(&outside, root.join("out")).unwrap();
        symlink("/srv", root.join("in")).unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        let open = File::open(&root).unwrap();
        let make = |path: &str| make_folders(open.as_fd(), path).map_err(|error| error.to_string());
        make("/").unwrap();
        make("/a/b/c").unwrap();
        make("/in/d").unwrap();
        assert!(root.join("a/b/c").is_dir() && root.join("srv/d").is_dir());
        assert!(make("/out/d").unwrap_err().starts_with("working directory \"/out/d\": "));
        assert!(make("/file/d").unwrap_err().ends_with("Not a directory"));
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    }
}
