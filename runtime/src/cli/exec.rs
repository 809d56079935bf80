//! The flags of `exec`: runc's.

use super::Exec;
use super::flags::{Flag, Given, switch, value};
use super::grammar::{path, preserve_fds};

/// All flags. A value with commas in it stays one value.
pub(super) const FLAGS: &[Flag] = &[
    value("process", "FILE", "the whole process as JSON, as config.json has it; flags change it").short('p'),
    value("cwd", "DIR", "working directory (default: the container's)"),
    value("env", "NAME=VALUE", "set an environment variable; may be repeated").short('e'),
    value("user", "UID[:GID]", "user, and group, as numbers").short('u'),
    value("additional-gids", "GID", "a further group, as a number; may be repeated").short('g'),
    value("cap", "CAPABILITY", "add a capability (CAP_...); may be repeated").short('c'),
    switch("no-new-privs", "execve grants no privileges"),
    value("apparmor", "PROFILE", "AppArmor profile"),
    value("process-label", "LABEL", "SELinux label"),
    value("cgroup", "PATH", "cgroup below the container's own, which must be there"),
    switch("ignore-paused", "also in a paused container; waits until that is resumed"),
    switch("tty", "give the process a terminal").short('t'),
    value("console-socket", "SOCKET", "AF_UNIX socket that receives the terminal's master"),
    switch("detach", "return once the program runs").short('d'),
    value("pid-file", "FILE", "file that the process id is written to"),
    value("pidfd-socket", "SOCKET", "AF_UNIX socket that receives a pidfd of the process"),
    value("preserve-fds", "N", "number of descriptors after stderr that the program inherits"),
];

/// Reads what was given.
pub(super) fn read(given: &mut Given) -> Result<Exec, String> {
    let mut words = std::mem::take(&mut given.arguments).into_iter();
    Ok(Exec {
        // No container's id has the character that stands in for what is not UTF-8.
        id: words.next().unwrap_or_default().to_string_lossy().into_owned(),
        args: words.collect(),
        process: path(given, "process"),
        cwd: given.value("cwd"),
        env: given.all("env"),
        user: given.value("user"),
        additional_gids: given.all("additional-gids"),
        caps: given.all("cap"),
        no_new_privs: given.switched("no-new-privs"),
        apparmor: given.value("apparmor"),
        process_label: given.value("process-label"),
        cgroup: given.last("cgroup"),
        ignore_paused: given.is_on("ignore-paused"),
        tty: given.is_on("tty"),
        console_socket: path(given, "console-socket"),
        detach: given.is_on("detach"),
        pid_file: path(given, "pid-file"),
        pidfd_socket: path(given, "pidfd-socket"),
        preserve_fds: preserve_fds(given)?,
    })
}
