//! A profile read word by word for each call: slow, and with nothing of the compiler in it but the names of
//! architectures.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::str::FromStr;
use std::sync::LazyLock;

use super::bpf::Call;
use crate::spec::{Seccomp, Syscall, SyscallArg};

const SOCKETCALLS: [&str; 21] = [
    "",
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];
const IPCS: [(&str, u64); 12] = [
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

/// The number of a call, from the crate's own look-up.
pub fn number(arch: &str, name: &str) -> Option<u32> {
    macro_rules! look {
        ($arch:ident) => {
            syscalls::$arch::Sysno::from_str(name).ok().map(|call| call.id() as u32)
        };
    }
    let time64 = |number: Option<u32>| number.filter(|number| !(403..=423).contains(number));
    match (arch.strip_prefix("SCMP_ARCH_").unwrap(), name) {
        ("X86_64", _) => look!(x86_64),
        ("X86", _) => look!(x86),
        ("X32", "ioctl") => Some(0x4000_0000 + 514),
        ("X32", "recvfrom") => Some(0x4000_0000 + 517),
        ("X32", "execve") => Some(0x4000_0000 + 520),
        ("X32", "uselib" | "_sysctl") => None,
        // The generator draws none of the others that differ.
        ("X32", _) => look!(x86_64).map(|number| number + 0x4000_0000),
        ("ARM", "cacheflush") => Some(0xf_0002),
        ("ARM", "set_tls") => Some(0xf_0005),
        ("ARM", _) => look!(arm),
        ("AARCH64" | "LOONGARCH64", "newfstatat") => Some(79),
        ("AARCH64", _) => time64(look!(aarch64)),
        ("LOONGARCH64", _) => time64(look!(loongarch64)),
        ("RISCV64", _) => time64(look!(riscv64)),
        ("MIPS" | "MIPSEL", _) => look!(mips),
        ("MIPS64" | "MIPSEL64", "set_mempolicy_home_node") => Some(5450),
        ("MIPS64" | "MIPSEL64", _) => look!(mips64),
        ("PPC", _) => look!(powerpc),
        ("PPC64" | "PPC64LE", _) => look!(powerpc64),
        ("S390X", _) => look!(s390x),
        ("S390", _) => listed(1, name),
        ("MIPS64N32" | "MIPSEL64N32", _) => listed(2, name).map(|number| number + 6000),
        ("PARISC", _) => listed(3, name),
        ("PARISC64", _) => time64(listed(3, name)),
        ("M68K", _) => listed(4, name),
        ("SH" | "SHEB", _) => listed(5, name),
        (other, _) => panic!("{other}"),
    }
}

/// The number in a field of the compiler's own file; what is newer has that of x86_64.
fn listed(field: usize, name: &str) -> Option<u32> {
    static FILE: LazyLock<HashMap<&str, Vec<&str>>> = LazyLock::new(|| {
        let lines = include_str!("../calls.tbl").lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split(' ').collect::<Vec<_>>()).map(|fields| (fields[0], fields)).collect()
    });
    match FILE.get(name) {
        Some(fields) => fields[field].parse().ok(),
        None => number("SCMP_ARCH_X86_64", name).filter(|number| *number > 450),
    }
}

fn action(name: &str, errno: Option<u32>) -> u32 {
    match name {
        "SCMP_ACT_ALLOW" => 0x7fff_0000,
        "SCMP_ACT_LOG" => 0x7ffc_0000,
        "SCMP_ACT_TRACE" => 0x7ff0_0000 | errno.unwrap_or(1),
        "SCMP_ACT_NOTIFY" => 0x7fc0_0000,
        "SCMP_ACT_ERRNO" => 0x0005_0000 | errno.unwrap_or(1),
        "SCMP_ACT_TRAP" => 0x0003_0000,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => 0,
        "SCMP_ACT_KILL_PROCESS" => 0x8000_0000,
        other => panic!("{other}"),
    }
}

fn strictness(action: u32) -> u32 {
    let order =
        [0x8000_0000, 0, 0x0003_0000, 0x0005_0000, 0x7fc0_0000, 0x7ff0_0000, 0x7ffc_0000, 0x7fff_0000];
    let position = order.iter().position(|&known| known == action & 0xffff_0000).unwrap();
    (order.len() - position) as u32
}

