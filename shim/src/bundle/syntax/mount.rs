//! `--mount KEY=VALUE,…`: what is mounted where, as Docker's API has it, and what that comes to.
//!
//! What stands here is text alone; whether a source is there is looked at by who calls.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bundle::process::clean;
use crate::bundle::spec::Mount;
use crate::bundle::syntax::{size, tmpfs};
use crate::error::{Error, Result};

/// What mounts below a bind may spread to.
pub(super) const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/// What is to be mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A file or folder of the host's.
    Bind {
        /// It, with the options that its mount gets; the source may be relative to the caller's folder.
        mount: Mount,
        /// Whether a folder is made where nothing is (as `-v`, not `--mount`, does).
        make_source: bool,
        /// Whether SELinux is to let containers use it.
        relabel: Relabel,
    },
    /// A file system in memory.
    Tmpfs(Mount),
    /// A volume.
    Volume(Volume),
}

/// Which label SELinux is to see: `z`, `Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Relabel {
    /// Whatever is there.
    #[default]
    No,
    /// One that all containers may use.
    Shared,
    /// This container's own.
    Own,
}

/// A volume at a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Empty for one that nobody names.
    pub name: String,
    /// Its place and options; the source is known when there is the volume.
    pub mount: Mount,
    /// What the image has at its place is copied into a new one.
    pub copy: bool,
    /// What of it is seen; empty for all.
    pub subpath: String,
    /// Of a new one.
    pub labels: BTreeMap<String, String>,
    /// Of a new one: the driver's.
    pub options: BTreeMap<String, String>,
    /// Whether SELinux is to let containers use it.
    pub relabel: Relabel,
}

/// `--mount`, as Docker's API has it: `HostConfig.Mounts` of `inspect`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct MountRequest {
    /// `bind`, `tmpfs`, `volume`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Of the host, or a volume's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Inside.
    pub target: String,
    /// Nobody writes to it.
    #[serde(skip_serializing_if = "is_false")]
    pub read_only: bool,
    /// Of Docker Desktop; it means nothing on Linux.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub consistency: String,
    /// Of binds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_options: Option<BindOptions>,
    /// Of volumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_options: Option<VolumeOptions>,
    /// Of file systems in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs_options: Option<TmpfsOptions>,
}

/// `bind-…`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(clippy::struct_excessive_bools)]
pub struct BindOptions {
    /// `rprivate`, …
    #[serde(skip_serializing_if = "String::is_empty")]
    pub propagation: String,
    /// Not what is mounted below it.
    #[serde(skip_serializing_if = "is_false")]
    pub non_recursive: bool,
    /// A folder is made where nothing is.
    #[serde(skip_serializing_if = "is_false")]
    pub create_mountpoint: bool,
    /// Read-only it is, but not what is mounted below it.
    #[serde(skip_serializing_if = "is_false")]
    pub read_only_non_recursive: bool,
    /// All of it is read-only, or the container is not started.
    #[serde(skip_serializing_if = "is_false")]
    pub read_only_force_recursive: bool,
}

/// `volume-…`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumeOptions {
    /// What the image has there is not copied.
    #[serde(skip_serializing_if = "is_false")]
    pub no_copy: bool,
    /// Of a new one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What of it is seen.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subpath: String,
    /// Of a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_config: Option<DriverConfig>,
}

/// Which driver a volume has, and what it is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DriverConfig {
    /// `local`, or nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `volume-opt`
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// `tmpfs-…`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct TmpfsOptions {
    /// 0 is without limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub size_bytes: i64,
    /// Of its folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

// serde passes references.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !*value
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// Reads `--mount KEY=VALUE,…`, a line of comma-separated values.
///
/// # Errors
/// Docker's words.
pub fn mount(text: &str) -> Result<MountRequest> {
    let wrong =
        |reason: &str| Error::usage(format!("invalid argument {text:?} for \"--mount\" flag: {reason}"));
    let mut request = MountRequest { kind: "volume".to_owned(), ..MountRequest::default() };
    for field in fields(text).ok_or_else(|| wrong("a quote is not closed"))? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        read_field(&mut request, &key, value).map_err(|reason| match reason {
            Reason::Value => wrong(&format!("invalid value for {key}: {}", value.unwrap_or_default())),
            Reason::Pair => wrong(&format!("invalid field '{field}' must be a key=value pair")),
            Reason::Key => wrong(&format!("unexpected key '{key}' in '{field}'")),
            Reason::Words(words) => wrong(&words),
        })?;
    }
    check(&request).map_err(|words| wrong(&words))?;
    Ok(request)
}

