//! A container's own part of its configuration, with Docker's keys in Docker's order: `Config` of `inspect`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::image::config::{Empty, Healthcheck};

/// What its program sees, and how it is looked after.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(clippy::struct_excessive_bools)]
pub struct Config {
    /// Name of the host inside.
    pub hostname: String,
    /// NIS domain name inside.
    pub domainname: String,
    /// As written, or the image's.
    pub user: String,
    /// The caller of `run` is its standard input.
    pub attach_stdin: bool,
    /// Likewise.
    pub attach_stdout: bool,
    /// Likewise.
    pub attach_stderr: bool,
    /// `port/protocol`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// On a terminal.
    pub tty: bool,
    /// Standard input is kept open.
    pub open_stdin: bool,
    /// It is closed when the first that is attached goes.
    pub stdin_once: bool,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Behind the entry point.
    pub cmd: Option<Vec<String>>,
    /// How to see whether it works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// The image's name as it was given.
    pub image: String,
    /// Paths that are volumes.
    pub volumes: Option<BTreeMap<String, Empty>>,
    /// Current folder.
    pub working_dir: String,
    /// First words of the command.
    pub entrypoint: Option<Vec<String>>,
    /// Docker's: for builds.
    pub on_build: Option<Vec<String>>,
    /// Notes of the image and the user. They never steer anything.
    pub labels: BTreeMap<String, String>,
    /// What ends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Seconds between that and SIGKILL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// What health checks of the form `CMD-SHELL` are run with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
}
