//! Which runtime is tested.
//!
//! `RUNTIME_UNDER_TEST` names it (an absolute path); otherwise it is the `runtime` that cargo put beside the
//! test executable. It is not built from here: `cargo build -p runtime` comes first.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The runtimes whose behaviour the tests know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// The `runtime` of this workspace.
    Ours,
    /// opencontainers/runc.
    Runc,
    /// containers/crun.
    Crun,
}

/// The path of the runtime under test. Panics when there is none.
#[must_use]
pub fn runtime_under_test() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| program("RUNTIME_UNDER_TEST", "runtime"))
}

/// The program that a variable names, or the one of this name that was built with the tests. Panics when there is none.
pub(crate) fn program(variable: &str, name: &str) -> PathBuf {
    if let Some(named) = std::env::var_os(variable).filter(|value| !value.is_empty()) {
        let named = PathBuf::from(named);
        assert!(named.is_absolute(), "{variable}={} is not absolute", named.display());
        assert!(named.is_file(), "{variable}={} is not a file", named.display());
        return named;
    }
    // In the folder of the executable or, for a test in `…/debug/deps`, the one above it.
    let executable = std::env::current_exe().expect("path of the test executable");
    let folder = executable.parent().expect("an executable lies in a folder");
    let candidates = [folder.join(name), folder.join("..").join(name)];
    let found = candidates.iter().find(|path| path.is_file());
    let found = found.unwrap_or_else(|| {
        panic!(
            "no {name} beside {}: run `cargo build -p {name}` first, or set {variable}",
            executable.display()
        )
    });
    found.canonicalize().expect("path of the program")
}

/// Which runtime it is, by its own word.
#[must_use]
pub fn flavour() -> Flavour {
    static FLAVOUR: OnceLock<Flavour> = OnceLock::new();
    *FLAVOUR.get_or_init(|| {
        let path = runtime_under_test();
        let output = Command::new(path).arg("--version").output();
        let output = output.unwrap_or_else(|error| panic!("{} --version: {error}", path.display()));
        recognise(&String::from_utf8_lossy(&output.stdout))
    })
}

/// Ours calls itself `runc version` too, since callers look for that; only the Go program names its compiler.
fn recognise(version: &str) -> Flavour {
    if version.starts_with("crun version ") {
        Flavour::Crun
    } else if version.starts_with("runc version ") && version.lines().any(|line| line.starts_with("go: ")) {
        Flavour::Runc
    } else {
        Flavour::Ours
    }
}

/// Whether the runtime under test uses cgroup v2 here: ours knows nothing else; the others take v1 where a host
/// has both.
#[must_use]
pub fn uses_cgroup2() -> bool {
    let mount = crate::cgroup2_mount();
    mount.is_some_and(|mount| flavour() == Flavour::Ours || mount == Path::new("/sys/fs/cgroup"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_are_recognised_by_their_version() {
        assert_eq!(recognise("runc version 1.1.5\ncommit: x\nspec: 1.0.2\ngo: go1.19.8\n"), Flavour::Runc);
        assert_eq!(recognise("crun version 1.8.1\ncommit: x\n"), Flavour::Crun);
        assert_eq!(recognise("runc version 0.1.0\ncommit: x\nspec: 1.3.0\n"), Flavour::Ours);
    }
}
