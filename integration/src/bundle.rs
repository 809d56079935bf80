//! A bundle on disk: a scratch folder that holds the root, `config.json`, and a `--root` for the runtime.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{Config, Container, Output, Scratch, executable, rootfs};

/// A bundle under construction: every method that edits takes and returns it.
///
/// ```no_run
/// # use integration::*;
/// let output = Bundle::new().sh("cat /proc/self/oom_score_adj").set("/process/oomScoreAdj", json!(300)).run();
/// assert_eq!(output.expect_ok().stdout, "300\n");
/// ```
#[derive(Debug)]
pub struct Bundle {
    scratch: Scratch,
    config: Config,
}

impl Bundle {
    /// A bundle with a root of busybox and the configuration of [`Config::default`].
    #[must_use]
    #[track_caller]
    pub fn new() -> Bundle {
        let bundle = Bundle { scratch: Scratch::new(), config: Config::default() };
        fs::create_dir(bundle.path()).expect("create the bundle's folder");
        rootfs::populate(&bundle.rootfs());
        bundle
    }

    /// The folder to give as `--bundle`.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.scratch.path().join("bundle")
    }

    /// The container's root on the host.
    #[must_use]
    pub fn rootfs(&self) -> PathBuf {
        self.path().join("rootfs")
    }

    /// The private folder around bundle and state: a place for sockets, pid files and sources of mounts.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// A path in [`Bundle::scratch`] as text, for command lines and configurations.
    #[must_use]
    pub fn scratch_file(&self, name: &str) -> String {
        self.scratch.path().join(name).to_str().expect("scratch paths are UTF-8").to_owned()
    }

    /// The configuration as it stands.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Edits the configuration in any way.
    #[must_use]
    #[track_caller]
    pub fn edit(mut self, change: impl FnOnce(&mut Config)) -> Bundle {
        change(&mut self.config);
        self
    }

    /// [`Config::set`].
    #[must_use]
    #[track_caller]
    pub fn set(self, pointer: &str, value: Value) -> Bundle {
        self.edit(|config| config.set(pointer, value))
    }

    /// [`Config::push`].
    #[must_use]
    #[track_caller]
    pub fn push(self, pointer: &str, value: Value) -> Bundle {
        self.edit(|config| config.push(pointer, value))
    }

    /// [`Config::remove`].
    #[must_use]
    #[track_caller]
    pub fn remove(self, pointer: &str) -> Bundle {
        self.edit(|config| drop(config.remove(pointer)))
    }

    /// [`Config::args`].
    #[must_use]
    pub fn args(self, args: &[&str]) -> Bundle {
        self.edit(|config| config.args(args))
    }

    /// The program is busybox's `sh -c script`.
    #[must_use]
    pub fn sh(self, script: &str) -> Bundle {
        self.args(&["sh", "-c", script])
    }

    /// The program sleeps until it is killed (by SIGKILL, or by SIGTERM: it has a handler for that).
    #[must_use]
    pub fn sleeping(self) -> Bundle {
        self.sh("trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done")
    }

    /// [`Config::env`].
    #[must_use]
    pub fn env(self, key: &str, value: &str) -> Bundle {
        self.edit(|config| config.env(key, value))
    }

    /// [`Config::capabilities`].
    #[must_use]
    pub fn capabilities(self, names: &[&str]) -> Bundle {
        self.edit(|config| config.capabilities(names))
    }

    /// [`Config::mount`].
    #[must_use]
    pub fn mount(self, destination: &str, kind: &str, source: &str, options: &[&str]) -> Bundle {
        self.edit(|config| config.mount(destination, kind, source, options))
    }

    /// [`Config::bind`].
    #[must_use]
    pub fn bind(self, source: &str, destination: &str, options: &[&str]) -> Bundle {
        self.edit(|config| config.bind(source, destination, options))
    }

    /// [`Config::remove_mount`].
    #[must_use]
    #[track_caller]
    pub fn remove_mount(self, destination: &str) -> Bundle {
        self.edit(|config| config.remove_mount(destination))
    }

    /// [`Config::new_namespace`].
    #[must_use]
    pub fn new_namespace(self, kind: &str) -> Bundle {
        self.edit(|config| config.new_namespace(kind))
    }

    /// [`Config::join_namespace`].
    #[must_use]
    pub fn join_namespace(self, kind: &str, path: &str) -> Bundle {
        self.edit(|config| config.join_namespace(kind, path))
    }

    /// [`Config::remove_namespace`].
    #[must_use]
    #[track_caller]
    pub fn remove_namespace(self, kind: &str) -> Bundle {
        self.edit(|config| config.remove_namespace(kind))
    }

    /// A new user namespace in which ids 0… are the host's `host_id`… (`size` of them); the root folder gets
    /// their owner, and the scratch folder lets others pass (0711).
    #[must_use]
    pub fn user_namespace(self, host_id: u32, size: u32) -> Bundle {
        let mapping = json!([{"containerID": 0, "hostID": host_id, "size": size}]);
        chown_below(&self.rootfs(), host_id);
        let pass = Permissions::from_mode(0o711);
        fs::set_permissions(self.scratch.path(), pass).expect("chmod the scratch folder");
        self.new_namespace("user")
            .set("/linux/uidMappings", mapping.clone())
            .set("/linux/gidMappings", mapping)
    }

    /// Writes a file (and the folders above it) into the root; `mode` as for chmod(2).
    #[must_use]
    #[track_caller]
    pub fn file(self, path: &str, mode: u32, content: &[u8]) -> Bundle {
        let path = self.rootfs().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a file lies in a folder"))
            .expect("create folders in the root");
        let written = executable::written(|| fs::write(&path, content));
        written.unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("chmod a file in the root");
        self
    }

    /// Writes a program of the host, such as a hook, into the scratch folder; its path.
    #[must_use]
    #[track_caller]
    pub fn host_program(&self, name: &str, content: &[u8]) -> String {
        let path = self.scratch_file(name);
        executable::written(|| fs::write(&path, content))
            .unwrap_or_else(|error| panic!("write {path}: {error}"));
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("chmod a program");
        path
    }

    /// The host's programs, such as perl, at /usr inside; they cannot be written there.
    #[must_use]
    #[track_caller]
    pub fn host_programs(self) -> Bundle {
        // As on Debian: what dynamic programs are loaded with and from lies there.
        fs::remove_dir(self.rootfs().join("lib")).expect("remove an empty folder of the root");
        for link in ["lib", "lib64"] {
            symlink(format!("usr/{link}"), self.rootfs().join(link)).expect("link to the host's libraries");
        }
        self.bind("/usr", "/usr", &["rbind", "ro", "nosuid", "nodev"])
    }

    /// Writes `config.json` and gives the bundle a container, not yet created.
    #[must_use]
    #[track_caller]
    pub fn container(self) -> Container {
        self.write_config(self.config.0.to_string().as_bytes());
        Container::of(self)
    }

    /// A container whose `config.json` is exactly these bytes.
    #[must_use]
    #[track_caller]
    pub fn container_of_raw(self, config: &[u8]) -> Container {
        self.write_config(config);
        Container::of(self)
    }

    /// A container of a bundle without `config.json`.
    #[must_use]
    pub fn container_without_config(self) -> Container {
        Container::of(self)
    }

    /// Runs the bundle in the foreground, without input, and removes all.
    #[track_caller]
    pub fn run(self) -> Output {
        self.container().run()
    }

    /// What a shell script printed inside, without the newline at its end; panics unless it ended with 0.
    #[track_caller]
    pub fn in_container(self, script: &str) -> String {
        self.sh(script).run().expect_ok().stdout.trim_end_matches('\n').to_owned()
    }

    #[track_caller]
    fn write_config(&self, bytes: &[u8]) {
        fs::write(self.path().join("config.json"), bytes).expect("write config.json");
    }
}

impl Default for Bundle {
    fn default() -> Self {
        Bundle::new()
    }
}

fn chown_below(path: &Path, owner: u32) {
    lchown(path, Some(owner), Some(owner))
        .unwrap_or_else(|error| panic!("chown {}: {error}", path.display()));
    if path.symlink_metadata().expect("stat a file of the root").is_dir() {
        for entry in fs::read_dir(path).expect("list a folder of the root") {
            chown_below(&entry.expect("list a folder of the root").path(), owner);
        }
    }
}
