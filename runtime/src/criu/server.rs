//! One conversation with `criu swrk`: a request, notifications that are answered, an answer.

use std::fs::File;
use std::io::{IoSliceMut, Read, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, Shutdown, SockFlag, SockType, recvmsg, shutdown, socketpair,
};
use rustix::fs::MemfdFlags;

use super::rpc::{self, Kind, Response};
use crate::bail;
use crate::container::poll;
use crate::error::{Call, Context, Error, Result};
use crate::signals::Signals;

/// More than any answer of CRIU's.
const LARGEST: usize = 64 * 1024;
/// How much of what CRIU prints an error shows, in bytes.
const SHOWN_BYTES: usize = 600;

/// Where CRIU is (criu.org/Action_scripts).
#[derive(Debug)]
pub struct Notice {
    /// `pre-dump`, `network-lock`, `post-restore`, …
    pub script: String,
    /// The tree's first process, where it is about one.
    pub pid: i32,
    /// What came along: a terminal's master, with `orphan-pts-master`.
    pub fds: Vec<OwnedFd>,
}

/// How CRIU is started.
#[derive(Debug)]
pub struct Manner<'a> {
    /// Its standard input: a terminal, where processes on the caller's are restored.
    pub stdin: Stdio,
    /// Descriptors that it gets under the numbers they have here.
    pub keep: &'a [BorrowedFd<'a>],
    /// Whether it leads a process group of its own, out of reach for what a terminal sends to ours.
    pub own_group: bool,
    /// Whether neither it nor what it restores gains privileges by execve(2).
    pub no_new_privileges: bool,
}

impl Default for Manner<'_> {
    fn default() -> Self {
        Self { stdin: Stdio::null(), keep: &[], own_group: true, no_new_privileges: false }
    }
}

/// A CRIU that serves one request. When the value goes, CRIU has ended.
#[derive(Debug)]
pub struct Server {
    child: Child,
    socket: OwnedFd,
    /// What it prints before it has a log file.
    printed: File,
    status: Option<ExitStatus>,
    /// Whether CRIU is told to end where the caller gives up; else it finishes or takes back what it does, as a dump
    /// has to: a CRIU that is killed leaves its own code in the dumped processes.
    expendable: bool,
    /// Whether a signal that asks the runtime to end ends the conversation.
    interruptible: bool,
}

