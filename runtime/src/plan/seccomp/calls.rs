//! System call names and their numbers on every architecture we have a table of.
//!
//! The tables come from the `syscalls` crate, generated from the kernel's own; what it lacks stands here and, whole
//! architectures, in `calls.tbl`.
//! Everything is put together while compiling.

use super::table::Table;

/// Whose numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// x86_64's.
    X86_64,
    /// x32's, without the bit that marks them.
    X32,
    /// i386's.
    X86,
    /// 32-bit ARM's EABI.
    Arm,
    /// 64-bit ARM's.
    Aarch64,
    /// MIPS, o32.
    Mips,
    /// MIPS, n64.
    Mips64,
    /// 32-bit POWER's.
    Powerpc,
    /// 64-bit POWER's.
    Powerpc64,
    /// 64-bit z/Architecture's.
    S390x,
    /// 64-bit RISC-V's.
    Riscv64,
    /// 64-bit LoongArch's.
    Loongarch64,
    /// 31-bit ESA/390's.
    S390,
    /// MIPS, n32.
    MipsN32,
    /// 32-bit PA-RISC's.
    Parisc,
    /// 64-bit PA-RISC's.
    Parisc64,
    /// 68000's.
    M68k,
    /// SuperH's.
    Sh,
    /// First argument of socketcall(2).
    Socketcall,
    /// First argument of ipc(2).
    Ipc,
}

const COLUMNS: usize = 20;
/// A name that a column does not have.
const ABSENT: u16 = u16::MAX;
/// ARM's private calls (0xf0001 and on) are stored with this in front, since their numbers need 20 bits.
const ARM_PRIVATE: u16 = 0xf000;
/// Where ARM's private calls begin (arch/arm/include/uapi/asm/unistd.h, `__ARM_NR_BASE`).
pub const ARM_PRIVATE_BASE: u32 = 0xf_0000;

/// A name that some column has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name(usize);

impl Name {
    /// The call of that name, unless no architecture has it.
    pub fn find(name: &str) -> Option<Self> {
        CALLS.names.find(name.as_bytes()).map(Self)
    }

    /// Its number in a column.
    pub fn number(self, column: Column) -> Option<u32> {
        match CALLS.numbers[column as usize][self.0] {
            ABSENT => None,
            private @ ARM_PRIVATE.. if column == Column::Arm => {
                Some(ARM_PRIVATE_BASE + u32::from(private - ARM_PRIVATE))
            }
            number => Some(u32::from(number)),
        }
    }
}

struct Calls {
    names: Table,
    numbers: [[u16; Table::capacity()]; COLUMNS],
}

static CALLS: Calls = Calls::build();

/// Takes one architecture's table over; its numbers lie within 1,024 of the first.
macro_rules! take {
    ($calls:ident, $column:expr, $architecture:ident, $first:literal) => {{
        let mut number: u16 = $first;
        while number < $first + 1024 {
            if let Some(call) = syscalls::$architecture::Sysno::new(number as usize) {
                $calls.add($column, call.name().as_bytes(), number);
            }
            number += 1;
        }
    }};
}

