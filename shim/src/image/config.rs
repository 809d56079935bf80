//! An image's configuration: how it wants to be run, what its layers are called unpacked, and where it comes from.
//!
//! Source: OCI image-spec, "Image Configuration"; Docker adds `Healthcheck`, `Shell`, `OnBuild` and more. What is
//! unknown is left alone: the document itself is kept as it came, because its digest is the image's id. All of it is
//! input from outside: it becomes the default of what a user did not say, and nothing else. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::image::platform::Platform;

/// Longest configuration that is read, in bytes (as in containerd).
pub const CONFIG_MAX: u64 = 8 << 20;

/// Most layers of an image: overlayfs takes no more (OVL_MAX_STACK), and each costs a sync of the disk.
const LAYERS_MAX: usize = 500;

/// The document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// What it was built for.
    #[serde(flatten)]
    pub platform: Platform,
    /// When, as RFC 3339 has it.
    pub created: Option<String>,
    /// By whom.
    pub author: Option<String>,
    /// How it wants to be run.
    pub config: Option<Execution>,
    /// Its layers.
    pub rootfs: RootFs,
    /// How each layer came about, and what changed no file.
    pub history: Option<Vec<History>>,
}

/// How an image wants to be run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Execution {
    /// `user`, `uid`, `user:group`, `uid:gid`, … resolved in the image's own files.
    pub user: Option<String>,
    /// `port/protocol`, each with an empty object.
    pub exposed_ports: Option<BTreeMap<String, Empty>>,
    /// `NAME=value`.
    pub env: Option<Vec<String>>,
    /// First words of the command.
    pub entrypoint: Option<Vec<String>>,
    /// The words behind them, or the command.
    pub cmd: Option<Vec<String>>,
    /// Paths that are to be volumes.
    pub volumes: Option<BTreeMap<String, Empty>>,
    /// Current folder; empty is `/`.
    pub working_dir: Option<String>,
    /// Notes. They never steer anything.
    pub labels: Option<BTreeMap<String, String>>,
    /// What ends it, `SIGTERM` where nothing stands here.
    pub stop_signal: Option<String>,
    /// Docker's: seconds between that and SIGKILL.
    pub stop_timeout: Option<i64>,
    /// Docker's: how to see whether it works.
    pub healthcheck: Option<Healthcheck>,
    /// Docker's: what builds run commands with, and health checks too.
    pub shell: Option<Vec<String>>,
    /// Docker's: for builds on top of this image.
    pub on_build: Option<Vec<String>>,
}

/// Docker's health check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `NONE`, `CMD` and its words, or `CMD-SHELL` and a line; nothing inherits.
    pub test: Option<Vec<String>>,
    /// Time between two, in nanoseconds; 0 inherits, as below.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// How long one may take, in nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// How long the first ones do not count, in nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Time between two in that period, in nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// How many failures in a row make it unhealthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

// serde passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// An object without members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Empty {}

/// The layers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RootFs {
    /// `layers`; there is no other.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digests of the unpacked archives, the lowest first.
    pub diff_ids: Vec<Digest>,
}

/// How a layer came about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When, as RFC 3339 has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Said about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// It made no layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty_layer: Option<bool>,
}

impl ImageConfig {
    /// Reads a configuration.
    ///
    /// # Errors
    /// No JSON of this form, layers of another kind than `layers`, or more of them than can be mounted.
    pub fn parse(bytes: &[u8]) -> Result<ImageConfig> {
        let config: ImageConfig = serde_json::from_slice(bytes)
            .map_err(|error| Error::invalid(format!("invalid image configuration: {error}")))?;
        if !matches!(&*config.platform.os, "" | "linux") {
            let os = &config.platform.os;
            return Err(Error::invalid(format!(
                "image operating system {os:?} cannot be used on this platform"
            )));
        }
        if config.rootfs.kind != "layers" {
            let kind = &config.rootfs.kind;
            return Err(Error::invalid(format!(
                "invalid image configuration: rootfs.type {kind:?} is not \"layers\""
            )));
        }
        if config.rootfs.diff_ids.len() > LAYERS_MAX {
            let count = config.rootfs.diff_ids.len();
            return Err(Error::invalid(format!(
                "invalid image configuration: {count} layers, of which {LAYERS_MAX} could be mounted"
            )));
        }
        Ok(config)
    }