impl Server {
    /// See [`super::Criu::start`].
    pub(super) fn start(program: &Path, manner: Manner<'_>) -> Result<Self> {
        let (socket, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .call("socketpair", || "SOCK_SEQPACKET")?;
        let printed = rustix::fs::memfd_create("criu", MemfdFlags::CLOEXEC).call("memfd_create", || "")?;
        let printed = File::from(printed);
        let copy = || printed.try_clone().call("dup", || "").map(Stdio::from);
        let mut command = Command::new(program);
        command.args(["swrk", &theirs.as_raw_fd().to_string()]);
        command.stdin(manner.stdin).stdout(copy()?).stderr(copy()?);
        if manner.own_group {
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
        }
        let numbers =
            manner.keep.iter().chain([&theirs.as_fd()]).map(AsRawFd::as_raw_fd).collect::<Vec<RawFd>>();
        sys::spawn::inherit_only(&mut command, numbers, manner.no_new_privileges);
        let child = command.spawn().call("execve", || format!("{program:?}"))?;
        Ok(Self { child, socket, printed, status: None, expendable: true, interruptible: true })
    }

    /// CRIU's process id.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Says whether CRIU may be killed where the caller gives up.
    pub fn set_expendable(&mut self, expendable: bool) {
        self.expendable = expendable;
    }

    /// Leaves signals to whoever reads them next: what was asked for is done but for the answer.
    pub fn hold_signals(&mut self) {
        self.interruptible = false;
    }

    /// Sends a request and waits for the answer, while `heed` is told what CRIU notifies; where it fails CRIU gives
    /// up too.
    ///
    /// # Errors
    /// CRIU's refusal; its end; a signal that asks the runtime to end; those of `heed`.
    pub fn ask(
        &mut self,
        request: &[u8],
        signals: &mut Signals,
        heed: &mut dyn FnMut(&mut Self, Notice, &mut Signals) -> Result<()>,
    ) -> Result<Response> {
        self.send(request)?;
        loop {
            let (response, fds) = self.receive(signals)?;
            if response.kind != Kind::Notify as i64 {
                return if response.success { Ok(response) } else { Err(refusal(&response)) };
            }
            if !response.success {
                return Err(refusal(&response));
            }
            let script = response.script;
            let step = format!("criu is at {script:?}");
            heed(self, Notice { script, pid: response.pid, fds }, signals).context(|| step)?;
            self.send(&rpc::go_on())?;
        }
    }

    /// Waits for CRIU's end.
    ///
    /// # Errors
    /// An exit status other than 0.
    pub fn end(mut self) -> Result<()> {
        let status = self.wait()?;
        if !status.success() {
            bail!("criu ended with {status}{}", self.shown());
        }
        Ok(())
    }

    /// The end of what CRIU has printed, quoted, on one line.
    fn shown(&mut self) -> String {
        let mut text = Vec::new();
        let read = self.printed.rewind().and_then(|()| (&self.printed).take(1 << 20).read_to_end(&mut text));
        let text = String::from_utf8_lossy(&text[text.len().saturating_sub(SHOWN_BYTES)..]);
        let text = text.trim();
        if read.is_err() || text.is_empty() { String::new() } else { format!(": {text:?}") }
    }

    fn send(&self, packet: &[u8]) -> Result<()> {
        match rustix::io::retry_on_intr(|| rustix::io::write(&self.socket, packet)) {
            // It has gone: what it has said before, and how it ended, is what counts.
            Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Ok(()),
            sent => match sent.call("write", || "to criu")? {
                length if length == packet.len() => Ok(()),
                length => bail!("write(to criu): only {length} of {} bytes were taken", packet.len()),
            },
        }
    }

    /// The next packet; its descriptors are close-on-exec.
    fn receive(&mut self, signals: &mut Signals) -> Result<(Response, Vec<OwnedFd>)> {
        loop {
            let mut fds = vec![PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            if self.interruptible {
                fds.push(PollFd::new(signals.as_fd(), PollFlags::POLLIN));
            }
            poll(&mut fds, None)?;
            if fds[0].any().unwrap_or(true) {
                break;
            }
            if let Some(signal) = signals.next_to_end()? {
                bail!("interrupted by {signal}");
            }
        }
        let mut packet = vec![0_u8; LARGEST];
        let mut space = nix::cmsg_space!([RawFd; 4]);
        let (length, fds) = {
            let mut data = [IoSliceMut::new(&mut packet)];
            let (number, flags) = (self.socket.as_raw_fd(), MsgFlags::MSG_CMSG_CLOEXEC);
            let message = match recvmsg::<()>(number, &mut data, Some(&mut space), flags) {
                // It has gone without reading everything; what it said before is still to be read.
                Err(Errno::ECONNRESET) => return self.receive(signals),
                message => message.call("recvmsg", || "from criu")?,
            };
            let mut fds = Vec::new();
            for control in message.cmsgs().call("recvmsg", || "from criu")? {
                if let ControlMessageOwned::ScmRights(numbers) = control {
                    fds.extend(numbers.into_iter().map(sys::fd::adopt));
                }
            }
            (message.bytes, fds)
        };
        if length == 0 {
            let status = self.wait()?;
            bail!("criu ended with {status} and without an answer{}", self.shown());
        }
        if length == LARGEST {
            bail!("criu sent more than {LARGEST} bytes at once");
        }
        Ok((Response::parse(&packet[..length])?, fds))
    }

    /// Lets CRIU end, which waits for that after its answer.
    fn wait(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        // ENOTCONN: it has gone already.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
        let status = self.child.wait().call("waitid", || "criu")?;
        self.status = Some(status);
        Ok(status)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.status.is_none() && self.expendable {
            let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
            let _ = self.child.kill();
        }
        let _ = self.wait();
    }
}

/// The error of a request that CRIU has refused.
fn refusal(response: &Response) -> Error {
    let why = match (response.message.as_str(), response.errno) {
        ("", 0) => String::new(),
        ("", errno) => format!(": {} ({})", sys::errno_text(errno), sys::errno_name(errno)),
        (message, _) => format!(": {:?}", message.trim()),
    };
    Error::other(format!("criu failed{why}"))
}
