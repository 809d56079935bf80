//! System call filters: `linux.seccomp` becomes a program for seccomp(2).
//!
//! Governed by config-linux.md "Seccomp"; where that is silent, by what runc and libseccomp do, which
//! profiles are written for. Pure: the host is asked nothing and nothing is loaded here.
//!
//! The way of a profile: [`profile`] reads the words, [`decide`] sorts the rules by call number for each
//! architecture (with [`multiplex`] for calls that hide others), [`ranges`] merges numbers with one decision
//! and searches them, [`terms`] tests arguments, [`assembler`] writes it all down. Loading time grows with
//! the program's length, since the kernel checks, converts and compiles it: so parts are shared wherever
//! they are equal.

mod arch;
mod assembler;
mod calls;
mod conditions;
mod decide;
mod multiplex;
mod profile;
mod ranges;
mod table;
mod terms;
#[cfg(test)]
mod tests;

use crate::error::Result;
use crate::spec::Seccomp;
use arch::{ARCHS, Arch, X32_BIT};
use assembler::{Assembler, Compare, Goto, LONGEST};
use decide::Decision;
use profile::{Action, Profile, wrong};
use ranges::Ranges;
use terms::List;

/// A filter that is ready to be loaded.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The classic BPF program, at most 4,096 instructions.
    pub program: seccompiler::BpfProgram,
    /// `SECCOMP_FILTER_FLAG_…` for seccomp(2).
    pub flags: u32,
    /// Where the listener goes, for a profile with SCMP_ACT_NOTIFY.
    pub notify: Option<Notify>,
    /// What the profile says without effect, one line each, naming the field.
    pub warnings: Vec<String>,
}

/// Where the listener of SCMP_ACT_NOTIFY goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// A UNIX socket that takes the descriptor.
    pub listener_path: String,
    /// Passed on as it is.
    pub metadata: String,
}

impl Filter {
    /// The program as seccomp(2) takes it.
    pub fn instructions(&self) -> Vec<libc::sock_filter> {
        let instruction = |one: &seccompiler::sock_filter| libc::sock_filter {
            code: one.code,
            jt: one.jt,
            jf: one.jf,
            k: one.k,
        };
        self.program.iter().map(instruction).collect()
    }
}

/// Compiles a profile for the machine this program is built for.
///
/// # Errors
/// Of [`crate::error::Kind::Spec`], naming the field: words that are unknown, combinations that cannot be
/// meant, and a program longer than the kernel takes.
pub fn compile(seccomp: &Seccomp) -> Result<Filter> {
    compile_for(seccomp, Arch::native())
}

fn compile_for(seccomp: &Seccomp, native: &'static Arch) -> Result<Filter> {
    let profile = Profile::read(seccomp, native)?;
    let mut lists = Vec::new();
    let mut sections = Vec::new();
    for arch in &profile.archs {
        if !sections.iter().any(|&(audit, _)| audit == arch.audit) {
            sections.push((arch.audit, section(&profile, arch.audit, &mut lists)?));
        }
    }
    let program = write(&sections, &lists);
    if program.len() > LONGEST {
        return Err(wrong(format!(
            "linux.seccomp.syscalls: the filter needs {} instructions, but the kernel takes at most {LONGEST}",
            program.len()
        )));
    }
    let Profile { flags, notify, warnings, .. } = profile;
    Ok(Filter { program, flags, notify, warnings })
}

/// Everything that has one `AUDIT_ARCH_…`: x86_64 and x32 share theirs.
fn section(profile: &Profile, audit: u32, lists: &mut Vec<List>) -> Result<Ranges<Decision>> {
    let mut ranges = Ranges::default();
    let mut x32 = None;
    for arch in profile.archs.iter().filter(|arch| arch.audit == audit) {
        let decided = decide::decide(profile, arch, lists)?;
        if arch.base() == X32_BIT { x32 = Some(decided) } else { ranges = decided }
    }
    let bad = Decision::Act(Action::KILL_THREAD);
    match (ranges.last(), x32) {
        // x86_64 alone: x32's numbers are another architecture's, except -1, which no ABI has but tracers set.
        (Some(newest), None) if is_x86_64(audit) => {
            ranges.begin(X32_BIT, bad);
            ranges.begin(u32::MAX, newest);
        }
        (None, Some(x32)) => {
            ranges.begin(0, bad);
            ranges.extend(&x32);
        }
        (_, Some(x32)) => ranges.extend(&x32),
        (_, None) => {}
    }
    Ok(ranges)
}

fn is_x86_64(audit: u32) -> bool {
    ARCHS.iter().any(|arch| arch.audit == audit && arch.base() == X32_BIT)
}

/// Offsets in `struct seccomp_data` (linux/seccomp.h).
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

/// The program, from its end to its beginning.
fn write(sections: &[(u32, Ranges<Decision>)], lists: &[List]) -> Vec<seccompiler::sock_filter> {
    let mut program = Assembler::default();
    let mut searches = terms::Searches::new();
    let write = |list| terms::write(list, &mut program, &mut searches);
    let begins: Vec<Goto> = lists.iter().map(write).collect();
    let begins = |decision| match decision {
        Decision::Act(action) => Goto::Return(action),
        Decision::List(position) => begins[position],
    };
    let mut starts = Vec::with_capacity(sections.len());
    for (audit, ranges) in sections.iter().rev() {
        let search = ranges.write(&begins, &mut program);
        starts.push((*audit, Goto::Label(program.load(NUMBER, search))));
    }
    let mut next = Goto::Return(Action::KILL_THREAD);
    for (audit, start) in starts {
        next = program.branch(Compare::Equal, audit, start, next);
    }
    program.load(ARCH, next);
    program.finish()
}

/// `SECCOMP_FILTER_FLAG_…` that a profile may name, sorted.
const FLAGS: &[(&str, u32)] = &[
    ("SECCOMP_FILTER_FLAG_LOG", sys::seccomp::FLAG_LOG),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", sys::seccomp::FLAG_SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_TSYNC", sys::seccomp::FLAG_TSYNC),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", sys::seccomp::FLAG_WAIT_KILLABLE_RECV),
];

/// `SCMP_ACT_…` that are understood, sorted.
pub fn known_actions() -> Vec<&'static str> {
    profile::ACTIONS.iter().map(|&(name, _)| name).collect()
}

/// `SCMP_CMP_…` that are understood, sorted.
pub fn known_operators() -> Vec<&'static str> {
    conditions::OPERATORS.iter().map(|&(name, _)| name).collect()
}

/// `SCMP_ARCH_…` that are understood, sorted.
pub fn known_archs() -> Vec<&'static str> {
    ARCHS.iter().map(|arch| arch.name).collect()
}

/// `SECCOMP_FILTER_FLAG_…` that are understood, sorted.
pub fn known_flags() -> Vec<&'static str> {
    FLAGS.iter().map(|&(name, _)| name).collect()
}

/// The known flags that are in a mask such as [`sys::seccomp::supported_flags`] returns, sorted.
pub fn supported_flags(mask: u32) -> Vec<&'static str> {
    FLAGS.iter().filter(|(_, flag)| mask & flag != 0).map(|&(name, _)| name).collect()
}