impl Calls {
    const fn build() -> Self {
        let mut calls = Self { names: Table::new(), numbers: [[ABSENT; Table::capacity()]; COLUMNS] };
        take!(calls, Column::X86_64, x86_64, 0);
        take!(calls, Column::X86, x86, 0);
        take!(calls, Column::Arm, arm, 0);
        take!(calls, Column::Aarch64, aarch64, 0);
        take!(calls, Column::Mips, mips, 4000);
        take!(calls, Column::Mips64, mips64, 5000);
        take!(calls, Column::Powerpc, powerpc, 0);
        take!(calls, Column::Powerpc64, powerpc64, 0);
        take!(calls, Column::S390x, s390x, 0);
        take!(calls, Column::Riscv64, riscv64, 0);
        take!(calls, Column::Loongarch64, loongarch64, 0);
        calls.numbers[Column::X32 as usize] = calls.numbers[Column::X86_64 as usize];
        let mut position = 0;
        while position < NOT_X32.len() {
            calls.add(Column::X32, NOT_X32[position].as_bytes(), ABSENT);
            position += 1;
        }
        calls.take_file(include_bytes!("calls.tbl"));
        let parisc = Column::Parisc as usize;
        calls.numbers[Column::Parisc64 as usize] = calls.numbers[parisc];
        calls.forget(Column::Parisc64, 403, 423);
        calls.take_list(Column::X32, X32);
        calls.take_list(Column::Arm, ARM);
        calls.take_list(Column::Aarch64, GENERIC);
        calls.take_list(Column::Loongarch64, GENERIC);
        calls.take_list(Column::Mips64, &[("set_mempolicy_home_node", 5450)]);
        calls.take_list(Column::Socketcall, SOCKETCALL);
        calls.take_list(Column::Ipc, IPC);
        calls
    }

    const fn take_list(&mut self, column: Column, list: &[(&str, u16)]) {
        let mut position = 0;
        while position < list.len() {
            self.add(column, list[position].0.as_bytes(), list[position].1);
            position += 1;
        }
    }

    /// Takes `calls.tbl` over, and what is newer than it.
    const fn take_file(&mut self, mut text: &[u8]) {
        while let Some((line, after)) = cut(text, b'\n') {
            text = after;
            if line[0] == b'#' {
                continue;
            }
            let Some((name, mut numbers)) = cut(line, b' ') else { panic!("a line without numbers") };
            let mut position = 0;
            while position < FILE.len() {
                let (field, after) = match cut(numbers, b' ') {
                    Some(cut) => cut,
                    None => (numbers, &[] as &[u8]),
                };
                numbers = after;
                let (column, first) = FILE[position];
                if let Some(number) = parse(field) {
                    self.add(column, name, first + number);
                }
                position += 1;
            }
            assert!(numbers.is_empty(), "a line with too many numbers");
        }
        let mut number = NEWER;
        while number < NEWER + 128 {
            // x32's own numbers begin at 512.
            if let Some(call) = syscalls::x86_64::Sysno::new(number as usize)
                && number < 512
            {
                let mut position = 0;
                while position < FILE.len() {
                    let (column, first) = FILE[position];
                    self.add(column, call.name().as_bytes(), first + number);
                    position += 1;
                }
            }
            number += 1;
        }
    }

    /// Takes the numbers from `first` to `last` out of a column.
    const fn forget(&mut self, column: Column, first: u16, last: u16) {
        let mut position = 0;
        while position < Table::capacity() {
            let number = self.numbers[column as usize][position];
            if first <= number && number <= last {
                self.numbers[column as usize][position] = ABSENT;
            }
            position += 1;
        }
    }

    const fn add(&mut self, column: Column, name: &[u8], number: u16) {
        // Rust's spelling of a name that is a keyword.
        let name = match name {
            [b'r', b'#', name @ ..] => name,
            name => name,
        };
        if is_hole(column, name, number) {
            return;
        }
        let name = self.names.intern(name);
        self.numbers[column as usize][name] = number;
    }
}

/// Entries of the crate's tables that are no calls: holes of MIPS with a made-up name, and on 64-bit
/// architectures the numbers 403 to 423, which only 32-bit ones have (include/uapi/asm-generic/unistd.h).
const fn is_hole(column: Column, name: &[u8], number: u16) -> bool {
    match column {
        Column::Mips | Column::Mips64 => {
            matches!(name, [b'u', b'n', b'u', b's', b'e', b'd', b'0'..=b'9', ..])
                || matches!(name, [b'r', b'e', b's', b'e', b'r', b'v', b'e', b'd', b'0'..=b'9', ..])
        }
        Column::Aarch64 | Column::Loongarch64 | Column::Riscv64 => matches!(number, 403..=423),
        _ => false,
    }
}

