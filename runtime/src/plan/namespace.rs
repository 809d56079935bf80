//! Which namespaces are made and which are joined (config-linux.md "Namespaces", namespaces(7)).

use crate::error::{Error, Kind, Result};
use crate::spec::{self, IdMapping};

/// A kind of namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// mount_namespaces(7)
    Mount,
    /// pid_namespaces(7)
    Pid,
    /// network_namespaces(7)
    Network,
    /// uts_namespaces(7)
    Uts,
    /// ipc_namespaces(7)
    Ipc,
    /// user_namespaces(7)
    User,
    /// cgroup_namespaces(7)
    Cgroup,
    /// time_namespaces(7)
    Time,
}

impl Namespace {
    /// All kinds by their names in the specification.
    pub const ALL: [(&'static str, Self); 8] = [
        ("cgroup", Self::Cgroup),
        ("ipc", Self::Ipc),
        ("mount", Self::Mount),
        ("network", Self::Network),
        ("pid", Self::Pid),
        ("time", Self::Time),
        ("user", Self::User),
        ("uts", Self::Uts),
    ];

    /// The `CLONE_NEW…` flag.
    pub fn flag(self) -> i32 {
        match self {
            Self::Mount => libc::CLONE_NEWNS,
            Self::Pid => libc::CLONE_NEWPID,
            Self::Network => libc::CLONE_NEWNET,
            Self::Uts => libc::CLONE_NEWUTS,
            Self::Ipc => libc::CLONE_NEWIPC,
            Self::User => libc::CLONE_NEWUSER,
            Self::Cgroup => libc::CLONE_NEWCGROUP,
            Self::Time => 0x80, // CLONE_NEWTIME
        }
    }

    /// Its name below /proc/PID/ns.
    pub fn file(self) -> &'static str {
        match self {
            Self::Mount => "mnt",
            Self::Network => "net",
            _ => Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name),
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }
}

/// A namespace to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// Position in `linux.namespaces`, for messages.
    pub index: usize,
    /// Its kind.
    pub kind: Namespace,
    /// Path of the namespace file in the runtime's mount namespace.
    pub path: String,
}

/// The container's namespaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Kinds that are made, as `CLONE_NEW…` flags.
    pub new: i32,
    /// Namespaces that are joined.
    pub join: Vec<Join>,
    /// Mappings of the new user namespace.
    pub uid_mappings: Vec<IdMapping>,
    /// Mappings of the new user namespace.
    pub gid_mappings: Vec<IdMapping>,
    /// Lines for /proc/PID/timens_offsets; empty for none.
    pub time_offsets: String,
    /// Whether the runtime itself is in a user namespace.
    pub runtime_is_inside: bool,
}

impl Namespaces {
    /// Whether a namespace of this kind is made.
    pub fn is_new(&self, kind: Namespace) -> bool {
        self.new & kind.flag() != 0
    }

    /// Whether one is joined by path.
    pub fn is_joined(&self, kind: Namespace) -> bool {
        self.join.iter().any(|join| join.kind == kind)
    }

    /// The host's number of a user of the new user namespace, `None` where it has none.
    pub fn host_uid(&self, uid: u32) -> Option<u32> {
        on_host(&self.uid_mappings, uid)
    }

    /// Whether the container does not share the runtime's.
    pub fn is_own(&self, kind: Namespace) -> bool {
        self.is_new(kind) || self.is_joined(kind)
    }

    /// The kinds that the container does not share with the runtime, as far as the configuration tells.
    pub fn own(&self) -> impl Iterator<Item = Namespace> {
        Namespace::ALL.into_iter().map(|(_, kind)| kind).filter(|kind| self.is_own(*kind))
    }

    /// Whether a second process has to stand between the runtime and the container's init.
    ///
    /// A joined pid namespace only takes children, and what is joined beside a user namespace must be
    /// joined with the runtime's rights, before those are given up; neither can be done by the runtime
    /// itself without losing its own place, nor by init after it is born.
    pub fn need_intermediate(&self) -> bool {
        self.is_joined(Namespace::Pid) || (self.is_own(Namespace::User) && !self.join.is_empty())
    }

    /// Whether device nodes are bound from the host: in a user namespace nobody may make one (mknod(2)).
    pub fn binds_devices(&self) -> bool {
        self.is_in_user_namespace()
    }

    /// Whether the container is in a user namespace, its own or the runtime's.
    pub fn is_in_user_namespace(&self) -> bool {
        self.is_own(Namespace::User) || self.runtime_is_inside
    }

    /// Flags for clone3(2): all but the cgroup namespace, which must be made from inside the new cgroup,
    /// a network namespace that the runtime makes meanwhile, and a time namespace that gets offsets first.
    pub fn clone_flags(&self) -> i32 {
        let mut flags = self.new & !Namespace::Cgroup.flag();
        if self.network_by_parent() {
            flags &= !Namespace::Network.flag();
        }
        if !self.time_offsets.is_empty() {
            flags &= !Namespace::Time.flag();
        }
        flags
    }

