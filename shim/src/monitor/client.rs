//! Who is connected to a monitor: what they said, and what they have not taken yet.
//!
//! Only processes of the same user are served. What a client says is read frame by frame with a cap; nonsense ends the
//! conversation, not the monitor. Whoever is attached and does not read has the container wait, as with Docker.

use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::net::sockopt::socket_peercred;
use sys::process::Clone;

use crate::stream::protocol::{Attach, Decoder, Frame};

/// How many are served at once.
const MOST: usize = 128;
/// From how many bytes on that a client has not taken the container waits.
const BACKLOG: usize = 64 << 10;
/// With so many bytes that it has not taken a client is given up: the container has ended and cannot be made to wait.
const LOST: usize = 8 << 20;
/// How much is read from a client at once.
const CHUNK: usize = 16 << 10;

/// One client.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    decoder: Decoder,
    /// What it has not taken, from `taken` on.
    pending: Vec<u8>,
    taken: usize,
    /// Which streams it gets.
    pub attach: Attach,
    /// It is told when the container has ended for good.
    pub waits: bool,
    /// It waits for the answer to its start.
    pub is_starter: bool,
    /// Nothing more is said to it, and nothing heard: it goes when it has taken everything.
    is_leaving: bool,
}

/// What came of listening to a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// These frames.
    Frames(Vec<Frame>),
    /// These, and then it was gone or talked nonsense.
    Last(Vec<Frame>),
}

impl Client {
    /// Does it take part in the container's streams?
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.attach.stdin || self.attach.stdout || self.attach.stderr
    }

    /// Serves a connected socket.
    #[must_use]
    pub fn new(socket: OwnedFd) -> Client {
        let _ = rustix::io::ioctl_fionbio(&socket, true);
        Client {
            socket,
            decoder: Decoder::default(),
            pending: Vec::new(),
            taken: 0,
            attach: Attach::default(),
            waits: false,
            is_starter: false,
            is_leaving: false,
        }
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// What to wait for. `takes_input` is false while the container's standard input is full.
    #[must_use]
    pub fn interest(&self, takes_input: bool) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, !self.is_leaving && (takes_input || !self.attach.stdin));
        flags.set(PollFlags::OUT, self.backlog() > 0);
        flags
    }

    /// Bytes that it has not taken.
    fn backlog(&self) -> usize {
        self.pending.len() - self.taken
    }

    /// Does it have the container wait?
    #[must_use]
    pub fn is_slow(&self) -> bool {
        !self.is_leaving && self.backlog() >= BACKLOG
    }

    /// Has it taken everything, with nothing more to come?
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_leaving && self.backlog() == 0
    }

    /// Reads what it says. A client that has gone leaves.
    pub fn hear(&mut self) -> Heard {
        let mut bytes = [0; CHUNK];
        let is_gone = match rustix::io::read(&self.socket, &mut bytes) {
            Ok(0) => true,
            Ok(count) => {
                self.decoder.push(&bytes[..count]);
                false
            }
            Err(Errno::AGAIN | Errno::INTR) => false,
            Err(_) => true,
        };
        let mut frames = Vec::new();
        let is_nonsense = loop {
            match self.decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        if is_gone || is_nonsense {
            self.give_up();
            return Heard::Last(frames);
        }
        Heard::Frames(frames)
    }

    /// Says something to it.
    pub fn say(&mut self, frame: &Frame) {
        self.say_bytes(&frame.encode());
    }

    /// Says a frame that is encoded already.
    pub fn say_bytes(&mut self, frame: &[u8]) {
        if self.is_leaving {
            return;
        }
        if self.backlog() + frame.len() > LOST {
            self.give_up();
            return;
        }
        if self.taken > 0 {
            self.pending.drain(..self.taken);
            self.taken = 0;
        }
        let rest = if self.pending.is_empty() { self.send(frame) } else { frame };
        self.pending.extend_from_slice(rest);
    }

    /// The last word: it goes when it has taken everything.
    pub fn leave(&mut self, last: &Frame) {
        self.say(last);
        self.is_leaving = true;
    }

    /// It gets nothing more.
    fn give_up(&mut self) {
        self.is_leaving = true;
        self.pending = Vec::new();
        self.taken = 0;
    }

    /// Gives it what it has not taken.
    pub fn flush(&mut self) {
        let (pending, taken) = (std::mem::take(&mut self.pending), std::mem::take(&mut self.taken));
        let left = self.send(&pending[taken..]).len();
        // What was a long backlog once is not kept in memory.
        if left > 0 {
            self.taken = pending.len() - left;
            self.pending = pending;
        }
    }

    /// Writes as much as it takes now; the rest. A client that has gone takes everything.
    fn send<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while !bytes.is_empty() {
            match rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::AGAIN) => return bytes,
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.is_leaving = true;
                    return &[];
                }
            }
        }
        bytes
    }
}

