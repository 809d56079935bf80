//! `process.capabilities`: what the program may do, as the kernel shows it and as the program finds out.
//! (runtime-spec config.md "Linux Process"; capabilities(7).)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;

use integration::{Bundle, Flavour, Process, asleep, created, flavour, json, known_gap, skip, wait_for};

const KILL: u64 = 1 << 5;
const SETGID: u64 = 1 << 6;
const NET_BIND: u64 = 1 << 10;
const CHOWN: u64 = 1;

const FIELDS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

/// Inheritable, permitted, effective, bounding, ambient.
fn sets(init: &Process) -> [u64; 5] {
    FIELDS.map(|field| u64::from_str_radix(&init.status(field), 16).unwrap())
}

fn of_user(bundle: Bundle) -> Bundle {
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}))
}

#[test]
fn each_set_is_what_is_listed_for_it() {
    // A user that is not root: only inheritable, bounding and ambient survive execve as they are.
    let lists = json!({
        "bounding": ["CAP_KILL", "CAP_SETGID", "CAP_NET_BIND_SERVICE", "CAP_CHOWN"],
        "permitted": ["CAP_KILL", "CAP_SETGID", "CAP_NET_BIND_SERVICE"],
        "effective": ["CAP_KILL"],
        "inheritable": ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
        "ambient": ["CAP_NET_BIND_SERVICE"],
    });
    let (_container, init) = asleep(of_user(Bundle::new().set("/process/capabilities", lists)));
    let expected = [KILL | NET_BIND, NET_BIND, NET_BIND, KILL | SETGID | NET_BIND | CHOWN, NET_BIND];
    assert_eq!(sets(&init), expected);
}