    /// Whether the runtime makes the network namespace while init mounts.
    ///
    /// Making one takes the kernel longer than all other namespaces together. With a user namespace it
    /// must be made inside that, by init; and from within a user namespace the runtime could not come back to the
    /// host's network. With offsets of clocks init waits for an answer before it is ready
    /// for the network: two messages that are sent unasked would meet.
    pub fn network_by_parent(&self) -> bool {
        self.is_new(Namespace::Network)
            && !self.is_own(Namespace::User)
            && !self.runtime_is_inside
            && !self.need_intermediate()
            && self.time_offsets.is_empty()
    }
}

/// The number outside of an id that these mappings have.
pub fn on_host(mappings: &[IdMapping], id: u32) -> Option<u32> {
    mappings.iter().find_map(|map| {
        let offset = id.checked_sub(map.container_id).filter(|offset| *offset < map.size)?;
        map.host_id.checked_add(offset)
    })
}

/// The plan of `linux.namespaces`, mappings and time offsets.
///
/// # Errors
/// Unknown and repeated kinds, with their place.
pub fn plan(linux: &spec::Linux) -> Result<Namespaces> {
    let mut namespaces = Namespaces {
        uid_mappings: linux.uid_mappings.clone(),
        gid_mappings: linux.gid_mappings.clone(),
        ..Namespaces::default()
    };
    for (index, entry) in linux.namespaces.iter().enumerate() {
        let refuse = |what: &str| {
            Error::new(Kind::Spec, format!("linux.namespaces[{index}].type: {what} {:?}", entry.kind))
        };
        let kind = Namespace::named(&entry.kind).ok_or_else(|| refuse("unknown namespace type"))?;
        if namespaces.is_own(kind) {
            return Err(refuse("duplicated namespace"));
        }
        if entry.path.is_empty() {
            namespaces.new |= kind.flag();
        } else {
            namespaces.join.push(Join { index, kind, path: entry.path.clone() });
        }
    }
    // A user namespace is joined last: before it the runtime's rights still count.
    namespaces.join.sort_by_key(|join| join.kind == Namespace::User);
    for (clock, offset) in &linux.time_offsets {
        namespaces.time_offsets += &format!("{clock} {} {}\n", offset.secs, offset.nanosecs);
    }
    Ok(namespaces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linux(namespaces: &[(&str, &str)]) -> spec::Linux {
        let entry =
            |(kind, path): &(&str, &str)| spec::Namespace { kind: (*kind).into(), path: (*path).into() };
        spec::Linux { namespaces: namespaces.iter().map(entry).collect(), ..spec::Linux::default() }
    }

    #[test]
    fn one_clone_does_it_where_nothing_is_joined_into() {
        let plan =
            plan(&linux(&[("pid", ""), ("mount", ""), ("network", "/run/netns/x"), ("cgroup", "")])).unwrap();
        assert!(!plan.need_intermediate());
        assert_eq!(plan.clone_flags(), libc::CLONE_NEWPID | libc::CLONE_NEWNS);
    }

    #[test]
    fn a_joined_pid_namespace_or_anything_beside_a_user_namespace_needs_a_second_process() {
        assert!(plan(&linux(&[("pid", "/proc/1/ns/pid")])).unwrap().need_intermediate());
        assert!(plan(&linux(&[("user", ""), ("network", "/n")])).unwrap().need_intermediate());
        assert!(!plan(&linux(&[("user", ""), ("network", "")])).unwrap().need_intermediate());
    }

    #[test]
    fn the_user_namespace_is_joined_last() {
        let plan = plan(&linux(&[("user", "/u"), ("network", "/n"), ("ipc", "/i")])).unwrap();
        assert_eq!(plan.join.last().map(|join| join.kind), Some(Namespace::User));
    }

    #[test]
    fn the_network_is_made_meanwhile_except_inside_a_user_namespace() {
        assert!(plan(&linux(&[("network", "")])).unwrap().network_by_parent());
        assert!(!plan(&linux(&[("network", ""), ("user", "")])).unwrap().network_by_parent());
        let mut shifted = linux(&[("network", ""), ("time", "")]);
        shifted.time_offsets.insert("monotonic".into(), spec::TimeOffset { secs: 1, nanosecs: 0 });
        assert!(!plan(&shifted).unwrap().network_by_parent());
    }

    #[test]
    fn errors_name_the_entry() {
        let error = plan(&linux(&[("pid", ""), ("pid", "")])).unwrap_err().to_string();
        assert_eq!(error, "linux.namespaces[1].type: duplicated namespace \"pid\"");
        let error = plan(&linux(&[("disk", "")])).unwrap_err().to_string();
        assert_eq!(error, "linux.namespaces[0].type: unknown namespace type \"disk\"");
    }
}
