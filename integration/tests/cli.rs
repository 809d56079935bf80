//! The command line: forms of flags, pid files, and what is printed to the byte.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::type_complexity)] // test code: a panic is its way of reporting

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use integration::{Bundle, Call, created, json, kernel_has, known_gap, requires, wait_for};

#[test]
fn long_flags_take_one_dash_or_two_and_stand_anywhere() {
    known_gap!(Crun, "its parser knows no single-dash long flags");
    let place = Bundle::new().container();
    let forms: [&dyn Fn(&str, &str) -> Vec<String>; 8] = [
        &|b, id| vec!["-b".into(), b.into(), id.into()],
        &|b, id| vec!["-bundle".into(), b.into(), id.into()],
        &|b, id| vec![format!("--bundle={b}"), id.into()],
        &|b, id| vec![format!("-bundle={b}"), id.into()],
        &|b, id| vec![format!("-b={b}"), id.into()],
        &|b, id| vec!["--bundle".into(), "/nonexistent".into(), "--bundle".into(), b.into(), id.into()],
        &|b, id| vec!["--no-pivot=false".into(), "-no-new-keyring".into(), "-b".into(), b.into(), id.into()],
        &|b, id| vec!["-b".into(), b.into(), "--".into(), id.into()],
    ];
    for form in forms {
        let container = place.sibling();
        let folder = container.bundle().scratch().to_owned();
        let args = form(container.bundle().path().to_str().unwrap(), container.id());
        container.call("create").args(&args).output_in(&folder).output().expect_ok();
        assert_eq!(container.status(), "created", "{args:?}");
        container.delete_force().expect_ok();
    }
}

#[test]
fn flags_may_follow_the_id() {
    known_gap!(Runc, "1.1.5 takes no flags after the first argument; urfave/cli v3 does");
    let container = Bundle::new().container();
    let folder = container.bundle().scratch().to_owned();
    let bundle = container.bundle().path();
    let call = container.call("create").args([container.id(), "-b"]).args([&bundle]);
    call.output_in(&folder).output().expect_ok();
    assert_eq!(container.status(), "created");
}

#[test]
fn global_flags_may_be_repeated() {
    known_gap!(Crun, "its parser knows no single-dash long flags");
    let container = created(Bundle::new().sleeping());
    let root = container.state_root().to_str().unwrap();
    for flag in ["--root", "-root"] {
        let output =
            Call::runtime().args([flag, "/nonexistent", flag, root, "state", container.id()]).output();
        assert_eq!(output.expect_ok().json()["id"], container.id());
    }
    let joined = format!("--root={root}");
    let output = Call::runtime().args([&joined, "--debug=false", "state", container.id()]).output();
    assert_eq!(output.expect_ok().json()["id"], container.id());
}

#[test]
fn unknown_flags_and_commands_are_refused() {
    let container = Bundle::new().container();
    let ours = integration::flavour() == integration::Flavour::Ours;
    for args in
        [&["--nonsense", "list"][..], &["list", "--nonsense"], &["create", "--nonsense", "x"], &["nonsense"]]
    {
        if !ours && args == ["nonsense"] {
            continue; // runc 1.1.5 says so on stdout only.
        }
        Call::runtime().args(["--root"]).args([container.state_root()]).args(args).output().expect_fail();
    }
}

#[test]
fn usage_errors_are_told_as_runc_tells_them() {
    known_gap!(Crun, "words them as argp does");
    let container = Bundle::new().container();
    for args in [&["--nonsense"][..], &["--format"]] {
        let output = container.call("list").args(args).output().expect_fail();
        assert!(output.stdout.contains("Incorrect Usage"), "{output}");
    }
    let output = container.call("list").args(["--nonsense"]).output();
    output.expect_stderr("flag provided but not defined: -nonsense");
    container.call("list").args(["--format"]).output().expect_stderr("flag needs an argument");
}

