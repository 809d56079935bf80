//! Intel Resource Director Technology: which class of service, and what is written to it.
//!
//! config-linux.md "IntelRdt"; Documentation/filesystems/resctrl.rst of the kernel.

use crate::error::{Error, Kind, Result};
use crate::spec;

/// How the folder of the class comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folder {
    /// It is the container's: made for it, and removed with it.
    Own,
    /// It has a name that others may use too: made where it is missing, and else it must hold the same. It
    /// stays when the container goes.
    Shared,
    /// It is there already, and stays as it is.
    Existing,
}

/// A class of service for the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntelRdt {
    /// Folder relative to the root of resctrl; empty for the root itself, the default class.
    pub group: String,
    /// How it comes about.
    pub folder: Folder,
    /// What is written to `schemata`, one write each: whole lines. A line of a later one replaces those of
    /// earlier ones.
    pub schemata: Vec<String>,
    /// Name of the monitoring group in the class.
    pub monitoring: Option<String>,
}

/// `linux.intelRdt` of container `id`.
///
/// # Errors
/// Kind `Spec`: a class that cannot be a folder's name, schemata that are not lines.
pub fn intel_rdt(document: &spec::IntelRdt, id: &str) -> Result<IntelRdt> {
    let schemata = schemata(document)?;
    let clos = document.clos_id.as_str();
    let (group, folder) = match clos {
        "" => (id, Folder::Own),
        "/" => ("", Folder::Existing),
        name if schemata.is_empty() => (name, Folder::Existing),
        name => (name, Folder::Shared),
    };
    // resctrl's own folders are in the same place as the classes.
    let reserved = matches!(group, "." | ".." | "info" | "mon_groups" | "mon_data");
    if reserved || group.contains(['/', '\n', '\0']) {
        return Err(wrong("closID", &format!("{group:?} cannot be the name of a class of service")));
    }
    let monitoring = document.enable_monitoring.then(|| id.to_owned());
    Ok(IntelRdt { group: group.to_owned(), folder, schemata, monitoring })
}

fn wrong(field: &str, reason: &str) -> Error {
    Error::new(Kind::Spec, format!("linux.intelRdt.{field}: {reason}"))
}

/// The two older fields together, then `schemata`, which has the last word.
fn schemata(document: &spec::IntelRdt) -> Result<Vec<String>> {
    let bandwidth = document.mem_bw_schema.as_str();
    if !bandwidth.is_empty() && (!bandwidth.starts_with("MB:") || bandwidth.contains('\n')) {
        return Err(wrong("memBwSchema", &format!("{bandwidth:?} is not one line that starts with \"MB:\"")));
    }
    let mut older = String::new();
    let cache = document.l3_cache_schema.lines().filter(|line| !line.trim().is_empty());
    // memBwSchema stands in the place of such a line.
    for line in cache.filter(|line| bandwidth.is_empty() || !line.trim_start().starts_with("MB:")) {
        push_line(&mut older, line);
    }
    push_line(&mut older, bandwidth);
    let mut newer = String::new();
    for (index, line) in document.schemata.iter().enumerate() {
        if line.contains('\n') || !line.contains(':') {
            return Err(wrong(
                &format!("schemata[{index}]"),
                &format!("{line:?} is not one line of a schema"),
            ));
        }
        push_line(&mut newer, line);
    }
    let mut texts = vec![older, newer];
    texts.retain(|text| !text.is_empty());
    if texts.iter().any(|text| text.contains('\0')) {
        return Err(wrong("schemata", "holds a NUL byte"));
    }
    Ok(texts)
}

fn push_line(text: &mut String, line: &str) {
    if !line.is_empty() {
        text.push_str(line);
        text.push('\n');
    }
}

/// What `wanted` sets otherwise than it is in `present`, the content of a `schemata` file: the first such
/// entry, `L3:0=7f0`, beside what is there. Cache masks are compared as hexadecimal numbers, the rest as
/// decimal ones.
pub fn first_mismatch(wanted: &[String], present: &str) -> Option<(String, String)> {
    let present: Vec<_> = entries(present).collect();
    let wanted: Vec<_> = wanted.iter().flat_map(|text| entries(text)).collect();
    for (index, entry) in wanted.iter().enumerate() {
        let same_place =
            |other: &&Entry<'_>| (other.resource, other.domain) == (entry.resource, entry.domain);
        if wanted[index + 1..].iter().any(|later| same_place(&later)) {
            continue; // replaced by that one
        }
        let found = present.iter().find(same_place);
        if found.is_none_or(|found| found.number() != entry.number()) {
            let found = found.map_or("nothing", |found| found.value).to_owned();
            return Some((format!("{}:{}={}", entry.resource, entry.domain, entry.value), found));
        }
    }
    None
}

/// One `domain=value` of a line `resource:domain=value;domain=value`.
struct Entry<'a> {
    resource: &'a str,
    domain: &'a str,
    value: &'a str,
}

impl Entry<'_> {
    /// The value without its leading zeroes; as text where it is no number.
    fn number(&self) -> std::result::Result<u64, &str> {
        let radix = if self.resource.starts_with('L') { 16 } else { 10 };
        u64::from_str_radix(self.value.trim_start_matches("0x"), radix).map_err(|_| self.value)
    }
}

