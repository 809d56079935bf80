//! Docker's form of a seccomp profile, made into the specification's for one host and one set of capabilities.
//!
//! Docker's rules may ask for capabilities, processors or a kernel (`includes`, `excludes`), and its `archMap` says
//! which further architectures a processor runs. The default profile is kept as data, `shim/data/seccomp.json`; where
//! it comes from stands beside it. Pure.

use serde::Deserialize;

use crate::bundle::host::Host;
use crate::bundle::spec::{Seccomp, SeccompArg, SeccompRule};
use crate::error::{Context, Error, Result};

/// Docker's default profile.
const BUILTIN: &str = include_str!("../../data/seccomp.json");

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Profile {
    default_action: Option<String>,
    default_errno_ret: Option<u32>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<Architecture>>,
    flags: Option<Vec<String>>,
    listener_path: Option<String>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Architecture {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    name: Option<String>,
    names: Option<Vec<String>>,
    action: String,
    errno_ret: Option<u32>,
    args: Option<Vec<SeccompArg>>,
    #[serde(default)]
    includes: Condition,
    #[serde(default)]
    excludes: Condition,
    // For readers.
    #[serde(rename = "comment")]
    _comment: Option<serde::de::IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Condition {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// Docker's default profile.
///
/// # Errors
/// None that is known.
pub fn builtin(capabilities: &[String], host: &Host) -> Result<Option<Seccomp>> {
    convert(BUILTIN, capabilities, host).during(|| "the built-in seccomp profile".into())
}

/// A profile in Docker's form, for these capabilities in the bounding set. None for one that says nothing.
///
/// # Errors
/// What is no profile, or contradicts itself.
pub fn convert(text: &str, capabilities: &[String], host: &Host) -> Result<Option<Seccomp>> {
    let profile: Profile = serde_json::from_str(text)
        .map_err(|error| Error::invalid(format!("invalid seccomp profile: {error}")))?;
    let rules = profile.syscalls.unwrap_or_default();
    let Some(default_action) = profile.default_action.filter(|action| !action.is_empty()) else {
        if rules.is_empty() {
            return Ok(None);
        }
        return Err(Error::invalid("invalid seccomp profile: defaultAction is missing"));
    };
    let mut architectures = profile.architectures.unwrap_or_default();
    let map = profile.arch_map.unwrap_or_default();
    if !architectures.is_empty() && !map.is_empty() {
        return Err(Error::invalid("invalid seccomp profile: both architectures and archMap are given"));
    }
    let own = native(&host.architecture);
    if let Some(entry) = map.into_iter().find(|entry| Some(entry.architecture.as_str()) == own) {
        architectures = vec![entry.architecture];
        architectures.extend(entry.sub_architectures.unwrap_or_default());
    }
    let mut syscalls = Vec::new();
    for rule in rules {
        let named = rule.names.unwrap_or_default();
        let names = match (rule.name.filter(|name| !name.is_empty()), named.is_empty()) {
            (Some(_), false) => {
                return Err(Error::invalid("invalid seccomp profile: both name and names are given"));
            }
            (Some(name), true) => vec![name],
            (None, _) => named,
        };
        if !applies(&rule.includes, &rule.excludes, capabilities, host)? {
            continue;
        }
        let args = rule.args.unwrap_or_default();
        syscalls.push(SeccompRule { names, action: rule.action, errno_ret: rule.errno_ret, args });
    }
    Ok(Some(Seccomp {
        default_action,
        default_errno_ret: profile.default_errno_ret,
        architectures,
        flags: profile.flags.unwrap_or_default(),
        listener_path: profile.listener_path,
        listener_metadata: profile.listener_metadata,
        syscalls,
    }))
}

/// Every condition of `includes` holds, and none of `excludes`.
fn applies(includes: &Condition, excludes: &Condition, capabilities: &[String], host: &Host) -> Result<bool> {
    let has_capability = |name: &String| capabilities.contains(name);
    let is_architecture = |name: &String| arch_name(&host.architecture) == Some(name.as_str());
    let of = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let included = of(&includes.caps).iter().all(has_capability)
        && (of(&includes.arches).is_empty() || of(&includes.arches).iter().any(is_architecture))
        && at_least(host.kernel, includes.min_kernel.as_deref())?.unwrap_or(true);
    let excluded = of(&excludes.caps).iter().any(has_capability)
        || of(&excludes.arches).iter().any(is_architecture)
        || at_least(host.kernel, excludes.min_kernel.as_deref())?.unwrap_or(false);
    Ok(included && !excluded)
}

/// Is the kernel as new as that? None where nothing is asked.
fn at_least(kernel: (u32, u32), wanted: Option<&str>) -> Result<Option<bool>> {
    let Some(text) = wanted.filter(|text| !text.is_empty()) else { return Ok(None) };
    let numbers = text
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?)));
    let wanted = numbers.ok_or_else(|| {
        Error::invalid(format!("invalid seccomp profile: minKernel {text:?} is not of the form 4.8"))
    })?;
    Ok(Some(kernel >= wanted))
}

