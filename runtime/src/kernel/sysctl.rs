//! Sets kernel parameters of the container's namespaces, through a procfs that cannot be forged.
//!
//! The calling process is inside those namespaces: `sys` of any procfs shows those of who looks. sysctl(2)'s
//! successor is described in Documentation/admin-guide/sysctl of the kernel.

use crate::error::{Context, Result};
use crate::kernel::procfs::Procfs;
use crate::plan::sysctl::Sysctl;

/// Sets `sysctls` in their order. `procfs` shows [`Need::Everything`](super::procfs::Need::Everything).
///
/// # Errors
/// ENOENT for a parameter this kernel does not have, EINVAL for a value it refuses.
pub fn apply(procfs: &Procfs, sysctls: &[Sysctl]) -> Result<()> {
    for sysctl in sysctls {
        // A write of nothing would change nothing: a line without text empties a parameter.
        let value = if sysctl.value.is_empty() { "\n" } else { &sysctl.value };
        procfs.write(&sysctl.path, value).context(|| format!("linux.sysctl[{:?}]", sysctl.key))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::kernel::procfs::Need;
    use crate::kernel::throwaway::alone;
    use crate::plan::sysctl::{Own, sysctls};

    fn set(pairs: &[(&str, &str)]) -> Result<()> {
        let document: BTreeMap<_, _> =
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let sysctls = sysctls(&document, Own { ipc: true, network: true, uts: true }).unwrap();
        apply(&Procfs::private(Need::Everything).unwrap(), &sysctls)
    }

    fn read(file: &str) -> String {
        std::fs::read_to_string(format!("/proc/sys/{file}")).unwrap().trim_end().to_owned()
    }

    #[test]
    fn parameters_of_own_namespaces_are_set_and_the_host_s_stay() {
        let files = ["net/ipv4/ip_forward", "kernel/msgmax", "kernel/sem", "kernel/domainname"];
        let before = files.map(read);
        if alone(
            "kernel::sysctl::tests::parameters_of_own_namespaces_are_set_and_the_host_s_stay",
            &["--net", "--ipc", "--uts", "--mount"],
        ) {
            set(&[
                ("net.ipv4.ip_forward", "1"),
                ("kernel.msgmax", "4321"),
                ("kernel/sem", "111 22222 33 44"),
                ("kernel.domainname", "caisson.test"),
            ])
            .unwrap();
            assert_eq!(files.map(read), ["1", "4321", "111\t22222\t33\t44", "caisson.test"]);
            set(&[("kernel.domainname", "")]).unwrap();
            assert_eq!(read("kernel/domainname"), "");
        } else {
            assert_eq!(files.map(read), before);
        }
    }

    #[test]
    fn a_refusal_names_the_parameter() {
        if !alone("kernel::sysctl::tests::a_refusal_names_the_parameter", &["--net", "--mount"]) {
            return;
        }
        assert_eq!(
            set(&[("net.no.such", "1")]).unwrap_err().to_string(),
            "linux.sysctl[\"net.no.such\"]: openat2(\"/proc/sys/net/no/such\"): no such file or directory (ENOENT)"
        );
        for value in ["many", ""] {
            assert_eq!(
                set(&[("net.ipv4.ip_forward", value)]).unwrap_err().to_string(),
                "linux.sysctl[\"net.ipv4.ip_forward\"]: write(\"/proc/sys/net/ipv4/ip_forward\"): \
                 invalid argument (EINVAL)"
            );
        }
    }

    #[test]
    fn a_file_mounted_over_a_parameter_is_not_written() {
        if !alone(
            "kernel::sysctl::tests::a_file_mounted_over_a_parameter_is_not_written",
            &["--net", "--mount"],
        ) {
            return;
        }
        let (source, target) = ("/proc/sys/net/core/somaxconn", "/proc/sys/net/ipv4/ip_forward");
        let flags = nix::mount::MsFlags::MS_BIND;
        nix::mount::mount(Some(source), target, None::<&str>, flags, None::<&str>).unwrap();
        let before = read("net/core/somaxconn");
        set(&[("net.ipv4.ip_forward", "1")]).unwrap();
        assert_eq!(read("net/core/somaxconn"), before);
        let through_host = sysctls(
            &BTreeMap::from([("net.ipv4.ip_forward".to_owned(), "1".to_owned())]),
            Own { network: true, ..Own::default() },
        );
        let error = apply(&Procfs::host().unwrap(), &through_host.unwrap()).unwrap_err();
        assert_eq!(error.errno(), libc::EXDEV);
        nix::mount::umount(target).unwrap();
        assert_eq!(read("net/ipv4/ip_forward"), "1", "the private procfs wrote the parameter that was meant");
    }
}
