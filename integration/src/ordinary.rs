//! An ordinary user of the host, made up for the tests: no entry of the host's own files is needed or changed.
//!
//! newuidmap(1) looks the caller up in /etc/passwd and his ids in /etc/subuid. So the runtime is called by a script
//! that enters a mount namespace where both have a line for the user, becomes the user, and then the runtime: a
//! [`Container`] drives it as any other binary.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use crate::{Bundle, Call, Container, Flavour, cgroup2_mount, flavour, runtime_under_test};

/// What is particular about the user.
#[derive(Clone, Copy, Debug)]
pub struct Ordinary {
    /// The user's and the group's id.
    pub id: u32,
    /// The first of the 65536 ids that /etc/subuid and /etc/subgid grant.
    pub subordinate: u32,
}

impl Ordinary {
    /// A user that no host has.
    pub const NOBODYS: Ordinary = Ordinary { id: 431_000, subordinate: 43_100_000 };

    /// The bundle as `spec --rootless` has it: a user namespace in which root is this user and nobody else is, the
    /// host's network, /sys by bind.
    #[must_use]
    pub fn bundle(self, bundle: Bundle) -> Bundle {
        let own = json!([{"containerID": 0, "hostID": self.id, "size": 1}]);
        bundle
            .new_namespace("user")
            .remove_namespace("network")
            .remove_mount("/dev/pts")
            .mount("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666"])
            .remove_mount("/sys/fs/cgroup")
            .remove_mount("/sys")
            .mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"])
            .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"])
            .edit(|config| {
                for field in ["resources", "cgroupsPath"] {
                    if config.get(&format!("/linux/{field}")).is_some() {
                        config.remove(&format!("/linux/{field}"));
                    }
                }
            })
            .set("/linux/uidMappings", own.clone())
            .set("/linux/gidMappings", own)
    }

    /// As [`Self::bundle`], and the ids from 1 on are those that the user was granted.
    #[must_use]
    pub fn mapped_bundle(self, bundle: Bundle) -> Bundle {
        let all = json!([{"containerID": 0, "hostID": self.id, "size": 1},
                         {"containerID": 1, "hostID": self.subordinate, "size": 65_536}]);
        self.bundle(bundle).set("/linux/uidMappings", all.clone()).set("/linux/gidMappings", all)
    }

    /// The container of a bundle, which is the user's from now on, driven by the user.
    #[must_use]
    #[track_caller]
    pub fn container(self, bundle: Bundle) -> Container {
        self.container_by(bundle, "exec \"$@\"")
    }

    /// The same; `become_caller` is what the shell does as that user before it is the runtime (`"$@"`).
    #[must_use]
    #[track_caller]
    pub fn container_by(self, bundle: Bundle, become_caller: &str) -> Container {
        self.container_from(bundle, "", become_caller)
    }

    /// The same; `before` is what the shell does as root, in the mount namespace of its own.
    #[must_use]
    #[track_caller]
    pub fn container_from(self, bundle: Bundle, before: &str, become_caller: &str) -> Container {
        let script = self.script(&bundle, before, become_caller);
        let container = bundle.container();
        self.give(container.bundle().scratch());
        container.with_binary(Path::new(&script))
    }

    /// A call of any program as the user, who has the lines in /etc that the containers of `bundle` have.
    #[must_use]
    pub fn call(self, container: &Container, program: &[&str]) -> Call {
        let script = container.bundle().scratch_file("as-user");
        Call::of(script).args(program)
    }

    /// Makes everything below a folder the user's.
    #[track_caller]
    pub fn give(self, folder: &Path) {
        let owner = format!("{0}:{0}", self.id);
        Call::of("chown").args(["-R", &owner]).args([folder]).output().expect_ok();
    }

    /// Writes the programs `as-user`, which becomes its arguments, and `runtime-as-user`; the path of the latter.
    #[track_caller]
    fn script(self, bundle: &Bundle, before: &str, become_caller: &str) -> String {
        let Ordinary { id, subordinate } = self;
        let lines = [
            ("passwd", format!("ordinary:x:{id}:{id}::/:/bin/sh\n")),
            ("group", format!("ordinary:x:{id}:\n")),
            ("subuid", format!("ordinary:{subordinate}:65536\n")),
            ("subgid", format!("ordinary:{subordinate}:65536\n")),
        ];
        let mut binds = String::new();
        for (name, line) in lines {
            let path = bundle.scratch_file(&format!("etc-{name}"));
            fs::write(&path, line).expect("write a file for /etc");
            binds += &format!("[ -e /etc/{name} ] || : >/etc/{name}; mount --bind {path} /etc/{name}\n");
        }
        // Crun refuses to work where cgroup v1 is in use and cgroup v2 has a controller too.
        let hybrid = cgroup2_mount().filter(|mount| mount.ends_with("unified"));
        if let Some(unified) = hybrid.filter(|_| flavour() == Flavour::Crun) {
            binds += &format!("umount {}\n", unified.display());
        }
        let runtime = self.reachable(bundle, runtime_under_test());
        let inner = format!(
            "#!/bin/sh\nset -e\n{binds}{before}\n\
             exec setpriv --reuid {id} --regid {id} --clear-groups -- sh -c '{become_caller}' sh \"$@\"\n"
        );
        let inner = bundle.host_program("in-namespace", inner.as_bytes());
        let outer = format!("#!/bin/sh\nexec unshare --mount -- {inner} \"$@\"\n");
        let outer = bundle.host_program("as-user", outer.as_bytes());
        let call = format!("#!/bin/sh\nexec {outer} {runtime} \"$@\"\n");
        bundle.host_program("runtime-as-user", call.as_bytes())
    }

    /// The path of the runtime, or of a copy where the user cannot reach it.
    fn reachable(self, bundle: &Bundle, runtime: &Path) -> String {
        let id = self.id.to_string();
        let reach = ["--reuid", &id, "--regid", &id, "--clear-groups", "--", "test", "-r"];
        if Call::of("setpriv").args(reach).args([runtime]).output().code() == 0 {
            return runtime.to_str().expect("a path in UTF-8").to_owned();
        }
        let copy = bundle.scratch_file("runtime");
        fs::copy(runtime, &copy).expect("copy the runtime");
        fs::set_permissions(&copy, Permissions::from_mode(0o755)).expect("chmod the copy");
        copy
    }
}