/// Sorts conditions of one rule against each other's; compared as lists.
type Key = (Reverse<u32>, u8, u32, Reverse<u64>, u64);

struct Entry {
    key: Vec<Key>,
    conditions: Vec<SyscallArg>,
    action: u32,
    derived: bool,
}

/// The profile seen from one machine.
pub struct Plain<'a> {
    seccomp: &'a Seccomp,
    archs: Vec<&'a str>,
}

impl<'a> Plain<'a> {
    pub fn new(seccomp: &'a Seccomp, native: &'a str) -> Self {
        let mut archs: Vec<&str> = seccomp.architectures.iter().map(String::as_str).collect();
        archs.push(native);
        Self { seccomp, archs }
    }

    /// The architecture of a call, if the profile has it.
    fn arch(&self, call: &Call) -> Option<&'a str> {
        let of = |name: &str| self.archs.iter().copied().find(|known| *known == name);
        if call.arch == 0xc000_003e {
            let (x86_64, x32) = (of("SCMP_ARCH_X86_64"), of("SCMP_ARCH_X32"));
            return match call.number {
                u32::MAX => x32.or(x86_64),
                0x4000_0000.. => x32,
                _ => x86_64,
            };
        }
        self.archs.iter().copied().find(|name| super::Arch::find(name).unwrap().audit == call.arch)
    }

    /// What happens to a call; `None` where the profile contradicts itself about it.
    pub fn decide(&self, call: &Call) -> Option<u32> {
        let Some(name) = self.arch(call) else { return Some(0) };
        let default = action(&self.seccomp.default_action, self.seccomp.default_errno_ret);
        let numbered =
            |rule: &Syscall| rule.names.iter().filter_map(|one| number(name, one)).collect::<Vec<_>>();
        // ARM's private calls are not newer than any profile.
        let private = |number: u32| name == "SCMP_ARCH_ARM" && number >= 0xf_0000;
        let mut largest = None;
        let mut entries = Vec::new();
        let mut unconditional = None;
        for rule in &self.seccomp.syscalls {
            let numbers = numbered(rule);
            largest = largest.max(numbers.iter().copied().filter(|number| !private(*number)).max());
            let done = action(&rule.action, rule.errno_ret);
            if done == default || !numbers.contains(&call.number) {
                continue;
            }
            if rule.args.is_empty() {
                unconditional.get_or_insert(done);
            }
            entries.extend(
                alternatives(rule, wide(name)).into_iter().filter_map(|all| entry(all, done, name, false)),
            );
        }
        if unconditional.is_some() {
            return unconditional;
        }
        entries.extend(self.behind(call, name, default));
        entries.sort_by(|left, right| compare(&left.key, &right.key).then(left.derived.cmp(&right.derived)));
        if entries
            .windows(2)
            .any(|pair| pair[0].key == pair[1].key && pair[0].action != pair[1].action && !pair[1].derived)
        {
            return None;
        }
        let hit =
            entries.iter().find(|entry| entry.conditions.iter().all(|one| holds(one, call, wide(name))));
        let lets_through = matches!(default & 0xffff_0000, 0x7fff_0000 | 0x7ffc_0000 | 0x7ff0_0000);
        let newer = largest.is_some_and(|largest| call.number > largest);
        let newer = newer && !lets_through && !private(call.number);
        Some(hit.map_or(if newer { 0x0005_0026 } else { default }, |entry| entry.action))
    }

    /// Rules for the calls behind socketcall and ipc, as rules for those.
    fn behind(&self, call: &Call, arch: &str, default: u32) -> Vec<Entry> {
        if !["X86", "MIPS", "MIPSEL", "PPC", "PPC64", "PPC64LE", "S390", "S390X", "M68K", "SH", "SHEB"]
            .contains(&&arch["SCMP_ARCH_".len()..])
        {
            return Vec::new();
        }
        let (mask, calls): (u64, Vec<(&str, u64)>) = if number(arch, "socketcall") == Some(call.number) {
            (0xffff_ffff, SOCKETCALLS.into_iter().zip(0..).skip(1).collect())
        } else if number(arch, "ipc") == Some(call.number) {
            (0xffff, IPCS.to_vec())
        } else {
            return Vec::new();
        };
        let mut entries = Vec::new();
        for (name, value) in calls {
            let (mut always, mut sometimes) = (None, None::<u32>);
            for rule in self.seccomp.syscalls.iter().filter(|rule| rule.names.iter().any(|one| one == name)) {
                let done = action(&rule.action, rule.errno_ret);
                if done == default {
                    continue;
                }
                if rule.args.is_empty() {
                    always.get_or_insert(done);
                } else if strictness(done) >= strictness(default)
                    && sometimes.is_none_or(|present| strictness(done) > strictness(present))
                {
                    sometimes = Some(done);
                }
            }
            if let Some(done) = always.or(sometimes) {
                let op = "SCMP_CMP_MASKED_EQ".into();
                let condition = SyscallArg { index: 0, value: mask, value_two: value, op };
                entries.extend(entry(vec![condition], done, arch, true));
            }
        }
        entries
    }
}

