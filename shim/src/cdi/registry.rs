//! Which devices there are: what lies in the folders at this moment (SPEC.md, "CDI Files").
//!
//! A folder that is named later counts for more; a device that two files of one folder have is nobody's. Files that cannot
//! be read take only their own devices away, and are told to whoever misses one.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::cdi::name;
use crate::cdi::spec::{ContainerEdits, Description};
use crate::error::{Context, Error, Result};

/// The folders, the more important one last.
pub const FOLDERS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
/// Longest file, in bytes.
const FILE_MAX: u64 = 4 << 20;

/// Descriptions that were found.
#[derive(Debug, Default)]
pub struct Registry {
    /// By name; None for one that two files have.
    devices: BTreeMap<String, Option<(Rc<Description>, usize)>>,
    /// Why files were left out.
    errors: Vec<Error>,
}

impl Registry {
    /// Reads these folders; one that is not there has nothing.
    #[must_use]
    pub fn read(folders: &[&Path]) -> Registry {
        let mut registry = Registry::default();
        for folder in folders {
            let mut of_folder: BTreeMap<String, Option<(Rc<Description>, usize)>> = BTreeMap::new();
            for path in files(folder) {
                match read_file(&path).during(|| path.display().to_string()) {
                    Err(error) => registry.errors.push(error),
                    Ok(description) => {
                        let description = Rc::new(description);
                        for (number, device) in description.devices.iter().enumerate() {
                            let name = format!("{}={}", description.kind, device.name);
                            let one = Some((Rc::clone(&description), number));
                            of_folder.entry(name).and_modify(|known| *known = None).or_insert(one);
                        }
                    }
                }
            }
            registry.devices.extend(of_folder);
        }
        registry
    }

    /// What is done for these devices, in order: once what a description says for all of its devices, and what it says of
    /// each.
    ///
    /// # Errors
    /// Devices that there are not, by name, in Docker's words, with what was wrong with files.
    pub fn edits(&self, names: &[String]) -> Result<Vec<ContainerEdits>> {
        let (mut edits, mut seen, mut missing): (Vec<ContainerEdits>, Vec<Rc<Description>>, Vec<&str>) =
            Default::default();
        for name in names {
            match self.devices.get(name).and_then(Option::as_ref) {
                Some((description, number)) => {
                    if !seen.iter().any(|known| Rc::ptr_eq(known, description)) {
                        seen.push(Rc::clone(description));
                        edits.push(description.container_edits.clone());
                    }
                    edits.push(description.devices[*number].container_edits.clone());
                }
                None => missing.push(name),
            }
        }
        if missing.is_empty() {
            return Ok(edits);
        }
        let words = format!("CDI device injection failed: unresolvable CDI devices {}", missing.join(", "));
        let mut error = Error::not_found(words);
        for name in &missing {
            if self.devices.contains_key(*name) {
                error = error.and(&Error::conflict(format!("{name}: more than one file has it")));
            } else if name::parse(name).is_none() {
                error = error.and(&Error::usage(format!("{name}: it is no name of a device")));
            }
        }
        Err(self.errors.iter().fold(error, Error::and))
    }
}

/// Files of descriptions, by their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let is_one =
        |path: &PathBuf| path.extension().is_some_and(|end| end == "json" || end == "yaml" || end == "yml");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_one).collect();
    files.sort();
    files
}

fn read_file(path: &Path) -> Result<Description> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(Error::invalid("not a file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(Error::invalid(format!("it is longer than {FILE_MAX} bytes")));
    }
    Description::parse(&bytes, path.extension().is_some_and(|end| end != "json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::Scratch;

    fn description(devices: &[&str], mark: &str) -> String {
        let device = |name: &&str| {
            format!(r#"{{"name": "{name}", "containerEdits": {{"env": ["DEVICE={name}-{mark}"]}}}}"#)
        };
        let devices = devices.iter().map(device).collect::<Vec<_>>().join(", ");
        format!(
            r#"{{"cdiVersion": "0.6.0", "kind": "v.com/c", "devices": [{devices}], "containerEdits": {{"env": ["ALL={mark}"]}}}}"#
        )
    }

    #[test]
    fn later_folders_count_for_more_and_what_two_files_have_is_nobodys() {
        let scratch = Scratch::new();
        let (low, high) = (scratch.join("low"), scratch.join("high"));
        for folder in [&low, &high] {
            std::fs::create_dir(folder).unwrap();
        }
        std::fs::write(low.join("a.json"), description(&["0", "1"], "low")).unwrap();
        std::fs::write(high.join("a.yaml"), description(&["1", "2"], "high")).unwrap();
        std::fs::write(high.join("b.json"), description(&["2"], "again")).unwrap();
        std::fs::write(high.join("broken.json"), "{").unwrap();
        std::fs::write(high.join("README"), "not one").unwrap();
        let registry = Registry::read(&[&low, &high, &scratch.join("missing")]);
        let edits = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| format!("v.com/c={name}")).collect();
            let edits = registry.edits(&names).map_err(|error| error.to_string())?;
            Ok::<_, String>(edits.into_iter().flat_map(|edits| edits.env).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(edits(&["0", "1"]).unwrap(), "ALL=low DEVICE=0-low ALL=high DEVICE=1-high");
        let error = edits(&["0", "2", "3"]).unwrap_err();
        let words = "CDI device injection failed: unresolvable CDI devices v.com/c=2, v.com/c=3";
        assert!(error.starts_with(words), "{error}");
        assert!(error.contains("v.com/c=2: more than one file has it"), "{error}");
        assert!(error.contains("broken.json: EOF while parsing"), "{error}");
    }
}
