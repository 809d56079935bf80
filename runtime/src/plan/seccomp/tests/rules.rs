//! Which rule counts: order, defaults, architectures, ENOSYS, multiplexers, flags.

use super::*;

const NONE: [u64; 6] = [0; 6];

#[test]
fn every_action_has_its_value() {
    for (action, errno, expected) in [
        ("SCMP_ACT_KILL", None, 0),
        ("SCMP_ACT_KILL_THREAD", None, 0),
        ("SCMP_ACT_KILL_PROCESS", None, 0x8000_0000),
        ("SCMP_ACT_TRAP", None, 0x0003_0000),
        ("SCMP_ACT_ERRNO", None, 0x0005_0001),
        ("SCMP_ACT_ERRNO", Some(0), 0x0005_0000),
        ("SCMP_ACT_ERRNO", Some(4095), 0x0005_0fff),
        ("SCMP_ACT_NOTIFY", None, 0x7fc0_0000),
        ("SCMP_ACT_TRACE", None, 0x7ff0_0001),
        ("SCMP_ACT_TRACE", Some(65535), 0x7ff0_ffff),
        ("SCMP_ACT_LOG", None, 0x7ffc_0000),
        ("SCMP_ACT_ALLOW", None, 0x7fff_0000),
    ] {
        let rule = Syscall { errno_ret: errno, ..rule(&["mount"], action) };
        let rules = vec![super::rule(&["umount2"], "SCMP_ACT_ALLOW"), rule];
        let seccomp = Seccomp {
            listener_path: "/run/agent".into(),
            default_errno_ret: Some(99),
            ..profile("SCMP_ACT_ERRNO", rules)
        };
        assert_eq!(answer(&seccomp, "X86_64", "X86_64", 165, NONE), expected, "{action}");
        assert_eq!(answer(&seccomp, "X86_64", "X86_64", 164, NONE), 0x0005_0063);
        assert_eq!(answer(&seccomp, "X86_64", "X86_64", 166, NONE), ALLOW);
    }
}

#[test]
fn the_first_unconditional_rule_wins_over_all() {
    let one = [arg(0, "EQ", 1)];
    let rules = vec![
        when(&["mount"], "SCMP_ACT_KILL", &one),
        errno(&["mount"], 2),
        errno(&["mount"], 3),
        when(&["mount"], "SCMP_ACT_TRAP", &[arg(0, "EQ", 2)]),
    ];
    let seccomp = profile("SCMP_ACT_ALLOW", rules);
    for zero in 0..4 {
        let errno = libc::SECCOMP_RET_ERRNO | 2;
        assert_eq!(answer(&seccomp, "X86_64", "X86_64", 165, [zero, 0, 0, 0, 0, 0]), errno);
    }
}

