//! Netfilter by netlink (Documentation/userspace-api/netlink, linux/netfilter/nfnetlink.h): questions and changes, of which
//! `nf_tables`, `others` and `flows` know what they mean.
//!
//! The messages have few fields, and a crate for them (netlink-packet-netfilter) knows neither tables nor connections.

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use rustix::net::netlink::NETFILTER;

use super::attributes::Attributes;
use crate::error::{Context, Error, Result};
use crate::netlink::{HEADER, Socket};

/// `struct nfgenmsg`: family, version, resource.
const FIXED: usize = 4;
/// `NFNL_MSG_BATCH_BEGIN`, `…_END`.
const BEGIN: u16 = 0x10;
const END: u16 = 0x11;

/// What is asked of the kernel, or told it.
#[derive(Clone, Debug)]
pub struct Message {
    /// `NFNL_SUBSYS_…` in the upper byte, the message in the lower one.
    pub kind: u16,
    /// Of netlink(7), beside those that every one has.
    pub flags: u16,
    /// `NFPROTO_…`, `AF_…`.
    pub family: u8,
    /// What it is about.
    pub attributes: Attributes,
}

impl Message {
    /// Asks for one thing.
    #[must_use]
    pub fn one(kind: u16, family: u8, attributes: Attributes) -> Message {
        Message { kind, flags: NLM_F_ACK, family, attributes }
    }

    /// Asks for all that there is.
    #[must_use]
    pub fn all(kind: u16, family: u8, attributes: Attributes) -> Message {
        Message { kind, flags: NLM_F_DUMP, family, attributes }
    }

    fn encoded(&self) -> Result<Vec<u8>> {
        encoded(self.kind, self.flags, [self.family, 0, 0, 0], self.attributes.bytes())
    }
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
    pub fn ask(&mut self, question: &Message, mut take: impl FnMut(u8, &[u8])) -> Result<()> {
        let asked = self.0.ask(question.encoded().during(words)?, |_, payload| {
            take(payload.first().copied().unwrap_or_default(), payload.get(FIXED..).unwrap_or_default());
        });
        asked.during(words)
    }

    /// Has the kernel do all of these, or nothing, as one of its subsystems. `during` has the words for what is wrong with
    /// the message of an index, or with all.
    ///
    /// # Errors
    /// The first that is refused; the system's reason.
    pub fn transact(
        &mut self,
        subsystem: u16,
        messages: &[Message],
        during: impl Fn(Option<usize>) -> String,
    ) -> Result<()> {
        let [high, low] = subsystem.to_be_bytes();
        let bracket = |kind| encoded(kind, 0, [0, 0, high, low], &[]).during(|| during(None));
        let mut all = vec![bracket(BEGIN)?];
        for message in messages {
            all.push(message.encoded().during(|| during(None))?);
        }
        all.push(bracket(END)?);
        let done = self.0.transact(&mut all, messages.len());
        done.or_else(|(index, errno)| Err(errno).during(|| during(index.checked_sub(1))))
    }
}

fn words() -> String {
    "netfilter's netlink".to_owned()
}

/// A message without its number: `struct nlmsghdr`, `struct nfgenmsg`, attributes.
fn encoded(kind: u16, flags: u16, fixed: [u8; FIXED], attributes: &[u8]) -> Result<Vec<u8>> {
    let length = u32::try_from(HEADER + FIXED + attributes.len());
    let length = length.map_err(|_| Error::invalid("a message that is too long"))?;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(fixed);
    bytes.extend(attributes);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_header_with_what_is_asked_behind_it() {
        let bytes = encoded(0xa01, NLM_F_ACK, [1, 0, 0, 0], &[7; 4]).unwrap();
        assert_eq!((bytes[..4].to_vec(), bytes.len()), (24_u32.to_ne_bytes().to_vec(), 24));
        assert_eq!(bytes[4..6], 0xa01_u16.to_ne_bytes());
        assert_eq!(bytes[HEADER..], [1, 0, 0, 0, 7, 7, 7, 7]);
    }
}
