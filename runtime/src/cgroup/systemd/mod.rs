//! systemd's side of a container's cgroup: a transient scope, asked for over D-Bus
//! (org.freedesktop.systemd1(5), systemd.scope(5), and systemd's docs/CGROUP_DELEGATION).
//!
//! Owns the conversation with a manager: making, changing and stopping one unit. It decides no limits
//! (`plan::cgroup::systemd` has) and writes no files: systemd keeps the scope's folder, the runtime opens it
//! as it opens its own. A unit is stopped only where its cgroup is the one in the container's record.

mod manager;
mod socket;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::dbus::Wait;
use super::{Cgroup, Hierarchy, Manager as Kept, Record, hierarchy, tree};
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::plan::cgroup::CgroupPlan;
use crate::plan::cgroup::systemd::{ScopePlan, limits};
use crate::signals::Signals;
use manager::Manager;
pub use socket::user;

/// How long systemd may take for one job, as in runc.
const JOB_WAIT: Duration = Duration::from_secs(30);

/// What a container's record keeps of its unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// The unit's name.
    pub name: String,
    /// The user whose own manager has it; none for the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
}

/// A scope that is about to be made.
#[derive(Debug)]
pub struct Scope {
    manager: Manager,
    plan: ScopePlan,
    record: Record,
    hierarchy: Hierarchy,
}

impl Scope {
    /// Connects to the manager and sees that the scope's name is free. Nothing is made yet.
    ///
    /// # Errors
    /// Where no systemd answers, and where there is a unit of that name already.
    pub fn new(
        plan: ScopePlan,
        user: Option<u32>,
        hierarchy: Hierarchy,
        signals: &mut Signals,
    ) -> Result<Self> {
        let wait = &mut Wait::new(JOB_WAIT, Some(signals));
        let name = &plan.unit.name;
        let mut manager = Manager::connect(user, wait)?;
        if manager.unit(name, wait)?.is_some() {
            // A scope that has failed stays until somebody takes note of it.
            manager.reset_failed(name, wait)?;
            if manager.unit(name, wait)?.is_some() {
                bail!("systemd has a unit {name:?} already; give another linux.cgroupsPath");
            }
        }
        let folders = plan.unit.folders();
        let above = manager.control_group().split('/').filter(|part| !part.is_empty());
        let path = above.chain(folders.iter().map(String::as_str)).collect::<Vec<_>>().join("/");
        let unit = Unit { name: name.clone(), user };
        let mount = hierarchy.path().to_owned();
        let record = Record { mount, path, created: 0, manager: Kept::Systemd(unit) };
        Ok(Self { manager, plan, record, hierarchy })
    }

    /// What finds the scope again, also before it is there.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Asks for the scope around process `pid`, with all limits that systemd knows. The answer is the job to
    /// wait for: from here on there is a unit to clean up.
    ///
    /// # Errors
    /// systemd's refusal, with the unit's name.
    pub fn request(&mut self, pid: i32, limits: &CgroupPlan, signals: &mut Signals) -> Result<String> {
        let number = u32::try_from(pid).map_err(|_| Error::other(format!("{pid} is no process id")))?;
        let properties = self.plan.properties(number, limits, self.manager.version());
        let wait = &mut Wait::new(JOB_WAIT, Some(signals));
        self.manager.start(&self.plan.unit.name, properties, wait)
    }

    /// Waits for the job, opens the cgroup in which `pid` is then, and writes the limits that systemd has no
    /// property for, or rounds.
    ///
    /// # Errors
    /// How the job ended, if not well; a process that is not in the scope; limits that the kernel refuses.
    pub fn finish(
        mut self,
        pid: i32,
        job: &str,
        limits: &CgroupPlan,
        signals: &mut Signals,
    ) -> Result<Cgroup> {
        let name = &self.plan.unit.name;
        let wait = &mut Wait::new(JOB_WAIT, Some(signals));
        self.manager.finish("start", name, job, wait)?;
        // Where init is by now is the truth: an annotation may have asked for another slice.
        let path = hierarchy::cgroup_of(pid)?;
        let path = path.trim_start_matches('/');
        if path.rsplit('/').next() != Some(name) {
            bail!("systemd started {name:?}, but process {pid} is in cgroup {path:?}");
        }
        let record = Record { path: path.to_owned(), ..self.record };
        let Some(cgroup) = Cgroup::open(&record)? else {
            bail!("systemd started {name:?}, but its cgroup {path:?} is not there");
        };
        cgroup.limit(&self.hierarchy, limits).context(|| format!("limit cgroup {:?}", cgroup.path()))?;
        Ok(cgroup)
    }
}

