//! What of the host decides about a document: plain facts, read elsewhere (`host`), so that this module stays pure.

use crate::bundle::defaults;
use crate::bundle::spec::{Device, IdMapping};

/// The facts.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)]
pub struct Host {
    /// GOARCH, such as `amd64`.
    pub architecture: String,
    /// Version of the kernel: 6, 12.
    pub kernel: (u32, u32),
    /// Number of the last capability that it knows.
    pub last_capability: usize,
    /// Processors.
    pub cpus: u32,
    /// Its own name.
    pub hostname: String,
    /// AppArmor is enabled.
    pub apparmor: bool,
    /// … and knows Docker's profile.
    pub apparmor_has_default: bool,
    /// SELinux is enabled.
    pub selinux: bool,
    /// Is there /dev/mqueue, for containers with the host's IPC namespace?
    pub has_mqueue: bool,
    /// Folders of processors that have such a thing.
    pub thermal_throttles: Vec<String>,
    /// All devices, for who is privileged.
    pub devices: Vec<Device>,
    /// Which ids an ordinary user's containers have; None for root.
    pub user: Option<UserMappings>,
}

/// Which ids an ordinary user's containers have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserMappings {
    /// Of users.
    pub uids: Vec<IdMapping>,
    /// Of groups.
    pub gids: Vec<IdMapping>,
    /// The runtime is in that user namespace already, and so are its containers: there is no other for them.
    pub is_entered: bool,
}

impl Host {
    /// The names of the capabilities that the kernel knows, by number.
    #[must_use]
    pub fn capabilities(&self) -> &'static [&'static str] {
        let count = (self.last_capability + 1).min(defaults::ALL_CAPABILITIES.len());
        &defaults::ALL_CAPABILITIES[..count]
    }
}

impl UserMappings {
    /// Is there no group but the user's own?
    #[must_use]
    pub fn is_alone(&self) -> bool {
        matches!(self.gids[..], [own] if own.size == 1)
    }

    /// Is there such a group inside?
    #[must_use]
    pub fn has_group(&self, gid: u32) -> bool {
        has(&self.gids, gid)
    }

    /// Is there such a user inside?
    #[must_use]
    pub fn has_user(&self, uid: u32) -> bool {
        has(&self.uids, uid)
    }
}

fn has(mappings: &[IdMapping], id: u32) -> bool {
    mappings.iter().any(|map| id.checked_sub(map.container_id).is_some_and(|behind| behind < map.size))
}

#[cfg(test)]
impl Host {
    /// A host for tests.
    #[must_use]
    pub fn plain() -> Host {
        Host {
            architecture: "amd64".to_owned(),
            kernel: (6, 12),
            last_capability: 40,
            cpus: 8,
            hostname: "outside".to_owned(),
            apparmor: false,
            apparmor_has_default: false,
            selinux: false,
            has_mqueue: true,
            thermal_throttles: Vec::new(),
            devices: Vec::new(),
            user: None,
        }
    }
}
