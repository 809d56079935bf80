//! The arguments of `checkpoint` and `restore`.

use std::path::PathBuf;

use super::flags::{Flag, Given, switch, value};
use super::grammar::{bundle, path};

/// What CRIU does about cgroups (`--manage-cgroups-mode` of criu(8)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupsMode {
    /// Nothing.
    Ignore = 0,
    /// What is missing is made.
    Soft = 3,
    /// What is there is given the dumped limits too.
    Full = 4,
    /// What is there must be as it was.
    Strict = 5,
    /// CRIU's own choice, which is soft.
    Default = 6,
}

/// The arguments that both commands have.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // one for each switch of the command line
pub struct CriuFlags {
    /// Folder of the images.
    pub image_path: PathBuf,
    /// Folder of logs; that of the images where none is given.
    pub work_path: Option<PathBuf>,
    /// Whether established TCP connections are dumped and restored.
    pub tcp_established: bool,
    /// Whether Unix sockets may lead out of the container.
    pub ext_unix_sk: bool,
    /// Whether the terminal is that of the caller.
    pub shell_job: bool,
    /// Whether file locks are dumped and restored.
    pub file_locks: bool,
    /// Whether memory is delivered when it is used.
    pub lazy_pages: bool,
    /// Whether memory images that are not needed any more are emptied.
    pub auto_dedup: bool,
    /// What is done about cgroups.
    pub cgroups_mode: CgroupsMode,
}

/// Arguments of `checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)]
pub struct Checkpoint {
    /// The container's id.
    pub id: String,
    /// What both commands have.
    pub criu: CriuFlags,
    /// Folder of an earlier pre-dump, relative to that of the images.
    pub parent_path: Option<PathBuf>,
    /// Whether the container runs on.
    pub leave_running: bool,
    /// Whether TCP connections that are only being made are left out.
    pub tcp_skip_in_flight: bool,
    /// Whether files that are open and have no name any more are given one.
    pub link_remap: bool,
    /// Descriptor that gets a zero byte when pages can be asked for.
    pub status_fd: Option<u32>,
    /// Address and port of the page server.
    pub page_server: Option<(String, u16)>,
    /// Whether memory alone is dumped.
    pub pre_dump: bool,
}

/// Arguments of `restore`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)]
pub struct Restore {
    /// The new container's id.
    pub id: String,
    /// What both commands have.
    pub criu: CriuFlags,
    /// The bundle's folder; `.` where none is given.
    pub bundle: PathBuf,
    /// AF_UNIX socket that receives the terminal's master.
    pub console_socket: Option<PathBuf>,
    /// Whether `restore` returns once the processes run.
    pub detach: bool,
    /// File that the process id is written to.
    pub pid_file: Option<PathBuf>,
    /// Whether orphans of the container are left to the system's reaper.
    pub no_subreaper: bool,
    /// Whether the root is to be entered without pivot_root(2).
    pub no_pivot: bool,
    /// LSM profile in place of the dumped one.
    pub lsm_profile: Option<String>,
    /// LSM context of mounts in place of the dumped one.
    pub lsm_mount_context: Option<String>,
}

/// The flags that both commands have.
pub(super) const COMMON: &[Flag] = &[
    value("image-path", "DIR", "folder of CRIU's images (default: ./checkpoint)"),
    value("work-path", "DIR", "folder of CRIU's logs and other files (default: that of the images)"),
    switch("tcp-established", "with established TCP connections"),
    switch("ext-unix-sk", "with Unix sockets that lead out of the container"),
    switch("shell-job", "with the caller's terminal"),
    switch("file-locks", "with file locks"),
    switch("lazy-pages", "leave memory where it is until it is used (userfaultfd)"),
    switch("auto-dedup", "drop memory from earlier images that is written again"),
    value(
        "manage-cgroups-mode",
        "MODE",
        "what CRIU does about cgroups: `soft`, `full`, `strict` or `ignore`",
    ),
    value("empty-ns", "KIND", "namespace to leave empty: `network`, which always is"),
];

/// The flags of `checkpoint` alone.
pub(super) const CHECKPOINT: &[Flag] = &[
    value("parent-path", "DIR", "folder of the last pre-dump, relative to --image-path"),
    switch("pre-dump", "write memory alone; the container runs on"),
    switch("leave-running", "the container runs on"),
    switch("tcp-skip-in-flight", "without TCP connections that are only being made"),
    switch("link-remap", "with open files that have no name any more"),
    value("status-fd", "FD", "descriptor that gets a zero byte when pages can be asked for"),
    value("page-server", "ADDRESS:PORT", "send memory to this `criu page-server`"),
];

