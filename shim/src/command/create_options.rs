//! What was given to `create` or `run`, as a [`Request`]: flags that shape the document (`spec_options`), and all that
//! is beside it.

use std::collections::BTreeMap;

use crate::bundle::options::Options;
use crate::bundle::spec::Rlimit;
use crate::bundle::syntax::device;
use crate::cdi::{self, request::DeviceRequest};
use crate::cli::create_flags::CREATE_REFUSED;
use crate::cli::flags::Given;
use crate::command::mount_options::{self, Asked};
use crate::command::{network_options, port_options, spec_options};
use crate::container::config::Config;
use crate::container::create::Request;
use crate::container::host_config::{
    DeviceMapping, HostConfig, LogConfig, RestartPolicy, ThrottleDevice, Ulimit,
};
use crate::container::hosts::{self, Extra, Resolver};
use crate::container::modes::{Mode, Modes};
use crate::container::name;
use crate::error::{Error, Kind, Result};
use crate::image::config::Healthcheck;
use crate::log::Settings;
use crate::{rootless, runtime, time};

/// Whether an image is fetched first: `--pull`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// In any case.
    Always,
    /// If it is not there.
    Missing,
    /// It has to be there.
    Never,
}

/// What `--pull` says.
///
/// # Errors
/// Docker's words.
pub fn pull(given: &Given) -> Result<Pull> {
    match given.text("pull")? {
        None | Some("" | "missing") => Ok(Pull::Missing),
        Some("always") => Ok(Pull::Always),
        Some("never") => Ok(Pull::Never),
        Some(other) => Err(Error::usage(format!(
            "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
        ))),
    }
}

/// Reads all flags; `words` are the image and what stands behind it. The warnings are Docker's, of what there is not.
///
/// # Errors
/// What cannot be read, contradicts itself, or is not supported, in Docker's words or by the flag's name.
pub fn request(given: &Given, words: &[&str], detached: bool) -> Result<(Request, Vec<String>)> {
    spec_options::refuse(given, &CREATE_REFUSED)?;
    if given.switched("disable-content-trust") == Some(false) {
        return Err(Error::usage("--disable-content-trust=false: signatures cannot be verified"));
    }
    let (image, command) = words.split_first().map_or(("", &[][..]), |(image, rest)| (*image, rest));
    let is_user = rootless::is_in_user_namespace();
    let mounts = mount_options::read(given)?;
    let mut options = spec_options::options(given, command, mounts.mounts(), is_user)?;
    let modes = spec_options::modes(given, is_user)?;
    let endpoints = network_options::endpoints(given, &modes.network)?;
    let hardened = given.is_on("hardened");
    let in_memory = if hardened { harden(given, &mounts, &mut options)? } else { Vec::new() };
    let resolver = Resolver {
        servers: texts(given, "dns")?.into_iter().map(|server| server.trim().to_owned()).collect(),
        search: texts(given, "dns-search")?,
        options: [texts(given, "dns-option")?, texts(given, "dns-opt")?].concat(),
    };
    resolver.check()?;
    let extra = given.texts("add-host")?.into_iter().map(hosts::extra).collect::<Result<Vec<_>>>()?;
    check_joined(&modes, &options, &extra, &resolver)?;
    if let Some((name, _)) = extra.iter().find(|(_, address)| address.is_none())
        && !matches!(modes.network, Mode::Network(_))
    {
        return Err(Error::usage(format!(
            "--add-host {name}:host-gateway: it is in no network with a gateway"
        )));
    }
    let (mut config, mut host_config) =
        (config(given, image, command, &options, detached)?, host_config(given, &options)?);
    host_config.hardened = hardened;
    host_config.dns.clone_from(&resolver.servers);
    host_config.dns_search.clone_from(&resolver.search);
    host_config.dns_options.clone_from(&resolver.options);
    if host_config.auto_remove && host_config.restart_policy.name != "no" {
        return Err(Error::usage("conflicting options: cannot specify both --restart and --rm"));
    }
    config.healthcheck = healthcheck(given)?;
    let mut warnings = port_options::apply(given, &modes.network, &mut config, &mut host_config)?;
    for (flag, warning) in [
        ("oom-kill-disable", "Your kernel does not support OomKillDisable. OomKillDisable discarded."),
        (
            "kernel-memory",
            "Your kernel does not support kernel memory limit capabilities or the cgroup is not mounted. Limitation \
             discarded.",
        ),
        (
            "memory-swappiness",
            "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness \
             discarded.",
        ),
    ] {
        let asked =
            given.last(flag).is_some_and(|value| !matches!(value.to_str(), Some("false" | "0" | "-1")));
        warnings.extend(asked.then(|| warning.to_owned()));
    }
    let mounts = mounts.tell(&mut config, &mut host_config);
    mount_options::tell_hardened(&in_memory, &mut host_config);
    // What is Docker's record alone leaves no trace in the document.
    config.labels = std::mem::take(&mut options.labels);
    config.stop_signal = options.stop_signal.take();
    let name = match given.text("name")? {
        None | Some("") => String::new(),
        // Docker's daemon says that, not its client: the exit status of `create` is another.
        Some(text) => name::parse(text).map_err(|error| error.of(Kind::Invalid))?.to_owned(),
    };
    let runtime = runtime::find(given.text("runtime")?)?;
    Ok((
        Request {
            name,
            options,
            modes,
            config,
            host_config,
            mounts,
            endpoints,
            hosts: extra,
            resolver,
            runtime,
        },
        warnings,
    ))
}

