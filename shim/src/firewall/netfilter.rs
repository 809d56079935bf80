//! Questions to the kernel's netfilter by netlink (Documentation/userspace-api/netlink, linux/netfilter/nfnetlink.h),
//! where nft(8) would cost a process, or has no words for it: is our table there, and which connections are followed.
//!
//! The messages have few fields, and a crate for them (netlink-packet-netfilter) knows neither of the two. Answers count
//! only when they come from the kernel.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::error::{Context, Error, Result};

/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct nfgenmsg`: family, version, resource.
const FIXED: usize = 4;
/// Length and kind of an attribute.
const ATTRIBUTE: usize = 4;
/// Messages and attributes begin at multiples of this.
const ALIGNMENT: usize = 4;
/// Longest datagram that is read; the kernel's dumps stay below half of it.
const DATAGRAM: usize = 64 << 10;

const REQUEST: u16 = 0x01;
const ACK: u16 = 0x04;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// The kinds of attributes without the flags NLA_F_NESTED and NLA_F_NET_BYTEORDER.
const KIND: u16 = 0x3fff;

/// What is asked of the kernel: subsystem and message, family, attributes.
#[derive(Debug)]
pub struct Question {
    /// `NFNL_SUBSYS_…` in the upper byte, the message in the lower one.
    pub kind: u16,
    /// `NFPROTO_…`, `AF_…`.
    pub family: u8,
    /// As they are sent.
    pub attributes: Vec<u8>,
    /// All that there is, and not one.
    pub is_dump: bool,
}

/// A socket to netfilter in the network namespace in which it was opened.
#[derive(Debug)]
pub struct Netfilter {
    socket: OwnedFd,
    number: u32,
}

impl Netfilter {
    /// Opens one.
    ///
    /// # Errors
    /// The system's reason.
    pub fn open() -> Result<Netfilter> {
        let words = || "netfilter's netlink".to_owned();
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(NETFILTER),
        );
        let socket = socket.during(words)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0)).during(words)?;
        Ok(Netfilter { socket, number: 0 })
    }

    /// Asks, and gives each message of the answer to `take`: its family, and its attributes.
    ///
    /// # Errors
    /// The kernel's refusal; the system's reason.
    pub fn ask(&mut self, question: &Question, mut take: impl FnMut(u8, &[u8])) -> Result<()> {
        let words = || "netfilter's netlink".to_owned();
        self.number = self.number.wrapping_add(1);
        let bytes = encoded(question, self.number).during(words)?;
        rustix::io::retry_on_intr(|| rustix::net::send(&self.socket, &bytes, SendFlags::empty()))
            .during(words)?;
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let received = rustix::io::retry_on_intr(|| {
                rustix::net::recvfrom(&self.socket, &mut buffer[..], RecvFlags::empty())
            });
            let (length, _, sender) = received.during(words)?;
            let sender = sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok());
            if sender.is_none_or(|sender| sender.pid() != 0) {
                continue;
            }
            let mut rest = &buffer[..length];
            while let Some((kind, number, payload, behind)) = message(rest) {
                rest = behind;
                if number != self.number {
                    continue;
                }
                match kind {
                    ERROR | DONE => return result(payload).during(words),
                    _ => take(
                        payload.first().copied().unwrap_or_default(),
                        payload.get(FIXED..).unwrap_or_default(),
                    ),
                }
            }
        }
    }
}

fn encoded(question: &Question, number: u32) -> Result<Vec<u8>> {
    let length = HEADER + FIXED + question.attributes.len();
    let length = u32::try_from(length).map_err(|_| Error::invalid("a question that is too long"))?;
    let flags = REQUEST | if question.is_dump { DUMP } else { ACK };
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(question.kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(number.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend([question.family, 0, 0, 0]);
    bytes.extend(&question.attributes);
    Ok(bytes)
}

/// The first message: kind, number, payload, what is behind.
fn message(bytes: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let header = bytes.first_chunk::<HEADER>()?;
    let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
    let length = usize::try_from(length).ok()?;
    let payload = bytes.get(HEADER..length)?;
    let behind = bytes.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    let kind = u16::from_ne_bytes([header[4], header[5]]);
    let number = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
    Some((kind, number, payload, behind))
}

/// `struct nlmsgerr`, or the end of a dump: the kernel's numbers are negative.
fn result(payload: &[u8]) -> std::result::Result<(), Errno> {
    match payload.first_chunk::<4>().map(|bytes| i32::from_ne_bytes(*bytes)) {
        None | Some(0) => Ok(()),
        Some(number) => Err(Errno::from_raw_os_error(-number)),
    }
}

/// Appends an attribute.
///
/// # Errors
/// A value that is too long for one.
pub fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) -> Result<()> {
    let length =
        u16::try_from(ATTRIBUTE + value.len()).map_err(|_| Error::invalid("a name that is too long"))?;
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    Ok(())
}

/// The value of the first attribute of a kind.
#[must_use]
pub fn find(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let header = bytes.first_chunk::<ATTRIBUTE>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let value = bytes.get(ATTRIBUTE..length)?;
        if u16::from_ne_bytes([header[2], header[3]]) & KIND == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(ALIGNMENT)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_as_they_were_written() {
        let mut bytes = Vec::new();
        attribute(&mut bytes, 1, b"caisson\0").unwrap();
        attribute(&mut bytes, 2 | 0x8000, b"abc").unwrap();
        assert_eq!(bytes.len(), 12 + 8);
        assert_eq!((find(&bytes, 1), find(&bytes, 2)), (Some(&b"caisson\0"[..]), Some(&b"abc"[..])));
        assert_eq!((find(&bytes, 3), find(&bytes[..10], 1), find(&[0; 4], 0)), (None, None, None));
        assert!(attribute(&mut bytes, 1, &[0; 70_000]).is_err());
    }

    #[test]
    fn a_message_that_is_cut_off_is_none() {
        let question = Question { kind: 0xa01, family: 1, attributes: vec![7; 4], is_dump: false };
        let bytes = encoded(&question, 9).unwrap();
        let (kind, number, payload, behind) = message(&bytes).unwrap();
        assert_eq!((kind, number, payload, behind), (0xa01, 9, &[1, 0, 0, 0, 7, 7, 7, 7][..], &[][..]));
        assert!((0..bytes.len()).all(|length| message(&bytes[..length]).is_none()));
        assert_eq!(result(&(-2_i32).to_ne_bytes()), Err(Errno::NOENT));
        assert_eq!((result(&[0; 4]), result(&[])), (Ok(()), Ok(())));
    }
}
