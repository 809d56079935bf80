//! An image's configuration and a user's flags, made into the document that an OCI runtime executes.
//!
//! Everything is decided here and nothing is done: no file is read, no host is asked; what of both matters comes in
//! as plain data ([`host::Host`], [`account::Account`], [`options::Options`]). The image decides defaults of what the
//! user did not say (command, environment, user, folder), never a path, a mount, a hook, an annotation or a right:
//! labels, volumes, ports and stop signals of an image leave no trace in the document. Source: OCI image-spec,
//! "Conversion to OCI Runtime Configuration", where Docker does not differ.

pub mod account;
pub mod defaults;
pub mod host;
pub mod mounts;
pub mod options;
pub mod process;
pub mod resources;
pub mod seccomp;
pub mod security;
pub mod spec;
pub mod syntax;
mod sysctl;

use std::collections::BTreeMap;

use crate::bundle::account::Account;
use crate::bundle::host::{Host, UserMappings};
use crate::bundle::options::{Options, SeccompChoice, Whose};
use crate::bundle::spec::{
    ConsoleSize, Device, Linux, Namespace, Process, Root, Seccomp, Spec, User, VERSION,
};
use crate::error::{Context as _, Error, Result};
use crate::image::config::ImageConfig;

/// The root folder's name in a bundle.
pub const ROOT: &str = "rootfs";
/// The OCI image-spec's annotation for what ends a program.
const STOP_SIGNAL: &str = "org.opencontainers.image.stopSignal";
/// Digits of an id that are a host's name.
const HOSTNAME_DIGITS: usize = 12;

/// The document for a container of this image. `id` is the container's, 64 hexadecimal digits; `account` is what
/// [`account::resolve`] found for [`user`].
///
/// # Errors
/// What was asked for and cannot be, by the flag's name or in Docker's words.
pub fn spec(
    image: &ImageConfig,
    options: &Options,
    host: &Host,
    account: &Account,
    id: &str,
) -> Result<Spec> {
    let execution = image.config.clone().unwrap_or_default();
    let hostname = hostname(options, host, id)?;
    if let Some(user) = &host.user {
        check_mapped(account, user)?;
    }
    let capabilities = security::capabilities(options, host, account.uid == 0)?;
    let labels = security::labels(options, host.selinux)?;
    let (masked_paths, readonly_paths) = security::covered_paths(options, host);
    let seccomp = seccomp_filter(options, host, &capabilities.bounding)?;
    let (process_label, mount_label) = labels.unzip();
    // The first group stands among the further ones too: a program that gives it up keeps no other way to it
    // (CVE-2023-25173). Where a user has no other id, nobody may set any (user_namespaces(7), setgroups).
    let additional_gids = match &host.user {
        Some(user) if user.is_alone() => Vec::new(),
        _ => std::iter::once(account.gid).chain(account.groups.iter().copied()).collect(),
    };
    let process = Process {
        terminal: options.terminal,
        console_size: options
            .console_size
            .filter(|_| options.terminal)
            .map(|(height, width)| ConsoleSize { height, width }),
        user: User { uid: account.uid, gid: account.gid, additional_gids },
        args: behind_init(process::args(&execution, options)?, options),
        env: process::env(&execution, options, account, &hostname)?,
        cwd: process::cwd(&execution, options)?,
        capabilities,
        rlimits: options.ulimits.clone(),
        no_new_privileges: options.security.no_new_privileges,
        apparmor_profile: security::apparmor(options, host)?,
        selinux_label: process_label,
        oom_score_adj: oom_score_adj(options, host)?,
    };
    let mounts = mounts::mounts(options, host)?;
    let propagation = |names: [&str; 2]| {
        mounts.iter().flat_map(|mount| &mount.options).any(|option| names.contains(&option.as_str()))
    };
    let rootfs_propagation = match () {
        () if propagation(["shared", "rshared"]) => Some("shared"),
        () if propagation(["slave", "rslave"]) => Some("rslave"),
        () => None,
    };
    let user = host.user.as_ref().filter(|user| !user.is_entered);
    Ok(Spec {
        oci_version: VERSION,
        process,
        root: Root { path: ROOT, readonly: options.read_only },
        hostname: (options.namespaces.uts != Whose::Host).then_some(hostname),
        mounts,
        annotations: annotations(options),
        linux: Linux {
            uid_mappings: user.map(|user| user.uids.clone()).unwrap_or_default(),
            gid_mappings: user.map(|user| user.gids.clone()).unwrap_or_default(),
            sysctl: sysctl::parameters(options, host)?,
            resources: resources::resources(options, host)?,
            cgroups_path: options.cgroup_parent.as_ref().map(|parent| cgroups_path(parent, id)),
            namespaces: namespaces(options, host),
            devices: devices(options, host)?,
            seccomp,
            rootfs_propagation,
            masked_paths,
            readonly_paths,
            mount_label,
        },
    })
}