/// The flags of `restore` alone.
pub(super) const RESTORE: &[Flag] = &[
    value("bundle", "DIR", "folder of config.json (default: the current one)").short('b'),
    value("console-socket", "SOCKET", "AF_UNIX socket that receives the terminal's master"),
    switch("detach", "return once the processes run").short('d'),
    value("pid-file", "FILE", "file that the process id is written to"),
    switch("no-subreaper", "leave the container's orphans to the system's reaper"),
    switch("no-pivot", "accepted; CRIU always enters the root by pivot_root"),
    value("lsm-profile", "TYPE:NAME", "LSM profile in place of the one in the images"),
    value("lsm-mount-context", "CONTEXT", "LSM context of mounts in place of the one in the images"),
];

/// Reads the arguments of `checkpoint`.
pub(super) fn read(given: &mut Given) -> Result<Checkpoint, String> {
    let status_fd = match given.value("status-fd") {
        None => None,
        Some(number) if number == "-1" => None, // runc's default
        Some(number) => {
            let parsed = number.to_str().and_then(|number| number.parse().ok());
            Some(parsed.ok_or_else(|| format!("flag --status-fd: {number:?} is no descriptor"))?)
        }
    };
    let parent_path = path(given, "parent-path");
    if parent_path.as_ref().is_some_and(|path| path.is_absolute()) {
        return Err("--parent-path must be relative".to_owned());
    }
    let args = Checkpoint {
        id: given.text(0)?,
        criu: common(given)?,
        parent_path,
        leave_running: given.is_on("leave-running"),
        tcp_skip_in_flight: given.is_on("tcp-skip-in-flight"),
        link_remap: given.is_on("link-remap"),
        status_fd,
        page_server: page_server(given)?,
        pre_dump: given.is_on("pre-dump"),
    };
    if args.status_fd.is_some() && !args.criu.lazy_pages {
        return Err("flag --status-fd: nothing is told there without --lazy-pages".to_owned());
    }
    Ok(args)
}

/// Reads the arguments of `restore`.
pub(super) fn read_restore(given: &mut Given) -> Result<Restore, String> {
    let mut text = |name: &str| match given.value(name).map(std::ffi::OsString::into_string) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err(format!("flag --{name}: not UTF-8")),
    };
    let (lsm_profile, lsm_mount_context) = (text("lsm-profile")?, text("lsm-mount-context")?);
    Ok(Restore {
        id: given.text(0)?,
        criu: common(given)?,
        bundle: bundle(given),
        console_socket: path(given, "console-socket"),
        detach: given.is_on("detach"),
        pid_file: path(given, "pid-file"),
        no_subreaper: given.is_on("no-subreaper"),
        no_pivot: given.is_on("no-pivot"),
        lsm_profile,
        lsm_mount_context,
    })
}

fn common(given: &mut Given) -> Result<CriuFlags, String> {
    for kind in given.all("empty-ns") {
        if kind != "network" {
            return Err(format!("flag --empty-ns: namespace {kind:?} is not supported"));
        }
    }
    let mode = given.value("manage-cgroups-mode");
    let cgroups_mode = match mode.as_ref().map(|mode| mode.to_string_lossy()).as_deref() {
        None => CgroupsMode::Default,
        Some("soft") => CgroupsMode::Soft,
        Some("full") => CgroupsMode::Full,
        Some("strict") => CgroupsMode::Strict,
        Some("ignore") => CgroupsMode::Ignore,
        Some(other) => {
            return Err(format!(
                "flag --manage-cgroups-mode: {other:?} is none of soft, full, strict and ignore"
            ));
        }
    };
    Ok(CriuFlags {
        image_path: path(given, "image-path").unwrap_or_else(|| PathBuf::from("checkpoint")),
        work_path: path(given, "work-path"),
        tcp_established: given.is_on("tcp-established"),
        ext_unix_sk: given.is_on("ext-unix-sk"),
        shell_job: given.is_on("shell-job"),
        file_locks: given.is_on("file-locks"),
        lazy_pages: given.is_on("lazy-pages"),
        auto_dedup: given.is_on("auto-dedup"),
        cgroups_mode,
    })
}