/// libseccomp's name of a processor that Go calls so, and what profiles call it.
const ARCHITECTURES: [(&str, &str, &str); 13] = [
    ("386", "SCMP_ARCH_X86", "x86"),
    ("amd64", "SCMP_ARCH_X86_64", "amd64"),
    ("arm", "SCMP_ARCH_ARM", "arm"),
    ("arm64", "SCMP_ARCH_AARCH64", "arm64"),
    ("loong64", "SCMP_ARCH_LOONGARCH64", "loong64"),
    ("mips64", "SCMP_ARCH_MIPS64", "mips64"),
    ("mips64le", "SCMP_ARCH_MIPSEL64", "mipsel64"),
    ("mipsle", "SCMP_ARCH_MIPSEL", "mipsel"),
    ("ppc64", "SCMP_ARCH_PPC64", "ppc64"),
    ("ppc64le", "SCMP_ARCH_PPC64LE", "ppc64le"),
    ("riscv64", "SCMP_ARCH_RISCV64", "riscv64"),
    ("s390", "SCMP_ARCH_S390", "s390"),
    ("s390x", "SCMP_ARCH_S390X", "s390x"),
];

fn native(architecture: &str) -> Option<&'static str> {
    ARCHITECTURES.iter().find(|(go, _, _)| *go == architecture).map(|(_, native, _)| *native)
}