fn entries(text: &str) -> impl Iterator<Item = Entry<'_>> {
    text.lines().filter_map(|line| line.split_once(':')).flat_map(|(resource, domains)| {
        domains.split(';').map(move |entry| {
            let (domain, value) = entry.split_once('=').unwrap_or((entry, ""));
            Entry { resource: resource.trim(), domain: domain.trim(), value: value.trim() }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(clos_id: &str, l3: &str, bandwidth: &str, schemata: &[&str]) -> spec::IntelRdt {
        spec::IntelRdt {
            clos_id: clos_id.to_owned(),
            schemata: schemata.iter().map(|line| (*line).to_owned()).collect(),
            l3_cache_schema: l3.to_owned(),
            mem_bw_schema: bandwidth.to_owned(),
            enable_monitoring: false,
        }
    }

    fn plan(document: &spec::IntelRdt) -> IntelRdt {
        intel_rdt(document, "web").unwrap()
    }

    #[test]
    fn the_class_is_the_container_s_own_unless_it_is_named() {
        let table = [
            (document("", "", "", &[]), "web", Folder::Own),
            (document("", "L3:0=f", "", &[]), "web", Folder::Own),
            (document("gold", "", "", &[]), "gold", Folder::Existing),
            (document("gold", "", "MB:0=20", &[]), "gold", Folder::Shared),
            (document("gold", "", "", &["L2:0=f"]), "gold", Folder::Shared),
            (document("/", "", "", &[]), "", Folder::Existing),
            (document("/", "L3:0=f", "", &[]), "", Folder::Existing),
        ];
        for (document, group, folder) in table {
            let plan = plan(&document);
            assert_eq!((plan.group.as_str(), plan.folder), (group, folder), "{document:?}");
            assert_eq!(plan.monitoring, None);
        }
        let monitored = spec::IntelRdt { enable_monitoring: true, ..document("/", "", "", &[]) };
        assert_eq!(plan(&monitored).monitoring.as_deref(), Some("web"));
    }

    #[test]
    fn schemata_are_written_in_the_order_of_the_specification() {
        let lines = |document: &spec::IntelRdt| plan(document).schemata;
        assert_eq!(lines(&document("", "", "", &[])), [""; 0]);
        assert_eq!(lines(&document("", "L3:0=f;1=1", "", &[])), ["L3:0=f;1=1\n"]);
        assert_eq!(lines(&document("", "L3:0=f\nMB:0=10\n", "", &[])), ["L3:0=f\nMB:0=10\n"]);
        assert_eq!(
            lines(&document("", "L3:0=f\nMB:0=10\nL3CODE:0=1", "MB:0=20", &[])),
            ["L3:0=f\nL3CODE:0=1\nMB:0=20\n"]
        );
        assert_eq!(
            lines(&document("", "L3:0=f", "MB:0=20", &["L3:0=1", "L2:0=3"])),
            ["L3:0=f\nMB:0=20\n", "L3:0=1\nL2:0=3\n"]
        );
    }

    #[test]
    fn wrong_schemata_and_classes_are_errors() {
        let error = |document: &spec::IntelRdt| intel_rdt(document, "web").unwrap_err().to_string();
        assert_eq!(
            error(&document("", "", "0=20", &[])),
            "linux.intelRdt.memBwSchema: \"0=20\" is not one line that starts with \"MB:\""
        );
        assert_eq!(
            error(&document("", "", "MB:0=20\nL3:0=f", &[])),
            "linux.intelRdt.memBwSchema: \"MB:0=20\\nL3:0=f\" is not one line that starts with \"MB:\""
        );
        assert_eq!(
            error(&document("", "", "", &["L3:0=f", "nothing"])),
            "linux.intelRdt.schemata[1]: \"nothing\" is not one line of a schema"
        );
        assert_eq!(error(&document("", "L3:0=f\0", "", &[])), "linux.intelRdt.schemata: holds a NUL byte");
        for class in ["..", ".", "a/b", "/a", "info", "mon_groups", "a\nb", "a\0"] {
            assert_eq!(
                error(&document(class, "", "", &[])),
                format!("linux.intelRdt.closID: {class:?} cannot be the name of a class of service")
            );
        }
        assert!(intel_rdt(&document("", "", "", &[]), "info").is_err(), "a container's id names a class too");
    }

    #[test]
    fn what_is_wanted_is_compared_with_what_is_there() {
        let present = "    L3:0=00ff;1=7f0\n    MB:0= 20;1=100\n";
        let mismatch = |wanted: &[&str]| {
            let wanted: Vec<_> = wanted.iter().map(|text| (*text).to_owned()).collect();
            first_mismatch(&wanted, present)
        };
        let pair = |wanted: &str, found: &str| Some((wanted.to_owned(), found.to_owned()));
        assert_eq!(mismatch(&[]), None);
        assert_eq!(mismatch(&["L3:0=ff;1=7F0\nMB:0=20\n"]), None);
        assert_eq!(mismatch(&["L3: 1=0x7f0\n"]), None);
        assert_eq!(mismatch(&["L3:0=ff;1=7f\n"]), pair("L3:1=7f", "7f0"));
        assert_eq!(mismatch(&["MB:1=10\n"]), pair("MB:1=10", "100"));
        assert_eq!(mismatch(&["L2:0=1\n"]), pair("L2:0=1", "nothing"));
        assert_eq!(mismatch(&["L3:2=1\n"]), pair("L3:2=1", "nothing"));
        assert_eq!(mismatch(&["L3:0=1\n", "L3:0=ff\n"]), None, "a later text replaces an earlier one");
        assert_eq!(mismatch(&["L3:0=ff\n", "L3:0=1\n"]), pair("L3:0=1", "00ff"));
        assert_eq!(mismatch(&["L3:0=zz\n"]), pair("L3:0=zz", "00ff"));
    }
}