/// Why a field means nothing.
enum Reason {
    Value,
    Pair,
    Key,
    Words(String),
}

fn read_field(request: &mut MountRequest, key: &str, value: Option<&str>) -> std::result::Result<(), Reason> {
    let switch = || match value {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(_) => Err(Reason::Value),
    };
    // The keys that are switches.
    match key {
        "readonly" | "ro" => return switch().map(|on| request.read_only = on),
        "volume-nocopy" => return switch().map(|on| request.volume().no_copy = on),
        "bind-nonrecursive" => return switch().map(|on| request.bind().non_recursive = on),
        "bind-create-src" => return switch().map(|on| request.bind().create_mountpoint = on),
        _ => {}
    }
    let value = value.ok_or(Reason::Pair)?;
    let text = || value.to_owned();
    match key {
        "type" => request.kind = value.to_lowercase(),
        "source" | "src" => request.source = text(),
        "target" | "dst" | "destination" => request.target = text(),
        "consistency" => request.consistency = value.to_lowercase(),
        "bind-propagation" => request.bind().propagation = value.to_lowercase(),
        "bind-recursive" => match value {
            "enabled" => {}
            "disabled" => request.bind().non_recursive = true,
            "writable" => request.bind().read_only_non_recursive = true,
            "readonly" => request.bind().read_only_force_recursive = true,
            _ => {
                let known = "must be \"enabled\", \"disabled\", \"writable\", or \"readonly\"";
                return Err(Reason::Words(format!("invalid value for {key}: {value} ({known})")));
            }
        },
        "volume-subpath" => request.volume().subpath = text(),
        "volume-label" => {
            let (name, value) = value.split_once('=').unwrap_or((value, ""));
            request.volume().labels.insert(name.to_owned(), value.to_owned());
        }
        "volume-driver" => request.driver().name = text(),
        "volume-opt" => {
            let (name, value) = value.split_once('=').unwrap_or((value, ""));
            request.driver().options.insert(name.to_owned(), value.to_owned());
        }
        "tmpfs-size" => request.tmpfs().size_bytes = size::parse(value).map_err(|_| Reason::Value)?,
        "tmpfs-mode" => {
            let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
            request.tmpfs().mode = Some(mode.ok_or(Reason::Value)?);
        }
        _ => return Err(Reason::Key),
    }
    Ok(())
}

impl MountRequest {
    fn bind(&mut self) -> &mut BindOptions {
        self.bind_options.get_or_insert_default()
    }

    fn volume(&mut self) -> &mut VolumeOptions {
        self.volume_options.get_or_insert_default()
    }

    fn driver(&mut self) -> &mut DriverConfig {
        self.volume().driver_config.get_or_insert_default()
    }

    fn tmpfs(&mut self) -> &mut TmpfsOptions {
        self.tmpfs_options.get_or_insert_default()
    }
}

/// What fits together.
fn check(request: &MountRequest) -> std::result::Result<(), String> {
    let kind = request.kind.as_str();
    match kind {
        "npipe" | "cluster" | "image" => return Err(format!("mounts of type {kind} are not supported")),
        "" => return Err("type is required".to_owned()),
        _ => {}
    }
    if request.target.is_empty() {
        return Err("target is required".to_owned());
    }
    for (options, is_given) in [
        ("volume", request.volume_options.is_some()),
        ("bind", request.bind_options.is_some()),
        ("tmpfs", request.tmpfs_options.is_some()),
    ] {
        if is_given && kind != options {
            return Err(format!("cannot mix '{options}-*' options with mount type '{kind}'"));
        }
    }
    match &request.bind_options {
        Some(bind) if bind.read_only_force_recursive && !request.read_only => {
            Err("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction".to_owned())
        }
        Some(bind) if bind.read_only_force_recursive && bind.propagation != "rprivate" => Err(
            "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
                .to_owned(),
        ),
        _ => Ok(()),
    }
}

