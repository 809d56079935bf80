//! `linux.sysctl`: kernel parameters of the container's own namespaces, and of no others. (runtime-spec
//! config-linux.md "Sysctl"; namespaces(7).)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;

use integration::{Bundle, Value, json, known_gap};

fn with(sysctl: Value) -> Bundle {
    Bundle::new().set("/linux/sysctl", sysctl)
}

fn host(name: &str) -> String {
    fs::read_to_string(format!("/proc/sys/{name}")).unwrap().trim_end().to_owned()
}

/// `create` refuses and names the parameter.
fn refused(bundle: Bundle, name: &str) {
    let container = bundle.container();
    container.create().expect_fail().expect_runc_phrase(name);
    container.state_output().expect_code(1);
}

#[test]
fn parameters_of_each_own_namespace_are_set_and_the_hosts_stay() {
    let files = [
        "net/ipv4/ip_forward",
        "net/core/somaxconn",
        "kernel/msgmax",
        "kernel/shm_rmid_forced",
        "kernel/sem",
        "fs/mqueue/msg_max",
        "kernel/domainname",
    ];
    let before = files.map(host);
    let bundle = with(json!({
        "net.ipv4.ip_forward": "1",
        "net.core.somaxconn": "77",
        "kernel.msgmax": "4321",
        "kernel.shm_rmid_forced": "1",
        "kernel.sem": "111 22222 33 44",
        "fs.mqueue.msg_max": "17",
    }));
    let script = "cd /proc/sys; cat net/ipv4/ip_forward net/core/somaxconn kernel/msgmax \
                  kernel/shm_rmid_forced kernel/sem fs/mqueue/msg_max";
    assert_eq!(bundle.in_container(script), "1\n77\n4321\n1\n111\t22222\t33\t44\n17");
    assert_eq!(files.map(host), before);
}

#[test]
fn slashes_are_as_good_as_dots() {
    known_gap!(Crun, "1.8.1 takes dots only");
    let bundle = with(json!({"net/ipv4/ip_forward": "1"}));
    known_gap!(Runc, "1.1.5 compares names with dots only");
    assert_eq!(bundle.in_container("cat /proc/sys/net/ipv4/ip_forward"), "1");
}

#[test]
fn the_domain_name_can_be_set_both_ways() {
    known_gap!(Crun, "1.8.1 refuses the parameter");
    let before = host("kernel/domainname");
    let read = "cat /proc/sys/kernel/domainname";
    assert_eq!(with(json!({"kernel.domainname": "by.sysctl"})).in_container(read), "by.sysctl");
    known_gap!(Runc, "1.1.5 does not know the field domainname");
    assert_eq!(Bundle::new().set("/domainname", json!("by.field")).in_container(read), "by.field");
    assert_eq!(host("kernel/domainname"), before);
}

#[test]
fn an_empty_value_empties_a_parameter() {
    known_gap!(Runc, Crun, "these versions write nothing");
    let bundle = Bundle::new().set("/linux/sysctl", json!({"kernel.domainname": ""}));
    assert_eq!(bundle.in_container("cat /proc/sys/kernel/domainname"), "");
}

#[test]
fn they_are_set_for_a_container_that_may_not_write_them() {
    // No capability, read-only /proc/sys, user 1000: the runtime sets them, not the program.
    let bundle = with(json!({"net.ipv4.ip_unprivileged_port_start": "0"})).capabilities(&[]);
    let bundle = bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    assert_eq!(bundle.in_container("cat /proc/sys/net/ipv4/ip_unprivileged_port_start"), "0");
}

#[test]
fn they_are_set_without_proc_in_the_container() {
    known_gap!(Runc, Crun, "these versions write through the container's own /proc");
    let bundle = with(json!({"kernel.msgmax": "4321"})).remove_mount("/proc");
    let bundle = bundle.remove("/linux/maskedPaths").remove("/linux/readonlyPaths");
    // Without /proc: msgget and the like know the limit, ipcs of the host's shows it.
    let bundle = bundle.mount("/later", "proc", "proc", &["ro"]);
    assert_eq!(bundle.in_container("cat /later/sys/kernel/msgmax"), "4321");
}

#[test]
fn they_are_set_in_a_user_namespace() {
    let bundle = with(json!({"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1"}));
    let bundle = bundle.user_namespace(100_000, 65_536);
    let read = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced";
    assert_eq!(bundle.in_container(read), "1\n1");
}