/// Takes a new connection, if one is there and of this user.
pub fn accept(listener: &UnixListener, served: usize) -> Option<Client> {
    let (stream, _) = match listener.accept() {
        Err(error) if error.kind() == ErrorKind::Interrupted => return None,
        accepted => accepted.ok()?,
    };
    (is_own(&stream) && served < MOST).then(|| Client::new(stream.into()))
}

fn is_own(stream: &UnixStream) -> bool {
    socket_peercred(stream).is_ok_and(|peer| peer.uid == rustix::process::geteuid())
}

/// Has clients take what is left for them when the monitor itself is done: a process of its own does nothing but that,
/// until they have or are gone. It holds nothing of the monitor's.
pub fn outlive(mut clients: Vec<Client>) {
    clients.iter_mut().for_each(Client::flush);
    clients.retain(|client| client.backlog() > 0);
    if clients.is_empty() {
        return;
    }
    if let Ok(Clone::Child) = sys::process::clone3(0, None) {
        let keep: Vec<i32> = clients.iter().map(|client| client.socket.as_raw_fd()).collect();
        let _ = sys::fd::close_all_except(&keep);
        while !clients.is_empty() {
            let mut waiting: Vec<PollFd> =
                clients.iter().map(|client| PollFd::new(&client.socket, PollFlags::OUT)).collect();
            let _ = poll(&mut waiting, None);
            drop(waiting);
            clients.iter_mut().for_each(Client::flush);
            clients.retain(|client| client.backlog() > 0);
        }
        sys::process::exit_now(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::protocol::Exit;
    use std::io::{Read as _, Write as _};

    fn pair() -> (Client, UnixStream) {
        let (one, other) = UnixStream::pair().unwrap();
        (Client::new(one.into()), other)
    }

    fn heard(bytes: &[u8]) -> Heard {
        let (mut client, mut other) = pair();
        other.write_all(bytes).unwrap();
        client.hear()
    }

    #[test]
    fn frames_are_heard_until_nonsense_ends_the_conversation() {
        let good = [Frame::Wait, Frame::Stdin(b"x".to_vec())];
        let mut bytes: Vec<u8> = good.iter().flat_map(Frame::encode).collect();
        assert_eq!(heard(&bytes), Heard::Frames(good.to_vec()));
        bytes.extend([2, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(heard(&bytes), Heard::Last(good.to_vec()), "a frame of 4 GiB");
        assert_eq!(heard(&[b'G'; 100]), Heard::Last(Vec::new()));
        let (mut client, other) = pair();
        assert_eq!(client.hear(), Heard::Frames(Vec::new()), "nothing yet");
        drop(other);
        assert_eq!(client.hear(), Heard::Last(Vec::new()));
        assert!(client.is_done());
    }

    #[test]
    fn another_users_process_is_not_served() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("left out: another user needs root");
            return;
        }
        let scratch = crate::store::scratch::Scratch::new();
        let path = scratch.join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        for path in [scratch.path(), &path] {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        }
        let mut own = UnixStream::connect(&path).unwrap();
        assert!(accept(&listener, MOST).is_none(), "there are too many");
        assert_eq!(own.read(&mut [0]).unwrap(), 0);
        let _own = UnixStream::connect(&path).unwrap();
        assert!(accept(&listener, 0).is_some());
        let others = std::thread::spawn(move || {
            // Of this thread alone.
            let nobody = rustix::thread::Uid::from_raw(65534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            UnixStream::connect(&path).unwrap()
        });
        let mut others = others.join().unwrap();
        assert!(accept(&listener, 0).is_none());
        assert_eq!(others.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn who_does_not_read_is_slow_and_gets_everything_in_the_end() {
        let (mut client, mut other) = pair();
        let chunk = Frame::Stdout(vec![b'x'; 10_000]);
        let mut said = Vec::new();
        while !client.is_slow() {
            client.say(&chunk);
            said.extend(chunk.encode());
        }
        let last = Frame::Exit(Exit { code: 3, ..Exit::default() });
        client.leave(&last);
        said.extend(last.encode());
        client.say(&chunk);
        assert!(!client.is_done() && !client.is_slow(), "it has nobody wait any more");
        let reader = std::thread::spawn(move || {
            let mut taken = Vec::new();
            other.read_to_end(&mut taken).unwrap();
            taken
        });
        while !client.is_done() {
            client.flush();
        }
        drop(client);
        assert!(reader.join().unwrap() == said, "every byte, in order");
    }

    #[test]
    fn who_never_reads_is_given_up_before_it_costs_much() {
        let (mut client, _other) = pair();
        let chunk = Frame::Stdout(vec![0; 60_000]).encode();
        let mut most = 0;
        for _ in 0..1000 {
            client.say_bytes(&chunk);
            most = most.max(client.backlog());
        }
        assert!(client.is_done() && most <= LOST && most > LOST / 2, "{most}");
    }

    #[test]
    fn nothing_is_heard_from_who_fills_the_standard_input() {
        let (mut client, _other) = pair();
        assert_eq!(client.interest(false), PollFlags::IN);
        client.attach.stdin = true;
        assert_eq!(client.interest(false), PollFlags::empty());
        assert_eq!(client.interest(true), PollFlags::IN);
    }
}
