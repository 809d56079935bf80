//! AppArmor, SELinux and Intel RDT on a host that lacks them: what is asked for and cannot be had is an error
//! with the field's name, never nothing. (runtime-spec config.md "Linux Process", config-linux.md "Intel RDT",
//! "Mount Label".)

use std::fs;

use integration::{Bundle, Value, json, kernel_has, known_gap, requires};

fn apparmor() -> bool {
    fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"))
}

fn selinux() -> bool {
    kernel_has("/sys/fs/selinux/enforce")
}

fn refused(pointer: &str, value: Value, words: &[&str]) {
    for command in ["create", "run"] {
        let container = Bundle::new().set(pointer, value.clone()).container();
        let output = container.birth(command, &[]).output().expect_code(1);
        for word in words {
            assert!(output.stderr.contains(word), "{word}: {output}");
        }
        assert_eq!(output.stdout, "");
        container.state_output().expect_code(1);
    }
}

#[test]
fn a_profile_without_apparmor_is_an_error() {
    requires!(!apparmor(), "this host has AppArmor");
    known_gap!(Runc, Crun, "words of their own");
    refused(
        "/process/apparmorProfile",
        json!("docker-default"),
        &["process.apparmorProfile", "docker-default", "AppArmor is not enabled"],
    );
}

#[test]
fn the_profile_unconfined_is_had_without_apparmor() {
    requires!(!apparmor(), "this host has AppArmor");
    known_gap!(Runc, Crun, "these versions ask for AppArmor then too");
    Bundle::new().set("/process/apparmorProfile", json!("unconfined")).run().expect_ok().expect_no_stderr();
}

#[test]
fn a_profile_that_is_not_loaded_is_an_error() {
    requires!(apparmor(), "no AppArmor on this host");
    refused("/process/apparmorProfile", json!("caisson-no-such-profile"), &["caisson-no-such-profile"]);
}

#[test]
fn a_label_without_selinux_is_an_error() {
    requires!(!selinux(), "this host has SELinux");
    known_gap!(Runc, Crun, "words of their own, or silence");
    let label = "system_u:system_r:container_t:s0:c1,c2";
    for field in ["process/selinuxLabel", "linux/mountLabel"] {
        refused(
            &format!("/{field}"),
            json!(label),
            &[&field.replace('/', "."), label, "SELinux is not enabled"],
        );
    }
}

#[test]
fn empty_labels_ask_for_nothing() {
    let bundle =
        Bundle::new().set("/process/apparmorProfile", json!("")).set("/process/selinuxLabel", json!(""));
    bundle.set("/linux/mountLabel", json!("")).run().expect_ok().expect_no_stderr();
}

#[test]
fn a_label_of_two_lines_is_refused() {
    known_gap!(Runc, Crun, "these versions do not look");
    for field in ["process/apparmorProfile", "process/selinuxLabel", "linux/mountLabel"] {
        refused(&format!("/{field}"), json!("a\nb"), &[&field.replace('/', ".")]);
    }
}

#[test]
fn intel_rdt_without_resctrl_is_an_error() {
    requires!(!kernel_has("/sys/fs/resctrl/schemata"), "this host has resctrl");
    known_gap!(Runc, Crun, "these versions ignore it, or parts of it");
    for rdt in [
        json!({"closID": "gold"}),
        json!({"l3CacheSchema": "L3:0=f"}),
        json!({"memBwSchema": "MB:0=20"}),
        json!({"closID": "gold", "schemata": ["L3:0=f"]}),
        json!({"enableMonitoring": true}),
    ] {
        let container = Bundle::new().set("/linux/intelRdt", rdt).container();
        let output = container.create().expect_fail();
        container.state_output().expect_code(1);
        output.expect_code(1).expect_stderr("linux.intelRdt");
    }
}

#[test]
fn intel_rdt_that_cannot_be_meant_is_refused() {
    known_gap!(Runc, Crun, "these versions check little");
    for (rdt, field) in [
        (json!({"closID": "a/b"}), "linux.intelRdt.closID"),
        (json!({"closID": ".."}), "linux.intelRdt.closID"),
        (json!({"memBwSchema": "L3:0=f"}), "linux.intelRdt.memBwSchema"),
        (json!({"schemata": ["L3:0=f\nMB:0=10"]}), "linux.intelRdt.schemata[0]"),
    ] {
        refused("/linux/intelRdt", rdt, &[field]);
    }
}