fn texts(given: &Given, name: &str) -> Result<Vec<String>> {
    Ok(given.texts(name)?.into_iter().map(str::to_owned).collect())
}

/// A list as Docker's record has it: nothing where nothing was given.
fn listed(given: &Given, name: &str) -> Result<Option<Vec<String>>> {
    Ok(Some(texts(given, name)?).filter(|all| !all.is_empty()))
}

/// What `--hardened` stands for; what the user says of a part himself counts.
fn harden(given: &Given, mounts: &Asked, options: &mut Options) -> Result<Vec<&'static str>> {
    const MEMORY: i64 = 1 << 30;
    const PIDS: i64 = 200;
    if options.privileged {
        return Err(Error::usage("conflicting options: cannot specify both --hardened and --privileged"));
    }
    options.read_only = given.switched("read-only").unwrap_or(true);
    let in_memory = if options.read_only { mount_options::harden(mounts, options)? } else { Vec::new() };
    if options.cap_drop.is_empty() {
        options.cap_drop.push("ALL".to_owned());
    }
    let says = |text: &&str| text.split(['=', ':']).next() == Some("no-new-privileges");
    if !given.texts("security-opt")?.iter().any(says) {
        options.security.no_new_privileges = true;
    }
    let limits = &mut options.limits;
    if limits.memory.is_none() {
        limits.memory = Some(MEMORY);
        // Without swap: what is over the limit ends, and does not slow the host down.
        limits.memory_swap = limits.memory_swap.or(Some(MEMORY));
    }
    limits.pids = limits.pids.or(Some(PIDS));
    Ok(in_memory)
}

/// What has to be the other container's where its network is joined.
fn check_joined(modes: &Modes, options: &Options, extra: &[Extra], resolver: &Resolver) -> Result<()> {
    if modes.network.container().is_none() {
        return Ok(());
    }
    let what = match () {
        () if options.hostname.is_some() => "hostname",
        () if !resolver.servers.is_empty() => "dns",
        () if !resolver.is_silent() => "dns options",
        () if !extra.is_empty() => "custom host-to-IP mapping",
        () if modes.uts == Mode::Host => "uts",
        () => return Ok(()),
    };
    Err(Error::usage(format!("conflicting options: {what} and the network mode")))
}

fn config(given: &Given, image: &str, command: &[&str], options: &Options, detached: bool) -> Result<Config> {
    let wanted: Vec<String> = texts(given, "attach")?.iter().map(|stream| stream.to_lowercase()).collect();
    let open_stdin = given.is_on("interactive");
    let is_wanted = |stream: &str| wanted.iter().any(|wanted| wanted == stream);
    let attach_stdin = !detached && (open_stdin || is_wanted("stdin"));
    let attach = |stream: &str| !detached && (wanted.is_empty() || is_wanted(stream));
    let number = |name: &str| -> Result<Option<i64>> {
        let out = |_| Error::usage(format!("--{name}: it is out of range"));
        given.text(name)?.map(|text| text.parse().map_err(out)).transpose()
    };
    Ok(Config {
        user: options.user.clone().unwrap_or_default(),
        attach_stdin,
        attach_stdout: attach("stdout"),
        attach_stderr: attach("stderr"),
        tty: options.terminal,
        open_stdin,
        stdin_once: open_stdin && attach_stdin,
        env: options
            .env
            .iter()
            .map(|(name, value)| value.as_ref().map_or(name.clone(), |value| format!("{name}={value}")))
            .collect(),
        cmd: (!command.is_empty()).then(|| command.iter().map(|word| (*word).to_owned()).collect()),
        image: image.to_owned(),
        working_dir: options.workdir.clone().unwrap_or_default(),
        entrypoint: options.entrypoint.clone().map(|word| vec![word]),
        stop_timeout: number("stop-timeout")?,
        ..Config::default()
    })
}

