//! `linux.seccomp`: every action, errno, operator and flag as the kernel then carries it out. (runtime-spec
//! config-linux.md "Seccomp"; seccomp(2). The programs are one call long: integration::elf.)
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::type_complexity)] // test code: a panic is its way of reporting
#![cfg(target_arch = "x86_64")]

use std::fs;

use integration::elf::{Exit, call64, call64_in_thread};
use integration::{Bundle, Output, Value, json, kernel_at_least, known_gap, requires};

const EBADF: i32 = 9;
const ENOSYS: i32 = 38;
/// `run` after SIGSYS, which is 31.
const KILLED: i32 = 128 + 31;

const LSEEK: u64 = 8;
const GETPPID: u64 = 110;

fn rule(name: &str, action: &str) -> Value {
    json!({"names": [name], "action": action})
}

fn errno(name: &str, errno: u32) -> Value {
    json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": errno})
}

fn filter(default: &str, rules: &[Value]) -> Value {
    json!({"defaultAction": default, "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rules})
}

fn with(filter: Value) -> Bundle {
    Bundle::new().set("/linux/seccomp", filter)
}

/// One call under a filter; the exit status is the errno or 128 + the signal.
fn call(filter: Value, program: &[u8]) -> i32 {
    with(filter).file("/opt/call", 0o755, program).args(&["/opt/call"]).run().code()
}

fn getppid() -> Vec<u8> {
    call64(GETPPID, [0; 3], Exit::Errno)
}

fn refused(filter: Value, field: &str) -> Output {
    let container = with(filter).container();
    let output = container.create().expect_code(1);
    container.state_output().expect_code(1);
    if integration::flavour() == integration::Flavour::Ours {
        return output.expect_stderr(field);
    }
    output
}

#[test]
fn what_is_allowed_is_carried_out() {
    // Of pid 1 the parent is 0, which the program takes for success; so does it an lseek for EBADF.
    assert_eq!(call(filter("SCMP_ACT_ALLOW", &[]), &getppid()), 0);
    assert_eq!(call(filter("SCMP_ACT_ALLOW", &[]), &call64(LSEEK, [999, 0, 0], Exit::Errno)), EBADF);
}

#[test]
fn errno_is_eperm_unless_given() {
    let rule = rule("getppid", "SCMP_ACT_ERRNO");
    assert_eq!(call(filter("SCMP_ACT_ALLOW", &[rule]), &getppid()), 1);
    for number in [2_u8, 13, 77, 255] {
        let filter = filter("SCMP_ACT_ALLOW", &[errno("getppid", number.into())]);
        assert_eq!(call(filter, &getppid()), i32::from(number));
    }
}

#[test]
fn an_errno_of_zero_is_success_without_the_call() {
    let bundle = with(filter("SCMP_ACT_ALLOW", &[errno("mkdir", 0), errno("mkdirat", 0)]));
    let script = "mkdir /tmp/made; echo $?; ls -d /tmp/made 2>/dev/null; echo end";
    assert_eq!(bundle.in_container(script), "0\nend");
}

#[test]
fn the_default_has_an_errno_of_its_own() {
    // Everything that the program and the runtime do not need; openat2 is newer than what is called.
    let names = ["execve", "exit", "read", "write", "openat2"];
    let allowed = json!({"names": names, "action": "SCMP_ACT_ALLOW"});
    let mut denying = filter("SCMP_ACT_ERRNO", &[allowed]);
    assert_eq!(call(denying.clone(), &getppid()), 1);
    known_gap!(Runc, "1.1.5 returns EPERM all the same");
    denying["defaultErrnoRet"] = json!(99);
    assert_eq!(call(denying, &getppid()), 99);
}

#[test]
fn kill_and_kill_thread_end_the_thread_and_kill_process_all() {
    for (action, alone, in_thread) in [
        ("SCMP_ACT_KILL", KILLED, 42),
        ("SCMP_ACT_KILL_THREAD", KILLED, 42),
        ("SCMP_ACT_KILL_PROCESS", KILLED, KILLED),
    ] {
        let filter = filter("SCMP_ACT_ALLOW", &[rule("getppid", action)]);
        assert_eq!(call(filter.clone(), &getppid()), alone, "{action}");
        assert_eq!(call(filter, &call64_in_thread(u32::try_from(GETPPID).unwrap())), in_thread, "{action}");
    }
}

#[test]
fn trap_sends_a_signal_that_can_be_handled() {
    let trap = filter("SCMP_ACT_ALLOW", &[rule("umask", "SCMP_ACT_TRAP")]);
    assert_eq!(call(trap.clone(), &call64(95, [0; 3], Exit::Errno)), KILLED);
    let script = "trap 'echo trapped' SYS; umask 077; echo on";
    assert_eq!(with(trap).in_container(script), "trapped\non");
    // Killed instead: the trap would not run.
    let kill = filter("SCMP_ACT_ALLOW", &[rule("umask", "SCMP_ACT_KILL_PROCESS")]);
    with(kill).sh(script).run().expect_code(KILLED);
}

#[test]
fn trace_without_a_tracer_is_enosys() {
    let filter = filter("SCMP_ACT_ALLOW", &[rule("getppid", "SCMP_ACT_TRACE")]);
    assert_eq!(call(filter, &getppid()), ENOSYS);
}

#[test]
fn log_lets_the_call_through() {
    let filter = filter("SCMP_ACT_LOG", &[errno("getpgrp", 5)]);
    assert_eq!(call(filter.clone(), &call64(LSEEK, [999, 0, 0], Exit::Errno)), EBADF);
    assert_eq!(call(filter, &call64(111, [0; 3], Exit::Errno)), 5);
}

#[test]
fn every_action_can_be_the_default() {
    known_gap!(Runc, "1.1.5 needs more calls than these itself, and waits for ever");
    let names = ["execve", "exit", "read", "write", "openat2"];
    let allowed = json!({"names": names, "action": "SCMP_ACT_ALLOW"});
    for (action, status) in [
        ("SCMP_ACT_ERRNO", 1),
        ("SCMP_ACT_KILL", KILLED),
        ("SCMP_ACT_KILL_THREAD", KILLED),
        ("SCMP_ACT_KILL_PROCESS", KILLED),
        ("SCMP_ACT_TRAP", KILLED),
        ("SCMP_ACT_TRACE", ENOSYS),
        ("SCMP_ACT_LOG", 0),
        ("SCMP_ACT_ALLOW", 0),
    ] {
        assert_eq!(call(filter(action, std::slice::from_ref(&allowed)), &getppid()), status, "{action}");
    }
}

/// The statuses of lseek calls with these second arguments, where a matching rule means 77.
fn hits(conditions: Value, arguments: &[[u64; 3]]) -> Vec<bool> {
    let rule = json!({"names": ["lseek"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": conditions});
    let mut bundle = with(filter("SCMP_ACT_ALLOW", &[rule]));
    for (number, arguments) in arguments.iter().enumerate() {
        bundle = bundle.file(&format!("/opt/{number}"), 0o755, &call64(LSEEK, *arguments, Exit::Errno));
    }
    let script = format!("for n in $(seq 0 {}); do /opt/$n; echo $?; done", arguments.len() - 1);
    let printed = bundle.in_container(&script);
    let hit = |status| match status {
        "77" => true,
        "9" => false,
        other => panic!("status {other} in {printed}"),
    };
    printed.lines().map(hit).collect()
}

#[test]
fn every_operator_compares_all_64_bits_without_sign() {
    const HIGH: u64 = 1 << 32;
    let values = [0, 4, 5, 6, HIGH - 1, HIGH, HIGH + 4, HIGH + 5, HIGH + 6, 2 * HIGH, u64::MAX];
    let compares: [(&str, fn(u64, u64) -> bool); 6] = [
        ("SCMP_CMP_EQ", |argument, value| argument == value),
        ("SCMP_CMP_NE", |argument, value| argument != value),
        ("SCMP_CMP_LT", |argument, value| argument < value),
        ("SCMP_CMP_LE", |argument, value| argument <= value),
        ("SCMP_CMP_GT", |argument, value| argument > value),
        ("SCMP_CMP_GE", |argument, value| argument >= value),
    ];
    for (operator, compare) in compares {
        for value in [0, 5, HIGH + 5, u64::MAX] {
            let arguments = values.map(|argument| [999, argument, 0]);
            let seen = hits(json!([{"index": 1, "value": value, "op": operator}]), &arguments);
            let expected = values.map(|argument| compare(argument, value));
            assert_eq!(seen, expected, "{operator} {value:#x} of {values:x?}");
        }
    }
}

#[test]
fn masked_equality_looks_at_the_masked_bits_only() {
    const HIGH: u64 = 1 << 32;
    // `value` is the mask, `valueTwo` what is left.
    let values = [0, 0xff, 0x10, 0xf0, HIGH, HIGH | 0x10, u64::MAX];
    for (mask, wanted) in [(0xf0, 0x10), (HIGH, HIGH), (HIGH | 0xf0, HIGH | 0x10), (HIGH | 1, 0), (0, 0)] {
        let condition = json!([{"index": 1, "value": mask, "valueTwo": wanted, "op": "SCMP_CMP_MASKED_EQ"}]);
        let seen = hits(condition, &values.map(|argument| [999, argument, 0]));
        assert_eq!(seen, values.map(|argument| argument & mask == wanted), "{mask:#x} {wanted:#x}");
    }
}

#[test]
fn conditions_on_different_arguments_hold_together() {
    let conditions = json!([{"index": 1, "value": 5, "op": "SCMP_CMP_EQ"},
                            {"index": 2, "value": 7, "op": "SCMP_CMP_GE"}]);
    let arguments = [[999, 5, 7], [999, 5, 6], [999, 4, 7], [999, 4, 6], [999, 5, 8]];
    assert_eq!(hits(conditions, &arguments), [true, false, false, false, true]);
}

#[test]
fn of_conditions_on_the_same_argument_one_is_enough() {
    // As runc has it, whose profiles rely on that.
    let conditions = json!([{"index": 1, "value": 5, "op": "SCMP_CMP_EQ"},
                            {"index": 1, "value": 7, "op": "SCMP_CMP_EQ"}]);
    let arguments = [[999, 5, 0], [999, 7, 0], [999, 6, 0]];
    assert_eq!(hits(conditions, &arguments), [true, true, false]);
}

#[test]
fn of_rules_for_the_same_call_any_may_match() {
    let one = |value: u64, errno: u32| {
        json!({"names": ["lseek"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno,
               "args": [{"index": 1, "value": value, "op": "SCMP_CMP_EQ"}]})
    };
    for (argument, status) in [(5, 50), (6, 60), (7, EBADF)] {
        let filter = filter("SCMP_ACT_ALLOW", &[one(5, 50), one(6, 60)]);
        assert_eq!(call(filter, &call64(LSEEK, [999, argument, 0], Exit::Errno)), status);
    }
}

#[test]
fn a_rule_may_name_many_calls() {
    let rule = json!({"names": ["getppid", "getpgrp", "lseek"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77});
    for number in [GETPPID, 111, LSEEK] {
        let filter = filter("SCMP_ACT_ALLOW", std::slice::from_ref(&rule));
        assert_eq!(call(filter, &call64(number, [0; 3], Exit::Errno)), 77, "{number}");
    }
}

#[test]
fn the_program_has_the_filter_and_init_had_no_other() {
    for no_new_privileges in [true, false] {
        let bundle = with(filter("SCMP_ACT_ALLOW", &[errno("getpgrp", 5)]));
        let bundle = bundle.set("/process/noNewPrivileges", json!(no_new_privileges));
        let container = bundle.args(&["sleep", "600"]).container();
        container.run_detached().expect_ok();
        let init = container.init();
        assert_eq!(init.status("Seccomp"), "2", "{no_new_privileges}");
        assert_eq!(init.status("Seccomp_filters"), "1", "{no_new_privileges}");
        assert_eq!(init.status("NoNewPrivs"), if no_new_privileges { "1" } else { "0" });
    }
    let container = Bundle::new().args(&["sleep", "600"]).container();
    container.run_detached().expect_ok();
    assert_eq!(container.init().status("Seccomp"), "0");
}

#[test]
fn without_no_new_privileges_the_filter_leaves_no_capability_behind() {
    for user in [0, 1000] {
        let bundle = with(filter("SCMP_ACT_ALLOW", &[errno("getpgrp", 5)])).capabilities(&["CAP_KILL"]);
        let bundle = bundle.set("/process/user", json!({"uid": user, "gid": user}));
        let bundle = bundle.set("/process/noNewPrivileges", json!(false));
        let container = bundle.args(&["sleep", "600"]).container();
        container.run_detached().expect_ok();
        for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(container.init().status(field), "0000000000000020", "{field} of {user}");
        }
    }
}

#[test]
fn calls_newer_than_the_profile_do_not_exist() {
    known_gap!(Runc, Crun, "1.1.5 does so for Docker's profile and not for this one, 1.8.1 not at all");
    // A C library tries a new call first, and an old one only after ENOSYS.
    let names = ["execve", "exit", "read", "write", "openat2"];
    let allowed = json!({"names": names, "action": "SCMP_ACT_ALLOW"});
    for default in ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"] {
        let filter = filter(default, std::slice::from_ref(&allowed));
        let denied = if default == "SCMP_ACT_ERRNO" { 1 } else { KILLED };
        // 437 is openat2; 438 and 999 are newer, 436 (close_range) is not.
        for (number, status) in [(999, ENOSYS), (436, denied), (GETPPID, denied)] {
            let seen = call(filter.clone(), &call64(number, [0; 3], Exit::Errno));
            assert_eq!(seen, status, "{default} {number}");
        }
    }
}

#[test]
fn few_calls_are_enough_for_a_filter_of_either_kind() {
    // What init itself has to do once the filter is in force is little; without noNewPrivileges a bit more.
    known_gap!(Runc, Crun, "these versions need many more calls without noNewPrivileges");
    let with_privileges = ["execve", "exit", "read", "write"];
    let without = ["execve", "exit", "read", "write", "capset", "prctl"];
    for (no_new_privileges, names) in [(true, &with_privileges[..]), (false, &without[..])] {
        let allowed = json!({"names": names, "action": "SCMP_ACT_ALLOW"});
        let bundle = with(filter("SCMP_ACT_KILL_PROCESS", &[allowed]));
        let bundle = bundle.set("/process/noNewPrivileges", json!(no_new_privileges));
        let program = call64(60, [7, 0, 0], Exit::Errno);
        let container = bundle.file("/opt/exit", 0o755, &program).args(&["/opt/exit"]).container();
        container.run().expect_code(7);
        let container = container.sibling();
        container.create().expect_ok();
        container.start().expect_ok();
        container.wait_status("stopped");
    }
}

#[test]
fn a_filter_that_answers_execve_with_no_error_is_named() {
    known_gap!(Runc, Crun, "these versions go on as if the program had run");
    let container = with(filter("SCMP_ACT_ALLOW", &[errno("execve", 0)])).container();
    container.run().expect_code(1).expect_stderr("a seccomp rule answers for the kernel");
    container.state_output().expect_code(1);
}

#[test]
fn a_filter_that_forbids_execve_is_an_error_and_not_a_silent_end() {
    known_gap!(Runc, Crun, "these versions say so in words of their own, or not at all");
    for (action, words) in
        [("SCMP_ACT_ERRNO", "operation not permitted"), ("SCMP_ACT_KILL_PROCESS", "signal 31")]
    {
        for no_new_privileges in [true, false] {
            let bundle = with(filter("SCMP_ACT_ALLOW", &[rule("execve", action)]));
            let container = bundle.set("/process/noNewPrivileges", json!(no_new_privileges)).container();
            container.run().expect_code(1).expect_stderr(words);
            container.state_output().expect_code(1);
            let container = container.sibling();
            container.create().expect_ok();
            let started = container.start();
            // Before Linux 6.15 nobody can ask how a process ended that its parent has reaped: where that is quick,
            // an init that is killed at execve looks as a program that has come to its end.
            if kernel_at_least(6, 15) || action == "SCMP_ACT_ERRNO" || started.code() != 0 {
                started.expect_code(1).expect_stderr(words);
            }
            container.wait_status("stopped");
            container.delete().expect_ok();
        }
    }
}

#[test]
fn unknown_calls_are_warned_of_and_ignored() {
    let rule = json!({"names": ["getppid", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77});
    let bundle = with(filter("SCMP_ACT_ALLOW", &[rule])).file("/opt/call", 0o755, &getppid());
    let container = bundle.args(&["/opt/call"]).container();
    let log = container.bundle().scratch_file("log");
    let container = container.with_globals(&["--log", &log]);
    container.run().expect_code(77);
    known_gap!(Runc, Crun, "these versions say it only to the debug log, or not at all");
    let text = fs::read_to_string(log).unwrap();
    assert!(text.contains("no_such_call") && text.contains("linux.seccomp.syscalls[0].names[1]"), "{text}");
}

#[test]
fn flags_are_taken() {
    for flags in [
        json!([]),
        json!(null),
        json!(["SECCOMP_FILTER_FLAG_LOG"]),
        json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]),
        json!(["SECCOMP_FILTER_FLAG_TSYNC"]),
        json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"]),
    ] {
        let shown = flags.to_string();
        known_gap!(Runc, Crun, "these versions know fewer flags");
        for no_new_privileges in [true, false] {
            let mut filter = filter("SCMP_ACT_ALLOW", &[errno("getppid", 77)]);
            filter["flags"] = flags.clone();
            let bundle = with(filter).set("/process/noNewPrivileges", json!(no_new_privileges));
            let output = bundle.file("/opt/call", 0o755, &getppid()).args(&["/opt/call"]).run();
            assert_eq!(output.code(), 77, "{shown}: {output}");
        }
    }
}

#[test]
fn speculation_barriers_are_the_flags_choice() {
    // The kernel adds them to filtered tasks where `spec_store_bypass_disable` is seccomp's, unless the flag is set.
    let status = |flags: Value| {
        let mut filter = filter("SCMP_ACT_ALLOW", &[errno("getppid", 77)]);
        filter["flags"] = flags;
        with(filter).in_container("grep Speculation_Store_Bypass /proc/self/status")
    };
    known_gap!(Runc, Crun, "these versions know no empty list of flags");
    let host = integration::Process::this().status("Speculation_Store_Bypass");
    assert!(status(json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"])).ends_with(&host));
    requires!(!status(json!([])).ends_with(&host), "this kernel adds no barriers for seccomp");
    assert!(status(json!(null)).ends_with(&host));
}

#[test]
fn words_nobody_knows_are_refused_with_their_place() {
    known_gap!(Crun, "1.8.1 finds some of it only when the container starts");
    let rules = |rule: Value| filter("SCMP_ACT_ALLOW", &[rule]);
    refused(filter("SCMP_ACT_SMILE", &[]), "linux.seccomp.defaultAction");
    refused(rules(rule("getppid", "SCMP_ACT_SMILE")), "linux.seccomp.syscalls[0].action");
    let condition = |index: u32, op: &str| {
        rules(
            json!({"names": ["lseek"], "action": "SCMP_ACT_ERRNO", "args": [{"index": index, "value": 0, "op": op}]}),
        )
    };
    refused(condition(0, "SCMP_CMP_ISH"), "linux.seccomp.syscalls[0].args[0].op");
    known_gap!(Runc, "1.1.5 takes what follows");
    refused(condition(6, "SCMP_CMP_EQ"), "linux.seccomp.syscalls[0].args[0].index");
    let mut strange = filter("SCMP_ACT_ALLOW", &[]);
    strange["architectures"] = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_Z80"]);
    refused(strange, "linux.seccomp.architectures[1]");
    let mut strange = filter("SCMP_ACT_ALLOW", &[rule("getppid", "SCMP_ACT_ERRNO")]);
    strange["flags"] = json!(["SECCOMP_FILTER_FLAG_FLY"]);
    refused(strange, "linux.seccomp.flags[0]");
    refused(rules(json!({"names": [], "action": "SCMP_ACT_ERRNO"})), "linux.seccomp.syscalls[0].names");
}

#[test]
fn an_errno_that_cannot_be_is_refused() {
    known_gap!(Runc, Crun, "these versions cut it, or do not look");
    refused(filter("SCMP_ACT_ALLOW", &[errno("getppid", 4096)]), "linux.seccomp.syscalls[0].errnoRet");
    // config-linux.md: an action that returns no errno with one MUST be an error.
    let killing = json!({"names": ["getppid"], "action": "SCMP_ACT_KILL", "errnoRet": 5});
    refused(filter("SCMP_ACT_ALLOW", &[killing]), "linux.seccomp.syscalls[0].errnoRet");
    let mut default = filter("SCMP_ACT_ALLOW", &[]);
    default["defaultErrnoRet"] = json!(5);
    refused(default, "linux.seccomp.defaultErrnoRet");
}

#[test]
fn the_filter_is_inherited_by_all_the_program_starts() {
    let bundle = with(filter("SCMP_ACT_ALLOW", &[errno("getppid", 77)])).file("/opt/call", 0o755, &getppid());
    assert_eq!(bundle.in_container("sh -c '/opt/call; echo $?'"), "77");
}

#[test]
fn a_large_profile_is_loaded() {
    // As many rules with conditions as fit 4,096 instructions make sense of; the last must still hold.
    let rules: Vec<Value> = (0..200)
        .map(|value| {
            json!({"names": ["lseek"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77,
                   "args": [{"index": 1, "value": value * 3, "op": "SCMP_CMP_EQ"}]})
        })
        .collect();
    let filter = filter("SCMP_ACT_ALLOW", &rules);
    for (argument, status) in [(199 * 3, 77), (199 * 3 + 1, EBADF), (0, 77), (1, EBADF)] {
        assert_eq!(
            call(filter.clone(), &call64(LSEEK, [999, argument, 0], Exit::Errno)),
            status,
            "{argument}"
        );
    }
}
