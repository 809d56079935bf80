//! The command lines that runc's callers send, and those that have to be refused.

use super::*;

fn parse_words(words: &[&str]) -> Result<Parsed, UsageError> {
    let args: Vec<OsString> = words.iter().map(OsString::from).collect();
    parse(&args)
}

/// The globals and the command of a line split at spaces.
fn good(line: &str) -> (Globals, Command) {
    let words: Vec<&str> = line.split_whitespace().collect();
    match parse_words(&words) {
        Ok(Parsed::Command(globals, command)) => (globals, command),
        other => panic!("{line}: {other:?}"),
    }
}

fn message(words: &[&str]) -> String {
    match parse_words(words) {
        Err(error) => error.message,
        Ok(parsed) => panic!("{words:?}: {parsed:?}"),
    }
}

fn create(id: &str) -> Create {
    Create {
        id: id.into(),
        bundle: ".".into(),
        console_socket: None,
        pidfd_socket: None,
        pid_file: None,
        no_pivot: false,
        no_new_keyring: false,
        preserve_fds: 0,
    }
}

#[test]
fn containerds_create() {
    let (globals, command) = good(
        "--root /run/containerd/runc/k8s.io --log /b/log.json --log-format json --systemd-cgroup \
         create --bundle /b --pid-file /b/init.pid --console-socket /tmp/pty.sock --no-pivot \
         --no-new-keyring --preserve-fds 3 web",
    );
    let expected = Globals {
        root: Some("/run/containerd/runc/k8s.io".into()),
        log: Some("/b/log.json".into()),
        log_format: LogFormat::Json,
        debug: false,
        systemd_cgroup: true,
        rootless: None,
    };
    assert_eq!(globals, expected);
    let expected = Create {
        bundle: "/b".into(),
        pid_file: Some("/b/init.pid".into()),
        console_socket: Some("/tmp/pty.sock".into()),
        no_pivot: true,
        no_new_keyring: true,
        preserve_fds: 3,
        ..create("web")
    };
    assert_eq!(command, Command::Create(expected));
}

#[test]
fn flags_take_one_dash_or_two_and_stand_anywhere() {
    let bundled = |id: &str| Command::Create(Create { bundle: "/b".into(), ..create(id) });
    for line in [
        "create -b /b web",
        "create web -b /b",
        "create -b=/b web",
        "create --b /b web",
        "create -bundle /b web",
        "create -bundle=/b web",
        "create --bundle=/b web",
        "create web --bundle /b",
        "create --bundle /a --bundle /b web",
        "create --bundle /b -- web",
        "create --bundle /b --no-pivot --no-pivot=false web",
    ] {
        assert_eq!(good(line).1, bundled("web"), "{line}");
    }
    // What looks like a flag is the value of the flag before it, or an argument after `--`.
    assert_eq!(
        good("create --bundle -d web").1,
        Command::Create(Create { bundle: "-d".into(), ..create("web") })
    );
    assert_eq!(good("create -b /b -- -web").1, bundled("-web"));
    assert_eq!(good("create --pid-file a,b --bundle /b web").1, {
        Command::Create(Create { pid_file: Some("a,b".into()), bundle: "/b".into(), ..create("web") })
    });
}

#[test]
fn run_has_creates_flags_and_its_own() {
    let run =
        |detach, keep, no_subreaper| Command::Run(Run { create: create("web"), detach, keep, no_subreaper });
    assert_eq!(good("run web").1, run(false, false, false));
    assert_eq!(good("run -d --keep -no-subreaper web").1, run(true, true, true));
    assert_eq!(good("run --detach=true --keep=0 web --no-subreaper=T").1, run(true, false, true));
}

#[test]
fn kill_as_docker_crio_and_people_send_it() {
    let kill = |signal: &str, all| Command::Kill(Kill { id: "web".into(), signal: signal.into(), all });
    for (line, command) in [
        ("kill web", kill("SIGTERM", false)),
        ("kill web 9", kill("9", false)),
        ("kill web KILL", kill("KILL", false)),
        ("kill -a web 9", kill("9", true)),
        ("kill --all web KILL", kill("KILL", true)),
        ("kill web -9", kill("-9", false)),
        ("kill web --all", kill("--all", false)),
    ] {
        assert_eq!(good(line).1, command, "{line}");
    }
}

#[test]
fn the_other_commands() {
    let list = |format, quiet| Command::List(List { format, quiet });
    let spec = |bundle: &str, rootless| Command::Spec(Spec { bundle: bundle.into(), rootless });
    for (line, command) in [
        ("start web", Command::Start(Start { id: "web".into() })),
        ("state web", Command::State(State { id: "web".into() })),
        ("delete web", Command::Delete(Delete { id: "web".into(), force: false })),
        ("delete -f web", Command::Delete(Delete { id: "web".into(), force: true })),
        ("delete web --force", Command::Delete(Delete { id: "web".into(), force: true })),
        ("list", list(ListFormat::Table, false)),
        ("list -q -f json", list(ListFormat::Json, true)),
        ("list -format=table", list(ListFormat::Table, false)),
        ("spec", spec(".", false)),
        ("spec -b /b --rootless", spec("/b", true)),
        ("features", Command::Features),
    ] {
        let (globals, parsed) = good(line);
        assert_eq!(parsed, command, "{line}");
        assert_eq!(globals, Globals::default());
        assert!(line.starts_with(parsed.name()));
    }
}