fn healthcheck(given: &Given) -> Result<Option<Healthcheck>> {
    const TIMES: [&str; 4] =
        ["health-interval", "health-timeout", "health-start-period", "health-start-interval"];
    let is_given = |name: &str| given.last(name).is_some();
    let any = is_given("health-cmd") || is_given("health-retries") || TIMES.iter().any(|name| is_given(name));
    if given.is_on("no-healthcheck") {
        if any {
            return Err(Error::usage("--no-healthcheck conflicts with --health-* options"));
        }
        return Ok(Some(Healthcheck { test: Some(vec!["NONE".to_owned()]), ..Healthcheck::default() }));
    }
    if !any {
        return Ok(None);
    }
    let mut times = [0_i64; 4];
    for (name, value) in TIMES.iter().zip(&mut times) {
        let Some(duration) = given.text(name)?.and_then(time::duration) else { continue };
        if duration.is_negative() {
            return Err(Error::usage(format!("--{name} cannot be negative")));
        }
        let out = |_| Error::usage(format!("--{name}: it is out of range"));
        *value = i64::try_from(duration.as_nanos()).map_err(out)?;
    }
    let retries: i64 = given.text("health-retries")?.map_or(Ok(0), str::parse).unwrap_or(i64::MAX);
    if retries < 0 {
        return Err(Error::usage("--health-retries cannot be negative"));
    }
    let command = given.text("health-cmd")?.filter(|command| !command.is_empty());
    let [interval, timeout, start_period, start_interval] = times;
    Ok(Some(Healthcheck {
        test: command.map(|command| vec!["CMD-SHELL".to_owned(), command.to_owned()]),
        interval,
        timeout,
        start_period,
        start_interval,
        retries,
    }))
}

fn host_config(given: &Given, options: &Options) -> Result<HostConfig> {
    let owned = |name: &str| Ok::<_, Error>(given.text(name)?.unwrap_or_default().to_owned());
    let runtime = owned("runtime")?;
    Ok(HostConfig {
        container_id_file: owned("cidfile")?,
        log_config: log_config(given)?,
        restart_policy: restart_policy(given.text("restart")?.unwrap_or_default())?,
        auto_remove: given.is_on("rm"),
        annotations: options.annotations.clone(),
        cap_add: listed(given, "cap-add")?,
        cap_drop: Some(options.cap_drop.clone()).filter(|all| !all.is_empty()),
        extra_hosts: listed(given, "add-host")?,
        group_add: listed(given, "group-add")?,
        oom_score_adj: options.oom_score_adj.unwrap_or_default(),
        privileged: options.privileged,
        readonly_rootfs: options.read_only,
        security_opt: security_opt(given, options)?,
        userns_mode: owned("userns")?,
        shm_size: options.shm_size.unwrap_or(crate::bundle::defaults::SHM_SIZE),
        sysctls: options.sysctls.clone(),
        volume_driver: owned("volume-driver")?,
        runtime: if runtime.is_empty() { runtime::DEFAULT.to_owned() } else { runtime },
        cgroup_parent: owned("cgroup-parent")?,
        blkio_weight_device: rates(given, "blkio-weight-device")?,
        blkio_device_read_bps: rates(given, "device-read-bps")?,
        blkio_device_write_bps: rates(given, "device-write-bps")?,
        blkio_device_read_iops: rates(given, "device-read-iops")?,
        blkio_device_write_iops: rates(given, "device-write-iops")?,
        devices: Some(devices(given)?),
        device_requests: device_requests(given)?,
        device_cgroup_rules: listed(given, "device-cgroup-rule")?,
        ulimits: Some(options.ulimits.iter().map(ulimit).collect()),
        init: given.switched("init"),
        ..HostConfig::default()
    })
}

