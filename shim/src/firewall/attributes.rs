//! Attributes of netfilter's messages as they are sent and read: numbers have the network's byte order.

use crate::netlink::{ALIGNMENT, find};

/// Length and kind.
const HEADER: usize = 4;
/// `NLA_F_NESTED`.
pub const NESTED: u16 = 0x8000;

/// Attributes, one behind the other.
#[derive(Clone, Debug, Default)]
pub struct Attributes(Vec<u8>);

impl Attributes {
    /// As they are sent.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// A value that is some bytes.
    pub fn value(&mut self, kind: u16, value: &[u8]) {
        // A length of 0 is refused by the kernel; whoever has much divides it.
        let length = u16::try_from(HEADER + value.len()).unwrap_or_default();
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(ALIGNMENT), 0);
    }

    /// A number.
    pub fn number(&mut self, kind: u16, number: u32) {
        self.value(kind, &number.to_be_bytes());
    }

    /// A name.
    pub fn text(&mut self, kind: u16, text: &str) {
        self.value(kind, &[text.as_bytes(), b"\0"].concat());
    }

    /// Attributes in one.
    pub fn nested(&mut self, kind: u16, write: impl FnOnce(&mut Attributes)) {
        let mut inner = Attributes::default();
        write(&mut inner);
        self.value(kind | NESTED, &inner.0);
    }

    /// Data of an expression or an element (`NFTA_DATA_VALUE`).
    pub fn data(&mut self, kind: u16, data: &[u8]) {
        self.nested(kind, |value| value.value(1, data));
    }
}

/// The number that the first attribute of a kind is.
pub fn number(attributes: &[u8], kind: u16) -> Option<u32> {
    Some(u32::from_be_bytes(*find(attributes, kind)?.first_chunk::<4>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::attributes;

    #[test]
    fn what_is_written_is_read_again() {
        let mut all = Attributes::default();
        all.text(1, "abc");
        all.number(2, 0x0102_0304);
        all.nested(3, |inner| {
            inner.data(1, &[7; 5]);
            inner.nested(2, |_| {});
        });
        assert_eq!(all.bytes().len() % ALIGNMENT, 0);
        assert_eq!(find(all.bytes(), 1), Some(&b"abc\0"[..]));
        assert_eq!(find(all.bytes(), 2), Some(&[1, 2, 3, 4][..]));
        let inner = attributes(find(all.bytes(), 3).unwrap());
        assert_eq!(inner.len(), 2);
        assert_eq!((find(inner[0].1, 1), inner[1].1), (Some(&[7; 5][..]), &[][..]));
    }

    #[test]
    fn attributes_are_found_as_they_were_written() {
        let mut all = Attributes::default();
        all.value(1, b"caisson\0");
        all.value(2 | NESTED, b"abc");
        all.number(4, 7);
        let bytes = all.bytes();
        assert_eq!(bytes.len(), 12 + 8 + 8);
        assert_eq!((find(bytes, 1), find(bytes, 2)), (Some(&b"caisson\0"[..]), Some(&b"abc"[..])));
        assert_eq!((find(bytes, 3), find(&bytes[..10], 1), find(&[0; 4], 0)), (None, None, None));
        assert_eq!((number(bytes, 4), number(bytes, 2)), (Some(7), None));
    }

    #[test]
    fn what_is_too_long_is_no_attribute() {
        let mut all = Attributes::default();
        all.value(1, &vec![0; 70_000]);
        assert!(attributes(all.bytes()).is_empty());
    }
}