#[test]
fn overlapping_conditions_have_an_order_of_their_own() {
    let rules = vec![
        Syscall { errno_ret: Some(2), ..when(&["mount"], "SCMP_ACT_ERRNO", &[arg(0, "GE", 20)]) },
        Syscall { errno_ret: Some(3), ..when(&["mount"], "SCMP_ACT_ERRNO", &[arg(0, "GE", 30)]) },
        Syscall { errno_ret: Some(4), ..when(&["mount"], "SCMP_ACT_ERRNO", &[arg(0, "LE", 40)]) },
        Syscall { errno_ret: Some(5), ..when(&["mount"], "SCMP_ACT_ERRNO", &[arg(0, "LE", 25)]) },
        Syscall { errno_ret: Some(6), ..when(&["mount"], "SCMP_ACT_ERRNO", &[arg(0, "EQ", 7)]) },
        Syscall {
            errno_ret: Some(7),
            ..when(&["mount"], "SCMP_ACT_ERRNO", &[arg(0, "EQ", 7), arg(1, "EQ", 1)])
        },
        Syscall { errno_ret: Some(8), ..when(&["mount"], "SCMP_ACT_ERRNO", &[arg(1, "EQ", 2)]) },
        // Its lowest argument is 0, so the rule on argument 1 alone goes first.
        Syscall {
            errno_ret: Some(9),
            ..when(&["mount"], "SCMP_ACT_ERRNO", &[arg(0, "EQ", 7), arg(2, "EQ", 0)])
        },
        Syscall { errno_ret: Some(10), ..when(&["mount"], "SCMP_ACT_ERRNO", &[arg(5, "NE", 0)]) },
        Syscall { errno_ret: Some(11), ..when(&["mount"], "SCMP_ACT_ERRNO", &[arg(5, "GE", 2)]) },
    ];
    let mut reversed = rules.clone();
    reversed.reverse();
    for rules in [rules, reversed] {
        let seccomp = profile("SCMP_ACT_ALLOW", rules);
        let mount = |zero, one| {
            answer(&seccomp, "X86_64", "X86_64", 165, [zero, one, 1, 0, 0, 0]) & libc::SECCOMP_RET_DATA
        };
        for (zero, one, errno) in
            [(7, 0, 6), (7, 1, 7), (7, 2, 8), (24, 0, 5), (26, 0, 4), (40, 0, 4), (41, 0, 3)]
        {
            assert_eq!(mount(zero, one), errno, "mount({zero}, {one})");
        }
        let mount = |args| answer(&seccomp, "X86_64", "X86_64", 165, args) & libc::SECCOMP_RET_DATA;
        assert_eq!(mount([7, 2, 0, 0, 0, 0]), 8);
        assert_eq!(mount([7, 3, 0, 0, 0, 0]), 9);
        assert_eq!(mount([7, 2, 0, 0, 0, 2]), 10);
    }
}

#[test]
fn rules_that_say_the_default_are_skipped() {
    let rules = vec![errno(&["mount"], 1), errno(&["mount"], 2)];
    let seccomp = profile("SCMP_ACT_ERRNO", rules);
    assert_eq!(answer(&seccomp, "X86_64", "X86_64", 165, NONE), libc::SECCOMP_RET_ERRNO | 2);
}

#[test]
fn architectures_that_are_not_listed_are_killed_and_the_native_one_always_is() {
    let mut seccomp = profile("SCMP_ACT_ALLOW", vec![errno(&["mount"], 1)]);
    let x32 = 0x4000_0000;
    let all = |seccomp: &Seccomp| {
        [("X86_64", 165), ("X86_64", x32 + 165), ("X86", 21), ("AARCH64", 40)]
            .map(|(called, number)| answer(seccomp, "X86_64", called, number, NONE))
    };
    assert_eq!(all(&seccomp), [EPERM, KILL, KILL, KILL]);
    seccomp.architectures = vec!["SCMP_ARCH_X86".into(), "SCMP_ARCH_AARCH64".into()];
    assert_eq!(all(&seccomp), [EPERM, KILL, EPERM, EPERM]);
    seccomp.architectures = vec!["SCMP_ARCH_X32".into()];
    assert_eq!(all(&seccomp), [EPERM, EPERM, KILL, KILL]);
    assert_eq!(answer(&seccomp, "AARCH64", "X86_64", 165, NONE), KILL);
    assert_eq!(answer(&seccomp, "AARCH64", "X86_64", x32 + 165, NONE), EPERM);
    assert_eq!(answer(&seccomp, "AARCH64", "AARCH64", 40, NONE), EPERM);
}

#[test]
fn minus_one_is_no_architectures_number() {
    let mut seccomp = profile("SCMP_ACT_LOG", vec![errno(&["mount"], 1)]);
    assert_eq!(answer(&seccomp, "X86_64", "X86_64", u32::MAX, NONE), libc::SECCOMP_RET_LOG);
    assert_eq!(answer(&seccomp, "X86_64", "X86_64", u32::MAX - 1, NONE), KILL);
    seccomp.architectures = vec!["SCMP_ARCH_X32".into()];
    assert_eq!(answer(&seccomp, "X86_64", "X86_64", u32::MAX - 1, NONE), libc::SECCOMP_RET_LOG);
}

