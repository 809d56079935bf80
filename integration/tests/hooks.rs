//! `hooks`: all six kinds at their moment, in their namespaces, with what they are given. (runtime-spec
//! config.md "POSIX-platform Hooks", runtime.md "Lifecycle", "State".)
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs;
use std::path::{Path, PathBuf};

use integration::{Bundle, Container, Flavour, Process, Value, flavour, json, known_gap, runtime_under_test};

const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A bundle whose hooks and program can all write to one folder: on the host it is `notes` in the scratch
/// folder, inside it is /notes. `$N` in scripts stands for it.
struct Notes {
    bundle: Bundle,
    folder: PathBuf,
}

impl Notes {
    fn new() -> Notes {
        let bundle = Bundle::new();
        let folder = bundle.scratch().join("notes");
        fs::create_dir(&folder).unwrap();
        let bundle = bundle.bind(folder.to_str().unwrap(), "/notes", &["bind"]);
        Notes { bundle, folder }
    }

    fn script(&self, kind: &str, script: &str) -> String {
        let folder = if kind == "startContainer" { Path::new("/notes") } else { &self.folder };
        script.replace("$N", folder.to_str().unwrap())
    }

    /// Adds a hook that is a shell script.
    fn hook(mut self, kind: &str, script: &str) -> Notes {
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", self.script(kind, script)]});
        self.bundle = self.bundle.push(&format!("/hooks/{kind}"), hook);
        self
    }

    fn each(self, script: &str) -> Notes {
        KINDS.iter().fold(self, |notes, kind| notes.hook(kind, &script.replace("$K", kind)))
    }

    fn edit(mut self, change: impl FnOnce(Bundle) -> Bundle) -> Notes {
        self.bundle = change(self.bundle);
        self
    }

    fn container(self) -> (Container, PathBuf) {
        (self.bundle.container(), self.folder)
    }
}

fn read(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    text.trim_end().to_owned()
}

