//! What was given of [`crate::cli::spec_flags`], as [`Options`]: values are read, and what they name on the host is
//! looked up: files, devices, the caller's environment.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::bundle::options::{Limits, Options, SeccompChoice, Security, SharedMemory};
use crate::bundle::spec::{Device, Mount, Throttle, WeightDevice};
use crate::bundle::syntax::{device, environment, size, ulimit};
use crate::cdi;
use crate::cli::flags::{Flag, Given};
use crate::cli::spec_flags::refusal;
use crate::command::network_options;
use crate::container::modes::{Mode, Modes};
use crate::error::{Context, Error, Result};
use crate::host;

/// Longest file that a flag names, in bytes.
const FILE_MAX: u64 = 4 << 20;

/// Signals by name, without `SIG` (signal(7)).
const SIGNALS: [&str; 34] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE",
    "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU",
    "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
];

/// Refuses what this table has.
///
/// # Errors
/// One that was given.
pub fn refuse(given: &Given, refused: &[Flag]) -> Result<()> {
    for (name, value) in given.pairs() {
        if let Some(refusal) = refusal(refused, name).filter(|_| value != "false") {
            return Err(Error::usage(refusal));
        }
    }
    Ok(())
}

/// Reads the flags; `command` are the words behind the image, `mounts` what `mount_options` has read. `is_user` says that the
/// container is an ordinary user's.
///
/// # Errors
/// What cannot be read, or is not supported, by the flag's name; the system's reason.
pub fn options(given: &Given, command: &[&str], mut mounts: Vec<Mount>, is_user: bool) -> Result<Options> {
    let owned = |name: &str| given.text(name).map(|text| text.map(str::to_owned));
    let all =
        |name: &str| given.texts(name).map(|texts| texts.into_iter().map(str::to_owned).collect::<Vec<_>>());
    let size_of = |name: &str| given.text(name)?.map(size::parse).transpose();
    let mut devices = devices(given)?;
    if is_user {
        // Nobody may make devices in a user namespace: the host's own are shown.
        mounts.extend(devices.drain(..).map(|(device, source, access)| bound(&device, &source, &access)));
    }
    let options = Options {
        env: env(given)?,
        user: owned("user")?,
        workdir: owned("workdir")?.filter(|path| !path.is_empty()),
        entrypoint: owned("entrypoint")?,
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        terminal: given.is_on("tty"),
        console_size: None,
        hostname: owned("hostname")?.filter(|name| !name.is_empty()),
        domainname: owned("domainname")?.filter(|name| !name.is_empty()),
        cap_add: all("cap-add")?,
        cap_drop: all("cap-drop")?,
        privileged: given.is_on("privileged"),
        security: security(given)?,
        read_only: given.is_on("read-only"),
        mounts,
        devices: devices.into_iter().map(|(device, _, access)| (device, access)).collect(),
        device_rules: given
            .texts("device-cgroup-rule")?
            .into_iter()
            .map(device::rule)
            .collect::<Result<_>>()?,
        ulimits: ulimits(given)?,
        sysctls: pairs(given, "sysctl")?,
        shm_size: size_of("shm-size")?.filter(|size| *size > 0),
        limits: limits(given)?,
        oom_score_adj: number(given, "oom-score-adj")?,
        groups: all("group-add")?,
        namespaces: modes(given, is_user)?.namespaces(),
        shared_memory: SharedMemory::Own,
        files: Vec::new(),
        init: None,
        cgroup_parent: owned("cgroup-parent")?.filter(|parent| !parent.is_empty()),
        annotations: pairs(given, "annotation")?,
        labels: labels(given)?,
        stop_signal: owned("stop-signal")?.map(signal).transpose()?,
    };
    Ok(options)
}

fn number<T: std::str::FromStr>(given: &Given, name: &str) -> Result<Option<T>> {
    let read =
        |text: &str| text.parse().map_err(|_| Error::usage(format!("--{name} {text}: it is out of range")));
    given.text(name)?.map(read).transpose()
}

/// A text file of the user's.
fn read_file(path: &str) -> Result<String> {
    let words = || format!("open {path}");
    let mut text = String::new();
    File::open(path).during(words)?.take(FILE_MAX + 1).read_to_string(&mut text).during(words)?;
    if text.len() as u64 > FILE_MAX {
        return Err(Error::usage(format!("it is longer than {FILE_MAX} bytes"))).during(words);
    }
    Ok(text)
}

