//! What is wrong with a configuration, all of it at once, each with its place in the document.
//!
//! Rules are config.md's and config-linux.md's, and those that runc adds because the kernel would fail
//! later or, worse, do something else. Only the document is looked at: whether the host can do what it asks
//! for is found out when it is done. What the plan refuses anyway (device types, mount options, seccomp) is
//! the plan's.

mod linux;
mod namespaces;
mod process;
mod sysctl;

use std::fmt::Display;

pub use linux::{MEMORY_FLAGS, MEMORY_MODES};
pub use namespaces::NAMESPACES;
pub use sysctl::sysctl_file;

use super::{Hook, Mount, Process, Spec};
use crate::error::{Error, Kind, Result};
use namespaces::Own;

/// Finds all violations. Returns warnings for what is tolerated.
///
/// # Errors
/// Kind `Spec`: every violation as `pointer: reason`, joined by `; `.
pub fn validate(spec: &Spec) -> Result<Vec<String>> {
    let mut findings = Findings::default();
    version(&spec.oci_version, &mut findings);
    match &spec.root {
        None => findings.error("root", "is missing"),
        Some(root) if root.path.is_empty() => findings.error("root.path", "is empty"),
        Some(root) => findings.text("root.path", &root.path),
    }
    let own = namespaces::check(&spec.linux, &mut findings);
    match &spec.process {
        None => findings.error("process", "is missing"),
        Some(process) => process::check(process, &mut findings),
    }
    for (field, name) in [("hostname", &spec.hostname), ("domainname", &spec.domainname)] {
        host_name(field, name, own, &mut findings);
    }
    mounts(&spec.mounts, &mut findings);
    hooks(spec, &mut findings);
    linux::check(&spec.linux, own, &mut findings);
    findings.finish()
}

/// Finds all violations in the process that `exec` is to add.
///
/// # Errors
/// As [`validate`].
pub fn validate_process(process: &Process) -> Result<Vec<String>> {
    let mut findings = Findings::default();
    process::check(process, &mut findings);
    if findings.errors.is_empty() {
        return Ok(findings.warnings);
    }
    Err(Error::new(Kind::Spec, findings.errors.join("; ")))
}

/// What has been found so far.
#[derive(Debug, Default)]
struct Findings {
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl Findings {
    fn error(&mut self, pointer: impl Display, reason: impl Display) {
        self.errors.push(format!("{pointer}: {reason}"));
    }

    fn warning(&mut self, pointer: impl Display, reason: impl Display) {
        self.warnings.push(format!("{pointer}: {reason}"));
    }

    /// Text that reaches the kernel, which would end it at a NUL byte.
    fn text(&mut self, pointer: impl Display, text: &str) {
        if text.contains('\0') {
            self.error(pointer, "contains a NUL byte");
        }
    }

    fn texts(&mut self, pointer: &str, texts: &[String]) {
        for (index, text) in texts.iter().enumerate() {
            self.text(format_args!("{pointer}[{index}]"), text);
        }
    }

    fn absolute(&mut self, pointer: impl Display + Copy, path: &str) {
        self.text(pointer, path);
        if !path.starts_with('/') {
            self.error(pointer, format_args!("{path:?} is not an absolute path"));
        }
    }

    fn environment(&mut self, pointer: &str, entries: &[String]) {
        self.texts(pointer, entries);
        for (index, entry) in entries.iter().enumerate() {
            if entry.find('=').is_none_or(|at| at == 0) {
                self.error(format_args!("{pointer}[{index}]"), format_args!("{entry:?} is not NAME=value"));
            }
        }
    }

    /// A label for a file of procfs, where a newline would end it.
    fn label(&mut self, pointer: &str, label: &str) {
        if label.contains(['\0', '\n']) {
            self.error(pointer, "contains a NUL byte or a newline");
        }
    }

    fn finish(self) -> Result<Vec<String>> {
        if self.errors.is_empty() {
            return Ok(self.warnings);
        }
        Err(Error::new(Kind::Spec, self.errors.join("; ")).context("config.json"))
    }
}

/// SemVer 2.0.0 of major version 1; newer minor versions are compatible (config.md "Specification version").
fn version(version: &str, findings: &mut Findings) {
    let numbers = version.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<&str> = numbers.split('.').collect();
    let number = |part: &&str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (*part == "0" || !part.starts_with('0'))
    };
    if version.is_empty() {
        findings.error("ociVersion", "is missing");
    } else if parts.len() != 3 || !parts.iter().all(number) {
        findings.error("ociVersion", format_args!("{version:?} is not a SemVer version"));
    } else if parts[0] != "1" {
        let reason = format_args!("{version} is not supported, 1.0.0 to {} are", super::VERSION);
        findings.error("ociVersion", reason);
    }
}

