//! `process.user`, `process.noNewPrivileges`, keyrings: who the program is. (runtime-spec config.md "User",
//! "Linux Process"; credentials(7), session-keyring(7).)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::os::unix::fs::MetadataExt;

use integration::elf::{Exit, call64};
use integration::{
    Bundle, Call, ConsoleSocket, asleep, is_root, json, known_gap, requires, runtime_under_test,
};

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn user_and_groups_are_set_in_every_kind_of_id() {
    let user = json!({"uid": 1000, "gid": 1001, "additionalGids": [2000, 3000, 1001]});
    let (_container, init) = asleep(Bundle::new().set("/process/user", user.clone()));
    assert_eq!(words(&init.status("Uid")), ["1000"; 4]);
    assert_eq!(words(&init.status("Gid")), ["1001"; 4]);
    assert_eq!(words(&init.status("Groups")), ["1001", "2000", "3000"]);
    let inside = Bundle::new().set("/process/user", user).in_container("id -u; id -g; id -G");
    assert_eq!(inside, "1000\n1001\n1001 2000 3000");
}

#[test]
fn groups_of_the_caller_are_dropped() {
    let (_container, init) = asleep(Bundle::new());
    assert_eq!(init.status("Groups"), "");
    let user = json!({"uid": 1000, "gid": 1000, "additionalGids": []});
    let (_container, init) = asleep(Bundle::new().set("/process/user", user));
    assert_eq!(init.status("Groups"), "");
}

#[test]
fn ids_need_no_entry_in_passwd() {
    known_gap!(Runc, "1.1.5 takes ids up to 2^31 - 1");
    let user = json!({"uid": 4_294_967_294_u32, "gid": 4_294_967_293_u32});
    assert_eq!(
        Bundle::new().set("/process/user", user).in_container("id -u; id -g"),
        "4294967294\n4294967293"
    );
}

#[test]
fn ids_that_mean_no_change_to_the_kernel_are_refused() {
    known_gap!(Runc, Crun, "these versions hand -1 to the kernel, which leaves the program root");
    for field in ["uid", "gid"] {
        let container = Bundle::new().set(&format!("/process/user/{field}"), json!(u32::MAX)).container();
        container.create().expect_code(1).expect_stderr(&format!("process.user.{field}"));
    }
    let container = Bundle::new().set("/process/user/additionalGids", json!([5, u32::MAX])).container();
    container.create().expect_code(1).expect_stderr("process.user.additionalGids[1]");
}

#[test]
fn ids_out_of_range_are_refused() {
    for uid in [json!(4_294_967_296_u64), json!(-1), json!("root"), json!(1.5)] {
        let container = Bundle::new().set("/process/user/uid", uid).container();
        known_gap!(Crun, "1.8.1 cuts numbers to 32 bits");
        container.create().expect_fail();
    }
}

#[test]
fn the_umask_is_022_unless_given() {
    assert_eq!(Bundle::new().in_container("umask"), "0022");
    for (mask, seen) in [(0o077, "0077"), (0, "0000"), (0o777, "0777")] {
        let bundle = Bundle::new().set("/process/user/umask", json!(mask));
        assert_eq!(bundle.in_container("umask"), seen);
    }
}

#[test]
fn the_umask_of_the_caller_is_not_inherited() {
    known_gap!(Crun, "the harness calls it through a shell of its own");
    let container = Bundle::new().sh("umask; touch /tmp/f; stat -c %a /tmp/f").container();
    let call = Call::of("sh").args(["-c", "umask 0777; exec \"$@\"", "sh"]).args([runtime_under_test()]);
    let call = call.args(["--root".as_ref(), container.state_root().as_os_str()]);
    let bundle = container.bundle().path();
    let call = call.args(["run".as_ref(), "--bundle".as_ref(), bundle.as_os_str(), container.id().as_ref()]);
    call.output().expect_ok().expect_stdout("0022\n644\n");
}

#[test]
fn a_umask_beyond_the_permission_bits_is_refused() {
    known_gap!(Runc, Crun, "these versions let the kernel cut it");
    let container = Bundle::new().set("/process/user/umask", json!(0o1000)).container();
    container.create().expect_code(1).expect_stderr("process.user.umask");
}

#[test]
fn standard_streams_belong_to_the_user() {
    let bundle = Bundle::new().set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let output = bundle.sh("echo out >/proc/self/fd/1; echo err >/proc/self/fd/2").run().expect_ok();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
}

#[test]
fn the_terminal_belongs_to_the_user() {
    let bundle = Bundle::new()
        .set("/process/terminal", json!(true))
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .sh("stat -c %u $(tty) /dev/console; echo x >/dev/tty && echo ok; read x");
    let socket = ConsoleSocket::listen(&bundle.scratch().join("console"));
    let container = bundle.container();
    container.create_with(&["--console-socket", socket.path()]).expect_ok();
    let mut terminal = socket.terminal();
    container.start().expect_ok();
    let shown = terminal.read_until("ok");
    assert!(shown.starts_with("1000"), "{shown}");
    terminal.send("\n");
    container.wait_status("stopped");
}

#[test]
fn no_new_privileges_is_on_or_off_as_asked() {
    for (asked, seen) in [(json!(true), "1"), (json!(false), "0")] {
        let (_container, init) = asleep(Bundle::new().set("/process/noNewPrivileges", asked));
        assert_eq!(init.status("NoNewPrivs"), seen);
    }
    let (_container, init) = asleep(Bundle::new().remove("/process/noNewPrivileges"));
    assert_eq!(init.status("NoNewPrivs"), "0");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_set_user_id_program_gains_nothing_with_no_new_privileges() {
    requires!(is_root(), "a file of another owner needs root");
    let geteuid = call64(107, [0; 3], Exit::Result);
    for (no_new_privileges, status) in [(true, 1000 & 0xff), (false, 0)] {
        let output = Bundle::new()
            .file("/opt/geteuid", 0o4755, &geteuid)
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .set("/process/user", json!({"uid": 1000, "gid": 1000}))
            .args(&["/opt/geteuid"])
            .run();
        output.expect_code(status);
    }
}

#[test]
fn init_is_the_leader_of_a_session_without_terminal() {
    let (_container, init) = asleep(Bundle::new());
    assert_eq!(init.status("NSpid").split_whitespace().last(), Some("1"));
    assert_eq!(init.status("NSsid").split_whitespace().last(), Some("1"));
    assert_eq!(init.status("NSpgid").split_whitespace().last(), Some("1"));
}

#[test]
fn root_can_change_owners_only_with_the_capability() {
    let script = "touch /tmp/f; chown 5 /tmp/f 2>/dev/null; stat -c %u /tmp/f";
    assert_eq!(Bundle::new().in_container(script), "0");
    assert_eq!(Bundle::new().capabilities(&["CAP_CHOWN"]).in_container(script), "5");
}

#[test]
fn files_made_by_the_user_are_the_users() {
    let bundle = Bundle::new().set("/process/user", json!({"uid": 1000, "gid": 1001}));
    let root = bundle.rootfs();
    let container = bundle.sh("touch /tmp/mine").container();
    container.run().expect_ok();
    let stat = root.join("tmp/mine").metadata().unwrap();
    assert_eq!((stat.uid(), stat.gid()), (1000, 1001));
}
