//! What is in sets and maps, in bytes as the kernel has it.

use super::{GET_ELEMENT, of_tables};
use crate::error::{Context as _, Result};
use crate::firewall::attributes::{Attributes, number};
use crate::firewall::netfilter::{Message, Netfilter};
use crate::netlink::{attributes, find};

/// Attributes of an element (`NFTA_SET_ELEM_…`), of a list of them, and of data.
const KEY: u16 = 1;
const DATA: u16 = 2;
const FLAGS: u16 = 3;
const KEY_END: u16 = 10;
const LIST: u16 = 3;
const VALUE: u16 = 1;
/// `NFT_SET_ELEM_INTERVAL_END`.
const INTERVAL_END: u32 = 1;

/// An element.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Element {
    /// Of which set or map.
    pub set: &'static str,
    /// By what it is found; of a range, its first.
    pub key: Vec<u8>,
    /// Not so for an element before which a range ends that began at an earlier one, in a set with keys of one field. Of
    /// the same key it comes before one that begins: the kernel takes nothing within a range that is open.
    pub begins: bool,
    /// The last of a range, in a set with keys of several fields.
    pub last: Option<Vec<u8>>,
    /// What a map has for it.
    pub value: Option<Vec<u8>>,
}

impl Element {
    /// One that is no range.
    #[must_use]
    pub fn of(set: &'static str, key: Vec<u8>, value: Option<Vec<u8>>) -> Element {
        Element { set, key, begins: true, last: None, value }
    }

    /// Appends it to a list; what is deleted is known by its key.
    pub(super) fn write(&self, list: &mut Attributes, with_value: bool) {
        list.nested(1, |element| {
            if !self.begins {
                element.number(FLAGS, INTERVAL_END);
            }
            element.data(KEY, &self.key);
            if let Some(value) = self.value.as_ref().filter(|_| with_value) {
                element.data(DATA, value);
            }
            if let Some(last) = &self.last {
                element.data(KEY_END, last);
            }
        });
    }
}

/// What is in a set or map of a table.
///
/// # Errors
/// There is none of that name; the system's reason.
pub fn in_set(netfilter: &mut Netfilter, family: u8, table: &str, set: &'static str) -> Result<Vec<Element>> {
    let mut asked = Attributes::default();
    asked.text(1, table);
    asked.text(2, set);
    let mut found = Vec::new();
    let told = netfilter.ask(&Message::all(of_tables(GET_ELEMENT), family, asked), |_, answer| {
        let list = find(answer, LIST).unwrap_or_default();
        found.extend(attributes(list).into_iter().filter_map(|(_, element)| read(set, element)));
    });
    told.during(|| format!("nf_tables: table {table}: set {set}"))?;
    Ok(found)
}

fn read(set: &'static str, element: &[u8]) -> Option<Element> {
    let data = |kind| find(element, kind).and_then(|data| find(data, VALUE)).map(<[u8]>::to_vec);
    let flags = number(element, FLAGS).unwrap_or_default();
    Some(Element {
        set,
        key: data(KEY)?,
        begins: flags & INTERVAL_END == 0,
        last: data(KEY_END),
        value: data(DATA),
    })
}