#[test]
fn calls_newer_than_the_profile_do_not_exist() {
    for (default, errno, newer) in [
        ("SCMP_ACT_ERRNO", None, ENOSYS),
        ("SCMP_ACT_ERRNO", Some(38), ENOSYS),
        ("SCMP_ACT_KILL", None, ENOSYS),
        ("SCMP_ACT_KILL_PROCESS", None, ENOSYS),
        ("SCMP_ACT_TRAP", None, ENOSYS),
        ("SCMP_ACT_ALLOW", None, ALLOW),
        ("SCMP_ACT_LOG", None, libc::SECCOMP_RET_LOG),
        ("SCMP_ACT_TRACE", None, libc::SECCOMP_RET_TRACE | 1),
    ] {
        // A rule that says the default makes its calls known, too. 452 is fchmodat2, 451 cachestat.
        let rules = vec![
            rule(&["openat2"], "SCMP_ACT_KILL_PROCESS"),
            Syscall { errno_ret: errno, ..rule(&["fchmodat2"], default) },
        ];
        let mut seccomp = Seccomp { default_errno_ret: errno, ..profile(default, rules) };
        seccomp.architectures = vec!["SCMP_ARCH_ARM".into(), "SCMP_ARCH_X32".into()];
        let of = |called, number| answer(&seccomp, "X86_64", called, number, NONE);
        let default = of("X86_64", 0);
        assert_eq!([of("X86_64", 451), of("X86_64", 452)], [default; 2]);
        assert_eq!([of("X86_64", 453), of("X86_64", 0x3fff_ffff)], [newer; 2]);
        assert_eq!([of("X86_64", 0x4000_0000 + 452), of("X86_64", 0x4000_0000)], [default; 2]);
        assert_eq!(of("X86_64", 0x4000_0000 + 453), newer);
        // ARM's private calls are not new.
        assert_eq!([of("ARM", 452), of("ARM", 453), of("ARM", 0xf_0002)], [default, newer, default]);
    }
}

#[test]
fn a_profile_that_knows_no_call_of_an_architecture_has_no_newer_ones() {
    let seccomp = profile("SCMP_ACT_ERRNO", vec![rule(&["cacheflush"], "SCMP_ACT_ALLOW")]);
    assert_eq!(answer(&seccomp, "X86_64", "X86_64", 9999, NONE), EPERM);
    assert_eq!(answer(&seccomp, "ARM", "ARM", 0xf_0002, NONE), ALLOW);
    assert_eq!(answer(&seccomp, "ARM", "ARM", 9999, NONE), EPERM);
}

#[test]
fn multiplexers_follow_the_calls_behind_them() {
    let conditions = [arg(0, "EQ", 16)];
    let rules = vec![
        rule(&["bind", "semget"], "SCMP_ACT_TRAP"),
        // Stricter than the default: counts whatever the arguments are.
        when(&["socket", "shmat"], "SCMP_ACT_KILL", &conditions),
        // Laxer: cannot be told from what is not allowed.
        when(&["connect", "msgget"], "SCMP_ACT_ALLOW", &conditions),
        rule(&["listen", "semop"], "SCMP_ACT_ALLOW"),
    ];
    let seccomp = profile("SCMP_ACT_ERRNO", rules);
    let (default, trap) = (EPERM, libc::SECCOMP_RET_TRAP);
    for (called, socketcall, ipc) in
        [("X86", 102, 117), ("S390X", 102, 117), ("MIPS", 4102, 4117), ("PPC64LE", 102, 117)]
    {
        let of = |number, selector| answer(&seccomp, called, called, number, [selector, 16, 0, 0, 0, 0]);
        let sockets: Vec<u32> = (1..=4).map(|selector| of(socketcall, selector)).collect();
        assert_eq!(sockets, [KILL, trap, default, ALLOW], "{called}");
        assert_eq!(
            [of(ipc, 2), of(ipc, 21), of(ipc, 13), of(ipc, 1)],
            [trap, KILL, default, ALLOW],
            "{called}"
        );
        // ipc's version, and the upper half of what the kernel takes as an int.
        assert_eq!([of(ipc, 0x1_0015), of(ipc, 0x1_0000_0015)], [KILL, KILL]);
        assert_eq!([of(socketcall, 0x1_0000_0002), of(socketcall, 0x1_0002)], [trap, default]);
    }
    // Their own numbers look at the arguments.
    let socket = |zero| answer(&seccomp, "X86", "X86", 359, [zero, 0, 0, 0, 0, 0]);
    assert_eq!([socket(16), socket(15)], [KILL, default]);
    // x86_64 has no multiplexers: 49 is bind, and 102 a call above all that the profile knows there.
    assert_eq!(answer(&seccomp, "X86_64", "X86_64", 49, [2, 0, 0, 0, 0, 0]), trap);
    assert_eq!(answer(&seccomp, "X86_64", "X86_64", 102, [2, 0, 0, 0, 0, 0]), ENOSYS);
}

