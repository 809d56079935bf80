//! A host as far as networks go: a network namespace with nothing but its loopback, which is gone with the value.
//!
//! Must not: touch the network namespace that the tests run in, its devices, routes and rules.

use std::ffi::OsStr;
use std::sync::Mutex;

use crate::{Call, Running, wait_for};

/// What the first process of the namespace does: it says so, and stays for as long as its input does.
const SCRIPT: &str = "ip link set lo up && echo ready >&2 && read -r _";

/// A network namespace of its own.
#[derive(Debug)]
pub struct Host {
    pid: u32,
    /// Locked by nobody: threads share a host, and a running program is one thread's.
    _init: Mutex<Running>,
}

impl Host {
    /// A new one; its loopback is up.
    #[must_use]
    #[track_caller]
    pub fn new() -> Host {
        let words = ["--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", SCRIPT];
        let init = Call::of("setpriv").args(words).shown_as("(a network namespace)").stdin_pipe().spawn();
        let host = Host { pid: init.pid(), _init: Mutex::new(init) };
        let is_up = || host.call("ip").args(["-o", "link", "show", "up"]).output().stdout.contains("lo:");
        let own = || std::fs::read_link(host.path()).ok();
        let other = std::fs::read_link("/proc/self/ns/net").ok();
        wait_for("a network namespace", || (own().is_some() && own() != other && is_up()).then_some(()));
        host
    }

    /// The namespace, as a path.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.pid)
    }

    /// A call of a program there.
    #[must_use]
    pub fn call(&self, program: impl AsRef<OsStr>) -> Call {
        Call::of("nsenter").args([format!("--net={}", self.path())]).args([program])
    }

    /// What a shell command prints there that has to succeed.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        self.call("sh").args(["-euc", script]).output().expect_ok().stdout
    }

    /// Names of the network devices there but the loopback, in order.
    #[must_use]
    #[track_caller]
    pub fn devices(&self) -> Vec<String> {
        let told: serde_json::Value =
            self.call("ip").args(["-json", "link", "show"]).output().expect_ok().json();
        let names = told.as_array().into_iter().flatten().filter_map(|link| link["ifname"].as_str());
        let mut names: Vec<String> = names.filter(|name| *name != "lo").map(str::to_owned).collect();
        names.sort();
        names
    }
}

impl Default for Host {
    fn default() -> Self {
        Host::new()
    }
}
