//! config.json as a document: versions, annotations, unknown fields, broken text. (runtime-spec config.md
//! "Specification version", "Annotations", "Extensibility", "Valid values".)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use integration::{Bundle, Flavour, Value, flavour, json, known_gap};

fn with_version(version: &str) -> Bundle {
    Bundle::new().set("/ociVersion", json!(version))
}

#[test]
fn every_version_one_is_accepted() {
    known_gap!(Crun, "1.8.1 refuses minor versions it does not know");
    for version in ["1.0.0", "1.0.2", "1.1.0", "1.2.1", "1.3.0", "1.0.2-dev", "1.3.0+build.5", "1.99.0"] {
        with_version(version).run().expect_ok().expect_no_stderr();
    }
}

#[test]
fn other_versions_and_no_versions_are_refused() {
    known_gap!(Runc, Crun, "these versions do not look at it");
    for version in ["2.0.0", "0.2.0", "1", "1.0", "v1.0.0", "1.0.0.0", "one", "", "01.0.0", "1.-1.0"] {
        let container = with_version(version).container();
        container.create().expect_code(1).expect_stderr("ociVersion");
        container.state_output().expect_code(1);
    }
    for bundle in [Bundle::new().remove("/ociVersion"), Bundle::new().set("/ociVersion", json!(1))] {
        bundle.container().create().expect_code(1).expect_stderr("ociVersion");
    }
}

#[test]
fn annotations_are_shown_as_they_are() {
    let annotations = json!({"com.example.gpu-cores": "2", "com.example.empty": "", "ключ": "значение \"x\"\n",
        "org.opencontainers.image.os": "linux", "a": "A"});
    let container = Bundle::new().set("/annotations", annotations.clone()).sleeping().container();
    container.create().expect_ok();
    assert_eq!(container.state()["annotations"], annotations);
    container.start().expect_ok();
    assert_eq!(container.state()["annotations"], annotations);
    container.kill("KILL").expect_ok();
    container.wait_status("stopped");
    assert_eq!(container.state()["annotations"], annotations);
}

#[test]
fn no_annotations_are_fine() {
    for bundle in
        [Bundle::new().set("/annotations", json!({})), Bundle::new().set("/annotations", json!(null))]
    {
        let container = bundle.sleeping().container();
        container.create().expect_ok();
        let state = container.state();
        let shown = state.get("annotations").cloned().unwrap_or_default();
        assert!(shown.is_null() || shown == json!({}), "{state}");
    }
}

#[test]
fn an_array_is_not_taken_for_an_object_whose_fields_it_could_list() {
    known_gap!(Crun, "1.8.1 takes it for an empty one");
    for (at, value) in [
        ("root", json!(["rootfs", true])),
        ("linux", json!([])),
        ("process.user", json!([0, 0])),
        ("linux.resources", json!([[]])),
        ("mounts[0]", json!(["/proc", "proc", "proc"])),
    ] {
        let pointer = format!("/{}", at.replace(['.', '['], "/").replace(']', ""));
        let container = Bundle::new().set(&pointer, value).container();
        let output = container.create().expect_code(1);
        if flavour() == Flavour::Ours {
            output.expect_stderr(&format!("config.json: {at}: ")).expect_stderr("expected an object");
        }
        container.state_output().expect_code(1);
    }
}

#[test]
fn annotations_that_are_no_text_are_refused() {
    known_gap!(Crun, "1.8.1 takes them as empty");
    for value in [json!(5), json!(true), json!({"a": "b"}), json!(["a"])] {
        let container = Bundle::new().set("/annotations/key", value).container();
        let output = container.create().expect_fail();
        if flavour() == Flavour::Ours {
            output.expect_code(1).expect_stderr("annotations");
        }
        container.state_output().expect_code(1);
    }
}

#[test]
fn unknown_fields_are_ignored_wherever_they_stand() {
    // config.md "Extensibility": runtimes MUST NOT generate an error about an unknown property.
    let mut bundle = Bundle::new().sh("echo ran");
    for place in [
        "",
        "/process",
        "/process/user",
        "/process/capabilities",
        "/root",
        "/linux",
        "/linux/resources",
        "/linux/resources/memory",
        "/linux/seccomp",
        "/hooks",
        "/mounts/0",
        "/linux/namespaces/0",
        "/process/rlimits/0",
    ] {
        bundle = match place {
            "/linux/seccomp" => bundle.set(place, json!({"defaultAction": "SCMP_ACT_ALLOW"})),
            "/process/rlimits/0" => {
                bundle.set("/process/rlimits", json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]))
            }
            _ => bundle,
        };
        bundle = bundle.set(&format!("{place}/xFuture"), json!({"deep": [1, null, "x"]}));
    }
    bundle.run().expect_ok().expect_stdout("ran\n");
}

