//! Gives the calling thread the five capability sets of the plan, exactly.
//!
//! The order is the caller's: [`drop_bounding`] while the thread still has CAP_SETPCAP,
//! [`keep_over_setuid`], the change of user, then [`apply`]. Capabilities of a newer kernel, which have no
//! name here, are dropped like every other that is not asked for. capabilities(7), prctl(2), capset(2).

use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::error::{Call, Context, Result};
use crate::plan::capability::{Sets, name_of};

/// CAP_SYS_ADMIN as a set.
pub const SYS_ADMIN: u64 = 1 << 21;

/// CAP_CHECKPOINT_RESTORE, the newest one since Linux 5.9: the first guess at the kernel's last.
const NEWEST: u8 = 40;

/// The highest number that fits in the kernel's sets.
const HIGHEST: u8 = 63;

/// The number of the kernel's last capability (/proc/sys/kernel/cap_last_cap), asked of it once.
pub fn last() -> u8 {
    static LAST: OnceLock<u8> = OnceLock::new();
    *LAST.get_or_init(|| {
        let mut last = NEWEST;
        while last < HIGHEST && exists(last + 1) {
            last += 1;
        }
        while last > 0 && !exists(last) {
            last -= 1;
        }
        last
    })
}

fn exists(number: u8) -> bool {
    in_bounding(number) != Err(Errno::INVAL)
}

fn in_bounding(number: u8) -> rustix::io::Result<bool> {
    rustix::thread::capability_is_in_bounding_set(bit(number))
}

fn bit(number: u8) -> CapabilitySet {
    CapabilitySet::from_bits_retain(1 << number)
}

/// The capabilities that a container can be given: all there are in a new user namespace, and elsewhere
/// those that this thread is permitted and that are in its bounding set.
///
/// # Errors
/// capget(2) and prctl(2).
pub fn grantable(in_user_namespace: bool) -> Result<u64> {
    if in_user_namespace {
        return Ok(u64::MAX >> (HIGHEST - last()));
    }
    let own = rustix::thread::capabilities(None).call("capget", || "")?;
    let mut grantable = own.permitted.bits();
    let uncertain = grantable & own.inheritable.bits();
    // What execve permits lies in the bounding set, except what came by the inheritable set
    // (capabilities(7) "Transformation of capabilities during execve()"): only that has to be looked up.
    for number in (0..=last()).filter(|number| uncertain & (1 << number) != 0) {
        if !in_bounding(number).call("prctl", || format!("PR_CAPBSET_READ, {}", name_of(number)))? {
            grantable &= !(1 << number);
        }
    }
    Ok(grantable)
}

/// Drops from the bounding set all that is still in it and not in `sets.bounding`.
///
/// # Errors
/// EPERM without CAP_SETPCAP, where there is something to drop.
pub fn drop_bounding(sets: &Sets) -> Result<()> {
    for number in (0..=last()).filter(|number| sets.bounding & (1 << number) == 0) {
        // Dropped without a look first: one call each. Without CAP_SETPCAP only what is there cannot go.
        let dropped = match rustix::thread::remove_capability_from_bounding_set(bit(number)) {
            Err(Errno::PERM) if in_bounding(number) == Ok(false) => Ok(()),
            other => other,
        };
        dropped
            .call("prctl", || format!("PR_CAPBSET_DROP, {}", name_of(number)))
            .context(|| "process.capabilities.bounding")?;
    }
    Ok(())
}

/// Lets the permitted set outlive the change to another user, until execve.
///
/// # Errors
/// EPERM where SECBIT_KEEP_CAPS is locked.
pub fn keep_over_setuid() -> Result<()> {
    rustix::thread::set_keep_capabilities(true).call("prctl", || "PR_SET_KEEPCAPS, 1")
}

