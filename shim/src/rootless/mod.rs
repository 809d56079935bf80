//! An ordinary user's commands: images with owners need more than one id, so what unpacks, copies or removes their files
//! runs in a user namespace (user_namespaces(7)), in which root is the user.
//!
//! The program clones itself before it has threads; the clone does the work, the caller waits for it. Ids beside the
//! user's own are those that /etc/subuid and /etc/subgid grant, written by newuidmap and newgidmap. Without any, root
//! is all there is inside, and everything is root's ([`As::Alone`]). Nobody gains a right by it, and nothing of an
//! image runs in it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use nix::sys::signal::{SigSet, Signal};
use rustix::process::{Pid, WaitOptions, waitpid};
use sys::process::Clone;

use crate::bundle::host::UserMappings;
use crate::bundle::spec::IdMapping;
use crate::error::{Context, Error, Kind, Result};
use crate::unpack::tree::As;

const CLONE_NEWUSER: u64 = 0x1000_0000;
/// Where newuidmap and newgidmap are: they are the system's, whatever PATH says.
const TOOLS: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/usr/local/bin"];

pub mod holder;
pub mod host_network;
pub mod way_out;

static ENTERED: OnceLock<()> = OnceLock::new();

/// Which of the two processes this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The caller: the other has ended with this exit status.
    Caller(u8),
    /// Root of the user namespace.
    Inside,
}

/// Is the caller neither root nor root of a user namespace?
#[must_use]
pub fn is_ordinary_user() -> bool {
    !rustix::process::geteuid().is_root()
}

/// Are the bundles of this process an ordinary user's, by [`enter`]?
#[must_use]
pub fn is_inside() -> bool {
    ENTERED.get().is_some()
}

/// As whom this process unpacks layers.
///
/// # Errors
/// An ordinary user's process, or the system's reason.
pub fn who() -> Result<As> {
    if is_ordinary_user() {
        return Err(Error::new(Kind::Denied, "unpacking layers needs a user namespace"));
    }
    let map = mapping("/proc/self/uid_map")?;
    Ok(match &map[..] {
        [all] if (all.container_id, all.host_id, all.size) == (0, 0, u32::MAX) => As::Root,
        [own] if own.size == 1 => As::Alone,
        _ => As::UserNamespaceRoot,
    })
}

/// Is this process in a user namespace that has not all of the host's ids?
#[must_use]
pub fn is_in_user_namespace() -> bool {
    who().is_ok_and(|who| who != As::Root)
}

/// The ids of this process's user namespace, as a runtime has to be told them whose caller is outside; None where there
/// are no others.
///
/// # Errors
/// The system's reason.
pub fn mappings() -> Result<Option<UserMappings>> {
    if is_inside() { own_mappings(false).map(Some) } else { Ok(None) }
}

/// The ids of this process's user namespace, in which its containers are too; None for the host's.
///
/// # Errors
/// The system's reason.
pub fn mappings_of_containers() -> Result<Option<UserMappings>> {
    if is_in_user_namespace() { own_mappings(true).map(Some) } else { Ok(None) }
}

fn own_mappings(is_entered: bool) -> Result<UserMappings> {
    let (uids, gids) = (mapping("/proc/self/uid_map")?, mapping("/proc/self/gid_map")?);
    Ok(UserMappings { uids, gids, is_entered })
}

fn mapping(path: &str) -> Result<Vec<IdMapping>> {
    let text = fs::read_to_string(path).during(|| format!("read {path}"))?;
    let line = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let mut next = || numbers.next()?.ok();
        Some(IdMapping { container_id: next()?, host_id: next()?, size: next()? })
    };
    Ok(text.lines().filter_map(line).collect())
}

/// Goes on as root of a new user namespace. The process must have no other thread.
///
/// # Errors
/// No user namespaces for users here; what newuidmap and newgidmap say.
pub fn enter() -> Result<Side> {
    let granted = Granted::read()?;
    let failed = |error: sys::Error| Error::new(Kind::Denied, format!("user namespace: {error}"));
    sys::process::heed_children().map_err(failed)?;
    let (mut ready, go) = std::io::pipe().during(|| "pipe".into())?;
    match sys::process::clone3(CLONE_NEWUSER, None).map_err(failed)? {
        Clone::Child => {
            drop(go);
            // The caller's end is this one's: nobody would tell its exit status.
            let signal = Some(rustix::process::Signal::KILL);
            let _ = rustix::process::set_parent_process_death_signal(signal);
            if ready.read_exact(&mut [0]).is_err() {
                // The caller has said why, or is gone.
                sys::process::exit_now(1);
            }
            let _ = ENTERED.set(());
            Ok(Side::Inside)
        }
        Clone::Parent { pid, pidfd: _ } => {
            drop(ready);
            let mut go = go;
            granted.write(pid)?;
            go.write_all(&[1]).during(|| "pipe".into())?;
            drop(go);
            let pid = Pid::from_raw(pid).ok_or_else(|| Error::new(Kind::System, "clone3: no process id"))?;
            wait(pid).map(Side::Caller)
        }
    }
}