#[test]
fn what_a_profile_says_of_a_multiplexer_itself_goes_first() {
    let bind = errno(&["bind"], 2);
    let itself =
        Syscall { errno_ret: Some(3), ..when(&["socketcall"], "SCMP_ACT_ERRNO", &[arg(0, "EQ", 2)]) };
    let of = |rules| answer(&profile("SCMP_ACT_ALLOW", rules), "X86", "X86", 102, [2, 0, 0, 0, 0, 0]);
    assert_eq!(of(vec![bind.clone(), itself]), libc::SECCOMP_RET_ERRNO | 3);
    assert_eq!(of(vec![bind.clone(), rule(&["socketcall"], "SCMP_ACT_LOG")]), libc::SECCOMP_RET_LOG);
    assert_eq!(of(vec![bind]), libc::SECCOMP_RET_ERRNO | 2);
}

#[test]
fn flags_are_what_the_profile_says() {
    let flags = |names: Option<&[&str]>, notify: bool| {
        let flags =
            names.map(|names| names.iter().map(|name| format!("SECCOMP_FILTER_FLAG_{name}")).collect());
        let action = if notify { "SCMP_ACT_NOTIFY" } else { "SCMP_ACT_LOG" };
        let listener_path = "/run/agent".into();
        let seccomp =
            Seccomp { flags, listener_path, ..profile("SCMP_ACT_ALLOW", vec![rule(&["mount"], action)]) };
        let filter = compile(&seccomp).unwrap();
        assert_eq!(filter.notify.is_some(), notify);
        filter.flags
    };
    assert_eq!(flags(None, false), 4);
    assert_eq!(flags(Some(&[]), false), 0);
    assert_eq!(flags(Some(&["TSYNC", "LOG"]), false), 1 | 2);
    assert_eq!(flags(None, true), 4 | 8);
    assert_eq!(flags(Some(&["TSYNC"]), true), 1 | 8 | 16);
    assert_eq!(flags(Some(&["WAIT_KILLABLE_RECV"]), true), 8 | 32);
}

#[test]
fn the_listener_is_handed_on() {
    let seccomp = Seccomp {
        listener_path: "/run/agent".into(),
        listener_metadata: "tag".into(),
        ..profile("SCMP_ACT_ALLOW", vec![rule(&["mount"], "SCMP_ACT_NOTIFY")])
    };
    let notify = Notify { listener_path: "/run/agent".into(), metadata: "tag".into() };
    assert_eq!(compile(&seccomp).unwrap().notify, Some(notify));
}

#[test]
fn lists_are_sorted_and_whole() {
    for (list, len) in [(known_actions(), 9), (known_operators(), 7), (known_archs(), 23), (known_flags(), 4)]
    {
        assert!(list.is_sorted());
        assert_eq!(list.len(), len, "{list:?}");
    }
    assert_eq!(supported_flags(1 | 4 | 8), ["SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"]);
    assert_eq!(supported_flags(0x3f), known_flags());
}
