//! The program of the container: environment, working directory, look-up and execve(2).
//!
//! Runs inside the container, after pivot_root and as the container's user: plain paths are the
//! container's own here.

use std::convert::Infallible;
use std::ffi::CString;
use std::io::Read;

use nix::errno::Errno;
use rustix::fs::{Access, AtFlags, Mode, OFlags, ResolveFlags};

use crate::bail;
use crate::error::{Call, Error, Result};

/// /etc/passwd beyond this size is not searched for a home folder.
const MAX_PASSWD: u64 = 1 << 20;

/// A program ready for execve(2).
#[derive(Debug)]
pub struct Program {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    name: String,
}

/// The environment the program gets: the last of equal names wins, as runc has it, and HOME is added from
/// the container's /etc/passwd where it is missing. With `listen_fds` sockets of systemd's come the two
/// variables by which the program, which this process becomes, knows of them (sd_listen_fds(3)).
pub fn environment(listed: &[String], uid: u32, listen_fds: u32) -> Vec<String> {
    let mut listen = Vec::new();
    if listen_fds > 0 {
        listen = vec![format!("LISTEN_FDS={listen_fds}"), format!("LISTEN_PID={}", std::process::id())];
    }
    let mut env: Vec<&str> = Vec::with_capacity(listed.len() + listen.len());
    for entry in listed.iter().chain(&listen) {
        let name = entry.split('=').next().unwrap_or_default();
        match env.iter_mut().find(|known| known.split('=').next() == Some(name)) {
            Some(known) => *known = entry,
            None => env.push(entry),
        }
    }
    let mut env: Vec<String> = env.into_iter().map(str::to_owned).collect();
    let home = env.iter().position(|entry| entry.starts_with("HOME="));
    if home.is_none_or(|position| env[position] == "HOME=") {
        let entry = format!("HOME={}", home_of(uid).unwrap_or_else(|| "/".to_owned()));
        match home {
            Some(position) => env[position] = entry,
            None => env.push(entry),
        }
    }
    env
}

/// The home folder of `uid` in the container's /etc/passwd, which may be anything: only a regular file of
/// sane size is read, and nothing blocks on it.
fn home_of(uid: u32) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open("/etc/passwd", flags, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
        return None;
    }
    // A link to /proc/self/environ would show the runtime's own environment, which is the caller's.
    if rustix::fs::fstatfs(&file).ok()?.f_type == rustix::fs::PROC_SUPER_MAGIC {
        return None;
    }
    let mut text = String::new();
    std::fs::File::from(file).take(MAX_PASSWD).read_to_string(&mut text).ok()?;
    home_in(&text, uid)
}

/// Field 6 of the first line whose field 3 is `uid` (passwd(5)).
fn home_in(passwd: &str, uid: u32) -> Option<String> {
    let uid = uid.to_string();
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.nth(2) == Some(uid.as_str())).then(|| fields.nth(2).unwrap_or_default().to_owned())
    })
}

/// Enters the working directory without magic links, and makes sure that it lies inside the root
/// (CVE-2024-21626).
///
/// # Errors
/// Names `process.cwd`.
pub fn enter_cwd(cwd: &str) -> Result<()> {
    let step = |error: Error| error.context(format!("process.cwd {cwd:?}"));
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .call("open", || "\"/\"")?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let folder = rustix::fs::openat2(&root, cwd, flags, Mode::empty(), resolve)
        .call("openat2", || format!("{cwd:?}"))
        .map_err(step)?;
    rustix::process::fchdir(&folder).call("fchdir", || format!("{cwd:?}")).map_err(step)?;
    let inside = rustix::process::getcwd(Vec::new()).is_ok_and(|path| path.as_bytes().starts_with(b"/"));
    if !inside {
        bail!(
            "process.cwd {cwd:?}: current working directory is outside of container mount namespace root: possible container breakout detected"
        );
    }
    Ok(())
}

