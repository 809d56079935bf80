//! Attributes of nf_tables' messages as they are sent: numbers have the network's byte order.

use crate::netlink::ALIGNMENT;

/// Length and kind.
const HEADER: usize = 4;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{attributes, find};

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
    fn what_is_too_long_is_no_attribute() {
        let mut all = Attributes::default();
        all.value(1, &vec![0; 70_000]);
        assert!(attributes(all.bytes()).is_empty());
    }
}