fn security_opt(given: &Given, options: &Options) -> Result<Option<Vec<String>>> {
    let mut all = texts(given, "security-opt")?;
    // Of `--hardened`.
    if options.security.no_new_privileges && !all.iter().any(|text| text.starts_with("no-new-privileges")) {
        all.push("no-new-privileges".to_owned());
    }
    Ok(Some(all).filter(|all| !all.is_empty()))
}

/// `--restart`.
///
/// # Errors
/// Docker's words.
pub fn restart_policy(text: &str) -> Result<RestartPolicy> {
    let (name, count) = text.split_once(':').map_or((text, None), |(name, count)| (name, Some(count)));
    let invalid = |reason: &str| Error::usage(format!("invalid restart policy: {reason}"));
    let count = match count {
        None | Some("") => 0,
        Some(count) => count.parse::<i64>().map_err(|_| {
            Error::usage("invalid restart policy format: maximum retry count must be an integer")
        })?,
    };
    let name = if name.is_empty() { "no" } else { name };
    match name {
        "no" | "always" | "unless-stopped" if count != 0 => {
            Err(invalid("maximum retry count can only be used with 'on-failure'"))
        }
        "no" | "always" | "unless-stopped" | "on-failure" => {
            let wrong = |_| invalid("maximum retry count cannot be negative");
            Ok(RestartPolicy {
                name: name.to_owned(),
                maximum_retry_count: u32::try_from(count).map_err(wrong)?,
            })
        }
        other => Err(invalid(&format!(
            "unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        ))),
    }
}

fn log_config(given: &Given) -> Result<LogConfig> {
    let kind = given.text("log-driver")?.filter(|kind| !kind.is_empty());
    let mut config = BTreeMap::new();
    for text in given.texts("log-opt")? {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| Error::usage(format!("invalid logging opts for driver: {text}: key=value")))?;
        config.insert(key.to_owned(), value.to_owned());
    }
    let kind = kind.map_or_else(|| LogConfig::default().kind, str::to_owned);
    Settings::parse(&kind, &config)?;
    Ok(LogConfig { kind, config })
}

/// Paths of devices with rates or weights, as the user has them; they were checked when they were looked up.
fn rates(given: &Given, name: &str) -> Result<Vec<ThrottleDevice>> {
    let of_bytes = name.ends_with("bps");
    let rate = |text: &str| {
        let (path, rate) = if name == "blkio-weight-device" {
            let (path, weight) = text.rsplit_once(':').unwrap_or((text, ""));
            (path, weight.parse().unwrap_or_default())
        } else {
            device::rate(text, of_bytes)?
        };
        Ok(ThrottleDevice { path: path.to_owned(), rate })
    };
    given.texts(name)?.into_iter().map(rate).collect()
}

/// Devices that are looked up by their names at each start.
fn device_requests(given: &Given) -> Result<Option<Vec<DeviceRequest>>> {
    let names = given.texts("device")?.into_iter().filter(|text| cdi::name::parse(text).is_some());
    let names: Vec<String> = names.map(str::to_owned).collect();
    let mut requests: Vec<DeviceRequest> =
        given.texts("gpus")?.into_iter().map(cdi::request::gpus).collect::<Result<_>>()?;
    requests.extend((!names.is_empty()).then(|| cdi::request::by_name(names)));
    Ok(Some(requests).filter(|requests| !requests.is_empty()))
}

fn devices(given: &Given) -> Result<Vec<DeviceMapping>> {
    let mapping = |text: &str| {
        let mapping = device::mapping(text)?;
        Ok(DeviceMapping {
            path_on_host: mapping.source.to_owned(),
            path_in_container: mapping.destination.to_owned(),
            cgroup_permissions: mapping.access.to_owned(),
        })
    };
    let paths = given.texts("device")?.into_iter().filter(|text| cdi::name::parse(text).is_none());
    paths.map(mapping).collect()
}

fn ulimit(limit: &Rlimit) -> Ulimit {
    let number = |value: u64| i64::try_from(value).unwrap_or(-1);
    let name = limit.kind.strip_prefix("RLIMIT_").unwrap_or(&limit.kind).to_lowercase();
    Ulimit { name, hard: number(limit.hard), soft: number(limit.soft) }
}

#[cfg(test)]
#[path = "create_options_tests.rs"]
mod tests;