#[test]
fn a_wrong_number_of_arguments_is_refused() {
    let container = Bundle::new().container();
    for (verb, args) in [
        ("create", &[][..]),
        ("create", &["a", "b"]),
        ("run", &[]),
        ("start", &[]),
        ("start", &["a", "b"]),
        ("state", &[]),
        ("state", &["a", "b"]),
        ("kill", &[]),
        ("kill", &["a", "TERM", "c"]),
        ("delete", &[]),
    ] {
        if integration::flavour() == integration::Flavour::Crun && !args.is_empty() {
            continue; // 1.8.1 ignores what is too much.
        }
        container.call(verb).args(args).output().expect_fail();
        assert!(!container.state_root().join("a").exists(), "{verb} {args:?}");
    }
}

#[test]
fn help_is_given_for_the_program_and_for_each_command() {
    for verb in ["create", "start", "run", "state", "kill", "delete", "list", "spec", "features"] {
        for flag in ["--help", "-h"] {
            if integration::flavour() == integration::Flavour::Crun && (flag == "-h" || verb == "features") {
                continue; // `-?`, and 1.8.1 has no features
            }
            let output = Call::runtime().args([verb, flag]).output().expect_ok().expect_no_stderr();
            assert!(output.stdout.contains(verb), "{output}");
        }
    }
    let output = Call::runtime().args(["--help"]).output().expect_ok().expect_no_stderr();
    for verb in ["create", "start", "run", "state", "kill", "delete", "list", "spec"] {
        assert!(output.stdout.contains(verb), "{output}");
    }
}

#[test]
fn the_version_has_the_lines_that_callers_split() {
    known_gap!(Crun, "its first line begins with its own name");
    for flag in ["--version", "-v", "-version"] {
        let output = Call::runtime().args([flag]).output().expect_ok().expect_no_stderr();
        let lines: Vec<&str> = output.stdout.lines().collect();
        assert!(lines[0].strip_prefix("runc version ").is_some_and(|rest| !rest.is_empty()), "{output}");
        assert!(lines[1].starts_with("commit: "), "{output}");
        assert!(lines[2].starts_with("spec: 1."), "{output}");
    }
}

#[test]
fn state_is_indented_by_two_and_ends_without_a_newline() {
    known_gap!(Crun, "ends with a newline and orders the keys in its own way");
    let bundle = Bundle::new().sleeping();
    let bundle = bundle.set("/annotations/key.b", json!("\"1\" <&> ü")).set("/annotations/key.a", json!(""));
    let container = created(bundle);
    let state = container.state_output().expect_ok().expect_no_stderr();
    let value = state.json();
    let text = |key: &str| value[key].as_str().unwrap().to_owned();
    let bundle = container.bundle().path();
    let unescaped = state.stdout.replace("\\u003c", "<").replace("\\u003e", ">").replace("\\u0026", "&");
    let expected = format!(
        "{{\n  \"ociVersion\": \"{}\",\n  \"id\": \"{}\",\n  \"pid\": {},\n  \"status\": \"created\",\n  \
         \"bundle\": \"{}\",\n  \"rootfs\": \"{}/rootfs\",\n  \"created\": \"{}\",\n  \"annotations\": {{\n    \
         \"key.a\": \"\",\n    \"key.b\": \"\\\"1\\\" <&> ü\"\n  }},\n  \"owner\": \"\"\n}}",
        text("ociVersion"),
        container.id(),
        value["pid"],
        bundle.display(),
        bundle.display(),
        text("created"),
    );
    assert_eq!(unescaped, expected);
}

#[test]
fn state_without_annotations_has_no_such_key() {
    known_gap!(Crun, "always has the key");
    let container = created(Bundle::new().sleeping());
    assert!(container.state().get("annotations").is_none());
}

#[test]
fn nothing_is_printed_on_success() {
    let container = Bundle::new().sleeping().container();
    let silent = |output: integration::Output| {
        let output = output.expect_ok().expect_no_stderr();
        assert_eq!(output.stdout, "", "{output}");
    };
    silent(container.create());
    silent(container.start());
    silent(container.kill("KILL"));
    container.wait_status("stopped");
    silent(container.delete());
    silent(container.run_detached());
    silent(container.delete_force());
    silent(container.delete_force());
}