/// Makes the effective, permitted, inheritable and ambient sets those of `sets`.
///
/// # Errors
/// EPERM for what the thread is not permitted.
pub fn apply(sets: &Sets) -> Result<()> {
    let wanted = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(sets.effective),
        permitted: CapabilitySet::from_bits_retain(sets.permitted),
        inheritable: CapabilitySet::from_bits_retain(sets.inheritable),
    };
    rustix::thread::set_capabilities(None, wanted)
        .call("capset", || "")
        .context(|| "process.capabilities")?;
    rustix::thread::clear_ambient_capability_set()
        .call("prctl", || "PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL")
        .context(|| "process.capabilities.ambient")?;
    for number in (0..=last()).filter(|number| sets.ambient & (1 << number) != 0) {
        rustix::thread::configure_capability_in_ambient_set(bit(number), true)
            .call("prctl", || format!("PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, {}", name_of(number)))
            .context(|| "process.capabilities.ambient")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::fs::{Gid, Uid};

    use super::*;
    use crate::kernel::throwaway::{alone, status_field};

    const CHOWN: u64 = 1;
    const KILL: u64 = 1 << 5;
    const NET_RAW: u64 = 1 << 13;
    const SETS: Sets = Sets {
        bounding: CHOWN | KILL | NET_RAW,
        effective: CHOWN,
        permitted: CHOWN | KILL,
        inheritable: KILL,
        ambient: KILL,
    };

    fn held(name: &str) -> u64 {
        u64::from_str_radix(&status_field(name), 16).unwrap()
    }

    fn all_held() -> Sets {
        Sets {
            bounding: held("CapBnd"),
            effective: held("CapEff"),
            permitted: held("CapPrm"),
            inheritable: held("CapInh"),
            ambient: held("CapAmb"),
        }
    }

    /// The same of a program that this thread executes.
    fn of_a_program() -> Sets {
        let output = std::process::Command::new("cat").arg("/proc/self/status").output().unwrap();
        let status = String::from_utf8(output.stdout).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        Sets {
            bounding: field("CapBnd:"),
            effective: field("CapEff:"),
            permitted: field("CapPrm:"),
            inheritable: field("CapInh:"),
            ambient: field("CapAmb:"),
        }
    }

    fn become_nobody() {
        let (user, group) = (Uid::from_raw(65534), Gid::from_raw(65534));
        rustix::thread::set_thread_res_gid(group, group, group).unwrap();
        rustix::thread::set_thread_res_uid(user, user, user).unwrap();
    }

    #[test]
    fn the_last_capability_is_the_kernel_s() {
        let text = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap();
        assert_eq!(last(), text.trim().parse::<u8>().unwrap());
    }

    #[test]
    fn what_can_be_granted_is_what_is_held() {
        assert_eq!(grantable(false).unwrap(), held("CapPrm") & held("CapBnd"));
        assert_eq!(grantable(true).unwrap(), (1 << (last() + 1)) - 1);
    }

    #[test]
    fn a_new_user_namespace_holds_all_that_is_promised() {
        if alone(
            "kernel::capability::tests::a_new_user_namespace_holds_all_that_is_promised",
            &["--user", "--map-root-user"],
        ) {
            assert_eq!(grantable(true).unwrap(), held("CapPrm"));
            assert_eq!(grantable(true).unwrap(), held("CapBnd"));
            assert_eq!(grantable(false).unwrap(), held("CapPrm"));
        }
    }

    #[test]
    fn another_user_gets_exactly_the_sets() {
        if !alone("kernel::capability::tests::another_user_gets_exactly_the_sets", &[]) {
            return;
        }
        drop_bounding(&SETS).unwrap();
        keep_over_setuid().unwrap();
        become_nobody();
        assert_eq!(held("CapEff"), 0, "the change of user takes the effective set");
        apply(&SETS).unwrap();
        assert_eq!(all_held(), SETS);
        // execve leaves a program without file capabilities the ambient set alone.
        assert_eq!(of_a_program(), Sets { effective: KILL, permitted: KILL, ..SETS });
    }

    #[test]
    fn root_gets_exactly_the_sets_and_no_more_over_execve() {
        if !alone("kernel::capability::tests::root_gets_exactly_the_sets_and_no_more_over_execve", &[]) {
            return;
        }
        drop_bounding(&SETS).unwrap();
        apply(&SETS).unwrap();
        assert_eq!(all_held(), SETS);
        // For root, execve makes all of the bounding set permitted and effective; ambient is not for it.
        let bounding = SETS.bounding;
        assert_eq!(of_a_program(), Sets { effective: bounding, permitted: bounding, ..SETS });
    }

    #[test]
    fn ambient_capabilities_of_before_do_not_survive() {
        if !alone("kernel::capability::tests::ambient_capabilities_of_before_do_not_survive", &[]) {
            return;
        }
        let both = Sets { inheritable: KILL | CHOWN, ambient: KILL | CHOWN, ..SETS };
        apply(&both).unwrap();
        assert_eq!(held("CapAmb"), KILL | CHOWN);
        apply(&Sets { ambient: KILL, inheritable: KILL | CHOWN, ..SETS }).unwrap();
        assert_eq!(held("CapAmb"), KILL);
    }

    #[test]
    fn empty_sets_leave_nothing() {
        if !alone("kernel::capability::tests::empty_sets_leave_nothing", &[]) {
            return;
        }
        drop_bounding(&Sets::default()).unwrap();
        keep_over_setuid().unwrap();
        become_nobody();
        apply(&Sets::default()).unwrap();
        assert_eq!(all_held(), Sets::default());
        assert_eq!(of_a_program(), Sets::default());
    }

    #[test]
    fn what_is_not_held_cannot_be_applied() {
        if !alone("kernel::capability::tests::what_is_not_held_cannot_be_applied", &[]) {
            return;
        }
        apply(&Sets::default()).unwrap();
        let error = apply(&SETS).unwrap_err();
        assert_eq!(error.to_string(), "process.capabilities: capset(): operation not permitted (EPERM)");
        let error = drop_bounding(&Sets::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "process.capabilities.bounding: prctl(PR_CAPBSET_DROP, CAP_CHOWN): operation not permitted (EPERM)"
        );
        // Nothing to drop needs no privilege.
        drop_bounding(&Sets { bounding: held("CapBnd"), ..Sets::default() }).unwrap();
    }
}