#[test]
fn parts_for_other_systems_are_ignored() {
    let bundle = Bundle::new()
        .set("/windows", json!({"layerFolders": ["C:\\layer"], "devices": []}))
        .set("/solaris", json!({"milestone": "x"}))
        .set("/vm", json!({"kernel": {"path": "/k"}}))
        .set("/zos", json!({"namespaces": []}));
    bundle.sh("echo ran").run().expect_ok().expect_stdout("ran\n");
}

#[test]
fn null_means_absent() {
    let mut bundle = Bundle::new().sh("echo ran");
    for pointer in [
        "/hooks",
        "/annotations",
        "/process/rlimits",
        "/process/scheduler",
        "/process/ioPriority",
        "/process/oomScoreAdj",
        "/process/apparmorProfile",
        "/process/selinuxLabel",
        "/process/user/additionalGids",
        "/process/user/umask",
        "/linux/sysctl",
        "/linux/resources",
        "/linux/seccomp",
        "/linux/devices",
        "/linux/intelRdt",
        "/linux/memoryPolicy",
        "/linux/personality",
        "/linux/netDevices",
        "/linux/timeOffsets",
        "/linux/maskedPaths",
        "/linux/readonlyPaths",
        "/linux/rootfsPropagation",
        "/linux/mountLabel",
        "/linux/cgroupsPath",
    ] {
        bundle = bundle.set(pointer, json!(null));
    }
    bundle.run().expect_ok().expect_stdout("ran\n");
}

#[test]
fn a_wrong_type_is_refused_with_the_fields_name() {
    known_gap!(Runc, Crun, "words of their own");
    for (pointer, value) in [
        ("/process/terminal", json!("yes")),
        ("/process/args", json!("sh")),
        ("/process/env", json!({"A": "b"})),
        ("/process/user/uid", json!("root")),
        ("/root/readonly", json!(1)),
        ("/mounts", json!({})),
        ("/linux/namespaces", json!("pid")),
        ("/hostname", json!(7)),
        ("/process/oomScoreAdj", json!("low")),
        ("/linux/sysctl", json!(["a"])),
    ] {
        let container = Bundle::new().set(pointer, value).container();
        let field = pointer[1..].replace('/', ".");
        container.create().expect_code(1).expect_stderr(&field);
        container.state_output().expect_code(1);
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    known_gap!(Runc, Crun, "these versions stop at the first");
    let bundle = Bundle::new()
        .set("/process/cwd", json!("relative"))
        .set("/process/oomScoreAdj", json!(5000))
        .set("/process/rlimits", json!([{"type": "RLIMIT_FLY", "soft": 1, "hard": 1}]))
        .set("/linux/sysctl", json!({"kernel.pid_max": "5"}));
    let output = bundle.container().create().expect_code(1);
    for field in ["process.cwd", "process.oomScoreAdj", "process.rlimits[0]", "linux.sysctl"] {
        assert!(output.stderr.contains(field), "{field}: {output}");
    }
    assert_eq!(output.stderr.trim_end().lines().count(), 1, "{output}");
}

#[test]
fn broken_text_is_refused_with_the_files_name() {
    let whole = Bundle::new().config().0.to_string();
    let cut = &whole.as_bytes()[..whole.len() / 2];
    let twice = [whole.as_bytes(), whole.as_bytes()].concat();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for bytes in [b"".as_slice(), b"{", b"[]", b"null", b"\"config\"", b"\xff\xfe", cut, deep.as_bytes()] {
        let container = Bundle::new().container_of_raw(bytes);
        let output = container.create().expect_fail();
        if flavour() == Flavour::Ours {
            assert!(output.code() == 1 && output.stderr.contains("config.json"), "{output}");
            assert!(output.stderr.len() < 1000, "a flood: {} bytes", output.stderr.len());
        }
        container.state_output().expect_code(1);
    }
    known_gap!(Runc, Crun, "these versions read only the first document");
    Bundle::new().container_of_raw(&twice).create().expect_code(1).expect_stderr("config.json");
}

#[test]
fn text_of_any_alphabet_arrives() {
    let text = "naïve ☃ \u{1f980} \u{202e}x";
    let container = Bundle::new().args(&["echo", text]).env("T", text).container();
    assert_eq!(container.run().expect_ok().stdout, format!("{text}\n"));
    // Escapes of JSON are the same text; a pair of surrogates is one character.
    let raw = container.bundle().config().0.to_string().replace('\u{1f980}', "\\ud83e\\udd80");
    let container = Bundle::new().container_of_raw(raw.as_bytes());
    assert_eq!(container.run().expect_ok().stdout, format!("{text}\n"));
}

#[test]
fn a_fraction_is_no_id() {
    known_gap!(Crun, "1.8.1 cuts it");
    for text in ["1000.5", "1e3", "-0.5"] {
        let value: Value = serde_json::from_str(text).unwrap();
        let container = Bundle::new().set("/process/user/uid", value).container();
        container.create().expect_code(1);
        container.state_output().expect_code(1);
    }
}