fn lines(folder: &Path, name: &str) -> Vec<String> {
    fs::read_to_string(folder.join(name)).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// From nothing to nothing, with a program that waits until `go` is written.
fn whole_life(container: &Container) {
    container.create().expect_ok().expect_no_stderr();
    container.start().expect_ok().expect_no_stderr();
    container.wait_status("stopped");
    container.delete().expect_ok().expect_no_stderr();
}

#[test]
fn each_kind_runs_at_its_moment_and_in_order() {
    known_gap!(
        Runc,
        Crun,
        "poststart hooks of 1.1.5 run before `start`, those of 1.8.1 beside startContainer hooks"
    );
    let notes = Notes::new().each("echo $K 1 >>$N/log").each("echo $K 2 >>$N/log");
    let notes = notes.edit(|bundle| bundle.sh("echo program >>/notes/log"));
    let (container, folder) = notes.container();
    let expect = |kinds: &[&str]| -> Vec<String> {
        kinds.iter().flat_map(|kind| [format!("{kind} 1"), format!("{kind} 2")]).collect()
    };
    container.create().expect_ok().expect_no_stderr();
    assert_eq!(lines(&folder, "log"), expect(&KINDS[..3]));
    container.start().expect_ok().expect_no_stderr();
    // The poststart hooks have run when `start` comes back; the program may be faster or slower than they.
    let log = lines(&folder, "log");
    let without_program: Vec<_> = log.iter().filter(|line| *line != "program").cloned().collect();
    assert_eq!(without_program, expect(&KINDS[..5]));
    container.wait_status("stopped");
    let log = lines(&folder, "log");
    let program = log.iter().position(|line| line == "program").expect("the program has run");
    assert!(program >= 8, "before the startContainer hooks: {log:?}");
    container.delete().expect_ok().expect_no_stderr();
    assert_eq!(lines(&folder, "log")[11..], expect(&["poststop"])[..]);
}

#[test]
fn run_runs_them_all() {
    known_gap!(Crun, "1.8.1 takes input that a hook does not read for a failure, now and then");
    known_gap!(Runc, "the poststart hooks of 1.1.5 run before those of startContainer");
    let notes = Notes::new().each("echo $K >>$N/log").edit(|bundle| bundle.sh("exit 5"));
    let (container, folder) = notes.container();
    container.run().expect_code(5);
    assert_eq!(lines(&folder, "log"), KINDS);
}

#[test]
fn they_are_given_the_state_on_standard_input() {
    known_gap!(Crun, "1.8.1 says `created` while it creates");
    let notes =
        Notes::new().each("cat >$N/$K").edit(|bundle| bundle.set("/annotations/key", json!("value ☃")));
    let (container, folder) = notes.container();
    container.create().expect_ok();
    let pid = container.init_pid();
    container.start().expect_ok();
    container.wait_status("stopped");
    container.delete().expect_ok();
    let statuses = ["creating", "creating", "creating", "created", "running", "stopped"];
    for (kind, status) in KINDS.iter().zip(statuses) {
        let state: Value = serde_json::from_str(&read(&folder, kind)).unwrap();
        assert_eq!(state["id"], container.id(), "{kind}: {state}");
        assert_eq!(state["bundle"], container.bundle().path().to_str().unwrap(), "{kind}: {state}");
        assert_eq!(state["annotations"], json!({"key": "value ☃"}), "{kind}: {state}");
        assert!(state["ociVersion"].as_str().unwrap().starts_with("1."), "{kind}: {state}");
        if *kind != "poststart" || flavour() == Flavour::Ours {
            assert_eq!(state["status"], status, "{kind}: {state}");
        }
        // As a process of the hook's pid namespace sees it; a stopped container has none.
        let expected = match *kind {
            "poststop" => None,
            "createContainer" | "startContainer" if flavour() == Flavour::Ours => Some(1),
            "createContainer" | "startContainer" => continue,
            _ => Some(u64::from(pid)),
        };
        let seen = state.get("pid").and_then(Value::as_u64).filter(|pid| *pid != 0);
        assert_eq!(seen, expected, "{kind}: {state}");
    }
}

#[test]
fn they_are_given_arguments_and_environment_as_listed_and_nothing_else() {
    let notes = Notes::new();
    let mut bundle = notes.bundle;
    for kind in KINDS {
        let folder = if kind == "startContainer" { "/notes" } else { notes.folder.to_str().unwrap() };
        let script = format!("exec >{folder}/{kind}; echo \"$0|$1|$2\"; export -p");
        bundle = bundle.push(
            &format!("/hooks/{kind}"),
            json!({"path": "/bin/sh", "args": ["sh", "-c", script, "zero", "", "two words"],
                   "env": ["A=1", "EQUALS=a=b", "EMPTY=", format!("KIND={kind}")]}),
        );
    }
    let container = bundle.container();
    let call = container.birth("run", &[]).env("CAISSON_SECRET", "leaked");
    call.output().expect_ok();
    for kind in KINDS {
        let text = read(&notes.folder, kind);
        let (arguments, environment) = text.split_once('\n').unwrap();
        assert_eq!(arguments, "zero||two words", "{kind}");
        // Shells export PWD and the like themselves.
        let own = ["PWD", "OLDPWD", "SHLVL", "_"];
        let name = |line: &str| line.trim_start_matches("export ").split('=').next().unwrap().to_owned();
        let mut names: Vec<String> = environment.lines().map(name).collect();
        names.retain(|name| !own.contains(&name.as_str()));
        if kind == "startContainer" {
            // Busybox's adds a PATH of its own, where there is none.
            names.retain(|name| name != "PATH");
            assert!(environment.contains("PATH='/sbin:/usr/sbin:/bin:/usr/bin'"), "{text}");
        }
        names.sort_unstable();
        assert_eq!(names, ["A", "EMPTY", "EQUALS", "KIND"], "{kind}: {text}");
        assert!(environment.contains("EQUALS='a=b'"), "{kind}: {text}");
    }
}

#[test]
fn the_first_argument_is_the_name_and_without_arguments_it_is_the_path() {
    let notes = Notes::new();
    let script = format!("#!/bin/sh\ntr '\\0' '|' </proc/$$/cmdline >>{}/name\n", notes.folder.display());
    let path = notes.bundle.host_program("hook", script.as_bytes());
    let shell = format!("tr '\\0' '|' </proc/$$/cmdline | cut -d'|' -f1 >{}/shell", notes.folder.display());
    let bundle = notes
        .bundle
        .push("/hooks/createRuntime", json!({"path": path}))
        .push("/hooks/createRuntime", json!({"path": "/bin/sh", "args": ["my own name", "-c", shell]}));
    let container = bundle.container();
    container.run().expect_ok();
    // A script's interpreter takes the place of argv[0]; what follows is the path.
    assert_eq!(read(&notes.folder, "name"), format!("/bin/sh|{path}|"));
    assert_eq!(read(&notes.folder, "shell"), "my own name");
}

#[test]
fn in_the_runtimes_namespaces_they_start_in_the_bundle() {
    known_gap!(Runc, Crun, "poststop hooks of these versions start where `delete` was called");
    let kinds = ["prestart", "createRuntime", "poststart", "poststop"];
    let notes = kinds.iter().fold(Notes::new(), |notes, kind| notes.hook(kind, &format!("pwd >$N/{kind}")));
    let (container, folder) = notes.container();
    whole_life(&container);
    for kind in kinds {
        assert_eq!(read(&folder, kind), container.bundle().path().to_str().unwrap(), "{kind}");
    }
}

#[test]
fn each_kind_runs_in_its_namespaces() {
    known_gap!(Crun, "the harness calls it in a mount namespace of its own");
    let own = ["cgroup", "ipc", "mnt", "net", "uts"];
    // /proc of the host shows the hook's own namespaces wherever it is, except its pid: hence `self`.
    let script =
        "for n in cgroup ipc mnt net uts; do readlink /proc/self/ns/$n; done >$N/$K; uname -n >>$N/$K";
    let notes = Notes::new().each(script).edit(|bundle| bundle.sleeping().set("/hostname", json!("inside")));
    let (container, folder) = notes.container();
    container.create().expect_ok();
    container.start().expect_ok();
    let host = own.map(|kind| Process::this().namespace(kind));
    let container_s = own.map(|kind| container.init().namespace(kind));
    container.delete_force().expect_ok();
    for kind in KINDS {
        let seen = lines(&folder, kind);
        let inside = kind == "createContainer" || kind == "startContainer";
        let expected = if inside { &container_s } else { &host };
        assert_eq!(seen[..5], expected[..], "{kind}");
        // The name is set after the createContainer hooks.
        assert_eq!(seen[5] == "inside", kind == "startContainer", "{kind}: {seen:?}");
    }
}

#[test]
fn create_hooks_see_the_namespaces_and_mounts_before_pivot_root() {
    let root = |notes: &Notes| notes.bundle.rootfs().to_str().unwrap().to_owned();
    let notes = Notes::new();
    let root = root(&notes);
    let pid = r#"P=$(sed 's/.*"pid":\([0-9]*\).*/\1/')"#;
    // With the pid, a hook of the runtime's namespaces reaches those of the container: that is what CNI does.
    let runtime = format!("{pid}; for n in net ipc uts mnt; do readlink /proc/$P/ns/$n; done >$N/$K");
    // In the container's mount namespace, the root file system is still at its place on the host, mounts done.
    let container = format!(
        "stat -fc %T {root}/proc {root}/dev/shm >$N/createContainer; cat {root}/etc/hostname >>$N/createContainer"
    );
    let notes = ["prestart", "createRuntime"]
        .iter()
        .fold(notes, |notes, kind| notes.hook(kind, &runtime.replace("$K", kind)));
    let (container, folder) = notes.hook("createContainer", &container).container();
    container.create().expect_ok();
    let expected: Vec<String> =
        ["net", "ipc", "uts", "mnt"].map(|kind| container.init().namespace(kind)).into();
    for kind in ["prestart", "createRuntime"] {
        assert_eq!(lines(&folder, kind), expected, "{kind}");
    }
    assert_eq!(lines(&folder, "createContainer"), ["proc", "tmpfs", "from-the-image"]);
}

#[test]
fn a_network_made_by_a_create_runtime_hook_is_there_for_the_program() {
    let pid = r#"P=$(sed 's/.*"pid":\([0-9]*\).*/\1/')"#;
    let script = format!("{pid}; nsenter -t $P -n sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'");
    let notes = Notes::new().hook("createRuntime", &format!("PATH=/usr/sbin:/usr/bin:/sbin:/bin; {script}"));
    let (container, _) =
        notes.edit(|bundle| bundle.args(&["cat", "/proc/sys/net/ipv4/ip_forward"])).container();
    container.run().expect_ok().expect_stdout("1\n");
}

#[test]
fn start_container_hooks_are_the_containers_own_programs() {
    known_gap!(Crun, "start of 1.8.1 does not wait for them");
    let notes = Notes::new().edit(|bundle| {
        let bundle = bundle.file(
            "/opt/hook",
            0o755,
            b"#!/bin/sh\ncat /etc/hostname >/notes/seen; id -u >>/notes/seen\n",
        );
        bundle.set("/hooks/startContainer", json!([{"path": "/opt/hook"}]))
    });
    let (container, folder) = notes.container();
    container.create().expect_ok();
    assert_eq!(lines(&folder, "seen"), [""; 0]);
    container.start().expect_ok();
    assert_eq!(lines(&folder, "seen"), ["from-the-image", "0"]);
}

#[test]
fn create_container_hooks_are_found_on_the_host() {
    let notes = Notes::new();
    let script = format!("#!/bin/sh\necho ran >{}/seen\n", notes.folder.display());
    let hook = json!([{"path": notes.bundle.host_program("hook", script.as_bytes())}]);
    let (container, folder) = notes.edit(|bundle| bundle.set("/hooks/createContainer", hook)).container();
    container.create().expect_ok();
    assert_eq!(read(&folder, "seen"), "ran");
}

#[test]
fn a_hook_may_ask_for_the_state() {
    let notes = Notes::new();
    let ask = |kind: &str, container: &str| {
        let runtime = runtime_under_test().display().to_string();
        let root = notes.bundle.scratch().join("state").display().to_string();
        format!("{runtime} --root {root} state {container} >$N/{kind} 2>$N/{kind}-error; true")
    };
    let id = format!("{}asked-{}", integration::mark(), std::process::id());
    let scripts = ["prestart", "createRuntime", "poststart"].map(|kind| (kind, ask(kind, &id)));
    let notes = scripts.iter().fold(notes, |notes, (kind, script)| notes.hook(kind, script));
    let (container, folder) = notes.edit(Bundle::sleeping).container();
    let container = container.with_id(&id);
    container.create().expect_ok();
    container.start().expect_ok();
    known_gap!(Runc, Crun, "while these versions create, the state is `stopped`, or not there yet");
    for (kind, status) in [("prestart", "creating"), ("createRuntime", "creating"), ("poststart", "running")]
    {
        let text = read(&folder, kind);
        let state: Value = serde_json::from_str(&text)
            .unwrap_or_else(|_| panic!("{kind}: {text} {}", read(&folder, &format!("{kind}-error"))));
        assert_eq!(state["status"], status, "{kind}: {state}");
        assert_eq!(state["pid"], container.init_pid(), "{kind}: {state}");
    }
}

#[test]
fn a_hook_need_not_read_its_input() {
    known_gap!(Crun, "1.8.1 warns of the broken pipe");
    // Longer than a pipe holds, so that an unread rest would block or break who writes it.
    let long = "x".repeat(300_000);
    for script in ["true", "exec <&-; sleep 0.1", "head -c 10 >/dev/null"] {
        let notes = Notes::new().each(script).edit(|bundle| bundle.set("/annotations/long", json!(long)));
        let (container, _) = notes.container();
        container.run().expect_ok().expect_no_stderr();
    }
}

#[test]
fn a_long_state_arrives_whole() {
    let long = "x".repeat(300_000);
    let notes = Notes::new().each("cat >$N/$K").edit(|bundle| bundle.set("/annotations/long", json!(long)));
    let (container, folder) = notes.container();
    container.run().expect_ok();
    for kind in KINDS {
        let state: Value = serde_json::from_str(&read(&folder, kind)).unwrap();
        assert_eq!(state["annotations"]["long"], long.as_str(), "{kind}");
    }
}

#[test]
fn what_hooks_print_does_not_reach_the_caller() {
    let (container, _) = Notes::new().each("echo to stdout; echo to stderr >&2").container();
    let file = container.bundle().scratch().join("out");
    fs::create_dir(&file).unwrap();
    known_gap!(Crun, "1.8.1 lets them write there");
    container.run().expect_ok().expect_no_stderr().expect_stdout("");
}

#[test]
fn hooks_have_no_descriptor_but_the_standard_ones() {
    known_gap!(Runc, "1.1.5 hands createContainer hooks descriptors of its own");
    // Fourth is the folder that is read. In the container's namespaces /proc/self is the hook too.
    let notes = Notes::new().each("echo /proc/self/fd/* >$N/$K; ls /proc/$$/fd >/dev/null");
    let (container, folder) = notes.container();
    whole_life(&container);
    for kind in KINDS {
        let seen = read(&folder, kind).replace("/proc/self/fd/", "");
        let seen: Vec<&str> = seen.split_whitespace().collect();
        // Shells keep a copy of their own of what they redirect: 10 and above.
        let open: Vec<_> = seen.iter().filter(|number| number.parse::<u32>().unwrap() < 10).collect();
        assert!(open.len() <= 4, "{kind}: {seen:?}");
    }
}

#[test]
fn no_hooks_at_all_are_fine() {
    for hooks in [json!({}), json!({"prestart": [], "poststop": []}), json!({"poststart": null})] {
        Bundle::new().set("/hooks", hooks).run().expect_ok().expect_no_stderr();
    }
}

#[test]
fn hooks_run_in_a_user_namespace_too() {
    let notes = Notes::new().edit(|bundle| bundle.user_namespace(100_000, 65_536));
    fs::set_permissions(&notes.folder, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let notes = notes.each("id -u >>$N/$K");
    let (container, folder) = notes.container();
    whole_life(&container);
    for kind in KINDS {
        assert_eq!(lines(&folder, kind), ["0"], "{kind}");
    }
}
