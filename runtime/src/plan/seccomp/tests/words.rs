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
        (Column::S390, "getppid", Some(64)),
        (Column::S390, "getuid32", Some(199)),
        (Column::S390, "accept", None),
        (Column::S390, "socketcall", Some(102)),
        (Column::S390, "mseal", Some(462)),
        (Column::MipsN32, "read", Some(6000)),
        (Column::MipsN32, "getppid", Some(6108)),
        (Column::MipsN32, "set_mempolicy_home_node", Some(6450)),
        (Column::MipsN32, "mseal", Some(6462)),
        (Column::MipsN32, "reserved177", None),
        (Column::Parisc, "accept", Some(35)),
        (Column::Parisc, "clock_gettime64", Some(403)),
        (Column::Parisc, "fchmodat2", Some(452)),
        (Column::Parisc64, "accept", Some(35)),
        (Column::Parisc64, "clock_gettime64", None),
        (Column::Parisc64, "fchmodat2", Some(452)),
        (Column::M68k, "atomic_cmpxchg_32", Some(335)),
        (Column::M68k, "uretprobe", None),
        (Column::Sh, "accept", Some(344)),
        (Column::Sh, "cacheflush", Some(123)),
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

/// config-linux.md "Seccomp", `architectures`.
#[test]
fn every_architecture_of_the_specification_is_filtered_by_its_own_numbers() {
    let listed = "X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE \
                  S390 S390X PARISC PARISC64 RISCV64 LOONGARCH64 M68K SH SHEB";
    for name in listed.split_whitespace() {
        let mut seccomp = profile("SCMP_ACT_ALLOW", vec![rule(&["getpgid"], "SCMP_ACT_ERRNO")]);
        seccomp.architectures = vec![format!("SCMP_ARCH_{name}")];
        let called = arch(name);
        let number = Name::find("getpgid").unwrap().number(called.calls).unwrap();
        let ask = |number| answer(&seccomp, "AARCH64", name, called.base() + number, [0; 6]);
        assert_eq!(ask(number), EPERM, "{name}");
        assert_eq!(ask(number - 1), ALLOW, "{name}");
        assert_eq!(ask(number + 1), ALLOW, "{name}");
        let another = if name == "ARM" { "SH" } else { "ARM" };
        assert_eq!(answer(&seccomp, "AARCH64", another, number, [0; 6]), KILL, "{name}");
    }
    assert_eq!(known_archs().len(), listed.split_whitespace().count());
    assert!(known_archs().is_sorted());
}

/// Both byte orders of SuperH, and the calls behind socketcall(2) of machines that have no others.
#[test]
fn older_machines_are_filtered_as_they_call() {
    let mut seccomp = profile("SCMP_ACT_ALLOW", vec![errno(&["accept"], 7)]);
    seccomp.architectures = ["S390", "M68K", "SH", "SHEB"].map(|name| format!("SCMP_ARCH_{name}")).to_vec();
    for name in ["S390", "M68K", "SH", "SHEB"] {
        let ask = |argument| answer(&seccomp, "S390X", name, 102, [argument, 0, 0, 0, 0, 0]);
        assert_eq!(ask(5), libc::SECCOMP_RET_ERRNO | 7, "{name}");
        assert_eq!(ask(4), ALLOW, "{name}");
    }
    assert_eq!(answer(&seccomp, "S390X", "SH", 344, [0; 6]), libc::SECCOMP_RET_ERRNO | 7);
}

/// Registers of 64 bits of which an ABI of 32 uses the lower half.
#[test]
fn arguments_of_n32_have_32_bits() {
    let condition = when(&["close"], "SCMP_ACT_ERRNO", &[arg(0, "EQ", 0xffff_fff0)]);
    let mut seccomp = profile("SCMP_ACT_ALLOW", vec![condition]);
    for name in ["MIPS64N32", "MIPSEL64N32"] {
        seccomp.architectures = vec![format!("SCMP_ARCH_{name}")];
        let ask = |value| answer(&seccomp, "X86_64", name, 6003, [value, 0, 0, 0, 0, 0]);
        assert_eq!(ask(0xffff_fff0), EPERM, "{name}");
        assert_eq!(ask(0xffff_ffff_ffff_fff0), EPERM, "{name}");
        assert_eq!(ask(0xf0), ALLOW, "{name}");
    }
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
        ("S390", 0x0000_0016),
        ("S390X", 0x8000_0016),
        ("MIPS64N32", 0xa000_0008),
        ("MIPSEL64N32", 0xe000_0008),
        ("PARISC", 0x0000_000f),
        ("PARISC64", 0x8000_000f),
        ("M68K", 0x0000_0004),
        ("SH", 0x4000_002a),
        ("SHEB", 0x0000_002a),
        ("RISCV64", 0xc000_00f3),
        ("LOONGARCH64", 0xc000_0102),
    ] {
        assert_eq!(arch(name).audit, audit, "{name}");
    }
    #[cfg(target_arch = "x86_64")]
    assert_eq!(Arch::native().name, "SCMP_ARCH_X86_64");
}
