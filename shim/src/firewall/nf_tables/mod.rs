//! The kernel's packet filter by netlink (linux/netfilter/nf_tables.h): tables with their chains, rules, sets and elements, in
//! one transaction, without a program of the host's.
//!
//! A [`Batch`] is what is to be changed, in order; the kernel takes all of it or nothing. No crate serves: those that there are
//! run nft(8), need its C library, or have a licence that this project cannot take.

mod elements;
mod expression;

use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE};

use super::attributes::Attributes;
use super::netfilter::{Message, Netfilter};
use crate::error::{Context as _, Kind, Result};

pub use elements::{Element, in_set};
pub use expression::{Expression, Verdict};

/// `NFPROTO_IPV4`, `NFPROTO_IPV6`, and `NFPROTO_INET` for both.
pub const IP: u8 = 2;
/// See [`IP`].
pub const IP6: u8 = 10;
/// See [`IP`].
pub const INET: u8 = 1;

/// Messages (`NFT_MSG_…`).
const NEW_TABLE: u8 = 0;
const GET_TABLE: u8 = 1;
const DELETE_TABLE: u8 = 2;
const NEW_CHAIN: u8 = 3;
const GET_CHAIN: u8 = 4;
const NEW_RULE: u8 = 6;
const NEW_SET: u8 = 9;
const NEW_ELEMENT: u8 = 12;
const GET_ELEMENT: u8 = 13;
const DELETE_ELEMENT: u8 = 14;
/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u16 = 10;
/// How many elements there are in a message at most: an attribute's length has 16 bits.
const ELEMENTS: usize = 256;

/// Where a chain is in a packet's way.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// What it may do: `filter`, `nat`.
    pub kind: &'static str,
    /// `NF_INET_…` (linux/netfilter.h).
    pub number: u32,
    /// Those with a lower one come first.
    pub priority: i32,
}

/// The hooks.
pub const PREROUTING: u32 = 0;
/// See [`PREROUTING`].
pub const FORWARD: u32 = 2;
/// See [`PREROUTING`].
pub const OUTPUT: u32 = 3;
/// See [`PREROUTING`].
pub const POSTROUTING: u32 = 4;

/// What a field of a key or of a value is: nft(8)'s number for it, by which it is told to people, and its length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A number of /etc/protocols.
    Protocol,
    /// A port.
    Port,
    /// A device's name.
    Device,
}

impl Type {
    const fn number(self) -> u32 {
        match self {
            Type::Ipv4 => 7,
            Type::Ipv6 => 8,
            Type::Protocol => 12,
            Type::Port => 13,
            Type::Device => 41,
        }
    }

    /// In a key, in bytes: fields begin at multiples of four.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Type::Ipv4 | Type::Protocol | Type::Port => 4,
            Type::Ipv6 | Type::Device => 16,
        }
    }
}

/// A set, or a map.
#[derive(Clone, Copy, Debug)]
pub struct Set {
    /// Its name.
    pub name: &'static str,
    /// The fields of its keys.
    pub key: &'static [Type],
    /// Those of its values; none for a set.
    pub value: &'static [Type],
    /// Keys are ranges.
    pub is_interval: bool,
}

impl Set {
    /// `NFT_SET_INTERVAL`, `NFT_SET_MAP`, `NFT_SET_CONCAT`.
    fn flags(&self) -> u32 {
        let mut flags = if self.value.is_empty() { 0 } else { 0x8 };
        if self.is_interval {
            flags |= if self.key.len() > 1 { 0x84 } else { 0x4 };
        }
        flags
    }
}

/// A change of one table.
#[derive(Clone, Debug)]
pub struct Batch {
    family: u8,
    table: String,
    messages: Vec<Message>,
    /// What each of them does, for errors.
    words: Vec<String>,
    sets: u32,
}

impl Batch {
    /// Nothing yet. A table's name has at most 31 bytes.
    #[must_use]
    pub fn of(family: u8, table: &str) -> Batch {
        Batch { family, table: table.to_owned(), messages: Vec::new(), words: Vec::new(), sets: 0 }
    }

    /// Is there nothing to do?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// What another one does is done behind it; both are of one table.
    pub fn append(&mut self, other: Batch) {
        self.messages.extend(other.messages);
        self.words.extend(other.words);
    }

    /// An empty table in the place of whatever is there.
    pub fn anew(&mut self) {
        // It has to be there to be deleted.
        for (kind, flags) in [(NEW_TABLE, NLM_F_CREATE), (DELETE_TABLE, 0), (NEW_TABLE, NLM_F_CREATE)] {
            let table = self.table.clone();
            self.push(format!("table {table}"), kind, flags, |attributes| {
                attributes.text(1, &table);
                if kind == NEW_TABLE {
                    attributes.number(2, 0);
                }
            });
        }
    }

