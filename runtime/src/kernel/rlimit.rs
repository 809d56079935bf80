//! Sets the resource limits of the plan (getrlimit(2)).
//!
//! A hard limit above the present one needs CAP_SYS_RESOURCE over the host, which a container's init in a
//! user namespace does not have: the runtime raises it with [`raise_hard`], before init, near the end of its
//! own work, sets everything with [`apply`].

use rustix::process::{Pid, Rlimit as Values};

use crate::error::{Call, Context, Result};
use crate::plan::rlimit::Rlimit;

/// Raises the hard limits of process `pid`, a clone of this process that has not changed its limits, where
/// the plan wants more than there is. Soft limits stay, so that init is not hampered while it works.
///
/// # Errors
/// EPERM without CAP_SYS_RESOURCE, or for RLIMIT_NOFILE above fs.nr_open.
pub fn raise_hard(pid: Pid, limits: &[Rlimit]) -> Result<()> {
    for limit in limits {
        let present = rustix::process::getrlimit(limit.resource);
        if limit.hard <= present.maximum.unwrap_or(u64::MAX) {
            continue;
        }
        let raised = Values { current: present.current, maximum: value(limit.hard) };
        rustix::process::prlimit(Some(pid), limit.resource, raised)
            .call("prlimit", || format!("{}, hard {}", limit.name, limit.hard))
            .context(|| field(limit))?;
    }
    Ok(())
}

/// Sets the limits of this process.
///
/// # Errors
/// EPERM for a hard limit that is above the present one.
pub fn apply(limits: &[Rlimit]) -> Result<()> {
    for limit in limits {
        let wanted = Values { current: value(limit.soft), maximum: value(limit.hard) };
        rustix::process::setrlimit(limit.resource, wanted)
            .call("setrlimit", || format!("{}, soft {}, hard {}", limit.name, limit.soft, limit.hard))
            .context(|| field(limit))?;
    }
    Ok(())
}

fn field(limit: &Rlimit) -> String {
    format!("process.rlimits[{}]", limit.index)
}

/// rustix's spelling: none is infinity.
fn value(limit: u64) -> Option<u64> {
    (limit != u64::MAX).then_some(limit)
}

#[cfg(test)]
mod tests {
    use rustix::process::Resource;

    use super::*;
    use crate::kernel::throwaway::{alone, holds};

    const CAP_SYS_RESOURCE: u8 = 24;

    fn nofile(soft: u64, hard: u64) -> Rlimit {
        Rlimit { index: 3, name: "RLIMIT_NOFILE", resource: Resource::Nofile, soft, hard }
    }

    fn line(of: &str) -> Vec<String> {
        let limits = std::fs::read_to_string(format!("/proc/{of}/limits")).unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
        line.split_whitespace().take(2).map(str::to_owned).collect()
    }

    #[test]
    fn limits_are_set_to_the_number() {
        if !alone("kernel::rlimit::tests::limits_are_set_to_the_number", &[]) {
            return;
        }
        let core = Rlimit { index: 0, name: "RLIMIT_CORE", resource: Resource::Core, soft: 0, hard: 4096 };
        apply(&[core, nofile(100, 200)]).unwrap();
        assert_eq!(line("self"), ["100", "200"]);
        assert_eq!(
            rustix::process::getrlimit(Resource::Core),
            Values { current: Some(0), maximum: Some(4096) }
        );
    }

    #[test]
    fn infinity_is_infinity() {
        if !alone("kernel::rlimit::tests::infinity_is_infinity", &[]) {
            return;
        }
        let present = rustix::process::getrlimit(Resource::Stack);
        if present.maximum.is_some() && !holds(CAP_SYS_RESOURCE) {
            eprintln!("left out: the hard limit of the stack is finite and CAP_SYS_RESOURCE is missing");
            return;
        }
        let stack = Rlimit {
            index: 0,
            name: "RLIMIT_STACK",
            resource: Resource::Stack,
            soft: u64::MAX,
            hard: u64::MAX,
        };
        apply(&[stack]).unwrap();
        assert_eq!(rustix::process::getrlimit(Resource::Stack), Values { current: None, maximum: None });
    }

    #[test]
    fn the_parent_raises_only_what_is_too_low() {
        if !alone("kernel::rlimit::tests::the_parent_raises_only_what_is_too_low", &[]) {
            return;
        }
        apply(&[nofile(100, 200)]).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let (lower, higher) = (raise_hard(pid, &[nofile(50, 150)]), raise_hard(pid, &[nofile(250, 300)]));
        let limits = line(&child.id().to_string());
        child.kill().unwrap();
        child.wait().unwrap();
        lower.unwrap();
        if holds(CAP_SYS_RESOURCE) {
            higher.unwrap();
            assert_eq!(limits, ["100", "300"]);
        } else {
            eprintln!("left out: raising a hard limit needs CAP_SYS_RESOURCE, which is missing here");
            assert_eq!(
                higher.unwrap_err().to_string(),
                "process.rlimits[3]: prlimit(RLIMIT_NOFILE, hard 300): operation not permitted (EPERM)"
            );
            assert_eq!(limits, ["100", "200"]);
        }
    }

    #[test]
    fn without_the_right_raising_is_an_error_that_names_the_field() {
        if !alone(
            "kernel::rlimit::tests::without_the_right_raising_is_an_error_that_names_the_field",
            &["--user", "--map-root-user"],
        ) {
            return;
        }
        apply(&[nofile(100, 200)]).unwrap();
        assert_eq!(
            apply(&[nofile(300, 300)]).unwrap_err().to_string(),
            "process.rlimits[3]: setrlimit(RLIMIT_NOFILE, soft 300, hard 300): operation not permitted (EPERM)"
        );
    }
}
