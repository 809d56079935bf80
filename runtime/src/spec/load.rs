//! config.json → [`Spec`].
//!
//! The bundle's author is not trusted: the file has to be a regular one (a FIFO would hang the runtime) and
//! of a sane size. A document is read once into plain data; only where that fails the path of the field is
//! looked for, so that a good document does not pay for the message of a bad one.

use std::io::Read;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::place::field_at;
use super::{Process, Resources, Spec};
use crate::error::{Call, Context, Error, Kind, Result};

/// Bytes; Docker's largest configurations have some 100 KiB.
pub const LARGEST: u64 = 16 << 20;

/// Reads config.json of a bundle, without parsing it.
///
/// # Errors
/// "JSON specification file config.json not found"; what is no regular file or too large.
pub fn read(bundle: &Path) -> Result<Vec<u8>> {
    read_file(&bundle.join("config.json")).map_err(|error| match error.errno() {
        libc::ENOENT => Error::new(Kind::Spec, "JSON specification file config.json not found")
            .context(format!("{bundle:?}")),
        _ => error,
    })
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    // NONBLOCK: opening a FIFO must not wait for its writer.
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).call("open", || format!("{path:?}"))?;
    let file = std::fs::File::from(file);
    let about = file.metadata().call("stat", || format!("{path:?}"))?;
    if !about.is_file() {
        return Err(Error::new(Kind::Spec, format!("{path:?} is not a regular file")));
    }
    let large = || Error::new(Kind::Spec, format!("{path:?} is larger than {LARGEST} bytes"));
    if about.len() > LARGEST {
        return Err(large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0) + 1);
    file.take(LARGEST + 1).read_to_end(&mut bytes).call("read", || format!("{path:?}"))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > LARGEST) { Err(large()) } else { Ok(bytes) }
}

/// Parses config.json. Its values are not judged: [`super::validate`] does that.
///
/// # Errors
/// Kind `Spec` with the field's path, line and column where the document does not parse.
pub fn parse(bytes: &[u8]) -> Result<Spec> {
    serde_json::from_slice(bytes).map_err(|error| explain(bytes, &error)).context(|| "config.json")
}

/// Reads what `exec --process` is given: config.json's `process` alone, from a file, a FIFO or a terminal. Its
/// values are not judged: [`super::validate_process`] does that.
///
/// # Errors
/// As open(2) and read(2); a document that is too large; kind `Spec` where it does not parse.
pub fn process(path: &Path) -> Result<Process> {
    let step = || format!("--process {path:?}");
    let file = std::fs::File::open(path).call("open", || format!("{path:?}")).context(step)?;
    let mut bytes = Vec::with_capacity(8 << 10);
    file.take(LARGEST + 1).read_to_end(&mut bytes).call("read", || format!("{path:?}")).context(step)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > LARGEST) {
        return Err(Error::new(Kind::Spec, format!("larger than {LARGEST} bytes"))).context(step);
    }
    serde_json::from_slice(&bytes).map_err(|error| explain(&bytes, &error)).context(step)
}

/// Reads what `update --resources` is given: config.json's `linux.resources` alone.
///
/// # Errors
/// Kind `Spec` with the field's path, line and column where the document does not parse.
pub fn resources(bytes: &[u8]) -> Result<Resources> {
    serde_json::from_slice(bytes).map_err(|error| explain(bytes, &error))
}

