//! The program's start, without what Rust's own does and this program has no use for.
//!
//! Rust's start-up code looks for the stack's end in /proc/self/maps and installs a handler that names a
//! stack overflow: fifteen system calls before the first line of the program, and each container's birth
//! waits for them. What is kept of it: standard streams that are closed become /dev/null, so that no file
//! opened later is taken for one, and SIGPIPE is ignored, so that writing to a closed pipe is an error.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::process::exit_now;

/// What [`stdout_was_closed`] answers. Written once, before the program.
static STDOUT_WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether whoever started this program had closed its standard output: what is written to /dev/null in its
/// place reaches nobody.
pub fn stdout_was_closed() -> bool {
    STDOUT_WAS_CLOSED.load(Ordering::Relaxed)
}

/// Makes `$run`, a `fn() -> u8`, the program: what it returns is the exit code. The crate says `#![no_main]`.
#[macro_export]
macro_rules! program {
    ($run:path) => {
        #[allow(unsafe_code)] // the C library calls the function of this name
        #[unsafe(no_mangle)]
        extern "C" fn main(
            _arguments: std::ffi::c_int,
            _values: *const *const std::ffi::c_char,
        ) -> std::ffi::c_int {
            $crate::start::begin($run)
        }
    };
}

/// Runs the program and ends the process at once: nothing is left to the C library's exit handlers.
pub fn begin(run: fn() -> u8) -> ! {
    open_standard_streams();
    // SAFETY: sets the disposition of one signal before anything else runs.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    exit_now(run().into())
}

/// Opens /dev/null in the place of each closed standard stream (as runc, Rust and the C library do).
fn open_standard_streams() {
    let asked = |fd: RawFd| libc::pollfd { fd, events: 0, revents: 0 };
    let mut streams = [asked(0), asked(1), asked(2)];
    // SAFETY: polls a live array of three without waiting.
    let answered = unsafe { libc::poll(streams.as_mut_ptr(), 3, 0) };
    if answered == 0 {
        return; // none is closed, nothing has happened on any: nothing to do
    }
    for stream in streams {
        if answered < 0 || stream.revents & libc::POLLNVAL != 0 {
            // SAFETY: asks about a number, and opens a file by a constant path. Descriptors are given out
            // from the lowest, and all below this one are open by now.
            unsafe {
                let closed = libc::fcntl(stream.fd, libc::F_GETFD) < 0;
                if closed && libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) != stream.fd {
                    libc::abort();
                }
                if closed && stream.fd == libc::STDOUT_FILENO {
                    STDOUT_WAS_CLOSED.store(true, Ordering::Relaxed);
                }
            }
        }
    }
}