#[test]
fn root_gets_the_bounding_set_unless_no_new_privileges_holds_it_back() {
    let lists = json!({"bounding": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL"], "effective": []});
    for (no_new_privileges, permitted) in [(false, KILL | CHOWN), (true, KILL)] {
        let bundle = Bundle::new().set("/process/capabilities", lists.clone());
        let (_container, init) = asleep(bundle.set("/process/noNewPrivileges", json!(no_new_privileges)));
        assert_eq!(sets(&init), [0, permitted, permitted, KILL | CHOWN, 0], "{no_new_privileges}");
    }
}

/// Without noNewPrivileges, loading a filter takes CAP_SYS_ADMIN, which init keeps until it has done so: it is
/// neither in force while init waits or runs hooks, nor anybody's afterwards.
#[test]
fn the_right_to_load_a_filter_is_neither_a_hooks_nor_the_programs() {
    const SYS_ADMIN: u64 = 1 << 21;
    let lists = json!({"bounding": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"],
                       "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]});
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["kcmp"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7}]});
    let look = json!([{"path": "/bin/sh", "args": ["sh", "-c", "grep ^Cap /proc/self/status >/seen/caps"]}]);
    for uid in [0, 1000] {
        let bundle = Bundle::new().args(&["sleep", "600"]);
        let seen = bundle.rootfs().join("seen");
        std::fs::create_dir(&seen).unwrap();
        std::fs::set_permissions(&seen, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let container = created(
            bundle
                .set("/process/capabilities", lists.clone())
                .set("/process/noNewPrivileges", json!(false))
                .set("/process/user", json!({"uid": uid, "gid": uid}))
                .set("/linux/seccomp", filter.clone())
                .set("/hooks/startContainer", look.clone()),
        );
        if flavour() == Flavour::Ours {
            // Not runc's init, which is root until it starts.
            let [inheritable, _, effective, bounding, ambient] = sets(&container.init());
            assert_eq!(
                (inheritable | effective | bounding | ambient) & SYS_ADMIN,
                0,
                "of an init that waits"
            );
        }
        container.start().expect_ok();
        let init = container.init();
        wait_for("the program", || (init.cmdline() == ["sleep", "600"]).then_some(()));
        let bounding = KILL | CHOWN;
        let permitted = if uid == 0 { bounding } else { KILL };
        assert_eq!(sets(&init), [KILL, permitted, permitted, bounding, KILL], "{uid}");
        let hook = std::fs::read_to_string(seen.join("caps")).unwrap();
        assert_eq!(hook.lines().count(), 5, "{hook}");
        for line in hook.lines() {
            let set = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
            assert_eq!(set & SYS_ADMIN, 0, "{uid}: {hook}");
        }
    }
}

#[test]
fn a_user_without_ambient_capabilities_has_none() {
    let lists = json!({"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]});
    let (_container, init) = asleep(of_user(Bundle::new().set("/process/capabilities", lists)));
    assert_eq!(sets(&init), [0, 0, 0, KILL, 0]);
}

#[test]
fn without_lists_there_are_no_capabilities_at_all() {
    known_gap!(Crun, "1.8.1 leaves all of them then");
    for lists in [json!({}), json!({"bounding": [], "effective": [], "permitted": []}), json!(null)] {
        let shown = lists.to_string();
        if lists.is_null() && flavour() == Flavour::Runc {
            continue; // 1.1.5 leaves all of them then
        }
        let (_container, init) = asleep(Bundle::new().set("/process/capabilities", lists));
        assert_eq!(sets(&init), [0; 5], "{shown}");
    }
}

#[test]
fn a_missing_object_means_no_capabilities_too() {
    known_gap!(Runc, Crun, "these versions leave all of them then");
    let (_container, init) = asleep(Bundle::new().remove("/process/capabilities"));
    assert_eq!(sets(&init), [0; 5]);
}

#[test]
fn all_capabilities_can_be_given() {
    // What the tests themselves do not hold cannot be given.
    let host = sets(&Process::this())[1];
    let names: Vec<&str> =
        NAMES.iter().enumerate().filter(|(bit, _)| host & (1 << bit) != 0).map(|(_, name)| *name).collect();
    assert_eq!(host.count_ones() as usize, names.len(), "this kernel knows more than the test");
    let (_container, init) = asleep(Bundle::new().capabilities(&names));
    assert_eq!(sets(&init), [host; 5]);
}

#[test]
fn what_the_host_cannot_grant_is_warned_of_and_ignored() {
    known_gap!(Runc, Crun, "these versions fail in capset");
    let host = sets(&Process::this())[1];
    let Some((_, missing)) = NAMES.iter().enumerate().find(|(bit, _)| host & (1 << bit) == 0) else {
        skip!("the tests hold every capability");
    };
    let container = Bundle::new().capabilities(&["CAP_KILL", missing]).container();
    let log = container.bundle().scratch_file("log");
    let container = container.with_globals(&["--log", &log]);
    container.create().expect_ok();
    assert_eq!(sets(&container.init())[3], KILL);
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("process.capabilities") && text.contains(missing), "{text}");
}

#[test]
fn each_name_means_its_own_bit() {
    let host = sets(&Process::this())[1];
    for (number, name) in NAMES.iter().enumerate().filter(|(number, _)| host & (1 << number) != 0) {
        let lists = json!({"bounding": [name]});
        let output =
            Bundle::new().set("/process/capabilities", lists).sh("grep CapBnd /proc/self/status").run();
        output.expect_ok().expect_stdout(&format!("CapBnd:\t{:016x}\n", 1_u64 << number));
    }
}

#[test]
fn unknown_names_are_warned_of_and_ignored() {
    known_gap!(Crun, "1.8.1 refuses them");
    let container =
        Bundle::new().capabilities(&["CAP_KILL", "CAP_TELEPORT", "CAP_CHOWN", "kill"]).container();
    let log = container.bundle().scratch_file("log");
    let container = container.with_globals(&["--log", &log, "--log-format", "json"]);
    container.create().expect_ok();
    assert_eq!(sets(&container.init())[3], KILL | CHOWN);
    let text = fs::read_to_string(&log).unwrap();
    let warned =
        |name: &str| text.lines().any(|line| line.contains("\"level\":\"warning\"") && line.contains(name));
    assert!(warned("CAP_TELEPORT"), "{text}");
    known_gap!(Runc, "1.1.5 names only the first");
    assert!(warned("kill"), "{text}");
}

#[test]
fn ambient_capabilities_outside_of_permitted_and_inheritable_are_warned_of() {
    known_gap!(Runc, Crun, "these versions drop them silently, or refuse");
    let lists = json!({"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]});
    let container = of_user(Bundle::new().set("/process/capabilities", lists)).container();
    let log = container.bundle().scratch_file("log");
    let container = container.with_globals(&["--log", &log]);
    container.create().expect_ok();
    assert_eq!(sets(&container.init())[4], 0);
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("process.capabilities.ambient") && text.contains("CAP_KILL"), "{text}");
}

#[test]
fn what_is_not_given_is_really_missing() {
    let tries = "mknod /tmp/n c 1 3 2>/dev/null && echo mknod; hostname other 2>/dev/null && echo hostname; \
                 chown 7 /tmp/f 2>/dev/null && echo chown; chroot / true 2>/dev/null && echo chroot; echo end";
    let with =
        |names: &[&str]| Bundle::new().capabilities(names).in_container(&format!("touch /tmp/f; {tries}"));
    assert_eq!(with(&[]), "end");
    assert_eq!(with(&["CAP_MKNOD"]), "mknod\nend");
    assert_eq!(with(&["CAP_SYS_ADMIN"]), "hostname\nend");
    assert_eq!(with(&["CAP_CHOWN", "CAP_SYS_CHROOT"]), "chown\nchroot\nend");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_bounding_set_holds_for_set_user_id_programs() {
    // sethostname(bad address): EPERM without CAP_SYS_ADMIN, EFAULT with it.
    let program = integration::elf::call64(170, [0, 1, 0], integration::elf::Exit::Errno);
    let lists = |bounding: &[&str]| json!({"bounding": bounding});
    for (bounding, no_new_privileges, status) in [
        (&["CAP_KILL"][..], false, 1),
        (&["CAP_KILL", "CAP_SYS_ADMIN"], false, 14),
        (&["CAP_KILL", "CAP_SYS_ADMIN"], true, 1),
    ] {
        let bundle = of_user(Bundle::new()).set("/process/capabilities", lists(bounding));
        let bundle = bundle.set("/process/noNewPrivileges", json!(no_new_privileges));
        let bundle = bundle.file("/opt/sethostname", 0o4755, &program).args(&["/opt/sethostname"]);
        bundle.run().expect_code(status);
    }
}

#[test]
fn securebits_are_as_they_were() {
    // PR_GET_SECUREBITS is 27. A bit that stayed set would give or keep rights on the next change of ids.
    let script = "/usr/bin/perl -e 'printf(\"%d\\n\", syscall(shift, 27))' $PRCTL";
    let number = if cfg!(target_arch = "x86_64") { "157" } else { "167" };
    let output = of_user(Bundle::new()).host_programs().env("PRCTL", number).sh(script).run();
    output.expect_ok().expect_stdout("0\n");
}

/// By number (linux/capability.h).
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];