#[test]
fn the_pid_file_appears_whole() {
    // What was there before keeps its inode and its content; a reader sees the new file whole.
    let container = Bundle::new().sleeping().container();
    let folder = container.bundle().scratch().join("pids");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("pid");
    fs::write(&file, "old content, longer than a number").unwrap();
    let old = fs::File::open(&file).unwrap();
    let before = old.metadata().unwrap().ino();
    container.create_with(&["--pid-file", file.to_str().unwrap()]).expect_ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), container.init_pid().to_string());
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "a temporary file is left");
    known_gap!(Crun, "1.8.1 writes the file in place");
    assert_ne!(fs::metadata(&file).unwrap().ino(), before);
    assert_eq!(std::io::read_to_string(old).unwrap(), "old content, longer than a number");
}

#[test]
fn the_pid_file_may_be_relative_and_is_readable() {
    let container = Bundle::new().sleeping().container();
    let folder = container.bundle().scratch().to_owned();
    let call = container.birth("create", &["--pid-file", "pid"]).current_dir(&folder);
    call.output_in(&folder).output().expect_ok();
    let file = folder.join("pid");
    assert_eq!(fs::read_to_string(&file).unwrap(), container.init_pid().to_string());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o444, 0o444);
}

#[test]
fn a_pid_file_may_have_any_name() {
    known_gap!(Runc, "1.1.5 puts a dot before it");
    let container = Bundle::new().sleeping().container();
    let folder = container.bundle().scratch().to_owned();
    let file = folder.join("n".repeat(255));
    container.create_with(&["--pid-file", file.to_str().unwrap()]).expect_ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), container.init_pid().to_string());
}

#[test]
fn a_runtime_that_is_killed_at_its_pid_file_leaves_no_other() {
    known_gap!(Runc, Crun, "they write and rename, or write in place");
    requires!(kernel_has("/usr/bin/strace"), "no strace");
    let container = Bundle::new().sleeping().container();
    let folder = container.bundle().scratch().join("pids");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("pid");
    // Killed before the call by which the file gets its name.
    for inject in ["inject=linkat:signal=KILL", "inject=rename:signal=KILL"] {
        let trace = container.bundle().scratch_file("trace");
        let strace = ["strace", "-qq", "-o", &trace, "-e", inject];
        let options = ["--pid-file", file.to_str().unwrap()];
        container.birth_by(&strace, "create", &options).output_in(container.bundle().scratch()).output();
        let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(names.iter().all(|name| name == "pid"), "{names:?}");
        container.delete_force().expect_ok();
    }
}

#[test]
fn run_writes_the_pid_file_in_both_forms() {
    let container = Bundle::new().sleeping().container();
    let file = container.bundle().scratch_file("pid");
    let folder = container.bundle().scratch().to_owned();
    let call = container.birth("run", &["--detach", "--pid-file", &file]).output_in(&folder);
    call.output().expect_ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), container.init_pid().to_string());
    container.delete_force().expect_ok();
    fs::remove_file(&file).unwrap();

    let mut running = container.birth("run", &["--pid-file", &file]).stdin_pipe().spawn();
    container.wait_running(&mut running);
    assert_eq!(fs::read_to_string(&file).unwrap(), container.init_pid().to_string());
    container.kill("KILL").expect_ok();
    running.wait().expect_code(137);
}

#[test]
fn a_pid_file_that_cannot_be_written_undoes_the_container() {
    let container = Bundle::new().sleeping().container();
    for verb in ["create", "run"] {
        let folder = container.bundle().scratch().to_owned();
        let call = container.birth(verb, &["--pid-file", "/nonexistent/folder/pid"]);
        let output = call.output_in(&folder).output().expect_fail().expect_stderr("o such file or directory");
        assert!(output.stderr.contains("/nonexistent/folder"), "{output}");
        known_gap!(Crun, "1.8.1 leaves the container");
        container.state_output().expect_code(1).expect_runc_phrase("does not exist");
    }
}

