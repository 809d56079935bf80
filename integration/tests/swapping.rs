//! A caller of runc finds the same here: the same command lines, through runc and through the runtime under
//! test, end with the same exit status, leave the container in the same status, and say the phrases that
//! callers search for. Where we mean to differ from runc, the table says why. Crun does the same beside them.
//!
//! The table with what all three did is in docs/conformance.md, one part of it for each test here, which fails
//! where it is another (and the versions are those that it names). `scripts/swapping` writes it anew.
// Helpers outside the test functions panic as these do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;
use std::path::Path;

use integration::{
    Bundle, Call, Container, Flavour, Output, Process, cgroup2_mount, flavour, json, runtime_under_test,
    skip, wait_for,
};

const RUNC: &str = "/usr/sbin/runc";
const CRUN: &str = "/usr/bin/crun";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    Missing,
    Created,
    Running,
    Paused,
    Stopped,
}
use Before::{Created, Missing, Paused, Running, Stopped};

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

/// One of the three runtimes, with a `--root` of its own, and a container of the bundle.
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
        let call = if self.name == "crun" { Call::crun(self.program) } else { Call::of(self.program) };
        let call = call.args([Path::new("--root"), &scratch.join(format!("{}-root", self.name))]);
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
            Paused => {
                self.bring(Running);
                self.call("pause ID").expect_ok();
            }
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
        // Crun does not forgive that there is none.
        let known = self.name == "crun" && output.stderr.contains("does not exist");
        assert!(known || output.status.success() || std::thread::panicking(), "{output}");
    }
}

/// Carries the table out on all sides; all that is wrong is told at once. The rows for the document.
fn compare(bundle: Bundle, lines: &[Line]) -> String {
    let place = bundle.container();
    let mut rows = String::new();
    for name in ["ours", "runc", "crun"] {
        std::fs::create_dir(place.bundle().scratch().join(name)).unwrap();
    }
    let mut wrong = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let ours = Side::new(runtime_under_test(), &place, "ours", number);
        let runc = Side::new(Path::new(RUNC), &place, "runc", number);
        let crun = Side::new(Path::new(CRUN), &place, "crun", number);
        for side in [&ours, &runc, &crun] {
            side.bring(line.before);
        }
        let (said, runc_said, crun_said) = (ours.call(line.args), runc.call(line.args), crun.call(line.args));
        let has = |output: &Output| output.stderr.replace("\\\"", "\"").contains(line.phrase);
        let crun_words = if has(&crun_said) { "" } else { ", other words" };
        let (phrase, why) = (line.phrase, line.otherwise.map_or("", |(_, why)| why));
        let _ = writeln!(
            rows,
            "| {:?} | `{}` | {phrase} | {} | {} | {}{crun_words} | {why} |",
            line.before,
            line.args,
            said.code(),
            runc_said.code(),
            crun_said.code(),
        );
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
    rows
}

/// Holds the rows of a test against those between its marks in the document, or puts them there.
fn document(test: &str, rows: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- swapping: {test} -->\n"), "<!-- end -->\n");
    let (before, rest) =
        text.split_once(&begin).unwrap_or_else(|| panic!("no {begin:?} in docs/conformance.md"));
    let (found, after) = rest.split_once(end).unwrap();
    let heading =
        "| before | command line | phrase | here | runc | crun | why |\n|---|---|---|---|---|---|---|\n";
    let wanted = format!("\n{heading}{rows}\n");
    if std::env::var_os("CAISSON_UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{begin}{wanted}{end}{after}")).unwrap();
        return;
    }
    let version = |program: &str| {
        let first = Call::of(program).args(["--version"]).output().stdout;
        first.lines().next().unwrap().replace("version ", "")
    };
    if [RUNC, CRUN].iter().all(|program| text.contains(&format!("{},", version(program)))) {
        // What crun does hangs on the version of cgroup that it is given: the table's had both.
        let both = cgroup2_mount().is_some_and(|mount| mount.ends_with("unified"));
        let cells = |table: &str| -> Vec<Vec<String>> {
            let lines = table.lines().map(|line| line.split(" | ").map(str::to_owned).collect());
            lines
                .map(|mut cells: Vec<String>| {
                    if !both && cells.len() > 5 {
                        cells.remove(5);
                    }
                    cells
                })
                .collect()
        };
        assert_eq!(cells(found), cells(&wanted), "docs/conformance.md: scripts/swapping writes it anew");
    }
}

macro_rules! needs_all {
    () => {
        if flavour() != Flavour::Ours {
            skip!("compares ours with runc and crun");
        }
        for other in [RUNC, CRUN] {
            if !Path::new(other).is_file() {
                skip!("no {other} to compare with");
            }
        }
    };
}

