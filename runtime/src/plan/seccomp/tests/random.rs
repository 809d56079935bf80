//! Random calls through random profiles and Docker's: the program and the plain reading must agree.

use super::plain::{Plain, number};
use super::*;
use bpf::Call;

/// xorshift64* with a fixed seed: the same run every time.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A value near the edges of words.
    pub fn value(&mut self) -> u64 {
        const EDGES: [u64; 12] = [
            0,
            1,
            3,
            0x1000,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            0x1_0000_0000,
            0x5_0000_0003,
            0x7fff_ffff_ffff_ffff,
            0xffff_ffff_0000_0000,
            u64::MAX,
        ];
        match self.below(8) {
            0 => self.next(),
            1 => self.pick(&EDGES).wrapping_add(1),
            2 => self.pick(&EDGES).wrapping_sub(1),
            _ => self.pick(&EDGES),
        }
    }
}

const NAMES: [&str; 40] = [
    "read",
    "write",
    "open",
    "openat",
    "close",
    "personality",
    "clone",
    "clone3",
    "socket",
    "bind",
    "accept",
    "accept4",
    "send",
    "recvfrom",
    "socketcall",
    "ipc",
    "semop",
    "semtimedop",
    "shmat",
    "msgget",
    "ioctl",
    "execve",
    "uselib",
    "_sysctl",
    "newfstatat",
    "cacheflush",
    "set_tls",
    "mount",
    "umount2",
    "futex_waitv",
    "statmount",
    "io_uring_setup",
    "set_mempolicy_home_node",
    "clock_gettime64",
    "kill",
    "getpid",
    "mmap",
    "sync_file_range",
    "no_such_call",
    "lseek",
];
const ACTIONS: [&str; 9] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];
const OPERATORS: [&str; 7] = ["EQ", "GE", "GT", "LE", "LT", "MASKED_EQ", "NE"];

fn any_arch(random: &mut Random) -> &'static Arch {
    &ARCHS[random.below(ARCHS.len())]
}

fn random_action(random: &mut Random, notify: bool) -> (String, Option<u32>) {
    let action = random.pick(&ACTIONS);
    let action = if action == "SCMP_ACT_NOTIFY" && !notify { "SCMP_ACT_ERRNO" } else { action };
    let errno = (action == "SCMP_ACT_ERRNO" || action == "SCMP_ACT_TRACE") && random.below(2) == 0;
    let value = random.pick(&[0, 1, 38, 13]);
    (action.into(), errno.then_some(value))
}

fn random_rule(random: &mut Random) -> Syscall {
    let names: Vec<&str> = (0..=random.below(3)).map(|_| random.pick(&NAMES)).collect();
    let (action, errno_ret) = random_action(random, !names.contains(&"write"));
    let conditions = random.below(4);
    let args = (0..conditions).map(|_| SyscallArg {
        index: random.pick(&[0, 0, 1, 2, 5]),
        value: random.value(),
        value_two: random.value(),
        op: format!("SCMP_CMP_{}", random.pick(&OPERATORS)),
    });
    let args = args.collect();
    Syscall { errno_ret, args, ..rule(&names, &action) }
}

fn random_profile(random: &mut Random) -> Seccomp {
    let (default_action, default_errno_ret) = random_action(random, false);
    Seccomp {
        default_action,
        default_errno_ret,
        architectures: (0..random.below(4)).map(|_| any_arch(random).name.to_owned()).collect(),
        listener_path: "/run/agent.sock".into(),
        syscalls: (0..random.below(24)).map(|_| random_rule(random)).collect(),
        ..Seccomp::default()
    }
}

fn random_call(random: &mut Random, seccomp: &Seccomp, native: &str) -> Call {
    let mut archs: Vec<&str> = seccomp.architectures.iter().map(String::as_str).collect();
    archs.extend([native, native, "SCMP_ARCH_X86_64"]);
    let called = Arch::find(random.pick(&archs)).unwrap();
    let mut args = [0; 6];
    args.fill_with(|| random.value());
    // Values of the profile's own conditions hit more often than any others.
    for condition in seccomp.syscalls.iter().flat_map(|rule| &rule.args) {
        let near = condition.value.wrapping_add(random.below(3) as u64).wrapping_sub(1);
        match random.below(6) {
            0 => args[condition.index as usize] = near,
            1 => args[condition.index as usize] = condition.value_two,
            _ => {}
        }
    }
    if random.below(3) == 0 {
        args[0] = random.below(28) as u64 + ((random.below(3) as u64) << (16 * random.below(3)));
    }
    let names: Vec<&str> = seccomp.syscalls.iter().flat_map(|rule| &rule.names).map(String::as_str).collect();
    let named =
        if names.is_empty() || random.below(4) == 0 { random.pick(&NAMES) } else { random.pick(&names) };
    let number = match (number(called.name, named), random.below(8)) {
        (Some(number), 0) => number.wrapping_sub(1),
        (Some(number), 1) => number + 1,
        (Some(number), 2..7) => number,
        (_, 3) => u32::MAX,
        (_, 4) => 0x4000_0000 + random.below(600) as u32,
        (_, 5) => 0xf_0000 + random.below(8) as u32,
        (_, 6) => random.next() as u32,
        _ => random.below(6000) as u32,
    };
    Call { arch: called.audit, number, args }
}

