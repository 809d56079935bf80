//! `linux.seccomp.architectures`: programs of 32 bits, calls that hide other calls, numbers of x32.
//! (runtime-spec config-linux.md "Seccomp"; syscall(2), socketcall(2), ipc(2).)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting
#![cfg(target_arch = "x86_64")]

use integration::elf::{Exit, call32, call64};
use integration::{Bundle, Call, Scratch, Value, json, known_gap, requires};

/// `run` after SIGSYS, which is 31.
const KILLED: i32 = 128 + 31;
const X32: u64 = 0x4000_0000;

fn filter(architectures: &[&str], default: &str, rules: Value) -> Value {
    json!({"defaultAction": default, "architectures": architectures, "syscalls": rules})
}

fn errno(name: &str, errno: u32) -> Value {
    json!([{"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": errno}])
}

fn call(filter: Value, program: &[u8]) -> i32 {
    let bundle = Bundle::new().set("/linux/seccomp", filter);
    bundle.file("/opt/call", 0o755, program).args(&["/opt/call"]).run().code()
}

/// Whether this kernel runs programs of 32 bits.
fn runs_32_bits() -> bool {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    let path = scratch.path().join("getpid");
    std::fs::write(&path, call32(6, [999, 0, 0], Exit::Errno)).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Call::of("sh").args(["-c", "\"$0\""]).args([&path]).output().code() == 9
}

#[test]
fn an_architecture_that_is_not_listed_is_not_let_in() {
    requires!(runs_32_bits(), "this kernel runs no 32-bit programs");
    let only_64 = filter(&["SCMP_ARCH_X86_64"], "SCMP_ACT_ALLOW", json!([]));
    assert_eq!(call(only_64, &call32(6, [999, 0, 0], Exit::Errno)), KILLED);
    // The native architecture is always in, even where only others are listed or none is.
    for listed in [&["SCMP_ARCH_X86"][..], &[]] {
        let filter = filter(listed, "SCMP_ACT_ALLOW", errno("getppid", 77));
        assert_eq!(call(filter, &call64(110, [0; 3], Exit::Errno)), 77, "{listed:?}");
    }
}

#[test]
fn each_architecture_has_its_own_numbers() {
    requires!(runs_32_bits(), "this kernel runs no 32-bit programs");
    let both = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"];
    // getppid is 64 on i386, where x86-64 has semget, and 110 on x86-64, where i386 has iopl.
    let filter = || filter(&both, "SCMP_ACT_ALLOW", errno("getppid", 77));
    assert_eq!(call(filter(), &call32(64, [0; 3], Exit::Errno)), 77);
    assert_eq!(call(filter(), &call64(110, [0; 3], Exit::Errno)), 77);
    assert_ne!(call(filter(), &call32(110, [0; 3], Exit::Errno)), 77);
    assert_ne!(call(filter(), &call64(64, [0; 3], Exit::Errno)), 77);
}

#[test]
fn a_call_that_only_one_architecture_has_is_filtered_there() {
    requires!(runs_32_bits(), "this kernel runs no 32-bit programs");
    let filter = || filter(&["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "SCMP_ACT_ALLOW", errno("waitpid", 77));
    assert_eq!(call(filter(), &call32(7, [0; 3], Exit::Errno)), 77);
    assert_eq!(call(filter(), &call64(110, [0; 3], Exit::Errno)), 0);
}

#[test]
fn arguments_of_32_bits_are_compared() {
    requires!(runs_32_bits(), "this kernel runs no 32-bit programs");
    let rules = |value: u64| {
        json!([{"names": ["close"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77,
                "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]}])
    };
    let both = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"];
    for (argument, status) in [(999, 77), (998, 9)] {
        let filter = filter(&both, "SCMP_ACT_ALLOW", rules(999));
        assert_eq!(call(filter, &call32(6, [argument, 0, 0], Exit::Errno)), status);
    }
}

#[test]
fn a_call_inside_socketcall_is_filtered_too() {
    requires!(runs_32_bits(), "this kernel runs no 32-bit programs");
    let both = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"];
    let filter = || filter(&both, "SCMP_ACT_ALLOW", errno("socket", 77));
    // socketcall(SYS_SOCKET, bad address) and the call of its own, socket(…).
    assert_eq!(call(filter(), &call32(102, [1, 0, 0], Exit::Errno)), 77);
    assert_eq!(call(filter(), &call32(359, [1, 1, 0], Exit::Errno)), 77);
    // socketcall(SYS_BIND, bad address): EFAULT, from the kernel itself.
    assert_eq!(call(filter(), &call32(102, [2, 0, 0], Exit::Errno)), 14);
}

#[test]
fn numbers_of_x32_are_not_let_in_unless_listed() {
    let without = filter(&["SCMP_ARCH_X86_64"], "SCMP_ACT_ALLOW", json!([]));
    assert_eq!(call(without, &call64(X32 | 110, [0; 3], Exit::Errno)), KILLED);
    let with = filter(&["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"], "SCMP_ACT_ALLOW", errno("getppid", 77));
    assert_eq!(call(with.clone(), &call64(X32 | 110, [0; 3], Exit::Errno)), 77);
    assert_eq!(call(with, &call64(110, [0; 3], Exit::Errno)), 77);
}

#[test]
fn calls_newer_than_the_profile_do_not_exist_on_any_architecture() {
    known_gap!(Runc, Crun, "1.1.5 does so for Docker's profile and not for this one, 1.8.1 not at all");
    requires!(runs_32_bits(), "this kernel runs no 32-bit programs");
    let names = ["execve", "exit", "read", "write"];
    let rules = json!([{"names": names, "action": "SCMP_ACT_ALLOW"}]);
    let filter = filter(&["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "SCMP_ACT_ERRNO", rules);
    for (number, status) in [(999, 38), (1, 1)] {
        let seen = match number {
            1 => call(filter.clone(), &call32(6, [999, 0, 0], Exit::Errno)),
            _ => call(filter.clone(), &call32(number, [0; 3], Exit::Errno)),
        };
        assert_eq!(seen, status, "{number}");
    }
}
