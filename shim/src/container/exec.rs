//! A further program in a container that runs: the process that the runtime is asked for.
//!
//! What it may do is what the container's own program may: capabilities, limits, filter and labels are those of the
//! container's document, whoever executes it. Names are looked up in the container's own files, by descriptors from its
//! root.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::bundle::account::{self, Account, Files};
use crate::bundle::options::Options;
use crate::bundle::syntax::environment::Variable;
use crate::bundle::{process, security};
use crate::container::create::DOCUMENT;
use crate::container::document;
use crate::container::process::ProcessId;
use crate::container::record::Container;
use crate::error::{Context as _, Error, Result};
use crate::host;
use crate::image::config::Execution;
use crate::network::link;
use crate::root::lookup;
use crate::runtime;

/// Exit status where the program cannot be executed, in general or as it was asked for.
pub const CANNOT_EXECUTE: u8 = 126;
/// Exit status where there is no such program.
const NOT_FOUND: u8 = 127;

/// What somebody wants to be run.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// Variables beside the container's own.
    pub env: Vec<Variable>,
    /// Who runs it, instead of the container's user.
    pub user: Option<String>,
    /// Where, instead of in the container's folder.
    pub workdir: Option<String>,
    /// With all capabilities.
    pub privileged: bool,
    /// On a terminal.
    pub tty: bool,
    /// Rows and columns of that.
    pub size: Option<(u16, u16)>,
}

/// What is needed of `config.json`.
#[derive(Deserialize)]
struct Document {
    process: Map<String, Value>,
    #[serde(default)]
    linux: Linux,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Linux {
    uid_mappings: Vec<Mapping>,
}

#[derive(Deserialize)]
struct Mapping {
    size: u32,
}

/// The process as a document for `runtime exec --process`. `folder` is the container's, `init` its first process.
///
/// # Errors
/// A user that is not there, a relative folder, in Docker's words; a container that has ended; the system's reason.
pub fn document(folder: &Path, container: &Container, init: ProcessId, request: &Request) -> Result<Vec<u8>> {
    let mut found = document::read::<Document>(&folder.join(DOCUMENT))?;
    let own = account_of(&found.process);
    let account = match request.user.as_deref().filter(|user| !user.is_empty()) {
        Some(user) => look_up(user, container, init)?,
        None => own,
    };
    let process = &mut found.process;
    let env = environment(process, container, request, &account)?;
    if request.user.as_deref().is_some_and(|user| !user.is_empty()) {
        // Whose user namespace has one id, may set no groups (user_namespaces(7)).
        let is_alone = matches!(found.linux.uid_mappings[..], [Mapping { size: 1 }]);
        let groups = std::iter::once(account.gid).chain(account.groups.iter().copied());
        let groups: Vec<u32> = if is_alone { Vec::new() } else { groups.collect() };
        process
            .insert("user".into(), json!({"uid": account.uid, "gid": account.gid, "additionalGids": groups}));
    }
    process.insert("capabilities".into(), capabilities(process, request, account.uid == 0)?);
    process.insert("args".into(), json!(request.args));
    process.insert("env".into(), json!(env));
    if let Some(workdir) = &request.workdir {
        if !workdir.starts_with('/') {
            return Err(Error::usage(format!("Cwd must be an absolute path: {workdir:?}")));
        }
        process.insert("cwd".into(), json!(process::clean(workdir)));
    }
    process.insert("terminal".into(), json!(request.tty));
    match request.size.filter(|_| request.tty) {
        Some((rows, columns)) => {
            process.insert("consoleSize".into(), json!({"height": rows, "width": columns}))
        }
        None => process.remove("consoleSize"),
    };
    Ok(serde_json::to_vec(process).unwrap_or_default()) // texts and numbers only: it cannot fail
}

/// Why the runtime itself has failed, by its log of JSON; None if it has not.
#[must_use]
pub fn failure(log: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        level: String,
        msg: String,
    }
    let mut lines = log.lines().rev().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    lines.find(|line| line.level == "error" || line.level == "fatal").map(|line| line.msg)
}