/// Who is to run it, in the grammar of [`account::resolve`].
#[must_use]
pub fn user<'a>(image: &'a ImageConfig, options: &'a Options) -> &'a str {
    let of_image = image.config.as_ref().and_then(|config| config.user.as_deref());
    options.user.as_deref().or(of_image).unwrap_or_default()
}

/// The command line with the small init before it, if there is to be one.
fn behind_init(args: Vec<String>, options: &Options) -> Vec<String> {
    match &options.init {
        Some(init) => [init.clone(), "--".to_owned()].into_iter().chain(args).collect(),
        None => args,
    }
}

fn hostname(options: &Options, host: &Host, id: &str) -> Result<String> {
    match &options.hostname {
        Some(_) if options.namespaces.uts == Whose::Host => {
            Err(Error::usage("conflicting options: hostname and the UTS mode"))
        }
        // hostname(7): labels of 63, 64 altogether for sethostname(2).
        Some(name) if name.is_empty() || name.len() > 64 || name.contains(['\0', '/', ' ', '\n']) => {
            Err(Error::usage(format!("invalid hostname format: {name:?}")))
        }
        Some(name) => Ok(name.clone()),
        None if options.namespaces.uts == Whose::Host => Ok(host.hostname.clone()),
        None => Ok(id.chars().take(HOSTNAME_DIGITS).collect()),
    }
}

fn seccomp_filter(options: &Options, host: &Host, bounding: &[String]) -> Result<Option<Seccomp>> {
    match &options.security.seccomp {
        SeccompChoice::Unconfined => Ok(None),
        SeccompChoice::Profile(text) => {
            seccomp::convert(text, bounding, host).during(|| "--security-opt seccomp".into())
        }
        SeccompChoice::Builtin if options.privileged => Ok(None),
        SeccompChoice::Builtin => seccomp::builtin(bounding, host),
    }
}

fn oom_score_adj(options: &Options, host: &Host) -> Result<Option<i32>> {
    match options.oom_score_adj {
        Some(value) if !(-1000..=1000).contains(&value) => {
            Err(Error::usage(format!("Invalid value {value}, range for oom score adj is [-1000, 1000]")))
        }
        Some(value) => Ok(Some(value)),
        // An ordinary user may not lower what he has himself.
        None => Ok(host.user.is_none().then_some(0)),
    }
}

/// The user's own; nothing of the image's (CVE-2026-53488).
fn annotations(options: &Options) -> BTreeMap<String, String> {
    let mut annotations = options.labels.clone();
    annotations.extend(options.annotations.clone());
    if let Some(signal) = &options.stop_signal {
        annotations.insert(STOP_SIGNAL.to_owned(), signal.clone());
    }
    annotations
}

/// As Docker: a slice of systemd has a scope in it, any other parent a folder.
fn cgroups_path(parent: &str, id: &str) -> String {
    let last = parent.rsplit('/').next().unwrap_or_default();
    if last.ends_with(".slice") {
        format!("{last}:caisson:{id}")
    } else {
        format!("{}/{id}", process::clean(parent))
    }
}

fn namespaces(options: &Options, host: &Host) -> Vec<Namespace> {
    let whose = options.namespaces;
    let has_own = host.user.as_ref().is_some_and(|user| !user.is_entered);
    let user = if has_own { Whose::Own } else { Whose::Host };
    let kinds = [
        ("mount", Whose::Own),
        ("network", whose.network),
        ("uts", whose.uts),
        ("pid", whose.pid),
        ("ipc", whose.ipc),
        ("cgroup", whose.cgroup),
        ("user", user),
    ];
    // Of one that is joined, each start says where it is.
    kinds.into_iter().filter(|(_, whose)| *whose != Whose::Host).map(|(kind, _)| Namespace { kind }).collect()
}

fn devices(options: &Options, host: &Host) -> Result<Vec<Device>> {
    // A user's container can have none of the host's but those that were asked for, which are bound there.
    let has_all = options.privileged && host.user.is_none();
    let mut devices: Vec<Device> = if has_all { host.devices.clone() } else { Vec::new() };
    for (device, _) in &options.devices {
        let path = process::clean(&device.path);
        if path == "/" {
            return Err(Error::usage(format!("--device: {:?} is no place for a device", device.path)));
        }
        devices.retain(|known| known.path != path);
        devices.push(Device { path, ..device.clone() });
    }
    Ok(devices)
}

fn check_mapped(account: &Account, user: &UserMappings) -> Result<()> {
    let reason = "has no id outside: /etc/subuid and /etc/subgid grant you too few";
    if !user.has_user(account.uid) {
        return Err(Error::usage(format!("user {} {reason}", account.uid)));
    }
    let mut groups = std::iter::once(&account.gid).chain(&account.groups);
    match groups.find(|group| !user.has_group(**group)) {
        Some(group) => Err(Error::usage(format!("group {group} {reason}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
