//! Programs of all lengths: jumps that do not reach, and the kernel's limit.

use super::*;

/// A rule with its own errno for each of `count` values of read's arguments.
fn long(count: u32) -> Seccomp {
    let rule = |value: u32| Syscall {
        errno_ret: Some(value % 4000),
        ..when(&["read"], "SCMP_ACT_ERRNO", &[arg(1, "EQ", u64::from(value) << 20)])
    };
    let others = |name: &str| when(&[name], "SCMP_ACT_LOG", &[arg(0, "EQ", 3)]);
    let mut rules: Vec<Syscall> = (1..=count).map(rule).collect();
    rules.extend(["write", "close", "mount", "openat2"].map(others));
    let architectures = vec!["SCMP_ARCH_X86".into(), "SCMP_ARCH_X32".into()];
    Seccomp { architectures, ..profile("SCMP_ACT_TRAP", rules) }
}

#[test]
fn far_jumps_arrive() {
    let mut long_jumps = 0;
    // Lengths on both sides of every multiple of what a jump reaches.
    for count in (1..80).chain([150, 200, 250]) {
        let seccomp = long(count);
        let filter = compile_for(&seccomp, arch("X86_64")).unwrap();
        bpf::check(&filter.program);
        long_jumps += filter.program.iter().filter(|one| one.code == 0x05).count();
        let run = |called: &str, number, args| {
            bpf::run(&filter.program, &bpf::Call { arch: arch(called).audit, number, args }, false).0
        };
        for (called, read, openat2) in
            [("X86_64", 0, 437), ("X86", 3, 437), ("X86_64", 0x4000_0000, 0x4000_0000 + 437)]
        {
            for value in 1..=count {
                let args = [0, u64::from(value) << 20, 0, 0, 0, 0];
                assert_eq!(run(called, read, args), libc::SECCOMP_RET_ERRNO | value, "{count} rules");
            }
            assert_eq!(run(called, read, [0; 6]), libc::SECCOMP_RET_TRAP);
            assert_eq!(run(called, openat2, [3, 0, 0, 0, 0, 0]), libc::SECCOMP_RET_LOG);
            assert_eq!(run(called, openat2, [4, 0, 0, 0, 0, 0]), libc::SECCOMP_RET_TRAP);
            assert_eq!(run(called, openat2 + 1, [3, 0, 0, 0, 0, 0]), ENOSYS);
        }
    }
    assert!(long_jumps > 0);
}

#[test]
fn more_than_the_kernel_takes_is_an_error() {
    let mut largest = 0;
    for count in (600..3000).step_by(7) {
        match compile_for(&long(count), arch("X86_64")) {
            Ok(filter) => {
                bpf::check(&filter.program);
                largest = filter.program.len();
            }
            Err(error) => {
                let text = error.to_string();
                let needs = text.strip_prefix("linux.seccomp.syscalls: the filter needs ").unwrap();
                let (needs, rest) = needs.split_once(' ').unwrap();
                assert_eq!(rest, "instructions, but the kernel takes at most 4096");
                assert!(needs.parse::<usize>().unwrap() > 4096);
                assert!(largest > 4000, "{largest}");
                return;
            }
        }
    }
    panic!("nothing was refused, the longest had {largest}");
}

#[test]
fn equal_conditions_of_several_calls_are_written_once() {
    let conditions = [arg(0, "EQ", 3), arg(1, "GT", 1 << 40), arg(2, "MASKED_EQ", 6)];
    let of = |names: &[&str]| {
        let rules = vec![when(names, "SCMP_ACT_ERRNO", &conditions)];
        compile_for(&profile("SCMP_ACT_ALLOW", rules), arch("X86_64")).unwrap().program.len()
    };
    // One call more costs the search only.
    assert!(of(&["mount", "openat2"]) <= of(&["mount"]) + 2);
}

#[test]
fn docker_profile_is_short() {
    let filter = compile_for(&docker(), arch("X86_64")).unwrap();
    assert!(filter.warnings.is_empty(), "{:?}", filter.warnings);
    let mut longest = 0;
    for called in ["X86_64", "X86"] {
        for number in (0..600).chain(0x4000_0000..0x4000_0258) {
            for zero in [0, 8, 38, 39, 41, 0x20000, 0xffff_ffff, u64::MAX] {
                let args = [zero, 0, 0, 0, 0, 0];
                let call = bpf::Call { arch: arch(called).audit, number, args };
                longest = longest.max(bpf::run(&filter.program, &call, false).1);
            }
        }
    }
    println!("{} instructions, at most {longest} run", filter.program.len());
    assert!(filter.program.len() <= 240, "{} instructions", filter.program.len());
    assert!(longest <= 20, "{longest} instructions run");
}