/// Docker's exit status of an exec that failed so: 127 where there is no such program, 126 for all else.
#[must_use]
pub fn failure_status(reason: &str) -> u8 {
    if runtime::start_status(reason) == NOT_FOUND { NOT_FOUND } else { CANNOT_EXECUTE }
}

/// Who the container's own program was started as.
fn account_of(process: &Map<String, Value>) -> Account {
    let id = |name: &str| {
        let value = process.get("user").and_then(|user| user.get(name)).and_then(Value::as_u64);
        value.and_then(|id| u32::try_from(id).ok()).unwrap_or(0)
    };
    let home = variable(process, "HOME").unwrap_or("/").to_owned();
    Account { uid: id("uid"), gid: id("gid"), groups: Vec::new(), home }
}

/// A variable of the container's own program.
fn variable<'a>(process: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    let env = process.get("env").and_then(Value::as_array)?;
    let variables = env.iter().filter_map(Value::as_str).filter_map(|variable| variable.split_once('='));
    variables.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// Finds a user in the container's own files as they are now.
fn look_up(user: &str, container: &Container, init: ProcessId) -> Result<Account> {
    let root = root_of(init)?;
    let read = |path| lookup::read_accounts_of_running(root.as_fd(), path);
    let (passwd, group) = (read("/etc/passwd")?, read("/etc/group")?);
    let groups = container.host_config.group_add.clone().unwrap_or_default();
    account::resolve(user, &groups, Files { passwd: &passwd, group: &group })
}