/// Files first, then flags; a name without a value has the caller's, if there is one.
pub(super) fn env(given: &Given) -> Result<Vec<environment::Variable>> {
    let mut variables = Vec::new();
    for path in given.texts("env-file")? {
        let found = environment::file(&read_file(path)?).during(|| format!("--env-file {path}"))?;
        // A line without a value is nothing where the caller has none (as Docker).
        let own = |(name, value): environment::Variable| {
            let value = value.or_else(|| std::env::var(&name).ok());
            value.map(|value| (name, Some(value)))
        };
        variables.extend(found.into_iter().filter_map(own));
    }
    for text in given.texts("env")? {
        let (name, value) = environment::variable(text)?;
        let value = value.or_else(|| std::env::var(&name).ok());
        variables.push((name, value));
    }
    Ok(variables)
}

fn pairs(given: &Given, name: &str) -> Result<BTreeMap<String, String>> {
    let pair = |text: &str| match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Error::usage(format!("--{name} {text}: it has to be of the form NAME=VALUE"))),
    };
    given.texts(name)?.into_iter().map(pair).collect()
}

fn labels(given: &Given) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for path in given.texts("label-file")? {
        let labels = environment::file(&read_file(path)?).during(|| format!("--label-file {path}"))?;
        found.extend(labels.into_iter().map(|(name, value)| (name, value.unwrap_or_default())));
    }
    for text in given.texts("label")? {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        if name.is_empty() {
            return Err(Error::usage(format!("invalid label format: {text:?}")));
        }
        found.insert(name.to_owned(), value.to_owned());
    }
    Ok(found)
}

fn ulimits(given: &Given) -> Result<Vec<crate::bundle::spec::Rlimit>> {
    let mut limits: Vec<crate::bundle::spec::Rlimit> = Vec::new();
    for text in given.texts("ulimit")? {
        let limit = ulimit::parse(text)?;
        limits.retain(|known| known.kind != limit.kind);
        limits.push(limit);
    }
    Ok(limits)
}

/// `--security-opt KEY=VALUE`; older scripts write a colon.
fn security(given: &Given) -> Result<Security> {
    let mut security = Security::default();
    for text in given.texts("security-opt")? {
        let wrong = || Error::usage(format!("Invalid --security-opt: {text:?}"));
        if text == "no-new-privileges" {
            security.no_new_privileges = true;
            continue;
        }
        let (key, value) = text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(wrong)?;
        match (key, value) {
            ("seccomp", "unconfined") => security.seccomp = SeccompChoice::Unconfined,
            ("seccomp", "builtin") => security.seccomp = SeccompChoice::Builtin,
            ("seccomp", path) => {
                let text = read_file(path).during(|| "opening seccomp profile failed".into())?;
                security.seccomp = SeccompChoice::Profile(text);
            }
            ("apparmor", profile) if !profile.is_empty() => security.apparmor = Some(profile.to_owned()),
            ("label", label) => security.label.push(label.to_owned()),
            ("no-new-privileges", "true") => security.no_new_privileges = true,
            ("no-new-privileges", "false") => security.no_new_privileges = false,
            ("systempaths", "unconfined") => security.unmasked = true,
            _ => return Err(wrong()),
        }
    }
    Ok(security)
}

/// Whose namespaces it is to have.
///
/// # Errors
/// What is no mode, or is not supported.
pub fn modes(given: &Given, is_user: bool) -> Result<Modes> {
    let of = |name: &str| Ok::<_, Error>(given.text(name)?.unwrap_or_default());
    let attachments = network_options::attachments(given)?;
    let network = attachments.first().map_or("", |attachment| attachment.target.as_str());
    match of("userns")? {
        "" => {}
        "host" if !is_user => {}
        "host" => {
            return Err(Error::usage("--userns host: an ordinary user's containers need their own"));
        }
        other => return Err(Error::usage(format!("--userns {other}: only host is supported yet"))),
    }
    Ok(Modes {
        network: Mode::network(network)?,
        pid: Mode::pid(of("pid")?)?,
        ipc: Mode::ipc(of("ipc")?)?,
        uts: Mode::plain("uts", of("uts")?)?,
        cgroup: Mode::plain("cgroupns", of("cgroupns")?)?,
    })
}

