//! Flags of `create` and `run`: Docker's values, defaults and complaints.

use std::ffi::OsString;

use super::*;
use crate::bundle::options::Whose;
use crate::cli::create_flags::{CREATE_FLAGS, DETACH};
use crate::cli::flags::{Arity, Form, Scan, scan};
use crate::cli::spec_flags::SPEC_FLAGS;

const FORM: Form = Form {
    usage: "",
    flags: &[&SPEC_FLAGS, &CREATE_FLAGS, &[DETACH], &CREATE_REFUSED],
    arity: Arity::AtLeast(1),
    flags_end_at_argument: true,
};

fn asked(line: &str) -> std::result::Result<Request, String> {
    // The runtime is looked for on the host, which need not have ours.
    let args: Vec<OsString> = ["--runtime", "/bin/sh"]
        .into_iter()
        .chain(line.split(' ').filter(|word| !word.is_empty()))
        .map(OsString::from)
        .collect();
    let Scan::Given(given) = scan(&FORM, &args)? else { panic!("{line}") };
    let words: Vec<&str> = given.arguments.iter().map(|word| word.to_str().unwrap()).collect();
    request(&given, &words, given.is_on("detach"))
        .map(|(request, _)| request)
        .map_err(|error| error.to_string())
}

#[test]
fn what_is_attached_follows_the_flags() {
    let attached = |line: &str| {
        let config = asked(line).unwrap().config;
        let Config { attach_stdin, attach_stdout, attach_stderr, open_stdin, stdin_once, tty, .. } = config;
        (attach_stdin, attach_stdout, attach_stderr, open_stdin, stdin_once, tty)
    };
    assert_eq!(attached("box"), (false, true, true, false, false, false));
    assert_eq!(attached("-it box"), (true, true, true, true, true, true));
    assert_eq!(attached("-id box"), (false, false, false, true, false, false));
    assert_eq!(attached("-a stdout -a STDIN box"), (true, true, false, false, false, false));
}

#[test]
fn a_restart_policy_is_dockers() {
    let told = |text: &str| {
        restart_policy(text)
            .map(|policy| (policy.name, policy.maximum_retry_count))
            .map_err(|error| error.to_string())
    };
    assert_eq!(told(""), Ok(("no".into(), 0)));
    assert_eq!(told("on-failure:3"), Ok(("on-failure".into(), 3)));
    assert_eq!(told("unless-stopped"), Ok(("unless-stopped".into(), 0)));
    for (text, words) in [
        ("always:3", "invalid restart policy: maximum retry count can only be used with 'on-failure'"),
        ("on-failure:-1", "invalid restart policy: maximum retry count cannot be negative"),
        ("on-failure:x", "invalid restart policy format: maximum retry count must be an integer"),
        ("sometimes", "invalid restart policy: unknown policy 'sometimes'; use one of 'no', 'always'"),
    ] {
        assert!(told(text).unwrap_err().starts_with(words), "{text}");
    }
}

#[test]
fn what_contradicts_itself_or_is_not_there_is_refused_by_name() {
    for (line, words) in [
        ("--rm --restart always box", "conflicting options: cannot specify both --restart and --rm"),
        ("-p 80:80:80:80/icmp box", "invalid proto: icmp"),
        (
            "--net container:x -p 80 box",
            "conflicting options: port publishing and the container type network mode",
        ),
        (
            "--net container:x --expose 80 box",
            "conflicting options: port exposing and the container type network mode",
        ),
        ("--gpus some box", "invalid count (some): value must be either \"all\" or an integer"),
        ("--network a=b box", "invalid field key a"),
        ("--ip fd00::1 box", "invalid IPv4 address: fd00::1"),
        ("--link a --network none box", "links are only supported for user-defined networks"),
        ("--link-local-ip 169.254.1.1 box", "--link-local-ip is not supported"),
        ("--net container:x -h y box", "conflicting options: hostname and the network mode"),
        ("--net container:x --dns 1.1.1.1 box", "conflicting options: dns and the network mode"),
        ("--net container:x --add-host a:1.1.1.1 box", "conflicting options: custom host-to-IP mapping"),
        ("--no-healthcheck --health-retries 1 box", "--no-healthcheck conflicts with --health-* options"),
        ("--health-interval -1s box", "--health-interval cannot be negative"),
        (
            "--hardened --privileged box",
            "conflicting options: cannot specify both --hardened and --privileged",
        ),
        ("--log-driver none --log-opt a=b box", "invalid logging opts for driver none"),
        ("--name a/b box", "Invalid container name (a/b)"),
        ("-a nothing box", "invalid argument \"nothing\" for \"-a, --attach\" flag: valid streams are"),
        ("--dns x box", "x is not an ip address"),
        ("-v name:/x:rslave box", "for type \"volume\": field BindOptions must not be specified"),
        ("--volumes-from x:y box", "invalid mode: y"),
        ("--stop-signal FOO box", "invalid signal: FOO"),
    ] {
        let error = asked(line).unwrap_err();
        assert!(error.contains(words), "{line}: {error}");
    }
}

