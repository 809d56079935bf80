//! `-v`, `--mount` and `--tmpfs`: what is mounted where.
//!
//! A volume with a name, or without one, is refused by name: the shim keeps no volumes yet. What stands here is text
//! alone; whether a source is there is looked at by who calls.

use crate::bundle::spec::Mount;
use crate::bundle::syntax::size;
use crate::error::{Error, Result};

const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/// What is to be mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A file or folder of the host's.
    Bind {
        /// On the host; may be relative to the caller's folder.
        source: String,
        /// It, with the options that its mount gets.
        mount: Mount,
        /// Whether a folder is made where nothing is (as `-v`, not `--mount`, does).
        make_source: bool,
        /// `z` or `Z`: SELinux is to let containers use it.
        relabel: bool,
    },
    /// A file system in memory.
    Tmpfs(Mount),
}

/// Reads `-v [SOURCE:]DESTINATION[:OPTIONS]`.
///
/// # Errors
/// Docker's words; volumes of a name or of none.
pub fn volume(text: &str) -> Result<Request> {
    let invalid = || Error::usage(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, destination, options) = match parts[..] {
        [source, destination] => (source, destination, ""),
        [source, destination, options] => (source, destination, options),
        [_] => return Err(Error::usage(format!("-v {text}: anonymous volumes are not supported yet"))),
        _ => return Err(invalid()),
    };
    if source.is_empty() || destination.is_empty() {
        return Err(invalid());
    }
    if !source.starts_with(['/', '.']) {
        return Err(Error::usage(format!(
            "-v {text}: volumes with a name are not supported yet: name a path"
        )));
    }
    let mut bind = Bind { source, destination, ..Bind::default() };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => bind.read_only = true,
            "rw" => {}
            "z" | "Z" => bind.relabel = true,
            // Words for Docker Desktop, which mean nothing on Linux.
            "consistent" | "cached" | "delegated" => {}
            option if PROPAGATIONS.contains(&option) => bind.propagation = option,
            "nocopy" => return Err(Error::usage(format!("-v {text}: nocopy is for volumes with a name"))),
            option => return Err(Error::usage(format!("invalid mode: {option}"))),
        }
    }
    bind.make_source = true;
    bind.request()
}

struct Bind<'a> {
    source: &'a str,
    destination: &'a str,
    read_only: bool,
    /// Not what is mounted below it.
    alone: bool,
    /// Read-only it is, but not what is mounted below it.
    writable_below: bool,
    propagation: &'a str,
    make_source: bool,
    relabel: bool,
}

impl Default for Bind<'_> {
    fn default() -> Self {
        Bind {
            source: "",
            destination: "",
            read_only: false,
            alone: false,
            writable_below: false,
            propagation: "rprivate",
            make_source: false,
            relabel: false,
        }
    }
}

impl Bind<'_> {
    fn request(&self) -> Result<Request> {
        if !self.destination.starts_with('/') {
            let destination = self.destination;
            return Err(Error::usage(format!(
                "invalid mount path: '{destination}' mount path must be absolute"
            )));
        }
        let mut options = vec![if self.alone { "bind" } else { "rbind" }];
        match (self.read_only, self.alone || self.writable_below) {
            // Docker since 25: what is mounted below it cannot be written to either.
            (true, false) => options.push("rro"),
            (true, true) => options.push("ro"),
            (false, _) => {}
        }
        options.push(self.propagation);
        let mount = Mount {
            destination: self.destination.to_owned(),
            kind: "bind".to_owned(),
            source: self.source.to_owned(),
            options: options.into_iter().map(str::to_owned).collect(),
        };
        let (make_source, relabel) = (self.make_source, self.relabel);
        Ok(Request::Bind { source: self.source.to_owned(), mount, make_source, relabel })
    }
}

/// Reads `--mount KEY=VALUE,…`, a line of comma-separated values.
///
/// # Errors
/// Docker's words; volumes and other types.
pub fn mount(text: &str) -> Result<Request> {
    let wrong =
        |reason: &str| Error::usage(format!("invalid argument {text:?} for \"--mount\" flag: {reason}"));
    let mut kind = "volume".to_owned();
    let fields = fields(text).ok_or_else(|| wrong("a quote is not closed"))?;
    let mut pairs: Vec<(String, Option<&str>)> = Vec::new();
    for field in &fields {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        match (key.as_str(), value) {
            ("type", Some(value)) => kind = value.to_lowercase(),
            _ => pairs.push((key, value)),
        }
    }
    match kind.as_str() {
        "bind" => mount_bind(&pairs, &wrong),
        "tmpfs" => mount_tmpfs(&pairs, &wrong),
        "volume" => Err(wrong("volumes are not supported yet: type=bind or type=tmpfs")),
        "npipe" | "cluster" | "image" => Err(wrong(&format!("mounts of type {kind} are not supported"))),
        _ => Err(wrong(&format!("unknown mount type {kind:?}"))),
    }
}

type Wrong<'a> = &'a dyn Fn(&str) -> Error;

