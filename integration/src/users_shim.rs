//! The shim of an ordinary user of the host's, with folders that are his.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    Bundle, Call, Container, Ordinary, Process, cgroup2_mount, mark, runtime_under_test, shim_under_test,
    wait_for,
};

/// A shim that an [`Ordinary`] user calls. The container is never created: it has the folder, and the scripts that become
/// the user.
#[derive(Debug)]
pub struct UsersShim {
    container: Container,
    user: Ordinary,
}

impl UsersShim {
    /// One of this user's, without images.
    #[must_use]
    #[track_caller]
    pub fn of(user: Ordinary) -> UsersShim {
        let place = Bundle::new();
        let (binary, copy) = (shim_under_test(), place.scratch_file("shim"));
        fs::copy(binary, &copy).expect("copy the shim");
        fs::set_permissions(&copy, Permissions::from_mode(0o755)).expect("chmod a copy");
        for name in ["home", "home/.docker", "run"] {
            fs::create_dir(place.scratch().join(name)).expect("create a folder");
        }
        UsersShim { container: user.container(place), user }
    }

    /// His folder, which is the caller's to write in too.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.container.bundle().scratch()
    }

    /// Something in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// A call of the shim by the user, with folders of his own.
    #[must_use]
    pub fn call(&self, words: &[&str]) -> Call {
        let (shim, root, state) = (self.path("shim"), self.path("root"), self.path("state"));
        let text = |path: &PathBuf| path.to_str().expect("a path in UTF-8").to_owned();
        let program = [text(&shim), "--root".into(), text(&root), "--state".into(), text(&state)];
        let words = program.iter().map(String::as_str).chain(words.iter().copied());
        let mut call = self.user.call(&self.container, &words.collect::<Vec<_>>());
        // Wherever the tests are run, an ordinary user may not get there.
        call = call
            .current_dir(Path::new("/"))
            .env("HOME", self.path("home"))
            .env("XDG_RUNTIME_DIR", self.path("run"));
        for name in ["DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME", "HTTP_PROXY", "http_proxy"] {
            call = call.env_remove(name);
        }
        // Networks of ordinary users need more than every machine has (`shim_rootless_network`).
        call.without_network()
    }

    /// Puts the runtime beside the shim, where that looks for it.
    #[track_caller]
    pub fn give_runtime(&self) {
        let runtime = self.path("runtime");
        if !runtime.exists() {
            fs::copy(runtime_under_test(), &runtime).expect("copy the runtime");
            fs::set_permissions(&runtime, Permissions::from_mode(0o755)).expect("chmod a copy");
        }
    }

    /// A call of the user's runtime that runs a bundle.
    #[must_use]
    pub fn run(&self, folder: &str, id: &str) -> Call {
        let call = Call::of(self.path("runtime-as-user")).args(["--root"]).args([self.path("containers")]);
        call.args(["run", "--bundle"]).args([self.path(folder)]).args([format!(
            "{}{id}-{}",
            mark(),
            std::process::id()
        )])
    }

    /// The user's crun of Debian's, which refuses to work where cgroup v1 is in use and cgroup v2 has a controller too.
    #[must_use]
    pub fn run_on_crun(&self, folder: &str) -> Call {
        let hybrid = cgroup2_mount().filter(|mount| mount.ends_with("unified"));
        let before = hybrid.map_or(String::new(), |mount| format!("umount {} && ", mount.display()));
        let call = Call::of("unshare").args(["--mount", "sh", "-c", &format!("{before}exec \"$0\" \"$@\"")]);
        let call =
            call.args([self.path("as-user")]).args(["/usr/bin/crun", "--cgroup-manager=disabled", "--root"]);
        call.args([self.path("of-crun")]).args(["run", "--bundle"]).args([self.path(folder)]).args(["made"])
    }
}

impl UsersShim {
    /// The holder of the user's namespaces, monitors, and what else is running of his shim: by their command lines, which
    /// have this test's folder in them.
    #[must_use]
    pub fn processes(&self) -> Vec<i32> {
        // To the end of its name: others' may begin with it.
        let mark = format!("{}/", self.folder().display());
        let pids = fs::read_dir("/proc").expect("read /proc").flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let is_ours = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            Process::new(u32::try_from(*pid).expect("a pid")).is_alive()
                && String::from_utf8_lossy(&line).contains(&mark)
        };
        pids.filter(is_ours).collect()
    }

    /// Kills all of them, and waits for their end.
    #[track_caller]
    pub fn kill_all(&self) {
        for pid in self.processes() {
            let _ = kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL);
        }
        wait_for("the end of the user's processes", || self.processes().is_empty().then_some(()));
    }
}

impl Drop for UsersShim {
    fn drop(&mut self) {
        self.kill_all();
    }
}
