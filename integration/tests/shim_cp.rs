//! Files into containers and out of them: docker's rules, of containers that run, stand still, or do not.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code: a panic is its way of reporting

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use integration::{Call, Output, Shim, Terminal, is_root, requires, shim_under_test};

const ROOT: &str = "containers need root";

/// A shim with a container that runs, `up`, one that stands still, `still`, and one that was never started, `down`.
struct Case {
    shim: Shim,
    host: PathBuf,
}

impl Case {
    fn new() -> Case {
        let shim = Shim::with_busybox();
        for name in ["up", "still"] {
            shim.detached(&["--name", name, "busybox", "sleep", "1000"]);
        }
        shim.stdout(&["pause", "still"]);
        shim.stdout(&["create", "--name", "down", "busybox", "sleep", "1000"]);
        let host = shim.folder().join("host");
        fs::create_dir(&host).unwrap();
        Case { shim, host }
    }

    /// `cp` from the folder of the host's side.
    fn call(&self, words: &[&str]) -> Call {
        self.shim.call(&["cp"]).args(words).current_dir(&self.host)
    }

    #[track_caller]
    fn cp(&self, words: &[&str]) -> Output {
        self.call(words).output().expect_ok().expect_no_stderr()
    }

    #[track_caller]
    fn refused(&self, words: &[&str], reason: &str) {
        self.call(words).output().expect_code(1).expect_stderr(reason);
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.host.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[track_caller]
    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.host.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// What `find` lists below a folder of a container, by way of an archive.
    #[track_caller]
    fn listed(&self, path: &str) -> Vec<String> {
        let archive = self.host.join("listed.tar");
        let call = self.call(&[path, "-"]).output_in(self.shim.folder());
        call.output().expect_ok();
        fs::rename(self.shim.folder().join("stdout"), &archive).unwrap();
        let listed = Call::of("tar").args(["-tf"]).args([&archive]).output().expect_ok().stdout;
        fs::remove_file(archive).unwrap();
        listed.lines().map(str::to_owned).collect()
    }
}

#[test]
fn files_and_folders_go_where_dockers_manual_says() {
    requires!(is_root(), "{ROOT}");
    let case = Case::new();
    case.write("file", "one\n");
    case.write("folder/inner", "inner\n");
    case.write("folder/deep/er", "deeper\n");
    for name in ["up", "still", "down"] {
        let to = |path: &str| format!("{name}:{path}");
        // A file: under a new name, over a file, into a folder.
        case.cp(&["file", &to("/new")]);
        case.write("file", "two\n");
        case.cp(&["./file", &to("new")]);
        case.cp(&["file", &to("/srv-is-missing")]);
        case.refused(&["file", &to("/nothing/")], "no such directory");
        case.refused(
            &["file", &to("/no/such/name")],
            &format!("Could not find the file /no/such/name in container {name}"),
        );
        case.refused(
            &["gone", &to("/x")],
            &format!("lstat {}/gone: no such file or directory", case.host.display()),
        );
        case.cp(&["file", &to("/tmp")]);
        assert_eq!(case.listed(&to("/tmp")), ["tmp/", "tmp/file"]);
        // A folder: under a new name, into a folder, what is in it.
        case.cp(&["folder", &to("/made")]);
        assert_eq!(case.listed(&to("/made")), ["made/", "made/deep/", "made/deep/er", "made/inner"]);
        case.cp(&["folder/", &to("/made/")]);
        case.cp(&["folder/.", &to("/tmp")]);
        let all = ["./", "./deep/", "./deep/er", "./file", "./inner"];
        assert_eq!(case.listed(&to("/tmp/.")), all);
        assert!(case.listed(&to("/made")).contains(&"made/folder/deep/er".to_owned()));
        case.refused(&["folder", &to("/tmp/file")], "cannot copy directory");
        // Nothing replaces a folder, and no folder anything.
        fs::create_dir(case.host.join("inner")).unwrap();
        case.refused(&["inner/../inner", &to("/tmp/inner")], "cannot copy directory");
        case.refused(&["inner", &to("/made/folder/deep/er/x")], "Not a directory");
        fs::remove_dir(case.host.join("inner")).unwrap();
        case.write("deep", "no folder\n");
        case.refused(
            &["deep", &to("/tmp")],
            "cannot overwrite directory \"deep\" with non-directory \"deep\"",
        );
        fs::remove_file(case.host.join("deep")).unwrap();
        // And back.
        case.cp(&[&to("/new"), "."]);
        assert_eq!(case.read("new"), "two\n");
        case.cp(&[&to("new"), "other"]);
        assert_eq!(case.read("other"), "two\n");
        case.cp(&[&to("/made"), "back"]);
        assert_eq!(
            (case.read("back/deep/er"), case.read("back/folder/inner")),
            ("deeper\n".into(), "inner\n".into())
        );
        case.cp(&[&to("/made/deep"), "back"]);
        case.cp(&[&to("/made/folder/."), "back/deep"]);
        assert_eq!(
            (case.read("back/deep/inner"), case.read("back/deep/deep/er")),
            ("inner\n".into(), "deeper\n".into())
        );
        case.refused(&[&to("/made"), "other"], "cannot copy directory");
        case.refused(
            &[&to("/nothing"), "x"],
            &format!("Could not find the file /nothing in container {name}"),
        );
        case.refused(&[&to("/new/"), "x"], "Not a directory");
        case.refused(&[&to("/new"), "nowhere/x"], "invalid output path: directory ");
        case.refused(&[&to("/new"), "/dev/null"], "must be a directory or a regular file: got a device");
        case.refused(&[&to("/new"), "missing/"], "no such directory");
        fs::remove_dir_all(case.host.join("back")).unwrap();
        case.write("file", "one\n");
    }
    // What runs sees it.
    assert_eq!(case.shim.stdout(&["exec", "up", "cat", "/new", "/made/folder/deep/er"]), "two\ndeeper\n");
    // And what starts, too.
    case.shim.stdout(&["start", "down"]);
    assert_eq!(case.shim.stdout(&["exec", "down", "cat", "/tmp/inner"]), "inner\n");
}

#[test]
fn arguments_that_make_no_copy_are_refused_in_dockers_words() {
    requires!(is_root(), "{ROOT}");
    let case = Case::new();
    case.write("file", "");
    case.refused(&["up:/a", "down:/b"], "copying between containers is not supported");
    case.refused(&["a", "b"], "must specify at least one container source");
    case.refused(&["./up:/a", "b"], "must specify at least one container source");
    case.refused(&["", "up:/"], "source can not be empty");
    case.refused(&["up:/x", ""], "destination can not be empty");
    case.refused(&["nobody:/x", "."], "No such container: nobody");
    case.refused(&["file", "nobody:/x"], "No such container: nobody");
    case.call(&["one"]).output().expect_code(1).expect_stderr("requires 2 arguments");
    // The kernel's own files are none of a container's (as in docker), whoever's they are.
    case.refused(&["up:/proc/version", "."], "Could not find the file /proc/version in container up");
    case.refused(&["file", "up:/sys/x"], "Could not find the file /sys/x in container up");
    assert_eq!(case.listed("up:/proc/."), ["./"]);
    case.refused(&["up:/dev/null", "null"], "cannot copy /dev/null: it is a device");
    let output = case.call(&["up:/dev", "devices"]).output().expect_ok();
    output.expect_stderr("WARNING: devices are left out: 6, the first of them \"devices/");
}

#[test]
fn owners_are_roots_or_the_callers_unless_they_are_to_stay() {
    requires!(is_root(), "{ROOT}");
    let case = Case::new();
    let own = |path: &Path, mode: u32| {
        chown(path, Some(1234), Some(2345)).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    case.write("folder/file", "text");
    own(&case.host.join("folder/file"), 0o6755);
    own(&case.host.join("folder"), 0o2750);
    case.write("root", "text");
    fs::set_permissions(case.host.join("root"), Permissions::from_mode(0o4711)).unwrap();
    for name in ["up", "down"] {
        let to = |path: &str| format!("{name}:{path}");
        case.cp(&["folder", &to("/plain")]);
        case.cp(&["-a", "folder", &to("/kept")]);
        case.cp(&["root", &to("/rooted")]);
    }
    let stat = |path: &str| {
        let stat = case.shim.stdout(&["exec", "up", "stat", "-c", "%u:%g %a", path]);
        stat.trim_end().to_owned()
    };
    // Set-id bits were given for an owner: another one does not get them.
    assert_eq!((stat("/plain"), stat("/plain/file")), ("0:0 2750".into(), "0:0 755".into()));
    assert_eq!((stat("/kept"), stat("/kept/file")), ("1234:2345 2750".into(), "1234:2345 6755".into()));
    assert_eq!(stat("/rooted"), "0:0 4711");
    let look = |path: &str| {
        let stat = fs::metadata(case.host.join(path)).unwrap();
        (stat.uid(), stat.gid(), stat.mode() & 0o7777)
    };
    for name in ["up", "down"] {
        case.cp(&[&format!("{name}:/kept"), "out"]);
        assert_eq!((look("out"), look("out/file")), ((0, 0, 0o2750), (0, 0, 0o755)));
        case.cp(&["-a", &format!("{name}:/kept"), "out-kept"]);
        assert_eq!((look("out-kept"), look("out-kept/file")), ((1234, 2345, 0o2750), (1234, 2345, 0o6755)));
        for folder in ["out", "out-kept"] {
            fs::remove_dir_all(case.host.join(folder)).unwrap();
        }
    }
}

#[test]
fn links_pipes_holes_and_names_of_files_stay_what_they_are() {
    requires!(is_root(), "{ROOT}");
    let case = Case::new();
    let tree = case.host.join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("one"), "same").unwrap();
    fs::hard_link(tree.join("one"), tree.join("two")).unwrap();
    symlink("../outside", tree.join("link")).unwrap();
    Call::of("mkfifo").args(["-m", "640"]).args([tree.join("pipe")]).output().expect_ok();
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
    Call::of("mknod").args([tree.join("null").to_str().unwrap(), "c", "1", "3"]).output().expect_ok();
    let sparse = File::create(tree.join("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    rustix::fs::fsetxattr(&sparse, c"user.note", b"kept", rustix::fs::XattrFlags::empty()).unwrap();
    let time =
        fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000, 5));
    sparse.set_times(time).unwrap();
    let told = |output: &Output| {
        assert!(
            output.stderr.contains("WARNING: sockets are left out: 1, the first of them \"t/socket\""),
            "{output}"
        );
        assert!(
            output.stderr.contains("WARNING: devices are left out: 1, the first of them \"t/null\""),
            "{output}"
        );
    };
    for name in ["up", "down"] {
        told(&case.call(&["tree", &format!("{name}:/t")]).output().expect_ok());
        case.cp(&[&format!("{name}:/t"), "back"]);
        let back = case.host.join("back");
        let stat = |name: &str| fs::symlink_metadata(back.join(name)).unwrap();
        assert_eq!(stat("one").ino(), stat("two").ino());
        assert_eq!(fs::read_link(back.join("link")).unwrap(), Path::new("../outside"));
        assert!(stat("pipe").file_type().is_fifo() && stat("pipe").mode() & 0o777 == 0o640);
        let sparse = stat("sparse");
        assert!(sparse.len() == 1 << 40 && sparse.blocks() < 100, "{} blocks", sparse.blocks());
        assert_eq!((sparse.mtime(), sparse.mtime_nsec()), (1_000_000, 5));
        let mut value = [0; 16];
        let length = rustix::fs::getxattr(back.join("sparse"), c"user.note", &mut value[..]).unwrap();
        assert_eq!(&value[..length], b"kept");
        assert!(!back.join("socket").exists() && !back.join("null").exists());
        fs::remove_dir_all(back).unwrap();
        // What is there is replaced and not written into, whatever it is.
        case.write("text", "text");
        case.cp(&["text", &format!("{name}:/t/pipe")]);
        case.cp(&[&format!("{name}:/t/pipe"), "text2"]);
        assert_eq!(case.read("text2"), "text");
    }
    // Where a link leads: as a source on request, as a target always.
    for name in ["up", "down"] {
        let at = |path: &str| format!("{name}:{path}");
        symlink("/made-by-link", case.host.join("dangling")).unwrap();
        case.cp(&["dangling", &at("/dangling")]);
        case.cp(&["text", &at("/dangling")]);
        case.cp(&[&at("/made-by-link"), "through"]);
        assert_eq!(case.read("through"), "text");
        case.cp(&[&at("/dangling"), "itself"]);
        assert_eq!(fs::read_link(case.host.join("itself")).unwrap(), Path::new("/made-by-link"));
        case.cp(&["-L", &at("/dangling"), "followed"]);
        assert_eq!(case.read("followed"), "text");
        // In a folder, a link of that name is replaced.
        case.cp(&["-L", &at("/dangling"), "."]);
        assert!(fs::symlink_metadata(case.host.join("dangling")).unwrap().is_file());
        for file in ["dangling", "itself"] {
            fs::remove_file(case.host.join(file)).unwrap();
        }
    }
}

#[test]
fn archives_go_in_and_out() {
    requires!(is_root(), "{ROOT}");
    let case = Case::new();
    case.write("tree/a/file", "text\n");
    chown(case.host.join("tree/a/file"), Some(77), Some(78)).unwrap();
    let tar = |words: &[&str]| {
        let archive = case.host.join("archive");
        let call = Call::of("tar").args(["-C", "tree"]).args(words).args(["-f"]).args([&archive]).args(["."]);
        call.current_dir(&case.host).output().expect_ok();
        fs::read(archive).unwrap()
    };
    for name in ["up", "still", "down"] {
        let to = |path: &str| format!("{name}:{path}");
        for (folder, bytes) in [("/plain", tar(&["-c"])), ("/packed", tar(&["-c", "-z"]))] {
            fs::create_dir_all(case.host.join("empty")).unwrap();
            case.cp(&["empty", &to(folder)]);
            case.call(&["-", &to(folder)]).stdin_bytes(bytes).output().expect_ok().expect_no_stderr();
            assert_eq!(case.listed(&to(&format!("{folder}/."))), ["./", "./a/", "./a/file"]);
        }
        // Owners are the archive's.
        case.cp(&["-a", &to("/plain/a/file"), "out"]);
        let stat = fs::metadata(case.host.join("out")).unwrap();
        assert_eq!((stat.uid(), stat.gid()), (77, 78));
        fs::remove_file(case.host.join("out")).unwrap();
        let archive = tar(&["-c"]);
        let refused = |path: &str, bytes: &[u8], reason: &str| {
            let call = case.call(&["-", &to(path)]).stdin_bytes(bytes);
            call.output().expect_code(1).expect_stderr(reason);
        };
        refused(
            "/plain/a/file",
            &archive,
            &format!("destination \"{name}:/plain/a/file\" must be a directory"),
        );
        refused("/plain/none", &archive, "must be a directory");
        refused("/no/such", &archive, &format!("Could not find the file /no/such in container {name}"));
        refused("/plain", b"this is no archive, of whatever length it may be: really none", "tar");
        // Folders that no entry tells of are made.
        let one = Call::of("tar").args(["-C", "tree", "-cf", "-", "a/file"]).current_dir(&case.host);
        let one = one.output_in(case.shim.folder()).output().expect_ok();
        drop(one);
        let bytes = fs::read(case.shim.folder().join("stdout")).unwrap();
        case.call(&["-", &to("/packed/a")]).stdin_bytes(bytes).output().expect_ok();
        assert_eq!(case.listed(&to("/packed/a/a")), ["a/", "a/file"]);
    }
    // Nobody reads it: as programs end that SIGPIPE ends.
    let line = "(\"$@\"; echo status $? >&2) | head -c 100 > /dev/null";
    let (root, state) = (case.shim.root(), case.shim.state());
    let words = [
        shim_under_test().as_os_str(),
        "--root".as_ref(),
        root.as_os_str(),
        "--state".as_ref(),
        state.as_os_str(),
        "cp".as_ref(),
        "up:/bin".as_ref(),
        "-".as_ref(),
    ];
    let output = Call::of("sh").args(["-c", line, "sh"]).args(words).output().expect_ok();
    assert_eq!(output.stderr, "status 141\n");
}

#[test]
fn volumes_and_mounts_are_part_of_it() {
    requires!(is_root(), "{ROOT}");
    let shim = Shim::with_busybox();
    let host = shim.folder().join("host");
    for folder in ["data", "locked"] {
        fs::create_dir_all(host.join(folder)).unwrap();
    }
    fs::write(host.join("file"), "text").unwrap();
    fs::write(host.join("locked/there"), "there").unwrap();
    let bind = |folder: &str| host.join(folder).to_str().unwrap().to_owned();
    let words = [
        "-v",
        &format!("{}:/srv/data", bind("data")),
        "-v",
        &format!("{}:/srv/locked:ro", bind("locked")),
        "--tmpfs",
        "/run/tmp",
        "--read-only",
        "busybox",
        "sleep",
        "1000",
    ];
    shim.detached(&[&["--name", "up"], &words[..]].concat());
    shim.stdout(&[&["create", "--name", "down"], &words[..]].concat());
    let cp = |from: &str, to: &str| shim.call(&["cp", from, to]).current_dir(&host).output();
    for name in ["up", "down"] {
        let at = |path: &str| format!("{name}:{path}");
        cp("file", &at("/srv/data/in")).expect_ok();
        assert_eq!(fs::read_to_string(host.join("data/in")).unwrap(), "text", "{name}");
        fs::remove_file(host.join("data/in")).unwrap();
        cp(&at("/srv/locked/there"), "back").expect_ok();
        cp(&at("/srv"), "all").expect_ok();
        assert_eq!(fs::read_to_string(host.join("all/locked/there")).unwrap(), "there");
        fs::remove_dir_all(host.join("all")).unwrap();
        cp("file", &at("/srv/locked")).expect_code(1).expect_stderr("mounted volume is marked read-only");
        cp("file", &at("/file")).expect_code(1).expect_stderr("container rootfs is marked read-only");
        cp(&at("/etc/hosts"), "hosts").expect_ok();
        assert!(fs::read_to_string(host.join("hosts")).unwrap().contains("localhost"), "{name}");
    }
    cp("file", "up:/run/tmp").expect_ok();
    assert_eq!(shim.stdout(&["exec", "up", "cat", "/run/tmp/file"]), "text");
    // Nothing of it stays mounted, and the other one starts.
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(host.to_str().unwrap()), "{mounts}");
    shim.stdout(&["start", "down"]);
    assert_eq!(shim.stdout(&["exec", "down", "cat", "/srv/locked/there"]), "there");
}