#[test]
fn the_root_may_be_relative() {
    let container = Bundle::new().sleeping().container();
    let scratch = container.bundle().scratch().to_owned();
    let call = |verb: &str| Call::runtime().args(["--root", "state", verb]).current_dir(&scratch);
    let bundle = container.bundle().path();
    call("create")
        .args(["-b"])
        .args([&bundle])
        .args([container.id()])
        .output_in(&scratch)
        .output()
        .expect_ok();
    // The same folder by its absolute name: what is remembered does not depend on the working directory.
    assert_eq!(container.status(), "created");
    container.start().expect_ok();
    assert_eq!(call("state").args([container.id()]).output().expect_ok().json()["status"], "running");
    call("delete").args(["--force", container.id()]).output().expect_ok();
    container.state_output().expect_code(1);
}

#[test]
fn a_root_that_cannot_be_meant_is_refused() {
    known_gap!(Crun, "1.8.1 takes any");
    known_gap!(Runc, "1.1.5 compares the text only");
    for root in ["/", "", "//", "/.", "/tmp/.."] {
        let output = Call::runtime().args(["--root", root, "list"]).output();
        assert_eq!(output.code(), 1, "{root:?}: {output}");
        assert!(output.stderr.contains("root"), "{root:?}: {output}");
    }
}

#[test]
fn a_long_root_works_to_the_end() {
    known_gap!(Crun, "1.8.1 listens on a socket there");
    let container = Bundle::new().sleeping().container();
    let mut root = container.bundle().scratch().to_owned();
    while root.as_os_str().len() < 300 {
        root.push("a-rather-long-name-of-a-folder-for-state");
    }
    let root = root.to_str().unwrap();
    let call = |verb: &str| Call::runtime().args(["--root", root, verb]);
    let bundle = container.bundle().path();
    let scratch = container.bundle().scratch().to_owned();
    call("create")
        .args(["-b"])
        .args([&bundle])
        .args([container.id()])
        .output_in(&scratch)
        .output()
        .expect_ok();
    call("start").args([container.id()]).output().expect_ok();
    assert_eq!(call("state").args([container.id()]).output().expect_ok().json()["status"], "running");
    assert!(call("list").output().expect_ok().stdout.contains(container.id()));
    call("delete").args(["--force", container.id()]).output().expect_ok();
    assert_eq!(call("list").args(["-q"]).output().expect_ok().stdout, "");
}

#[test]
fn the_state_belongs_to_its_owner_alone() {
    known_gap!(Runc, "1.1.5 lets others pass (0711)");
    known_gap!(Crun, "1.8.1 leaves files readable below a root of 0700");
    let container = created(Bundle::new().sleeping());
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o077;
    let inner = container.state_root().join(container.id());
    assert_eq!((mode(container.state_root()), mode(&inner)), (0, 0));
}

#[test]
fn list_of_a_root_that_is_missing_is_empty() {
    let container = Bundle::new().container();
    let root = container.bundle().scratch_file("never-made");
    let output = Call::runtime().args(["--root", &root, "list", "-q"]).output().expect_ok();
    assert_eq!(output.stdout, "");
    known_gap!(Runc, "1.1.5 makes the folder");
    known_gap!(Crun, "1.8.1 makes the folder");
    assert!(!fs::exists(root).unwrap());
}

