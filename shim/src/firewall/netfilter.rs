//! Questions to the kernel's netfilter by netlink (Documentation/userspace-api/netlink, linux/netfilter/nfnetlink.h): what
//! chains others have, and which connections are followed.
//!
//! The messages have few fields, and a crate for them (netlink-packet-netfilter) knows neither of the two.

use rustix::net::netlink::NETFILTER;

use crate::error::{Context, Error, Result};
use crate::netlink::{ALIGNMENT, HEADER, Socket};

/// `struct nfgenmsg`: family, version, resource.
const FIXED: usize = 4;
/// Length and kind of an attribute.
const ATTRIBUTE: usize = 4;

const REQUEST: u16 = 0x01;
const ACK: u16 = 0x04;
const DUMP: u16 = 0x300;

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
pub struct Netfilter(Socket);

impl Netfilter {
    /// Opens one.
    ///
    /// # Errors
    /// The system's reason.
    pub fn open() -> Result<Netfilter> {
        Socket::open(Some(NETFILTER)).map(Netfilter).during(words)
    }

    /// Asks, and gives each message of the answer to `take`: its family, and its attributes.
    ///
    /// # Errors
    /// The kernel's refusal; the system's reason.
    pub fn ask(&mut self, question: &Question, mut take: impl FnMut(u8, &[u8])) -> Result<()> {
        let asked = self.0.ask(encoded(question).during(words)?, |_, payload| {
            take(payload.first().copied().unwrap_or_default(), payload.get(FIXED..).unwrap_or_default());
        });
        asked.during(words)
    }
}

fn words() -> String {
    "netfilter's netlink".to_owned()
}

/// The message, without its number.
fn encoded(question: &Question) -> Result<Vec<u8>> {
    let length = HEADER + FIXED + question.attributes.len();
    let length = u32::try_from(length).map_err(|_| Error::invalid("a question that is too long"))?;
    let flags = REQUEST | if question.is_dump { DUMP } else { ACK };
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(question.kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([question.family, 0, 0, 0]);
    bytes.extend(&question.attributes);
    Ok(bytes)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::find;

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
    fn a_question_is_a_header_with_what_is_asked_behind_it() {
        let question = Question { kind: 0xa01, family: 1, attributes: vec![7; 4], is_dump: false };
        let bytes = encoded(&question).unwrap();
        assert_eq!((bytes[..4].to_vec(), bytes.len()), (24_u32.to_ne_bytes().to_vec(), 24));
        assert_eq!(bytes[4..6], 0xa01_u16.to_ne_bytes());
        assert_eq!(bytes[HEADER..], [1, 0, 0, 0, 7, 7, 7, 7]);
    }
}