    /// A set, empty.
    pub fn set(&mut self, set: &Set) {
        // Only this transaction knows it by this number.
        self.sets += 1;
        let (id, table) = (self.sets, self.table.clone());
        let types = |types: &[Type]| types.iter().fold(0, |all, kind| all << 6 | kind.number());
        let length = |types: &[Type]| u32::try_from(types.iter().map(|kind| kind.length()).sum::<usize>());
        let length = |types: &[Type]| length(types).unwrap_or_default();
        self.push(format!("set {}", set.name), NEW_SET, NLM_F_CREATE, |attributes| {
            attributes.text(1, &table);
            attributes.text(2, set.name);
            attributes.number(3, set.flags());
            attributes.number(4, types(set.key));
            attributes.number(5, length(set.key));
            if !set.value.is_empty() {
                attributes.number(6, types(set.value));
                attributes.number(7, length(set.value));
            }
            if set.is_interval && set.key.len() > 1 {
                attributes.nested(9, |description| {
                    description.nested(2, |fields| {
                        for field in set.key {
                            fields.nested(1, |one| one.number(1, length(&[*field])));
                        }
                    });
                });
            }
            attributes.number(10, id);
            if let [one] = set.key {
                // What nft keeps there for itself, to tell names from numbers (libnftnl's udata.h): the byte order of keys.
                let order = if *one == Type::Device { 1_u32 } else { 2 };
                attributes.value(13, &[&[0, 4][..], &order.to_ne_bytes()].concat());
            }
        });
    }

    /// A chain; without a hook it is gone to from others.
    pub fn chain(&mut self, name: &str, hook: Option<Hook>) {
        let table = self.table.clone();
        self.push(format!("chain {name}"), NEW_CHAIN, NLM_F_CREATE, |attributes| {
            attributes.text(1, &table);
            attributes.text(3, name);
            if let Some(hook) = hook {
                attributes.nested(4, |place| {
                    place.number(1, hook.number);
                    place.number(2, hook.priority.cast_unsigned());
                });
                // NF_ACCEPT
                attributes.number(5, 1);
                attributes.text(7, hook.kind);
            }
        });
    }

    /// A rule, behind those of its chain.
    pub fn rule(&mut self, chain: &str, expressions: &[Expression]) {
        let table = self.table.clone();
        self.push(format!("rule of {chain}"), NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, |attributes| {
            attributes.text(1, &table);
            attributes.text(2, chain);
            attributes.nested(4, |list| expressions.iter().for_each(|one| one.write(list)));
        });
    }

    /// Elements that are to be there.
    pub fn add<'a>(&mut self, elements: impl IntoIterator<Item = &'a Element>) {
        self.elements(NEW_ELEMENT, NLM_F_CREATE, elements);
    }

    /// Elements that are to be there no more; each has to be there.
    pub fn delete<'a>(&mut self, elements: impl IntoIterator<Item = &'a Element>) {
        self.elements(DELETE_ELEMENT, 0, elements);
    }

    fn elements<'a>(&mut self, kind: u8, flags: u16, elements: impl IntoIterator<Item = &'a Element>) {
        let all: Vec<&Element> = elements.into_iter().collect();
        let table = self.table.clone();
        for of_set in all.chunk_by(|one, next| one.set == next.set) {
            for part in of_set.chunks(ELEMENTS) {
                let Some(set) = part.first().map(|first| first.set) else { continue };
                self.push(format!("elements of {set}"), kind, flags, |attributes| {
                    attributes.text(1, &table);
                    attributes.text(2, set);
                    attributes
                        .nested(3, |list| part.iter().for_each(|one| one.write(list, kind == NEW_ELEMENT)));
                });
            }
        }
    }

    fn push(&mut self, words: String, kind: u8, flags: u16, write: impl FnOnce(&mut Attributes)) {
        let mut attributes = Attributes::default();
        write(&mut attributes);
        self.messages.push(Message { kind: of_tables(kind), flags, family: self.family, attributes });
        self.words.push(words);
    }

    /// Has the kernel do it, whole or not at all.
    ///
    /// # Errors
    /// What it will not have, and why.
    pub fn commit(mut self, netfilter: &mut Netfilter) -> Result<()> {
        // When the last one is acknowledged, all are done.
        if let Some(last) = self.messages.last_mut() {
            last.flags |= NLM_F_ACK;
        }
        netfilter.transact(SUBSYSTEM, &self.messages, |index| {
            let words = index.and_then(|index| self.words.get(index)).map_or("transaction", String::as_str);
            format!("nf_tables: table {}: {words}", self.table)
        })
    }
}

/// Is there a table of this name?
///
/// # Errors
/// The system's reason.
pub fn is_there(netfilter: &mut Netfilter, family: u8, table: &str) -> Result<bool> {
    let mut attributes = Attributes::default();
    attributes.text(1, table);
    let mut is_there = false;
    match netfilter.ask(&Message::one(of_tables(GET_TABLE), family, attributes), |_, _| is_there = true) {
        Ok(()) => Ok(is_there),
        Err(error) if error.kind() == Kind::NotFound => Ok(false),
        failed => failed.during(|| format!("nf_tables: table {table}")).map(|()| false),
    }
}

/// Asks for all chains of all tables.
#[must_use]
pub fn all_chains() -> Message {
    Message::all(of_tables(GET_CHAIN), 0, Attributes::default())
}

const fn of_tables(kind: u8) -> u16 {
    SUBSYSTEM << 8 | kind as u16
}