    /// The names of the layers each with all below it, the lowest first (OCI image-spec, "Layer ChainID").
    #[must_use]
    pub fn chain_ids(&self) -> Vec<Digest> {
        let mut chain: Vec<Digest> = Vec::new();
        for diff_id in &self.rootfs.diff_ids {
            let id = match chain.last() {
                None => diff_id.clone(),
                Some(below) => {
                    let mut hasher = Hasher::new(crate::digest::Algorithm::Sha256);
                    hasher.update(format!("{below} {diff_id}").as_bytes());
                    hasher.finish()
                }
            };
            chain.push(id);
        }
        chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_of_docker_is_read_nulls_included() {
        let text = format!(
            r#"{{"architecture":"amd64","os":"linux","created":"2024-05-01T00:00:00Z","container":"x",
            "config":{{"Hostname":"","User":"7","Env":["A=b"],"Cmd":["sh"],"Entrypoint":null,"Volumes":{{"/v":{{}}}},
            "ExposedPorts":{{"80/tcp":{{}}}},"Healthcheck":{{"Test":["CMD","x"],"Interval":5}},"Labels":null,
            "OnBuild":null,"ArgsEscaped":true}},
            "rootfs":{{"type":"layers","diff_ids":["sha256:{0}","sha256:{0}"]}},
            "history":[{{"created_by":"ADD","empty_layer":true}}]}}"#,
            "a".repeat(64)
        );
        let config = ImageConfig::parse(text.as_bytes()).unwrap();
        assert_eq!(config.platform.to_string(), "linux/amd64");
        let execution = config.config.clone().unwrap();
        assert_eq!(
            (execution.user.as_deref(), execution.entrypoint, execution.labels),
            (Some("7"), None, None)
        );
        assert_eq!(execution.healthcheck.unwrap().interval, 5);
        assert_eq!(config.history.unwrap()[0].empty_layer, Some(true));
        assert_eq!(config.rootfs.diff_ids.len(), 2);
    }

    #[test]
    fn chain_ids_are_digests_of_the_ids_below() {
        let diff_ids: Vec<Digest> = [b"a", b"b", b"c"].map(|text| Digest::of(text)).to_vec();
        let rootfs = RootFs { kind: "layers".into(), diff_ids: diff_ids.clone() };
        let chain = ImageConfig { rootfs, ..ImageConfig::default() }.chain_ids();
        assert_eq!(chain[0], diff_ids[0]);
        assert_eq!(chain[1], Digest::of(format!("{} {}", diff_ids[0], diff_ids[1]).as_bytes()));
        assert_eq!(chain[2], Digest::of(format!("{} {}", chain[1], diff_ids[2]).as_bytes()));
        assert_eq!(ImageConfig::default().chain_ids(), []);
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"rootfs":{"type":"other","diff_ids":[]}}"#,
            r#"{"rootfs":{"type":"layers","diff_ids":["sha256:../x"]}}"#,
            r#"{"rootfs":{"type":"layers","diff_ids":[]},"config":{"Env":"A=b"}}"#,
        ] {
            assert!(ImageConfig::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn layers_are_as_many_as_can_be_mounted() {
        let of = |count: usize| {
            let ids = vec![format!("\"sha256:{}\"", "a".repeat(64)); count].join(",");
            ImageConfig::parse(format!(r#"{{"rootfs":{{"type":"layers","diff_ids":[{ids}]}}}}"#).as_bytes())
        };
        assert_eq!(of(500).unwrap().rootfs.diff_ids.len(), 500);
        assert!(of(501).unwrap_err().to_string().ends_with("501 layers, of which 500 could be mounted"));
    }
}
