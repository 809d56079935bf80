//! Tests of the compiler as a whole: against a plain reading of the profile, against another compiler, and
//! against the kernel.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "random values and small counts; a cut value would only be another random value"
)]

mod bpf;
mod cost;
mod errors;
mod load;
mod operators;
mod plain;
mod random;
mod rules;
mod second_opinion;
mod size;
mod words;

use super::*;
use crate::spec::{Syscall, SyscallArg};

/// Docker's default profile as the engine hands it to a runtime.
pub fn docker() -> Seccomp {
    serde_json::from_str(include_str!("../../../../../integration/data/seccomp-docker.json")).unwrap()
}

/// A profile of rules for x86_64 and nothing else.
pub fn profile(default: &str, syscalls: Vec<Syscall>) -> Seccomp {
    Seccomp { default_action: default.into(), syscalls, ..Seccomp::default() }
}

/// A rule without conditions.
pub fn rule(names: &[&str], action: &str) -> Syscall {
    Syscall {
        names: names.iter().map(|&name| name.to_owned()).collect(),
        action: action.into(),
        ..Syscall::default()
    }
}

/// A rule with conditions.
pub fn when(names: &[&str], action: &str, args: &[SyscallArg]) -> Syscall {
    Syscall { args: args.to_vec(), ..rule(names, action) }
}

/// A rule with an errno.
pub fn errno(names: &[&str], errno: u32) -> Syscall {
    Syscall { errno_ret: Some(errno), ..rule(names, "SCMP_ACT_ERRNO") }
}

/// A condition.
pub fn arg(index: u32, op: &str, value: u64) -> SyscallArg {
    SyscallArg { index, value, value_two: 0, op: format!("SCMP_CMP_{op}") }
}

/// The architecture `SCMP_ARCH_…` of the name.
pub fn arch(name: &str) -> &'static Arch {
    Arch::find(&format!("SCMP_ARCH_{name}")).unwrap()
}

/// What the filter for a machine returns for a call.
pub fn answer(seccomp: &Seccomp, native: &str, called: &str, number: u32, args: [u64; 6]) -> u32 {
    let filter = compile_for(seccomp, arch(native)).unwrap();
    let called = arch(called);
    bpf::run(&filter.program, &bpf::Call { arch: called.audit, number, args }, called.big_endian).0
}

pub const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
pub const KILL: u32 = libc::SECCOMP_RET_KILL_THREAD;
pub const EPERM: u32 = libc::SECCOMP_RET_ERRNO | 1;
pub const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | 38;