/// Waits for the other process and hands on to it what comes from elsewhere than the terminal, which tells both.
fn wait(pid: Pid) -> Result<u8> {
    let mut signals = SigSet::empty();
    let handed_on = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];
    handed_on.into_iter().chain([Signal::SIGCHLD]).for_each(|signal| signals.add(signal));
    let failed =
        |call: &str, errno: nix::Error| Error::new(Kind::System, format!("{call}: {}", errno.desc()));
    signals.thread_block().map_err(|errno| failed("sigprocmask", errno))?;
    loop {
        // Before waiting for a signal: it may have ended before signals were blocked.
        if let Some((_, status)) = waitpid(Some(pid), WaitOptions::NOHANG).during(|| "waitpid".into())? {
            let code = status.exit_status().or(status.terminating_signal().map(|signal| 128 + signal));
            return Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX));
        }
        match signals.wait().map_err(|errno| failed("sigwait", errno))? {
            Signal::SIGCHLD => {}
            Signal::SIGINT | Signal::SIGQUIT if is_on_terminal() => {}
            // It is not waited for yet, so the number is still its own.
            signal => {
                let number = nix::unistd::Pid::from_raw(pid.as_raw_nonzero().get());
                let _ = nix::sys::signal::kill(number, signal);
            }
        }
    }
}

/// Is this process group the one that a terminal sends its signals to?
fn is_on_terminal() -> bool {
    let terminal = fs::File::open("/dev/tty");
    terminal.is_ok_and(|terminal| rustix::termios::tcgetpgrp(&terminal) == Ok(rustix::process::getpgrp()))
}

/// What the user may map.
struct Granted {
    uid: u32,
    gid: u32,
    /// Lines of newuidmap and newgidmap, or nothing but the user's own.
    ranges: Option<[Vec<IdMapping>; 2]>,
}

impl Granted {
    fn read() -> Result<Granted> {
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let passwd = text("/etc/passwd");
        let names = names_of(uid, &passwd);
        let users = ranges(uid, &names, &text("/etc/subuid"));
        let groups = ranges(gid, &names, &text("/etc/subgid"));
        let is_granted = users.len() > 1 && groups.len() > 1;
        let has_tools = tool("newuidmap").is_some() && tool("newgidmap").is_some();
        Ok(Granted { uid, gid, ranges: (is_granted && has_tools).then_some([users, groups]) })
    }

    fn write(&self, pid: i32) -> Result<()> {
        let Some([users, groups]) = &self.ranges else {
            for (file, text) in [
                // Before the groups, which may be mapped only once nobody can drop any (user_namespaces(7)).
                ("setgroups", "deny".to_owned()),
                ("uid_map", format!("0 {} 1", self.uid)),
                ("gid_map", format!("0 {} 1", self.gid)),
            ] {
                let path = format!("/proc/{pid}/{file}");
                fs::write(&path, text).during(|| format!("write {path}"))?;
            }
            return Ok(());
        };
        run("newuidmap", pid, users)?;
        run("newgidmap", pid, groups)
    }
}

fn tool(name: &str) -> Option<PathBuf> {
    TOOLS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

fn run(name: &str, pid: i32, mappings: &[IdMapping]) -> Result<()> {
    let mut command = Command::new(tool(name).unwrap_or_else(|| name.into()));
    command.arg(pid.to_string()).env_clear();
    for map in mappings {
        command.args([map.container_id, map.host_id, map.size].map(|number| number.to_string()));
    }
    sys::spawn::inherit_nothing(&mut command);
    let output = command.output().during(|| name.to_owned())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().lines().next().unwrap_or("it failed without a word").to_owned();
    Err(Error::new(Kind::Denied, said)).during(|| name.to_owned())
}

/// The names of a user (passwd(5)).
fn names_of(uid: u32, passwd: &str) -> Vec<String> {
    let entries = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid)).then(|| name.to_owned())
    });
    entries.filter(|name| !name.is_empty()).collect()
}

/// The user's own id as root's, and behind it the ranges that are granted by name or number (subuid(5)).
fn ranges(own: u32, names: &[String], granted: &str) -> Vec<IdMapping> {
    let mut mappings = vec![IdMapping { container_id: 0, host_id: own, size: 1 }];
    let number = rustix::process::getuid().as_raw().to_string();
    let mut next = 1_u32;
    for line in granted.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, first, count] = fields[..] else { continue };
        let (Ok(first), Ok(count)) = (first.parse::<u32>(), count.trim().parse::<u32>()) else { continue };
        let is_granted = name == number || names.iter().any(|known| known == name);
        // The highest number is none (chown(2)), and no id is mapped twice.
        let fits = next.checked_add(count).is_some() && first.checked_add(count).is_some();
        let is_new = !(first..first.saturating_add(count)).contains(&own);
        if is_granted && count > 0 && fits && is_new {
            mappings.push(IdMapping { container_id: next, host_id: first, size: count });
            next += count;
        }
    }
    mappings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_users_names_one_behind_the_other() {
        let names = names_of(1000, "root:x:0:0::/:\nme:x:1000:1000::/:\nalso:x:1000:5::/:\nbad\n");
        assert_eq!(names, ["me", "also"]);
        let of = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        let granted =
            "me:100000:65536\nother:300000:65536\nalso:500000:10\nme:x:1\nme:7\nme:990:20\nme:4294967295:9\n";
        let wanted = [of(0, 1000, 1), of(1, 100_000, 65_536), of(65_537, 500_000, 10)];
        assert_eq!(ranges(1000, &names, granted), wanted);
        assert_eq!(ranges(1000, &[], ""), [of(0, 1000, 1)]);
    }
}