/// Devices with their paths on the host and what may be done with them.
fn devices(given: &Given) -> Result<Vec<(Device, String, String)>> {
    let mut found = Vec::new();
    for text in given.texts("device")? {
        // Those with a name of their vendor's are looked up at each start.
        if cdi::name::parse(text).is_some() {
            continue;
        }
        let mapping = device::mapping(text)?;
        let source = Path::new(mapping.source);
        if let Some(device) = host::device(source)? {
            let path = mapping.destination.to_owned();
            found.push((Device { path, ..device }, mapping.source.to_owned(), mapping.access.to_owned()));
            continue;
        }
        if !source.is_dir() {
            return Err(Error::usage(format!("--device {text}: {:?} is not a device node", mapping.source)));
        }
        for device in host::devices_below(source)? {
            let inner = device.path.strip_prefix(mapping.source).unwrap_or(&device.path);
            let path = format!("{}/{}", mapping.destination, inner.trim_start_matches('/'));
            let source = device.path.clone();
            found.push((Device { path, ..device }, source, mapping.access.to_owned()));
        }
    }
    Ok(found)
}

fn bound(device: &Device, source: &str, access: &str) -> Mount {
    let writable = if access.contains('w') { "rw" } else { "ro" };
    Mount {
        destination: device.path.clone(),
        kind: "bind".to_owned(),
        source: source.to_owned(),
        options: ["bind", writable, "nosuid", "noexec"].map(str::to_owned).to_vec(),
    }
}

/// Limits, as far as a command has flags for them.
///
/// # Errors
/// What is no size, number or device.
pub(super) fn limits(given: &Given) -> Result<Limits> {
    let size_of = |name: &str| given.text(name)?.map(size::parse).transpose();
    let rates = |name: &str, of_bytes: bool| {
        let rate = |text| {
            let (path, rate) = device::rate(text, of_bytes)?;
            let device = host::device(Path::new(path))?
                .ok_or_else(|| Error::usage(format!("--{name} {text}: {path:?} is not a device node")))?;
            Ok(Throttle { major: device.major, minor: device.minor, rate })
        };
        given.texts(name)?.into_iter().map(rate).collect::<Result<Vec<_>>>()
    };
    Ok(Limits {
        memory: size_of("memory")?,
        memory_swap: match given.text("memory-swap")? {
            Some("-1") => Some(-1),
            text => text.map(size::parse).transpose()?,
        },
        memory_reservation: size_of("memory-reservation")?,
        nano_cpus: given.text("cpus")?.map(size::nano_cpus).transpose()?,
        cpu_shares: number(given, "cpu-shares")?,
        cpu_period: number(given, "cpu-period")?,
        cpu_quota: number(given, "cpu-quota")?,
        cpuset_cpus: given.text("cpuset-cpus")?.map(str::to_owned),
        cpuset_mems: given.text("cpuset-mems")?.map(str::to_owned),
        pids: number(given, "pids-limit")?,
        blkio_weight: number(given, "blkio-weight")?,
        blkio_weight_device: weights(given)?,
        read_bps: rates("device-read-bps", true)?,
        write_bps: rates("device-write-bps", true)?,
        read_iops: rates("device-read-iops", false)?,
        write_iops: rates("device-write-iops", false)?,
    })
}

/// `--blkio-weight-device PATH:WEIGHT`.
fn weights(given: &Given) -> Result<Vec<WeightDevice>> {
    let weight = |text: &str| {
        let wrong = || Error::usage(format!("bad format: {text}"));
        let (path, weight) = text.rsplit_once(':').ok_or_else(wrong)?;
        let weight =
            weight.parse().map_err(|_| Error::usage(format!("invalid weight for device: {text}")))?;
        let device = host::device(Path::new(path))?.ok_or_else(|| {
            Error::usage(format!("--blkio-weight-device {text}: {path:?} is not a device node"))
        })?;
        Ok(WeightDevice { major: device.major, minor: device.minor, weight })
    };
    given.texts("blkio-weight-device")?.into_iter().map(weight).collect()
}

/// A signal's name or number.
///
/// # Errors
/// What is none.
pub fn signal(text: String) -> Result<String> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let is_number = name.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
    let is_real_time = ["RTMIN", "RTMAX"].iter().any(|base| {
        let offset = name.strip_prefix(base);
        offset.is_some_and(|offset| {
            let number = offset.strip_prefix(['+', '-']).map(str::parse::<u8>);
            offset.is_empty() || number.is_some_and(|number| number.is_ok_and(|number| number <= 30))
        })
    });
    if is_number || is_real_time || SIGNALS.contains(&name) {
        return Ok(text);
    }
    Err(Error::usage(format!("invalid signal: {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_names_or_numbers() {
        for text in ["SIGTERM", "term", "9", "SIGRTMIN+3", "RTMAX-1", "sigrtmin"] {
            assert_eq!(signal(text.to_owned()).unwrap(), text);
        }
        for text in ["", "0", "65", "SIGFOO", "RTMIN+99", "RTMINx3", "SIG"] {
            assert!(signal(text.to_owned()).is_err(), "{text}");
        }
    }
}