fn mount_bind(pairs: &[(String, Option<&str>)], wrong: Wrong) -> Result<Request> {
    let mut bind = Bind::default();
    for (key, value) in pairs {
        let switch = || boolean(*value).ok_or_else(|| wrong(&format!("invalid value for {key}")));
        let value = |what: &str| {
            value.ok_or_else(|| wrong(&format!("invalid field '{what}' must be a key=value pair")))
        };
        match key.as_str() {
            "source" | "src" => bind.source = value(key)?,
            "target" | "dst" | "destination" => bind.destination = value(key)?,
            "readonly" | "ro" => bind.read_only = switch()?,
            "bind-nonrecursive" => bind.alone = switch()?,
            "bind-recursive" => match value(key)? {
                "enabled" => {}
                "disabled" => bind.alone = true,
                "writable" => bind.writable_below = true,
                "readonly" => (bind.alone, bind.writable_below) = (false, false),
                other => return Err(wrong(&format!("invalid value for bind-recursive: {other:?}"))),
            },
            "bind-propagation" => {
                let given = value(key)?;
                if !PROPAGATIONS.contains(&given) {
                    return Err(wrong(&format!("invalid propagation: {given:?}")));
                }
                bind.propagation = given;
            }
            "bind-create-src" => bind.make_source = switch()?,
            "consistency" => {}
            key => return Err(wrong(&format!("unexpected key '{key}' for type bind"))),
        }
    }
    if bind.source.is_empty() {
        return Err(wrong("source is required"));
    }
    if bind.destination.is_empty() {
        return Err(wrong("target is required"));
    }
    bind.request()
}

fn mount_tmpfs(pairs: &[(String, Option<&str>)], wrong: Wrong) -> Result<Request> {
    let (mut destination, mut extra) = ("", Vec::new());
    for (key, value) in pairs {
        let text = || value.ok_or_else(|| wrong(&format!("invalid field '{key}' must be a key=value pair")));
        match key.as_str() {
            "target" | "dst" | "destination" => destination = text()?,
            "readonly" | "ro" => {
                let on = boolean(*value).ok_or_else(|| wrong(&format!("invalid value for {key}")))?;
                extra.extend(on.then(|| "ro".to_owned()));
            }
            "tmpfs-size" => extra.push(format!("size={}", size::parse(text()?)?)),
            "tmpfs-mode" => {
                let mode = u32::from_str_radix(text()?, 8).ok().filter(|mode| *mode <= 0o7777);
                extra.push(format!("mode={:o}", mode.ok_or_else(|| wrong("invalid value for tmpfs-mode"))?));
            }
            "source" | "src" => return Err(wrong("source must not be specified")),
            "consistency" => {}
            key => return Err(wrong(&format!("unexpected key '{key}' for type tmpfs"))),
        }
    }
    if destination.is_empty() {
        return Err(wrong("target is required"));
    }
    tmpfs(&format!("{destination}:{}", extra.join(",")))
}

