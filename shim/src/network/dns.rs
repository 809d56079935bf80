//! Packets of the domain name system (RFC 1035), as far as a resolver needs them that answers from a table and passes on
//! what is not in it. Pure; nothing that comes in is trusted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Length of a packet's header.
const HEADER: usize = 12;
/// Longest name with its dots, and longest part of one (RFC 1035, 2.3.4).
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;
/// Longest answer in a datagram (RFC 1035, 4.2.1); what does not fit is left out, and said to be.
const DATAGRAM: usize = 512;
/// How long an answer of ours may be remembered, in seconds, as Docker's.
const LIFE: u32 = 600;
/// Of the first record's name: the question's, by a pointer to it.
const QUESTION: [u8; 2] = [0xc0, 0x0c];

/// Kinds of records.
pub const A: u16 = 1;
/// A name for an address.
pub const PTR: u16 = 12;
/// An address of IPv6.
pub const AAAA: u16 = 28;
const INTERNET: u16 = 1;

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is well, if only that there is nothing of this kind.
    Found = 0,
    /// Nobody could be asked.
    Failed = 2,
}

/// What somebody asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// His number for it.
    pub id: u16,
    /// In small letters, without the last dot.
    pub name: String,
    /// Which kind of records.
    pub kind: u16,
    /// The question as it came.
    question: Vec<u8>,
    /// Whether he wants more asked than us.
    recursion: u8,
}

impl Query {
    /// Reads a packet; None for what is no question of the internet's, or more than one.
    #[must_use]
    pub fn parse(packet: &[u8]) -> Option<Query> {
        let header = packet.get(..HEADER)?;
        let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        // A question, of the standard kind.
        if header[2] & 0xf8 != 0 || number(4) != 1 {
            return None;
        }
        let (mut at, mut name) = (HEADER, String::new());
        loop {
            let length = usize::from(*packet.get(at)?);
            let label = packet.get(at + 1..at + 1 + length)?;
            at += 1 + length;
            if length == 0 {
                break;
            }
            // Pointers have no business in a question.
            if length > LABEL_MAX || name.len() + length > NAME_MAX {
                return None;
            }
            if !name.is_empty() {
                name.push('.');
            }
            // Other bytes are in no name of ours; they are passed on as they came.
            name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        }
        let rest = packet.get(at..at + 4)?;
        let (kind, class) = (u16::from_be_bytes([rest[0], rest[1]]), u16::from_be_bytes([rest[2], rest[3]]));
        (class == INTERNET).then(|| Query {
            id: number(0),
            name,
            kind,
            question: packet[HEADER..at + 4].to_vec(),
            recursion: header[2] & 1,
        })
    }

    /// The address that a question for a name asks about (RFC 1035, 3.5; RFC 3596, 2.5).
    #[must_use]
    pub fn reverse(&self) -> Option<IpAddr> {
        if self.kind != PTR {
            return None;
        }
        if let Some(digits) = self.name.strip_suffix(".in-addr.arpa") {
            let parts: Vec<u8> = digits.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
            let [d, c, b, a] = parts[..].try_into().ok()?;
            return Some(Ipv4Addr::new(a, b, c, d).into());
        }
        let digits = self.name.strip_suffix(".ip6.arpa")?;
        let digit = |part: &str| u128::from_str_radix(part, 16).ok().filter(|_| part.len() == 1);
        let digits: Vec<u128> = digits.split('.').map(digit).collect::<Option<_>>()?;
        let number = digits.iter().rev().fold(0, |number, digit| number << 4 | digit);
        (digits.len() == 32).then(|| Ipv6Addr::from_bits(number).into())
    }

    /// The answer with these addresses, as far as they are of the kind that is asked for.
    #[must_use]
    pub fn addresses(&self, addresses: &[IpAddr], in_datagram: bool) -> Vec<u8> {
        let of_kind = addresses.iter().filter_map(|address| match (self.kind, address) {
            (A, IpAddr::V4(address)) => Some(address.octets().to_vec()),
            (AAAA, IpAddr::V6(address)) => Some(address.octets().to_vec()),
            _ => None,
        });
        self.records(of_kind, in_datagram)
    }

    /// The answer with this name.
    #[must_use]
    pub fn name(&self, name: &str, in_datagram: bool) -> Vec<u8> {
        let mut data = Vec::new();
        for label in name.split('.') {
            let label = &label.as_bytes()[..label.len().min(LABEL_MAX)];
            data.push(u8::try_from(label.len()).unwrap_or_default());
            data.extend(label);
        }
        data.push(0);
        self.records([data], in_datagram)
    }

