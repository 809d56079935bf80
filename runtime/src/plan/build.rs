//! Puts the plan together from its parts.

use super::capability::Sets;
use super::mount::{Mount, What, rootfs_propagation};
use super::namespace::Namespace;
use super::{
    Plan, Process, Root, cgroup, device, intel_rdt, mount, namespace, network, rlimit, scheduler, seccomp,
    sysctl,
};
use crate::error::{Error, Kind, Result};
use crate::spec::{self, Spec};

/// What the plan has to know of the host.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Capabilities that init can hold before it reduces them, as a bit set.
    pub grantable: u64,
    /// The same in a user namespace of its own.
    pub grantable_in_user_namespace: u64,
    /// Whether the runtime itself is in a user namespace, as root of which rootless engines call it.
    pub in_user_namespace: bool,
}

/// The plan for container `id` of `spec` in the bundle at `bundle` (absolute). Warnings are added to
/// `warnings`.
///
/// # Errors
/// What the specification does not allow or this runtime cannot do, with its JSON pointer.
pub fn build(spec: &Spec, bundle: &str, id: &str, facts: Facts, warnings: &mut Vec<String>) -> Result<Plan> {
    let linux = &spec.linux;
    let mut namespaces = namespace::plan(linux)?;
    namespaces.runtime_is_inside = facts.in_user_namespace;
    let root = root(spec, bundle)?;
    let mounts = mounts(spec, bundle, warnings)?;
    refuse_unmapped_owners(&mounts, &namespaces)?;
    refuse_without_mount_namespace(spec, &namespaces)?;
    let own = |kind| namespaces.is_own(kind);
    let sysctls = sysctl::sysctls(
        &linux.sysctl,
        sysctl::Own { ipc: own(Namespace::Ipc), network: own(Namespace::Network), uts: own(Namespace::Uts) },
    )?;
    let grantable = if own(Namespace::User) { facts.grantable_in_user_namespace } else { facts.grantable };
    let Some(document) = &spec.process else { return Err(Error::new(Kind::Spec, "process: missing")) };
    let process = process(document, linux, grantable, warnings)?;
    let mut cgroup = cgroup::plan(linux.resources.as_ref())?;
    warnings.append(&mut cgroup.warnings);
    let mut seccomp = linux.seccomp.as_ref().map(seccomp::compile).transpose()?;
    if let Some(filter) = &mut seccomp {
        warnings.append(&mut filter.warnings);
    }
    let devices = if brings_own_dev(&mounts) { None } else { Some(device::plan(&linux.devices)?) };
    if devices.is_none() && !linux.devices.is_empty() {
        warnings.push("linux.devices: not made, because /dev is a bind mount".to_owned());
    }
    if namespaces.binds_devices() {
        warn_of_bound_devices(linux, warnings);
    }
    let net_devices = network::net_devices(&linux.net_devices, own(Namespace::Network))?;
    Ok(Plan {
        namespaces,
        root,
        mounts,
        devices,
        masked_paths: linux.masked_paths.clone(),
        readonly_paths: linux.readonly_paths.clone(),
        hostname: spec.hostname.clone(),
        domainname: spec.domainname.clone(),
        sysctls,
        mount_label: linux.mount_label.clone(),
        net_devices,
        intel_rdt: linux.intel_rdt.as_ref().map(|rdt| intel_rdt::intel_rdt(rdt, id)).transpose()?,
        cgroup,
        seccomp,
        process,
        hooks: spec.hooks.clone(),
    })
}

fn root(spec: &Spec, bundle: &str) -> Result<Root> {
    let Some(root) = &spec.root else { return Err(Error::new(Kind::Spec, "root: missing")) };
    let path = if root.path.starts_with('/') { root.path.clone() } else { format!("{bundle}/{}", root.path) };
    let word = &spec.linux.rootfs_propagation;
    let propagation = if word.is_empty() { None } else { Some(rootfs_propagation(word)?) };
    Ok(Root { path, readonly: root.readonly, propagation })
}

fn mounts(spec: &Spec, bundle: &str, warnings: &mut Vec<String>) -> Result<Vec<Mount>> {
    let mut mounts = Vec::with_capacity(spec.mounts.len());
    for (index, entry) in spec.mounts.iter().enumerate() {
        let (mount, mut said) = mount::plan(index, entry, bundle, &spec.linux.mount_label)?;
        warnings.append(&mut said);
        mounts.push(mount);
    }
    Ok(mounts)
}

