//! NUMA memory policy of the calling thread: set_mempolicy(2), which neither nix nor rustix has.

use crate::sched::in_longs;
use crate::{Error, Result};

/// set_mempolicy(2); `mode` with its MPOL_F flags, bit `n % 64` of `nodes[n / 64]` is node n.
///
/// # Errors
/// EINVAL for a mode this kernel does not know or nodes that this thread may not use, ENOSYS without NUMA.
pub fn set_mempolicy(mode: i32, nodes: &[u64]) -> Result<()> {
    let words = in_longs(nodes);
    // The kernel takes one off the number of bits that it is given.
    let (pointer, bits) = match words.len() {
        0 => (std::ptr::null(), 0),
        count => (words.as_ptr(), count * size_of_val(&words[0]) * 8 + 1),
    };
    // SAFETY: the kernel reads `bits - 1` bits, which are exactly those of `words`; it reads nothing where
    // the pointer is null.
    let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, pointer, bits) };
    if result == 0 { Ok(()) } else { Err(Error::last("set_mempolicy", format!("mode {mode:#x}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_takes_no_nodes_and_binding_needs_some() {
        set_mempolicy(libc::MPOL_DEFAULT, &[]).unwrap();
        assert_eq!(set_mempolicy(libc::MPOL_DEFAULT, &[1]).unwrap_err().errno, libc::EINVAL);
        let error = set_mempolicy(libc::MPOL_BIND, &[]).unwrap_err();
        assert_eq!(error.to_string(), "set_mempolicy(mode 0x2): invalid argument (EINVAL)");
    }
}
