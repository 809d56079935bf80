//! Capabilities, labels and what is masked: how far the program inside is trusted. Pure.

use crate::bundle::defaults;
use crate::bundle::host::Host;
use crate::bundle::options::Options;
use crate::bundle::spec::Capabilities;
use crate::error::{Error, Result};

/// The capability sets of the program, by `--cap-add`, `--cap-drop` and `--privileged`.
///
/// # Errors
/// Docker's words for a capability that nobody knows, or that this host does not have.
pub fn capabilities(options: &Options, host: &Host, is_root: bool) -> Result<Capabilities> {
    let (add, drop) = (names(&options.cap_add, host)?, names(&options.cap_drop, host)?);
    let all = || host.capabilities().to_vec();
    let has_all = |names: &[&'static str]| names.contains(&ALL);
    let bounding: Vec<&str> = if options.privileged {
        all()
    } else if has_all(&add) {
        all().into_iter().filter(|name| !drop.contains(name)).collect()
    } else {
        let usual = if has_all(&drop) { &[][..] } else { &defaults::CAPABILITIES };
        let mut kept: Vec<&str> = usual.iter().copied().filter(|name| !drop.contains(name)).collect();
        kept.extend(add.iter().filter(|name| !usual.contains(name)));
        kept
    };
    let mut seen = std::collections::BTreeSet::new();
    let bounding: Vec<String> =
        bounding.into_iter().filter(|name| seen.insert(*name)).map(str::to_owned).collect();
    // What execve(2) would leave an ordinary user.
    let own = if is_root { bounding.clone() } else { Vec::new() };
    Ok(Capabilities { effective: own.clone(), permitted: own, bounding })
}

const ALL: &str = "ALL";

/// The names in full: `chown`, `CHOWN`, `CAP_CHOWN` are one.
fn names(written: &[String], host: &Host) -> Result<Vec<&'static str>> {
    let name = |word: &String| {
        let upper = word.trim().to_ascii_uppercase();
        if upper == ALL || upper == "CAP_ALL" {
            return Ok(ALL);
        }
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let known = defaults::ALL_CAPABILITIES.iter().find(|name| name.strip_prefix("CAP_") == Some(bare));
        match known {
            Some(name) if host.capabilities().contains(name) => Ok(*name),
            Some(name) => Err(Error::usage(format!("capability not supported by your kernel: {name:?}"))),
            None => Err(Error::usage(format!("unknown capability: {word:?}"))),
        }
    };
    written.iter().map(name).collect()
}

/// The profile of AppArmor, if any: the one asked for, or Docker's where the host has it.
///
/// # Errors
/// A profile on a host without AppArmor.
pub fn apparmor(options: &Options, host: &Host) -> Result<Option<String>> {
    match options.security.apparmor.as_deref() {
        Some("unconfined") => Ok(None),
        Some(profile) if !host.apparmor => Err(Error::usage(format!(
            "--security-opt apparmor={profile}: AppArmor is not enabled on this host"
        ))),
        Some(profile) => Ok(Some(profile.to_owned())),
        None if options.privileged => Ok(None),
        None => Ok(host.apparmor_has_default.then(|| defaults::APPARMOR_PROFILE.to_owned())),
    }
}

/// Labels of SELinux for the process and for its mounts: only those asked for. `is_enabled` says that the host has it.
///
/// # Errors
/// A field that is none, one without all the others, or no SELinux.
pub fn labels(options: &Options, is_enabled: bool) -> Result<Option<(String, String)>> {
    let fields = &options.security.label;
    if fields.is_empty() || fields.iter().any(|field| field == "disable") {
        return Ok(None);
    }
    if !is_enabled {
        return Err(Error::usage("--security-opt label: SELinux is not enabled on this host"));
    }
    // The context that container-selinux gives to containers.
    let (mut user, mut role, mut kind, mut level) = ("system_u", "system_r", "container_t", "s0");
    for field in fields {
        match field.split_once(':') {
            Some(("user", value)) => user = value,
            Some(("role", value)) => role = value,
            Some(("type", value)) => kind = value,
            Some(("level", value)) => level = value,
            _ => return Err(Error::usage(format!("--security-opt label={field}: bad label option"))),
        }
    }
    Ok(Some((format!("{user}:{role}:{kind}:{level}"), format!("{user}:object_r:container_file_t:{level}"))))
}