/// The root folder of a process, which is of this process for certain.
fn root_of(init: ProcessId) -> Result<OwnedFd> {
    let path = format!("/proc/{}/root", init.pid);
    let root = openat(CWD, &path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    // Alive after it was opened: so no later process of this number had it.
    if init.is_alive() {
        root.during(|| format!("open {path}"))
    } else {
        Err(Error::conflict("it is not running"))
    }
}

/// The container's variables, then those that were asked for.
fn environment(
    process: &Map<String, Value>,
    container: &Container,
    request: &Request,
    account: &Account,
) -> Result<Vec<String>> {
    let of_process = process.get("env").and_then(Value::as_array).into_iter().flatten();
    // The container's own count for more, here as there.
    let mut env = link::of_environment(container, of_process.filter_map(Value::as_str));
    env.extend(container.config.env.iter().cloned());
    let image = Execution { env: Some(env), ..Execution::default() };
    let options = Options { terminal: request.tty, env: request.env.clone(), ..Options::default() };
    let hostname = variable(process, "HOSTNAME").unwrap_or(&container.config.hostname);
    process::env(&image, &options, account, hostname)
}

/// The container's, as execve(2) would leave them to this user, or all.
fn capabilities(process: &Map<String, Value>, request: &Request, is_root: bool) -> Result<Value> {
    if request.privileged {
        let options = Options { privileged: true, ..Options::default() };
        let all = security::capabilities(&options, &host::read(None, false)?, true)?;
        return Ok(json!({"bounding": all.bounding, "effective": all.effective, "permitted": all.permitted}));
    }
    let bounding = process.get("capabilities").and_then(|sets| sets.get("bounding"));
    let bounding = bounding.cloned().unwrap_or_else(|| json!([]));
    let own = if is_root { bounding.clone() } else { json!([]) };
    Ok(json!({"bounding": bounding, "effective": own, "permitted": own}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::config::Config;
    use crate::store::scratch::Scratch;

    fn container(env: &[&str]) -> Container {
        let digest = format!("sha256:{}", "0".repeat(64));
        let mut container: Container = serde_json::from_value(json!({
            "Id": "0".repeat(64), "Name": "box", "Created": "", "Image": digest, "Layers": [], "Path": "sh", "Args": [],
            "Config": {}, "HostConfig": {}, "RuntimePath": "/runtime",
        }))
        .unwrap();
        container.config =
            Config { env: env.iter().map(|variable| (*variable).to_owned()).collect(), ..Config::default() };
        container
    }

    /// The process that is asked for, in a container whose document has this one.
    fn asked(process: Value, request: &Request) -> std::result::Result<Value, String> {
        let scratch = Scratch::new();
        let text = json!({"ociVersion": "1.0.2", "process": process, "linux": {}}).to_string();
        std::fs::write(scratch.join("config.json"), text).unwrap();
        let init = ProcessId::own().unwrap();
        let container = container(&["A=1", "PATH=/own"]);
        let document =
            document(scratch.path(), &container, init, request).map_err(|error| error.to_string())?;
        Ok(serde_json::from_slice(&document).unwrap())
    }

    fn own() -> Value {
        json!({
            "terminal": true,
            "consoleSize": {"height": 1, "width": 2},
            "user": {"uid": 5, "gid": 6, "additionalGids": [6, 7]},
            "args": ["serve"],
            "env": ["PATH=/own", "HOSTNAME=box1", "TERM=xterm", "A=1", "B=2", "HOME=/srv"],
            "cwd": "/srv",
            "capabilities": {"bounding": ["CAP_CHOWN"]},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}],
            "noNewPrivileges": true,
            "apparmorProfile": "x",
        })
    }

    #[test]
    fn what_is_not_asked_for_is_as_in_the_container() {
        let request = Request { args: vec!["ls".into(), "-l".into()], ..Request::default() };
        let process = asked(own(), &request).unwrap();
        assert_eq!(process["args"], json!(["ls", "-l"]));
        // What `run -e` gave is in the record; what only the program's own start had is not.
        assert_eq!(process["env"], json!(["PATH=/own", "HOSTNAME=box1", "A=1", "HOME=/srv"]));
        assert_eq!(process["terminal"], json!(false));
        assert_eq!(process.get("consoleSize"), None);
        for same in ["user", "cwd", "rlimits", "noNewPrivileges", "apparmorProfile"] {
            assert_eq!(process[same], own()[same], "{same}");
        }
        assert_eq!(
            process["capabilities"],
            json!({"bounding": ["CAP_CHOWN"], "effective": [], "permitted": []}),
            "its user is not root"
        );
    }

    #[test]
    fn what_is_asked_for_counts() {
        let request = Request {
            args: vec!["sh".into()],
            env: vec![("A".into(), Some("9".into())), ("C".into(), Some("3".into())), ("PATH".into(), None)],
            user: Some("0:9".into()),
            workdir: Some("/tmp/../x".into()),
            privileged: false,
            tty: true,
            size: Some((24, 80)),
        };
        let process = asked(own(), &request).unwrap();
        let env: Vec<&str> = process["env"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(env[..4], ["HOSTNAME=box1", "TERM=xterm", "A=9", "C=3"]);
        assert!(env[4].starts_with("HOME="), "root's of this test's own /etc/passwd: {env:?}");
        assert_eq!(process["user"], json!({"uid": 0, "gid": 9, "additionalGids": [9]}));
        assert_eq!(process["cwd"], "/x");
        assert_eq!(process["consoleSize"], json!({"height": 24, "width": 80}));
        assert_eq!(process["capabilities"]["effective"], json!(["CAP_CHOWN"]));
        let all = asked(own(), &Request { privileged: true, ..request.clone() }).unwrap();
        let effective = all["capabilities"]["effective"].as_array().unwrap();
        assert!(effective.len() > 30 && effective.contains(&json!("CAP_SYS_ADMIN")));
        let relative = Request { workdir: Some("tmp".into()), ..request.clone() };
        assert_eq!(asked(own(), &relative).unwrap_err(), "Cwd must be an absolute path: \"tmp\"");
        let nobody = Request { user: Some("no-such-user".into()), ..request };
        let words = "unable to find user no-such-user: no matching entries in passwd file";
        assert_eq!(asked(own(), &nobody).unwrap_err(), words);
    }
}
