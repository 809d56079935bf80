//! A caller of runc finds the same here: the same command lines, through runc and through the runtime under
//! test, end with the same exit status, leave the container in the same status, and say the phrases that
//! callers search for. Where we mean to differ from runc, the table says why.
// Helpers outside the test functions panic as these do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use integration::{
    Bundle, Call, Container, Flavour, Output, Process, flavour, json, runtime_under_test, skip, wait_for,
};

const RUNC: &str = "/usr/sbin/runc";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    Missing,
    Created,
    Running,
    Stopped,
}
use Before::{Created, Missing, Running, Stopped};

/// A command line in a state. `ID` and `BUNDLE` in it are replaced.
struct Line {
    before: Before,
    args: &'static str,
    code: i32,
    /// What callers look for on stderr; empty where nothing has to be there.
    phrase: &'static str,
    /// Runc's exit status where it is another, and why ours is not.
    otherwise: Option<(i32, &'static str)>,
}

const fn same(before: Before, args: &'static str, code: i32, phrase: &'static str) -> Line {
    Line { before, args, code, phrase, otherwise: None }
}

const fn differs(
    before: Before,
    args: &'static str,
    code: i32,
    phrase: &'static str,
    runc: i32,
    why: &'static str,
) -> Line {
    Line { before, args, code, phrase, otherwise: Some((runc, why)) }
}

/// One of the two runtimes, with a `--root` of its own, and a container of the bundle.
struct Side<'a> {
    program: &'a Path,
    place: &'a Container,
    name: &'static str,
    id: String,
}

impl<'a> Side<'a> {
    fn new(program: &'a Path, place: &'a Container, name: &'static str, number: usize) -> Side<'a> {
        Side { program, place, name, id: format!("{}-{name}-{number}", place.id()) }
    }

    fn call(&self, args: &str) -> Output {
        let scratch = self.place.bundle().scratch();
        let folder = scratch.join(self.name);
        let bundle = self.place.bundle().path();
        let words = args.split(' ').filter(|word| !word.is_empty()).map(|word| match word {
            "ID" => self.id.clone(),
            "BUNDLE" => bundle.to_str().unwrap().to_owned(),
            "EMPTY" => String::new(),
            other => other.to_owned(),
        });
        let call =
            Call::of(self.program).args([Path::new("--root"), &scratch.join(format!("{}-root", self.name))]);
        // The folder has no config.json: a command line without --bundle finds none.
        call.args(words).current_dir(&folder).output_in(&folder).output()
    }

    /// The status, or `none`.
    fn status(&self) -> String {
        let output = self.call("state ID");
        if output.status.success() {
            output.json()["status"].as_str().unwrap().to_owned()
        } else {
            assert!(output.stderr.contains("does not exist"), "{output}");
            "none".to_owned()
        }
    }

    fn bring(&self, before: Before) {
        match before {
            Missing => {}
            Created => drop(self.call("create --bundle BUNDLE ID").expect_ok()),
            Running => {
                self.call("run --detach --bundle BUNDLE ID").expect_ok();
                // Until the program has its handler, the kernel spares it: it is process 1 of its namespace.
                let pid = self.call("state ID").json()["pid"].as_u64().unwrap();
                let init = Process::new(u32::try_from(pid).unwrap());
                let sigterm = 1 << (15 - 1);
                wait_for("the handler of SIGTERM", || {
                    let caught = u64::from_str_radix(&init.status("SigCgt"), 16).unwrap();
                    // A Go program, which runc's init is until then, catches nearly all. In the middle of
                    // execve a process has no command line.
                    (caught & sigterm != 0 && init.cmdline().first().is_some_and(|name| name == "sh"))
                        .then_some(())
                });
            }
            Stopped => {
                self.call("run --detach --bundle BUNDLE ID").expect_ok();
                let _ = self.call("kill ID KILL"); // it may have ended by itself
                wait_for("the end", || (self.status() == "stopped").then_some(()));
            }
        }
    }
}

impl Drop for Side<'_> {
    fn drop(&mut self) {
        let output = self.call("delete --force ID");
        assert!(output.status.success() || std::thread::panicking(), "{output}");
    }
}