/// Tells the manager of new limits of a unit that is there.
///
/// # Errors
/// Where no systemd answers, and its refusal.
pub fn change(unit: &Unit, limits: &CgroupPlan) -> Result<()> {
    let wait = &mut Wait::new(JOB_WAIT, None);
    let mut manager = Manager::connect(unit.user, wait)?;
    let properties = self::limits(limits, manager.version());
    if properties.is_empty() {
        return Ok(());
    }
    manager.set(&unit.name, properties, wait)
}

/// Has the manager of a record's unit move process `pid`, which waits meanwhile, into the unit's cgroup or, with
/// `below`, into that one inside it.
///
/// # Errors
/// Where no systemd answers, its refusal, and where the process is elsewhere after that.
pub fn attach(record: &Record, unit: &Unit, below: &str, pid: i32, signals: &mut Signals) -> Result<()> {
    let wait = &mut Wait::new(JOB_WAIT, Some(signals));
    let number = u32::try_from(pid).map_err(|_| Error::other(format!("{pid} is no process id")))?;
    let below = if below.is_empty() { String::new() } else { format!("/{below}") };
    Manager::connect(unit.user, wait)?.attach(&unit.name, &below, number, wait)?;
    // The name of a unit is all that the manager goes by, and it leaves alone who is in the unit already.
    let (found, wanted) = (hierarchy::cgroup_of(pid)?, format!("/{}{below}", record.path));
    if found != wanted {
        bail!("systemd was to move process {pid} to cgroup {wanted:?}, but it is in {found:?}");
    }
    Ok(())
}

/// Stops the unit of a record and sees that its cgroup is gone. Who is in there is waited for up to
/// `patience`, but not killed.
///
/// # Errors
/// Where the cgroup is still in use after that, and where it stays in spite of systemd or without it.
pub fn remove(record: &Record, unit: &Unit, patience: Duration) -> Result<()> {
    let cgroup = Cgroup::open(record)?;
    if let Some(cgroup) = &cgroup
        && !patience.is_zero()
    {
        cgroup.wait_empty(patience)?;
    } else if let Some(cgroup) = &cgroup
        && cgroup.events().is_ok_and(|events| events.populated)
    {
        bail!("cgroup {:?} is in use", cgroup.path());
    }
    let stopped = stop(record, unit);
    // Where the folder is gone all is well, also without systemd: a user's manager may have ended meanwhile.
    let Some(cgroup) = Cgroup::open(record)? else { return Ok(()) };
    // Without systemd, and where a cgroup inside held it, the folder is left.
    match (tree::remove(&cgroup, &record.names()?, 1, patience), stopped) {
        (Ok(()), _) => Ok(()),
        (Err(error), Ok(())) => Err(error).context(|| format!("remove cgroup {:?}", cgroup.path())),
        (Err(error), Err(mut cause)) => {
            cause.attach(&error);
            Err(cause)
        }
    }
}

/// Stops a unit that is the record's, and takes a failed one off systemd's list.
fn stop(record: &Record, unit: &Unit) -> Result<()> {
    let wait = &mut Wait::new(JOB_WAIT, None);
    let mut manager = Manager::connect(unit.user, wait)?;
    let Some(object) = manager.unit(&unit.name, wait)? else { return Ok(()) };
    let path = manager.cgroup_of_unit(&object, wait)?;
    if path.is_empty() || path.trim_start_matches('/') == record.path {
        manager.stop(&unit.name, wait)?;
        manager.reset_failed(&unit.name, wait)?;
    }
    Ok(())
}