/// What a request comes to.
///
/// # Errors
/// What cannot be, in the words of Docker's daemon.
pub fn request(asked: &MountRequest) -> Result<Request> {
    let kind = &asked.kind;
    let wrong = |reason: &str| Error::invalid(format!("invalid mount config for type {kind:?}: {reason}"));
    if !asked.target.starts_with('/') {
        let target = &asked.target;
        return Err(wrong(&format!("invalid mount path: '{target}' mount path must be absolute")));
    }
    if clean(&asked.target) == "/" {
        return Err(wrong("invalid specification: destination can't be '/'"));
    }
    match kind.as_str() {
        "bind" => {
            if asked.source.is_empty() {
                return Err(wrong("field Source must not be empty"));
            }
            let source = &asked.source;
            if !(source.starts_with(['/']) || source == "." || source.starts_with("./")) {
                return Err(wrong(&format!("invalid mount path: '{source}' mount path must be absolute")));
            }
            let options = asked.bind_options.clone().unwrap_or_default();
            let propagation = options.propagation.as_str();
            if !propagation.is_empty() && !PROPAGATIONS.contains(&propagation) {
                return Err(wrong(&format!("invalid propagation mode: {propagation}")));
            }
            let mount = bind(&asked.source, &asked.target, asked.read_only, &options);
            Ok(Request::Bind { mount, make_source: options.create_mountpoint, relabel: Relabel::No })
        }
        "tmpfs" => {
            if !asked.source.is_empty() {
                return Err(wrong("field Source must not be specified"));
            }
            let options = asked.tmpfs_options.clone().unwrap_or_default();
            let mut words: Vec<String> = asked.read_only.then(|| "ro".to_owned()).into_iter().collect();
            words.extend((options.size_bytes > 0).then(|| format!("size={}", options.size_bytes)));
            words.extend(options.mode.map(|mode| format!("mode={mode:o}")));
            tmpfs::tmpfs(&format!("{}:{}", asked.target, words.join(","))).map(Request::Tmpfs)
        }
        "volume" => volume(asked, &wrong),
        _ => Err(wrong("mount type unknown")),
    }
}

fn volume(asked: &MountRequest, wrong: &dyn Fn(&str) -> Error) -> Result<Request> {
    let options = asked.volume_options.clone().unwrap_or_default();
    let is_anonymous = asked.source.is_empty();
    if is_anonymous && asked.read_only {
        return Err(wrong("must not set ReadOnly mode when using anonymous volumes"));
    }
    if is_anonymous && !options.subpath.is_empty() {
        return Err(wrong("must not set Subpath when using anonymous volumes"));
    }
    if options.subpath.starts_with('/') || options.subpath.split('/').any(|part| part == "..") {
        return Err(wrong("subpath must be a relative path within the volume"));
    }
    let driver = options.driver_config.unwrap_or_default();
    if !matches!(driver.name.as_str(), "" | "local") {
        return Err(Error::invalid(format!(
            "error looking up volume plugin {}: only local is there",
            driver.name
        )));
    }
    Ok(Request::Volume(Volume {
        name: asked.source.clone(),
        mount: bind("", &asked.target, asked.read_only, &BindOptions::default()),
        copy: !options.no_copy,
        subpath: options.subpath,
        labels: options.labels,
        options: driver.options,
        relabel: Relabel::Shared,
    }))
}