/// A file system takes no owner that its user namespace does not have; the kernel only says EINVAL.
fn refuse_unmapped_owners(mounts: &[Mount], namespaces: &namespace::Namespaces) -> Result<()> {
    if !namespaces.is_new(Namespace::User) {
        return Ok(());
    }
    for mount in mounts {
        let What::Filesystem { parameters, .. } = &mount.what else { continue };
        for (key, value) in parameters {
            let (field, mappings) = match key.as_str() {
                "uid" => ("linux.uidMappings", &namespaces.uid_mappings),
                "gid" => ("linux.gidMappings", &namespaces.gid_mappings),
                _ => continue,
            };
            let Some(id) = value.as_deref().and_then(|id| id.parse().ok()) else { continue };
            if namespace::on_host(mappings, id).is_none() {
                let reason = format!(
                    "{}: cannot specify {key}={id} mount option for rootless container: {field} has no {id}",
                    mount.describe()
                );
                return Err(Error::new(Kind::Spec, reason));
            }
        }
    }
    Ok(())
}

/// Without a mount namespace of its own the container shares the host's: every mount would be the host's.
fn refuse_without_mount_namespace(spec: &Spec, namespaces: &namespace::Namespaces) -> Result<()> {
    if namespaces.is_own(Namespace::Mount) {
        return Ok(());
    }
    let linux = &spec.linux;
    let readonly = spec.root.as_ref().is_some_and(|root| root.readonly);
    let offenders = [
        ("mounts", !spec.mounts.is_empty()),
        ("root.readonly", readonly),
        ("linux.maskedPaths", !linux.masked_paths.is_empty()),
        ("linux.readonlyPaths", !linux.readonly_paths.is_empty()),
        ("linux.rootfsPropagation", !linux.rootfs_propagation.is_empty()),
        ("process.terminal", spec.process.as_ref().is_some_and(|process| process.terminal)),
    ];
    match offenders.iter().find(|(_, used)| *used) {
        None => Ok(()),
        Some((field, _)) => Err(Error::new(Kind::Spec, format!("{field}: needs a mount namespace"))),
    }
}

/// Whether /dev itself is a bind mount: its nodes are somebody else's then (as runc).
fn brings_own_dev(mounts: &[Mount]) -> bool {
    mounts.iter().any(|mount| {
        matches!(mount.what, What::Bind { .. }) && mount.destination.trim_end_matches('/') == "/dev"
    })
}

/// In a user namespace devices are the host's, bound: nobody there may change their mode or owner.
fn warn_of_bound_devices(linux: &spec::Linux, warnings: &mut Vec<String>) {
    for (index, device) in linux.devices.iter().enumerate() {
        let changed = device.file_mode.is_some() || device.uid.is_some() || device.gid.is_some();
        if changed && device.kind != "p" {
            let field = format!("linux.devices[{index}]");
            warnings.push(format!(
                "{field}: bound from the host, whose mode and owner it keeps, in a user namespace"
            ));
        }
    }
}

/// The program, out of `process` and what else `linux` says of it.
pub(super) fn process(
    process: &spec::Process,
    linux: &spec::Linux,
    grantable: u64,
    warnings: &mut Vec<String>,
) -> Result<Process> {
    let capabilities = Sets::new(process.capabilities.as_ref(), grantable, warnings);
    if let Some(affinity) = &process.exec_cpu_affinity {
        scheduler::exec_affinity(affinity)?; // for `exec`; a wrong list is refused now
    }
    let spec::Process { args, env, cwd, user, .. } = process.clone();
    Ok(Process {
        args,
        env,
        cwd,
        user,
        terminal: process.terminal,
        console_size: process.console_size.filter(|size| size.height != 0 || size.width != 0),
        terminal_is_ours: false,
        capabilities,
        rlimits: rlimit::rlimits(&process.rlimits)?,
        no_new_privileges: process.no_new_privileges,
        apparmor_profile: process.apparmor_profile.clone(),
        selinux_label: process.selinux_label.clone(),
        oom_score_adj: process.oom_score_adj,
        scheduler: process.scheduler.as_ref().map(scheduler::scheduler).transpose()?,
        io_priority: process.io_priority.as_ref().map(scheduler::io_priority).transpose()?,
        memory_policy: linux.memory_policy.as_ref().map(scheduler::memory_policy).transpose()?,
        personality: linux.personality.as_ref().map(scheduler::personality).transpose()?,
    })
}
