//! The files that tell a container's programs of its networks: its own addresses in /etc/hosts.
//!
//! They are bound over files of its root, so they are written in place: a file that took the name would not be seen inside.
//! They lie in our own folder, and nothing of the container decides which they are.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use crate::container::ContainerId;
use crate::container::hosts;
use crate::container::record::Container;
use crate::container::store::Containers;
use crate::error::{Context, Error, Kind, Result};
use crate::network::EndpointState;

/// Writes them for a container that is in these networks.
///
/// # Errors
/// The system's reason.
pub fn write(
    containers: &Containers,
    container: &Container,
    networks: &BTreeMap<String, EndpointState>,
) -> Result<()> {
    let folder = containers.folder(&ContainerId::parse(&container.id)?);
    let text = hosts_file(container, networks)?;
    let path = folder.join("hosts");
    let open = OpenOptions::new().write(true).truncate(true).custom_flags(libc_flags()).open(&path);
    match open {
        // Removed by somebody else.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::new(Kind::NotFound, format!("{path:?} is gone")))
        }
        open => {
            let words = || format!("write {path:?}");
            open.during(words)?.write_all(text.as_bytes()).during(words)
        }
    }
}

fn libc_flags() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()
}

/// What /etc/hosts says: what it always does, what the user has added, and the container's own addresses.
fn hosts_file(container: &Container, networks: &BTreeMap<String, EndpointState>) -> Result<String> {
    let extra = container.host_config.extra_hosts.iter().flatten();
    let extra = extra.map(|text| hosts::extra(text)).collect::<Result<Vec<_>>>()?;
    let mut text = hosts::hosts(None, &extra);
    let (host, domain) = (&container.config.hostname, &container.config.domainname);
    let names = if domain.is_empty() { host.clone() } else { format!("{host}.{domain} {host}") };
    for state in networks.values() {
        for address in [&state.ip_address, &state.global_ipv6_address] {
            if !address.is_empty() {
                text.push_str(&format!("{address}\t{names}\n"));
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::listing::tests::container;

    #[test]
    fn its_own_addresses_are_behind_what_the_user_has_added() {
        let mut container = container("web");
        container.config.hostname = "web".to_owned();
        container.host_config.extra_hosts = Some(vec!["db:10.0.0.9".to_owned()]);
        let mut networks = BTreeMap::new();
        let state = EndpointState {
            ip_address: "172.30.0.2".to_owned(),
            global_ipv6_address: "fd00::2".to_owned(),
            ..EndpointState::default()
        };
        networks.insert("one".to_owned(), state);
        let text = hosts_file(&container, &networks).unwrap();
        assert!(text.ends_with("10.0.0.9\tdb\n172.30.0.2\tweb\nfd00::2\tweb\n"), "{text}");
        container.config.domainname = "example.org".to_owned();
        let text = hosts_file(&container, &networks).unwrap();
        assert!(text.ends_with("\nfd00::2\tweb.example.org web\n"), "{text}");
    }
}
