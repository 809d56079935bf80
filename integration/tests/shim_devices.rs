//! Devices by the names that their vendors give them (CDI), and `--gpus`: described in an `/etc/cdi` of the test's own.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::path::{Path, PathBuf};

use integration::{Call, Shim, is_root, json, requires};

const ROOT: &str = "devices need root";

/// A host whose `/etc/cdi` is a folder of the test's.
struct Described {
    shim: Shim,
    folder: PathBuf,
}

impl Described {
    fn new() -> Described {
        let shim = Shim::with_busybox();
        let folder = shim.folder().join("etc/cdi");
        for part in ["etc/cdi", "work"] {
            fs::create_dir_all(shim.folder().join(part)).unwrap();
        }
        Described { shim, folder }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).unwrap();
    }

    /// A call that sees it: the host's own `/etc` with the folder above it, in a mount namespace that ends with the call.
    fn call(&self, words: &[&str]) -> Call {
        let below = |part: &str| self.shim.folder().join(part).display().to_string();
        let options = format!("lowerdir=/etc,upperdir={},workdir={}", below("etc"), below("work"));
        let script = "mount -t overlay overlay -o \"$0\" /etc && exec \"$@\"";
        self.shim.call(words).through(&["unshare", "--mount", "sh", "-ec", script, &options])
    }
}

fn yaml(shared: &Path) -> String {
    let shared = shared.display();
    format!(
        "cdiVersion: 0.7.0\nkind: caisson.test/dev\ncontainerEdits:\n  env: [OF_ALL=yes]\ndevices:\n- name: nothing\n  \
         containerEdits:\n    env: [NAME=one]\n    deviceNodes:\n    - path: /dev/nothing\n      hostPath: /dev/null\n      \
         permissions: rw\n    additionalGids: [4321]\n- name: files\n  containerEdits:\n    env: [NAME=two]\n    mounts:\n    \
         - hostPath: {shared}\n      containerPath: /shared\n      options: [ro, bind]\n    hooks:\n    - hookName: \
         createRuntime\n      path: /bin/sh\n      args: [sh, -c, 'cat > {shared}/hooked']\n"
    )
}

#[test]
fn a_device_comes_with_all_that_its_description_says() {
    requires!(is_root(), "{ROOT}");
    let host = Described::new();
    let shared = host.shim.folder().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("file"), "of the host\n").unwrap();
    host.write("test.yaml", &yaml(&shared));
    let script = "echo $OF_ALL $NAME; id -G; echo gone > /dev/nothing; stat -c %t:%T /dev/nothing; cat /shared/file; touch /shared/x";
    let devices = ["--device", "caisson.test/dev=nothing", "--device", "caisson.test/dev=files"];
    let words = [&["run", "--rm"][..], &devices, &["busybox", "sh", "-c", script]].concat();
    let output = host.call(&words).output().expect_fail();
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!((lines[0], lines[2], lines[3]), ("yes two", "1:3", "of the host"), "{output}");
    assert!(lines[1].split(' ').any(|group| group == "4321"), "{output}");
    assert!(output.stderr.contains("/shared/x: Read-only file system"), "{output}");
    let state = fs::read_to_string(shared.join("hooked")).unwrap();
    assert!(state.contains("\"ociVersion\""), "the hook gets the container's state: {state}");

    let id = host
        .shim
        .stdout(&[&["create"][..], &devices, &["--device", "/dev/zero", "busybox", "true"]].concat());
    let told = host.shim.inspect(id.trim_end());
    let requests = json!([{"Driver": "cdi", "Count": 0, "DeviceIDs": ["caisson.test/dev=nothing", "caisson.test/dev=files"],
        "Capabilities": null, "Options": null}]);
    assert_eq!(told["HostConfig"]["DeviceRequests"], requests);
    assert_eq!(told["HostConfig"]["Devices"].as_array().unwrap().len(), 1);
}

#[test]
fn devices_are_looked_up_at_each_start() {
    requires!(is_root(), "{ROOT}");
    let host = Described::new();
    let device = "caisson.test/dev=one";
    let id = host.shim.stdout(&["create", "--device", device, "busybox", "sh", "-c", "echo $VALUE"]);
    let start = || host.call(&["start", "-a", id.trim_end()]).output();
    let description = |value: &str| {
        json!({"cdiVersion": "0.5.0", "kind": "caisson.test/dev", "devices": [{"name": "one",
            "containerEdits": {"env": [format!("VALUE={value}")]}}]})
        .to_string()
    };
    let missing = start().expect_fail();
    let words = "CDI device injection failed: unresolvable CDI devices caisson.test/dev=one";
    assert!(missing.stderr.contains(words), "{missing}");
    host.write("test.json", &description("first"));
    assert_eq!(start().expect_ok().stdout, "first\n");
    host.write("test.json", &description("second"));
    assert_eq!(start().expect_ok().stdout, "second\n");
    host.write("test.json", "{\"cdiVersion\": \"0.5.0\"}");
    let broken = start().expect_fail();
    assert!(
        broken.stderr.contains(words) && broken.stderr.contains("/etc/cdi/test.json: missing field"),
        "{broken}"
    );
    let output = host.call(&["run", "--rm", "--device", "caisson.test/dev=two", "busybox", "true"]).output();
    output.expect_code(125).expect_stderr("unresolvable CDI devices caisson.test/dev=two");
    let bundle = host.shim.cli(&["bundle", "--device", device, "busybox", "/nowhere"]).expect_fail();
    assert!(bundle.stderr.contains("devices of CDI are for containers"), "{bundle}");
}

#[test]
fn gpus_are_devices_of_nvidias() {
    requires!(is_root(), "{ROOT}");
    let host = Described::new();
    let run = |gpus: &str| {
        host.call(&["run", "--rm", "--gpus", gpus, "busybox", "sh", "-c", "env | grep GPU | sort"]).output()
    };
    let missing = run("all").expect_code(125);
    let words = "could not select device driver \"\" with capabilities: [[gpu]]";
    assert!(missing.stderr.contains(words) && missing.stderr.contains("nvidia.com/gpu=all"), "{missing}");
    let device = |name: &str| json!({"name": name, "containerEdits": {"env": [format!("GPU_{name}=yes")]}});
    let devices: Vec<_> = ["0", "1", "all"].into_iter().map(device).collect();
    let description = json!({"cdiVersion": "1.1.0", "kind": "nvidia.com/gpu", "devices": devices});
    host.write("nvidia.json", &description.to_string());
    for (gpus, seen) in [
        ("all", "GPU_all=yes\n"),
        ("2", "GPU_0=yes\nGPU_1=yes\n"),
        ("device=1", "GPU_1=yes\n"),
        ("1", "GPU_0=yes\n"),
    ] {
        assert_eq!(run(gpus).expect_ok().stdout, seen, "{gpus}");
    }
}
