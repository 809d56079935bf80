//! Which process `exec` adds: the document of `--process` or the container's own, changed by flags. Pure but for
//! reading the document.

use std::ffi::OsStr;

use crate::bail;
use crate::cli;
use crate::error::{Context, Error, Result};
use crate::spec::{self, Capabilities, Process};

/// The process that the command line asks for, in a container whose own one is `container`.
///
/// # Errors
/// A document that does not parse; ids that are no numbers; no program. Not what `spec::validate_process` finds.
pub fn asked(container: &Process, args: &cli::Exec) -> Result<Process> {
    let mut process = match &args.process {
        Some(path) => completed(spec::process(path)?, container),
        None => Process { args: Vec::new(), terminal: false, ..container.clone() },
    };
    change(&mut process, args)?;
    if process.args.is_empty() {
        bail!("process args cannot be empty");
    }
    Ok(process)
}

/// A document leaves out what is to be as the container's own process has it, as with runc. What it says with a
/// plain yes or no (`noNewPrivileges`, `terminal`), its environment and its user are its own in any case.
fn completed(mut process: Process, container: &Process) -> Process {
    let own = container.clone();
    process.capabilities = process.capabilities.or(own.capabilities);
    process.oom_score_adj = process.oom_score_adj.or(own.oom_score_adj);
    process.io_priority = process.io_priority.or(own.io_priority);
    process.scheduler = process.scheduler.or(own.scheduler);
    process.exec_cpu_affinity = process.exec_cpu_affinity.or(own.exec_cpu_affinity);
    process.user.umask = process.user.umask.or(own.user.umask);
    if process.apparmor_profile.is_empty() {
        process.apparmor_profile = own.apparmor_profile;
    }
    if process.selinux_label.is_empty() {
        process.selinux_label = own.selinux_label;
    }
    if process.rlimits.is_empty() {
        process.rlimits = own.rlimits;
    }
    process
}

/// The flags, each on top of what is there.
fn change(process: &mut Process, args: &cli::Exec) -> Result<()> {
    if !args.args.is_empty() {
        let words = args.args.iter().enumerate();
        process.args = words
            .map(|(index, word)| text(&format!("process.args[{index}]"), word).map(str::to_owned))
            .collect::<Result<_>>()?;
    }
    if let Some(cwd) = &args.cwd {
        text("--cwd", cwd)?.clone_into(&mut process.cwd);
    }
    for entry in &args.env {
        // Its value is nobody's business who reads an error.
        let name = entry.to_string_lossy();
        let name = name.split('=').next().unwrap_or_default();
        let entry = entry.to_str().ok_or_else(|| Error::other(format!("--env {name:?}: not UTF-8")))?;
        process.env.push(entry.to_owned());
    }
    process.terminal |= args.tty;
    if let Some(user) = &args.user {
        let user = text("--user", user)?;
        let (uid, gid) = ids(user).context(|| format!("--user {user:?}"))?;
        process.user.uid = uid;
        process.user.gid = gid.unwrap_or(process.user.gid);
    }
    for gid in &args.additional_gids {
        let gid = text("--additional-gids", gid)?;
        process.user.additional_gids.push(id(gid).context(|| format!("--additional-gids {gid:?}"))?);
    }
    if let Some(on) = args.no_new_privs {
        process.no_new_privileges = on;
    }
    if let Some(profile) = &args.apparmor {
        text("--apparmor", profile)?.clone_into(&mut process.apparmor_profile);
    }
    if let Some(label) = &args.process_label {
        text("--process-label", label)?.clone_into(&mut process.selinux_label);
    }
    let names = args.caps.iter().map(|name| text("--cap", name)).collect::<Result<Vec<_>>>()?;
    if !names.is_empty() {
        add_capabilities(process.capabilities.get_or_insert_default(), &names);
    }
    Ok(())
}

fn add_capabilities(sets: &mut Capabilities, names: &[&str]) {
    for name in names {
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.push((*name).to_owned());
        }
        // Never inheritable, which programs would pass on (CVE-2022-29162); so ambient only where it is already.
        if sets.inheritable.iter().any(|inheritable| inheritable == name) {
            sets.ambient.push((*name).to_owned());
        }
    }
}

/// What is given for `flag` as text, which everything is that goes into a process's document.
///
/// # Errors
/// What is not UTF-8, with the flag.
pub fn text<'a>(flag: &str, given: &'a OsStr) -> Result<&'a str> {
    given.to_str().ok_or_else(|| Error::other(format!("{flag}: {given:?} is not UTF-8")))
}

/// `uid[:gid]`, in digits: what is no number is not taken for user 0 (CVE-2026-30892), and no name is looked up,
/// as the container's own list of names is its own affair.
fn ids(text: &str) -> Result<(u32, Option<u32>)> {
    match text.split_once(':') {
        Some((uid, gid)) => Ok((id(uid)?, Some(id(gid)?))),
        None => Ok((id(text)?, None)),
    }
}

