//! The tables of names: against libc's numbers for this machine, and what the crate's tables lack.

use super::calls::{Column, Name};
use super::*;

fn number(column: Column, name: &str) -> Option<u32> {
    Name::find(name).and_then(|call| call.number(column))
}

/// The native column against libc, whose numbers come from the kernel's headers by another way.
#[test]
#[cfg(target_arch = "x86_64")]
fn the_tables_agree_with_libc() {
    macro_rules! check {
        ($($name:ident)*) => {
            [$((stringify!($name).strip_prefix("SYS_").unwrap(), libc::$name),)*]
        };
    }
    let known = check!(SYS_read SYS_write SYS_rt_sigreturn SYS_ioctl SYS_clone SYS_execve SYS_ptrace
        SYS_arch_prctl SYS_mount SYS_umount2 SYS_openat SYS_newfstatat SYS_fadvise64 SYS_getrandom SYS_seccomp
        SYS_bpf SYS_statx SYS_io_uring_setup SYS_clone3 SYS_openat2 SYS_mount_setattr SYS_fchmodat2 SYS_mseal);
    for (name, expected) in known {
        assert_eq!(number(Column::X86_64, name).map(i64::from), Some(expected), "{name}");
    }
}

#[test]
fn numbers_differ_by_architecture() {
    for (column, name, expected) in [
        (Column::X32, "read", Some(0)),
        (Column::X32, "ioctl", Some(514)),
        (Column::X32, "pwritev2", Some(547)),
        (Column::X32, "uselib", None),
        (Column::X32, "fchmodat2", Some(452)),
        (Column::X86, "socketcall", Some(102)),
        (Column::X86, "break", Some(17)),
        (Column::X86, "socket", Some(359)),
        (Column::X86, "send", None),
        (Column::Arm, "set_tls", Some(0xf_0005)),
        (Column::Arm, "sync_file_range2", Some(341)),
        (Column::Arm, "ipc", None),
        (Column::Aarch64, "newfstatat", Some(79)),
        (Column::Aarch64, "clock_gettime64", None),
        (Column::Arm, "clock_gettime64", Some(403)),
        (Column::Loongarch64, "newfstatat", Some(79)),
        (Column::Riscv64, "newfstatat", Some(79)),
        (Column::Riscv64, "riscv_flush_icache", Some(259)),
        (Column::Mips, "read", Some(4003)),
        (Column::Mips, "unused18", None),
        (Column::Mips64, "read", Some(5000)),
        (Column::Mips64, "set_mempolicy_home_node", Some(5450)),
        (Column::Powerpc, "swapcontext", Some(249)),
        (Column::Powerpc64, "socketcall", Some(102)),
        (Column::S390x, "s390_pci_mmio_read", Some(353)),
        (Column::Socketcall, "sendmmsg", Some(20)),
        (Column::Socketcall, "read", None),
        (Column::Ipc, "shmctl", Some(24)),
    ] {
        assert_eq!(number(column, name), expected, "{column:?} {name}");
    }
    assert_eq!(Name::find("unused18"), None);
    assert_eq!(Name::find("r#break"), None);
}

#[test]
fn every_name_of_dockers_profile_is_known() {
    let unknown: Vec<String> = docker()
        .syscalls
        .into_iter()
        .flat_map(|rule| rule.names)
        .filter(|name| Name::find(name).is_none())
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn architectures_are_the_kernels() {
    // linux/audit.h.
    for (name, audit) in [
        ("X86_64", 0xc000_003e),
        ("X32", 0xc000_003e),
        ("X86", 0x4000_0003),
        ("ARM", 0x4000_0028),
        ("AARCH64", 0xc000_00b7),
        ("MIPS", 0x0000_0008),
        ("MIPSEL", 0x4000_0008),
        ("MIPS64", 0x8000_0008),
        ("MIPSEL64", 0xc000_0008),
        ("PPC", 0x0000_0014),
        ("PPC64", 0x8000_0015),
        ("PPC64LE", 0xc000_0015),
        ("S390X", 0x8000_0016),
        ("RISCV64", 0xc000_00f3),
        ("LOONGARCH64", 0xc000_0102),
    ] {
        assert_eq!(arch(name).audit, audit, "{name}");
    }
    #[cfg(target_arch = "x86_64")]
    assert_eq!(Arch::native().name, "SCMP_ARCH_X86_64");
}
