//! One interface file of a cgroup: opened below the folder, read or written, closed.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Opens a file of the folder `cgroup`; the name has no slash.
pub fn open(cgroup: BorrowedFd<'_>, name: &str, flags: OFlags) -> sys::Result<OwnedFd> {
    rustix::fs::openat(cgroup, name, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
        .map_err(|errno| failed("open", format!("{name:?}"), errno))
}

/// The whole text of a file.
pub fn read(cgroup: BorrowedFd<'_>, name: &str) -> sys::Result<String> {
    let file = open(cgroup, name, OFlags::RDONLY)?;
    read_all(&file).map_err(|errno| failed("read", format!("{name:?}"), errno))
}

/// The whole text of an open file from its beginning.
pub fn read_all(file: &OwnedFd) -> Result<String, Errno> {
    let mut text = Vec::new();
    let mut buffer = [0_u8; 1024];
    loop {
        match rustix::io::pread(file, &mut buffer, text.len() as u64) {
            Ok(0) => return Ok(String::from_utf8_lossy(&text).into_owned()),
            Ok(count) => text.extend_from_slice(&buffer[..count]),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Writes a value in one call, as the kernel wants it.
pub fn write(cgroup: BorrowedFd<'_>, name: &str, value: &str) -> sys::Result<()> {
    let file = open(cgroup, name, OFlags::WRONLY)?;
    loop {
        match rustix::io::write(&file, value.as_bytes()) {
            Ok(count) if count == value.len() => return Ok(()),
            Ok(_) => return Err(failed("write", format!("{name:?}, {value:?}"), Errno::IO)),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed("write", format!("{name:?}, {value:?}"), errno)),
        }
    }
}

/// An error of a call that rustix made.
pub fn failed(call: &'static str, args: impl Into<String>, errno: Errno) -> sys::Error {
    sys::Error::new(call, args, errno.raw_os_error())
}
