//! The place where the measuring happens: a mount namespace of its own, in which cgroup2 alone lies at
//! /sys/fs/cgroup (as on hosts without v1, so that all runtimes take the same way) and a tmpfs holds bundles
//! and state (so that no disk is measured). Nothing of it is seen outside but an empty folder below the
//! temporary folder and one cgroup, both of which go at the end.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::{geteuid, mkdtemp};

const CGROUPS: &str = "/sys/fs/cgroup";

/// The folders of one benchmark.
pub struct Workshop {
    folder: PathBuf,
    cgroup: String,
}

impl Workshop {
    /// Leaves the host's mount namespace for one of its own and makes the folders. The calling process has
    /// to have one thread.
    pub fn open() -> Result<Self> {
        if !geteuid().is_root() {
            bail!("containers are made here: run it as root");
        }
        unshare(CloneFlags::CLONE_NEWNS).context("unshare the mount namespace")?;
        let nothing: Option<&str> = None;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
            .context("make the mounts private")?;
        show_cgroup2_alone()?;
        // Containers outlive `create`: they become children of this process, which can wait for their end.
        nix::sys::prctl::set_child_subreaper(true).context("become a subreaper")?;

        let cgroup = format!("caisson-bench-{}", std::process::id());
        let folder =
            mkdtemp(&std::env::temp_dir().join("caisson-bench-XXXXXX")).context("make a temporary folder")?;
        let workshop = Self { folder, cgroup };
        mount(Some("tmpfs"), &workshop.folder, Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
            .with_context(|| format!("mount a tmpfs at {}", workshop.folder.display()))?;
        let path = workshop.cgroup_folder();
        fs::create_dir(&path).with_context(|| format!("make the cgroup {}", path.display()))?;
        Ok(workshop)
    }

    /// A path in the tmpfs.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    /// The cgroup above all containers, as a configuration names it.
    pub fn cgroup_path(&self, name: &str) -> String {
        format!("/{}/{name}", self.cgroup)
    }

    /// The folder of that cgroup.
    pub fn cgroup_folder(&self) -> PathBuf {
        Path::new(CGROUPS).join(&self.cgroup)
    }

    /// Lets the containers' cgroups have a controller.
    pub fn pass_on(&self, controller: &str) -> Result<()> {
        let path = self.cgroup_folder().join("cgroup.subtree_control");
        fs::write(&path, format!("+{controller}"))
            .with_context(|| format!("switch the controller {controller} on in {}", path.display()))
    }

    /// The controllers that cgroup2's root hands to its children.
    pub fn enabled_controllers(&self) -> String {
        fs::read_to_string(Path::new(CGROUPS).join("cgroup.subtree_control"))
            .unwrap_or_default()
            .trim()
            .to_owned()
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // Cgroups are removed one by one and only while empty: never a file, never what is still used.
        let folder = self.cgroup_folder();
        for child in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(child.path());
        }
        let _ = fs::remove_dir(&folder);
        let _ = umount2(&self.folder, MntFlags::MNT_DETACH);
        let _ = fs::remove_dir(&self.folder);
    }
}

fn show_cgroup2_alone() -> Result<()> {
    let here = statfs(CGROUPS).with_context(|| format!("look at {CGROUPS}"))?;
    if here.filesystem_type() == CGROUP2_SUPER_MAGIC {
        return Ok(());
    }
    match umount2(CGROUPS, MntFlags::MNT_DETACH) {
        Ok(()) | Err(Errno::EINVAL) => {}
        Err(error) => return Err(error).with_context(|| format!("detach {CGROUPS}")),
    }
    let plain = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("cgroup2"), CGROUPS, Some("cgroup2"), plain, None::<&str>)
        .with_context(|| format!("mount cgroup2 at {CGROUPS}"))
}
