//! Containers made by root of a user namespace, as rootless engines call the runtime: `podman unshare`, RootlessKit,
//! another container. (runc(8), `--rootless auto`.)
// Test code all of it: helpers panic where they stand, as the tests do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use integration::{Bundle, Ordinary, json, known_gap, requires, uses_cgroup2};

const USER: Ordinary = Ordinary::NOBODYS;

/// What Podman's own environment adds.
const PODMAN: &str = "_CONTAINERS_USERNS_CONFIGURED=done _CONTAINERS_ROOTLESS_UID=431000 \
                      _CONTAINERS_ROOTLESS_GID=431000 USER=ordinary";

/// As engines have it: no user namespace of the container's own.
fn without_own_users(bundle: Bundle) -> Bundle {
    USER.bundle(bundle).remove_namespace("user").remove("/linux/uidMappings").remove("/linux/gidMappings")
}

const MAP: &str = "cat /proc/self/uid_map";

#[track_caller]
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[test]
fn root_of_the_users_namespace_makes_containers_without_being_told() {
    for namespaces in ["-Ur", "-Urm", "-Urmpf --mount-proc", "-Urmnpf --mount-proc"] {
        let bundle = without_own_users(Bundle::new().sh(MAP));
        let container =
            USER.container_by(bundle, &format!("exec env {PODMAN} unshare {namespaces} -- \"$@\""));
        let output = container.run().expect_ok();
        assert_eq!(words(&output.stdout), ["0", &USER.id.to_string(), "1"], "{namespaces}: {output}");
    }
}

#[test]
fn a_user_namespace_within_the_users_namespace_is_made() {
    known_gap!(Runc, "without a mount namespace around it cannot come back to its own");
    let own = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    for namespaces in ["-Ur", "-Urm", "-Urmpf --mount-proc"] {
        let bundle = USER.bundle(Bundle::new().sh(MAP));
        let bundle = bundle.set("/linux/uidMappings", own.clone()).set("/linux/gidMappings", own.clone());
        let container = USER.container_by(bundle, &format!("exec unshare {namespaces} -- \"$@\""));
        let output = container.run().expect_ok();
        // As the namespace outside counts: the user is root there.
        assert_eq!(words(&output.stdout), ["0", "0", "1"], "{namespaces}: {output}");
    }
}

#[test]
fn ids_that_the_outer_namespace_does_not_have_are_refused() {
    known_gap!(Runc, Crun, "they name the file alone");
    let all = json!([{"containerID": 0, "hostID": 0, "size": 2}]);
    let bundle = USER.bundle(Bundle::new()).set("/linux/uidMappings", all);
    let container = USER.container_by(bundle, "exec unshare -Urm -- \"$@\"");
    let refused = container.run().expect_fail();
    refused.expect_stderr("linux.uidMappings: not all of these ids are in the runtime's own user namespace");
}

/// Root of the host in a user namespace of its own: what it was born with does not count.
#[test]
fn root_in_a_user_namespace_is_rootless_too() {
    known_gap!(Crun, "it refuses to work on hybrid hosts");
    let bundle = without_own_users(Bundle::new().sh(MAP));
    let container = bundle.container();
    let output = container.bundle().scratch_file("output");
    fs::create_dir(&output).unwrap();
    let caller = ["unshare", "--user", "--map-root-user", "--mount"];
    container.birth_by(&caller, "run", &[]).output_in(output.as_ref()).output().expect_ok();
    assert_eq!(words(&fs::read_to_string(format!("{output}/stdout")).unwrap()), ["0", "0", "1"]);
}

#[test]
fn told_that_it_is_not_rootless_it_insists_on_the_cgroup() {
    requires!(uses_cgroup2(), "cgroup v1 is used");
    known_gap!(Runc, Crun, "they know no difference here, or the flag");
    let bundle = without_own_users(Bundle::new());
    let container =
        USER.container_by(bundle, "exec unshare -Urm -- \"$@\"").with_globals(&["--rootless", "false"]);
    container.run().expect_fail().expect_stderr("create cgroup");
}

#[test]
fn groups_that_nobody_may_set_are_refused() {
    known_gap!(Crun, "it says it in other words");
    known_gap!(Runc, "it leaves them out");
    let bundle = without_own_users(Bundle::new()).set("/process/user/additionalGids", json!([0]));
    let container = USER.container_by(bundle, "exec unshare -Urm -- \"$@\"");
    container.run().expect_fail().expect_stderr("cannot set any additional groups in a rootless container");
}

/// As in a container whose engine masks paths: its /proc is covered in places.
#[test]
fn a_container_in_a_masked_container_is_told_why_there_is_no_proc() {
    known_gap!(Runc, Crun, "they name the call alone");
    let bundle = without_own_users(Bundle::new());
    let mask = bundle
        .host_program("mask", b"#!/bin/sh\nmount -t tmpfs none /proc/tty\nexec unshare -Urm -- \"$@\"\n");
    let caller = format!("exec unshare -Urmpf --mount-proc -- {mask} \"$@\"");
    let container = USER.container_by(bundle, &caller);
    container.run().expect_fail().expect_stderr("as the masked paths of an outer container do");
}

/// Process ids mean other processes there.
#[test]
fn a_proc_of_another_process_id_namespace_is_refused() {
    known_gap!(Runc, Crun, "they fail where they look for their own process");
    let container = USER.container_by(without_own_users(Bundle::new()), "exec unshare -Urmpf -- \"$@\"");
    container.run().expect_fail().expect_stderr("\"/proc\" is of another process id namespace");
}

#[test]
fn where_no_more_user_namespaces_may_be_the_error_says_so() {
    known_gap!(Runc, Crun, "they name the call alone");
    let own = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    let bundle =
        USER.bundle(Bundle::new()).set("/linux/uidMappings", own.clone()).set("/linux/gidMappings", own);
    let none =
        bundle.host_program("none", b"#!/bin/sh\necho 0 >/proc/sys/user/max_user_namespaces\nexec \"$@\"\n");
    let container = USER.container_by(bundle, &format!("exec unshare -Urm -- {none} \"$@\""));
    container.run().expect_fail().expect_stderr("user.max_user_namespaces");
}
