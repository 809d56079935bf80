//! The architectures a profile may name (config-linux.md "Seccomp", `architectures`).

use super::calls::Column;

/// One architecture as seccomp(2) sees it.
#[derive(Debug)]
pub struct Arch {
    /// `SCMP_ARCH_…`.
    pub name: &'static str,
    /// `AUDIT_ARCH_…` of linux/audit.h, `seccomp_data.arch`.
    pub audit: u32,
    /// Numbers of its calls.
    pub calls: Column,
    /// Whether arguments count with 64 bits; 32-bit ABIs count with their low words.
    pub wide: bool,
    /// Order of the two words of an argument in `seccomp_data`.
    pub big_endian: bool,
    /// Whether socketcall(2) and ipc(2) reach the calls of sockets and System V IPC, too.
    pub multiplexed: bool,
}

/// Marks the numbers of x32, which shares x86_64's `AUDIT_ARCH_…` (`__X32_SYSCALL_BIT`).
pub const X32_BIT: u32 = 0x4000_0000;

impl Arch {
    /// The number that the first call of the architecture could have.
    pub fn base(&self) -> u32 {
        if matches!(self.calls, Column::X32) { X32_BIT } else { 0 }
    }

    /// The architecture of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        ARCHS.iter().find(|arch| arch.name == name)
    }

    /// The architecture this program is built for.
    pub fn native() -> &'static Self {
        &ARCHS[NATIVE]
    }
}

/// `__AUDIT_ARCH_64BIT` and `__AUDIT_ARCH_LE`.
const BITS_64: u32 = 0x8000_0000;
const LITTLE: u32 = 0x4000_0000;
/// `__AUDIT_ARCH_CONVENTION_MIPS64_N32`.
const N32: u32 = 0x2000_0000;

/// An architecture without multiplexers; `audit` holds width and byte order.
const fn arch(name: &'static str, audit: u32, calls: Column) -> Arch {
    let (wide, big_endian) = (audit & BITS_64 != 0, audit & LITTLE == 0);
    Arch { name, audit, calls, wide, big_endian, multiplexed: false }
}

const fn multiplexed(arch: Arch) -> Arch {
    Arch { multiplexed: true, ..arch }
}

/// An ABI of 32 bits on a machine of 64.
const fn narrow(arch: Arch) -> Arch {
    Arch { wide: false, ..arch }
}

/// Machine numbers are ELF's (`EM_…`), sorted by name.
pub static ARCHS: [Arch; 23] = LIST;

const LIST: [Arch; 23] = [
    arch("SCMP_ARCH_AARCH64", 183 | BITS_64 | LITTLE, Column::Aarch64),
    arch("SCMP_ARCH_ARM", 40 | LITTLE, Column::Arm),
    arch("SCMP_ARCH_LOONGARCH64", 258 | BITS_64 | LITTLE, Column::Loongarch64),
    multiplexed(arch("SCMP_ARCH_M68K", 4, Column::M68k)),
    multiplexed(arch("SCMP_ARCH_MIPS", 8, Column::Mips)),
    arch("SCMP_ARCH_MIPS64", 8 | BITS_64, Column::Mips64),
    narrow(arch("SCMP_ARCH_MIPS64N32", 8 | BITS_64 | N32, Column::MipsN32)),
    multiplexed(arch("SCMP_ARCH_MIPSEL", 8 | LITTLE, Column::Mips)),
    arch("SCMP_ARCH_MIPSEL64", 8 | BITS_64 | LITTLE, Column::Mips64),
    narrow(arch("SCMP_ARCH_MIPSEL64N32", 8 | BITS_64 | LITTLE | N32, Column::MipsN32)),
    arch("SCMP_ARCH_PARISC", 15, Column::Parisc),
    arch("SCMP_ARCH_PARISC64", 15 | BITS_64, Column::Parisc64),
    multiplexed(arch("SCMP_ARCH_PPC", 20, Column::Powerpc)),
    multiplexed(arch("SCMP_ARCH_PPC64", 21 | BITS_64, Column::Powerpc64)),
    multiplexed(arch("SCMP_ARCH_PPC64LE", 21 | BITS_64 | LITTLE, Column::Powerpc64)),
    arch("SCMP_ARCH_RISCV64", 243 | BITS_64 | LITTLE, Column::Riscv64),
    multiplexed(arch("SCMP_ARCH_S390", 22, Column::S390)),
    multiplexed(arch("SCMP_ARCH_S390X", 22 | BITS_64, Column::S390x)),
    // libseccomp's name without letters is the little-endian one, whose AUDIT_ARCH_SHEL has them.
    multiplexed(arch("SCMP_ARCH_SH", 42 | LITTLE, Column::Sh)),
    multiplexed(arch("SCMP_ARCH_SHEB", 42, Column::Sh)),
    // x32 runs on x86_64's entry point, so its `AUDIT_ARCH_…` is that one.
    narrow(arch("SCMP_ARCH_X32", 62 | BITS_64 | LITTLE, Column::X32)),
    multiplexed(arch("SCMP_ARCH_X86", 3 | LITTLE, Column::X86)),
    arch("SCMP_ARCH_X86_64", 62 | BITS_64 | LITTLE, Column::X86_64),
];

/// Position of the build target's architecture.
const NATIVE: usize = {
    let column = if cfg!(target_arch = "x86_64") {
        Column::X86_64
    } else if cfg!(target_arch = "aarch64") {
        Column::Aarch64
    } else if cfg!(target_arch = "riscv64") {
        Column::Riscv64
    } else if cfg!(target_arch = "loongarch64") {
        Column::Loongarch64
    } else if cfg!(target_arch = "powerpc64") {
        Column::Powerpc64
    } else if cfg!(target_arch = "s390x") {
        Column::S390x
    } else if cfg!(target_arch = "arm") {
        Column::Arm
    } else if cfg!(target_arch = "x86") {
        Column::X86
    } else {
        panic!("no system call table of the build target")
    };
    let mut position = 0;
    while LIST[position].calls as usize != column as usize
        || LIST[position].big_endian != cfg!(target_endian = "big")
    {
        position += 1;
    }
    position
};