impl Program {
    /// Finds the program as execvp(3) would, with the reasons callers look for when it fails.
    ///
    /// # Errors
    /// `exec: "x": executable file not found in $PATH`, `… no such file or directory`,
    /// `… permission denied`, `… is a directory`.
    pub fn find(args: &[String], env: &[String]) -> Result<Self> {
        let Some(name) = args.first() else { bail!("process.args: empty") };
        let path = if name.contains('/') {
            check_executable(name).map_err(|errno| refuse(name, errno))?;
            name.clone()
        } else {
            search(name, env)?
        };
        let c_strings = |strings: &[String]| {
            strings
                .iter()
                .map(|text| {
                    CString::new(text.as_str())
                        .map_err(|_| Error::other(format!("{text:?} contains a NUL byte")))
                })
                .collect::<Result<Vec<_>>>()
        };
        let path = CString::new(path).map_err(|_| Error::other("process.args[0] contains a NUL byte"))?;
        Ok(Self { path, args: c_strings(args)?, env: c_strings(env)?, name: name.clone() })
    }

    /// Becomes the program.
    ///
    /// # Errors
    /// Only returns on failure: `exec: "x": exec format error`.
    pub fn exec(&self) -> Error {
        // A seccomp rule may answer with 0, which is no errno: then what it was before would be told.
        Errno::clear();
        let failed: std::result::Result<Infallible, Errno> =
            nix::unistd::execve(&self.path, &self.args, &self.env);
        match failed {
            Ok(never) => match never {},
            Err(errno) => refuse(&self.name, errno),
        }
    }
}

fn refuse(name: &str, errno: Errno) -> Error {
    let text = sys::errno_text(errno as i32);
    match errno {
        Errno::ENOENT | Errno::ENOTDIR => Error::other(format!("exec: {name:?}: stat {name}: {text}")),
        Errno::UnknownErrno => {
            let why =
                "came back without running it and without an error: a seccomp rule answers for the kernel";
            Error::other(format!("exec: {name:?}: execve {why}"))
        }
        _ => Error::other(format!("exec: {name:?}: {text}")),
    }
}

fn search(name: &str, env: &[String]) -> Result<String> {
    let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
    let mut denied = false;
    for folder in path.split(':') {
        // An empty element is the current directory (execvp(3)).
        let candidate = if folder.is_empty() { format!("./{name}") } else { format!("{folder}/{name}") };
        match check_executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::EACCES) => denied = true,
            Err(_) => {}
        }
    }
    if denied {
        return Err(refuse(name, Errno::EACCES));
    }
    bail!("exec: {name:?}: executable file not found in $PATH")
}

/// A regular file that this user may execute.
fn check_executable(path: &str) -> std::result::Result<(), Errno> {
    let stat = rustix::fs::stat(path).map_err(|errno| Errno::from_raw(errno.raw_os_error()))?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory {
        return Err(Errno::EISDIR);
    }
    if stat.st_mode & 0o111 == 0 {
        return Err(Errno::EACCES); // root may "access" what execve refuses
    }
    rustix::fs::accessat(rustix::fs::CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
        .map_err(|errno| Errno::from_raw(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|entry| (*entry).to_owned()).collect()
    }

    #[test]
    fn the_last_of_equal_names_wins_in_the_first_place() {
        let env = environment(&list(&["A=1", "HOME=/h", "B=2", "A=3"]), 0, 0);
        assert_eq!(env, ["A=3", "HOME=/h", "B=2"]);
    }

    #[test]
    fn sockets_of_systemd_are_announced_to_this_process() {
        let env = environment(&list(&["LISTEN_PID=1", "HOME=/h"]), 0, 2);
        let pid = format!("LISTEN_PID={}", std::process::id());
        assert_eq!(env, [pid.as_str(), "HOME=/h", "LISTEN_FDS=2"]);
    }

    #[test]
    fn home_comes_from_the_user_id_field() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\n1000:x:7:7::/wrong:\nweb:x:1000:1000::/srv/web:/bin/sh\n";
        assert_eq!(home_in(passwd, 1000).as_deref(), Some("/srv/web"));
        assert_eq!(home_in(passwd, 5), None);
    }

    #[test]
    fn failures_carry_the_phrases_that_callers_search_for() {
        let find = |name: &str| {
            Program::find(&list(&[name]), &list(&["PATH=/nonexistent"])).unwrap_err().to_string()
        };
        assert_eq!(find("nosuch"), "exec: \"nosuch\": executable file not found in $PATH");
        assert_eq!(find("/nosuch"), "exec: \"/nosuch\": stat /nosuch: no such file or directory");
        assert_eq!(find("/"), "exec: \"/\": is a directory");
        assert_eq!(find("/etc/passwd"), "exec: \"/etc/passwd\": permission denied");
    }
}
