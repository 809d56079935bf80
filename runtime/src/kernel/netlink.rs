//! Requests to the kernel's routing netlink and their answers.
//!
//! Every length is checked on the way out (a 16-bit one that overflowed let bytes of an attacker become
//! attributes: CVE-2021-43784) and on the way in. Answers count only when they come from the kernel and
//! carry the request's number: in a container's namespace its root may send to the socket too.
//! netlink(7), rtnetlink(7), Documentation/userspace-api/netlink/intro.rst.

use std::os::fd::{AsFd, OwnedFd};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use sys::netlink::Flag;

use crate::bail;
use crate::error::{Call, Context, Error, Result};

/// `struct nlmsghdr`: length, kind, flags, number, port.
const HEADER: usize = 16;
/// Messages and attributes start at multiples of this.
const ALIGNMENT: usize = 4;
/// Longest datagram that is read; the kernel's dumps stay below half of it.
const DATAGRAM: usize = 1 << 16;
/// How often a listing that changed while it was made is asked for again.
const LISTINGS: usize = 16;

const REQUEST: u16 = 0x01;
const ACK: u16 = 0x04;
/// NLM_F_DUMP: all objects, not one.
const DUMP: u16 = 0x300;
const DUMP_INTERRUPTED: u16 = 0x10;
const ACK_CAPPED: u16 = 0x100;
const ACK_ATTRIBUTES: u16 = 0x200;

// Kinds of answers.
const NOOP: u16 = 1;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// NLMSGERR_ATTR_MSG: the kernel's text on a refusal.
const REFUSAL_TEXT: u16 = 1;

/// A request under construction.
#[derive(Debug, Clone)]
pub struct Request {
    bytes: Vec<u8>,
    is_listing: bool,
    /// What it is, for errors: `RTM_GETLINK, "eth0"`.
    name: String,
}

impl Request {
    /// A request of one kind (`RTM_…`) with its fixed part and `NLM_F_…` flags beside those of every request.
    pub fn new(kind: u16, flags: u16, fixed: &[u8], name: String) -> Self {
        Self::build(kind, flags | REQUEST | ACK, fixed, name, false)
    }

    /// A request for all objects of a kind.
    pub fn listing(kind: u16, fixed: &[u8], name: String) -> Self {
        Self::build(kind, REQUEST | DUMP, fixed, name, true)
    }

    fn build(kind: u16, flags: u16, fixed: &[u8], name: String, is_listing: bool) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(fixed);
        pad(&mut bytes);
        Self { bytes, is_listing, name }
    }

    /// The same with one attribute more.
    ///
    /// # Errors
    /// The value is too long for an attribute.
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Result<Self> {
        let Ok(length) = u16::try_from(value.len() + ALIGNMENT) else {
            bail!("netlink({}): attribute {kind} of {} bytes is too long", self.name, value.len())
        };
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        pad(&mut self.bytes);
        Ok(self)
    }

    /// The same with an attribute that is text, closed by a NUL.
    ///
    /// # Errors
    /// As [`Request::attribute`].
    pub fn text(self, kind: u16, value: &str) -> Result<Self> {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    /// The bytes with length and number filled in.
    fn finish(&self, number: u32) -> Result<Vec<u8>> {
        let mut bytes = self.bytes.clone();
        let Ok(length) = u32::try_from(bytes.len()) else {
            bail!("netlink({}): {} bytes are too long", self.name, bytes.len())
        };
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes[8..12].copy_from_slice(&number.to_ne_bytes());
        Ok(bytes)
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
}

/// A socket to the routing netlink of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Socket {
    socket: OwnedFd,
    number: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// A socket of the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)
            .call("socket", || "AF_NETLINK, NETLINK_ROUTE")?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0)).call("bind", || "AF_NETLINK")?;
        for flag in [Flag::ExtendedAck, Flag::CappedAck, Flag::StrictCheck] {
            // A kernel without them answers more briefly, or lists more; both are read right.
            let _known = sys::netlink::switch_on(socket.as_fd(), flag);
        }
        Ok(Self { socket, number: 0, buffer: vec![0; DATAGRAM] })
    }

    /// Sends a request and waits for its end. What the kernel answers before that, kind by kind, are the
    /// messages that are returned, without their headers.
    ///
    /// # Errors
    /// The kernel's refusal with its text, an answer that is none.
    pub fn ask(&mut self, request: &Request) -> Result<Vec<Vec<u8>>> {
        for _ in 0..LISTINGS {
            let mut answer = Answer { number: self.send(request)?, ..Answer::default() };
            while !answer.is_complete {
                let length = self.receive(request)?;
                answer.read(&self.buffer[..length], request)?;
            }
            if !answer.is_interrupted {
                return Ok(answer.messages);
            }
        }
        bail!("netlink({}): the listing changed each time it was made", request.name)
    }

    fn send(&mut self, request: &Request) -> Result<u32> {
        self.number = self.number.wrapping_add(1);
        let bytes = request.finish(self.number)?;
        rustix::io::retry_on_intr(|| rustix::net::send(&self.socket, &bytes, SendFlags::empty()))
            .call("send", || format!("netlink, {}", request.name))?;
        Ok(self.number)
    }

    /// The next datagram of the kernel, in the buffer; its length.
    fn receive(&mut self, request: &Request) -> Result<usize> {
        loop {
            let (socket, buffer) = (&self.socket, &mut self.buffer);
            let received = rustix::io::retry_on_intr(|| {
                rustix::net::recvfrom(socket, &mut buffer[..], RecvFlags::TRUNC)
            });
            let (_, length, sender) = received.call("recvfrom", || format!("netlink, {}", request.name))?;
            let sender = sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok());
            if sender.is_none_or(|sender| sender.pid() != 0) {
                continue; // somebody else's
            }
            if length > self.buffer.len() {
                bail!("netlink({}): an answer of {length} bytes is too long", request.name);
            }
            return Ok(length);
        }
    }
}