#[test]
fn list_shows_every_status_sorted_and_to_the_byte() {
    known_gap!(Crun, "has a table of its own");
    let first = created(Bundle::new().sleeping());
    let second = Bundle::new().container().beside(&first);
    second.create().expect_ok();
    second.start().expect_ok();
    second.wait_status("stopped");
    let output = first.call("list").output().expect_ok().expect_no_stderr();
    let rows: Vec<Vec<&str>> = output.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let mut expected = [
        vec![first.id().to_owned(), first.init_pid().to_string(), "created".to_owned()],
        vec![second.id().to_owned(), "0".to_owned(), "stopped".to_owned()],
    ];
    expected.sort();
    assert_eq!(rows[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    for (row, expected) in rows[1..].iter().zip(&expected) {
        assert_eq!(row[..3], *expected, "{output}");
    }
    // Columns stand below each other.
    let lines: Vec<&str> = output.stdout.lines().collect();
    for title in ["PID", "STATUS", "BUNDLE", "CREATED", "OWNER"] {
        let at = lines[0].find(title).unwrap();
        let begins = |line: &&str| line.as_bytes()[at] != b' ' && line.as_bytes()[at - 1] == b' ';
        assert!(lines.iter().all(begins), "{title}: {output}");
    }
    first.call("list").args(["--format", "xml"]).output().expect_fail();
}

#[test]
fn list_as_json_is_one_line_with_a_newline() {
    known_gap!(Crun, "prints it over many lines");
    let container = created(Bundle::new().sleeping());
    let list = container.call("list").args(["-f", "json"]).output().expect_ok().expect_no_stderr();
    assert_eq!(list.stdout.lines().count(), 1, "{list}");
    let nothing = Bundle::new().container();
    let list = nothing.call("list").args(["-f", "json"]).output().expect_ok().expect_no_stderr();
    assert_eq!(list.stdout.trim_end(), "null");
}

#[test]
fn a_program_that_cannot_be_run_is_told_in_the_words_that_engines_map() {
    known_gap!(Crun, "words its messages in other ways");
    let unreadable = Bundle::new().file("/bin/not-executable", 0o644, b"#!/bin/sh\n");
    let strange = Bundle::new().file("/bin/strange", 0o755, b"\x7fNOT-AN-ELF");
    let orphaned = Bundle::new().file("/bin/orphaned", 0o755, b"#!/no/such/interpreter\n");
    for (bundle, program, phrase) in [
        (Bundle::new(), "no-such-program", "executable file not found in $PATH"),
        (Bundle::new(), "/no/such/program", "no such file or directory"),
        (Bundle::new(), "./no-such-program", "no such file or directory"),
        (unreadable, "/bin/not-executable", "permission denied"),
        (Bundle::new(), "/etc", "is a directory"),
        (Bundle::new(), "/etc/passwd/x", "not a directory"),
        (strange, "/bin/strange", "exec format error"),
        (orphaned, "/bin/orphaned", "no such file or directory"),
    ] {
        // runc 1.1.5 says "permission denied" of a folder.
        let runc = integration::flavour() == integration::Flavour::Runc;
        let phrase = if runc && program == "/etc" { "permission denied" } else { phrase };
        let container = bundle.args(&[program]).container();
        container.run().expect_code(1).expect_stderr(phrase);
        container.state_output().expect_code(1).expect_runc_phrase("does not exist");
    }
}

#[test]
fn the_environment_may_be_empty() {
    known_gap!(Crun, "needs the harness's wrapper on a hybrid host");
    let container = Bundle::new().sleeping().container();
    let folder = container.bundle().scratch().to_owned();
    let bare = |verb: &str| {
        let call = Call::of("env").args(["-i"]).args([integration::runtime_under_test()]);
        call.args(["--root"]).args([container.state_root()]).args([verb])
    };
    let create = bare("create").args(["-b"]).args([container.bundle().path()]).args([container.id()]);
    create.output_in(&folder).output().expect_ok();
    bare("start").args([container.id()]).output().expect_ok();
    assert_eq!(bare("state").args([container.id()]).output().expect_ok().json()["status"], "running");
    bare("delete").args(["-f", container.id()]).output().expect_ok();
}

#[test]
fn the_working_directory_may_be_deleted() {
    known_gap!(Crun, "needs its working directory");
    known_gap!(Runc, "needs its working directory");
    let container = Bundle::new().args(&["pwd"]).container();
    let gone = container.bundle().scratch().join("gone");
    fs::create_dir(&gone).unwrap();
    let script = format!("cd {0} && rmdir {0} && exec \"$@\"", gone.display());
    let run = Call::of("sh").args(["-c", &script, "sh"]).args([integration::runtime_under_test()]);
    let run = run.args(["--root"]).args([container.state_root()]).args(["run", "-b"]);
    let output = run.args([container.bundle().path()]).args([container.id()]).output().expect_ok();
    assert_eq!(output.stdout, "/\n");
}

#[test]
fn the_bundle_is_the_working_directory_by_default() {
    let container = Bundle::new().sleeping().container();
    let folder = container.bundle().scratch().to_owned();
    let call = container.call("create").args([container.id()]).current_dir(&container.bundle().path());
    call.output_in(&folder).output().expect_ok();
    assert_eq!(container.state()["bundle"], container.bundle().path().to_str().unwrap());
    container.delete_force().expect_ok();
    // And a relative one is remembered by its absolute path.
    let call = container.call("create").args(["-b", "bundle", container.id()]).current_dir(&folder);
    call.output_in(&folder).output().expect_ok();
    assert_eq!(container.state()["bundle"], container.bundle().path().to_str().unwrap());
}

#[test]
fn the_bundle_may_have_any_name() {
    for name in
        ["with a blank", "with\na newline", "ünïcödé-容器", "quote\"s and \\ backslash", "-dash", "a,b:c=d"]
    {
        let bundle = Bundle::new().sh("cat /etc/hostname");
        let path = bundle.scratch().join(name);
        let container = bundle.container();
        fs::rename(container.bundle().path(), &path).unwrap();
        let folder = container.bundle().scratch().to_owned();
        let create = container.call("create").args(["--bundle"]).args([&path]).args([container.id()]);
        create.output_in(&folder).output().expect_ok();
        let state = container.state();
        assert_eq!(state["bundle"], path.to_str().unwrap(), "{name:?}");
        container.start().expect_ok();
        container.wait_status("stopped");
        assert_eq!(fs::read_to_string(folder.join("stdout")).unwrap(), "from-the-image\n");
        container.delete().expect_ok();
    }
}

#[test]
fn the_bundle_may_be_a_link() {
    let bundle = Bundle::new().sh("cat /etc/hostname");
    let link = bundle.scratch().join("link");
    std::os::unix::fs::symlink(bundle.path(), &link).unwrap();
    let container = bundle.container();
    let output =
        container.call("run").args(["--bundle"]).args([&link]).args([container.id()]).output().expect_ok();
    assert_eq!(output.stdout, "from-the-image\n");
}

#[test]
fn the_root_folder_may_be_absolute_or_linked() {
    let bundle = Bundle::new();
    let absolute = bundle.rootfs();
    let bundle = bundle.set("/root/path", json!(absolute));
    assert_eq!(bundle.in_container("cat /etc/hostname"), "from-the-image");
    let bundle = Bundle::new();
    std::os::unix::fs::symlink("rootfs", bundle.path().join("linked-root")).unwrap();
    let bundle = bundle.set("/root/path", json!("linked-root"));
    assert_eq!(bundle.in_container("cat /etc/hostname"), "from-the-image");
}

#[test]
fn notify_socket_reaches_neither_the_program_nor_its_hooks() {
    known_gap!(Runc, "acts as a proxy of NOTIFY_SOCKET");
    known_gap!(Crun, "acts as a proxy of NOTIFY_SOCKET");
    let bundle = Bundle::new().sh("env; ls -a /run");
    let told = bundle.scratch_file("told");
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("env >{told}")]}]);
    let container = bundle.set("/hooks/createRuntime", hook).container();
    let output = container.birth("run", &[]).env("NOTIFY_SOCKET", "/nonexistent/notify").output().expect_ok();
    assert!(!output.stdout.contains("otify") && !output.stdout.contains("NOTIFY"), "{output}");
    let told = fs::read_to_string(told).unwrap();
    assert!(!told.contains("NOTIFY"), "{told}");
}

#[test]
fn two_creates_of_one_id_at_once_make_one_container() {
    known_gap!(Runc, "1.1.5 may make several in a race");
    known_gap!(Crun, "1.8.1 races too");
    let place = Bundle::new().sleeping().container();
    for _ in 0..5 {
        let container = place.sibling();
        let calls: Vec<_> = (0..4)
            .map(|number| {
                let folder = container.bundle().scratch().join(format!("racer-{}-{number}", container.id()));
                fs::create_dir(&folder).unwrap();
                container.birth("create", &[]).output_in(&folder).spawn()
            })
            .collect();
        let outputs: Vec<_> = calls.into_iter().map(integration::Running::wait).collect();
        let made = outputs.iter().filter(|output| output.status.success()).count();
        assert_eq!(made, 1, "{outputs:#?}");
        for output in outputs.iter().filter(|output| !output.status.success()) {
            assert!(output.stderr.contains("container with given ID already exists"), "{output}");
        }
        wait_for("created", || (container.status() == "created").then_some(()));
        container.delete().expect_ok();
    }
}
