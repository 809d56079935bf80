//! What is refused, and in which words.

use super::*;
use crate::error::Kind;

fn refusal(seccomp: &Seccomp) -> String {
    let error = compile_for(seccomp, arch("X86_64")).unwrap_err();
    assert_eq!(error.kind(), Kind::Spec);
    error.to_string()
}

fn with_rule(rule: Syscall) -> Seccomp {
    profile("SCMP_ACT_ALLOW", vec![super::rule(&["read"], "SCMP_ACT_LOG"), rule])
}

#[test]
fn unknown_words_are_named() {
    let unknown = |change: &dyn Fn(&mut Seccomp)| {
        let mut seccomp = with_rule(when(&["mount"], "SCMP_ACT_ERRNO", &[arg(0, "EQ", 1)]));
        change(&mut seccomp);
        refusal(&seccomp)
    };
    assert_eq!(
        unknown(&|s| s.default_action = "ALLOW".into()),
        "linux.seccomp.defaultAction: unknown action \"ALLOW\""
    );
    assert_eq!(
        unknown(&|s| s.syscalls[1].action = "SCMP_ACT_X".into()),
        "linux.seccomp.syscalls[1].action: unknown action \"SCMP_ACT_X\""
    );
    assert_eq!(
        unknown(&|s| s.syscalls[1].args[0].op = "X".into()),
        "linux.seccomp.syscalls[1].args[0].op: unknown operator \"X\""
    );
    assert_eq!(
        unknown(&|s| s.syscalls[1].args[0].index = 6),
        "linux.seccomp.syscalls[1].args[0].index: 6 is above the last argument, 5"
    );
    assert_eq!(
        unknown(&|s| s.architectures = vec!["SCMP_ARCH_X86".into(), "X86".into()]),
        "linux.seccomp.architectures[1]: \"X86\" is unknown"
    );
    assert_eq!(
        unknown(&|s| s.flags = Some(vec!["SECCOMP_FILTER_FLAG_X".into()])),
        "linux.seccomp.flags[0]: unknown flag \"SECCOMP_FILTER_FLAG_X\""
    );
}

#[test]
fn an_errno_belongs_to_actions_that_take_one() {
    assert_eq!(
        refusal(&with_rule(Syscall { errno_ret: Some(1), ..rule(&["mount"], "SCMP_ACT_KILL") })),
        "linux.seccomp.syscalls[1].errnoRet: SCMP_ACT_KILL takes no errno"
    );
    assert_eq!(
        refusal(&with_rule(errno(&["mount"], 4096))),
        "linux.seccomp.syscalls[1].errnoRet: 4096 is above 4095, the most SCMP_ACT_ERRNO takes"
    );
    assert_eq!(
        refusal(&with_rule(Syscall { errno_ret: Some(65536), ..rule(&["mount"], "SCMP_ACT_TRACE") })),
        "linux.seccomp.syscalls[1].errnoRet: 65536 is above 65535, the most SCMP_ACT_TRACE takes"
    );
    let default = Seccomp { default_errno_ret: Some(1), ..profile("SCMP_ACT_ALLOW", Vec::new()) };
    assert_eq!(refusal(&default), "linux.seccomp.defaultErrnoRet: SCMP_ACT_ALLOW takes no errno");
}

#[test]
fn names_are_required_and_unknown_ones_are_told() {
    assert_eq!(
        refusal(&with_rule(rule(&[], "SCMP_ACT_KILL"))),
        "linux.seccomp.syscalls[1].names: must name at least one system call"
    );
    assert_eq!(
        refusal(&with_rule(rule(&["read", ""], "SCMP_ACT_KILL"))),
        "linux.seccomp.syscalls[1].names[1]: must not be empty"
    );
    let seccomp = with_rule(rule(&["mount", "nope", "cacheflush"], "SCMP_ACT_KILL"));
    assert_eq!(
        compile(&seccomp).unwrap().warnings,
        ["linux.seccomp.syscalls[1].names[1]: unknown system call \"nope\" is ignored"]
    );
}

#[test]
fn a_value_that_32_bits_cannot_hold_is_told() {
    let high = 1 << 32;
    let masked = SyscallArg { value_two: 1, ..arg(2, "MASKED_EQ", high | 1) };
    let lost = SyscallArg { value_two: high, ..arg(3, "MASKED_EQ", high | 1) };
    let args = [arg(0, "EQ", u64::from(u32::MAX)), arg(1, "LT", high), masked, lost];
    let mut seccomp = with_rule(when(&["mount"], "SCMP_ACT_KILL", &args));
    assert!(compile_for(&seccomp, arch("X86_64")).unwrap().warnings.is_empty());
    seccomp.architectures = vec!["SCMP_ARCH_X32".into(), "SCMP_ARCH_X86".into()];
    assert_eq!(
        compile_for(&seccomp, arch("X86_64")).unwrap().warnings,
        [
            "linux.seccomp.syscalls[1].args[1].value: only the low 32 bits count on SCMP_ARCH_X32",
            "linux.seccomp.syscalls[1].args[3].value: only the low 32 bits count on SCMP_ARCH_X32",
        ]
    );
}

#[test]
fn a_listener_and_notifications_belong_together() {
    let notify = |name| with_rule(rule(&[name], "SCMP_ACT_NOTIFY"));
    assert_eq!(
        refusal(&notify("mount")),
        "linux.seccomp.listenerPath: required by SCMP_ACT_NOTIFY in linux.seccomp.syscalls[1].action"
    );
    let seccomp = Seccomp { listener_metadata: "m".into(), ..profile("SCMP_ACT_ALLOW", Vec::new()) };
    assert_eq!(refusal(&seccomp), "linux.seccomp.listenerMetadata: has no meaning without listenerPath");
    let seccomp = Seccomp { listener_path: "/a".into(), ..notify("write") };
    assert_eq!(
        refusal(&seccomp),
        "linux.seccomp.syscalls[1].names[0]: SCMP_ACT_NOTIFY cannot be used for write, which sends the listener away"
    );
    let seccomp = Seccomp { listener_path: "/a".into(), ..profile("SCMP_ACT_NOTIFY", Vec::new()) };
    assert_eq!(refusal(&seccomp), "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be the default");
    let seccomp = Seccomp {
        flags: Some(vec!["SECCOMP_FILTER_FLAG_LOG".into(), "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV".into()]),
        ..profile("SCMP_ACT_ALLOW", Vec::new())
    };
    assert_eq!(
        refusal(&seccomp),
        "linux.seccomp.flags[1]: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs a rule with SCMP_ACT_NOTIFY"
    );
}

#[test]
fn rules_that_contradict_each_other_are_refused() {
    let conditions = [arg(1, "LT", 8), arg(0, "EQ", 1)];
    let seccomp = profile(
        "SCMP_ACT_ALLOW",
        vec![
            when(&["mount"], "SCMP_ACT_KILL", &conditions),
            // The same in other words and order.
            when(&["mount"], "SCMP_ACT_TRAP", &[arg(0, "EQ", 1), arg(1, "LE", 7)]),
        ],
    );
    assert_eq!(
        refusal(&seccomp),
        "linux.seccomp.syscalls[1]: same call and conditions as linux.seccomp.syscalls[0] on SCMP_ARCH_X86_64, \
         but another action"
    );
    let twice = vec![when(&["mount"], "SCMP_ACT_KILL", &conditions); 2];
    compile(&profile("SCMP_ACT_ALLOW", twice)).unwrap();
}
