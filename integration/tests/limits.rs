//! `process.rlimits` and `process.oomScoreAdj`. (runtime-spec config.md "POSIX Process"; getrlimit(2),
//! proc_pid_oom_score_adj(5).)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;

use integration::{
    Bundle, Call, Process, asleep, holds_capability, json, known_gap, requires, runtime_under_test,
};

/// CAP_SYS_RESOURCE.
const SYS_RESOURCE: u32 = 24;

/// By name: the line in /proc/PID/limits, and values that need no rights of the host to be set.
const ALL: [(&str, &str, u64, u64); 16] = [
    ("RLIMIT_AS", "Max address space", 1 << 40, 1 << 41),
    ("RLIMIT_CORE", "Max core file size", 0, 4096),
    ("RLIMIT_CPU", "Max cpu time", 1000, 2000),
    ("RLIMIT_DATA", "Max data size", 1 << 39, 1 << 40),
    ("RLIMIT_FSIZE", "Max file size", 1 << 30, 1 << 31),
    ("RLIMIT_LOCKS", "Max file locks", 11, 12),
    ("RLIMIT_MEMLOCK", "Max locked memory", 4096, 8192),
    ("RLIMIT_MSGQUEUE", "Max msgqueue size", 1000, 1001),
    ("RLIMIT_NICE", "Max nice priority", 5, 6),
    ("RLIMIT_NOFILE", "Max open files", 100, 200),
    ("RLIMIT_NPROC", "Max processes", 1000, 1100),
    ("RLIMIT_RSS", "Max resident set", 1 << 33, 1 << 34),
    ("RLIMIT_RTPRIO", "Max realtime priority", 7, 8),
    ("RLIMIT_RTTIME", "Max realtime timeout", 500, 600),
    ("RLIMIT_SIGPENDING", "Max pending signals", 50, 60),
    ("RLIMIT_STACK", "Max stack size", 1 << 20, 1 << 21),
];

fn pair(soft: impl ToString, hard: impl ToString) -> (String, String) {
    (soft.to_string(), hard.to_string())
}

#[test]
fn every_limit_is_set_soft_and_hard() {
    // Some are 0 on most hosts: more needs CAP_SYS_RESOURCE.
    let raised = holds_capability(SYS_RESOURCE);
    let all = ALL.iter().copied().filter(|(_, line, _, hard)| {
        let host = Process::this().limit(line).1;
        raised || host.parse().map_or(host == "unlimited", |most: u64| *hard <= most)
    });
    let all: Vec<_> = all.collect();
    let limits: Vec<_> =
        all.iter().map(|(name, _, soft, hard)| json!({"type": name, "soft": soft, "hard": hard})).collect();
    let (_container, init) = asleep(Bundle::new().set("/process/rlimits", json!(limits)));
    for (name, line, soft, hard) in all {
        assert_eq!(init.limit(line), pair(soft, hard), "{name}");
    }
}

#[test]
fn the_largest_number_is_infinity() {
    let infinite = json!([{"type": "RLIMIT_CORE", "soft": u64::MAX, "hard": u64::MAX},
                          {"type": "RLIMIT_STACK", "soft": 8 << 20, "hard": u64::MAX}]);
    let (_container, init) = asleep(Bundle::new().set("/process/rlimits", infinite));
    assert_eq!(init.limit("Max core file size"), pair("unlimited", "unlimited"));
    assert_eq!(init.limit("Max stack size"), pair(8 << 20, "unlimited"));
}

#[test]
fn limits_that_are_not_listed_are_the_callers() {
    known_gap!(Crun, "the harness calls it through a shell of its own");
    let container = Bundle::new().args(&["sleep", "600"]).remove("/process/rlimits").container();
    let call = Call::of("sh").args(["-c", "ulimit -n 321; ulimit -c 5; exec \"$@\"", "sh"]);
    let call =
        call.args([runtime_under_test()]).args(["--root".as_ref(), container.state_root().as_os_str()]);
    let call = call.args(["run", "--detach", "--bundle"]).args([container.bundle().path()]);
    call.args([container.id()]).output_in(container.bundle().scratch()).output().expect_ok();
    assert_eq!(container.init().limit("Max open files"), pair(321, 321));
    assert_eq!(container.init().limit("Max core file size").0, (5 * 512).to_string());
}