/// What has come of an answer.
#[derive(Debug, Default)]
struct Answer {
    number: u32,
    messages: Vec<Vec<u8>>,
    is_complete: bool,
    is_interrupted: bool,
}

impl Answer {
    /// Takes the messages of one datagram.
    fn read(&mut self, mut datagram: &[u8], request: &Request) -> Result<()> {
        while !datagram.is_empty() && !self.is_complete {
            let length = u32_at(datagram, 0).and_then(|length| usize::try_from(length).ok());
            let (Some(length), Some(kind), Some(flags), Some(number)) =
                (length, u16_at(datagram, 4), u16_at(datagram, 6), u32_at(datagram, 8))
            else {
                bail!("netlink({}): a message was cut off", request.name)
            };
            let Some(payload) = datagram.get(HEADER..length) else {
                bail!("netlink({}): a message of {length} bytes in {}", request.name, datagram.len())
            };
            if number == self.number {
                self.is_interrupted |= flags & DUMP_INTERRUPTED != 0;
                self.take(kind, flags, payload, request)?;
            }
            datagram = datagram.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        }
        Ok(())
    }

    fn take(&mut self, kind: u16, flags: u16, payload: &[u8], request: &Request) -> Result<()> {
        match kind {
            NOOP => {}
            ERROR => {
                refusal(flags, payload, request)?;
                self.is_complete = !request.is_listing;
            }
            DONE => {
                // A listing can fail on the way; its end says so.
                let errno = i32_at(payload, 0).unwrap_or(0);
                if errno != 0 {
                    return Err(failed(errno, request));
                }
                self.is_complete = true;
            }
            _ => self.messages.push(payload.to_vec()),
        }
        Ok(())
    }
}

/// `struct nlmsgerr`: an errno or 0, the request or its header, attributes.
fn refusal(flags: u16, payload: &[u8], request: &Request) -> Result<()> {
    let Some(errno) = i32_at(payload, 0) else {
        bail!("netlink({}): an acknowledgement without a result", request.name)
    };
    if errno == 0 {
        return Ok(());
    }
    let error = failed(errno, request);
    if flags & ACK_ATTRIBUTES == 0 {
        return Err(error);
    }
    let quoted = u32_at(payload, 4).and_then(|length| usize::try_from(length).ok()).unwrap_or(HEADER);
    let quoted = if flags & ACK_CAPPED != 0 { HEADER } else { quoted.next_multiple_of(ALIGNMENT) };
    let start = quoted.saturating_add(4);
    let text = attributes(payload.get(start..).unwrap_or_default())
        .find(|(kind, _)| *kind == REFUSAL_TEXT)
        .map(|(_, value)| text(value));
    match text {
        Some(text) => Err(error).context(|| format!("{text:?}")),
        None => Err(error),
    }
}

