//! seccompiler's programs for what it can say: one action, one architecture, calls it knows by number.

use std::collections::BTreeMap;

use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use super::random::Random;
use super::*;

fn theirs(args: &[SyscallArg]) -> SeccompRule {
    let condition = |one: &SyscallArg| {
        let (op, value) = match one.op.as_str() {
            "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, one.value),
            "SCMP_CMP_NE" => (SeccompCmpOp::Ne, one.value),
            "SCMP_CMP_LT" => (SeccompCmpOp::Lt, one.value),
            "SCMP_CMP_LE" => (SeccompCmpOp::Le, one.value),
            "SCMP_CMP_GT" => (SeccompCmpOp::Gt, one.value),
            "SCMP_CMP_GE" => (SeccompCmpOp::Ge, one.value),
            _ => (SeccompCmpOp::MaskedEq(one.value), one.value_two),
        };
        SeccompCondition::new(one.index as u8, SeccompCmpArgLen::Qword, op, value).unwrap()
    };
    SeccompRule::new(args.iter().map(condition).collect()).unwrap()
}

#[test]
fn seccompiler_agrees() {
    let mut random = Random(2021);
    let natives =
        [("X86_64", TargetArch::x86_64), ("AARCH64", TargetArch::aarch64), ("RISCV64", TargetArch::riscv64)];
    let mut hits = 0;
    for round in 0..600 {
        let (native, target) = natives[round % 3];
        let mut ours = Vec::new();
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
        for name in ["openat", "ioctl", "clone", "socket"] {
            let number = plain::number(arch(native).name, name).unwrap().into();
            for _ in 0..random.below(4) {
                // Each argument at most once: seccompiler has no alternatives within a rule.
                let args: Vec<SyscallArg> = (0..1 + random.below(3) as u32)
                    .map(|index| {
                        let op = random.pick(&["EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ"]);
                        SyscallArg { value_two: random.value(), ..arg(index, op, random.value()) }
                    })
                    .collect();
                rules.entry(number).or_default().push(theirs(&args));
                ours.push(Syscall { errno_ret: Some(7), ..when(&[name], "SCMP_ACT_ERRNO", &args) });
            }
        }
        let numbers: Vec<i64> = rules.keys().copied().collect();
        if numbers.is_empty() {
            continue;
        }
        let filter =
            SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(7), target).unwrap();
        let filter: seccompiler::BpfProgram = filter.try_into().unwrap();
        let seccomp = profile("SCMP_ACT_ALLOW", ours);
        let program = compile_for(&seccomp, arch(native)).unwrap().program;
        let values: Vec<u64> =
            seccomp.syscalls.iter().flat_map(|r| &r.args).flat_map(|a| [a.value, a.value_two]).collect();
        for _ in 0..60 {
            let mut args = [0; 6];
            args.fill_with(|| random.pick(&values).wrapping_add(random.below(3) as u64).wrapping_sub(1));
            let number = random.pick(&numbers) as u32 + random.below(2) as u32;
            let call = bpf::Call { arch: arch(native).audit, number, args };
            let answer = bpf::run(&program, &call, false).0;
            assert_eq!(answer, bpf::run(&filter, &call, false).0, "{call:x?} {seccomp:#?}");
            hits += usize::from(answer != ALLOW);
        }
    }
    assert!(hits > 5_000, "{hits}");
}