/// The failure with the path of the field it is about.
fn explain(bytes: &[u8], error: &serde_json::Error) -> Error {
    let field = field_at(bytes, error.line(), error.column());
    let text = if field.is_empty() { error.to_string() } else { format!("{field}: {error}") };
    Error::new(Kind::Spec, text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn message(text: &str) -> String {
        parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_type_names_its_field_and_place() {
        let text = message("{\"ociVersion\":\"1.3.0\",\n\"process\":{\"user\":{\"uid\":-1}}}");
        assert!(text.starts_with("config.json: process.user.uid: invalid value: integer `-1`"), "{text}");
        assert!(text.ends_with("at line 2 column 27"), "{text}");
        let text = message("{\"mounts\":[{\"destination\":\"/a\"},{\"source\":\"x\"}]}");
        assert!(text.starts_with("config.json: mounts[1]: missing field `destination`"), "{text}");
    }

    #[test]
    fn what_is_no_document_says_where_it_ends() {
        assert!(message("").starts_with("config.json: EOF while parsing a value"));
        assert!(message("{\"a\":1} x").starts_with("config.json: trailing characters"));
        assert!(message("[]").starts_with("config.json: invalid type: sequence, expected an object"));
    }

    /// A document with `[]` in the place of each object that it has, one at a time, with the place's path.
    fn with_an_array_for_each_object(document: &Value, found: &mut Vec<(String, Value)>) {
        fn walk(whole: &Value, at: &str, path: &str, found: &mut Vec<(String, Value)>) {
            let children: Vec<(String, String)> = match whole.pointer(at).unwrap() {
                Value::Object(fields) => {
                    let mut changed = whole.clone();
                    *changed.pointer_mut(at).unwrap() = Value::Array(Vec::new());
                    found.push((path.to_owned(), changed));
                    let dot = if path.is_empty() { "" } else { "." };
                    fields.keys().map(|key| (format!("{at}/{key}"), format!("{path}{dot}{key}"))).collect()
                }
                Value::Array(items) => {
                    (0..items.len()).map(|n| (format!("{at}/{n}"), format!("{path}[{n}]"))).collect()
                }
                _ => Vec::new(),
            };
            for (at, path) in children {
                walk(whole, &at, &path, found);
            }
        }
        walk(document, "", "", found);
    }

    #[test]
    fn no_array_is_taken_for_an_object_wherever_one_stands() {
        // Every object of the specification, once.
        let limit = json!({"type": "c", "major": 1, "minor": 3, "rate": 1, "weight": 10});
        let document = json!({
            "ociVersion": "1.3.0",
            "root": {"path": "/x", "readonly": true},
            "mounts": [{"destination": "/a", "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}],
            "hooks": {"prestart": [{"path": "/h"}]},
            "annotations": {"a": "b"},
            "process": {
                "consoleSize": {"height": 1, "width": 1}, "user": {"uid": 1}, "capabilities": {"bounding": []},
                "rlimits": [{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}], "ioPriority": {"class": "x"},
                "scheduler": {"policy": "x"}, "execCPUAffinity": {"initial": "0"},
            },
            "linux": {
                "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}], "sysctl": {"a": "b"},
                "namespaces": [{"type": "pid"}], "devices": [{"type": "c", "path": "/dev/x"}],
                "netDevices": {"eth0": {"name": "x"}}, "intelRdt": {"closID": "x"}, "memoryPolicy": {"mode": "x"},
                "personality": {"domain": "LINUX"}, "timeOffsets": {"boottime": {"secs": 1}},
                "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["x"],
                    "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]},
                "resources": {
                    "devices": [{"allow": true}], "memory": {"limit": 1}, "cpu": {"shares": 1},
                    "pids": {"limit": 1}, "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
                    "network": {"classID": 1},
                    "rdma": {"x": {"hcaHandles": 1}}, "unified": {"a": "b"},
                    "blockIO": {"weightDevice": [limit], "throttleReadBpsDevice": [limit]},
                },
            },
        });
        assert!(serde_json::from_value::<Spec>(document.clone()).is_ok());
        let mut changed = Vec::new();
        with_an_array_for_each_object(&document, &mut changed);
        assert_eq!(changed.len(), 43);
        for (path, document) in changed {
            let text = message(&document.to_string());
            let known = text.contains("invalid type: sequence, expected a"); // "an object", or serde's "a map"
            let field = if path.is_empty() { String::new() } else { format!("{path}: ") };
            assert!(
                known && text.starts_with(&format!("config.json: {field}invalid type")),
                "{path}: {text}"
            );
        }
        let resources = |text: &str| resources(text.as_bytes()).unwrap_err().to_string();
        assert!(resources("[[]]").starts_with("invalid type: sequence, expected an object"));
        assert!(resources(r#"{"memory":[1048576]}"#).starts_with("memory: invalid type: sequence"));
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse(format!("{{\"unknown\":{nested}}}").as_bytes()).is_ok());
        let text =
            message(&format!("{{\"linux\":{{\"resources\":{{\"network\":{{\"priorities\":{nested}}}}}}}}}"));
        assert!(text.contains("recursion limit exceeded"), "{text}");
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let folder = std::env::temp_dir().join(format!("caisson-test-load-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("config.json")).unwrap();
        let error = read(&folder).unwrap_err().to_string();
        assert!(error.ends_with("is not a regular file"), "{error}");
        std::fs::remove_dir(folder.join("config.json")).unwrap();
        let error = read(&folder).unwrap_err().to_string();
        assert!(error.ends_with("JSON specification file config.json not found"), "{error}");
        std::fs::remove_dir(&folder).unwrap();
    }
}