/// The kernel's results are negative.
fn failed(errno: i32, request: &Request) -> Error {
    sys::Error::new("netlink", request.name.clone(), errno.saturating_neg()).into()
}

/// The attributes in `bytes`: kind and value. They end where a length does not fit.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    /// Without NLA_F_NESTED and NLA_F_NET_BYTEORDER.
    const KIND: u16 = 0x3fff;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & KIND;
        let value = bytes.get(ALIGNMENT..length)?;
        bytes = bytes.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// A text without the NUL that closes it.
pub fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// Two bytes in the machine's order.
pub fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

/// Four bytes in the machine's order.
pub fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

/// The same with a sign.
pub fn i32_at(bytes: &[u8], offset: usize) -> Option<i32> {
    bytes.get(offset..)?.first_chunk().copied().map(i32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request::new(18, 0, &[0; 16], "RTM_GETLINK, \"x\"".to_owned())
    }

    fn message(kind: u16, flags: u16, number: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(HEADER + payload.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(number.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
        pad(&mut bytes);
        bytes
    }

    fn read(datagram: &[u8], request: &Request) -> (Result<()>, Answer) {
        let mut answer = Answer { number: 7, ..Answer::default() };
        (answer.read(datagram, request), answer)
    }

    #[test]
    fn lengths_are_those_of_the_bytes_and_values_are_padded() {
        let request = request().text(3, "eth0").unwrap().attribute(28, &[1, 2, 3, 4]).unwrap();
        let bytes = request.finish(9).unwrap();
        assert_eq!(bytes.len(), 16 + 16 + 12 + 8);
        assert_eq!(u32_at(&bytes, 0), Some(52));
        assert_eq!((u16_at(&bytes, 4), u16_at(&bytes, 6), u32_at(&bytes, 8)), (Some(18), Some(5), Some(9)));
        assert_eq!((u16_at(&bytes, 32), u16_at(&bytes, 34)), (Some(9), Some(3)));
        assert_eq!(&bytes[36..44], b"eth0\0\0\0\0");
        let values: Vec<_> = attributes(&bytes[32..]).collect();
        assert_eq!(values, [(3, &b"eth0\0"[..]), (28, &[1, 2, 3, 4][..])]);
    }

    /// CVE-2021-43784: a length that wraps round would make bytes of the value attributes of their own.
    #[test]
    fn a_value_that_overflows_the_length_is_refused() {
        let longest = vec![0; usize::from(u16::MAX) - 4];
        assert!(request().attribute(1, &longest).is_ok());
        for length in [longest.len() + 1, 65536, 65536 + 16, 1 << 17] {
            assert_eq!(
                request().attribute(1, &vec![0; length]).unwrap_err().to_string(),
                format!("netlink(RTM_GETLINK, \"x\"): attribute 1 of {length} bytes is too long")
            );
        }
    }

    #[test]
    fn attributes_end_where_a_length_does_not_fit() {
        let kinds = |bytes: &[u8]| attributes(bytes).map(|(kind, _)| kind).collect::<Vec<_>>();
        let good = [5, 0, 1, 0, 9, 0, 0, 0];
        assert_eq!(kinds(&good), [1]);
        assert_eq!(kinds(&good[..5]), [1], "padding may be missing at the end");
        for length in [0, 1, 3, 9, 255] {
            let mut bytes = good.to_vec();
            bytes.extend([length, 0, 2, 0, 1, 1, 1, 1]);
            assert_eq!(kinds(&bytes), [1], "{length}");
        }
        assert_eq!(kinds(&[4, 0, 1]), [0; 0]);
        assert_eq!(kinds(&[4, 0, 1, 0x80]), [1], "flags are no part of the kind");
    }

    #[test]
    fn an_answer_is_what_carries_the_number_of_the_request() {
        let mut datagram = message(16, 0, 6, b"old.");
        datagram.extend(message(16, 0, 7, b"mine"));
        datagram.extend(message(ERROR, 0, 6, &(-1i32).to_ne_bytes()));
        datagram.extend(message(ERROR, 0, 7, &[0; 20]));
        datagram.extend(message(16, 0, 7, b"late"));
        let (result, answer) = read(&datagram, &request());
        result.unwrap();
        assert!(answer.is_complete);
        assert_eq!(answer.messages, [b"mine"]);
    }

    #[test]
    fn a_listing_ends_with_done_and_notices_changes() {
        let request = Request::listing(18, &[0; 16], "RTM_GETLINK".to_owned());
        let (result, answer) = read(&message(16, DUMP_INTERRUPTED | 2, 7, b"link"), &request);
        result.unwrap();
        assert!(answer.is_interrupted && !answer.is_complete);
        let (result, answer) = read(&message(DONE, 2, 7, &0i32.to_ne_bytes()), &request);
        result.unwrap();
        assert!(answer.is_complete && !answer.is_interrupted);
        let (result, _) = read(&message(DONE, 2, 7, &(-12i32).to_ne_bytes()), &request);
        assert_eq!(result.unwrap_err().errno(), libc::ENOMEM);
    }

    #[test]
    fn a_refusal_comes_with_the_kernel_s_text() {
        let mut payload = (-22i32).to_ne_bytes().to_vec();
        payload.extend([0; 16]);
        payload.extend([14, 0, 1, 0]);
        payload.extend(b"immutable\0\0\0");
        let (result, _) = read(&message(ERROR, ACK_CAPPED | ACK_ATTRIBUTES, 7, &payload), &request());
        let error = result.unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"immutable\": netlink(RTM_GETLINK, \"x\"): invalid argument (EINVAL)"
        );
        assert_eq!(error.errno(), libc::EINVAL);
        // The same where the whole request is quoted before the attributes.
        let mut payload = (-22i32).to_ne_bytes().to_vec();
        payload.extend(message(18, 0, 7, b"16 bytes of it.."));
        payload.extend([14, 0, 1, 0]);
        payload.extend(b"immutable\0\0\0");
        let (result, _) = read(&message(ERROR, ACK_ATTRIBUTES, 7, &payload), &request());
        assert!(result.unwrap_err().to_string().starts_with("\"immutable\": "));
    }

    #[test]
    fn messages_that_do_not_fit_their_datagram_are_errors() {
        let whole = message(16, 0, 7, b"1234");
        for cut in 1..whole.len() {
            assert!(read(&whole[..cut], &request()).0.is_err(), "{cut}");
        }
        for length in [0u32, 15, 21, u32::MAX] {
            let mut bytes = whole.clone();
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert!(read(&bytes, &request()).0.is_err(), "{length}");
        }
        let (result, _) = read(&message(ERROR, 0, 7, &[0; 3]), &request());
        assert!(result.unwrap_err().to_string().contains("an acknowledgement without a result"));
        // Attributes that lie outside of the refusal leave it without a text.
        let mut payload = (-1i32).to_ne_bytes().to_vec();
        payload.extend(u32::MAX.to_ne_bytes());
        let (result, _) = read(&message(ERROR, ACK_ATTRIBUTES, 7, &payload), &request());
        assert_eq!(result.unwrap_err().errno(), libc::EPERM);
    }

    #[test]
    fn the_kernel_answers() {
        let mut socket = Socket::open().unwrap();
        let all = Request::listing(18, &[0; 16], "RTM_GETLINK".to_owned());
        let names: Vec<_> = socket
            .ask(&all)
            .unwrap()
            .iter()
            .filter_map(|link| {
                attributes(&link[16..]).find(|(kind, _)| *kind == 3).map(|(_, name)| text(name))
            })
            .collect();
        assert!(names.iter().any(|name| name == "lo"), "{names:?}");
        let one = Request::new(18, 0, &[0; 16], "RTM_GETLINK, \"no-such\"".to_owned());
        let error = socket.ask(&one.text(3, "no-such").unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "netlink(RTM_GETLINK, \"no-such\"): no such device (ENODEV)");
        assert_eq!(socket.ask(&all).unwrap().len(), names.len(), "the socket goes on after a refusal");
    }
}
