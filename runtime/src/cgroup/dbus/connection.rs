//! The socket: authentication, calls and answers, and waits that end.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use super::message::{self, Kind, Message, Method, PROLOGUE};
use super::value::Value;
use crate::bail;
use crate::container;
use crate::error::{Call, Context, Error, Result};
use crate::signals::Signals;

/// The first words, all at once: identity by the kernel's own word for us (EXTERNAL without a name, so that
/// a user namespace does not matter), then the beginning of messages. sd-bus says the same.
const HELLO: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";
/// No line of the authentication is as long.
const MAX_LINE: usize = 1024;
/// Signals that are kept while an answer is waited for; a manager that sends more is not waited for.
const MAX_KEPT: usize = 4096;

/// How long something is waited for, and what cuts it short.
#[derive(Debug)]
pub struct Wait<'s> {
    deadline: Instant,
    patience: Duration,
    signals: Option<&'s mut Signals>,
}

impl<'s> Wait<'s> {
    /// A wait that ends after `patience`, or with a signal that asks this process to end.
    pub fn new(patience: Duration, signals: Option<&'s mut Signals>) -> Self {
        Self { deadline: Instant::now() + patience, patience, signals }
    }

    /// Waits until the socket is ready.
    fn until(&mut self, socket: &OwnedFd, flags: PollFlags) -> Result<()> {
        loop {
            let mut fds = vec![PollFd::new(socket.as_fd(), flags)];
            fds.extend(self.signals.iter().map(|signals| PollFd::new(signals.as_fd(), PollFlags::POLLIN)));
            if !container::poll(&mut fds, Some(self.deadline))? {
                bail!("no answer within {} s", self.patience.as_secs_f32());
            }
            if fds[0].any().unwrap_or(false) {
                return Ok(());
            }
            drop(fds);
            if let Some(signals) = &mut self.signals
                && let Some(signal) = signals.next_to_end()?
            {
                bail!("interrupted by {signal}");
            }
        }
    }

    /// Sleeps a little, but not beyond the end; an error there.
    fn pause(&self) -> Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("no answer within {} s", self.patience.as_secs_f32());
        }
        std::thread::sleep(left.min(Duration::from_millis(20)));
        Ok(())
    }
}

/// A call that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The error's name, such as `org.freedesktop.systemd1.NoSuchUnit`.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// A connection to a bus or to one other program.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    /// What came in and is not yet a whole message.
    input: Vec<u8>,
    serial: u32,
    /// The signals that matter, by interface and name; the others are dropped as they come.
    listens: Option<(&'static str, &'static str)>,
    /// Answers and signals that came in while something else was waited for.
    kept: VecDeque<Message>,
}

impl Connection {
    /// Connects to the socket at `path` and says who we are.
    ///
    /// # Errors
    /// As connect(2); a server that does not take us.
    pub fn open(path: &str, wait: &mut Wait<'_>) -> Result<Self> {
        let step = || format!("connect to {path:?}");
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .call("socket", || "AF_UNIX, SOCK_STREAM")
            .context(step)?;
        let address = SocketAddrUnix::new(path).call("connect", || format!("{path:?}")).context(step)?;
        loop {
            match rustix::net::connect(&socket, &address) {
                // More callers are waiting there than its backlog holds.
                Err(Errno::AGAIN) => wait.pause().context(step)?,
                Err(Errno::INTR) => {}
                result => break result.call("connect", || format!("{path:?}"))?,
            }
        }
        Self::over(socket, wait).context(step)
    }

    /// A connection over a socket, which must not block.
    ///
    /// # Errors
    /// A server that does not take us.
    pub fn over(socket: OwnedFd, wait: &mut Wait<'_>) -> Result<Self> {
        let mut connection =
            Self { socket, input: Vec::new(), serial: 0, listens: None, kept: VecDeque::new() };
        connection.write(HELLO, wait)?;
        for expected in ["DATA", "OK"] {
            let line = connection.line(wait)?;
            let word = line.split(' ').next().unwrap_or_default();
            if word != expected {
                bail!("it does not take this user (it answered {line:?} to AUTH EXTERNAL)");
            }
        }
        Ok(connection)
    }

    /// Keeps signals of this interface and name from now on, for [`Self::signal`].
    pub fn listen(&mut self, interface: &'static str, member: &'static str) {
        self.listens = Some((interface, member));
    }