/// A mount of a file or folder, with the options that the runtime gets.
pub(super) fn bind(source: &str, destination: &str, read_only: bool, options: &BindOptions) -> Mount {
    let mut words = vec![if options.non_recursive { "bind" } else { "rbind" }];
    match (read_only, options.non_recursive || options.read_only_non_recursive) {
        // Docker since 25: what is mounted below it cannot be written to either.
        (true, false) => words.push("rro"),
        (true, true) => words.push("ro"),
        (false, _) => {}
    }
    words.push(if options.propagation.is_empty() { "rprivate" } else { &options.propagation });
    Mount {
        destination: clean(destination),
        kind: "bind".to_owned(),
        source: source.to_owned(),
        options: words.into_iter().map(str::to_owned).collect(),
    }
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

    fn asked(text: &str) -> std::result::Result<Request, String> {
        mount(text).and_then(|asked| request(&asked)).map_err(|error| error.to_string())
    }

    fn options(text: &str) -> (String, String, String) {
        let mount = match asked(text).unwrap() {
            Request::Bind { mount, .. } | Request::Tmpfs(mount) => mount,
            Request::Volume(volume) => Mount { source: volume.name, ..volume.mount },
        };
        (mount.source, mount.destination, mount.options.join(","))
    }

    fn is(source: &str, destination: &str, options: &str) -> (String, String, String) {
        (source.to_owned(), destination.to_owned(), options.to_owned())
    }

    #[test]
    fn binds_and_file_systems_in_memory_are_read_key_by_key() {
        assert_eq!(options("type=bind,src=/a,dst=/b"), is("/a", "/b", "rbind,rprivate"));
        assert_eq!(
            options("type=bind,\"source=/a,x\",target=/b,readonly"),
            is("/a,x", "/b", "rbind,rro,rprivate")
        );
        let alone = "TYPE=bind,src=/a,dst=/b,ro=true,bind-recursive=disabled,bind-propagation=private";
        assert_eq!(options(alone), is("/a", "/b", "bind,ro,private"));
        assert_eq!(
            options("type=bind,src=/a,dst=/b,ro,bind-recursive=writable"),
            is("/a", "/b", "rbind,ro,rprivate")
        );
        let deep = "type=bind,src=/a,dst=/b,ro,bind-recursive=readonly,bind-propagation=rprivate";
        assert_eq!(options(deep), is("/a", "/b", "rbind,rro,rprivate"));
        assert!(matches!(
            asked("type=bind,src=/a,dst=/b").unwrap(),
            Request::Bind { make_source: false, .. }
        ));
        let memory = "type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=1770,ro";
        assert_eq!(
            options(memory),
            is("tmpfs", "/t", "noexec,nosuid,nodev,ro,size=1048576,mode=1770,rprivate")
        );
    }

    #[test]
    fn volumes_are_dockers() {
        assert_eq!(options("src=data,dst=/b/,ro"), is("data", "/b", "rbind,rro,rprivate"));
        let line = "type=volume,source=data,target=/b,volume-nocopy,volume-subpath=a/b,volume-label=x=1,\
            volume-driver=local,volume-opt=type=tmpfs,volume-opt=device=x,\"volume-opt=o=size=1m,ro\"";
        let Request::Volume(volume) = asked(line).unwrap() else { panic!() };
        assert!(!volume.copy && volume.subpath == "a/b" && volume.labels["x"] == "1");
        assert_eq!(volume.options["o"], "size=1m,ro");
        let Request::Volume(volume) = asked("dst=/b").unwrap() else { panic!() };
        assert!(volume.copy && volume.name.is_empty());
        let json = serde_json::to_string(&mount(line).unwrap()).unwrap();
        assert_eq!(
            json,
            "{\"Type\":\"volume\",\"Source\":\"data\",\"Target\":\"/b\",\"VolumeOptions\":{\"NoCopy\":true,\
             \"Labels\":{\"x\":\"1\"},\"Subpath\":\"a/b\",\"DriverConfig\":{\"Name\":\"local\",\"Options\":\
             {\"device\":\"x\",\"o\":\"size=1m,ro\",\"type\":\"tmpfs\"}}}}"
        );
    }

    #[test]
    fn what_means_nothing_is_refused_in_dockers_words() {
        for (text, reason) in [
            ("type=x,dst=/b", "invalid mount config for type \"x\": mount type unknown"),
            ("type=bind,src=a,dst=/b", "invalid mount path: 'a' mount path must be absolute"),
            ("src=a,dst=/", "for type \"volume\": invalid specification: destination can't be '/'"),
            ("type=image,src=a,dst=/b", "mounts of type image are not supported"),
            ("type=bind,dst=/b", "invalid mount config for type \"bind\": field Source must not be empty"),
            ("type=bind,src=/a", "target is required"),
            ("type=bind,src=/a,dst=b", "invalid mount path: 'b' mount path must be absolute"),
            ("type=bind,src=/a,dst=/b,foo=1", "unexpected key 'foo' in 'foo=1'"),
            ("type=bind,src=/a,dst=/b,ro=x", "invalid value for ro: x"),
            ("type=bind,src,dst=/b", "invalid field 'src' must be a key=value pair"),
            ("type=bind,\"src=/a", "a quote is not closed"),
            ("type=bind,src=/a,dst=/b,volume-nocopy", "cannot mix 'volume-*' options with mount type 'bind'"),
            ("type=bind,src=/a,dst=/b,bind-recursive=readonly", "requires 'readonly' to be specified"),
            ("type=bind,src=/a,dst=/b,bind-recursive=x", "must be \"enabled\", \"disabled\""),
            ("type=bind,src=/a,dst=/b,bind-propagation=x", "for type \"bind\": invalid propagation mode: x"),
            ("src=a,dst=/b,bind-nonrecursive", "cannot mix 'bind-*' options with mount type 'volume'"),
            ("dst=/b,ro", "must not set ReadOnly mode when using anonymous volumes"),
            ("dst=/b,volume-subpath=x", "must not set Subpath when using anonymous volumes"),
            ("src=ab,dst=/b,volume-subpath=../x", "subpath must be a relative path within the volume"),
            ("src=ab,dst=/b,volume-subpath=/x", "subpath must be a relative path within the volume"),
            ("src=ab,dst=/b,volume-driver=nfs", "error looking up volume plugin nfs"),
            ("type=tmpfs,src=/a,dst=/b", "field Source must not be specified"),
            ("type=tmpfs,dst=/b,tmpfs-mode=9", "invalid value for tmpfs-mode: 9"),
            ("type=tmpfs,dst=/b,tmpfs-size=x", "invalid value for tmpfs-size: x"),
        ] {
            let error = asked(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
