//! Scheduling of the calling thread: sched_setattr(2), sched_setaffinity(2), ioprio_set(2).
//!
//! nix and rustix have no sched_setattr and no ioprio_set, and their CPU sets end at 1024 CPUs.

use crate::{Error, Result};

/// Policy and parameters for sched_setattr(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SchedAttr {
    /// `SCHED_OTHER` and so on (sched(7)).
    pub policy: u32,
    /// `SCHED_FLAG_…`.
    pub flags: u64,
    /// Nice value, for SCHED_OTHER and SCHED_BATCH.
    pub nice: i32,
    /// Static priority, for SCHED_FIFO and SCHED_RR.
    pub priority: u32,
    /// Nanoseconds, for SCHED_DEADLINE.
    pub runtime: u64,
    /// Nanoseconds, for SCHED_DEADLINE.
    pub deadline: u64,
    /// Nanoseconds, for SCHED_DEADLINE.
    pub period: u64,
}

/// `struct sched_attr` of <linux/sched/types.h>, as of Linux 5.3.
#[repr(C)]
struct Raw {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    /// Bounds of the utilisation: SCHED_FLAG_UTIL_CLAMP_… needs the fields to be there.
    util_min: u32,
    util_max: u32,
}

/// Size of `struct sched_attr` with the two bounds (SCHED_ATTR_SIZE_VER1).
const SIZE: u32 = 56;

const _: () = assert!(size_of::<Raw>() == SIZE as usize);

/// sched_setattr(2) on the calling thread.
///
/// # Errors
/// EPERM without CAP_SYS_NICE, EBUSY where SCHED_DEADLINE's admission control says no, EINVAL.
pub fn set_attr(attr: &SchedAttr) -> Result<()> {
    let SchedAttr { policy, flags, nice, priority, runtime, deadline, period } = *attr;
    let raw = Raw {
        size: SIZE,
        policy,
        flags,
        nice,
        priority,
        runtime,
        deadline,
        period,
        util_min: 0,
        util_max: 0,
    };
    // SAFETY: the pointer is to a live sched_attr whose `size` field holds its true size, which is all that
    // the kernel reads; flags must be zero; pid 0 is the calling thread.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const raw, 0u32) };
    if result == 0 { Ok(()) } else { Err(Error::last("sched_setattr", format!("policy {}", attr.policy))) }
}

/// sched_setaffinity(2) on the calling thread; bit `n % 64` of `cpus[n / 64]` is CPU n.
///
/// # Errors
/// EINVAL where none of the CPUs may be used by this thread.
pub fn set_affinity(cpus: &[u64]) -> Result<()> {
    let words = in_longs(cpus);
    // SAFETY: pointer and length in bytes are of one live slice, which the kernel only reads; pid 0 is the
    // calling thread.
    let result = unsafe {
        libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(words.as_slice()), words.as_ptr())
    };
    if result == 0 { Ok(()) } else { Err(Error::last("sched_setaffinity", "")) }
}

/// ioprio_set(2) on the calling thread (IOPRIO_WHO_PROCESS): class 1 to 3, level 0 to 7.
///
/// # Errors
/// EPERM for the real-time class without CAP_SYS_ADMIN or CAP_SYS_NICE, EINVAL.
pub fn set_io_priority(class: u16, level: u16) -> Result<()> {
    const WHO_PROCESS: i32 = 1;
    const CLASS_SHIFT: u32 = 13;
    let value = u32::from(class) << CLASS_SHIFT | u32::from(level);
    // SAFETY: the call takes three integers and no memory.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, value) };
    if result == 0 { Ok(()) } else { Err(Error::last("ioprio_set", format!("class {class}, level {level}"))) }
}

/// The kernel's bitmaps are arrays of its `unsigned long`, lowest bits first.
pub(crate) fn in_longs(bits: &[u64]) -> Vec<libc::c_ulong> {
    const LONG: u32 = libc::c_ulong::BITS;
    let parts = 64 / LONG;
    bits.iter()
        .flat_map(|word| (0..parts).map(move |part| word >> (part * LONG)))
        .map(|part| {
            // The cast keeps the low `unsigned long` of a word that was shifted for that.
            #[allow(clippy::cast_possible_truncation)]
            let long = part as libc::c_ulong;
            long
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_run_on_is_an_error() {
        let error = set_affinity(&[0]).unwrap_err();
        assert_eq!((error.call, error.errno), ("sched_setaffinity", libc::EINVAL));
    }

    #[test]
    fn a_policy_that_is_none_is_an_error() {
        let error = set_attr(&SchedAttr { policy: 99, ..SchedAttr::default() }).unwrap_err();
        assert_eq!(error.to_string(), "sched_setattr(policy 99): invalid argument (EINVAL)");
    }

    #[test]
    fn a_class_that_is_none_is_an_error() {
        let error = set_io_priority(7, 3).unwrap_err();
        assert_eq!(error.to_string(), "ioprio_set(class 7, level 3): invalid argument (EINVAL)");
    }

    #[test]
    fn bits_keep_their_number() {
        let longs = in_longs(&[1 << 63 | 1, 2]);
        let per_long = usize::try_from(libc::c_ulong::BITS).unwrap();
        let is_set = |bit: usize| longs[bit / per_long] >> (bit % per_long) & 1 == 1;
        let set: Vec<_> = (0..128).filter(|bit| is_set(*bit)).collect();
        assert_eq!(set, [0, 63, 65]);
    }
}
