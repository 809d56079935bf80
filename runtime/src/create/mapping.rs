//! The id mappings of the container's user namespace: written for a new one, read from one that is joined
//! (user_namespaces(7), newuidmap(1), newgidmap(1)).
//!
//! Who has CAP_SETUID and CAP_SETGID writes what the configuration says. An ordinary user may map nobody but
//! himself, and himself as a group only where setgroups(2) is given up; all else is for the setuid programs
//! newuidmap and newgidmap, which know what the administrator has granted him.

use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::bail;
use crate::error::{Context, Error, Result};
use crate::hooks;
use crate::kernel::idmap;
use crate::kernel::procfs::Procfs;
use crate::plan::namespace::Namespaces;
use crate::signals::Signals;
use crate::spec::{Hook, IdMapping};

/// Where the programs are looked for beside $PATH.
const USUAL: [&str; 4] = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin"];
/// How long one may take, in seconds: it may have to ask a server who the user is.
const TOOL_SECONDS: i64 = 60;
/// More than 340 lines, which is all that the kernel takes.
const MAX_MAP: usize = 1 << 16;

const CAP_SETGID: u64 = 1 << 6;
const CAP_SETUID: u64 = 1 << 7;

/// Writes both mappings of the new user namespace that process `pid` lives in. The process must still be what it
/// was born as: the programs look whose it is.
///
/// # Errors
/// EPERM and EINVAL as user_namespaces(7) lists them; what newuidmap and newgidmap say.
pub fn write(host: &Procfs, pid: i32, namespaces: &Namespaces, signals: &mut Signals) -> Result<()> {
    write_one(host, pid, &USERS, &namespaces.uid_mappings, signals).context(|| "linux.uidMappings")?;
    write_one(host, pid, &GROUPS, &namespaces.gid_mappings, signals).context(|| "linux.gidMappings")
}

/// One of the two files.
struct Kind {
    file: &'static str,
    tool: &'static str,
    granted: &'static str,
    capability: u64,
    /// Whether setgroups(2) is given up for a mapping that we write ourselves without a privilege.
    gives_up_setgroups: bool,
}

const USERS: Kind = Kind {
    file: "uid_map",
    tool: "newuidmap",
    granted: "/etc/subuid",
    capability: CAP_SETUID,
    gives_up_setgroups: false,
};

const GROUPS: Kind = Kind {
    file: "gid_map",
    tool: "newgidmap",
    granted: "/etc/subgid",
    capability: CAP_SETGID,
    gives_up_setgroups: true,
};

fn write_one(
    host: &Procfs,
    pid: i32,
    kind: &Kind,
    mappings: &[IdMapping],
    signals: &mut Signals,
) -> Result<()> {
    let write = || idmap::write(host, pid, kind.file, mappings);
    let refused = match write() {
        Err(error) if error.errno() == libc::EPERM => error,
        written => return written,
    };
    if effective_capabilities() & kind.capability != 0 {
        return Err(refused.context("not all of these ids are in the runtime's own user namespace"));
    }
    if is_own_alone(kind, mappings) {
        if kind.gives_up_setgroups {
            host.write(&format!("{pid}/setgroups"), "deny")?;
        }
        return write();
    }
    run_tool(kind, pid, mappings, signals)
}

fn effective_capabilities() -> u64 {
    rustix::thread::capabilities(None).map_or(0, |sets| sets.effective.bits())
}

fn is_own_alone(kind: &Kind, mappings: &[IdMapping]) -> bool {
    let own = if kind.gives_up_setgroups {
        rustix::process::getegid().as_raw()
    } else {
        rustix::process::geteuid().as_raw()
    };
    matches!(mappings, [map] if map.size == 1 && map.host_id == own)
}

fn run_tool(kind: &Kind, pid: i32, mappings: &[IdMapping], signals: &mut Signals) -> Result<()> {
    let Some(path) = find(kind.tool, std::env::var_os("PATH").as_deref()) else {
        bail!(
            "{} is not in $PATH (Debian has it in the package uidmap); without it an ordinary user can map no \
             more than one id, his own",
            kind.tool
        )
    };
    let mut line = pid.to_string();
    for map in mappings {
        let _ = write!(line, " {} {} {}", map.container_id, map.host_id, map.size);
    }
    let words = std::iter::once(kind.tool).chain(line.split(' ')).map(str::to_owned).collect();
    let program = Hook { path, args: words, env: Vec::new(), timeout: Some(TOOL_SECONDS) };
    hooks::run_program(&program, signals)
        .context(|| format!("{} {line} (it looks into {})", kind.tool, kind.granted))
}

