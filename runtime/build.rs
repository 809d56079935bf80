//! Names the commit in `--version` and `features`.
//!
//! Read from the repository's own files, without starting git; a build from an archive says "unknown". Only
//! a change of HEAD makes it run again.
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let commit = git_folder().and_then(|git| head(&git)).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=CAISSON_COMMIT={commit}");
}

/// `.git` of this checkout; in a linked work tree that is a file which names the folder.
fn git_folder() -> Option<PathBuf> {
    let root = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR")?).parent()?.join(".git");
    if root.is_dir() {
        return Some(root);
    }
    let text = fs::read_to_string(&root).ok()?;
    Some(PathBuf::from(text.strip_prefix("gitdir: ")?.trim()))
}

/// The commit that HEAD names, directly or through a branch, loose or packed.
fn head(git: &Path) -> Option<String> {
    let watched = git.join("HEAD");
    println!("cargo:rerun-if-changed={}", watched.display());
    let head = fs::read_to_string(watched).ok()?;
    let Some(name) = head.trim().strip_prefix("ref: ") else { return hexadecimal(head.trim()) };
    let common = fs::read_to_string(git.join("commondir")).map_or(git.to_owned(), |dir| git.join(dir.trim()));
    let branch = common.join(name);
    if let Ok(commit) = fs::read_to_string(&branch) {
        println!("cargo:rerun-if-changed={}", branch.display());
        return hexadecimal(commit.trim());
    }
    let packed = fs::read_to_string(common.join("packed-refs")).ok()?;
    let line = packed.lines().find(|line| line.ends_with(&format!(" {name}")))?;
    hexadecimal(line.split(' ').next()?)
}

fn hexadecimal(text: &str) -> Option<String> {
    let plausible = text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    plausible.then(|| text.to_owned())
}