fn boolean(value: Option<&str>) -> Option<bool> {
    match value {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Some(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Some(false),
        Some(_) => None,
    }
}

/// Reads `--tmpfs DESTINATION[:OPTIONS]`; Docker's `noexec,nosuid,nodev` hold where nothing else is said.
///
/// # Errors
/// An option that tmpfs(5) and mount(8) do not know.
pub fn tmpfs(text: &str) -> Result<Request> {
    let (destination, given) = text.split_once(':').unwrap_or((text, ""));
    if !destination.starts_with('/') {
        return Err(Error::usage(format!("invalid mount path: '{destination}' mount path must be absolute")));
    }
    // The last of two that contradict each other counts.
    let opposites = [
        ["ro", "rw"],
        ["nosuid", "suid"],
        ["nodev", "dev"],
        ["noexec", "exec"],
        ["sync", "async"],
        ["noatime", "atime"],
    ];
    let mut options = ["noexec", "nosuid", "nodev"].map(str::to_owned).to_vec();
    for option in given.split(',').filter(|option| !option.is_empty()) {
        let replaced: Vec<&str> = match option.split_once('=') {
            None => opposites
                .iter()
                .find(|pair| pair.contains(&option))
                .map(|pair| pair.to_vec())
                .unwrap_or_default(),
            Some(_) => Vec::new(),
        };
        let known = match option.split_once('=') {
            None => {
                !replaced.is_empty()
                    || matches!(option, "strictatime" | "relatime" | "nodiratime" | "diratime")
            }
            Some((key, value)) => {
                let is_key = matches!(
                    key,
                    "size" | "mode" | "uid" | "gid" | "nr_inodes" | "nr_blocks" | "mpol" | "huge"
                );
                options.retain(|known| known.split_once('=').is_none_or(|(other, _)| other != key));
                is_key && !value.is_empty()
            }
        };
        if !known {
            return Err(Error::usage(format!("Invalid tmpfs option {option:?}")));
        }
        options.retain(|known| !replaced.contains(&known.as_str()) && known != option);
        options.push(option.to_owned());
    }
    options.push("rprivate".to_owned());
    Ok(Request::Tmpfs(Mount {
        destination: destination.to_owned(),
        kind: "tmpfs".to_owned(),
        source: "tmpfs".to_owned(),
        options,
    }))
}

/// The fields of a line of comma-separated values (RFC 4180): quotes hold commas, two are one. None for an open one.
pub(crate) fn fields(text: &str) -> Option<Vec<String>> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            char => field.push(char),
        }
    }
    fields.push(field);
    (!quoted).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(request: Result<Request>) -> std::result::Result<(String, String, String), String> {
        let mount = match request.map_err(|error| error.to_string())? {
            Request::Bind { mount, .. } | Request::Tmpfs(mount) => mount,
        };
        Ok((mount.source, mount.destination, mount.options.join(",")))
    }

    fn is(
        source: &str,
        destination: &str,
        options: &str,
    ) -> std::result::Result<(String, String, String), String> {
        Ok((source.to_owned(), destination.to_owned(), options.to_owned()))
    }

    #[test]
    fn volumes_are_binds_of_paths() {
        assert_eq!(options(volume("/a:/b")), is("/a", "/b", "rbind,rprivate"));
        assert_eq!(options(volume("/a:/b:ro,rslave")), is("/a", "/b", "rbind,rro,rslave"));
        assert_eq!(options(volume("./a:/b:rw,cached")), is("./a", "/b", "rbind,rprivate"));
        assert!(matches!(volume("/a:/b:Z").unwrap(), Request::Bind { relabel: true, make_source: true, .. }));
        for (text, reason) in [
            ("name:/b", "volumes with a name are not supported yet"),
            ("/b", "anonymous volumes are not supported yet"),
            ("/a:b", "'b' mount path must be absolute"),
            ("/a:", "invalid volume specification"),
            (":/b", "invalid volume specification"),
            ("/a:/b:ro:x", "invalid volume specification"),
            ("/a:/b:nope", "invalid mode: nope"),
            ("/a:/b:nocopy", "nocopy"),
        ] {
            assert!(options(volume(text)).unwrap_err().contains(reason), "{text}");
        }
    }

    #[test]
    fn mounts_are_read_key_by_key() {
        assert_eq!(options(mount("type=bind,src=/a,dst=/b")), is("/a", "/b", "rbind,rprivate"));
        assert_eq!(
            options(mount("type=bind,\"source=/a,x\",target=/b,readonly")),
            is("/a,x", "/b", "rbind,rro,rprivate")
        );
        let alone = "TYPE=bind,src=/a,dst=/b,ro=true,bind-recursive=disabled,bind-propagation=private";
        assert_eq!(options(mount(alone)), is("/a", "/b", "bind,ro,private"));
        assert_eq!(
            options(mount("type=bind,src=/a,dst=/b,ro,bind-recursive=writable")),
            is("/a", "/b", "rbind,ro,rprivate")
        );
        assert!(matches!(
            mount("type=bind,src=/a,dst=/b").unwrap(),
            Request::Bind { make_source: false, .. }
        ));
        let memory = "type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=1770,ro";
        assert_eq!(
            options(mount(memory)),
            is("tmpfs", "/t", "noexec,nosuid,nodev,size=1048576,mode=1770,ro,rprivate")
        );
        for (text, reason) in [
            ("src=a,dst=/b", "volumes are not supported yet"),
            ("type=volume,dst=/b", "volumes are not supported yet"),
            ("type=x", "unknown mount type"),
            ("type=bind,dst=/b", "source is required"),
            ("type=bind,src=/a", "target is required"),
            ("type=bind,src=/a,dst=b", "must be absolute"),
            ("type=bind,src=/a,dst=/b,foo=1", "unexpected key 'foo'"),
            ("type=bind,src=/a,dst=/b,ro=x", "invalid value for ro"),
            ("type=bind,src,dst=/b", "must be a key=value pair"),
            ("type=bind,\"src=/a", "a quote is not closed"),
            ("type=tmpfs,src=/a,dst=/b", "source must not be specified"),
            ("type=tmpfs,dst=/b,tmpfs-mode=9", "invalid value for tmpfs-mode"),
        ] {
            assert!(options(mount(text)).unwrap_err().contains(reason), "{text}: {:?}", options(mount(text)));
        }
    }

    #[test]
    fn a_tmpfs_has_dockers_options_unless_told_otherwise() {
        assert_eq!(options(tmpfs("/t")), is("tmpfs", "/t", "noexec,nosuid,nodev,rprivate"));
        assert_eq!(
            options(tmpfs("/t:exec,size=64m,mode=755,size=1m")),
            is("tmpfs", "/t", "nosuid,nodev,exec,mode=755,size=1m,rprivate")
        );
        assert_eq!(options(tmpfs("/t:ro,rw,nosuid")), is("tmpfs", "/t", "noexec,nodev,rw,nosuid,rprivate"));
        for text in ["/t:foo", "/t:size=", "/t:lowerdir=/", "t"] {
            assert!(options(tmpfs(text)).is_err(), "{text}");
        }
    }
}