#[test]
fn what_something_is_mounted_on_is_not_replaced() {
    requires!(is_root(), "{ROOT}");
    let case = Case::new();
    case.write("hosts", "mine\n");
    case.write("etc/hosts", "mine\n");
    for name in ["up", "still", "down"] {
        for (from, to) in [("hosts", "/etc/hosts"), ("hosts", "/etc"), ("etc", "/")] {
            let words = [from, &format!("{name}:{to}")];
            case.refused(&words, "cannot replace \"hosts\", which something is mounted on");
        }
    }
    // It is there still, and the container has it.
    let inside = |line: &str| case.shim.stdout(&["exec", "up", "sh", "-c", line]);
    assert!(inside("cat /etc/hosts").contains("localhost"));
    assert!(inside("cat /proc/self/mountinfo").contains(" /etc/hosts "));
    // One argument is a variable that is empty.
    case.refused(&["up:", "."], "has no path behind the colon");
    case.refused(&["hosts", "up:/etc/passwd/"], "not a directory");
}

#[test]
fn what_was_copied_is_told_on_terminals_only() {
    requires!(is_root(), "{ROOT}");
    let case = Case::new();
    case.write("file", "12345");
    let seen = |words: &[&str]| {
        let (mut terminal, other) = Terminal::pair();
        let running = case.call(words).on_terminal(other).spawn();
        let seen = terminal.read_to_end();
        running.wait().expect_ok();
        seen
    };
    assert_eq!(seen(&["file", "up:/x"]), "Successfully copied 5B to up:/x\r\n");
    assert_eq!(seen(&["up:/x", "back"]), "Successfully copied 5B to back\r\n");
    assert_eq!(seen(&["-q", "file", "up:/x"]), "");
    case.call(&["--quiet=false", "file", "up:/x"])
        .output()
        .expect_ok()
        .expect_stderr("Successfully copied 5B to up:/x\n");
    let (mut terminal, other) = Terminal::pair();
    let running = case.call(&["up:/x", "-"]).on_terminal(other).spawn();
    assert!(terminal.read_to_end().contains("cowardly refusing to write an archive to a terminal"));
    running.wait().expect_code(1);
}