    fn records(&self, all: impl IntoIterator<Item = Vec<u8>>, in_datagram: bool) -> Vec<u8> {
        let mut packet = self.empty(Outcome::Found);
        let (mut count, mut is_cut) = (0_u16, false);
        for data in all {
            let length = u16::try_from(data.len()).unwrap_or_default();
            if in_datagram && packet.len() + HEADER + data.len() > DATAGRAM {
                is_cut = true;
                break;
            }
            packet.extend(QUESTION);
            packet.extend(self.kind.to_be_bytes());
            packet.extend(INTERNET.to_be_bytes());
            packet.extend(LIFE.to_be_bytes());
            packet.extend(length.to_be_bytes());
            packet.extend(data);
            count += 1;
        }
        packet[6..8].copy_from_slice(&count.to_be_bytes());
        packet[2] |= u8::from(is_cut) << 1;
        packet
    }

    /// The answer without records.
    #[must_use]
    pub fn empty(&self, outcome: Outcome) -> Vec<u8> {
        let mut packet = self.id.to_be_bytes().to_vec();
        // An answer; recursion is available.
        packet.extend([0x80 | self.recursion, 0x80 | outcome as u8, 0, 1, 0, 0, 0, 0, 0, 0]);
        packet.extend(&self.question);
        packet
    }

    /// Is this packet an answer to it?
    #[must_use]
    pub fn is_answered_by(&self, packet: &[u8]) -> bool {
        let question = packet.get(HEADER..HEADER + self.question.len());
        packet.get(..2) == Some(&self.id.to_be_bytes())
            && packet.get(2).is_some_and(|flags| flags & 0x80 != 0)
            && question.is_none_or(|question| question.eq_ignore_ascii_case(&self.question))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A question as a client packs it.
    fn asked(name: &str, kind: u16) -> Vec<u8> {
        let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            packet.push(u8::try_from(label.len()).unwrap());
            packet.extend(label.as_bytes());
        }
        packet.push(0);
        packet.extend([kind.to_be_bytes(), INTERNET.to_be_bytes()].concat());
        packet
    }

    #[test]
    fn a_question_is_read_and_answered() {
        let packet = asked("Web.Mine", A);
        let query = Query::parse(&packet).unwrap();
        assert_eq!((query.id, query.name.as_str(), query.kind), (0x1234, "web.mine", A));
        let answer = query.addresses(&["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()], true);
        assert_eq!(answer[..12], [0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(answer[packet.len()..], [0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4, 10, 0, 0, 2]);
        assert!(query.is_answered_by(&answer) && !query.is_answered_by(&packet));
        assert!(!Query::parse(&asked("other", A)).unwrap().is_answered_by(&answer));
        let none = Query::parse(&asked("web", AAAA)).unwrap().addresses(&["10.0.0.2".parse().unwrap()], true);
        assert_eq!((none[3] & 0xf, none[7]), (0, 0), "there is one, and it has none of these");
        assert_eq!(query.empty(Outcome::Failed)[3], 0x82);
        let many: Vec<IpAddr> = (0..100).map(|last| IpAddr::from([10, 0, 0, last])).collect();
        let cut = query.addresses(&many, true);
        assert!(cut.len() <= DATAGRAM && cut[2] & 2 == 2);
        assert_eq!(query.addresses(&many, false)[7], 100);
    }

    #[test]
    fn an_address_may_be_asked_about() {
        let of = |name: &str| Query::parse(&asked(name, PTR)).unwrap().reverse();
        assert_eq!(of("2.0.30.172.in-addr.arpa"), Some("172.30.0.2".parse().unwrap()));
        let six = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
        assert_eq!(of(six), Some("fd00::2".parse().unwrap()));
        for name in ["1.2.3.in-addr.arpa", "300.0.0.1.in-addr.arpa", "x.ip6.arpa", "web"] {
            assert_eq!(of(name), None, "{name}");
        }
        let answer = Query::parse(&asked("2.0.30.172.in-addr.arpa", PTR)).unwrap().name("web.mine", true);
        assert!(answer.ends_with(b"\x00\x0a\x03web\x04mine\x00"), "{answer:?}");
    }

    #[test]
    fn what_is_no_question_is_none() {
        let good = asked("web", A);
        for length in 0..good.len() {
            assert_eq!(Query::parse(&good[..length]), None, "{length}");
        }
        let with = |at: usize, byte: u8| {
            let mut packet = good.clone();
            packet[at] = byte;
            Query::parse(&packet)
        };
        // An answer; an update; two questions; a pointer; another class.
        for (at, byte) in [(2, 0x80), (2, 0x28), (5, 2), (12, 0xc0), (good.len() - 1, 3)] {
            assert_eq!(with(at, byte), None, "{at}");
        }
        assert_eq!(Query::parse(&asked(&"a.".repeat(130), A)), None);
    }
}
