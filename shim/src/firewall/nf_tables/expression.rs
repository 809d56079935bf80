//! What a rule is made of: steps that load, compare, look up, and decide. A step that does not hold ends the rule.
//!
//! The kernel has 16 registers of four bytes. What is loaded begins at the first, one field behind the other: that is how keys
//! of several fields are.

use crate::firewall::attributes::Attributes;

/// `NFT_REG32_00`.
const FIRST: u32 = 8;
/// `NFT_REG_VERDICT`.
const VERDICT: u32 = 0;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug)]
pub enum Verdict {
    /// Nothing.
    Drop,
    /// It goes on.
    Accept,
    /// Another chain decides first.
    Jump(&'static str),
}

/// A step. Registers are counted from 0.
#[derive(Clone, Debug)]
pub enum Expression {
    /// Loads what the kernel knows of a packet (`NFT_META_…`).
    Meta(u32, u32),
    /// Loads what it knows of its connection (`NFT_CT_…`).
    Connection(u32, u32),
    /// Loads bytes of a header (`NFT_PAYLOAD_NETWORK_HEADER` 1, `…_TRANSPORT_HEADER` 2): base, offset, length.
    Payload(u32, u32, u32, u32),
    /// Loads of which kind the destination's address is (`NFT_FIB_RESULT_ADDRTYPE`).
    DestinationKind,
    /// Loads a value.
    Value(Vec<u8>, u32),
    /// Leaves these bits of the first register.
    Mask(u32),
    /// The first register has this, or, if false, something else.
    Is(bool, Vec<u8>),
    /// What was loaded is in this set, or, if false, it is not.
    In(bool, &'static str),
    /// What was loaded is in this map; its value is loaded in the place of it.
    Map(&'static str),
    /// The packet goes to the address that is loaded first, of this family, and the port in this register.
    DestinationNat(u8, u32),
    /// The packet leaves by the host's address.
    Masquerade,
    /// The rule's end.
    Verdict(Verdict),
}

impl Expression {
    fn name(&self) -> &'static str {
        match self {
            Expression::Meta(..) => "meta",
            Expression::Connection(..) => "ct",
            Expression::Payload(..) => "payload",
            Expression::DestinationKind => "fib",
            Expression::Value(..) | Expression::Verdict(_) => "immediate",
            Expression::Mask(_) => "bitwise",
            Expression::Is(..) => "cmp",
            Expression::In(..) | Expression::Map(_) => "lookup",
            Expression::DestinationNat(..) => "nat",
            Expression::Masquerade => "masq",
        }
    }

    /// Appends it to a rule's.
    pub(super) fn write(&self, list: &mut Attributes) {
        list.nested(1, |expression| {
            expression.text(1, self.name());
            expression.nested(2, |fields| self.write_fields(fields));
        });
    }

    fn write_fields(&self, fields: &mut Attributes) {
        match self {
            Expression::Meta(what, to) | Expression::Connection(what, to) => {
                fields.number(1, FIRST + to);
                fields.number(2, *what);
            }
            Expression::Payload(base, offset, length, to) => {
                fields.number(1, FIRST + to);
                fields.number(2, *base);
                fields.number(3, *offset);
                fields.number(4, *length);
            }
            Expression::DestinationKind => {
                fields.number(1, FIRST);
                // The kind, of the destination's.
                fields.number(2, 3);
                fields.number(3, 2);
            }
            Expression::Value(value, to) => {
                fields.number(1, FIRST + to);
                fields.data(2, value);
            }
            Expression::Mask(bits) => {
                fields.number(1, FIRST);
                fields.number(2, FIRST);
                fields.number(3, 4);
                fields.data(4, &bits.to_ne_bytes());
                fields.data(5, &[0; 4]);
            }
            Expression::Is(is_it, value) => {
                fields.number(1, FIRST);
                fields.number(2, u32::from(!is_it));
                fields.data(3, value);
            }
            Expression::In(is_in, set) => {
                fields.text(1, set);
                fields.number(2, FIRST);
                if !is_in {
                    fields.number(5, 1);
                }
            }
            Expression::Map(set) => {
                fields.text(1, set);
                fields.number(2, FIRST);
                fields.number(3, FIRST);
            }
            Expression::DestinationNat(family, port) => {
                // NFT_NAT_DNAT
                fields.number(1, 1);
                fields.number(2, u32::from(*family));
                fields.number(3, FIRST);
                fields.number(5, FIRST + port);
            }
            Expression::Masquerade => {}
            Expression::Verdict(verdict) => {
                fields.number(1, VERDICT);
                fields.nested(2, |data| {
                    data.nested(2, |words| match verdict {
                        Verdict::Drop => words.number(1, 0),
                        Verdict::Accept => words.number(1, 1),
                        Verdict::Jump(chain) => {
                            // NFT_JUMP
                            words.number(1, (-3_i32).cast_unsigned());
                            words.text(2, chain);
                        }
                    });
                });
            }
        }
    }
}