#[test]
fn hardened_is_the_least_and_each_part_is_loosened_by_its_own_flag() {
    let Request { options, host_config, .. } = asked("--hardened box").unwrap();
    assert!(options.read_only && options.security.no_new_privileges);
    assert_eq!(options.cap_drop, ["ALL"]);
    assert_eq!((options.limits.memory, options.limits.memory_swap), (Some(1 << 30), Some(1 << 30)));
    assert_eq!(options.limits.pids, Some(200));
    let places: Vec<&String> = host_config.tmpfs.keys().collect();
    assert_eq!(places, ["/run", "/tmp"]);
    assert_eq!(host_config.security_opt.unwrap(), ["no-new-privileges"]);
    assert_eq!((host_config.cap_drop.unwrap(), host_config.hardened), (vec!["ALL".to_owned()], true));

    let loose = "--hardened --read-only=false --security-opt no-new-privileges=false --cap-drop chown --memory 64m \
        --pids-limit -1 box";
    let Request { options, .. } = asked(loose).unwrap();
    assert!(!options.read_only && !options.security.no_new_privileges && options.mounts.is_empty());
    assert_eq!(options.cap_drop, ["chown"]);
    assert_eq!((options.limits.memory, options.limits.memory_swap), (Some(64 << 20), None));
    assert_eq!(options.limits.pids, Some(-1));
    let Request { host_config, options, .. } = asked("--hardened --tmpfs /tmp:size=1m,exec box").unwrap();
    assert_eq!(host_config.tmpfs["/tmp"], "size=1m,exec");
    assert_eq!(options.mounts.len(), 2);
}

#[test]
fn the_record_tells_what_was_asked_for() {
    let line = "-v /:/host:ro --mount type=tmpfs,dst=/t --tmpfs /run:size=1m -l a=b --stop-signal INT --stop-timeout 7 \
        --ulimit nofile=10:20 --init --add-host db:10.0.0.1 --log-driver json-file --log-opt max-size=1m \
        --health-cmd true --health-interval 1m30s -m 64m -e A=1 -w /srv --entrypoint x --ipc shareable box a b";
    let Request { options, modes, config, host_config, mounts, .. } = asked(line).unwrap();
    assert_eq!(host_config.binds.unwrap(), ["/:/host:ro"]);
    assert_eq!(
        (mounts[0].point.destination.as_str(), mounts[0].point.rw, mounts[0].point.mode.as_str()),
        ("/host", false, "ro")
    );
    assert_eq!(
        (mounts[1].point.kind.as_str(), mounts[1].point.destination.as_str(), mounts.len()),
        ("tmpfs", "/t", 2)
    );
    assert_eq!(host_config.tmpfs["/run"], "size=1m");
    assert_eq!(host_config.mounts[0].target, "/t");
    assert_eq!((config.labels["a"].as_str(), config.stop_signal.as_deref()), ("b", Some("INT")));
    assert!(options.labels.is_empty() && options.stop_signal.is_none(), "they are no annotations");
    assert_eq!(config.stop_timeout, Some(7));
    let ulimits = host_config.ulimits.unwrap();
    assert_eq!((ulimits[0].name.as_str(), ulimits[0].soft, ulimits[0].hard), ("nofile", 10, 20));
    assert_eq!((host_config.init, host_config.log_config.config["max-size"].as_str()), (Some(true), "1m"));
    let health = config.healthcheck.unwrap();
    assert_eq!(
        (health.interval, health.test.unwrap()),
        (90_000_000_000, vec!["CMD-SHELL".into(), "true".into()])
    );
    assert_eq!(
        (config.cmd.unwrap(), config.entrypoint.unwrap()),
        (vec!["a".into(), "b".into()], vec!["x".to_owned()])
    );
    assert_eq!(
        (config.env, config.working_dir.as_str(), config.image.as_str()),
        (vec!["A=1".into()], "/srv", "box")
    );
    assert_eq!((modes.ipc, options.namespaces.ipc), (Mode::Shareable, Whose::Own));
}
