//! Shared ground of the integration tests: real bundles, the real binary of a runtime, and views of the
//! container from outside.
//!
//! A test describes a [`Bundle`], turns it into a [`Container`], drives that through the command line of the
//! runtime under test ([`runtime_under_test`]) and looks at what the kernel then says ([`Process`]). Nothing
//! here links the runtime: a test must hold for any OCI runtime, and Debian's runc and crun are run to show
//! that the test itself is right.
//!
//! Failures panic where the test stands, with the command line, its exit status and all it printed. Every
//! name made on the host begins with [`mark`], so that what is left behind can be found.
#![forbid(unsafe_code)]
// The whole crate is test code: a panic with the whole story is its way of reporting.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bundle;
mod call;
pub mod checkpoint;
mod config;
mod container;
mod controllers;
pub mod elf;
pub mod engine;
mod executable;
mod host;
mod host_network;
pub mod image;
mod joined;
pub mod leaks;
mod ordinary;
mod process;
pub mod random;
pub mod registry;
mod remains;
mod rootfs;
mod scratch;
mod shim;
mod skip;
mod terminal;
pub mod tree;
mod under_test;
mod users_shim;

pub use bundle::Bundle;
pub use call::{Call, Output, Running};
pub use config::Config;
pub use container::{Container, asleep, created, running};
pub use controllers::Controllers;
pub use executable::write_program;
pub use host::{cgroup2_mount, has_controller, holds_capability, is_root, kernel_at_least, kernel_has};
pub use host_network::Host;
pub use image::ImageMaker;
pub use joined::{Server, has_sctp, inside_network, is_unreachable, is_unreachable_by_sctp, sender};
pub use ordinary::Ordinary;
pub use process::{MountEntry, Process};
pub use registry::{Answer, Body, Fake, Layout, Registry, Request};
pub use scratch::{Scratch, mark};
pub use serde_json::{Value, json};
pub use shim::{Shim, shim_under_test};
pub use skip::{report_skip, test_name};
pub use terminal::{ConsoleSocket, Terminal};
pub use under_test::{Flavour, flavour, runtime_under_test, uses_cgroup2};
pub use users_shim::UsersShim;

use std::time::{Duration, Instant};

/// The bound of every wait in the tests. Only a broken program reaches it; a busy machine does not, and neither does
/// a busy one that is emulated.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Asks `probe` again and again, at most for [`PATIENCE`], until it answers; panics with `what` if it never
/// does.
#[track_caller]
pub fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(Instant::now() < end, "waited {} s in vain for {what}", PATIENCE.as_secs());
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
