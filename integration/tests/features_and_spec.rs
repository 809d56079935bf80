//! `features` as engines read it (features.md, features-linux.md), and the documents that `spec` writes.
// Helpers outside the test functions panic as these do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;

use integration::{Bundle, Call, ConsoleSocket, Container, Output, Scratch, Value, json, known_gap};

fn features() -> Value {
    Call::runtime().args(["features"]).output().expect_ok().expect_no_stderr().json()
}

fn names(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

#[test]
fn features_are_one_document_and_nothing_else() {
    known_gap!(Crun, "1.8.1 has no features");
    // CRI-O takes stdout and stderr together.
    let call = Call::of("sh").args(["-c", "\"$0\" features 2>&1"]);
    let output = call.args([integration::runtime_under_test()]).output().expect_ok();
    assert!(output.json().is_object());
    assert!(output.stdout.starts_with("{\n    \"ociVersionMin\""), "{output}");
}

#[test]
fn features_name_the_versions_that_are_read() {
    known_gap!(Crun, "1.8.1 has no features");
    let features = features();
    let version = |key: &str| {
        let text = features[key].as_str().unwrap().split('-').next().unwrap().to_owned();
        let parts: Vec<u32> = text.split('.').map(|part| part.parse().unwrap()).collect();
        assert_eq!(parts.len(), 3, "{text}");
        parts
    };
    assert_eq!(version("ociVersionMin"), [1, 0, 0]);
    assert!(version("ociVersionMax") >= vec![1, 0, 2]);
    for key in ["ociVersionMin", "ociVersionMax"] {
        let bundle = Bundle::new().set("/ociVersion", features[key].clone());
        assert_eq!(bundle.in_container("echo runs"), "runs");
    }
}

#[test]
fn features_are_read_by_the_type_of_the_specification() {
    known_gap!(Crun, "1.8.1 has no features");
    let output = Call::runtime().args(["features"]).output().expect_ok();
    let typed: oci_spec::runtime::Features = serde_json::from_str(&output.stdout).unwrap();
    assert!(typed.linux().is_some());
}

#[test]
fn features_have_what_engines_ask_for() {
    known_gap!(Crun, "1.8.1 has no features");
    known_gap!(Runc, "1.1.5 knows no idmapped mounts");
    let features = features();
    let linux = &features["linux"];
    assert_eq!(linux["mountExtensions"]["idmap"]["enabled"], true); // containerd
    assert!(names(&features["mountOptions"]).contains(&"rro")); // CRI, recursive read-only
    assert!(names(&linux["namespaces"]).contains(&"user")); // CRI, user namespaces
    assert_eq!(linux["seccomp"]["enabled"], true);
    assert_eq!(linux["cgroup"]["v2"], true);
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        assert!(names(&features["hooks"]).contains(&kind), "{kind}");
    }
    assert_eq!(features["annotations"]["org.opencontainers.runc.checkpoint.enabled"], "true");
    assert!(names(&features["potentiallyUnsafeConfigAnnotations"]).contains(&"org.criu.config"));
}

#[test]
fn lists_of_features_have_no_name_twice() {
    known_gap!(Crun, "1.8.1 has no features");
    let features = features();
    for pointer in [
        "/hooks",
        "/mountOptions",
        "/linux/namespaces",
        "/linux/capabilities",
        "/linux/seccomp/actions",
        "/linux/seccomp/operators",
        "/linux/seccomp/archs",
    ] {
        let mut list = names(features.pointer(pointer).unwrap_or_else(|| panic!("{pointer}")));
        let count = list.len();
        list.sort_unstable();
        list.dedup();
        assert!(count != 0 && count == list.len(), "{pointer}");
    }
}

#[test]
fn every_mount_option_of_the_features_is_accepted() {
    known_gap!(Crun, "1.8.1 has no features");
    known_gap!(Runc, "1.1.5 needs a mapping for some");
    let features = features();
    for option in names(&features["mountOptions"]) {
        if matches!(option, "idmap" | "ridmap") {
            continue; // needs a user namespace or a mapping of its own: see the tests of mounts
        }
        let options: &[&str] =
            if matches!(option, "bind" | "rbind") { &[option] } else { &["rbind", option] };
        let bundle = Bundle::new();
        let source = bundle.scratch_file("source");
        fs::create_dir(&source).unwrap();
        let output = if matches!(option, "remount" | "tmpcopyup") {
            bundle.mount("/tmp", "tmpfs", "tmpfs", &["tmpcopyup"]).run()
        } else {
            bundle.bind(&source, "/mnt", options).run()
        };
        assert_eq!(output.code(), 0, "{option}: {output}");
    }
}

#[test]
fn every_namespace_of_the_features_can_be_made() {
    known_gap!(Crun, "1.8.1 has no features");
    let features = features();
    for kind in names(&features["linux"]["namespaces"]) {
        if matches!(kind, "user" | "time") {
            continue; // user needs mappings, time a kernel with it: see their own tests
        }
        let bundle = Bundle::new();
        let path = format!(
            "/proc/{}/ns/{}",
            std::process::id(),
            match kind {
                "mount" => "mnt",
                "network" => "net",
                other => other,
            }
        );
        let own = fs::read_link(path).unwrap();
        let present = bundle.config().get("/linux/namespaces").unwrap().to_string().contains(kind);
        let bundle = if present { bundle } else { bundle.new_namespace(kind) };
        let name = own.to_string_lossy().split(':').next().unwrap().to_owned();
        let inside = bundle.in_container(&format!("readlink /proc/self/ns/{name}"));
        assert_ne!(inside, own.to_string_lossy(), "{kind}");
    }
}

