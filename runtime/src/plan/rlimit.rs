//! Resource limits by name (config.md, `process.rlimits`; getrlimit(2)).

use rustix::process::Resource;

use crate::error::{Error, Kind, Result};
use crate::spec;

/// One resource limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// Position in `process.rlimits`, for errors.
    pub index: usize,
    /// `RLIMIT_NOFILE` and so on.
    pub name: &'static str,
    /// The same as a number.
    pub resource: Resource,
    /// Soft limit, in the resource's unit; `u64::MAX` is infinity, as RLIM_INFINITY is.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// All of them.
const NAMES: [(&str, Resource); 16] = [
    ("RLIMIT_AS", Resource::As),
    ("RLIMIT_CORE", Resource::Core),
    ("RLIMIT_CPU", Resource::Cpu),
    ("RLIMIT_DATA", Resource::Data),
    ("RLIMIT_FSIZE", Resource::Fsize),
    ("RLIMIT_LOCKS", Resource::Locks),
    ("RLIMIT_MEMLOCK", Resource::Memlock),
    ("RLIMIT_MSGQUEUE", Resource::Msgqueue),
    ("RLIMIT_NICE", Resource::Nice),
    ("RLIMIT_NOFILE", Resource::Nofile),
    ("RLIMIT_NPROC", Resource::Nproc),
    ("RLIMIT_RSS", Resource::Rss),
    ("RLIMIT_RTPRIO", Resource::Rtprio),
    ("RLIMIT_RTTIME", Resource::Rttime),
    ("RLIMIT_SIGPENDING", Resource::Sigpending),
    ("RLIMIT_STACK", Resource::Stack),
];

/// The limits of `process.rlimits`, in its order.
///
/// # Errors
/// Kind `Spec`: an unknown name, one that stands twice, a soft limit above the hard one.
pub fn rlimits(document: &[spec::Rlimit]) -> Result<Vec<Rlimit>> {
    let mut limits: Vec<Rlimit> = Vec::with_capacity(document.len());
    for (index, entry) in document.iter().enumerate() {
        let wrong =
            |reason: String| Err(Error::new(Kind::Spec, format!("process.rlimits[{index}]: {reason}")));
        let Some(&(name, resource)) = NAMES.iter().find(|(name, _)| *name == entry.kind) else {
            return wrong(format!("{:?} is not a resource limit", entry.kind));
        };
        if limits.iter().any(|earlier| earlier.resource == resource) {
            return wrong(format!("{name} stands there twice"));
        }
        let (soft, hard) = (entry.soft, entry.hard);
        if soft > hard {
            return wrong(format!("{name}: the soft limit {soft} is above the hard limit {hard}"));
        }
        limits.push(Rlimit { index, name, resource, soft, hard });
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: &str, soft: u64, hard: u64) -> spec::Rlimit {
        spec::Rlimit { kind: kind.to_owned(), soft, hard }
    }

    #[test]
    fn every_limit_of_the_kernel_has_its_name() {
        // /proc/PID/limits names them otherwise; the numbers are those of <asm-generic/resource.h>.
        let document: Vec<_> = NAMES.iter().map(|(name, _)| entry(name, 1, 2)).collect();
        let limits = rlimits(&document).unwrap();
        let mut numbers: Vec<_> = limits.iter().map(|limit| limit.resource as u32).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..16).collect::<Vec<u32>>());
        let nofile = limits.iter().find(|limit| limit.name == "RLIMIT_NOFILE").unwrap();
        assert_eq!(
            *nofile,
            Rlimit { index: 9, name: "RLIMIT_NOFILE", resource: Resource::Nofile, soft: 1, hard: 2 }
        );
    }

    #[test]
    fn wrong_entries_are_named() {
        let error = |document: &[spec::Rlimit]| rlimits(document).unwrap_err().to_string();
        let core = entry("RLIMIT_CORE", 0, 0);
        assert_eq!(
            error(&[core.clone(), entry("RLIMIT_FLY", 1, 1)]),
            "process.rlimits[1]: \"RLIMIT_FLY\" is not a resource limit"
        );
        assert_eq!(error(&[core.clone(), core]), "process.rlimits[1]: RLIMIT_CORE stands there twice");
        assert_eq!(
            error(&[entry("RLIMIT_AS", u64::MAX, 5)]),
            "process.rlimits[0]: RLIMIT_AS: the soft limit 18446744073709551615 is above the hard limit 5"
        );
        assert!(rlimits(&[entry("RLIMIT_AS", u64::MAX, u64::MAX)]).is_ok());
    }
}
