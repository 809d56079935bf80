//! Whose manager is meant, and where it listens.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::cgroup::file;
use crate::error::{Context, Error, Result};

/// Where a manager is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Path of the socket.
    pub path: String,
    /// Whether a bus stands between: the manager is one of many there, and sends us signals only on request.
    pub is_bus: bool,
}

/// The sockets of a manager, the better one first.
///
/// The private one leads straight to it: no broker has to run, no policy of a bus can deny it, a message
/// takes one hop and not two, and signals come unasked. A container with the bus bound into it has the other.
/// Nothing of the environment is asked: engines start us without a session.
pub fn sockets(user: Option<u32>) -> [Socket; 2] {
    let (private, bus) = match user {
        None => ("/run/systemd/private".to_owned(), "/run/dbus/system_bus_socket".to_owned()),
        Some(user) => (format!("/run/user/{user}/systemd/private"), format!("/run/user/{user}/bus")),
    };
    [Socket { path: private, is_bus: false }, Socket { path: bus, is_bus: true }]
}

/// The user whose own manager is meant; none for root, whose is the system's. In a user namespace it is the
/// user outside of it who counts.
///
/// # Errors
/// Where /proc does not tell.
pub fn user() -> Result<Option<u32>> {
    let inside = rustix::process::geteuid().as_raw();
    let step = || "find the user whose systemd is meant";
    let map = rustix::fs::open("/proc/self/uid_map", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|map| file::read_all(&map));
    let outside = match map {
        Ok(map) => outside(&map, inside)
            .ok_or_else(|| Error::other(format!("user {inside} is not in /proc/self/uid_map")))
            .context(step)?,
        // A kernel without user namespaces.
        Err(Errno::NOENT) => inside,
        Err(errno) => return Err(file::failed("read", "\"/proc/self/uid_map\"", errno)).context(step),
    };
    Ok((outside != 0).then_some(outside))
}

/// The user id outside (user_namespaces(7), "User and group ID mappings").
fn outside(map: &str, inside: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (first, other, count) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        let offset = inside.checked_sub(first).filter(|offset| *offset < count)?;
        other.checked_add(offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_outside_counts() {
        assert_eq!(outside("         0          0 4294967295\n", 1000), Some(1000));
        let rootless = "         0       1000          1\n         1     100000      65536\n";
        assert_eq!(outside(rootless, 0), Some(1000));
        assert_eq!(outside(rootless, 3), Some(100_002));
        assert_eq!(outside(rootless, 70_000), None);
        assert_eq!(outside("", 0), None);
    }

    #[test]
    fn a_manager_is_reached_without_a_bus_first() {
        let paths = |user| sockets(user).map(|socket| (socket.path, socket.is_bus));
        let pair = |path: &str, is_bus| (path.to_owned(), is_bus);
        assert_eq!(
            paths(None),
            [pair("/run/systemd/private", false), pair("/run/dbus/system_bus_socket", true)]
        );
        assert_eq!(
            paths(Some(1000)),
            [pair("/run/user/1000/systemd/private", false), pair("/run/user/1000/bus", true)]
        );
    }
}
