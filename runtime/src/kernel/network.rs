//! The loopback device of a new network namespace.
//!
//! By two ioctls on a local socket, which any socket takes: no netlink socket, no message to build and no
//! answer to read. netdevice(7).

use std::os::fd::AsFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::error::{Call, Context, Result};

/// Switches `lo` of this network namespace on; the kernel then gives it 127.0.0.1 and ::1.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN over the namespace.
pub fn loopback_up() -> Result<()> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .call("socket", || "AF_UNIX")?;
    sys::interface::set_up(socket.as_fd(), "lo").context(|| "switch the loopback device on")
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::kernel::throwaway::alone;

    #[test]
    fn loopback_works_afterwards_and_not_before() {
        if !alone("kernel::network::tests::loopback_works_afterwards_and_not_before", &["--net"]) {
            return;
        }
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let connect = || TcpStream::connect(("127.0.0.1", port));
        assert_eq!(connect().unwrap_err().raw_os_error(), Some(libc::ENETUNREACH));
        loopback_up().unwrap();
        connect().unwrap();
        loopback_up().unwrap();
    }

    #[test]
    fn without_the_right_it_is_an_error() {
        if !alone("kernel::network::tests::without_the_right_it_is_an_error", &["--net"]) {
            return;
        }
        let user = rustix::fs::Uid::from_raw(65534);
        rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        assert_eq!(
            loopback_up().unwrap_err().to_string(),
            "switch the loopback device on: ioctl(SIOCSIFFLAGS, \"lo\", IFF_UP): operation not permitted (EPERM)"
        );
    }
}