fn arch_name(architecture: &str) -> Option<&'static str> {
    ARCHITECTURES.iter().find(|(go, _, _)| *go == architecture).map(|(_, _, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::defaults::CAPABILITIES;

    fn usual() -> Vec<String> {
        CAPABILITIES.map(str::to_owned).to_vec()
    }

    fn allowed(profile: &Seccomp, name: &str) -> bool {
        let fits = |rule: &&SeccompRule| rule.names.iter().any(|known| known == name);
        profile
            .syscalls
            .iter()
            .filter(fits)
            .any(|rule| rule.action == "SCMP_ACT_ALLOW" && rule.args.is_empty())
    }

    #[test]
    fn the_built_in_profile_goes_by_capabilities() {
        let host = Host::plain();
        let of = |capabilities: &[String]| builtin(capabilities, &host).unwrap().unwrap();
        let plain = of(&usual());
        assert_eq!(plain.architectures, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
        assert_eq!((plain.default_action.as_str(), plain.default_errno_ret), ("SCMP_ACT_ERRNO", Some(1)));
        for name in ["read", "chroot", "ptrace", "arch_prctl", "modify_ldt", "openat2"] {
            assert!(allowed(&plain, name), "{name}");
        }
        let forbidden = [
            "mount",
            "unshare",
            "clone",
            "clone3",
            "keyctl",
            "bpf",
            "io_uring_setup",
            "reboot",
            "init_module",
            "riscv_flush_icache",
            "set_tls",
            "open_by_handle_at",
            "settimeofday",
            "pivot_root",
            "kexec_load",
        ];
        for name in forbidden {
            assert!(!allowed(&plain, name), "{name}");
        }
        // AF_INET and AF_NETLINK; neither AF_ALG nor AF_VSOCK.
        let sockets = plain.syscalls.iter().filter(|rule| rule.names == ["socket"]);
        let families: Vec<u64> = sockets.map(|rule| rule.args[0].value).collect();
        assert_eq!((families[0], families.contains(&38), families.contains(&40)), (12, false, false));
        let clone3: Vec<_> = plain.syscalls.iter().filter(|rule| rule.names == ["clone3"]).collect();
        assert_eq!((clone3.len(), clone3[0].errno_ret), (1, Some(38)));
        let admin = of(&[usual(), vec!["CAP_SYS_ADMIN".into()]].concat());
        assert!(["mount", "unshare", "clone", "clone3", "bpf"].iter().all(|name| allowed(&admin, name)));
        assert!(!admin.syscalls.iter().any(|rule| rule.names == ["clone3"]));
        assert!(!allowed(&of(&[]), "chroot"));
    }

    #[test]
    fn the_built_in_profile_goes_by_processor_and_kernel() {
        let arm = Host { architecture: "arm64".into(), kernel: (4, 7), ..Host::plain() };
        let arm = builtin(&usual(), &arm).unwrap().unwrap();
        assert_eq!(arm.architectures, ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]);
        assert!(allowed(&arm, "set_tls") && !allowed(&arm, "arch_prctl") && !allowed(&arm, "ptrace"));
        let s390 = Host { architecture: "s390x".into(), ..Host::plain() };
        let s390 = builtin(&usual(), &s390).unwrap().unwrap();
        let clone: Vec<_> = s390.syscalls.iter().filter(|rule| rule.names == ["clone"]).collect();
        assert_eq!((clone.len(), clone[0].args[0].index), (1, 1), "the other order of arguments");
    }

    #[test]
    fn a_profile_of_the_users_is_read_or_refused_by_name() {
        let of = |text: &str| convert(text, &usual(), &Host::plain()).map_err(|error| error.to_string());
        assert_eq!(of("{}"), Ok(None));
        let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],"flags":["SECCOMP_FILTER_FLAG_LOG"],
            "syscalls":[{"name":"chmod","action":"SCMP_ACT_ERRNO","errnoRet":5,"args":null,"comment":"x","includes":{},"excludes":{}},
                        {"names":["mkdir"],"action":"SCMP_ACT_KILL","excludes":{"minKernel":"6.12"}}]}"#;
        let profile = of(text).unwrap().unwrap();
        assert_eq!(profile.flags, ["SECCOMP_FILTER_FLAG_LOG"]);
        let rule = SeccompRule {
            names: vec!["chmod".into()],
            action: "SCMP_ACT_ERRNO".into(),
            errno_ret: Some(5),
            args: vec![],
        };
        assert_eq!(profile.syscalls, [rule]);
        for (text, reason) in [
            ("[", "invalid seccomp profile"),
            (r#"{"defaultActoin":"x"}"#, "unknown field `defaultActoin`"),
            (r#"{"syscalls":[{"names":["a"],"action":"SCMP_ACT_ALLOW"}]}"#, "defaultAction is missing"),
            (
                r#"{"defaultAction":"a","architectures":["a"],"archMap":[{"architecture":"b"}]}"#,
                "both architectures",
            ),
            (
                r#"{"defaultAction":"a","syscalls":[{"name":"a","names":["b"],"action":"c"}]}"#,
                "both name and names",
            ),
            (
                r#"{"defaultAction":"a","syscalls":[{"name":"a","action":"c","includes":{"minKernel":"x"}}]}"#,
                "minKernel",
            ),
        ] {
            assert!(of(text).unwrap_err().contains(reason), "{text}: {:?}", of(text));
        }
    }
}