#[test]
fn a_hard_limit_above_the_callers_is_reached_with_the_rights_of_the_host() {
    requires!(holds_capability(SYS_RESOURCE), "raising hard limits needs CAP_SYS_RESOURCE");
    known_gap!(Crun, "the harness calls it through a shell of its own");
    let limit = json!([{"type": "RLIMIT_NOFILE", "soft": 2000, "hard": 3000}]);
    // In a user namespace too, where the container itself may raise nothing.
    for user_namespace in [false, true] {
        let bundle = Bundle::new().args(&["sleep", "600"]).set("/process/rlimits", limit.clone());
        let bundle = if user_namespace { bundle.user_namespace(100_000, 65_536) } else { bundle };
        let container = bundle.container();
        let call = Call::of("sh").args(["-c", "ulimit -n 1000; exec \"$@\"", "sh"]);
        let call =
            call.args([runtime_under_test()]).args(["--root".as_ref(), container.state_root().as_os_str()]);
        let call = call.args(["run", "--detach", "--bundle"]).args([container.bundle().path()]);
        call.args([container.id()]).output_in(container.bundle().scratch()).output().expect_ok();
        assert_eq!(container.init().limit("Max open files"), pair(2000, 3000), "{user_namespace}");
    }
}

#[test]
fn a_hard_limit_above_the_callers_is_refused_without_those_rights() {
    requires!(!holds_capability(SYS_RESOURCE), "root may raise hard limits here");
    let most = Process::this().limit("Max nice priority").1;
    requires!(most == "0", "RLIMIT_NICE is {most} here already");
    let limits = json!([{"type": "RLIMIT_NICE", "soft": 0, "hard": 1}]);
    let container = Bundle::new().set("/process/rlimits", limits).container();
    let output = container.create().expect_fail().expect_runc_phrase("operation not permitted");
    container.state_output().expect_code(1);
    known_gap!(Runc, Crun, "words of their own");
    output.expect_stderr("process.rlimits[0]").expect_stderr("RLIMIT_NICE");
}

#[test]
fn limits_that_would_hinder_the_runtime_do_not() {
    known_gap!(Runc, Crun, "these versions work under the limits too, and need more than this");
    // They hold for the program alone: no file may be written, few may be open, memory is short.
    let limits = json!([{"type": "RLIMIT_FSIZE", "soft": 0, "hard": 0},
                        {"type": "RLIMIT_NOFILE", "soft": 3, "hard": 3},
                        {"type": "RLIMIT_AS", "soft": 4 << 20, "hard": 4 << 20},
                        {"type": "RLIMIT_NPROC", "soft": 1, "hard": 1}]);
    let bundle = Bundle::new().set("/process/rlimits", limits);
    let (_container, init) = asleep(bundle.set("/process/user", json!({"uid": 1000, "gid": 1000})));
    assert_eq!(init.limit("Max open files"), pair(3, 3));
    assert_eq!(init.limit("Max file size"), pair(0, 0));
}

#[test]
fn a_limit_holds() {
    let limit = json!([{"type": "RLIMIT_FSIZE", "soft": 512, "hard": 512}]);
    let script = "for n in 1 2; do dd if=/dev/zero of=/tmp/f bs=512 count=$n 2>/dev/null; echo $?; done";
    // 153: killed by SIGXFSZ.
    Bundle::new().set("/process/rlimits", limit).sh(script).run().expect_ok().expect_stdout("0\n153\n");
}

#[test]
fn a_limit_listed_twice_is_refused() {
    // config.md: "If rlimits contains duplicated entries with same type, the runtime MUST generate an error".
    known_gap!(Runc, Crun, "these versions take the last");
    let limit = json!({"type": "RLIMIT_CORE", "soft": 1, "hard": 2});
    let container = Bundle::new().set("/process/rlimits", json!([limit, limit])).container();
    container.create().expect_code(1).expect_stderr("RLIMIT_CORE");
}

#[test]
fn a_limit_nobody_knows_is_refused() {
    let limits =
        json!([{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}, {"type": "RLIMIT_FLY", "soft": 1, "hard": 1}]);
    let container = Bundle::new().set("/process/rlimits", limits).container();
    container.create().expect_code(1).expect_stderr("RLIMIT_FLY");
}