/// The columns of `calls.tbl`, and the number of the first call of each.
const FILE: [(Column, u16); 5] =
    [(Column::S390, 0), (Column::MipsN32, 6000), (Column::Parisc, 0), (Column::M68k, 0), (Column::Sh, 0)];
/// The first number that is not in `calls.tbl`: from there on all architectures have those of x86_64
/// (include/uapi/asm-generic/unistd.h).
const NEWER: u16 = 451;

/// What stands before the first `end`, and what behind it.
const fn cut(text: &[u8], end: u8) -> Option<(&[u8], &[u8])> {
    let mut position = 0;
    while position < text.len() {
        if text[position] == end {
            let (before, after) = text.split_at(position);
            return Some((before, after.split_at(1).1));
        }
        position += 1;
    }
    None
}

/// A decimal number, or `-` for none.
const fn parse(field: &[u8]) -> Option<u16> {
    if let [b'-'] = field {
        return None;
    }
    assert!(!field.is_empty(), "a line with too few numbers");
    let (mut number, mut position) = (0, 0);
    while position < field.len() {
        assert!(field[position].is_ascii_digit(), "not a number");
        number = number * 10 + (field[position] - b'0') as u16;
        position += 1;
    }
    Some(number)
}

/// Calls of x86_64 that x32 has not (arch/x86/entry/syscalls/syscall_64.tbl, ABI "64" without a twin).
const NOT_X32: &[&str] = &[
    "uselib",
    "_sysctl",
    "create_module",
    "get_kernel_syms",
    "query_module",
    "nfsservctl",
    "set_thread_area",
    "get_thread_area",
    "epoll_ctl_old",
    "epoll_wait_old",
    "vserver",
    "uretprobe",
    "uprobe",
];

/// Calls that have a number of their own on x32 (same table, ABI "x32").
const X32: &[(&str, u16)] = &[
    ("rt_sigaction", 512),
    ("rt_sigreturn", 513),
    ("ioctl", 514),
    ("readv", 515),
    ("writev", 516),
    ("recvfrom", 517),
    ("sendmsg", 518),
    ("recvmsg", 519),
    ("execve", 520),
    ("ptrace", 521),
    ("rt_sigpending", 522),
    ("rt_sigtimedwait", 523),
    ("rt_sigqueueinfo", 524),
    ("sigaltstack", 525),
    ("timer_create", 526),
    ("mq_notify", 527),
    ("kexec_load", 528),
    ("waitid", 529),
    ("set_robust_list", 530),
    ("get_robust_list", 531),
    ("vmsplice", 532),
    ("move_pages", 533),
    ("preadv", 534),
    ("pwritev", 535),
    ("rt_tgsigqueueinfo", 536),
    ("recvmmsg", 537),
    ("sendmmsg", 538),
    ("process_vm_readv", 539),
    ("process_vm_writev", 540),
    ("setsockopt", 541),
    ("getsockopt", 542),
    ("io_setup", 543),
    ("io_submit", 544),
    ("execveat", 545),
    ("preadv2", 546),
    ("pwritev2", 547),
];

/// ARM's private calls, and its second name of arm_sync_file_range.
const ARM: &[(&str, u16)] = &[
    ("breakpoint", ARM_PRIVATE + 1),
    ("cacheflush", ARM_PRIVATE + 2),
    ("usr26", ARM_PRIVATE + 3),
    ("usr32", ARM_PRIVATE + 4),
    ("set_tls", ARM_PRIVATE + 5),
    ("get_tls", ARM_PRIVATE + 6),
    ("sync_file_range2", 341),
    ("arm_sync_file_range", 341),
];

/// The kernel's name of what the crate calls fstatat.
const GENERIC: &[(&str, u16)] = &[("newfstatat", 79)];

/// include/uapi/linux/net.h, `SYS_…`.
const SOCKETCALL: &[(&str, u16)] = &[
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("send", 9),
    ("recv", 10),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
];

/// include/uapi/linux/ipc.h.
const IPC: &[(&str, u16)] = &[
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];