fn wide(arch: &str) -> bool {
    arch.contains("64") && !arch.ends_with("N32") || arch == "SCMP_ARCH_S390X"
}

/// Conditions that all must hold; each for itself where two are on the same argument.
fn alternatives(rule: &Syscall, _wide: bool) -> Vec<Vec<SyscallArg>> {
    let repeated = (0..6).any(|index| rule.args.iter().filter(|one| one.index == index).count() > 1);
    match rule.args.as_slice() {
        [] => Vec::new(),
        all if repeated => all.iter().map(|one| vec![one.clone()]).collect(),
        all => vec![all.to_vec()],
    }
}

/// Width of the values, operand and mask of a condition on an ABI.
fn operands(one: &SyscallArg, wide: bool) -> (u64, u64, u64) {
    let all = if wide { u64::MAX } else { 0xffff_ffff };
    match one.op.as_str() {
        "SCMP_CMP_MASKED_EQ" => (all, one.value_two & one.value & all, one.value & all),
        _ => (all, one.value & all, all),
    }
}

fn holds(one: &SyscallArg, call: &Call, wide: bool) -> bool {
    let (all, value, mask) = operands(one, wide);
    let given = call.args[one.index as usize] & all & mask;
    match one.op.strip_prefix("SCMP_CMP_").unwrap() {
        "NE" => given != value,
        "LT" => given < value,
        "LE" => given <= value,
        "EQ" | "MASKED_EQ" => given == value,
        "GE" => given >= value,
        "GT" => given > value,
        other => panic!("{other}"),
    }
}

/// `None` where the conditions are never true together.
fn entry(mut conditions: Vec<SyscallArg>, action: u32, arch: &str, derived: bool) -> Option<Entry> {
    conditions.sort_by_key(|one| one.index);
    let mut key = Vec::new();
    for one in &conditions {
        let (all, value, mask) = operands(one, wide(arch));
        let at = Reverse(one.index);
        match (one.op.strip_prefix("SCMP_CMP_").unwrap(), value) {
            ("LT", 0) => return None,
            ("GT", value) if value == all => return None,
            ("MASKED_EQ", _) if mask == 0 => {}
            ("GE", 0) => {}
            ("LE", value) if value == all => {}
            ("EQ" | "MASKED_EQ", _) => key.push((at, 0, mask.count_zeros(), Reverse(mask), value)),
            ("LT", _) => key.push((at, 2, 0, Reverse(0), value - 1)),
            ("LE", _) => key.push((at, 2, 0, Reverse(0), value)),
            ("GT", _) => key.push((at, 3, 0, Reverse(value + 1), 0)),
            ("GE", _) => key.push((at, 3, 0, Reverse(value), 0)),
            _ => key.push((at, 1, 0, Reverse(0), value)),
        }
    }
    Some(Entry { key, conditions, action, derived })
}

/// Longer before shorter where one begins like the other.
fn compare(left: &[Key], right: &[Key]) -> std::cmp::Ordering {
    let common = left.len().min(right.len());
    left[..common].cmp(&right[..common]).then(right.len().cmp(&left.len()))
}