/// ADDRESS:PORT, where an IPv6 address stands in brackets.
fn page_server(given: &mut Given) -> Result<Option<(String, u16)>, String> {
    let Some(given) = given.value("page-server") else { return Ok(None) };
    let refuse = || format!("flag --page-server: {given:?} is not ADDRESS:PORT");
    let (address, port) = given.to_str().and_then(|text| text.rsplit_once(':')).ok_or_else(refuse)?;
    let address = match address.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(refuse)?,
        None if address.contains(':') => return Err(refuse()),
        None => address,
    };
    let port = port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(refuse)?;
    if address.is_empty() { Err(refuse()) } else { Ok(Some((address.to_owned(), port))) }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::{Command, Parsed, parse};
    use super::*;

    fn command(line: &str) -> Result<Command, String> {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        match parse(&args) {
            Ok(Parsed::Command(_, command)) => Ok(command),
            Ok(Parsed::Text(text)) => Err(text),
            Err(error) => Err(error.message),
        }
    }

    fn checkpoint(flags: &str) -> Checkpoint {
        match command(&format!("checkpoint {flags} web")) {
            Ok(Command::Checkpoint(args)) => *args,
            other => panic!("{flags}: {other:?}"),
        }
    }

    #[test]
    fn what_is_not_given_has_runcs_defaults() {
        let Ok(Command::Checkpoint(args)) = command("checkpoint web") else { panic!() };
        assert_eq!(args.id, "web");
        assert_eq!(args.criu.image_path, PathBuf::from("checkpoint"));
        assert_eq!(args.criu.cgroups_mode, CgroupsMode::Default);
        assert_eq!((args.status_fd, args.page_server, args.parent_path), (None, None, None));
        assert!(!(args.leave_running || args.pre_dump || args.criu.tcp_established));
    }

    #[test]
    fn every_flag_of_checkpoint_is_read() {
        let args = checkpoint(
            "--image-path /i --work-path /w --parent-path ../p --leave-running --tcp-established \
             --tcp-skip-in-flight --link-remap --ext-unix-sk --shell-job --lazy-pages --status-fd 7 \
             --page-server [::1]:99 --file-locks --pre-dump --manage-cgroups-mode full --empty-ns network --auto-dedup",
        );
        let criu = CriuFlags {
            image_path: "/i".into(),
            work_path: Some("/w".into()),
            tcp_established: true,
            ext_unix_sk: true,
            shell_job: true,
            file_locks: true,
            lazy_pages: true,
            auto_dedup: true,
            cgroups_mode: CgroupsMode::Full,
        };
        let wanted = Checkpoint {
            id: "web".into(),
            criu,
            parent_path: Some("../p".into()),
            leave_running: true,
            tcp_skip_in_flight: true,
            link_remap: true,
            status_fd: Some(7),
            page_server: Some(("::1".into(), 99)),
            pre_dump: true,
        };
        assert_eq!(args, wanted);
        assert_eq!(checkpoint("--page-server localhost:27").page_server, Some(("localhost".into(), 27)));
    }

    #[test]
    fn restore_is_called_as_containerd_and_podman_call_it() {
        let line = "restore --image-path /i --work-path /w -no-subreaper --detach --bundle /b --pid-file /p \
                    --console-socket /s --lsm-profile apparmor:x --lsm-mount-context c -no-pivot web";
        let Ok(Command::Restore(args)) = command(line) else { panic!() };
        assert!(args.no_subreaper && args.detach && args.no_pivot);
        assert_eq!(args.bundle, PathBuf::from("/b"));
        assert_eq!(
            (args.lsm_profile.as_deref(), args.lsm_mount_context.as_deref()),
            (Some("apparmor:x"), Some("c"))
        );
        let asked = command("restore --lsm-mount-context").unwrap_err();
        assert_eq!(asked, "flag needs an argument: --lsm-mount-context");
        assert!(command("checkpoint --help").unwrap_err().contains("--leave-running"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (line, message) in [
            ("checkpoint --parent-path /p web", "--parent-path must be relative"),
            ("checkpoint --page-server 1.2.3.4 web", "flag --page-server: \"1.2.3.4\" is not ADDRESS:PORT"),
            ("checkpoint --page-server ::1:5 web", "flag --page-server: \"::1:5\" is not ADDRESS:PORT"),
            ("checkpoint --page-server a:70000 web", "flag --page-server: \"a:70000\" is not ADDRESS:PORT"),
            ("checkpoint --page-server :7 web", "flag --page-server: \":7\" is not ADDRESS:PORT"),
            ("checkpoint --status-fd x --lazy-pages web", "flag --status-fd: \"x\" is no descriptor"),
            ("checkpoint --status-fd 5 web", "flag --status-fd: nothing is told there without --lazy-pages"),
            ("checkpoint --empty-ns ipc web", "flag --empty-ns: namespace \"ipc\" is not supported"),
            (
                "restore --manage-cgroups-mode none web",
                "flag --manage-cgroups-mode: \"none\" is none of soft, full, strict and ignore",
            ),
            ("checkpoint", "\"checkpoint\" requires exactly 1 argument(s), got 0"),
        ] {
            assert_eq!(command(line).unwrap_err(), message, "{line}");
        }
    }
}
