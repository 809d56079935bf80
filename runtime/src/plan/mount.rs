//! Mount entries of the specification → what to do with the kernel's descriptor-based mount API.
//!
//! Pure: names become numbers here and every contradiction is found here (config.md "Mounts",
//! mount(8), mount_setattr(2)). Nothing is mounted.

use crate::error::{Error, Kind, Result};
use crate::spec::{self, IdMapping};

const ATTR_RDONLY: u64 = 0x1;
const ATTR_NOSUID: u64 = 0x2;
const ATTR_NODEV: u64 = 0x4;
const ATTR_NOEXEC: u64 = 0x8;
const ATTR_ATIME: u64 = 0x70;
const ATTR_RELATIME: u64 = 0x0;
const ATTR_NOATIME: u64 = 0x10;
const ATTR_STRICTATIME: u64 = 0x20;
const ATTR_NODIRATIME: u64 = 0x80;
const ATTR_NOSYMFOLLOW: u64 = 0x0020_0000;

/// `MOUNT_ATTR_RDONLY`.
pub const RDONLY: u64 = ATTR_RDONLY;
/// Flags that only ever take something away: any mount may have them set, whoever it belongs to.
pub const RESTRICTIONS: u64 = ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC;

/// Flags of mount_setattr(2) to set and to clear.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `MOUNT_ATTR_…` to set.
    pub set: u64,
    /// `MOUNT_ATTR_…` to clear.
    pub clear: u64,
}

