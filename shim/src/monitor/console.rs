//! Where the master of a container's terminal comes from: the runtime sends it to a socket (runc's `--console-socket`).

use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::error::{Context, Error, Kind, Result};

/// The socket's name in the state folder.
const NAME: &str = "console";

/// A socket that waits for a terminal; gone with the value.
#[derive(Debug)]
pub struct Console {
    listener: UnixListener,
    path: PathBuf,
    /// The path that the runtime is told.
    pub told: PathBuf,
}

impl Console {
    /// Listens in the state folder, whose descriptor `opened` is: by that every path is short enough (unix(7)).
    ///
    /// # Errors
    /// The system's reason.
    pub fn listen(folder: &Path, opened: BorrowedFd<'_>) -> Result<Console> {
        let path = folder.join(NAME);
        let words = || format!("listen at {path:?}");
        let _ = fs::remove_file(&path);
        // The runtime's own /proc/self is another one.
        let told = PathBuf::from(format!("/proc/{}/fd/{}/{NAME}", std::process::id(), opened.as_raw_fd()));
        let listener = UnixListener::bind(&told).during(words)?;
        listener.set_nonblocking(true).during(words)?;
        Ok(Console { listener, told, path })
    }

    /// The terminal's master, which does not block, if somebody has sent it.
    ///
    /// # Errors
    /// A message without one; the system's reason.
    pub fn receive(&self) -> Result<Option<OwnedFd>> {
        let words = || "console socket".to_owned();
        let stream = match self.listener.accept() {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(None),
            accepted => accepted.during(words)?.0,
        };
        // Who has connected sends it at once; a runtime that does not would be waited for in vain.
        stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).during(words)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut name = [0; 256];
        recvmsg(&stream, &mut [IoSliceMut::new(&mut name)], &mut control, RecvFlags::CMSG_CLOEXEC)
            .during(words)?;
        let mut received = None;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
                received = received.or(descriptors.next());
            }
        }
        let master = received.ok_or_else(|| Error::new(Kind::System, "no descriptor came")).during(words)?;
        rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK).during(words)?;
        Ok(Some(master))
    }
}

impl AsFd for Console {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_terminal_comes_by_a_path_of_any_length() {
        let scratch = Scratch::new();
        let folder = scratch.join(&"d".repeat(200));
        fs::create_dir(&folder).unwrap();
        let opened = fs::File::open(&folder).unwrap();
        let console = Console::listen(&folder, opened.as_fd()).unwrap();
        assert!(console.receive().unwrap().is_none());
        let stream = UnixStream::connect(&console.told).unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let sent = [opened.as_fd()];
        control.push(SendAncillaryMessage::ScmRights(&sent));
        let text = std::io::IoSlice::new(b"terminal");
        sendmsg(&stream, &[text], &mut control, SendFlags::empty()).unwrap();
        assert!(console.receive().unwrap().is_some());
        let silent = UnixStream::connect(&console.told).unwrap();
        drop(silent);
        assert!(console.receive().unwrap_err().to_string().contains("no descriptor"));
        drop(console);
        assert!(!folder.join(NAME).exists());
    }
}