#[test]
fn a_soft_limit_above_the_hard_one_is_refused() {
    let limits = json!([{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]);
    let container = Bundle::new().set("/process/rlimits", limits).container();
    container.create().expect_fail();
    container.state_output().expect_code(1);
}

#[test]
fn a_limit_out_of_range_is_refused() {
    known_gap!(Crun, "1.8.1 cuts numbers");
    for soft in [json!(-1), json!(1.5), json!("1"), serde_json::from_str("18446744073709551616").unwrap()] {
        let limits = json!([{"type": "RLIMIT_CORE", "soft": soft, "hard": u64::MAX}]);
        let container = Bundle::new().set("/process/rlimits", limits).container();
        container.create().expect_code(1);
        container.state_output().expect_code(1);
    }
}

#[test]
fn more_open_files_than_the_kernel_allows_are_refused_with_the_fields_name() {
    let most: u64 = fs::read_to_string("/proc/sys/fs/nr_open").unwrap().trim().parse().unwrap();
    let limits = json!([{"type": "RLIMIT_NOFILE", "soft": 10, "hard": most + 1}]);
    let container = Bundle::new().set("/process/rlimits", limits).container();
    let output = container.create().expect_fail().expect_runc_phrase("operation not permitted");
    known_gap!(Runc, Crun, "words of their own");
    output.expect_stderr("process.rlimits[0]").expect_stderr("RLIMIT_NOFILE");
    container.state_output().expect_code(1);
}

#[test]
fn the_oom_score_is_set() {
    // Only down to the least it was set to with CAP_SYS_RESOURCE; see `the_oom_score_is_lowered_…`.
    for score in [0, 1, 300, 1000] {
        let (_container, init) = asleep(Bundle::new().set("/process/oomScoreAdj", json!(score)));
        assert_eq!(init.read("oom_score_adj"), format!("{score}\n"));
    }
}

#[test]
fn without_oom_score_the_callers_stays() {
    known_gap!(Crun, "the harness calls it through a shell of its own");
    let container = Bundle::new().args(&["sleep", "600"]).container();
    let call = Call::of("sh").args(["-c", "echo 123 >/proc/self/oom_score_adj; exec \"$@\"", "sh"]);
    let call =
        call.args([runtime_under_test()]).args(["--root".as_ref(), container.state_root().as_os_str()]);
    let call = call.args(["run", "--detach", "--bundle"]).args([container.bundle().path()]);
    call.args([container.id()]).output_in(container.bundle().scratch()).output().expect_ok();
    assert_eq!(container.init().read("oom_score_adj"), "123\n");
}

#[test]
fn the_oom_score_is_lowered_with_the_rights_of_the_host() {
    requires!(holds_capability(SYS_RESOURCE), "lowering the score needs CAP_SYS_RESOURCE");
    for score in [-1, -500, -1000] {
        let (_container, init) = asleep(Bundle::new().set("/process/oomScoreAdj", json!(score)));
        assert_eq!(init.read("oom_score_adj"), format!("{score}\n"));
    }
    let bundle = Bundle::new().user_namespace(100_000, 65_536).set("/process/oomScoreAdj", json!(-700));
    let bundle = bundle.set("/process/user", json!({"uid": 5, "gid": 5}));
    let (_container, init) = asleep(bundle);
    assert_eq!(init.read("oom_score_adj"), "-700\n");
}

#[test]
fn an_oom_score_that_cannot_be_lowered_is_an_error_that_names_the_field() {
    requires!(!holds_capability(SYS_RESOURCE), "root may lower the score here");
    let container = Bundle::new().set("/process/oomScoreAdj", json!(-1000)).container();
    let output = container.create().expect_fail();
    container.state_output().expect_code(1);
    known_gap!(Runc, Crun, "words of their own");
    output.expect_stderr("process.oomScoreAdj").expect_stderr("permission denied");
}

#[test]
fn the_oom_score_is_set_in_a_user_namespace() {
    let bundle = Bundle::new().user_namespace(100_000, 65_536).set("/process/oomScoreAdj", json!(700));
    let bundle = bundle.set("/process/user", json!({"uid": 5, "gid": 5}));
    let (_container, init) = asleep(bundle);
    assert_eq!(init.read("oom_score_adj"), "700\n");
}

#[test]
fn an_oom_score_out_of_range_is_refused() {
    for score in [1001, -1001] {
        let container = Bundle::new().set("/process/oomScoreAdj", json!(score)).container();
        let output = container.create().expect_fail();
        if integration::flavour() == integration::Flavour::Ours {
            output.expect_code(1).expect_stderr("process.oomScoreAdj");
        }
        container.state_output().expect_code(1);
    }
}
