//! What the tests of attacks share: a folder of the host that must stay as it is.
//!
//! Every link of an attack leads to a [`Canary`] in the test's own scratch folder, never to a folder of the
//! host that matters: an attack that gets through must not cost more than the test.
#![allow(dead_code)] // each test executable uses its part

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use integration::{Bundle, Flavour, Process, flavour, json};

/// Leaves the test with the reason unless the runtime under test is ours: these attacks get through in others.
#[macro_export]
macro_rules! ours_only {
    () => {
        $crate::attack::assert_not_foreign();
        integration::known_gap!(Runc, Crun, "an attack, which is carried out on our own runtime only");
        integration::requires!(integration::is_root(), "the attacks are on a runtime that is root");
    };
}

/// Only here so that the macro has something of this module to call; the gap is what skips.
pub fn assert_not_foreign() {
    let _: Flavour = flavour();
}

/// A folder of the host outside the container's root, whose every change is noticed.
#[derive(Debug)]
pub struct Canary {
    path: PathBuf,
    before: Vec<String>,
}

/// The names below the canary that attacks aim at.
pub const FOLDER: &str = "folder";
pub const FILE: &str = "file";

impl Canary {
    /// `outside` in the scratch folder of a bundle, two levels above its root: a link at the top of the root
    /// reaches it as `../../outside`.
    pub fn of(bundle: &Bundle) -> Canary {
        let path = bundle.scratch().join("outside");
        fs::create_dir(&path).unwrap();
        fs::create_dir(path.join(FOLDER)).unwrap();
        for name in [FILE, "ptmx", "console", "null", "folder/inner"] {
            let file = path.join(name);
            fs::write(&file, format!("canary {name}")).unwrap();
            fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
            chown(&file, Some(4242), Some(4243)).unwrap();
        }
        let before = describe(&path);
        Canary { path, before }
    }

    /// Where it is on the host.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path below it as text.
    pub fn at(&self, name: &str) -> String {
        self.path.join(name).to_str().unwrap().to_owned()
    }

    /// Both ways in which a link at `depth` folders below the root can lead to `name` of the canary: an
    /// absolute path, and one that climbs out.
    pub fn links(&self, depth: usize, name: &str) -> [String; 2] {
        [self.at(name), format!("{}../../outside/{name}", "../".repeat(depth))]
    }

    /// Adds a hook that looks, from the container's mount namespace and before pivot_root, whether something
    /// is mounted on the canary there: a mount on a path of the host shows nowhere else.
    pub fn watched(&self, bundle: Bundle) -> Bundle {
        let script = format!(
            "echo looked >> {0}.log; grep -F ' {0}' /proc/self/mountinfo >> {0}.mounts || true",
            self.path.display()
        );
        bundle.push(
            "/hooks/createContainer",
            json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}),
        )
    }

    /// How often the hook of [`Canary::watched`] has looked.
    pub fn looks(&self) -> usize {
        fs::read_to_string(self.path.with_extension("log")).unwrap_or_default().lines().count()
    }

    /// Panics if anything in the folder is not as it was, or something was mounted on it.
    #[track_caller]
    pub fn assert_untouched(&self, attack: &str) {
        assert_eq!(describe(&self.path), self.before, "{attack}: the host's files have changed");
        let mounts = fs::read_to_string(self.path.with_extension("mounts")).unwrap_or_default();
        assert_eq!(mounts, "", "{attack}: mounted on the host's files");
        self.assert_no_mount_on_the_host(attack);
    }

    /// Panics if this mount namespace has a mount in the scratch folder: one of the container's that came out.
    #[track_caller]
    fn assert_no_mount_on_the_host(&self, attack: &str) {
        let scratch = self.path.parent().unwrap();
        let mounts = Process::this().mounts();
        let found: Vec<_> = mounts.iter().filter(|mount| mount.destination.starts_with(scratch)).collect();
        assert!(found.is_empty(), "{attack}: the host sees {found:?}");
    }
}

/// Everything in a folder, links not followed: type, mode, owner, number, size and content.
fn describe(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(path) = todo.pop() {
        let stat = path.symlink_metadata().unwrap();
        let content = if stat.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        lines.push(format!(
            "{} mode {:o} owner {}:{} device {} {:?}",
            path.display(),
            stat.mode(),
            stat.uid(),
            stat.gid(),
            stat.rdev(),
            String::from_utf8_lossy(&content)
        ));
        if stat.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    lines.sort();
    lines
}

/// Puts a link in place of whatever is at `path` in the root (an empty folder or a file).
#[track_caller]
pub fn replace_by_link(bundle: &Bundle, path: &str, target: &str) {
    let path = bundle.rootfs().join(path.trim_start_matches('/'));
    match path.symlink_metadata() {
        Ok(stat) if stat.is_dir() => fs::remove_dir(&path).unwrap(),
        Ok(_) => fs::remove_file(&path).unwrap(),
        Err(_) => fs::create_dir_all(path.parent().unwrap()).unwrap(),
    }
    symlink(target, &path).unwrap();
}

/// The bundle without any mount at or below /dev.
pub fn without_dev(bundle: Bundle) -> Bundle {
    bundle.edit(|config| {
        let mounts = config.0.pointer_mut("/mounts").and_then(|mounts| mounts.as_array_mut()).unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    })
}
