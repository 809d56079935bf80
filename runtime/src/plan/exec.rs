//! The plan of a process that `exec` adds to a container: the process's own part decided as `create` decides it, and
//! of the container what holds for all its processes.

use super::Process;
use super::build::{Facts, process};
use super::intel_rdt::{self, IntelRdt};
use super::namespace::{self, Namespace, Namespaces};
use super::scheduler::{self, ExecAffinity};
use super::seccomp::{self, Filter};
use crate::error::Result;
use crate::spec::{self, Spec};

/// Everything that is done for one such process.
#[derive(Debug)]
pub struct ExecPlan {
    /// The program.
    pub process: Process,
    /// CPUs before it is the container's, and after.
    pub affinity: ExecAffinity,
    /// The container's namespaces.
    pub namespaces: Namespaces,
    /// The container's system call filter.
    pub seccomp: Option<Filter>,
    /// The container's class of Intel Resource Director Technology.
    pub intel_rdt: Option<IntelRdt>,
}

/// The plan for `document` in the container `id`, which was made of `container`. Warnings are added to `warnings`;
/// those of the filter are not, as `create` gave them.
///
/// # Errors
/// Of kind `Spec`, naming the field.
pub fn exec(
    container: &Spec,
    document: &spec::Process,
    id: &str,
    facts: Facts,
    warnings: &mut Vec<String>,
) -> Result<ExecPlan> {
    let linux = &container.linux;
    let namespaces = namespace::plan(linux)?;
    let own_users = namespaces.is_own(Namespace::User);
    let grantable = if own_users { facts.grantable_in_user_namespace } else { facts.grantable };
    let affinity = document.exec_cpu_affinity.as_ref().map(scheduler::exec_affinity).transpose()?;
    Ok(ExecPlan {
        process: process(document, linux, grantable, warnings)?,
        affinity: affinity.unwrap_or_default(),
        namespaces,
        seccomp: linux.seccomp.as_ref().map(seccomp::compile).transpose()?,
        intel_rdt: linux.intel_rdt.as_ref().map(|rdt| intel_rdt::intel_rdt(rdt, id)).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTAINER: &str = r#"{"ociVersion": "1.2.0", "root": {"path": "rootfs"},
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh"], "cwd": "/"},
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}],
            "intelRdt": {"closID": "gold", "enableMonitoring": true},
            "seccomp": {"defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}}}"#;

    #[test]
    fn what_holds_for_all_processes_of_the_container_holds_for_this_one() {
        let container = spec::parse(CONTAINER.as_bytes()).unwrap();
        let document = container.process.clone().unwrap();
        let facts = Facts { grantable: 0, grantable_in_user_namespace: 0, in_user_namespace: false };
        let plan = exec(&container, &document, "web", facts, &mut Vec::new()).unwrap();
        let rdt = plan.intel_rdt.unwrap();
        assert_eq!((rdt.group.as_str(), rdt.monitoring.as_deref()), ("gold", Some("web")));
        assert!(plan.seccomp.is_some());
        assert!(plan.namespaces.is_own(Namespace::Pid) && !plan.namespaces.is_own(Namespace::Network));
        assert_eq!(plan.affinity, ExecAffinity::default());
    }
}
