//! Id mappings: of the container's user namespace and of id-mapped mounts (user_namespaces(7),
//! mount_setattr(2) MOUNT_ATTR_IDMAP).

use std::fmt::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use sys::mount::{MountAttr, mount_setattr};
use sys::process::Clone;

use super::procfs::Procfs;
use crate::error::{Call, Context, Result};
use crate::spec::IdMapping;

const ATTR_IDMAP: u64 = 0x0010_0000;

/// Writes one mapping, `uid_map` or `gid_map`, of the new user namespace that process `pid` lives in.
///
/// # Errors
/// EPERM and EINVAL as user_namespaces(7) lists them.
pub fn write(host: &Procfs, pid: i32, file: &str, mappings: &[IdMapping]) -> Result<()> {
    host.write(&format!("{pid}/{file}"), lines(mappings))
}

/// One line per range: first id inside, first id outside, number.
pub fn lines(mappings: &[IdMapping]) -> String {
    mappings.iter().fold(String::new(), |mut text, map| {
        let _ = writeln!(text, "{} {} {}", map.container_id, map.host_id, map.size);
        text
    })
}

/// Makes a user namespace with these mappings that no process stays in.
///
/// # Errors
/// The failing call.
pub fn user_namespace(host: &Procfs, uid: &[IdMapping], gid: &[IdMapping]) -> Result<OwnedFd> {
    let (wait, keep) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).call("pipe2", || "")?;
    match sys::process::clone3(libc::CLONE_NEWUSER.unsigned_abs().into(), None)? {
        Clone::Child => {
            // Lives until the runtime has opened its namespace and drops the other end.
            drop(keep);
            let _ = rustix::io::read(&wait, &mut [0_u8; 1]);
            sys::process::exit_now(0)
        }
        Clone::Parent { pid, pidfd } => {
            drop(wait);
            let namespace = write(host, pid, "uid_map", uid)
                .context(|| "uidMappings")
                .and_then(|()| write(host, pid, "gid_map", gid).context(|| "gidMappings"))
                .and_then(|()| super::namespace::of_process(host, pid, "user"));
            drop(keep);
            let ended = rustix::process::WaitId::PidFd(pidfd.as_fd());
            rustix::process::waitid(ended, rustix::process::WaitIdOptions::EXITED).call("waitid", || "")?;
            namespace
        }
    }
}

/// Maps the ids of a detached mount through a user namespace.
///
/// # Errors
/// EINVAL where the file system cannot be id-mapped.
pub fn map_mount(tree: BorrowedFd<'_>, namespace: BorrowedFd<'_>, recursive: bool) -> Result<()> {
    let attr = MountAttr {
        attr_set: ATTR_IDMAP,
        userns_fd: u64::from(namespace.as_raw_fd().unsigned_abs()),
        ..MountAttr::default()
    };
    Ok(mount_setattr(tree, recursive, &attr)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_written_as_the_kernel_reads_them() {
        let map = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        assert_eq!(lines(&[map(0, 1000, 1), map(1, 100_000, 65_536)]), "0 1000 1\n1 100000 65536\n");
    }
}