/// sethostname(2) takes 64 bytes, and an own UTS namespace, or the host would be renamed.
fn host_name(field: &str, name: &str, own: Own, findings: &mut Findings) {
    if name.is_empty() {
        return;
    }
    findings.text(field, name);
    if name.len() > 64 {
        findings.error(field, "is longer than 64 bytes");
    }
    if !own.has("uts") {
        findings.error(field, "needs a uts namespace");
    }
}

fn mounts(mounts: &[Mount], findings: &mut Findings) {
    for (index, mount) in mounts.iter().enumerate() {
        let at = |field: &str| format!("mounts[{index}].{field}");
        findings.text(at("destination"), &mount.destination);
        findings.text(at("source"), &mount.source);
        findings.text(at("type"), &mount.kind);
        findings.texts(&at("options"), &mount.options);
        if mount.destination.is_empty() {
            findings.error(at("destination"), "is empty");
        } else if !mount.destination.starts_with('/') {
            let reason = format_args!("{:?} is not absolute and is taken from the root", mount.destination);
            findings.warning(at("destination"), reason);
        }
        match (mount.uid_mappings.is_empty(), mount.gid_mappings.is_empty()) {
            (true, false) => findings.error(at("uidMappings"), "is required together with gidMappings"),
            (false, true) => findings.error(at("gidMappings"), "is required together with uidMappings"),
            _ => {}
        }
        namespaces::mappings(&at("uidMappings"), &mount.uid_mappings, findings);
        namespaces::mappings(&at("gidMappings"), &mount.gid_mappings, findings);
    }
}

fn hooks(spec: &Spec, findings: &mut Findings) {
    let hooks = &spec.hooks;
    let lists: [(&str, &[Hook]); 6] = [
        ("prestart", &hooks.prestart),
        ("createRuntime", &hooks.create_runtime),
        ("createContainer", &hooks.create_container),
        ("startContainer", &hooks.start_container),
        ("poststart", &hooks.poststart),
        ("poststop", &hooks.poststop),
    ];
    for (kind, list) in lists {
        for (index, hook) in list.iter().enumerate() {
            let at = |field: &str| format!("hooks.{kind}[{index}].{field}");
            findings.absolute(at("path").as_str(), &hook.path);
            findings.texts(&at("args"), &hook.args);
            findings.environment(&at("env"), &hook.env);
            if let Some(seconds) = hook.timeout
                && seconds <= 0
            {
                findings.error(at("timeout"), format_args!("{seconds} is not greater than zero"));
            }
        }
    }
}

/// Whether `text` is a list such as `0-3,7`, possibly empty, as cpuset(7) has it.
fn is_number_list(text: &str) -> bool {
    let number = |text: &str| text.trim().parse::<u32>().ok();
    text.trim().is_empty()
        || text.split(',').all(|range| match range.split_once('-') {
            None => number(range).is_some(),
            Some((first, last)) => number(first).zip(number(last)).is_some_and(|(first, last)| first <= last),
        })
}

#[cfg(test)]
mod tests;
