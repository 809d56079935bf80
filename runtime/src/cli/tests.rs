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

/// `update` of "web" by these flags.
fn update(line: &str) -> Update {
    match good(&format!("update {line} web")).1 {
        Command::Update(update) => *update,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn every_flag_of_update_is_a_field_of_resources() {
    for (flags, resources) in [
        ("", "{}"),
        ("--blkio-weight 500", r#"{"blockIO":{"weight":500}}"#),
        ("--cpu-period 20000 --cpu-quota -1", r#"{"cpu":{"period":20000,"quota":-1}}"#),
        ("--cpu-burst 0 --cpu-share=512", r#"{"cpu":{"burst":0,"shares":512}}"#),
        ("--cpu-rt-period 1 --cpu-rt-runtime 2", r#"{"cpu":{"realtimePeriod":1,"realtimeRuntime":2}}"#),
        ("-cpuset-cpus 0-1,3 --cpuset-mems 0", r#"{"cpu":{"cpus":"0-1,3","mems":"0"}}"#),
        ("--cpu-idle 1", r#"{"cpu":{"idle":1}}"#),
        ("--memory 64m", r#"{"memory":{"limit":67108864}}"#),
        ("--memory -1 --memory-swap=-1", r#"{"memory":{"limit":-1,"swap":-1}}"#),
        ("--memory-reservation 1k --memory-swap 2kb", r#"{"memory":{"reservation":1024,"swap":2048}}"#),
        ("--pids-limit -1", r#"{"pids":{"limit":-1}}"#),
        ("--pids-limit 0", r#"{"pids":{"limit":0}}"#),
        ("--cpu-share= --memory= --pids-limit= --cpuset-cpus=", "{}"),
    ] {
        let parsed = update(flags);
        assert_eq!(parsed.resources, serde_json::from_str(resources).unwrap(), "{flags}");
        assert_eq!((parsed.file, parsed.obsolete.len()), (None, 0), "{flags}");
    }
    for flags in ["-r -", "--resources=-", "--resources - --memory 1"] {
        assert_eq!(update(flags).file, Some("-".into()), "{flags}");
    }
    assert_eq!(
        update("--kernel-memory 1 --kernel-memory-tcp 2m").obsolete,
        ["kernel-memory", "kernel-memory-tcp"]
    );
    let rdt = update("--l3-cache-schema L3:0=f --mem-bw-schema MB:0=20 -r /f");
    assert_eq!(
        (rdt.intel_rdt.l3_cache_schema.as_str(), rdt.intel_rdt.mem_bw_schema.as_str()),
        ("L3:0=f", "MB:0=20")
    );
    for (flags, message) in [
        (["--cpu-share", "x"], "invalid value for cpu-share: \"x\" is no number it can have"),
        (["--cpu-period", "-1"], "invalid value for cpu-period: \"-1\" is no number it can have"),
        (["--blkio-weight", "70000"], "invalid value for blkio-weight: \"70000\" is no number it can have"),
        (["--memory", "100Q"], "invalid value for memory: \"100Q\" is no size such as 64m, nor -1"),
        (["--memory-swap", "-2"], "invalid value for memory-swap: \"-2\" is no size such as 64m, nor -1"),
    ] {
        assert_eq!(super::tests::message(&["update", flags[0], flags[1], "web"]), message);
    }
}

fn exec(words: &[&str]) -> Exec {
    match parse_words(&[&["exec"], words].concat()) {
        Ok(Parsed::Command(_, Command::Exec(exec))) => *exec,
        other => panic!("{words:?}: {other:?}"),
    }
}

#[test]
fn exec_as_containerd_conmon_and_people_send_it() {
    let plain = Exec { id: "web".into(), ..Exec::default() };
    let line = ["--process", "/p", "--console-socket", "/s", "--detach", "--pid-file", "/pid", "web"];
    let containerd = Exec {
        process: Some("/p".into()),
        console_socket: Some("/s".into()),
        detach: true,
        pid_file: Some("/pid".into()),
        ..plain.clone()
    };
    assert_eq!(exec(&line), containerd);
    let line = ["-d", "--console-socket=/s", "--tty", "--pid-file=/pid", "web", "sh", "-c", "a,b", "-t"];
    let conmon_rs = Exec {
        process: None,
        tty: true,
        args: ["sh", "-c", "a,b", "-t"].map(OsString::from).to_vec(),
        ..containerd
    };
    assert_eq!(exec(&line), conmon_rs);
    // Flags of one name add up, in both of their forms, and no comma splits one.
    let line = ["-e", "A=1,B=2", "--env=C=3", "-u", "1:2", "-g", "3", "-additional-gids", "4", "-c", "CAP_A"];
    let more = ["--cap", "CAP_B", "--cwd", "/", "--no-new-privs=false", "--preserve-fds", "2", "--cgroup="];
    let people = Exec {
        env: ["A=1,B=2", "C=3"].map(OsString::from).to_vec(),
        user: Some("1:2".into()),
        additional_gids: ["3", "4"].map(OsString::from).to_vec(),
        caps: ["CAP_A", "CAP_B"].map(OsString::from).to_vec(),
        cwd: Some("/".into()),
        no_new_privs: Some(false),
        preserve_fds: 2,
        cgroup: Some(OsString::new()),
        ..plain
    };
    assert_eq!(exec(&[&line[..], &more, &["web"]].concat()), people);
}

#[test]
fn ps_hands_on_what_follows_the_id() {
    let ps = |format, options: &[&str]| {
        let options = options.iter().map(OsString::from).collect();
        Command::Ps(Ps { id: "web".into(), format, options })
    };
    for (line, command) in [
        ("ps web", ps(ListFormat::Table, &[])),
        ("ps --format json web", ps(ListFormat::Json, &[])),
        ("ps -f table web -aux", ps(ListFormat::Table, &["-aux"])),
        ("ps web -f json", ps(ListFormat::Table, &["-f", "json"])),
        ("ps web -eo pid,comm --sort pid", ps(ListFormat::Table, &["-eo", "pid,comm", "--sort", "pid"])),
        ("ps -f json -- web -- -e", ps(ListFormat::Json, &["--", "-e"])),
    ] {
        assert_eq!(good(line).1, command, "{line}");
    }
    assert_eq!(message(&["ps"]), "\"ps\" requires a minimum of 1 argument(s), got 0");
    assert_eq!(message(&["ps", "-f", "xml", "web"]), "flag --format: \"xml\" is neither table nor json");
}

#[test]
fn the_other_commands() {
    let list = |format, quiet| Command::List(List { format, quiet });
    let events = |stats, interval_ms| {
        let interval = Duration::from_millis(interval_ms);
        Command::Events(Events { id: "web".into(), stats, interval })
    };
    let spec = |bundle: &str, rootless| Command::Spec(Spec { bundle: bundle.into(), rootless });
    for (line, command) in [
        ("start web", Command::Start(Start { id: "web".into() })),
        ("state web", Command::State(State { id: "web".into() })),
        ("delete web", Command::Delete(Delete { id: "web".into(), force: false })),
        ("delete -f web", Command::Delete(Delete { id: "web".into(), force: true })),
        ("delete web --force", Command::Delete(Delete { id: "web".into(), force: true })),
        ("pause web", Command::Pause(Pause { id: "web".into() })),
        ("resume web", Command::Resume(Resume { id: "web".into() })),
        ("events web", events(false, 5000)),
        ("events --stats web", events(true, 5000)),
        ("events --interval=100ms web", events(false, 100)),
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
    assert_eq!(globals.state_root().runtime_folder, None);
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
            "unknown command \"strat\": did you mean \"start\"? the commands are create, start, run, exec, state, kill, pause, resume, update, ps, events, checkpoint, restore, delete, list, spec, features",
        ),
        (
            &["frobnicate"],
            "unknown command \"frobnicate\": the commands are create, start, run, exec, state, kill, pause, resume, update, ps, events, checkpoint, restore, delete, list, spec, features",
        ),
        (
            &["help", "lits"],
            "unknown command \"lits\": did you mean \"list\"? the commands are create, start, run, exec, state, kill, pause, resume, update, ps, events, checkpoint, restore, delete, list, spec, features",
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