#[test]
fn globals_may_be_repeated_and_stand_before_the_command_only() {
    let (globals, _) =
        good("--root=/a --root=/b --systemd-cgroup --systemd-cgroup --debug -debug=false --log= features");
    assert_eq!(globals, Globals { root: Some("/b".into()), systemd_cgroup: true, ..Globals::default() });
    for (given, rootless) in
        [("true", Some(true)), ("false", Some(false)), ("auto", None), ("1", Some(true)), ("", None)]
    {
        assert_eq!(good(&format!("--rootless={given} features")).0.rootless, rootless);
    }
    assert_eq!(message(&["features", "--debug"]), "flag provided but not defined: -debug");
}

#[test]
fn a_root_that_is_the_hosts_is_refused() {
    for root in ["", "/", "//", "/.", "/..", "/a/..", "/../"] {
        let message = message(&["--root", root, "list"]);
        assert_eq!(message, format!("flag --root: the folder may not be {root:?}"));
    }
    let Parsed::Command(globals, _) = parse_words(&["--root", "state", "list"]).unwrap() else { panic!() };
    assert_eq!(globals.state_root().path, std::env::current_dir().unwrap().join("state"));
    assert!(!globals.state_root().sticky);
}

#[test]
fn messages() {
    let table: &[(&[&str], &str)] = &[
        (&["--foo", "state", "web"], "flag provided but not defined: -foo"),
        (&["state", "-foo", "web"], "flag provided but not defined: -foo"),
        (&["run", "-dk", "web"], "flag provided but not defined: -dk"),
        (&["create", "web", "--bundle"], "flag needs an argument: --bundle"),
        (&["--root"], "flag needs an argument: --root"),
        (&["create", "---bundle", "/b", "web"], "bad flag syntax: ---bundle"),
        (&["run", "--detach=maybe", "web"], "invalid boolean value \"maybe\" for -detach"),
        (
            &["create", "--preserve-fds", "-1", "web"],
            "flag --preserve-fds: \"-1\" is not a number from 0 to 4294967295",
        ),
        (&["state"], "\"state\" requires exactly 1 argument(s), got 0"),
        (&["state", "a", "b"], "\"state\" requires exactly 1 argument(s), got 2"),
        (&["kill"], "\"kill\" requires a minimum of 1 argument(s), got 0"),
        (&["kill", "a", "9", "b"], "\"kill\" requires a maximum of 2 argument(s), got 3"),
        (&["features", "x"], "\"features\" requires exactly 0 argument(s), got 1"),
        (&["list", "-f", "yaml"], "flag --format: \"yaml\" is neither table nor json"),
        (&["--log-format", "xml", "list"], "flag --log-format: \"xml\" is neither text nor json"),
        (&["--rootless", "no", "list"], "flag --rootless: \"no\" is none of true, false and auto"),
        (
            &["strat", "web"],
            "unknown command \"strat\": did you mean \"start\"? the commands are create, start, run, state, kill, delete, list, spec, features",
        ),
        (
            &["frobnicate"],
            "unknown command \"frobnicate\": the commands are create, start, run, state, kill, delete, list, spec, features",
        ),
        (
            &["help", "lits"],
            "unknown command \"lits\": did you mean \"list\"? the commands are create, start, run, state, kill, delete, list, spec, features",
        ),
    ];
    for (words, expected) in table {
        assert_eq!(message(words), *expected, "{words:?}");
    }
}

#[test]
fn an_error_in_the_command_still_knows_the_log() {
    let error = parse_words(&["--log", "/l", "--log-format=json", "state"]).unwrap_err();
    assert_eq!((error.globals.log, error.globals.log_format), (Some("/l".into()), LogFormat::Json));
    assert_eq!(error.help, "Usage: runtime state <CONTAINER>");
}

#[test]
fn bytes_that_are_not_utf8_are_a_path_but_no_id() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = || OsString::from_vec(b"/b\xff".to_vec());
    let bundle = parse(&["create".into(), "--bundle".into(), bytes(), "web".into()]).unwrap();
    let expected = Command::Create(Create { bundle: bytes().into(), ..create("web") });
    assert_eq!(bundle, Parsed::Command(Globals::default(), expected));
    let error = parse(&["state".into(), bytes()]).unwrap_err();
    assert_eq!(error.message, "an argument is not UTF-8");
}

#[test]
fn help_and_version() {
    for words in [&[][..], &["--help"], &["-h"], &["help"], &["--root", "/x", "-help"]] {
        let Parsed::Text(text) = parse_words(words).unwrap() else { panic!("{words:?}") };
        assert!(text.contains("\n  features   print") && text.contains("--log-format"), "{text}");
    }
    for words in [&["create", "--help"][..], &["create", "-h"], &["help", "create"], &["create", "web", "-h"]]
    {
        let Parsed::Text(text) = parse_words(words).unwrap() else { panic!("{words:?}") };
        assert!(text.contains("Usage: runtime create [OPTIONS] <CONTAINER>"), "{text}");
        assert!(text.contains("--pidfd-socket <SOCKET>"), "{text}");
    }
    for words in [&["--version"][..], &["-v"], &["--root", "/x", "--version"]] {
        assert_eq!(parse_words(words).unwrap(), Parsed::Text(version_text()));
    }
}