impl Attributes {
    /// Whether there is nothing to do.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// A later option wins over an earlier one about the same flag.
    fn apply(&mut self, change: Change) {
        match change {
            Change::Set(flag) => {
                self.set |= flag;
                self.clear &= !flag;
            }
            Change::Clear(flag) => {
                self.clear |= flag;
                self.set &= !flag;
            }
            Change::Atime(kind) => {
                self.set = (self.set & !ATTR_ATIME) | kind;
                self.clear |= ATTR_ATIME; // the kernel wants the whole field cleared before one is set
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Set(u64),
    Clear(u64),
    Atime(u64),
}

/// A propagation type (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propagation {
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE` or `MS_UNBINDABLE`.
    pub flag: u64,
    /// Whether the mounts below change too.
    pub recursive: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Part of the runtime's mount tree.
    Bind {
        /// Path in the runtime's mount namespace, absolute.
        source: String,
        /// Whether mounts below the source come along.
        recursive: bool,
    },
    /// A new (or shared) file system.
    Filesystem {
        /// Type for fsopen(2).
        fstype: String,
        /// fsconfig(2)'s "source".
        source: String,
        /// fsconfig(2)'s keys, with a value or as flags.
        parameters: Vec<(String, Option<String>)>,
    },
    /// The container's own cgroup as the cgroup file system.
    Cgroup,
    /// A change of the mount that is there already.
    Remount {
        /// fsconfig(2)'s keys for the file system itself; none where only mount flags change.
        parameters: Vec<(String, Option<String>)>,
    },
}

/// An id-mapped mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap {
    /// Whether mounts below are mapped too (`ridmap`).
    pub recursive: bool,
    /// Own mappings; none for the container's.
    pub own: Option<(Vec<IdMapping>, Vec<IdMapping>)>,
}

/// One mount, ready to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Position in the specification, for messages.
    pub index: usize,
    /// Path below the container's root.
    pub destination: String,
    /// What is mounted.
    pub what: What,
    /// Flags of this mount.
    pub attributes: Attributes,
    /// Flags of this mount and all below it.
    pub recursive: Attributes,
    /// Propagation changes in order.
    pub propagation: Vec<Propagation>,
    /// Whether the folder beneath is copied into the new file system (`tmpcopyup`).
    pub copy_up: bool,
    /// Whether it gets the mode of the folder it covers: a tmpfs without a `mode` of its own, as in runc.
    pub inherit_mode: bool,
    /// Id mapping.
    pub idmap: Option<IdMap>,
    /// SELinux label that its root folder gets once it is made; empty for none.
    pub root_label: String,
}

impl Mount {
    /// Whether the flags make it read-only.
    pub fn is_read_only(&self) -> bool {
        (self.attributes.set | self.recursive.set) & RDONLY != 0
    }

    /// The same mount, read-only whatever its flags say.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.attributes.set |= RDONLY;
        self.attributes.clear &= !RDONLY;
        self.recursive.clear &= !RDONLY;
        self
    }

    /// How messages call this mount.
    pub fn describe(&self) -> String {
        format!("mounts[{}] at {:?}", self.index, self.destination)
    }
}

/// What an option does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Bind {
        recursive: bool,
    },
    Remount,
    Attribute(Change),
    Recursive(Change),
    Propagate(u64, bool),
    /// A superblock flag that fsconfig(2) knows by this name.
    Superblock(&'static str),
    CopyUp,
    IdMap {
        recursive: bool,
    },
    /// Default behaviour, or a flag without effect on present kernels.
    Nothing,
}

use Change::{Atime, Clear, Set};
use Effect::{Attribute, Bind, CopyUp, IdMap as Map, Nothing, Propagate, Recursive, Superblock};

/// Every option with a meaning of its own, sorted by name; `features` lists them.
const OPTIONS: &[(&str, Effect)] = &[
    ("acl", Superblock("acl")),
    ("async", Superblock("async")),
    ("atime", Attribute(Atime(ATTR_RELATIME))),
    ("bind", Bind { recursive: false }),
    ("defaults", Nothing),
    ("dev", Attribute(Clear(ATTR_NODEV))),
    ("diratime", Attribute(Clear(ATTR_NODIRATIME))),
    ("dirsync", Superblock("dirsync")),
    ("exec", Attribute(Clear(ATTR_NOEXEC))),
    ("idmap", Map { recursive: false }),
    ("iversion", Nothing),
    ("lazytime", Superblock("lazytime")),
    ("loud", Nothing),
    ("mand", Nothing),
    ("noacl", Superblock("noacl")),
    ("noatime", Attribute(Atime(ATTR_NOATIME))),
    ("nodev", Attribute(Set(ATTR_NODEV))),
    ("nodiratime", Attribute(Set(ATTR_NODIRATIME))),
    ("noexec", Attribute(Set(ATTR_NOEXEC))),
    ("noiversion", Nothing),
    ("nolazytime", Superblock("nolazytime")),
    ("nomand", Nothing),
    ("norelatime", Attribute(Atime(ATTR_STRICTATIME))),
    ("nostrictatime", Attribute(Atime(ATTR_RELATIME))),
    ("nosuid", Attribute(Set(ATTR_NOSUID))),
    ("nosymfollow", Attribute(Set(ATTR_NOSYMFOLLOW))),
    ("private", Propagate(libc::MS_PRIVATE, false)),
    ("ratime", Recursive(Atime(ATTR_RELATIME))),
    ("rbind", Bind { recursive: true }),
    ("rdev", Recursive(Clear(ATTR_NODEV))),
    ("rdiratime", Recursive(Clear(ATTR_NODIRATIME))),
    ("relatime", Attribute(Atime(ATTR_RELATIME))),
    ("remount", Effect::Remount),
    ("rexec", Recursive(Clear(ATTR_NOEXEC))),
    ("ridmap", Map { recursive: true }),
    ("rnoatime", Recursive(Atime(ATTR_NOATIME))),
    ("rnodev", Recursive(Set(ATTR_NODEV))),
    ("rnodiratime", Recursive(Set(ATTR_NODIRATIME))),
    ("rnoexec", Recursive(Set(ATTR_NOEXEC))),
    ("rnorelatime", Recursive(Atime(ATTR_STRICTATIME))),
    ("rnostrictatime", Recursive(Atime(ATTR_RELATIME))),
    ("rnosuid", Recursive(Set(ATTR_NOSUID))),
    ("rnosymfollow", Recursive(Set(ATTR_NOSYMFOLLOW))),
    ("ro", Attribute(Set(ATTR_RDONLY))),
    ("rprivate", Propagate(libc::MS_PRIVATE, true)),
    ("rrelatime", Recursive(Atime(ATTR_RELATIME))),
    ("rro", Recursive(Set(ATTR_RDONLY))),
    ("rrw", Recursive(Clear(ATTR_RDONLY))),
    ("rshared", Propagate(libc::MS_SHARED, true)),
    ("rslave", Propagate(libc::MS_SLAVE, true)),
    ("rstrictatime", Recursive(Atime(ATTR_STRICTATIME))),
    ("rsuid", Recursive(Clear(ATTR_NOSUID))),
    ("rsymfollow", Recursive(Clear(ATTR_NOSYMFOLLOW))),
    ("runbindable", Propagate(libc::MS_UNBINDABLE, true)),
    ("rw", Attribute(Clear(ATTR_RDONLY))),
    ("shared", Propagate(libc::MS_SHARED, false)),
    ("silent", Nothing),
    ("slave", Propagate(libc::MS_SLAVE, false)),
    ("strictatime", Attribute(Atime(ATTR_STRICTATIME))),
    ("suid", Attribute(Clear(ATTR_NOSUID))),
    ("symfollow", Attribute(Clear(ATTR_NOSYMFOLLOW))),
    ("sync", Superblock("sync")),
    ("tmpcopyup", CopyUp),
    ("unbindable", Propagate(libc::MS_UNBINDABLE, false)),
];

/// The names of all options that are understood, in alphabetical order.
pub fn option_names() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|(name, _)| *name)
}

/// Flags named by one propagation word, for `linux.rootfsPropagation` (`""` is `rslave`, as runc has it).
///
/// # Errors
/// A word that names no propagation.
pub fn rootfs_propagation(word: &str) -> Result<Propagation> {
    let flag = match word.strip_prefix('r').unwrap_or(word) {
        "" | "slave" => libc::MS_SLAVE,
        "shared" => libc::MS_SHARED,
        "private" => libc::MS_PRIVATE,
        "unbindable" => libc::MS_UNBINDABLE,
        _ => {
            let text = format!("linux.rootfsPropagation: unknown value {word:?}");
            return Err(Error::new(Kind::Spec, text));
        }
    };
    Ok(Propagation { flag, recursive: word.is_empty() || word.starts_with('r') })
}

/// Everything one entry's options say, before it is known what is mounted.
#[derive(Default)]
struct Parsed {
    bind: Option<bool>,
    remount: bool,
    attributes: Attributes,
    recursive: Attributes,
    propagation: Vec<Propagation>,
    copy_up: bool,
    idmap: Option<bool>,
    superblock: Vec<&'static str>,
    data: Vec<(String, Option<String>)>,
}

fn parse_options(options: &[String]) -> Parsed {
    let mut parsed = Parsed::default();
    for option in options.iter().flat_map(|option| split_data(option)) {
        match OPTIONS.binary_search_by(|(name, _)| (*name).cmp(option)) {
            Ok(found) => parsed.take(OPTIONS[found].1),
            Err(_) if option.is_empty() => {}
            Err(_) => parsed.data.push(match option.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.trim_matches('"').to_owned())),
                None => (option.to_owned(), None),
            }),
        }
    }
    parsed
}

impl Parsed {
    fn take(&mut self, effect: Effect) {
        match effect {
            Bind { recursive } => self.bind = Some(recursive || self.bind == Some(true)),
            Effect::Remount => self.remount = true,
            Attribute(change) => self.attributes.apply(change),
            Recursive(change) => self.recursive.apply(change),
            Propagate(flag, recursive) => self.propagation.push(Propagation { flag, recursive }),
            Superblock(name) => self.superblock.push(name),
            CopyUp => self.copy_up = true,
            Map { recursive } => self.idmap = Some(recursive || self.idmap == Some(true)),
            Nothing => {}
        }
    }
}

/// Splits `mode=755,size=1m` at commas outside quotes (SELinux contexts hold commas).
fn split_data(option: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    option.split(move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
}

/// The plan of `mounts[index]`; `bundle` resolves relative bind sources. Returns warnings too.
///
/// # Errors
/// Contradictions, each with its JSON pointer.
pub fn plan(index: usize, entry: &spec::Mount, bundle: &str, label: &str) -> Result<(Mount, Vec<String>)> {
    let refuse = |what: &str| Err(Error::new(Kind::Spec, format!("mounts[{index}]{what}")));
    let mut warnings = Vec::new();
    let parsed = parse_options(&entry.options);
    if is_root(&entry.destination) && !parsed.remount {
        return refuse(".destination: the root itself cannot be covered; root.path says what it is");
    }
    let bind = parsed.bind.or((entry.kind == "bind").then_some(false));
    let what = if parsed.remount {
        let mut parameters = parsed.data;
        parameters.extend(parsed.superblock.iter().map(|name| ((*name).to_owned(), None)));
        What::Remount { parameters }
    } else if let Some(recursive) = bind {
        if entry.source.is_empty() {
            return refuse(".source: a bind mount needs a source");
        }
        let ignored =
            parsed.data.iter().map(|(key, _)| key.as_str()).chain(parsed.superblock.iter().copied());
        warnings.extend(
            ignored.map(|key| format!("mounts[{index}].options: {key:?} has no meaning for a bind mount")),
        );
        if parsed.copy_up {
            return refuse(".options: tmpcopyup needs a tmpfs, not a bind mount");
        }
        What::Bind { source: absolute(bundle, &entry.source), recursive }
    } else if entry.kind.is_empty() {
        return refuse(".type: missing, and no bind or remount in the options");
    } else if entry.kind == "cgroup" || entry.kind == "cgroup2" {
        What::Cgroup
    } else {
        if parsed.copy_up && entry.kind != "tmpfs" {
            return refuse(".options: tmpcopyup needs a tmpfs");
        }
        let parameters = filesystem_parameters(entry, &parsed, label);
        What::Filesystem { fstype: entry.kind.clone(), source: entry.source.clone(), parameters }
    };
    let has_mappings = !entry.uid_mappings.is_empty() || !entry.gid_mappings.is_empty();
    let idmap = match (parsed.idmap, has_mappings) {
        (None, false) => None,
        (recursive, own) => Some(IdMap {
            recursive: recursive == Some(true),
            own: own.then(|| (entry.uid_mappings.clone(), entry.gid_mappings.clone())),
        }),
    };
    if idmap.is_some() && !matches!(what, What::Bind { .. }) {
        return refuse(": an id mapping needs a bind mount");
    }
    let inherit_mode = match &what {
        What::Filesystem { fstype, parameters, .. } => {
            fstype == "tmpfs" && parameters.iter().all(|(key, _)| key != "mode")
        }
        _ => false,
    };
    let root_label = if entry.kind == "mqueue" && takes_label(&what) { label } else { "" }.to_owned();
    let mount = Mount {
        index,
        destination: entry.destination.clone(),
        what,
        attributes: parsed.attributes,
        recursive: parsed.recursive,
        propagation: parsed.propagation,
        copy_up: parsed.copy_up,
        inherit_mode,
        idmap,
        root_label,
    };
    Ok((mount, warnings))
}

/// Whether a file system may have the container's label, having none of its own.
fn takes_label(what: &What) -> bool {
    matches!(what, What::Filesystem { parameters, .. } if parameters.iter().all(|(key, _)| key != "context"))
}

/// Superblock parameters: the entry's data, its superblock flags, read-only where the file system has a
/// superblock of its own, and the SELinux context. A message queue takes none, since the kernel itself mounts it
/// before; procfs and sysfs are the host's and keep the labels of its policy.
fn filesystem_parameters(entry: &spec::Mount, parsed: &Parsed, label: &str) -> Vec<(String, Option<String>)> {
    let mut parameters = parsed.data.clone();
    parameters.extend(parsed.superblock.iter().map(|name| ((*name).to_owned(), None)));
    // proc, sysfs, mqueue and devpts share superblocks with others or have no use for the flag; a tmpfs
    // that is filled first becomes read-only by its mount flag alone.
    let own_superblock = !matches!(entry.kind.as_str(), "proc" | "sysfs" | "mqueue" | "devpts" | "tmpfs");
    if own_superblock && parsed.attributes.set & ATTR_RDONLY != 0 {
        parameters.push(("ro".to_owned(), None));
    }
    let has_context = parameters.iter().any(|(key, _)| key == "context");
    if !label.is_empty() && !has_context && !matches!(entry.kind.as_str(), "proc" | "sysfs" | "mqueue") {
        parameters.push(("context".to_owned(), Some(label.to_owned())));
    }
    parameters
}

/// Whether a path leads nowhere but to the root. What was mounted there would be seen by nobody: the root is
/// entered beneath it.
fn is_root(destination: &str) -> bool {
    destination.split('/').all(|name| matches!(name, "" | "." | ".."))
}

fn absolute(bundle: &str, source: &str) -> String {
    if source.starts_with('/') { source.to_owned() } else { format!("{bundle}/{source}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: &str, options: &[&str]) -> spec::Mount {
        spec::Mount {
            destination: "/x".into(),
            source: "src".into(),
            kind: kind.into(),
            options: options.iter().map(|o| (*o).to_owned()).collect(),
            ..spec::Mount::default()
        }
    }

    fn planned(kind: &str, options: &[&str]) -> Mount {
        plan(3, &entry(kind, options), "/bundle", "").unwrap().0
    }

    #[test]
    fn the_table_is_sorted_for_the_binary_search() {
        assert!(OPTIONS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn a_relative_bind_source_belongs_to_the_bundle() {
        let expected = What::Bind { source: "/bundle/src".into(), recursive: true };
        assert_eq!(planned("none", &["rbind", "ro"]).what, expected);
    }

    #[test]
    fn the_label_is_an_option_where_there_is_one_and_an_attribute_of_a_message_queue() {
        let labelled = |kind: &str, options: &[&str]| {
            let mount = plan(0, &entry(kind, options), "/bundle", "u:r:t:s0").unwrap().0;
            let What::Filesystem { parameters, .. } = mount.what else { panic!("{kind}") };
            let option = parameters.into_iter().find(|(key, _)| key == "context");
            (option.and_then(|(_, value)| value).unwrap_or_default(), mount.root_label)
        };
        let (label, none) = ("u:r:t:s0".to_owned(), String::new);
        assert_eq!(labelled("tmpfs", &[]), (label.clone(), none()));
        assert_eq!(labelled("mqueue", &["ro"]), (none(), label));
        assert_eq!(labelled("tmpfs", &["context=\"own\""]), ("own".to_owned(), none()));
        assert_eq!(labelled("mqueue", &["context=\"own\""]), ("own".to_owned(), none()));
        for kind in ["proc", "sysfs"] {
            assert_eq!(labelled(kind, &[]), (none(), none()), "{kind}");
        }
        let bind = plan(0, &entry("mqueue", &["bind"]), "/bundle", "u:r:t:s0").unwrap().0;
        assert_eq!(bind.root_label, "");
        assert_eq!(planned("mqueue", &[]).root_label, "");
    }

    #[test]
    fn the_last_word_about_a_flag_wins() {
        let attributes = planned("tmpfs", &["ro", "nosuid", "rw"]).attributes;
        assert_eq!(attributes, Attributes { set: ATTR_NOSUID, clear: ATTR_RDONLY });
    }

    #[test]
    fn an_access_time_clears_its_whole_field() {
        let attributes = planned("tmpfs", &["noatime", "strictatime"]).attributes;
        assert_eq!(attributes, Attributes { set: ATTR_STRICTATIME, clear: ATTR_ATIME });
    }

    #[test]
    fn data_keeps_commas_inside_quotes() {
        let What::Filesystem { parameters, .. } =
            planned("tmpfs", &["mode=755,size=1m", "context=\"a:b:c1,c2\"", "huge"]).what
        else {
            panic!("not a file system")
        };
        let expected: Vec<(String, Option<String>)> = vec![
            ("mode".into(), Some("755".into())),
            ("size".into(), Some("1m".into())),
            ("context".into(), Some("a:b:c1,c2".into())),
            ("huge".into(), None),
        ];
        assert_eq!(parameters, expected);
    }

    #[test]
    fn the_root_cannot_be_covered_but_remounted() {
        let at = |destination: &str, options: &[&str]| {
            let entry = spec::Mount { destination: destination.into(), ..entry("tmpfs", options) };
            plan(3, &entry, "/b", "").map_err(|error| error.to_string())
        };
        for destination in ["/", "/.", "//..", "."] {
            assert!(
                at(destination, &[]).unwrap_err().starts_with("mounts[3].destination: "),
                "{destination}"
            );
        }
        at("/", &["remount", "ro"]).unwrap();
        at("/..x", &[]).unwrap();
    }

    #[test]
    fn contradictions_name_their_field() {
        let error = |entry: &spec::Mount| plan(3, entry, "/b", "").unwrap_err().to_string();
        assert_eq!(
            error(&spec::Mount { source: String::new(), ..entry("bind", &[]) }),
            "mounts[3].source: a bind mount needs a source"
        );
        assert_eq!(
            error(&entry("", &["ro"])),
            "mounts[3].type: missing, and no bind or remount in the options"
        );
        assert_eq!(error(&entry("proc", &["tmpcopyup"])), "mounts[3].options: tmpcopyup needs a tmpfs");
        assert_eq!(error(&entry("tmpfs", &["idmap"])), "mounts[3]: an id mapping needs a bind mount");
    }

    #[test]
    fn a_device_mounted_read_only_has_a_read_only_superblock() {
        let What::Filesystem { parameters, .. } = planned("ext4", &["ro"]).what else { panic!("not ext4") };
        assert_eq!(parameters, vec![("ro".to_owned(), None)]);
    }

    #[test]
    fn recursive_and_plain_flags_stay_apart() {
        let mount = planned("none", &["rbind", "rro", "nodev", "rprivate"]);
        assert_eq!(mount.recursive, Attributes { set: ATTR_RDONLY, clear: 0 });
        assert_eq!(mount.attributes, Attributes { set: ATTR_NODEV, clear: 0 });
        assert_eq!(mount.propagation, vec![Propagation { flag: libc::MS_PRIVATE, recursive: true }]);
    }
}
