//! All that is known of an image, as `docker image inspect` shows it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::catalog::summary::Summary;
use crate::error::{Error, Result};
use crate::image::config::{CONFIG_MAX, Execution, Healthcheck};
use crate::output::value::Value;
use crate::store::Store;

/// What Go calls no time at all.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// What Docker tells of a configuration and nothing else needs.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Rest {
    comment: Option<String>,
    docker_version: Option<String>,
    config: Option<RestOfExecution>,
}

/// What Docker writes into the configuration of an image because containers have it.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct RestOfExecution {
    hostname: Option<String>,
    domainname: Option<String>,
    attach_stdin: Option<bool>,
    attach_stdout: Option<bool>,
    attach_stderr: Option<bool>,
    tty: Option<bool>,
    open_stdin: Option<bool>,
    stdin_once: Option<bool>,
    args_escaped: Option<bool>,
    image: Option<String>,
}

/// The image as Docker shows it.
///
/// # Errors
/// A configuration that is damaged or gone.
pub fn inspect(store: &Store, image: &Summary) -> Result<Value> {
    let bytes = store.content.read(&image.id, CONFIG_MAX)?;
    let rest: Rest = serde_json::from_slice(&bytes)
        .map_err(|error| Error::invalid(format!("invalid image configuration: {error}")))?;
    let last = image.config.history.iter().flatten().last();
    let comment = rest.comment.filter(|comment| !comment.is_empty());
    let comment = comment.or_else(|| last?.comment.clone()).unwrap_or_default();
    let platform = &image.config.platform;
    let execution = image.config.config.as_ref();
    let config =
        execution.map_or(Value::Null, |config| self::config(config, rest.config.unwrap_or_default()));
    let diff_ids: Vec<Value> = image.config.rootfs.diff_ids.iter().map(|id| id.to_string().into()).collect();
    let mut members = vec![
        ("Id", image.id.to_string().into()),
        ("RepoTags", image.tags().into()),
        ("RepoDigests", image.digests().into()),
        ("Parent", "".into()),
        ("Comment", comment.into()),
        ("Created", image.config.created.clone().unwrap_or_else(|| NEVER.to_owned()).into()),
        ("DockerVersion", rest.docker_version.unwrap_or_default().into()),
        ("Author", image.config.author.clone().unwrap_or_default().into()),
        ("Config", config),
        ("Architecture", platform.architecture.clone().into()),
    ];
    if !platform.variant.is_empty() {
        members.push(("Variant", platform.variant.clone().into()));
    }
    members.push(("Os", platform.os.clone().into()));
    if !platform.os_version.is_empty() {
        members.push(("OsVersion", platform.os_version.clone().into()));
    }
    members.extend([
        ("Size", image.size.into()),
        ("GraphDriver", graph_driver(store, image)),
        (
            "RootFS",
            Value::Object("RootFS", vec![("Type", "layers".into()), ("Layers", Value::List(diff_ids))]),
        ),
        ("Metadata", Value::Object("Metadata", vec![("LastTagTime", NEVER.into())])),
    ]);
    Ok(Value::Object("image", members))
}

/// Where its files are: the highest layer, and those below it from the highest down. No file system is mounted for an
/// image, so there is no `MergedDir`.
fn graph_driver(store: &Store, image: &Summary) -> Value {
    let mut trees =
        image.image.layers.iter().rev().map(|id| store.layers.tree(id).to_string_lossy().into_owned());
    let mut data = Vec::new();
    let upper = trees.next();
    let lower: Vec<String> = trees.collect();
    if !lower.is_empty() {
        data.push(("LowerDir".to_owned(), lower.join(":").into()));
    }
    if let Some(upper) = upper {
        data.push(("UpperDir".to_owned(), upper.into()));
    }
    Value::Object("GraphDriver", vec![("Data", Value::Dictionary(data)), ("Name", "overlay2".into())])
}

fn config(config: &Execution, rest: RestOfExecution) -> Value {
    let text = |text: Option<String>| Value::Text(text.unwrap_or_default());
    let switch = |on: Option<bool>| Value::Bool(on.unwrap_or_default());
    let list = |list: &Option<Vec<String>>| list.clone().map_or(Value::NoList, Value::from);
    let set = |set: &BTreeMap<String, crate::image::config::Empty>| {
        Value::Dictionary(set.keys().map(|key| (key.clone(), Value::Dictionary(Vec::new()))).collect())
    };
    let mut members = vec![
        ("Hostname", text(rest.hostname)),
        ("Domainname", text(rest.domainname)),
        ("User", text(config.user.clone())),
        ("AttachStdin", switch(rest.attach_stdin)),
        ("AttachStdout", switch(rest.attach_stdout)),
        ("AttachStderr", switch(rest.attach_stderr)),
    ];
    if let Some(ports) = config.exposed_ports.as_ref().filter(|ports| !ports.is_empty()) {
        members.push(("ExposedPorts", set(ports)));
    }
    members.extend([
        ("Tty", switch(rest.tty)),
        ("OpenStdin", switch(rest.open_stdin)),
        ("StdinOnce", switch(rest.stdin_once)),
        ("Env", list(&config.env)),
        ("Cmd", list(&config.cmd)),
    ]);
    if let Some(check) = &config.healthcheck {
        members.push(("Healthcheck", healthcheck(check)));
    }
    if rest.args_escaped == Some(true) {
        members.push(("ArgsEscaped", true.into()));
    }
    let labels = config.labels.as_ref().map_or(Value::NoDictionary, |labels| {
        Value::Dictionary(labels.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect())
    });
    members.extend([
        ("Image", text(rest.image)),
        ("Volumes", config.volumes.as_ref().map_or(Value::NoDictionary, set)),
        ("WorkingDir", text(config.working_dir.clone())),
        ("Entrypoint", list(&config.entrypoint)),
        ("OnBuild", list(&config.on_build)),
        ("Labels", labels),
    ]);
    if let Some(signal) = config.stop_signal.as_ref().filter(|signal| !signal.is_empty()) {
        members.push(("StopSignal", signal.as_str().into()));
    }
    if let Some(seconds) = config.stop_timeout {
        members.push(("StopTimeout", seconds.into()));
    }
    if let Some(shell) = config.shell.as_ref().filter(|shell| !shell.is_empty()) {
        members.push(("Shell", shell.clone().into()));
    }
    Value::Object("Config", members)
}

fn healthcheck(check: &Healthcheck) -> Value {
    let mut members = Vec::new();
    if let Some(test) = check.test.as_ref().filter(|test| !test.is_empty()) {
        members.push(("Test", test.clone().into()));
    }
    let numbers = [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
        ("Retries", check.retries),
    ];
    members.extend(
        numbers.into_iter().filter(|(_, number)| *number != 0).map(|(name, number)| (name, number.into())),
    );
    Value::Object("Healthcheck", members)
}