    /// Sends a call and gives the number that its answer will carry.
    ///
    /// # Errors
    /// Arguments that D-Bus cannot carry; the end of the connection or of the wait.
    pub fn send(&mut self, method: &Method<'_>, arguments: &[Value], wait: &mut Wait<'_>) -> Result<u32> {
        self.serial += 1;
        let bytes = method.call(self.serial, arguments)?;
        self.write(&bytes, wait)?;
        Ok(self.serial)
    }

    /// The answer to the call of this number; the inner error is the other side's refusal.
    ///
    /// # Errors
    /// The end of the connection or of the wait, and bytes that are no messages.
    pub fn answer(
        &mut self,
        serial: u32,
        wait: &mut Wait<'_>,
    ) -> Result<std::result::Result<Vec<Value>, Refused>> {
        let answers = |kind: &Kind| matches!(kind, Kind::Return(to) | Kind::Error(to, _) if *to == serial);
        let message = self.wait_for(wait, |message| Ok(answers(&message.kind)))?;
        let body = message.body()?;
        Ok(match message.kind {
            Kind::Error(_, name) => {
                let text = body.first().and_then(Value::as_text).unwrap_or_default().to_owned();
                Err(Refused { name, text })
            }
            _ => Ok(body),
        })
    }

    /// The body of the first signal that is listened to and for which `wanted` holds.
    ///
    /// # Errors
    /// As [`Self::answer`].
    pub fn signal(&mut self, wait: &mut Wait<'_>, wanted: impl Fn(&[Value]) -> bool) -> Result<Vec<Value>> {
        let message = self.wait_for(wait, |message| {
            Ok(message.kind == Kind::Signal && wanted(&message.body()?)) // only such are kept
        })?;
        message.body()
    }

    /// The first message, of those kept or of those to come, for which `wanted` holds.
    fn wait_for(
        &mut self,
        wait: &mut Wait<'_>,
        wanted: impl Fn(&Message) -> Result<bool>,
    ) -> Result<Message> {
        for position in 0..self.kept.len() {
            if wanted(&self.kept[position])?
                && let Some(message) = self.kept.remove(position)
            {
                return Ok(message);
            }
        }
        loop {
            let message = self.receive(wait)?;
            let matters = match message.kind {
                Kind::Return(_) | Kind::Error(..) => true,
                Kind::Signal => self.listens == Some((&message.interface, &message.member)),
                Kind::Other => false,
            };
            if !matters {
                continue;
            }
            if wanted(&message)? {
                return Ok(message);
            }
            if self.kept.len() >= MAX_KEPT {
                bail!("{MAX_KEPT} messages came over D-Bus, but not the one that is waited for");
            }
            self.kept.push_back(message);
        }
    }

    /// The next message.
    fn receive(&mut self, wait: &mut Wait<'_>) -> Result<Message> {
        self.fill(PROLOGUE, wait)?;
        let prologue = self.input.first_chunk::<PROLOGUE>().ok_or_else(|| Error::other("no prologue"))?;
        let length = message::length(prologue)?;
        self.fill(length, wait)?;
        let message = Message::parse(&self.input[..length]);
        self.input.drain(..length);
        message
    }

    /// One line of the authentication, without its end.
    fn line(&mut self, wait: &mut Wait<'_>) -> Result<String> {
        loop {
            if let Some(end) = self.input.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.input[..end]).into_owned();
                self.input.drain(..end + 2);
                return Ok(line);
            }
            if self.input.len() > MAX_LINE {
                bail!("what answers there does not speak D-Bus");
            }
            self.fill(self.input.len() + 1, wait)?;
        }
    }

    /// Reads until at least `length` bytes are there.
    fn fill(&mut self, length: usize, wait: &mut Wait<'_>) -> Result<()> {
        while self.input.len() < length {
            let mut buffer = [0_u8; 4096];
            match rustix::io::read(&self.socket, &mut buffer) {
                Ok(0) => bail!("the other side closed the connection"),
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(Errno::AGAIN) => wait.until(&self.socket, PollFlags::POLLIN)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).call("read", || "D-Bus"),
            }
        }
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8], wait: &mut Wait<'_>) -> Result<()> {
        while !bytes.is_empty() {
            // Not write(2): a connection that was closed is an error here and no signal.
            match rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::AGAIN) => wait.until(&self.socket, PollFlags::POLLOUT)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).call("send", || "D-Bus"),
            }
        }
        Ok(())
    }
}
