//! bpf(2) for one purpose: device programs on cgroups.
//!
//! Neither `nix` nor `rustix` has bpf(2), and the crates that have bring loaders and maps along. Linux's
//! uapi/linux/bpf.h is the reference for numbers and layouts.

use std::ffi::{CStr, c_int, c_long};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{Error, Result};

const PROG_LOAD: c_int = 5;
const PROG_ATTACH: c_int = 8;
const PROG_DETACH: c_int = 9;
const PROG_GET_FD_BY_ID: c_int = 13;
const PROG_QUERY: c_int = 16;

const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 1 << 1;
const REPLACE: u32 = 1 << 2;

/// No helper that asks for the GPL is called.
const LICENSE: &CStr = c"Apache-2.0";
/// Most programs the kernel lets stand on one cgroup (BPF_CGROUP_MAX_PROGS).
const MAX_PROGRAMS: usize = 64;

/// One eBPF instruction (`struct bpf_insn`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Destination in the low half, source in the high half.
    registers: u8,
    /// Signed offset of a load or a jump.
    pub offset: i16,
    /// Signed immediate.
    pub immediate: i32,
}

impl Instruction {
    /// An instruction on the registers `to` and `from` (0 to 10).
    pub const fn new(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Self {
        // Which half is which follows the byte order, as bit fields do in C.
        let registers = if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
        Self { code, registers, offset, immediate }
    }

    /// The destination register.
    pub const fn to(self) -> u8 {
        if cfg!(target_endian = "little") { self.registers & 0xf } else { self.registers >> 4 }
    }

    /// The source register.
    pub const fn from(self) -> u8 {
        if cfg!(target_endian = "little") { self.registers >> 4 } else { self.registers & 0xf }
    }
}

/// The part of `union bpf_attr` that BPF_PROG_LOAD reads.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// The part that BPF_PROG_ATTACH and BPF_PROG_DETACH read.
#[repr(C)]
#[derive(Default)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// The part that BPF_PROG_QUERY reads and writes.
///
/// Longer than what is used: kernels from 6.17 on write `revision` whatever size the caller names, which
/// would fall on whatever lies behind a shorter struct.
#[repr(C)]
#[derive(Default)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
    /// Room for what later kernels may write.
    reserved: [u64; 8],
}

/// The part that BPF_PROG_GET_FD_BY_ID reads.
#[repr(C)]
#[derive(Default)]
struct ById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// bpf(2).
///
/// # Safety
/// `T` must be laid out as `union bpf_attr` is for `command` and hold every field the kernel writes; what its
/// pointers name must live and be of the length it says until the call returns.
unsafe fn bpf<T>(command: c_int, attr: &mut T) -> c_long {
    // SAFETY: the caller vouches for the layout; the kernel reads no more than size_of::<T>().
    unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) }
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().unsigned_abs() // never negative
}

/// An address as the kernel's structs hold it.
fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

/// Takes over the descriptor that a bpf(2) call returned; bpf sets O_CLOEXEC itself.
fn own(fd: c_long, name: &'static str, args: impl FnOnce() -> String) -> Result<OwnedFd> {
    match c_int::try_from(fd) {
        // SAFETY: the kernel has just made this descriptor and nobody else knows it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(Error::last(name, args())),
    }
}

/// Loads a program of type BPF_PROG_TYPE_CGROUP_DEVICE.
///
/// # Errors
/// EPERM without CAP_BPF and CAP_NET_ADMIN (or CAP_SYS_ADMIN) in the first user namespace, EINVAL or EACCES
/// where the verifier refuses the program, E2BIG where it is too long.
pub fn load_cgroup_device(program: &[Instruction]) -> Result<OwnedFd> {
    let args = || format!("BPF_PROG_LOAD, {} instructions", program.len());
    let Ok(length) = u32::try_from(program.len()) else {
        return Err(Error::new("bpf", args(), libc::E2BIG));
    };
    let mut attr = Load {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: length,
        insns: address(program.as_ptr()),
        license: address(LICENSE.as_ptr()),
        ..Load::default()
    };
    attr.prog_name[..7].copy_from_slice(b"caisson");
    // The verifier gives up with EAGAIN where a signal waits; it asks to be called again.
    for _ in 0..4 {
        // SAFETY: Load is laid out as PROG_LOAD wants it; program and LICENSE outlive the call.
        let fd = unsafe { bpf(PROG_LOAD, &mut attr) };
        match own(fd, "bpf", args) {
            Err(error) if error.errno == libc::EAGAIN => {}
            done => return done,
        }
    }
    Err(Error::new("bpf", args(), libc::EAGAIN))
}

