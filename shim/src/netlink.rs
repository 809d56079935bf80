//! Netlink (netlink(7)): a socket that asks the kernel one thing at a time, and how messages and attributes are told apart. What
//! is asked is `network::netlink`'s (devices, addresses, routes) and `firewall::netfilter`'s.
//!
//! A socket belongs to the network namespace that its thread was in when it was opened, whatever the thread does later.
//! Answers count only when they come from the kernel; what is cut off is passed over.

use std::os::fd::OwnedFd;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::set_socket_send_buffer_size_force;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

/// `struct nlmsghdr`, in bytes.
pub const HEADER: usize = 16;
/// Where the number of a request stands in it.
const NUMBER: std::ops::Range<usize> = 8..12;
/// Length and kind of an attribute.
const ATTRIBUTE: usize = 4;
/// Messages and attributes begin at multiples of this.
pub const ALIGNMENT: usize = 4;
/// Longest datagram that is read; the kernel's dumps stay below half of it.
const DATAGRAM: usize = 64 << 10;
/// How much a socket may always hold unsent (net.core.wmem_default is more), in bytes.
const SENDABLE: usize = 128 << 10;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// The kinds of attributes without the flags NLA_F_NESTED and NLA_F_NET_BYTEORDER.
const KIND: u16 = 0x3fff;

/// A socket.
#[derive(Debug)]
pub struct Socket {
    socket: OwnedFd,
    number: u32,
}

impl Socket {
    /// Opens one in the network namespace that this thread is in; without a protocol it is rtnetlink's, whose number is 0.
    ///
    /// # Errors
    /// The system's reason.
    pub fn open(protocol: Option<Protocol>) -> rustix::io::Result<Socket> {
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, protocol)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Socket { socket, number: 0 })
    }

    /// Sends a request, which gets its number here, and gives each message of the answer to `take`, its kind and what is
    /// behind the header, to the acknowledgement or the end of the list.
    ///
    /// # Errors
    /// The kernel's refusal; the system's reason.
    pub fn ask(&mut self, mut request: Vec<u8>, mut take: impl FnMut(u16, &[u8])) -> rustix::io::Result<()> {
        self.number = self.number.wrapping_add(1);
        request.get_mut(NUMBER).ok_or(Errno::INVAL)?.copy_from_slice(&self.number.to_ne_bytes());
        retry_on_intr(|| rustix::net::send(&self.socket, &request, SendFlags::empty()))?;
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let length = self.receive(&mut buffer)?;
            let mut rest = &buffer[..length];
            while let Some((kind, number, payload, behind)) = message(rest) {
                rest = behind;
                // What is left of a request that failed half-way is nobody's.
                if number != self.number {
                    continue;
                }
                match kind {
                    ERROR | DONE => return result(payload),
                    _ => take(kind, payload),
                }
            }
        }
    }

    /// Sends messages in one datagram, of which the kernel does all or none (nfnetlink's batches), and waits until that of
    /// this index, the only one that asks for it, is acknowledged.
    ///
    /// # Errors
    /// The index of the first that is refused, and why.
    pub fn transact(&mut self, messages: &mut [Vec<u8>], last: usize) -> Result<(), (usize, Errno)> {
        let size = messages.iter().map(Vec::len).sum::<usize>();
        if size > SENDABLE {
            set_socket_send_buffer_size_force(&self.socket, 2 * size).map_err(|errno| (0, errno))?;
        }
        let mut buffer = vec![0; DATAGRAM];
        loop {
            match self.try_to_transact(messages, last, &mut buffer) {
                // A signal has come, whichever, before it began (nfnetlink_rcv_batch).
                Err((0, Errno::INTR)) => {}
                done => return done,
            }
        }
    }

    fn try_to_transact(
        &mut self,
        messages: &mut [Vec<u8>],
        last: usize,
        buffer: &mut [u8],
    ) -> Result<(), (usize, Errno)> {
        let first = self.number.wrapping_add(1);
        for message in &mut *messages {
            self.number = self.number.wrapping_add(1);
            message.get_mut(NUMBER).ok_or((0, Errno::INVAL))?.copy_from_slice(&self.number.to_ne_bytes());
        }
        let all = messages.concat();
        retry_on_intr(|| rustix::net::send(&self.socket, &all, SendFlags::empty()))
            .map_err(|errno| (0, errno))?;
        loop {
            let received = self.receive(buffer).map_err(|errno| (0, errno))?;
            let mut rest = &buffer[..received];
            while let Some((kind, number, payload, behind)) = message(rest) {
                rest = behind;
                // What is left of a request before is nobody's.
                let index = usize::try_from(number.wrapping_sub(first)).unwrap_or(usize::MAX);
                if kind != ERROR || index >= messages.len() {
                    continue;
                }
                result(payload).map_err(|errno| (index, errno))?;
                if index == last {
                    return Ok(());
                }
            }
        }
    }

    /// The next datagram of the kernel's: its length.
    fn receive(&self, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        loop {
            let (length, _, sender) =
                retry_on_intr(|| rustix::net::recvfrom(&self.socket, &mut *buffer, RecvFlags::empty()))?;
            let sender = sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok());
            if sender.is_some_and(|sender| sender.pid() == 0) {
                return Ok(length);
            }
        }
    }
}

/// The first message: kind, number, payload, what is behind.
fn message(bytes: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let payload = bytes.get(HEADER..length)?;
    let behind = bytes.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    Some((u16_at(bytes, 4)?, u32_at(bytes, NUMBER.start)?, payload, behind))
}

/// `struct nlmsgerr`, or the end of a dump: the kernel's numbers are negative.
fn result(payload: &[u8]) -> rustix::io::Result<()> {
    match u32_at(payload, 0).map_or(0, u32::cast_signed) {
        0 => Ok(()),
        number => Err(Errno::from_raw_os_error(-number)),
    }
}

/// Attributes with their kinds.
#[must_use]
pub fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let (Some(length), Some(kind)) = (u16_at(bytes, 0), u16_at(bytes, 2)) {
        let length = usize::from(length);
        let Some(value) = bytes.get(ATTRIBUTE..length) else { break };
        found.push((kind & KIND, value));
        bytes = bytes.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    }
    found
}

/// The value of the first attribute of a kind.
#[must_use]
pub fn find(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).into_iter().find_map(|(kind, value)| (kind == wanted).then_some(value))
}

/// A number of the host's byte order.
#[must_use]
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_is_passed_over() {
        let mut bytes = Vec::new();
        bytes.extend(20_u32.to_ne_bytes());
        bytes.extend(ERROR.to_ne_bytes());
        bytes.extend([0; 2]);
        bytes.extend(7_u32.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend((-17_i32).to_ne_bytes());
        let (kind, number, payload, behind) = message(&bytes).unwrap();
        assert_eq!((kind, number, behind), (ERROR, 7, &[][..]));
        assert_eq!(result(payload), Err(Errno::EXIST));
        assert_eq!(result(&(-2_i32).to_ne_bytes()), Err(Errno::NOENT));
        assert_eq!((result(&[0; 4]), result(&[])), (Ok(()), Ok(())));
        for length in 0..bytes.len() {
            assert!(message(&bytes[..length]).is_none(), "{length}");
        }
        // Lengths that lie: nothing, or less than themselves.
        assert!(message(&[0; 16]).is_none() && attributes(&[0, 0, 1, 0, 9, 9]).is_empty());
        assert_eq!(attributes(&[5, 0, 1, 0x80, 9, 0, 0, 0, 4, 0, 2, 0]), [(1, &[9][..]), (2, &[][..])]);
    }
}