#[test]
fn parameters_of_the_whole_host_are_refused() {
    // Values as they are, so that even a runtime that let them through would change nothing.
    for (name, file) in [
        ("kernel.core_pattern", "kernel/core_pattern"),
        ("vm.overcommit_memory", "vm/overcommit_memory"),
        ("fs.file-max", "fs/file-max"),
        ("kernel.pid_max", "kernel/pid_max"),
        ("kernel.randomize_va_space", "kernel/randomize_va_space"),
    ] {
        refused(with(json!({name: host(file)})), name);
    }
}

#[test]
fn the_host_name_has_a_field_of_its_own() {
    known_gap!(Crun, "1.8.1 lets it through");
    refused(with(json!({"kernel.hostname": "caisson"})), "kernel.hostname");
}

#[test]
fn parameters_of_a_namespace_that_is_the_hosts_are_refused() {
    let forward = host("net/ipv4/ip_forward");
    refused(with(json!({"net.ipv4.ip_forward": forward})).remove_namespace("network"), "net.ipv4.ip_forward");
    let msgmax = host("kernel/msgmax");
    refused(with(json!({"kernel.msgmax": msgmax})).remove_namespace("ipc"), "kernel.msgmax");
    let domain = host("kernel/domainname");
    let bundle = with(json!({"kernel.domainname": domain})).remove_namespace("uts").remove("/hostname");
    refused(bundle, "kernel.domainname");
}

#[test]
fn parameters_of_a_joined_namespace_that_is_the_runtimes_own_are_refused() {
    known_gap!(Crun, "1.8.1 does not look which one is joined");
    // As everywhere here: the values are the host's, and harmless where they get through.
    let forward = host("net/ipv4/ip_forward");
    let bundle = with(json!({"net.ipv4.ip_forward": forward}));
    refused(bundle.join_namespace("network", "/proc/self/ns/net"), "net.ipv4.ip_forward");
    known_gap!(Runc, "1.1.5 looks at the network namespace only");
    let bundle = with(json!({"kernel.msgmax": host("kernel/msgmax")}));
    refused(bundle.join_namespace("ipc", "/proc/self/ns/ipc"), "kernel.msgmax");
    let bundle = with(json!({"kernel.domainname": host("kernel/domainname")})).remove("/hostname");
    refused(bundle.join_namespace("uts", "/proc/self/ns/uts"), "kernel.domainname");
    let name = host("kernel/hostname");
    let bundle = Bundle::new().set("/hostname", json!(name));
    refused(bundle.join_namespace("uts", "/proc/self/ns/uts"), "hostname");
}

#[test]
fn parameters_of_a_joined_namespace_are_set() {
    let holder = Bundle::new().sleeping().container();
    holder.create().expect_ok();
    let network = holder.init().path("ns/net");
    let bundle = with(json!({"net.ipv4.ip_forward": "1"}));
    let bundle = bundle.join_namespace("network", network.to_str().unwrap());
    assert_eq!(bundle.in_container("cat /proc/sys/net/ipv4/ip_forward"), "1");
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    known_gap!(Runc, Crun, "these versions look at the beginning of the name only");
    let pattern = host("kernel/core_pattern");
    for name in [
        "net/../kernel/core_pattern",
        "net.//.kernel.core_pattern",
        "net..ipv4.ip_forward",
        "net./.ipv4",
        "",
        "net",
        "net.",
    ] {
        let container = with(json!({name: pattern})).container();
        container.create().expect_code(1).expect_stderr("linux.sysctl");
        container.state_output().expect_code(1);
    }
}

#[test]
fn a_parameter_that_does_not_exist_is_an_error_with_its_name() {
    let container = with(json!({"net.ipv4.no_such_thing": "1"})).container();
    let output = container.create().expect_fail();
    container.state_output().expect_code(1);
    known_gap!(Crun, "words of its own");
    output.expect_stderr("no such file or directory").expect_stderr("no_such_thing");
}

#[test]
fn a_value_the_kernel_refuses_is_an_error_with_the_parameters_name() {
    let container = with(json!({"net.ipv4.ip_forward": "many"})).container();
    let output = container.create().expect_fail();
    container.state_output().expect_code(1);
    known_gap!(Crun, "words of its own");
    output.expect_stderr("invalid argument").expect_stderr("ip_forward");
}

#[test]
fn a_value_that_is_no_text_is_refused() {
    known_gap!(Crun, "1.8.1 takes numbers too");
    let container = with(json!({"net.ipv4.ip_forward": 1})).container();
    container.create().expect_fail().expect_runc_phrase("ysctl");
}