const EXISTS: &str = "container with given ID already exists";
const NOT_THERE: &str = "container does not exist";
const NO_ID: &str = "invalid container ID format";

#[test]
fn create_as_runc() {
    needs_all!();
    let rows = compare(
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
    document("create_as_runc", &rows);
}

#[test]
fn start_and_state_as_runc() {
    needs_all!();
    let rows = compare(
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
    document("start_and_state_as_runc", &rows);
}

#[test]
fn kill_as_runc() {
    needs_all!();
    let rows = compare(
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
    document("kill_as_runc", &rows);
}

#[test]
fn delete_and_list_as_runc() {
    needs_all!();
    let rows = compare(
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
    document("delete_and_list_as_runc", &rows);
}

#[test]
fn run_as_runc() {
    needs_all!();
    let rows = compare(
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
    document("run_as_runc", &rows);
}

#[test]
fn a_program_that_cannot_be_run_as_runc() {
    needs_all!();
    let mut rows = String::new();
    for (program, phrase) in [
        ("no-such-program", "executable file not found in $PATH"),
        ("/no/such/program", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
        // 1.1.5 says "permission denied" too, though newer ones say "is a directory": engines map both.
        ("/etc", ""),
    ] {
        let these = compare(
            Bundle::new().args(&[program]),
            &[
                same(Missing, "create --bundle BUNDLE ID", 1, phrase),
                same(Missing, "run --bundle BUNDLE ID", 1, phrase),
                same(Missing, "run --detach --bundle BUNDLE ID", 1, phrase),
            ],
        );
        rows.push_str(&these.replace("| Missing |", &format!("| args `{program}` |")));
    }
    document("a_program_that_cannot_be_run_as_runc", &rows);
}

#[test]
fn exec_as_runc() {
    needs_all!();
    let rows = compare(
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
            same(Running, "exec ID sh -c exit", 0, ""),
            same(Running, "exec ID sh -c kill$IFS-9$IFS$$", 137, ""),
            same(
                Paused,
                "exec ID true",
                255,
                "cannot exec in a paused container (use --ignore-paused to override)",
            ),
            same(Running, "exec --user nobody ID true", 255, ""),
            same(Running, "exec -e A=B -e C=D ID true", 0, ""),
            same(Running, "exec --cap CAP_KILL --no-new-privs ID true", 0, ""),
            same(Running, "exec --detach ID true", 0, ""),
        ],
    );
    document("exec_as_runc", &rows);
}

#[test]
fn what_lives_in_its_cgroup_as_runc() {
    needs_all!();
    let rows = compare(
        Bundle::new().sleeping(),
        &[
            same(Running, "pause ID", 0, ""),
            same(Created, "pause ID", 0, ""),
            same(Paused, "pause ID", 1, "container not running"),
            same(Stopped, "pause ID", 1, "container not running"),
            same(Missing, "pause ID", 1, NOT_THERE),
            same(Paused, "resume ID", 0, ""),
            same(Running, "resume ID", 1, "container not paused"),
            same(Stopped, "resume ID", 1, "container not paused"),
            same(Missing, "resume ID", 1, NOT_THERE),
            same(Paused, "state ID", 0, ""),
            same(Paused, "delete ID", 1, "that is not stopped: paused"),
            same(Paused, "delete --force ID", 0, ""),
            same(Paused, "kill --all ID KILL", 0, ""),
            same(Running, "ps ID", 0, ""),
            same(Running, "ps --format json ID", 0, ""),
            same(Running, "ps ID -o pid,comm", 0, ""),
            same(Created, "ps ID", 0, ""),
            same(Missing, "ps ID", 1, NOT_THERE),
            same(Running, "ps --format xml ID", 1, ""),
            same(Running, "events --stats ID", 0, ""),
            same(Stopped, "events --stats ID", 1, "is not running"),
            same(Missing, "events --stats ID", 1, NOT_THERE),
            same(Stopped, "update --pids-limit 5 ID", 1, "container not running"),
            same(Missing, "update --pids-limit 5 ID", 1, NOT_THERE),
            same(Running, "update --pids-limit many ID", 1, ""),
            same(Running, "update --resources gone ID", 1, "no such file or directory"),
        ],
    );
    document("what_lives_in_its_cgroup_as_runc", &rows);
}

#[test]
fn a_terminal_without_a_socket_as_runc() {
    needs_all!();
    let rows = compare(
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
    document("a_terminal_without_a_socket_as_runc", &rows);
}

#[test]
fn the_rest_of_the_command_line_as_runc() {
    needs_all!();
    let rows = compare(
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
    document("the_rest_of_the_command_line_as_runc", &rows);
}