/// Carries the table out on both sides; all that is wrong is told at once.
fn compare(bundle: Bundle, lines: &[Line]) {
    let place = bundle.container();
    for name in ["ours", "runc"] {
        std::fs::create_dir(place.bundle().scratch().join(name)).unwrap();
    }
    let mut wrong = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let ours = Side::new(runtime_under_test(), &place, "ours", number);
        let runc = Side::new(Path::new(RUNC), &place, "runc", number);
        ours.bring(line.before);
        runc.bring(line.before);
        let (said, runc_said) = (ours.call(line.args), runc.call(line.args));
        let mut complain = |what: &str, output: &Output| {
            wrong.push(format!("{:?} `{}`: {what}: {output}", line.before, line.args));
        };
        if said.code() != line.code {
            complain(&format!("ours did not end with {}", line.code), &said);
        }
        let runc_code = line.otherwise.map_or(line.code, |(code, _)| code);
        if runc_said.code() != runc_code {
            complain(&format!("runc did not end with {runc_code}"), &runc_said);
        }
        let has = |output: &Output| output.stderr.replace("\\\"", "\"").contains(line.phrase);
        if !has(&said) {
            complain(&format!("ours does not say {:?}", line.phrase), &said);
        }
        if let Some((code, why)) = line.otherwise {
            assert!(code != line.code && !why.is_empty(), "no difference: {}", line.args);
            continue;
        }
        if !has(&runc_said) {
            complain(&format!("runc does not say {:?}", line.phrase), &runc_said);
        }
        // A signal takes a moment.
        wait_for(&format!("the same status after {:?} `{}`", line.before, line.args), || {
            (ours.status() == runc.status()).then_some(())
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

macro_rules! needs_both {
    () => {
        if flavour() != Flavour::Ours {
            skip!("compares ours with runc");
        }
        if !Path::new(RUNC).is_file() {
            skip!("no {RUNC} to compare with");
        }
    };
}

const EXISTS: &str = "container with given ID already exists";
const NOT_THERE: &str = "container does not exist";
const NO_ID: &str = "invalid container ID format";

#[test]
fn create_as_runc() {
    needs_both!();
    compare(
        Bundle::new().sleeping(),
        &[
            same(Missing, "create --bundle BUNDLE ID", 0, ""),
            same(Missing, "create -b BUNDLE --pid-file pid --no-pivot ID", 0, ""),
            same(Missing, "create -bundle=BUNDLE ID", 1, "no such file or directory"),
            same(Missing, "create -bundle BUNDLE -no-new-keyring ID", 0, ""),
            same(Created, "create --bundle BUNDLE ID", 1, EXISTS),
            same(Running, "create --bundle BUNDLE ID", 1, EXISTS),
            same(Stopped, "create --bundle BUNDLE ID", 1, EXISTS),
            same(Missing, "create ID", 1, "JSON specification file config.json not found"),
            same(Missing, "create --bundle gone ID", 1, "no such file or directory"),
            same(Missing, "create --bundle BUNDLE in/valid", 1, NO_ID),
            same(Missing, "create --bundle BUNDLE ..", 1, NO_ID),
            same(Missing, "create --bundle BUNDLE", 1, ""),
            same(Missing, "create --bundle BUNDLE ID surplus", 1, ""),
            same(Missing, "create --nonsense ID", 1, "flag provided but not defined: -nonsense"),
            same(Missing, "create ID --bundle", 1, ""),
            same(Missing, "create --bundle BUNDLE --pid-file /gone/pid ID", 1, "no such file or directory"),
            same(Missing, "create --bundle BUNDLE --preserve-fds x ID", 1, ""),
        ],
    );
}

#[test]
fn start_and_state_as_runc() {
    needs_both!();
    compare(
        Bundle::new().sleeping(),
        &[
            same(Created, "start ID", 0, ""),
            same(Running, "start ID", 1, "cannot start an already running container"),
            same(Stopped, "start ID", 1, "cannot start a container that has stopped"),
            same(Missing, "start ID", 1, NOT_THERE),
            same(Missing, "start in/valid", 1, NO_ID),
            same(Missing, "start", 1, ""),
            same(Created, "start ID surplus", 1, ""),
            same(Created, "start --nonsense ID", 1, "flag provided but not defined: -nonsense"),
            same(Created, "state ID", 0, ""),
            same(Running, "state ID", 0, ""),
            same(Stopped, "state ID", 0, ""),
            same(Missing, "state ID", 1, NOT_THERE),
            same(Missing, "state in/valid", 1, NO_ID),
            same(Missing, "state", 1, ""),
            same(Running, "state ID surplus", 1, ""),
        ],
    );
}

#[test]
fn kill_as_runc() {
    needs_both!();
    compare(
        Bundle::new().sleeping(),
        &[
            same(Running, "kill ID", 0, ""),
            same(Running, "kill ID KILL", 0, ""),
            same(Running, "kill ID SIGKILL", 0, ""),
            same(Running, "kill ID kill", 0, ""),
            same(Running, "kill ID 9", 0, ""),
            same(Running, "kill ID USR1", 0, ""),
            same(Running, "kill --all ID KILL", 0, ""),
            same(Running, "kill -a ID 9", 0, ""),
            same(Created, "kill ID KILL", 0, ""),
            same(Stopped, "kill ID KILL", 1, "container not running"),
            same(Stopped, "kill ID 0", 1, "container not running"),
            same(Stopped, "kill --all ID KILL", 0, ""),
            same(Missing, "kill ID KILL", 1, NOT_THERE),
            same(Missing, "kill --all ID KILL", 1, NOT_THERE),
            same(Running, "kill ID NONSENSE", 1, "unknown signal \"NONSENSE\""),
            same(Running, "kill ID EMPTY", 0, ""),
            same(Running, "kill", 1, ""),
            same(Running, "kill ID KILL surplus", 1, ""),
            same(Running, "kill in/valid KILL", 1, NO_ID),
        ],
    );
}

#[test]
fn delete_and_list_as_runc() {
    needs_both!();
    compare(
        Bundle::new().sleeping(),
        &[
            same(Stopped, "delete ID", 0, ""),
            same(Created, "delete ID", 0, ""),
            same(Running, "delete ID", 1, "that is not stopped: running"),
            same(Missing, "delete ID", 1, NOT_THERE),
            same(Running, "delete --force ID", 0, ""),
            same(Created, "delete -f ID", 0, ""),
            same(Stopped, "delete -force ID", 0, ""),
            same(Missing, "delete --force ID", 0, ""),
            same(Missing, "delete in/valid", 1, NO_ID),
            same(Missing, "delete", 1, ""),
            same(Stopped, "delete ID surplus", 1, ""),
            same(Missing, "list", 0, ""),
            same(Running, "list --format json", 0, ""),
            same(Stopped, "list -f table -q", 0, ""),
            same(Created, "list --quiet=true", 0, ""),
            same(Running, "list --format xml", 1, ""),
            same(Running, "list surplus", 1, ""),
        ],
    );
}

#[test]
fn run_as_runc() {
    needs_both!();
    compare(
        Bundle::new().sh("exit 7"),
        &[
            same(Missing, "run --bundle BUNDLE ID", 7, ""),
            same(Missing, "run --keep --bundle BUNDLE ID", 7, ""),
            same(Missing, "run --no-subreaper -b BUNDLE ID", 7, ""),
            same(Missing, "run --detach --bundle BUNDLE ID", 0, ""),
            same(Created, "run --bundle BUNDLE ID", 1, EXISTS),
            same(Stopped, "run --bundle BUNDLE ID", 1, EXISTS),
            same(Missing, "run ID", 1, "JSON specification file config.json not found"),
            same(Missing, "run --bundle BUNDLE", 1, ""),
            same(Missing, "run --bundle BUNDLE in/valid", 1, NO_ID),
            same(Missing, "run --bundle", 1, "flag needs an argument"),
        ],
    );
}

#[test]
fn a_program_that_cannot_be_run_as_runc() {
    needs_both!();
    for (program, phrase) in [
        ("no-such-program", "executable file not found in $PATH"),
        ("/no/such/program", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
        ("/etc", "permission denied"),
    ] {
        if program == "/etc" {
            // 1.1.5 says "permission denied" too, though newer ones say "is a directory": engines map both.
            compare(Bundle::new().args(&[program]), &[same(Missing, "create --bundle BUNDLE ID", 1, "")]);
            continue;
        }
        compare(
            Bundle::new().args(&[program]),
            &[
                same(Missing, "create --bundle BUNDLE ID", 1, phrase),
                same(Missing, "run --bundle BUNDLE ID", 1, phrase),
                same(Missing, "run --detach --bundle BUNDLE ID", 1, phrase),
            ],
        );
    }
}

#[test]
fn a_terminal_without_a_socket_as_runc() {
    needs_both!();
    compare(
        Bundle::new().set("/process/terminal", json!(true)),
        &[
            same(Missing, "create --bundle BUNDLE ID", 1, ""),
            same(Missing, "run --detach --bundle BUNDLE ID", 1, ""),
            same(Missing, "create --console-socket gone --bundle BUNDLE ID", 1, "no such file or directory"),
            same(Missing, "run --console-socket gone --bundle BUNDLE ID", 1, ""),
            differs(
                Missing,
                "run --bundle BUNDLE ID",
                0,
                "",
                1,
                "ours needs no terminal of its caller's: the program's output is copied to whatever stdout is",
            ),
        ],
    );
}

#[test]
fn the_rest_of_the_command_line_as_runc() {
    needs_both!();
    compare(
        Bundle::new().sleeping(),
        &[
            same(Missing, "--version", 0, ""),
            same(Missing, "-v", 0, ""),
            same(Missing, "--help", 0, ""),
            same(Missing, "-h", 0, ""),
            same(Missing, "create --help", 0, ""),
            same(Missing, "features", 0, ""),
            same(Missing, "spec", 0, ""),
            same(Missing, "spec surplus", 1, ""),
            same(Missing, "spec --bundle gone", 1, "no such file or directory"),
            same(Running, "--log log --log-format json state ID", 0, ""),
            same(Missing, "--log-format xml state ID", 1, ""),
            same(Missing, "--log-format", 1, "flag needs an argument"),
            same(Missing, "--nonsense list", 1, "flag provided but not defined: -nonsense"),
            same(Running, "--debug --log log state ID", 0, ""),
        ],
    );
}

#[test]
fn exec_as_runc() {
    needs_both!();
    compare(
        Bundle::new().sleeping(),
        &[
            same(Running, "exec ID true", 0, ""),
            same(Created, "exec ID true", 0, ""),
            same(Stopped, "exec ID true", 255, "cannot exec in a stopped container"),
            same(Missing, "exec ID true", 255, NOT_THERE),
            same(Running, "exec in/valid true", 255, NO_ID),
            same(Running, "exec ID", 255, "process args cannot be empty"),
            same(Running, "exec", 1, ""),
            same(Running, "exec ID false", 1, ""),
            same(Running, "exec ID true --nonsense --tty", 0, ""),
            same(Running, "exec --nonsense ID true", 1, "flag provided but not defined: -nonsense"),
            same(Running, "exec ID no-such-program", 255, "executable file not found in $PATH"),
            same(Running, "exec ID /no/such/program", 255, "no such file or directory"),
            same(Running, "exec ID /etc/passwd", 255, "permission denied"),
            same(Running, "exec --cwd /tmp -e A=1,2 -u 1:2 -g 3 --cap CAP_KILL ID true", 0, ""),
            same(Running, "exec --cwd /not/there ID true", 255, "no such file or directory"),
            same(Running, "exec --cwd relative ID true", 255, "absolute path"),
            same(Running, "exec --user root ID true", 255, "root"),
            same(Running, "exec --user 1:x ID true", 255, "x"),
            same(Running, "exec --detach --pid-file pid ID true", 0, ""),
            same(Running, "exec -d --pid-file /gone/pid ID true", 255, "no such file or directory"),
            same(Running, "exec --tty --detach ID true", 255, ""),
            same(Running, "exec --console-socket gone ID true", 255, ""),
            same(Running, "exec -t -d --console-socket gone ID true", 255, "no such file or directory"),
            same(Running, "exec --process gone ID", 255, "no such file or directory"),
            same(Running, "exec --preserve-fds x ID true", 1, ""),
            same(Running, "exec --preserve-fds 200 ID true", 255, ""),
            same(Running, "exec ID --process", 255, "executable file not found in $PATH"),
            same(Running, "exec --user", 1, "flag needs an argument"),
        ],
    );
}
