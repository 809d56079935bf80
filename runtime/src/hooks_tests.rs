use oci_spec::runtime::{ContainerState, StateBuilder};

use super::*;
use crate::container::tests::TempDir;

fn state() -> State {
    StateBuilder::default()
        .version("1.3.0")
        .id("web")
        .status(ContainerState::Created)
        .bundle("/b")
        .build()
        .unwrap()
}

fn sh(script: &str) -> Hook {
    Hook { path: "/bin/sh".into(), args: vec!["sh".into(), "-c".into(), script.into()], ..Hook::default() }
}

fn fail(hook: &Hook) -> String {
    run("createRuntime", std::slice::from_ref(hook), &state(), Path::new("/")).unwrap_err().to_string()
}

#[test]
fn a_hook_gets_the_state_its_arguments_its_environment_and_nothing_else() {
    let dir = TempDir::new();
    let mut hook =
        sh("cat > state; cat /proc/$$/cmdline | tr '\\0' ' ' > args; cat /proc/$$/environ > env; pwd > cwd");
    hook.args[0] = "other-name".into();
    hook.env = vec!["PATH=/bin:/usr/bin".into(), "A=b=c".into()];
    run("poststart", &[hook], &state(), dir.path()).unwrap();
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(read("state"), serde_json::to_string(&state()).unwrap());
    assert!(read("args").starts_with("other-name -c "));
    let mut env: Vec<String> = read("env").split_terminator('\0').map(str::to_owned).collect();
    env.sort();
    assert_eq!(env, ["A=b=c", "PATH=/bin:/usr/bin"]);
    assert_eq!(read("cwd").trim_end(), dir.path().to_str().unwrap());
}

#[test]
fn without_arguments_the_path_is_the_name() {
    let hook = Hook { path: "/bin/false".into(), ..Hook::default() };
    assert_eq!(fail(&hook), "hook createRuntime[0] \"/bin/false\": exit status 1");
    run("x", &[Hook { path: "/bin/true".into(), ..Hook::default() }], &state(), Path::new("/")).unwrap();
}

#[test]
fn the_first_failure_ends_the_row_and_says_what_was_printed() {
    let dir = TempDir::new();
    let row = [sh("echo one > one"), sh("echo out; echo 'err \"x\"' >&2; exit 7"), sh("echo three > three")];
    let error = run("prestart", &row, &state(), dir.path()).unwrap_err().to_string();
    assert_eq!(error, "hook prestart[1] \"/bin/sh\": exit status 7: \"out\\nerr \\\"x\\\"\"");
    assert!(dir.path().join("one").exists() && !dir.path().join("three").exists());
    let mut warnings = Vec::new();
    run_all("poststop", &row, &state(), dir.path(), &mut |warning| warnings.push(warning.to_string()));
    assert_eq!(warnings.len(), 1);
    assert!(dir.path().join("three").exists());
}

#[test]
fn what_cannot_run_is_named() {
    let hook = |path: &str| Hook { path: path.into(), ..Hook::default() };
    assert_eq!(
        fail(&hook("/nonexistent/hook")),
        "hook createRuntime[0] \"/nonexistent/hook\": execve(\"/nonexistent/hook\"): no such file or directory (ENOENT)"
    );
    assert!(fail(&hook("/etc/passwd")).ends_with("permission denied (EACCES)"));
    assert!(fail(&hook("true")).ends_with("the path is not absolute"));
    for entry in ["A", "=b", ""] {
        let hook = Hook { env: vec!["OK=1".into(), entry.into()], ..hook("/bin/true") };
        assert!(fail(&hook).ends_with(&format!("env[1]: {entry:?} is not of the form name=value")));
    }
    assert_eq!(fail(&sh("kill -TERM $$; sleep 5")), "hook createRuntime[0] \"/bin/sh\": killed by SIGTERM");
}

#[test]
fn the_time_is_over_for_the_whole_group() {
    let dir = TempDir::new();
    let mark = dir.path().join("pid");
    let hook = Hook {
        timeout: Some(1),
        ..sh(&format!("sleep 60 & echo $! > {}; echo waiting; wait", mark.display()))
    };
    let begun = Instant::now();
    assert_eq!(fail(&hook), "hook createRuntime[0] \"/bin/sh\": timed out after 1 s: \"waiting\"");
    assert!((1.0..10.0).contains(&begun.elapsed().as_secs_f64()));
    let grandchild: i32 = std::fs::read_to_string(mark).unwrap().trim().parse().unwrap();
    let pidfd = crate::container::Pidfd::open(grandchild).unwrap();
    let gone = pidfd.is_none_or(|pidfd| pidfd.wait(Duration::from_secs(5)).unwrap());
    assert!(gone, "process {grandchild} lives");
}

#[test]
fn a_hook_that_never_stops_printing_is_stopped_by_the_clock() {
    let hook = Hook { timeout: Some(1), ..sh("while :; do echo 0123456789; done") };
    let error = fail(&hook);
    assert!(error.contains("timed out after 1 s: \""), "{error}");
    assert!(error.len() < 2 * SHOWN_BYTES + 200);
}

#[test]
fn the_end_of_much_output_is_kept_and_nothing_blocks() {
    let error = fail(&sh("i=0; while [ $i -lt 30000 ]; do echo line $i; i=$((i + 1)); done; exit 1"));
    assert!(error.ends_with("line 29998\\nline 29999\""), "{}", &error[error.len() - 100..]);
    assert!(!error.contains("line 1\\n"));
}

/// More than a pipe holds, for a hook that reads late and for one that never reads.
#[test]
fn a_long_state_is_fed_as_the_hook_reads() {
    let dir = TempDir::new();
    let long = StateBuilder::default()
        .id("web")
        .annotations(std::collections::HashMap::from([("k".to_owned(), "v".repeat(300 << 10))]))
        .build()
        .unwrap();
    run(
        "x",
        &[sh("sleep 0.1; cat > state"), sh("exec < /dev/null; exit 0"), sh("exit 0")],
        &long,
        dir.path(),
    )
    .unwrap();
    let wanted = serde_json::to_vec(&long).unwrap();
    assert!(std::fs::read(dir.path().join("state")).unwrap() == wanted);
}

/// The end of the hook counts, not that of everybody who has its output open.
#[test]
fn a_daemon_that_a_hook_leaves_behind_is_not_waited_for() {
    let dir = TempDir::new();
    let begun = Instant::now();
    run("x", &[sh("sleep 60 & echo $! > pid")], &state(), dir.path()).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(30));
    let pid = std::fs::read_to_string(dir.path().join("pid")).unwrap().trim().parse().unwrap();
    let daemon = crate::container::Pidfd::open(pid).unwrap().expect("the daemon lives");
    assert!(daemon.send(libc::SIGKILL).unwrap());
}

/// `create` blocks all signals before it runs hooks, which must hear them all the same. Not by a shell: that
/// clears its mask itself.
#[test]
fn a_hook_hears_signals_though_the_runtime_does_not() {
    use nix::sys::signal::SigSet;
    let mut hook = Hook { path: "/bin/grep".into(), ..Hook::default() };
    hook.args = ["grep", "-q", "^SigBlk:.0000000000000000$", "/proc/self/status"].map(str::to_owned).into();
    let before = SigSet::thread_get_mask().unwrap();
    SigSet::all().thread_block().unwrap();
    let ran = run("x", &[hook], &state(), Path::new("/"));
    before.thread_set_mask().unwrap();
    ran.unwrap();
}