/// Attaches a device program to a cgroup beside those of others, in the place of `replaced` where given.
///
/// # Errors
/// EPERM without the privilege or where an ancestor's program forbids more, ENOENT where `replaced` is not
/// attached, E2BIG where 64 programs are.
pub fn attach(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replaced: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let mut attr = Attach {
        target_fd: raw(cgroup),
        attach_bpf_fd: raw(program),
        attach_type: CGROUP_DEVICE,
        attach_flags: ALLOW_MULTI | if replaced.is_some() { REPLACE } else { 0 },
        replace_bpf_fd: replaced.map_or(0, raw),
    };
    // SAFETY: Attach is laid out as PROG_ATTACH wants it and holds no pointer.
    match unsafe { bpf(PROG_ATTACH, &mut attr) } {
        0 => Ok(()),
        _ => Err(Error::last("bpf", "BPF_PROG_ATTACH, BPF_CGROUP_DEVICE")),
    }
}

/// Takes a device program off a cgroup.
///
/// # Errors
/// ENOENT where it is not attached, EPERM without the privilege.
pub fn detach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    let mut attr = Attach {
        target_fd: raw(cgroup),
        attach_bpf_fd: raw(program),
        attach_type: CGROUP_DEVICE,
        ..Attach::default()
    };
    // SAFETY: Attach is laid out as PROG_DETACH wants it and holds no pointer.
    match unsafe { bpf(PROG_DETACH, &mut attr) } {
        0 => Ok(()),
        _ => Err(Error::last("bpf", "BPF_PROG_DETACH, BPF_CGROUP_DEVICE")),
    }
}

/// Ids of the device programs attached to this very cgroup, not to its ancestors.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN, EINVAL on a kernel without cgroup programs.
pub fn query(cgroup: BorrowedFd<'_>) -> Result<Vec<u32>> {
    let mut ids = vec![0_u32; MAX_PROGRAMS];
    let mut attr = Query {
        target_fd: raw(cgroup),
        attach_type: CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr().expose_provenance() as u64,
        prog_cnt: 64,
        ..Query::default()
    };
    // SAFETY: Query is laid out as PROG_QUERY wants it, with all that is written; ids holds 64 numbers.
    match unsafe { bpf(PROG_QUERY, &mut attr) } {
        0 => {
            ids.truncate(attr.prog_cnt as usize);
            Ok(ids)
        }
        _ => Err(Error::last("bpf", "BPF_PROG_QUERY, BPF_CGROUP_DEVICE")),
    }
}

/// Opens a loaded program by its id.
///
/// # Errors
/// ENOENT where it is gone, EPERM without CAP_SYS_ADMIN.
pub fn program(id: u32) -> Result<OwnedFd> {
    let mut attr = ById { id, ..ById::default() };
    // SAFETY: ById is laid out as PROG_GET_FD_BY_ID wants it and holds no pointer.
    let fd = unsafe { bpf(PROG_GET_FD_BY_ID, &mut attr) };
    own(fd, "bpf", || format!("BPF_PROG_GET_FD_BY_ID, {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `r0 = 1; exit`.
    const ALLOW: [Instruction; 2] = [Instruction::new(0xb7, 0, 0, 0, 1), Instruction::new(0x95, 0, 0, 0, 0)];

    #[test]
    fn layouts_are_the_kernels() {
        assert_eq!(size_of::<Instruction>(), 8);
        assert_eq!(std::mem::offset_of!(Load, prog_name), 48);
        assert_eq!(std::mem::offset_of!(Attach, replace_bpf_fd), 16);
        assert_eq!(std::mem::offset_of!(Query, prog_ids), 16);
        assert_eq!(std::mem::offset_of!(Query, prog_cnt), 24);
        assert_eq!(std::mem::offset_of!(Query, revision), 56);
        let instruction = Instruction::new(0, 3, 9, 0, 0);
        assert_eq!((instruction.to(), instruction.from()), (3, 9));
    }

    #[test]
    fn the_verifier_takes_a_good_program_and_refuses_a_bad_one() {
        load_cgroup_device(&ALLOW).unwrap();
        // Answers outside 0 and 1 are not a device program's.
        let seven = [Instruction::new(0xb7, 0, 0, 0, 7), ALLOW[1]];
        assert_eq!(load_cgroup_device(&seven).unwrap_err().errno, libc::EINVAL);
        assert_eq!(load_cgroup_device(&[]).unwrap_err().errno, libc::E2BIG);
    }

    #[test]
    fn no_program_has_the_id_that_was_never_given() {
        assert_eq!(program(u32::MAX - 1).unwrap_err().errno, libc::ENOENT);
    }
}