/// The program in the first folder of `path`, or in a usual one, that has it. Folders that are not absolute are
/// left out: what lies where the runtime was called is nobody's tool.
fn find(tool: &str, path: Option<&OsStr>) -> Option<String> {
    let folders = path.map(|path| std::env::split_paths(path).collect::<Vec<_>>()).unwrap_or_default();
    let candidates = folders.into_iter().chain(USUAL.iter().map(PathBuf::from));
    let mut found = candidates.filter(|folder| folder.is_absolute()).map(|folder| folder.join(tool));
    found.find(|file| is_program(file)).and_then(|file| file.to_str().map(str::to_owned))
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The mappings of users and groups of the user namespace that process `pid` is in, with the numbers outside
/// as the runtime knows them.
///
/// # Errors
/// As read(2).
pub fn of_process(host: &Procfs, pid: i32) -> Result<[Vec<IdMapping>; 2]> {
    let read = |file: &str| {
        let text = host.read(&format!("{pid}/{file}"), MAX_MAP)?;
        Ok::<_, Error>(parse(&String::from_utf8_lossy(&text)))
    };
    Ok([read("uid_map")?, read("gid_map")?])
}

fn parse(text: &str) -> Vec<IdMapping> {
    let numbers = |line: &str| -> Option<IdMapping> {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let mut next = || numbers.next()?.ok();
        Some(IdMapping { container_id: next()?, host_id: next()?, size: next()? })
    };
    text.lines().filter_map(numbers).collect()
}

/// Sees that mappings in the configuration are those of the user namespace that is joined: nobody can give it
/// others.
///
/// # Errors
/// The field that says something else, in runc's words.
pub fn check_joined(namespaces: &Namespaces, joined: &[Vec<IdMapping>; 2]) -> Result<()> {
    let given = [&namespaces.uid_mappings, &namespaces.gid_mappings];
    for ((field, given), joined) in ["uidMappings", "gidMappings"].into_iter().zip(given).zip(joined) {
        if !given.is_empty() && sorted(given) != sorted(joined) {
            bail!(
                "linux.{field}: user namespaces enabled, but both namespace path and non-matching mapping \
                 specified: it has {}",
                idmap::lines(joined).trim_end().replace('\n', ", ")
            );
        }
    }
    Ok(())
}

fn sorted(mappings: &[IdMapping]) -> Vec<(u32, u32, u32)> {
    let mut sorted: Vec<_> = mappings.iter().map(|map| (map.container_id, map.host_id, map.size)).collect();
    sorted.sort_unstable();
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(container_id: u32, host_id: u32, size: u32) -> IdMapping {
        IdMapping { container_id, host_id, size }
    }

    #[test]
    fn a_map_of_the_kernel_is_read() {
        let text = "         0       1000          1\n         1     100000      65536\n";
        assert_eq!(sorted(&parse(text)), [(0, 1000, 1), (1, 100_000, 65_536)]);
        assert!(parse("").is_empty());
    }

    #[test]
    fn only_oneself_alone_is_mapped_without_help() {
        let own = rustix::process::geteuid().as_raw();
        assert!(is_own_alone(&USERS, &[map(0, own, 1)]));
        assert!(is_own_alone(&USERS, &[map(7, own, 1)]));
        assert!(!is_own_alone(&USERS, &[map(0, own, 2)]));
        assert!(!is_own_alone(&USERS, &[map(0, own + 1, 1)]));
        assert!(!is_own_alone(&USERS, &[map(0, own, 1), map(1, 100_000, 1)]));
        assert!(is_own_alone(&GROUPS, &[map(0, rustix::process::getegid().as_raw(), 1)]));
    }

    #[test]
    fn a_tool_is_found_by_absolute_folders_alone() {
        let folder = std::env::temp_dir().join(format!("caisson-test-tool-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let (file, name) = (folder.join("caisson-tool"), "caisson-tool");
        let find = |path: &str| find(name, Some(OsStr::new(path)));
        std::fs::write(&file, "").unwrap();
        let path = folder.to_str().unwrap();
        assert_eq!(find(path), None, "not executable");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let found = [find(path), find(&format!(".::/nowhere:{path}")), find(&path[1..]), find("")];
        std::fs::remove_dir_all(&folder).unwrap();
        let wanted = Some(file.to_str().unwrap().to_owned());
        assert_eq!(found, [wanted.clone(), wanted, None, None]);
    }

    #[test]
    fn what_a_joined_namespace_is_said_to_have_must_be_so() {
        let joined = [vec![map(0, 1000, 1), map(1, 100_000, 9)], vec![map(0, 1000, 1)]];
        let mut namespaces = Namespaces::default();
        check_joined(&namespaces, &joined).unwrap();
        namespaces.uid_mappings = vec![map(1, 100_000, 9), map(0, 1000, 1)];
        check_joined(&namespaces, &joined).unwrap();
        namespaces.gid_mappings = vec![map(0, 1001, 1)];
        assert_eq!(
            check_joined(&namespaces, &joined).unwrap_err().to_string(),
            "linux.gidMappings: user namespaces enabled, but both namespace path and non-matching mapping \
             specified: it has 0 1000 1"
        );
    }
}
