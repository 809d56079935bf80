//! The birth in a scope of systemd's.
//!
//! A scope is made around processes that are there: it cannot be made first and init cloned into it. A parked
//! helper in init's place would count against pids.max, and CLONE_INTO_CGROUP from a login session into the
//! user manager's part of the hierarchy is denied to a rootless caller, while systemd's own moving is not. So
//! init is cloned where the runtime is, does nothing but wait, and is moved by systemd before it has made or
//! used anything.

use crate::cgroup::systemd::{Scope, user};
use crate::cgroup::{Cgroup, Hierarchy, no_hierarchy};
use crate::container::{Locked, Record};
use crate::create::channel::{Channel, ToInit};
use crate::error::{Context, Result};
use crate::kernel::mount;
use crate::plan::Plan;
use crate::plan::cgroup::systemd::{self, ScopePlan};
use crate::plan::mount::What;
use crate::plan::namespace::Namespace;
use crate::signals::Signals;
use crate::spec::Spec;

/// What systemd is to make, and whose.
#[derive(Debug)]
pub struct Asked {
    plan: ScopePlan,
    user: Option<u32>,
}

impl Asked {
    /// The scope for container `id`.
    ///
    /// # Errors
    /// Kind `Spec` for what systemd cannot have.
    pub fn plan(spec: &Spec, id: &str) -> Result<Self> {
        let user = user()?;
        Ok(Self { plan: systemd::plan(spec, id, user.is_some())?, user })
    }

    /// Finds systemd, and writes the record that knows of the scope before it exists.
    ///
    /// # Errors
    /// Where no systemd answers, and where it has a unit of that name.
    pub fn prepare(
        &self,
        hierarchy: Option<Hierarchy>,
        locked: &Locked,
        record: &mut Record,
        signals: &mut Signals,
    ) -> Result<Scope> {
        let scope = hierarchy
            .ok_or_else(no_hierarchy)
            .and_then(|hierarchy| Scope::new(self.plan.clone(), self.user, hierarchy, signals))
            .context(|| "--systemd-cgroup")?;
        record.cgroup = Some(scope.record().clone());
        locked.write(record)?;
        record.cgroup = None; // until systemd has taken it on: somebody else may be faster with the name
        Ok(scope)
    }
}

/// Has systemd make the scope around init, then lets init go on; it is told of the folder where it is to
/// mount that; `by_init` says that init opens it itself.
///
/// # Errors
/// systemd's refusal, how its job ended, limits that the kernel does not take.
pub fn place(
    mut scope: Scope,
    pid: i32,
    plan: &Plan,
    channel: &Channel,
    record: &mut Record,
    signals: &mut Signals,
    by_init: bool,
) -> Result<Cgroup> {
    let job = scope.request(pid, &plan.cgroup, signals)?;
    record.cgroup = Some(scope.record().clone());
    let cgroup = scope.finish(pid, &job, &plan.cgroup, signals)?;
    record.cgroup = Some(cgroup.record().clone());
    if !plan.namespaces.is_new(Namespace::Cgroup) {
        if by_init {
            channel.send(&ToInit::CgroupFolder(cgroup.path().to_owned()))?;
        }
        let entries = plan.mounts.iter().enumerate().filter(|_| !by_init);
        for (index, entry) in entries.filter(|(_, entry)| entry.what == What::Cgroup) {
            let folder = mount::open_cgroup(entry, cgroup.fd()).context(|| entry.describe())?;
            channel.send_with(&ToInit::CgroupMount(index), std::os::fd::AsFd::as_fd(&folder.tree))?;
        }
    }
    channel.send(&ToInit::Placed)?;
    Ok(cgroup)
}
