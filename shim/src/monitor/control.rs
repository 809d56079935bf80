//! What keeper and worker say to each other: one message at a time over a pair of sockets (unix(7), SOCK_SEQPACKET).
//!
//! The worker gives the keeper whatever must not be closed when the worker is killed; the keeper tells the worker how
//! processes have ended whose parent was killed. Both ends trust each other: they are one program.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use crate::error::{Context, Error, Kind, Result};
use crate::monitor::streams::Streams;

/// Most descriptors of a message: standard input, output and errors.
const DESCRIPTORS: usize = 3;

/// What the worker says.
#[derive(Debug)]
pub enum Order {
    /// Keep these open in place of what you have.
    Hold(Option<Streams>),
    /// Standard input has ended: let go of it.
    EndStdin,
    /// The starter has its answer: let go of its connection.
    ForgetStarter,
}

/// A process that the keeper has waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reaped {
    /// Its number.
    pub pid: i32,
    /// How it ended: 0 to 255, 128 and the number for a signal.
    pub code: i32,
}

/// A connected pair; the first end is the keeper's.
///
/// # Errors
/// The system's reason.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).during(|| "socketpair".to_owned())
}

/// Tells the keeper; it does not matter if there is none any more.
pub fn order(socket: BorrowedFd<'_>, order: &Order) {
    let (word, descriptors) = match order {
        Order::Hold(None) => (b'n', Vec::new()),
        Order::Hold(Some(Streams::Terminal(master))) => (b't', vec![master.as_fd()]),
        Order::Hold(Some(Streams::Pipes { stdin, stdout, stderr })) => {
            let outputs = [stdout.as_fd(), stderr.as_fd()];
            (b'p', outputs.into_iter().chain(stdin.as_ref().map(AsFd::as_fd)).collect())
        }
        Order::EndStdin => (b'i', Vec::new()),
        Order::ForgetStarter => (b's', Vec::new()),
    };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    let _ = sendmsg(socket, &[IoSlice::new(&[word])], &mut control, SendFlags::NOSIGNAL);
}

/// The worker's next order, if it has given one.
///
/// # Errors
/// What is no order; the system's reason.
pub fn next_order(socket: BorrowedFd<'_>) -> Result<Option<Order>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut word = [0];
    let received = match recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut word)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    ) {
        Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
        received => received.during(|| "recvmsg".to_owned())?,
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            descriptors.extend(more);
        }
    }
    let count = descriptors.len();
    let wrong = || Error::new(Kind::System, format!("order {word:?} with {count} descriptors"));
    if received.bytes != 1 || received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(wrong());
    }
    let mut descriptors = descriptors.into_iter();
    let order = match (word[0], count, descriptors.next(), descriptors.next(), descriptors.next()) {
        (b'n', 0, ..) => Order::Hold(None),
        (b't', 1, Some(master), ..) => Order::Hold(Some(Streams::Terminal(master))),
        (b'p', _, Some(stdout), Some(stderr), stdin) => {
            Order::Hold(Some(Streams::Pipes { stdin, stdout, stderr }))
        }
        (b'i', 0, ..) => Order::EndStdin,
        (b's', 0, ..) => Order::ForgetStarter,
        _ => return Err(wrong()),
    };
    Ok(Some(order))
}

/// Tells the worker how a process ended.
pub fn tell(socket: BorrowedFd<'_>, reaped: Reaped) {
    let mut message = [0; 8];
    message[..4].copy_from_slice(&reaped.pid.to_ne_bytes());
    message[4..].copy_from_slice(&reaped.code.to_ne_bytes());
    let _ = rustix::net::send(socket, &message, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
}

/// What the keeper has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A process has ended.
    Ended(Reaped),
    /// Nothing more by now.
    Nothing,
    /// There is no keeper any more.
    Gone,
}

/// The keeper's next message.
pub fn next_told(socket: BorrowedFd<'_>) -> Told {
    let mut message = [0; 8];
    match rustix::net::recv(socket, &mut message, RecvFlags::DONTWAIT) {
        Ok((8, _)) => {
            let [a, b, c, d, e, f, g, h] = message;
            let (pid, code) = (i32::from_ne_bytes([a, b, c, d]), i32::from_ne_bytes([e, f, g, h]));
            Told::Ended(Reaped { pid, code })
        }
        Err(Errno::AGAIN | Errno::INTR) => Told::Nothing,
        _ => Told::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipes(with_stdin: bool) -> Streams {
        let (stdout, stdin) = rustix::pipe::pipe().unwrap();
        let (stderr, _) = rustix::pipe::pipe().unwrap();
        Streams::Pipes { stdin: with_stdin.then_some(stdin), stdout, stderr }
    }

    #[test]
    fn orders_and_their_descriptors_arrive() {
        let (keeper, worker) = pair().unwrap();
        let next = || next_order(keeper.as_fd()).unwrap();
        assert!(next().is_none());
        for with_stdin in [true, false] {
            order(worker.as_fd(), &Order::Hold(Some(pipes(with_stdin))));
            let Some(Order::Hold(Some(Streams::Pipes { stdin, stdout, .. }))) = next() else { panic!() };
            assert_eq!(stdin.is_some(), with_stdin);
            if let Some(stdin) = stdin {
                rustix::io::write(&stdin, b"x").unwrap();
                let mut byte = [0];
                assert_eq!((rustix::io::read(&stdout, &mut byte).unwrap(), byte), (1, *b"x"));
            }
        }
        order(worker.as_fd(), &Order::EndStdin);
        order(worker.as_fd(), &Order::Hold(None));
        assert!(matches!(next(), Some(Order::EndStdin)));
        assert!(matches!(next(), Some(Order::Hold(None))));
        drop(worker);
        assert!(next_order(keeper.as_fd()).is_err(), "nobody is there");
    }

    #[test]
    fn ends_of_processes_are_told_until_there_is_no_keeper() {
        let (keeper, worker) = pair().unwrap();
        assert_eq!(next_told(worker.as_fd()), Told::Nothing);
        let reaped = Reaped { pid: 4711, code: 137 };
        tell(keeper.as_fd(), reaped);
        assert_eq!(next_told(worker.as_fd()), Told::Ended(reaped));
        drop(keeper);
        assert_eq!(next_told(worker.as_fd()), Told::Gone);
    }
}
