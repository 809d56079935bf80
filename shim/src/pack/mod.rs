//! Files into archives: the way back from `unpack`.
//!
//! Trees are walked by descriptors and no link is followed. What is the same on the disk is the same in the archive, to the
//! last byte: names are in order, times are whole seconds, and nothing of this moment or this machine gets in.

pub mod tar;
pub mod tree;