/// `spec` in a folder.
fn spec(folder: &Path, options: &[&str]) -> Output {
    Call::runtime().args(["spec"]).args(options).current_dir(folder).output()
}

#[test]
fn spec_writes_a_document_that_is_valid_and_tab_indented() {
    for options in [&[][..], &["--rootless"]] {
        let scratch = Scratch::new();
        spec(scratch.path(), options).expect_ok().expect_no_stderr().expect_stdout("");
        let text = fs::read_to_string(scratch.path().join("config.json")).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let typed: oci_spec::runtime::Spec = serde_json::from_str(&text).unwrap();
        assert!(typed.version().starts_with("1."));
        assert_eq!(document["process"]["args"], json!(["sh"]));
        assert_eq!(document["root"]["path"], "rootfs");
        known_gap!(Crun, "1.8.1 indents by spaces");
        assert!(text.starts_with("{\n\t\"ociVersion\": \""), "{text}");
        assert!(text.lines().all(|line| !line.starts_with(' ')), "{text}");
        assert!(text.lines().any(|line| line.starts_with("\t\t\t\"")), "{text}");
    }
}

#[test]
fn spec_writes_where_it_is_told() {
    for flag in ["--bundle", "-b"] {
        let scratch = Scratch::new();
        let bundle = scratch.path().join("there");
        fs::create_dir(&bundle).unwrap();
        spec(scratch.path(), &[flag, bundle.to_str().unwrap()]).expect_ok();
        assert!(bundle.join("config.json").is_file());
        assert!(!scratch.path().join("config.json").exists());
    }
}

#[test]
fn spec_does_not_replace_a_file() {
    let scratch = Scratch::new();
    let file = scratch.path().join("config.json");
    fs::write(&file, "mine").unwrap();
    for options in [&[][..], &["--rootless"]] {
        spec(scratch.path(), options).expect_code(1).expect_runc_phrase("config.json exists");
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    }
    // Nor what a link leads to, be it there or not.
    fs::remove_file(&file).unwrap();
    let target = scratch.path().join("target");
    std::os::unix::fs::symlink(&target, &file).unwrap();
    known_gap!(Runc, "1.1.5 writes through a dangling link");
    known_gap!(Crun, "1.8.1 writes through a dangling link");
    spec(scratch.path(), &[]).expect_fail();
    assert!(!target.exists());
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1, "a temporary file is left");
}

#[test]
fn spec_in_a_folder_that_is_missing_is_an_error() {
    let scratch = Scratch::new();
    spec(scratch.path(), &["--bundle", "gone"]).expect_fail().expect_stderr("o such file or directory");
    spec(scratch.path(), &["surplus"]).expect_fail();
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

/// A container of the document that `spec` writes, changed where told.
fn of_default(options: &[&str], change: impl FnOnce(&mut Value)) -> Container {
    let bundle = Bundle::new();
    spec(&bundle.path(), options).expect_ok();
    let text = fs::read(bundle.path().join("config.json")).unwrap();
    let mut document: Value = serde_json::from_slice(&text).unwrap();
    change(&mut document);
    bundle.container_of_raw(document.to_string().as_bytes())
}

#[test]
fn run_works_with_the_default_document_without_its_terminal() {
    let container = of_default(&[], |document| document["process"]["terminal"] = json!(false));
    let call = container.birth("run", &[]).stdin_bytes("hostname; id -u; echo $PWD; exit 3\n");
    let output = call.output().expect_code(3).expect_no_stderr();
    assert!(output.stdout.ends_with("\n0\n/\n"), "{output}");
    assert_eq!(output.stdout.lines().count(), 3, "{output}");
    container.state_output().expect_code(1);
}

#[test]
fn the_default_document_as_it_is_has_a_terminal() {
    let container = of_default(&[], |_| {});
    let socket = ConsoleSocket::listen(&container.bundle().scratch().join("console"));
    container.create_with(&["--console-socket", socket.path()]).expect_ok();
    let mut terminal = socket.terminal();
    container.start().expect_ok();
    terminal.send("tty; exit\n");
    terminal.read_until("/dev/pts/0");
    container.wait_status("stopped");
}

#[test]
fn the_root_of_the_default_document_is_read_only() {
    let container = of_default(&[], |document| {
        document["process"]["terminal"] = json!(false);
        document["process"]["args"] = json!(["sh", "-c", "echo x 2>/dev/null >/file || echo refused"]);
    });
    container.run().expect_ok().expect_stdout("refused\n");
}

#[test]
fn run_works_with_the_rootless_document() {
    known_gap!(Crun, "1.8.1 wants a cgroup that it can write to");
    let container = of_default(&["--rootless"], |document| {
        document["process"]["terminal"] = json!(false);
        document["process"]["args"] = json!(["sh", "-c", "cat /proc/self/uid_map | tr -s ' '; id -u"]);
    });
    // The folder above the root must let the mapped user pass; it is root here, mapped to itself.
    container.run().expect_ok().expect_no_stderr().expect_stdout(" 0 0 1\n0\n");
}