/// Paths that nobody sees, and paths that nobody writes to.
#[must_use]
pub fn covered_paths(options: &Options, host: &Host) -> (Vec<String>, Vec<String>) {
    if options.privileged || options.security.unmasked {
        return (Vec::new(), Vec::new());
    }
    let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    let mut masked = owned(&defaults::MASKED_PATHS);
    // They tell of other tenants' work by the heat of the processors, and are there on some only.
    masked.extend(host.thermal_throttles.iter().cloned());
    masked.sort();
    (masked, owned(&defaults::READONLY_PATHS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(add: &[&str], drop: &[&str], privileged: bool) -> std::result::Result<Vec<String>, String> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let options =
            Options { cap_add: words(add), cap_drop: words(drop), privileged, ..Options::default() };
        let host = Host { last_capability: 39, ..Host::plain() };
        capabilities(&options, &host, true).map(|sets| sets.bounding).map_err(|error| error.to_string())
    }

    #[test]
    fn capabilities_are_added_and_dropped_as_docker_does() {
        let usual = defaults::CAPABILITIES.map(str::to_owned).to_vec();
        assert_eq!(with(&[], &[], false).unwrap(), usual);
        assert_eq!(with(&["chown"], &[], false).unwrap(), usual);
        assert_eq!(with(&["sys_time"], &["CAP_CHOWN", "net_raw"], false).unwrap().len(), 13);
        assert_eq!(with(&[], &["all"], false).unwrap(), Vec::<String>::new());
        assert_eq!(with(&["NET_ADMIN", "CAP_NET_ADMIN"], &["ALL"], false).unwrap(), ["CAP_NET_ADMIN"]);
        let all = with(&["ALL"], &[], false).unwrap();
        assert_eq!((all.len(), all.last().unwrap().as_str()), (40, "CAP_BPF"), "those of this host");
        assert_eq!(with(&["ALL"], &["mknod"], false).unwrap().len(), 39);
        assert_eq!(with(&[], &["ALL"], true).unwrap(), all, "privileged is all");
        assert_eq!(with(&["NOPE"], &[], false).unwrap_err(), "unknown capability: \"NOPE\"");
        assert!(
            with(&["checkpoint_restore"], &[], false).unwrap_err().contains("not supported by your kernel")
        );
    }

    #[test]
    fn an_ordinary_user_has_none_in_force() {
        let sets = capabilities(&Options::default(), &Host::plain(), false).unwrap();
        assert_eq!((sets.bounding.len(), sets.effective.len(), sets.permitted.len()), (14, 0, 0));
    }

    #[test]
    fn a_profile_of_apparmor_is_named_where_there_is_one() {
        let asked = |profile: Option<&str>, privileged: bool, host: &Host| {
            let mut options = Options { privileged, ..Options::default() };
            options.security.apparmor = profile.map(str::to_owned);
            apparmor(&options, host).map_err(|error| error.to_string())
        };
        let none = Host::plain();
        let loaded = Host { apparmor: true, apparmor_has_default: true, ..Host::plain() };
        assert_eq!(asked(None, false, &none), Ok(None));
        assert_eq!(asked(None, false, &loaded), Ok(Some("docker-default".into())));
        assert_eq!(asked(None, true, &loaded), Ok(None));
        assert_eq!(asked(Some("mine"), true, &loaded), Ok(Some("mine".into())));
        assert_eq!(asked(Some("unconfined"), false, &loaded), Ok(None));
        assert!(asked(Some("mine"), false, &none).unwrap_err().contains("not enabled"));
    }

    #[test]
    fn labels_are_put_together_from_what_was_asked_for() {
        let asked = |fields: &[&str], selinux: bool| {
            let mut options = Options::default();
            options.security.label = fields.iter().map(|field| (*field).to_owned()).collect();
            labels(&options, selinux).map_err(|error| error.to_string())
        };
        assert_eq!(asked(&[], true), Ok(None));
        assert_eq!(asked(&["disable"], false), Ok(None));
        let wanted = ("system_u:system_r:spc_t:s0:c1,c2", "system_u:object_r:container_file_t:s0:c1,c2");
        let found = asked(&["type:spc_t", "level:s0:c1,c2"], true).unwrap().unwrap();
        assert_eq!((found.0.as_str(), found.1.as_str()), wanted);
        assert!(asked(&["type:x"], false).unwrap_err().contains("not enabled"));
        assert!(asked(&["colour:x"], true).unwrap_err().contains("bad label option"));
    }

    #[test]
    fn nothing_is_covered_for_whom_it_was_asked() {
        let host = Host {
            thermal_throttles: vec!["/sys/devices/system/cpu/cpu0/thermal_throttle".into()],
            ..Host::plain()
        };
        let (masked, readonly) = covered_paths(&Options::default(), &host);
        assert_eq!((masked.len(), readonly.len()), (13, 5));
        let unmasked = Options { privileged: true, ..Options::default() };
        assert_eq!(covered_paths(&unmasked, &host), (vec![], vec![]));
    }
}