fn id(text: &str) -> Result<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u32>() {
        // The kernel's "leave it as it is".
        Ok(number) if digits && number != u32::MAX => Ok(number),
        _ => Err(Error::other(format!(
            "{text:?} is not an id (a number up to {}); names are not looked up",
            u32::MAX - 1
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Rlimit, User};

    fn container() -> Process {
        let caps = Capabilities {
            bounding: vec!["CAP_CHOWN".into(), "CAP_KILL".into()],
            inheritable: vec!["CAP_KILL".into()],
            ..Capabilities::default()
        };
        Process {
            args: vec!["init".into()],
            env: vec!["A=1".into()],
            cwd: "/own".into(),
            terminal: true,
            user: User { uid: 5, gid: 6, umask: Some(0o77), additional_gids: vec![7] },
            capabilities: Some(caps),
            rlimits: vec![Rlimit { kind: "RLIMIT_CORE".into(), soft: 1, hard: 2 }],
            no_new_privileges: true,
            apparmor_profile: "own".into(),
            oom_score_adj: Some(9),
            ..Process::default()
        }
    }

    fn words(args: &[&str]) -> cli::Exec {
        cli::Exec { args: args.iter().map(Into::into).collect(), ..cli::Exec::default() }
    }

    #[test]
    fn without_flags_it_is_the_container_s_process_with_other_words() {
        let expected = Process { args: vec!["ls".into()], terminal: false, ..container() };
        assert_eq!(asked(&container(), &words(&["ls"])).unwrap(), expected);
        let error = asked(&container(), &words(&[])).unwrap_err().to_string();
        assert_eq!(error, "process args cannot be empty");
    }

    #[test]
    fn flags_change_one_thing_each() {
        let args = cli::Exec {
            cwd: Some("/tmp".into()),
            env: vec!["B=1,2".into(), "A=2".into()],
            tty: true,
            user: Some("1".into()),
            additional_gids: vec!["8".into()],
            caps: vec!["CAP_KILL".into(), "CAP_NET_RAW".into()],
            no_new_privs: Some(false),
            apparmor: Some("other".into()),
            process_label: Some("label".into()),
            ..words(&["ls"])
        };
        let process = asked(&container(), &args).unwrap();
        assert_eq!(
            (process.cwd.as_str(), process.terminal, process.no_new_privileges),
            ("/tmp", true, false)
        );
        assert_eq!(process.env, ["A=1", "B=1,2", "A=2"]);
        // The group stays, as with runc.
        assert_eq!((process.user.uid, process.user.gid), (1, 6));
        assert_eq!(process.user.additional_gids, [7, 8]);
        assert_eq!((process.apparmor_profile.as_str(), process.selinux_label.as_str()), ("other", "label"));
        let sets = process.capabilities.unwrap();
        assert_eq!(sets.bounding, ["CAP_CHOWN", "CAP_KILL", "CAP_KILL", "CAP_NET_RAW"]);
        assert_eq!(sets.effective, ["CAP_KILL", "CAP_NET_RAW"]);
        assert_eq!(sets.permitted, sets.effective);
        assert_eq!(sets.inheritable, ["CAP_KILL"], "never more of these");
        assert_eq!(sets.ambient, ["CAP_KILL"]);
    }

    #[test]
    fn what_is_not_text_is_named() {
        let wrong = || std::os::unix::ffi::OsStringExt::from_vec(b"A=\xffsecret".to_vec());
        let error = |args: cli::Exec| asked(&container(), &args).unwrap_err().to_string();
        let args = cli::Exec { args: vec!["ls".into(), wrong()], ..cli::Exec::default() };
        assert_eq!(error(args), "process.args[1]: \"A=\\xFFsecret\" is not UTF-8");
        assert_eq!(error(cli::Exec { env: vec![wrong()], ..words(&["ls"]) }), "--env \"A\": not UTF-8");
        let args = cli::Exec { cwd: Some(wrong()), ..words(&["ls"]) };
        assert_eq!(error(args), "--cwd: \"A=\\xFFsecret\" is not UTF-8");
    }

    #[test]
    fn a_user_is_numbers_and_nothing_else() {
        assert_eq!(ids("1").unwrap(), (1, None));
        assert_eq!(ids("0:10").unwrap(), (0, Some(10)));
        assert_eq!(ids("4294967294").unwrap(), (u32::MAX - 1, None));
        for wrong in [
            "",
            "root",
            "1:",
            ":1",
            "1:1:1",
            "-1",
            "+1",
            " 1",
            "1 ",
            "0x1",
            "4294967295",
            "4294967296",
            "1,2",
            "١",
        ] {
            assert!(ids(wrong).is_err(), "{wrong:?}");
        }
        let args = cli::Exec { user: Some("root".into()), ..words(&["ls"]) };
        let error = asked(&container(), &args).unwrap_err().to_string();
        assert_eq!(
            error,
            "--user \"root\": \"root\" is not an id (a number up to 4294967294); names are not looked up"
        );
    }

    #[test]
    fn a_document_is_completed_from_the_container() {
        let document = Process { args: vec!["ls".into()], cwd: "/".into(), ..Process::default() };
        let process = completed(document, &container());
        let own = container();
        assert_eq!(process.capabilities, own.capabilities);
        assert_eq!(process.rlimits, own.rlimits);
        assert_eq!((process.apparmor_profile, process.oom_score_adj), (own.apparmor_profile, Some(9)));
        assert_eq!(process.user, User { umask: Some(0o77), ..User::default() });
        assert_eq!((process.no_new_privileges, process.terminal), (false, false), "its own word");
        assert_eq!((process.env.len(), process.cwd.as_str()), (0, "/"));
    }

    #[test]
    fn a_document_s_own_values_stay() {
        let caps = Some(Capabilities::default());
        let document = Process { capabilities: caps.clone(), oom_score_adj: Some(0), ..Process::default() };
        let process = completed(document, &container());
        assert_eq!((process.capabilities, process.oom_score_adj), (caps, Some(0)));
    }
}
