//! A connection that is carried: two sockets and two pipes, through which bytes go by splice(2) without being copied.
//!
//! Both sockets are watched for edges alone, so each turn goes on until neither takes nor gives anything more, or until it
//! was long enough. An end of one side becomes the end of the other's writing, behind all that was on its way; what breaks
//! on one side breaks on the other.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_keepalive, set_socket_linger, set_tcp_nodelay, socket_error};
use rustix::net::{
    AddressFamily, Shutdown, SocketFlags, SocketType, accept_with, ipproto, shutdown, socket_with,
};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use super::Way;
use crate::port::syntax::Protocol;

/// How many descriptors a connection has.
pub const DESCRIPTORS: usize = 6;
/// How much is moved at once, and held at most: what a wide pipe holds.
const CHUNK: usize = 1 << 20;
/// How often something is moved in one turn.
const TURN: usize = 8;
/// What has carried so much goes on through a wide pipe, which takes a fifth of the processor's time away. Not from the
/// beginning: what pipes may hold is counted for each user (pipe-user-pages-soft of pipe(7)).
const MUCH: usize = 16 << 20;

/// What has come of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is nothing to do until the kernel says so.
    Waits,
    /// It could go on.
    HasMore,
    /// Both directions have ended, or one has failed.
    Over,
}

/// A connection with both its ends.
#[derive(Debug)]
pub struct Stream {
    client: OwnedFd,
    container: OwnedFd,
    protocol: Protocol,
    /// To the container and from it; None until that has answered.
    pipes: Option<[Direction; 2]>,
}

/// One direction.
#[derive(Debug)]
struct Direction {
    /// To read from, and to write to.
    pipe: (OwnedFd, OwnedFd),
    /// Bytes in it.
    held: usize,
    /// How much has gone through it, until it is wide.
    carried: usize,
    has_ended: bool,
    is_told: bool,
}

/// Takes a connection.
pub fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    rustix::io::retry_on_intr(|| accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK))
}

impl Stream {
    /// Begins a connection to where the way leads, for a client that has just come.
    pub fn begin(client: OwnedFd, way: Way, epoll: &OwnedFd, token: u64) -> Result<Stream, Errno> {
        let begun = (|| {
            let family = if way.to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let protocol = if way.protocol == Protocol::Sctp { ipproto::SCTP } else { ipproto::TCP };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let container = socket_with(family, SocketType::STREAM, flags, Some(protocol))?;
            for end in [&client, &container] {
                set_socket_keepalive(end, true)?;
                if way.protocol == Protocol::Tcp {
                    // What comes in small pieces goes on in them.
                    set_tcp_nodelay(end, true)?;
                }
            }
            match rustix::net::connect(&container, &way.to) {
                Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
            let edges = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(epoll, &container, EventData::new_u64(token), edges)?;
            epoll::add(epoll, &client, EventData::new_u64(token), edges)?;
            Ok(container)
        })();
        match begun {
            Ok(container) => Ok(Stream { client, container, protocol: way.protocol, pipes: None }),
            Err(errno) => {
                abort(&client);
                Err(errno)
            }
        }
    }

    /// Carries what there is.
    pub fn carry(&mut self) -> Progress {
        match self.try_to_carry() {
            Ok(progress) => progress,
            Err(_) => {
                abort(&self.client);
                abort(&self.container);
                Progress::Over
            }
        }
    }

    fn try_to_carry(&mut self) -> Result<Progress, Errno> {
        if self.pipes.is_none() {
            socket_error(&self.container)??;
            match rustix::net::getpeername(&self.container) {
                Ok(_) => {}
                Err(Errno::NOTCONN) => return Ok(Progress::Waits),
                Err(errno) => return Err(errno),
            }
        }
        let pipes = match &mut self.pipes {
            Some(pipes) => pipes,
            none => none.insert([Direction::new()?, Direction::new()?]),
        };
        let [there, back] = pipes;
        let mut has_more = there.carry(&self.client, &self.container, self.protocol)?;
        has_more |= back.carry(&self.container, &self.client, self.protocol)?;
        Ok(match (there.is_told && back.is_told, has_more) {
            (true, _) => Progress::Over,
            (false, true) => Progress::HasMore,
            (false, false) => Progress::Waits,
        })
    }
}

impl Direction {
    fn new() -> Result<Direction, Errno> {
        let pipe = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Direction { pipe, held: 0, carried: 0, has_ended: false, is_told: false })
    }

    fn count(&mut self, count: usize) {
        if self.carried < MUCH {
            self.carried += count;
            if self.carried >= MUCH {
                // It goes on as it is where more is not allowed.
                let _ = fcntl_setpipe_size(&self.pipe.0, CHUNK);
            }
        }
    }

    /// Whether it could go on at once.
    fn carry(&mut self, from: &OwnedFd, to: &OwnedFd, protocol: Protocol) -> Result<bool, Errno> {
        for _ in 0..TURN {
            let before = (self.held, self.has_ended);
            let mut moved = false;
            if !self.has_ended && self.held < CHUNK {
                match moved_by(from, &self.pipe.1, CHUNK - self.held) {
                    Ok(0) => self.has_ended = true,
                    Ok(count) => {
                        self.held += count;
                        self.count(count);
                        moved = true;
                    }
                    Err(Errno::AGAIN) => {}
                    Err(errno) => return Err(errno),
                }
            }
            if self.held > 0 {
                match moved_by(&self.pipe.0, to, self.held) {
                    Ok(count) => {
                        self.held -= count.min(self.held);
                        moved |= count > 0;
                    }
                    Err(Errno::AGAIN) => {}
                    Err(errno) => return Err(errno),
                }
            }
            if self.has_ended && self.held == 0 && !self.is_told {
                self.is_told = true;
                match (protocol, shutdown(to, Shutdown::Write)) {
                    // An association of SCTP has no half.
                    (Protocol::Sctp, _) | (_, Ok(()) | Err(Errno::NOTCONN)) => {}
                    (_, Err(errno)) => return Err(errno),
                }
            }
            if !moved && before == (self.held, self.has_ended) {
                return Ok(false);
            }
        }
        Ok(!self.is_told)
    }
}

fn moved_by(from: &impl AsFd, to: &impl AsFd, count: usize) -> Result<usize, Errno> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    rustix::io::retry_on_intr(|| splice(from, None, to, None, count, flags))
}

/// Its other side is to see that this is no proper end.
fn abort(socket: &OwnedFd) {
    let _ = set_socket_linger(socket, Some(Duration::ZERO));
}