/// Whether any of the architectures' byte orders is big; a machine has one.
fn big_endian(call: &Call) -> bool {
    call.arch & 0x4000_0000 == 0
}

#[test]
fn random_profiles_do_what_they_say() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut calls, mut refused, mut answers) = (0, 0, std::collections::BTreeSet::new());
    for _ in 0..3000 {
        let seccomp = random_profile(&mut random);
        let native = any_arch(&mut random);
        let plain = Plain::new(&seccomp, native.name);
        let filter = match compile_for(&seccomp, native) {
            Ok(filter) => filter,
            Err(error) => {
                assert!(error.to_string().contains("same call and conditions"), "{error}");
                refused += 1;
                continue;
            }
        };
        bpf::check(&filter.program);
        for _ in 0..20 {
            let call = random_call(&mut random, &seccomp, native.name);
            let (answer, _) = bpf::run(&filter.program, &call, big_endian(&call));
            assert_eq!(plain.decide(&call), Some(answer), "{} {call:x?} {seccomp:#?}", native.name);
            answers.insert(answer);
            calls += 1;
        }
    }
    assert!(calls > 50_000 && refused < 300, "{calls} calls, {refused} profiles refused");
    assert!(answers.len() > 12, "{answers:x?}");
}

#[test]
fn contradictions_are_refused_and_nothing_else_is() {
    let mut random = Random(77);
    let values = [0u64, 1, 0x1_0000_0001];
    let (mut refused, mut taken) = (0, 0);
    for _ in 0..2000 {
        let mut rules = Vec::new();
        for _ in 0..2 {
            let condition = arg(0, random.pick(&["EQ", "LT", "NE"]), random.pick(&values));
            let (action, errno_ret) = random_action(&mut random, false);
            rules.push(Syscall { errno_ret, ..when(&["personality"], &action, &[condition]) });
        }
        let native = random.pick(&["X86_64", "X86"]);
        let seccomp = profile("SCMP_ACT_TRAP", rules);
        let call =
            Call { arch: arch(native).audit, number: if native == "X86" { 136 } else { 135 }, args: [0; 6] };
        let plain = Plain::new(&seccomp, arch(native).name).decide(&call);
        assert_eq!(plain.is_some(), compile_for(&seccomp, arch(native)).is_ok(), "{seccomp:?}");
        if plain.is_some() { taken += 1 } else { refused += 1 }
    }
    assert!(refused > 100 && taken > 1000, "{refused} refused, {taken} taken");
}

#[test]
fn docker_profile_does_what_it_says() {
    let seccomp = docker();
    let mut random = Random(0xd0c4e4);
    for native in ["X86_64", "X86", "X32"] {
        let native = arch(native);
        let filter = compile_for(&seccomp, native).unwrap();
        bpf::check(&filter.program);
        let plain = Plain::new(&seccomp, native.name);
        for number in (0..700).chain(0x4000_0000..0x4000_0200).chain([u32::MAX]) {
            // x32's own numbers are in the tables of `words`.
            for audit in [arch("X86_64").audit, arch("X86").audit, arch("AARCH64").audit] {
                let mut args = [0; 6];
                args.fill_with(|| match random.below(3) {
                    0 => random.below(48) as u64,
                    1 => random.pick(&[8, 0x20000, 0x20008, 0xffff_ffff, 0x1200_0000, 0x7e02_0000]),
                    _ => random.value(),
                });
                let call = Call { arch: audit, number, args };
                let (answer, _) = bpf::run(&filter.program, &call, false);
                if number < 0x4000_0000 || !is_x32_only(number) {
                    assert_eq!(plain.decide(&call), Some(answer), "{call:x?}");
                }
            }
        }
    }
}

/// Numbers where x32 has not x86_64's call.
fn is_x32_only(number: u32) -> bool {
    let number = number & 0xfff_ffff;
    let twins = "rt_sigaction rt_sigreturn readv writev sendmsg recvmsg ptrace rt_sigpending rt_sigtimedwait \
        rt_sigqueueinfo sigaltstack timer_create mq_notify kexec_load waitid set_robust_list get_robust_list \
        vmsplice move_pages preadv pwritev rt_tgsigqueueinfo recvmmsg sendmmsg process_vm_readv \
        process_vm_writev setsockopt getsockopt io_setup io_submit execveat preadv2 pwritev2 create_module \
        get_kernel_syms query_module nfsservctl set_thread_area get_thread_area epoll_ctl_old epoll_wait_old \
        vserver uretprobe uprobe";
    (470..=511).contains(&number)
        || twins.split_whitespace().any(|name| super::plain::number("SCMP_ARCH_X86_64", name) == Some(number))
}
