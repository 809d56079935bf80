//! A set of names with a small number each, built while compiling and found through a hash.
//!
//! It holds offsets rather than references: a static, position-independent program has nothing to relocate
//! here at start-up, and only the few pages that a look-up touches are ever read from disk.

/// Room for names; filling it up is an error while compiling, not while running.
const NAMES: usize = 768;
/// Room for the text of all names.
const TEXT: usize = 12 * 1024;
/// Slots of the hash table: a power of two above `NAMES`, half empty so that probes stay short.
const SLOTS: usize = 1024;
/// A slot without a name.
const EMPTY: u16 = u16::MAX;

/// Names and where each is found.
pub struct Table {
    text: [u8; TEXT],
    /// Name `i` is `text[ends[i]..ends[i + 1]]`.
    ends: [u16; NAMES + 1],
    slots: [u16; SLOTS],
    count: usize,
}

impl Table {
    /// A table without names.
    pub const fn new() -> Self {
        Self { text: [0; TEXT], ends: [0; NAMES + 1], slots: [EMPTY; SLOTS], count: 0 }
    }

    /// How many names there can be, which is the length a column of values needs.
    pub const fn capacity() -> usize {
        NAMES
    }

    /// Number of the name, which is added where it is new.
    pub const fn intern(&mut self, name: &[u8]) -> usize {
        let slot = self.slot(name);
        if self.slots[slot] != EMPTY {
            return self.slots[slot] as usize;
        }
        let number = self.count;
        let start = self.ends[number];
        let mut position = 0;
        while position < name.len() {
            self.text[start as usize + position] = name[position];
            position += 1;
        }
        // Both fit: the arrays above are indexed by them first, and are shorter than 65,536.
        self.ends[number + 1] = start + stored(name.len());
        self.slots[slot] = stored(number);
        self.count += 1;
        number
    }

    /// Number of the name.
    pub const fn find(&self, name: &[u8]) -> Option<usize> {
        match self.slots[self.slot(name)] {
            EMPTY => None,
            number => Some(number as usize),
        }
    }

    /// The slot that holds the name, or the empty one where it would go.
    const fn slot(&self, name: &[u8]) -> usize {
        let mut slot = hash(name) as usize % SLOTS;
        while self.slots[slot] != EMPTY && !self.is(self.slots[slot] as usize, name) {
            slot = (slot + 1) % SLOTS;
        }
        slot
    }

    const fn is(&self, number: usize, name: &[u8]) -> bool {
        let start = self.ends[number] as usize;
        if self.ends[number + 1] as usize - start != name.len() {
            return false;
        }
        let mut position = 0;
        while position < name.len() {
            if self.text[start + position] != name[position] {
                return false;
            }
            position += 1;
        }
        true
    }
}

/// FNV-1a, folded so that the low bits depend on every byte.
const fn hash(name: &[u8]) -> u32 {
    let mut hash: u32 = 0x811c_9dc5;
    let mut position = 0;
    while position < name.len() {
        hash = (hash ^ name[position] as u32).wrapping_mul(0x0100_0193);
        position += 1;
    }
    hash ^ (hash >> 15)
}

/// A length or number as it is stored.
const fn stored(value: usize) -> u16 {
    assert!(value < EMPTY as usize);
    let bytes = value.to_le_bytes();
    u16::from_le_bytes([bytes[0], bytes[1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_number_and_strangers_have_none() {
        const TABLE: Table = {
            let mut table = Table::new();
            table.intern(b"read");
            table.intern(b"write");
            table.intern(b"read");
            table
        };
        assert_eq!(TABLE.find(b"read"), Some(0));
        assert_eq!(TABLE.find(b"write"), Some(1));
        assert_eq!(TABLE.count, 2);
        for stranger in [&b""[..], b"rea", b"readv", b"writ", b"readwrite"] {
            assert_eq!(TABLE.find(stranger), None);
        }
    }

    #[test]
    fn a_table_as_full_as_it_gets_still_finds_everything() {
        let mut table = Table::new();
        for number in 0..NAMES {
            assert_eq!(table.intern(format!("call{number}").as_bytes()), number);
        }
        for number in 0..NAMES {
            assert_eq!(table.find(format!("call{number}").as_bytes()), Some(number));
        }
        assert_eq!(table.find(b"call768"), None);
    }
}
